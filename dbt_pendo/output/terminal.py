"""Prints what people, logs and scripts see of a command: lines in dbt's manner, or one JSON document.

A layer below stdout and stderr loses what cannot be written, so that output stops nothing.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import os
import sys
import threading
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from dbt_pendo import __version__
from dbt_pendo.errors import DbtPendoError, all_errors
from dbt_pendo.output.layout import COUNT, HANGING, NARROWEST, WIDEST, broken, message_in_colour, note_in_colour
from dbt_pendo.output.links import link_to
from dbt_pendo.output.streams import json_for
from dbt_pendo.secret import Secrets, without
from dbt_pendo.wording import visible, visible_json

if TYPE_CHECKING:
    # Which `--help` does without.
    from dbt_pendo.commands.context import Finding

Level: TypeAlias = Literal["info", "success", "warn", "error"]
Tag: TypeAlias = Literal["OK", "WARN", "ERROR", "SKIP", "RUN"]

# Of a node: which it is, from 1, and how many there are.
Place: TypeAlias = tuple[int, int]
# What happened, for `--log-format json`.
Data: TypeAlias = Mapping[str, Any] | None

# Where a node's brackets begin. On a terminal they have this many columns behind that, unless it is too narrow.
LINE_WIDTH, NARROW_LINE_WIDTH = 72, 44
NOTE_WIDTH = 48
# A terminal of fewer columns has no room for wide tables.
WIDE = 120
# Fewer columns are no room for the rest of a long cell.
CELL_WIDTH = 24
# Columns of a line about the node above.
BELOW = 4
STYLES: Mapping[Tag, str] = {"OK": "green", "WARN": "yellow", "ERROR": "red", "SKIP": "yellow", "RUN": ""}
LEVELS: Mapping[Tag, Level] = {"OK": "info", "WARN": "warn", "ERROR": "error", "SKIP": "warn", "RUN": "info"}


class Terminal:
    """Prints lines, and keeps to what the user wants of them.

    A text may hold what others wrote. On the terminal it is one line of visible characters; in JSON it is data.

    Args:
        as_json: Print one JSON document on stdout and nothing else; errors go to stderr as well.
        table_format: ``csv`` or ``json``: print nothing but a table; ``text`` prints lines.
        quiet: Print errors only.
        json_lines: Print each line as a JSON object in the shape of dbt's.
        colors: Whether to use colours; None decides by the terminal.
        secrets: What no line may show.
    """

    def __init__(
        self, as_json: bool, table_format: str, quiet: bool, json_lines: bool, colors: bool | None, secrets: Secrets
    ) -> None:
        self.as_json = as_json or table_format != "text"
        self._table_format = table_format
        self._secrets = secrets
        self._silent = quiet or self.as_json
        self._json_lines = json_lines
        self._timed = True
        # Links that stand below some node already.
        self._linked = set[str]()
        # Of the documents of ``--json``; a command may add to it.
        self.metadata: dict[str, Any] = {"dbt_pendo_version": __version__}
        console = partial(Console, highlight=False, emoji=False, soft_wrap=True, no_color=colors is False)
        self._console = console(force_terminal=True if colors else None)
        self._errors = console(stderr=True)

    def hide(self, secrets: Secrets) -> None:
        """Shows no secret of these either."""
        self._secrets |= secrets

    @property
    def narrow(self) -> bool:
        """Whether a terminal has no room for wide tables; a log has."""
        width = self._width(self._console)
        return width is not None and width < WIDE

    def untimed(self) -> Terminal:
        """Returns the same without the time before each line, for answers about the past."""
        other = copy.copy(self)
        other._timed = False
        return other

    def line(
        self,
        text: str = "",
        level: Level = "info",
        event: str = "Note",
        data: Data = None,
        note: str = "",
        note_style: str = "",
        hanging: int | None = None,
    ) -> None:
        """Prints a line; a terminal has its rest below, indented.

        Args:
            text: The line.
            level: How bad it is; errors are printed even under ``--quiet``.
            event: The name of what has happened, for ``--log-format json``; names do not change.
            data: What happened, for the same.
            note: The end of the line, in colours of its own; then the line has no other.
            note_style: How good or bad it is, as a colour.
            hanging: The columns before its rest; None goes on where the text begins.
        """
        if self._silent and (self.as_json or level != "error"):
            return
        if self._json_lines:
            if text:
                self._log(text + note, level, event, data or {})
            return
        style = {"error": "red", "warn": "yellow", "success": "green"}.get(level, "")
        time = self._time()
        text, note = self._shown(text), self._shown(note)
        # Without the time nothing else tells the rest from the next line.
        indent = len(time) + (len(text) - len(text.lstrip()) + (0 if time else HANGING) if hanging is None else hanging)
        width = self._width(self._console)
        if not note:
            self._print(self._console, Text.assemble(time, message_in_colour(text, style)), indent)
        elif width is None or cell_len(f"{time}{text}{note}") <= width:
            self._console.print(Text.assemble(time, text, note_in_colour(note, note_style)))
        else:
            start = broken(Text(time + text.rstrip(" .")), width, indent)
            indent += BELOW
            rest = broken(Text(" " * indent).append_text(note_in_colour(note, note_style)), width, indent + 1, COUNT)
            self._console.print(Text("\n").join([start, rest]))

    def below(self, text: str, level: Level = "info") -> None:
        """Prints a line about the node above, indented; an empty text is none."""
        if text:
            self.line(f"{' ' * BELOW}{text}", level)

    def message_below(self, message: object, level: Level = "info") -> None:
        """Prints a message of ours, which may have several lines, or an error with its link; None is nothing to say."""
        for line in str(message or "").split("\n"):
            self.below(line, level)
        if level == "error" and message:
            self.link_below(str(message))

    def link_below(self, message: str) -> None:
        """Prints where the documentation tells of an error; once a command, for syncs may fail for one reason."""
        if self.as_json or self._json_lines or not (link := link_to(message)) or link in self._linked:
            return
        self._linked.add(link)
        self._console.print(Text.assemble(self._time(), (f"{' ' * BELOW}More: {link}", "dim")))

    def node(self, place: Place, text: str, tag: Tag, note: str, event: str = "Note", data: Data = None) -> None:
        """Prints the line of a node, as dbt does: ``1 of 3 OK synced visitor users ..... [3 delivered]``."""
        columns = self._width(self._console)
        # The same of all lines, so that their brackets are below each other.
        width = LINE_WIDTH if columns is None else max(NARROW_LINE_WIDTH, min(LINE_WIDTH, columns - NOTE_WIDTH - 10))
        start = f"{place[0]} of {place[1]} {self._shown(text)} ".ljust(width, ".")
        self.line(f"{start} ", LEVELS[tag], event, data, f"[{note or tag}]", STYLES[tag])

    def finding(
        self, place: Place, one: Finding, verb: str, tag: Tag, note: str, event: str, elsewhere: Container[str] = ()
    ) -> None:
        """Prints the line of what was found about a sync, and below it its errors, but for those told elsewhere."""
        self.node(place, f"{verb} {one.title}", tag, note, event, one.to_dict())
        for error in all_errors(one.error):
            if str(error) not in elsewhere:
                self.message_below(error, "error")

    def rows(self, rows: Sequence[Sequence[str]], levels: Sequence[Level] = (), texts: int | None = None) -> None:
        """Prints rows of cells in columns, without the time before each: they need the width.

        Args:
            rows: The cells.
            levels: How bad each row is.
            texts: So many columns hold texts, and numbers follow; None where all are texts.
        """
        lines, rows = self.untimed(), [[self._shown(cell) for cell in row] for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        last = 2 + sum(width + 2 for width in widths[:-1])
        columns = self._width(self._console)
        hanging = BELOW if texts is not None or columns is None or columns - last < CELL_WIDTH else last
        for at, row in enumerate(rows):
            cells: list[str] = []
            for cell, width in zip(row, widths, strict=True):
                blank = " " * (width - cell_len(cell))
                cells.append(cell + blank if texts is None or len(cells) < texts else blank + cell)
            lines.line(f"  {'  '.join(cells)}".rstrip(), levels[at] if levels else "info", hanging=hanging)

    def body(self, title: str, body: Any) -> None:
        """Prints JSON so that it can be copied: without the time before each line."""
        if self._json_lines:
            self._log(title, "info", "Body", {"body": body})
        elif not self._silent:
            self._console.print(Text(self._shown(title)))
            text = self._shown(body) if isinstance(body, str) else self._json(body, indent=True)
            self._console.print(Text(text))

    def confirm(self, question: str, unattended: bool = True) -> bool:
        """Returns the answer to a question at a terminal, or ``unattended`` where nobody can answer."""
        if self.as_json or self._json_lines or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return unattended
        self._print(self._console, Text(f"{question} [y/N] "), 0, end="")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def text(self, text: str, event: str, data: Mapping[str, Any]) -> None:
        """Prints a text of ours as it is, even under ``--quiet``, so that it can be piped."""
        if self._json_lines:
            self._log(text, "info", event, data)
        elif not self.as_json:
            sys.stdout.write(text)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """Gives progress bars to use inside the block; None unless stdout is a terminal."""
        # Not the console's own opinion: --use-colors makes it take a file for a terminal.
        if self.as_json or self._json_lines or not sys.stdout.isatty():
            yield None
            return
        about = TextColumn("{task.description}", markup=False)
        columns = (about, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as bars:
            yield bars

    def answer(self, results: Iterable[Mapping[str, Any]], rows: Iterable[Mapping[str, Any]] = (), **more: Any) -> None:
        """Prints what ``--json`` or ``--output`` asks for.

        Args:
            results: The entries of the command's document.
            rows: The same as a table.
            more: What else the document has, by name.
        """
        if self._table_format == "text":
            self.document({"metadata": self.metadata, "results": list(results), **more})
            return
        # agate takes long to import.
        from dbt_pendo.output.tables import write_table

        write_table(rows, self._table_format, self._secrets)

    def document(self, document: Mapping[str, Any]) -> None:
        """Prints the JSON document of ``--json``."""
        if self.as_json:
            self._write_json(sys.stdout, document, indent=True)

    def failed(self, error: DbtPendoError) -> None:
        """Prints the error that ended a command; on stderr alone if stdout is to be a table."""
        if self._table_format == "text":
            self.document({"metadata": self.metadata, "error": told([error])})
        self.error(error, "CommandFailed")

    def error(self, error: DbtPendoError, event: str) -> None:
        """Prints an error on stderr, or as a line of the log."""
        if self._json_lines:
            self._log(str(error), "error", event, told([error]))
            return
        # Its lines are visible text, and ours.
        message = Text.assemble(("Error:", "red"), f" {self._secrets.hidden_in(error.message)}")
        if error.hint:
            message.append(f"\n{self._secrets.hidden_in(error.hint)}")
        for line in message.split("\n"):
            self._print(self._errors, line, HANGING)
        if link := link_to(error.message):
            self._errors.print(Text(f"More: {link}", "dim"))

    def aside(self, text: str) -> None:
        """Prints on stderr what somebody who waits has to know, even under ``--quiet``; or a line of the log."""
        if self._json_lines:
            self._log(text, "warn", "Waiting", {})
        else:
            self._print(self._errors, Text(self._shown(text), "yellow"), HANGING)

    def _time(self) -> str:
        """Returns what stands before each line."""
        return f"{datetime.datetime.now():%H:%M:%S}  " if self._timed else ""

    def _print(self, console: Console, text: Text, indent: int, end: str = "\n") -> None:
        """Prints a line, in several where a terminal has not the columns for it; a log and a pipe have.

        It is never rich's markup: a name such as [/red] would end the command.
        """
        width = self._width(console)
        console.print(text if width is None else broken(text, width, indent), end=end)

    def _width(self, console: Console) -> int | None:
        """Returns after how many columns a line breaks; None where it does not."""
        # Not the console's own opinion: --use-colors makes it take a file for a terminal.
        return min(max(console.width, NARROWEST), WIDEST) if console.file.isatty() else None

    def _log(self, text: str, level: Level, event: str, data: Mapping[str, Any]) -> None:
        info = {
            "category": "",
            "code": "",
            "extra": {},
            "level": "info" if level == "success" else level,
            "msg": text,
            "name": event,
            "pid": os.getpid(),
            "thread": threading.current_thread().name,
            "ts": datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z"),
        }
        self._write_json(sys.stderr if self.as_json else sys.stdout, {"data": data, "info": info})

    def _shown(self, text: str) -> str:
        return visible(self._secrets.hidden_in(text))

    def _json(self, document: Any, indent: bool = False) -> str:
        document = without(self._secrets, document)
        try:
            text = orjson.dumps(document, option=orjson.OPT_INDENT_2 if indent else 0).decode()
        except orjson.JSONEncodeError:
            # A number of more than 64 bits, or a file's name that is no text.
            text = json.dumps(document, indent=2 if indent else None, ensure_ascii=False, default=str)
        return visible_json(text)

    def _write_json(self, stream: TextIO, document: Any, indent: bool = False) -> None:
        stream.write(json_for(stream, self._json(document, indent)) + "\n")
        # Somebody may read along.
        stream.flush()


def told(errors: Sequence[DbtPendoError]) -> dict[str, str]:
    """Returns what ended a command, for JSON: one error, or several."""
    message = "\n".join(one.message for one in errors)
    return {"message": message, "hint": " ".join(filter(None, (one.hint for one in errors))), "link": link_to(message)}
