"""Pendo's segments (pendo-api.md 5): lists of visitors that the API made, and may change."""

from __future__ import annotations

import csv
import io
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

import orjson

from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import PendoClient, PendoError, Request, UnavailableError
from dbt_pendo.pendo.deletion import job_of

# Visitors in one PATCH; of its 10 operations two are enough.
LARGEST_PATCH = 1_000
# What a patch may do.
OPERATIONS = frozenset({"add", "remove"})
# Seconds between two questions after a job, at first and at most.
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
# Seconds for an export that only counts members.
COUNT_PATIENCE = 30.0
_PATH = "/api/v1/segment"

T = TypeVar("T")
JobState: TypeAlias = Literal["running", "finished", "failed", "unknown"]
# How the words for the state of a job begin, in lower case: those of a load (pendo-api.md 5), and what one would say of
# an export, of which no source shows them.
_WORDS: Mapping[JobState, tuple[str, ...]] = {
    "running": ("pend", "progress", "in progress", "in_progress", "in-progress", "queue", "run", "process", "start"),
    "finished": ("finish", "complete", "done", "success", "succeed", "ready"),
    "failed": ("error", "fail", "cancel", "abort", "reject", "expire"),
}
# How the column of the ids may be called in an export, without what is no letter.
_ID_COLUMNS = ("visitorid", "visitorids", "visitor", "visitors", "id")


class BusyError(UnavailableError):
    """Pendo is busy with other writes of segments for too long."""


@dataclass(frozen=True, slots=True)
class PendoSegment:
    """A segment in Pendo; only those that the API made may be changed."""

    id: str
    name: str
    created_by_api: bool


def list_segments(client: PendoClient) -> list[PendoSegment]:
    """Returns all segments.

    Raises:
        PendoError: If Pendo does not list them.
    """
    request = Request("GET", _PATH, is_clear=lambda answer: isinstance(answer.json, list))
    answer = client.ask(request, "list its segments")
    return [
        PendoSegment(str(item.get("id")), str(item.get("name")), item.get("createdByApi") is True)
        for item in answer.json
        if isinstance(item, dict)
    ]


def segment_exists(client: PendoClient, segment_id: str) -> bool:
    """Returns whether a segment still exists.

    Raises:
        PendoError: If Pendo does not say.
    """
    path = f"{_PATH}/{segment_id}"
    request = Request("GET", path, is_clear=lambda answer: answer.document.get("id"), is_of_segment=True)
    return client.ask(request, f"say whether the segment {segment_id} exists", allowed=(404,)).ok


@dataclass(frozen=True, slots=True)
class Job:
    """How far a job of Pendo's is, in Pendo's own words."""

    state: JobState
    said: str
    # The members of a segment once they are loaded; None where Pendo does not say.
    tagged: int | None = None
    # Pendo's id of it; empty where Pendo names none.
    request_id: str = ""


def load_job(client: PendoClient, segment_id: str) -> Job:
    """Returns how far the last upload or overwrite of a segment is (pendo-api.md 5: kept for 4 hours).

    Raises:
        PendoError: If Pendo does not answer.
    """
    return _job(client.send(Request("GET", f"{_PATH}/{segment_id}/status", is_of_segment=True)))


def wait_for_job(look: Callable[[], Job], wait: Callable[[float], None], patience: float) -> Job:
    """Looks at a job until it has ended, or the seconds of patience are over, and returns what was seen last.

    A job that says nothing one can understand is not waited for.
    """
    return _last(look, lambda job: job.state == "running", wait, patience)


def send_in_turn(send: Callable[[], Answer], wait: Callable[[float], None], patience: float) -> Answer:
    """Sends a request about a segment, again as long as Pendo is busy with another one.

    Raises:
        BusyError: If that lasts longer than the seconds of patience.
    """
    answer = _last(send, is_busy, wait, patience)
    if is_busy(answer):
        raise BusyError(
            f"Pendo is still busy with another write of segments after {patience:g} seconds (PENDO_SEGMENT_TIMEOUT).",
            "Run the sync again later; what was delivered is kept.",
        )
    return answer


