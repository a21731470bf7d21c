"""The calls of a run, on this machine's disk: a line of JSON for each attempt at a request.

They are for people to look at. A run does not need them: a disk that is full ends the log, never the sync. What a run
needs is the journal.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import shutil
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from dbt_pendo.network import read_json
from dbt_pendo.pendo.client import Call
from dbt_pendo.records.masking import BodyMask, hide_quoted
from dbt_pendo.secret import FOLDER, narrow_folder, open_private, private_folder

RUNS_FOLDER = Path(FOLDER) / "runs"
CALLS_FILE = "requests.jsonl"
RUN_ID = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{6}")
# Of the calls that Pendo took as a whole, so many keep their bodies: of each sync and path the first.
SAMPLES = 3
# Bytes. A longer body is cut.
LARGEST_BODY = 256 * 2**10
# Bytes of an answer in which failures are looked for: more than any bulk call's; JSON takes many times as much memory.
LARGEST_READ = 8 * 2**20
# Bytes of a run's file: beyond the first, lines have neither bodies nor keys; beyond the second, only calls that
# failed have lines.
FULL_LINES, ALL_LINES = 64 * 2**20, 256 * 2**20


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A line of the log; ``Call`` says what its fields are."""

    # Its line, from 1.
    number: int
    # In UTC, ISO 8601.
    at: str
    # The sync it was made for; empty for none.
    sync: str
    method: str
    path: str
    status: int | None
    fault: str
    # Whether Pendo did not do all that was asked; ids that it does not know are no failure.
    failed: bool
    seconds: float
    waited: float
    attempt: int
    rows: int
    bytes: int
    # None where the log was too large to keep them.
    keys: tuple[str, ...] | None = None
    # The bodies: a JSON document, or a text that was cut; None where it was not kept.
    request: Any = None
    answer: Any = None

    def carried(self, keys: Collection[str]) -> list[str]:
        """Returns those of some records that were in it, by their keys."""
        if not self.keys:
            return []
        # Runs that hid ids have kept hashes of the keys.
        hidden = self.keys[0].startswith("#")
        inside = frozenset(self.keys)
        return [key for key in keys if key in inside or (hidden and BodyMask(ids=True).key(key) in inside)]


