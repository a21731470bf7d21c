"""What Pendo has acknowledged and the ledger does not know yet, on this machine's disk.

One line a request, written before the next request is sent. A run that finds the journal of a dead run commits what it
holds first, so that after a ``kill -9`` only what was in flight can be sent twice.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from dbt_pendo.outcome import DELIVERED, Outcome, Position
from dbt_pendo.warehouse.pages import Span

FOLDER = "dbt_pendo"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A page that a dead run did not commit.

    Attributes:
        span: The page.
        outcomes: What Pendo said of its rows; rows that are not here were never acknowledged.
    """

    span: Span
    outcomes: dict[Position, Outcome] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remains:
    """What a dead run left: its id, and the pages it did not commit."""

    run_id: str
    pages: tuple[Acknowledged, ...]


class Journal:
    """The journal of one sync in one run; may be written from several threads at once."""

    def __init__(self, path: Path, run_id: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        # Unbuffered: a line is with the operating system when write() returns, and outlives the process.
        self._file = path.open("wb", buffering=0)
        self._write({"run_id": run_id})

    def begin_page(self, number: int, span: Span) -> None:
        """Notes a page before its first request."""
        self._write({"page": number, "span": asdict(span)})

    def note(self, number: int, outcomes: Mapping[Position, Outcome]) -> None:
        """Notes what Pendo said of some rows of a page."""
        delivered = [position for position, outcome in outcomes.items() if outcome is DELIVERED]
        others = [
            (*position, outcome.status, outcome.detail)
            for position, outcome in outcomes.items()
            if outcome is not DELIVERED
        ]
        self._write({"page": number, "delivered": delivered, "others": others})

    def end_page(self, number: int) -> None:
        """Notes that the ledger has a page."""
        self._write({"page": number, "committed": True})

    def close(self, keep: bool) -> None:
        """Ends the journal, and removes it unless something in it still has to be committed."""
        self._file.close()
        if not keep:
            self._path.unlink(missing_ok=True)

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            self._file.write(orjson.dumps(line) + b"\n")


def journal_path(target_path: Path, sync: str) -> Path:
    """Returns where the journal of a sync lies."""
    return target_path / FOLDER / f"{sync}.journal"


def read_remains(path: Path) -> Remains | None:
    """Reads the journal of a dead run; None when there is none, or nothing in it can be used."""
    try:
        lines = list(_lines(path.read_bytes()))
    except FileNotFoundError:
        return None
    if not lines or "run_id" not in lines[0]:
        return None
    pages: dict[int, Acknowledged] = {}
    for line in lines[1:]:
        number = line["page"]
        if "span" in line:
            pages[number] = Acknowledged(Span(**line["span"]))
        elif line.get("committed"):
            pages.pop(number, None)
        elif number in pages:
            outcomes = pages[number].outcomes
            outcomes.update(((bucket, seq), DELIVERED) for bucket, seq in line["delivered"])
            outcomes.update(((bucket, seq), Outcome(status, detail)) for bucket, seq, status, detail in line["others"])
    return Remains(lines[0]["run_id"], tuple(pages.values()))


def _lines(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        # The last line may be cut off: its request counts as in flight.
        with contextlib.suppress(orjson.JSONDecodeError):
            yield orjson.loads(line)