def _last(ask: Callable[[], T], is_open: Callable[[T], bool], wait: Callable[[float], None], patience: float) -> T:
    """Asks again after ever longer pauses, while it is open and the patience lasts, and returns the last answer."""
    give_up_at, seconds = time.monotonic() + patience, FIRST_WAIT
    while is_open(answer := ask()) and time.monotonic() + seconds <= give_up_at:
        wait(seconds)
        seconds = min(1.5 * seconds, LONGEST_WAIT)
    return answer


def read_members(client: PendoClient, segment_id: str, wait: Callable[[float], None], patience: float) -> set[str]:
    """Reads the members of a segment by an export of them; the answer is kept in a file, not in memory.

    Pendo's aggregation would leave out those whom Pendo has never seen (pendo-api.md 5).

    Raises:
        BusyError: If Pendo stays busy with a write of segments for longer than the seconds of patience.
        PendoError: If Pendo does not export them, or does not finish that in so many seconds.
    """
    path = f"{_PATH}/{segment_id}/visitors"

    def ask(what: str, request: Request) -> Answer:
        return send_in_turn(lambda: client.ask(request, what, allowed=(409,)), wait, patience)

    begin = Request("POST", path, b"{}", is_long=True, is_of_segment=True)
    begun = ask("export the members of a segment", begin)
    number = begun.json if isinstance(begun.json, str) and begun.json else job_of(begun)
    if number is None:
        raise PendoError(f"Pendo does not name the export of the members of a segment ({begun.message}).")
    status = Request("GET", f"{path}/{number}/status", is_of_segment=True)
    job = wait_for_job(lambda: _job(ask("say how far an export is", status)), wait, patience)
    if job.state != "finished":
        raise PendoError(f"Pendo does not finish the export of the members of a segment: it says {job.said}.")
    with tempfile.TemporaryFile() as file:

        def restart() -> Callable[[bytes], object]:
            file.seek(0)
            file.truncate()
            return file.write

        table = Request("GET", f"{path}/{number}/results/csv", sink=restart, is_long=True, is_of_segment=True)
        ask("let an export be read", table)
        file.seek(0)
        with io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="") as text:
            try:
                return _ids(csv.reader(text))
            except csv.Error as error:
                raise PendoError(f"Pendo's export of the members of a segment cannot be read: {error}.") from None


def count_members(client: PendoClient, segment_id: str, wait: Callable[[float], None]) -> int | None:
    """Returns how many visitors a segment holds; None when Pendo does not say in time."""
    try:
        return len(read_members(client, segment_id, wait, COUNT_PATIENCE))
    except PendoError:
        # A key may lack the right; that is no reason to fail.
        return None


def _job(answer: Answer) -> Job:
    """Reads the state of a job: a text, or a part of a document, in any letter case."""
    told: dict[str, Any] = {name.lower(): value for name, value in answer.document.items()}
    words = [answer.json if answer.ok else None, *map(told.get, ("command", "status", "state"))]
    states: list[tuple[JobState, str]] = [
        (state, word)
        for word in words
        if isinstance(word, str)
        for state, beginnings in _WORDS.items()
        if word.strip().lower().startswith(beginnings)
    ]
    state, word = states[0] if states else ("unknown", "")
    if state == "failed" or not word:
        word = told.get("message") or told.get("error") or answer.message
    tagged = str(told.get("totaltagged", ""))
    request_id = str(told.get("requestid") or "")
    return Job(state, answer.told(word), int(tagged) if tagged.isdecimal() else None, request_id)


def _ids(rows: Iterable[Sequence[str]]) -> set[str]:
    """Returns the ids of an export, whose first row may be a header.

    Raises:
        csv.Error: If it is no table, but a page or a document.
    """
    rows = iter(rows)
    first: Sequence[str] = next(rows, ())
    if first and first[0].lstrip().startswith(("<", "{")):
        raise csv.Error("it is no table")
    names = [re.sub("[^a-z]", "", name.lower()) for name in first]
    at = next((names.index(name) for name in _ID_COLUMNS if name in names), None)
    found = {row[at or 0].strip() for row in rows if len(row) > (at or 0)}
    if at is None and first:
        found.add(first[0].strip())
    return found - {""}