class CallLog:
    """Writes the calls of a run; may be used from several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._size = 0
        self._sampled: Counter[tuple[str, str]] = Counter()
        self._sync = ""
        self._mask: BodyMask | None = None
        # Why calls are missing in it; empty when none are.
        self.fault = ""

    def close(self) -> None:
        """Closes the file."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
            self._file = None

    def begin(self, target_path: Path, run_id: str, keep: int) -> None:
        """Begins to write; calls before it, and of commands that do not begin, leave no trace.

        ``keep`` is the number of runs that keep their calls, this one among them.
        """
        narrow_folder(target_path)
        with self._readable_fault():
            folder = private_folder(target_path, "runs", run_id)
            # Unbuffered, as the journal is: the calls before a crash matter most.
            self._file = open_private(folder / CALLS_FILE)
            for old in run_folders(target_path)[keep:]:
                shutil.rmtree(old, ignore_errors=True)

    def about(self, sync: str, mask: BodyMask | None) -> None:
        """Says which sync the next calls of ``write`` are made for, and what to hide of them: None for nothing."""
        self._sync, self._mask = sync, mask

    def write(self, call: Call) -> None:
        """Writes a call down."""
        self.write_of(self._sync, self._mask, call)

    def write_of(self, sync: str, mask: BodyMask | None, call: Call) -> None:
        """Writes down a call that was made for a sync."""
        if self._file is None:
            return
        request = call.request
        document = read_json(call.answer) if request.keys and len(call.answer) <= LARGEST_READ else None
        failed = call.status is None or not 200 <= call.status < 300 or _has_failures(document)
        whole = not failed and not (isinstance(document, dict) and document.get("missing"))
        at = datetime.datetime.fromtimestamp(call.at, datetime.timezone.utc)
        line: dict[str, Any] = {
            **{name: getattr(call, name) for name in ("status", "fault", "attempt")},
            "at": at.isoformat(timespec="milliseconds"),
            "sync": sync,
            "method": request.method,
            "path": request.pattern if mask and mask.ids and request.pattern else request.path,
            "failed": failed,
            "seconds": round(call.seconds, 4),
            "waited": round(call.waited, 4),
            "rows": len(request.keys),
            "bytes": len(request.body or b""),
        }
        with self._lock:
            file = self._file
            if file is None or (self._size > ALL_LINES and not failed):
                return
            if self._size <= FULL_LINES:
                line["keys"] = [*map(mask.key, request.keys)] if mask else request.keys
                sample = (sync, f"{request.method} {request.pattern or request.path}")
                self._sampled[sample] += whole
                if not whole or self._sampled[sample] <= SAMPLES:
                    line |= self._bodies(call, failed, mask)
            with self._readable_fault():
                text = orjson.dumps(line) + b"\n"
                while text:
                    written = file.write(text)
                    self._size += written
                    text = text[written:]

    def _bodies(self, call: Call, failed: bool, mask: BodyMask | None) -> dict[str, Any]:
        bodies: dict[str, Any] = {}
        values: frozenset[str] = frozenset()
        request = call.request
        if request.body:
            text = call.secrets.hidden_in(request.body.decode(errors="replace"))
            document = read_json(text)
            if mask:
                document, values = mask.hide_body(document, request.path)
                text = orjson.dumps(document).decode()
            bodies["request"] = _kept(text, document)
        # What is read back is whole records, with values that no mapping names.
        if request.keys or failed or request.method == "GET":
            # To look for secrets in more than is kept of it would take minutes.
            answer = call.answer[: 2 * LARGEST_BODY].decode(errors="replace")
            text = call.secrets.hidden_in(answer)
            if mask:
                text = hide_quoted(text, values)
            document = read_json(text)
            bodies["answer"] = _kept(text, mask.hide_body(document, request.path)[0] if mask else document)
        return bodies

    @contextlib.contextmanager
    def _readable_fault(self) -> Iterator[None]:
        try:
            yield
        except (OSError, orjson.JSONEncodeError) as error:
            self._file = None
            self.fault = f"the calls of this run are not kept: {getattr(error, 'strerror', None) or error}"


def run_folders(target_path: Path) -> list[Path]:
    """Returns the folders of the runs whose calls are kept, the latest first."""
    folder = target_path / RUNS_FOLDER
    if not folder.is_dir():
        return []
    return sorted((one for one in folder.iterdir() if RUN_ID.fullmatch(one.name)), reverse=True)


def read_calls(folder: Path) -> Iterator[LoggedCall]:
    """Reads the calls of a run from its folder; a line that a crash has cut off is left out."""
    try:
        file = (folder / CALLS_FILE).open("rb")
    except OSError:
        return
    with file:
        for number, text in enumerate(file, start=1):
            line = read_json(text)
            if isinstance(line, dict):
                with contextlib.suppress(TypeError):
                    keys = line.pop("keys", None)
                    yield LoggedCall(number, **line, keys=None if keys is None else tuple(keys))


def _has_failures(document: Any) -> bool:
    """Returns whether a 2xx says that something was not done (pendo-api.md 3 and 5); an unknown id is no failure."""
    if not isinstance(document, dict):
        return False
    missing, failed, parts = (document.get(name) for name in ("missing", "failed", "multistatus"))
    statuses = [part.get("status") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return (
        bool(document.get("errors"))
        or (isinstance(failed, int) and failed > (len(missing) if isinstance(missing, list) else 0))
        or any(isinstance(status, int) and status >= 300 for status in statuses)
    )


def _kept(text: str, document: Any) -> Any:
    """Returns a body as it is kept: as JSON, or as a text that may be cut."""
    if len(text) > LARGEST_BODY:
        return f"{text[:LARGEST_BODY]}…"
    return text if document is None else document
