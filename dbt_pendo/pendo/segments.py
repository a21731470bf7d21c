"""Pendo's segments (pendo-api.md 5): lists of visitors that the API made, and may change."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import orjson

from dbt_pendo.pendo.client import Answer, PendoClient, PendoError, Request
from dbt_pendo.pendo.deletion import job_of

# Visitors in one PATCH; of its 10 operations two are enough.
LARGEST_PATCH = 1_000
# What a patch may do.
OPERATIONS = frozenset({"add", "remove"})
# Seconds for an export of all members, and between two questions after it.
EXPORT_PATIENCE, EXPORT_WAIT = 30.0, 1.0
_PATH = "/api/v1/segment"
_FINISHED = ("finish", "complete", "done", "success")


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
    request = Request("GET", f"{_PATH}/{segment_id}", is_clear=lambda answer: answer.document.get("id"))
    return client.ask(request, f"say whether the segment {segment_id} exists", allowed=(404,)).ok


def count_members(client: PendoClient, segment_id: str, wait: Callable[[float], None]) -> int | None:
    """Returns how many visitors a segment holds, by an export of them; None when Pendo does not say in time.

    Pendo's aggregation would leave out those whom Pendo has never seen (pendo-api.md 5).
    """
    path, give_up_at = f"{_PATH}/{segment_id}/visitors", time.monotonic() + EXPORT_PATIENCE
    try:
        job = job_of(client.ask(Request("POST", path, b"{}", is_long=True), "export the members of a segment"))
        status = Request("GET", f"{path}/{job}/status")
        while not _is_finished(client.ask(status, "say how far an export is")):
            if time.monotonic() > give_up_at:
                return None
            wait(EXPORT_WAIT)
        table = client.ask(Request("GET", f"{path}/{job}/results/csv", is_long=True), "let an export be read")
    except PendoError:
        # A key may lack the right; that is no reason to fail.
        return None
    lines = [line for line in table.content.splitlines() if line]
    return len(lines) - (lines[:1] == [b"visitorId"])


def _is_finished(answer: Answer) -> bool:
    """Returns whether an export is done; no source shows the words of its state, a text or a part of a document."""
    said = [answer.json, *map(answer.document.get, ("status", "command", "state"))]
    return any(isinstance(word, str) and word.lower().startswith(_FINISHED) for word in said)


def replace_request(name: str, segment_id: str | None, visitors: Sequence[str]) -> Request:
    """Returns the request that makes a segment hold exactly these visitors, at least one.

    Without an id it uploads a new segment. That request must not be repeated when Pendo does not answer: Pendo may
    have made the segment, and a second request would make another.
    """
    if segment_id is None:
        body = orjson.dumps({"name": name, "visitors": list(visitors)})
        return Request("POST", f"{_PATH}/upload", body, visitors, idempotent=False, is_long=True)
    body = orjson.dumps({"visitors": list(visitors)})
    return Request("PUT", f"{_PATH}/{segment_id}", body, visitors, is_clear=Answer.acknowledges, is_long=True)


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
    patch = [{"op": op, "path": "/visitors", "value": list(ids)} for op, ids in operations.items()]
    keys = [visitor for ids in operations.values() for visitor in ids]
    is_clear = partial(_reports, operations=operations)
    path, body = f"{_PATH}/{segment_id}/visitor", orjson.dumps({"patch": patch})
    return Request("PATCH", path, body, keys, is_clear=is_clear, is_long=True)


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