def replace_request(name: str, segment_id: str | None, visitors: Sequence[str]) -> Request:
    """Returns the request that makes a segment hold exactly these visitors, at least one.

    Without an id it uploads a new segment. That request must not be repeated when Pendo does not answer: Pendo may
    have made the segment, and a second request would make another.
    """
    if segment_id is None:
        body = orjson.dumps({"name": name, "visitors": list(visitors)})
        return Request("POST", f"{_PATH}/upload", body, visitors, idempotent=False, is_long=True)
    path, body = f"{_PATH}/{segment_id}", orjson.dumps({"visitors": list(visitors)})
    return Request("PUT", path, body, visitors, is_clear=Answer.acknowledges, is_long=True, is_of_segment=True)


def uploaded_id(answer: Answer) -> str | None:
    """Returns the id of the segment that an upload made; None when the answer does not name it."""
    found = answer.document.get("segmentId")
    return str(found) if isinstance(found, str | int) and found != "" else None


def patch_request(segment_id: str, operations: Mapping[str, Sequence[str]]) -> Request:
    """Returns the request that adds and removes visitors.

    Args:
        segment_id: The segment.
        operations: ``{"add": [id, …], "remove": [id, …]}``, at most ``LARGEST_PATCH`` visitors.
    """
    # Who is removed and added again under another spelling of the id stays a member.
    in_order = sorted(operations.items(), key=lambda item: item[0] != "remove")
    patch = [{"op": op, "path": "/visitors", "value": list(ids)} for op, ids in in_order]
    keys = [visitor for ids in operations.values() for visitor in ids]
    is_clear = partial(_reports, operations=operations)
    path, body = f"{_PATH}/{segment_id}/visitor", orjson.dumps({"patch": patch})
    return Request("PATCH", path, body, keys, is_clear=is_clear, is_long=True, is_of_segment=True)


def is_busy(answer: Answer) -> bool:
    """Returns whether a write was refused because another one is running: as a whole, or by an operation of it."""
    return answer.status == 409 or any(status == 409 for _, status, _ in _entries(answer))


def results_of(answer: Answer, operations: Collection[str]) -> dict[str, tuple[int, str]] | None:
    """Returns the status and message of each operation of a patch.

    The entries may come in any order; each names its operation. Of several entries about one operation a failure
    counts.

    Returns:
        None when the answer does not say which entry is about which operation.
    """
    results: dict[str, tuple[int, str]] = {}
    for name, status, message in _entries(answer):
        # An entry that names neither can only be about the only one.
        operation = next(iter(operations)) if name not in OPERATIONS and len(operations) == 1 else name
        if operation is None or operation not in operations:
            return None
        if operation not in results or is_done(results[operation][0]):
            results[operation] = (status, message)
    return results if results.keys() == set(operations) else None


def is_done(status: int) -> bool:
    """Returns whether an operation was carried out: 200 for an addition, 202 for a removal (pendo-api.md 5)."""
    return 200 <= status < 300


def _reports(answer: Answer, operations: Collection[str]) -> bool:
    # Each of several operations can be sent alone, so their entries need not be told apart.
    return bool(_entries(answer)) if len(operations) > 1 else results_of(answer, operations) is not None


def _entries(answer: Answer) -> list[tuple[str | None, int, str]]:
    """Returns the operation, status and message of each entry of an answer to a patch; none when one is malformed."""
    entries = answer.document.get("multistatus")
    found = []
    for entry in entries if isinstance(entries, list) else ():
        status = entry.get("status") if isinstance(entry, dict) else None
        if type(status) is not int:
            return []
        # The word (SEG), or perhaps the operation as it was sent.
        named = entry.get("operation")
        word = named.get("op") if isinstance(named, dict) else named
        message = answer.told(entry.get("message", ""))
        found.append((str(word).lower() if word else None, status, f"HTTP {status}: {message}"))
    return found
