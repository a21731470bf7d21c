"""How a line looks on a terminal: which number of it is in colour, and where it breaks. Without I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rich.cells import cell_len
from rich.text import Text

# Where a long line breaks, in columns: at the width of the terminal, but within these.
NARROWEST, WIDEST = 80, 160
# How far a line goes on below its beginning, where nothing else tells the two apart.
HANGING = 2
# A command that can be copied is one word.
WORD = re.compile(r"(?:`[^`]{0,60}`|\S)+\s*")
# Counts stay whole.
COUNT = re.compile(r"(?:[^,]|,(?! ))+,?\s*")

# What of a note has which colour, the best first. A line that is green has nothing worse in it.
_MARKS: Mapping[str, str] = {
    "green": r"[\d,]+ (?:delivered|added|changed|removed|deleted|cleared|sent again|equal|ok)\b|OK=[1-9]\d*",
    "yellow": r"[\d,]+ (?:missing|invalid|held|hidden)\b|(?:WARN|SKIP)=[1-9]\d*",
    "red": r"[\d,]+ (?:rejected|drifted)\b|ERROR=[1-9]\d*|ERROR|BLOCKED|INTERRUPTED",
}
_MARKED: Mapping[str, re.Pattern[str]] = {
    "green": re.compile(f"(?P<green>{_MARKS['green']})"),
    "yellow": re.compile(f"(?P<yellow>{_MARKS['yellow']})"),
    "red": re.compile("|".join(f"(?P<{style}>{_MARKS[style]})" for style in ("yellow", "red"))),
}
# A count at the beginning of a message, and what it counts.
_COUNTED = re.compile(r"\s*\d[\d,]*(?: [^:]*)?(?=: )")


def message_in_colour(text: str, style: str) -> Text:
    """Returns a message: its count in a colour where it begins with one, else all of it."""
    counted = _COUNTED.match(text)
    end = counted.end() if counted else len(text)
    return Text.assemble((text[:end], style), text[end:])


def note_in_colour(note: str, style: str) -> Text:
    """Returns the note of a line that is so good or bad: the counts that matter in colour, or all of it."""
    found = list(_MARKED[style].finditer(note)) if style in _MARKED else []
    if not found:
        return Text(note, style)
    text = Text(note)
    for one in found:
        text.stylize(one.lastgroup or style, *one.span())
    return text


def broken(text: Text, width: int, indent: int, piece: re.Pattern[str] = WORD) -> Text:
    """Returns a text that breaks between words, none of which is cut.

    Args:
        text: The text, on one line.
        width: The columns it has; a wide character takes two.
        indent: The columns before each line but the first.
        piece: What stays on one line.
    """
    cuts, column = list[int](), 0
    for at, found in enumerate(piece.finditer(text.plain)):
        if at == 0:
            column = cell_len(text.plain[: found.start()])
        elif column + cell_len(found[0].rstrip()) > width:
            cuts.append(found.start())
            column = indent
        column += cell_len(found[0])
    lines = text.divide(cuts)
    for line in lines[:-1]:
        line.rstrip()
    return Text("\n" + " " * indent).join(lines)
