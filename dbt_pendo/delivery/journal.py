"""What Pendo has acknowledged and the ledger does not know yet, on this machine's disk.

It gets one line a request, before the next request is sent. A run that finds the journal of a dead run first commits
what it holds, so that after a ``kill -9`` only what was in flight can be sent twice. A journal that cannot be read is
ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, get_args

import orjson

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.outcomes import DELIVERED, Outcome, Position, Status
from dbt_pendo.secret import FOLDER, open_private, private_folder
from dbt_pendo.warehouse.pages import Span

# Three hex digits, or on DuckDB seven digits.
BUCKET = re.compile("[0-9a-f]{3}|[0-9]{7}")
# What a line that is cut off or damaged raises.
_DAMAGE = (ValueError, TypeError, KeyError)


class JournalError(DbtPendoError):
    """The journal cannot be written: going on would mean to send twice what a crash forgets."""


class Remains(NamedTuple):
    """What a dead run left: the pages that it did not commit, each with what Pendo said of some of its rows."""

    run_id: str
    # What it delivered its rows as, for the mapping may have changed; None in the journal of an earlier version.
    destination: str | None
    pages: Sequence[tuple[Span, Mapping[Position, Outcome]]]


class Journal:
    """The journal of one sync in one run; may be written from several threads at once.

    Raises:
        JournalError: Here and in every method, if the disk is full, or may not be written to.
    """

    def __init__(self, path: Path, run_id: str, destination: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._readable_errors():
            private_folder(path.parent.parent)
            # Never into the file of a run that was taken for dead and may come back.
            with contextlib.suppress(OSError):
                path.unlink()
            # Unbuffered: a line is with the operating system when write() returns, and outlives the process.
            self._file = open_private(path)
        self._write({"run_id": run_id, "destination": destination})

    def begin_page(self, number: int, span: Span) -> None:
        """Notes a page before its first request."""
        self._write({"page": number, "span": asdict(span)})

    def note(self, number: int, positions: Sequence[Position], exceptions: Mapping[Position, Outcome]) -> None:
        """Notes what Pendo said of some rows of a page: it took them, except for those with another outcome."""
        delivered = [position for position in positions if position not in exceptions] if exceptions else positions
        others = [(*position, outcome.status, outcome.detail) for position, outcome in exceptions.items()]
        self._write({"page": number, "delivered": delivered, "others": others})

    def end_page(self, number: int) -> None:
        """Notes that the ledger has a page."""
        self._write({"page": number, "committed": True})

    def close(self, keep: bool) -> None:
        """Ends the journal, and removes it unless something in it still has to be committed."""
        with self._readable_errors(), self._file, contextlib.suppress(FileNotFoundError):
            # Another run may have put its own in place of it.
            is_ours = os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
            if is_ours and not keep:
                self._path.unlink()

    def _write(self, line: Mapping[str, Any]) -> None:
        rest = orjson.dumps(line) + b"\n"
        with self._lock, self._readable_errors():
            while rest:
                rest = rest[self._file.write(rest) :]

    @contextlib.contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise JournalError(
                f"The journal {self._path} cannot be written: {error.strerror}.",
                "It keeps what Pendo has acknowledged from being sent again after a crash; give it room.",
            ) from None


def journal_path(target_path: Path, sync: str, warehouse: str) -> Path:
    """Returns the path of a sync's journal.

    Args:
        target_path: dbt's target folder.
        sync: The sync's name.
        warehouse: The address of the ledger, for several targets may share the folder.
    """
    digest = hashlib.md5(warehouse.encode(), usedforsecurity=False).hexdigest()[:8]
    return target_path / FOLDER / f"{sync}.{digest}.journal"


def read_remains(path: Path) -> Remains | None:
    """Reads the journal of a dead run; None when there is none, or nothing in it can be used."""
    try:
        head, *lines = path.read_bytes().split(b"\n")
        start = orjson.loads(head)
        run_id, destination = start["run_id"], start.get("destination")
        if not (isinstance(run_id, str) and isinstance(destination, str | None)):
            raise ValueError((run_id, destination))
    except (OSError, *_DAMAGE):
        return None
    pages: dict[int, tuple[Span, dict[Position, Outcome]]] = {}
    for line in lines:
        # The last line may be cut off: its request counts as in flight. So does that of a damaged line.
        with contextlib.suppress(*_DAMAGE):
            _take(orjson.loads(line), pages)
    return Remains(run_id, destination, tuple(pages.values()))


def _take(line: Any, pages: dict[int, tuple[Span, dict[Position, Outcome]]]) -> None:
    """Takes one line in, or raises before it has changed anything."""
    number = line["page"]
    if "span" in line:
        span = Span(**line["span"])
        for bucket, seq in ((span.first, span.first_seq), (span.last, span.last_seq)):
            _position(bucket, 1 if seq is None else seq)
        pages[number] = (span, {})
    elif line.get("committed") is True:
        pages.pop(number, None)
    elif number in pages:
        outcomes = {_position(bucket, seq): DELIVERED for bucket, seq in line["delivered"]}
        outcomes |= {_position(bucket, seq): _outcome(status, detail) for bucket, seq, status, detail in line["others"]}
        pages[number][1].update(outcomes)


def _position(bucket: Any, seq: Any) -> Position:
    # What is no bucket must not reach a statement.
    if not (isinstance(bucket, str) and BUCKET.fullmatch(bucket) and type(seq) is int and seq > 0):
        raise ValueError((bucket, seq))
    return bucket, seq


def _outcome(status: Any, detail: Any) -> Outcome:
    if status not in get_args(Status) or not isinstance(detail, str | None):
        raise ValueError((status, detail))
    return Outcome(status, detail)
