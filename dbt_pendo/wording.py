"""The turns of phrase that problems share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# What in a message is about one row, not about what is wrong with it.
_PARTICULARS = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|\d+""")


def quoted(value: str | bool) -> str:
    """A word as the user would write it in YAML, in backticks."""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def listing(words: Iterable[str], last: str = "and") -> str:
    """``a, b and c``."""
    *most, final = words
    return f"{', '.join(most)} {last} {final}" if most else final


def choices(values: Iterable[str | bool]) -> str:
    """```a`, `b` or `c```."""
    return listing(map(quoted, values), last="or")


def article(noun: str) -> str:
    """The noun with ``a`` or ``an``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def closest(word: str, candidates: Sequence[str]) -> str | None:
    """The candidate the user most likely meant; case, as in ``visitorId``, hardly matters."""
    folded = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(word.lower(), folded, n=1)
    return folded[matches[0]] if matches else None


def found(value: Any) -> str:
    """What the user wrote, by its YAML type."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return quoted(value)
    if isinstance(value, (int, float)):
        return f"the number {shortened(str(value))}"
    if isinstance(value, str):
        return f'the text "{shortened(value)}"' if value.strip() else "an empty text"
    return "a list" if isinstance(value, list) else "a mapping"


def shortened(text: str, length: int = 60) -> str:
    """Enough of a text to recognise it."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def number(count: int, what: str) -> str:
    """A count with its noun: ``1 row``, ``1,200 rows``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def counts(counted: Mapping[str, int], always: str = "") -> str:
    """``1,200 delivered, 3 missing``: what is zero is left out, but for the one that is always said."""
    return ", ".join(f"{count:,} {what}" for what, count in counted.items() if count or what == always)


def without_particulars(message: str, key: str | None) -> str:
    """What a message says of any row: without the row's key, quoted values and numbers."""
    return _PARTICULARS.sub("…", message.replace(key, "…") if key else message)
