"""Pendo's segments (pendo-api.md 5): lists of visitors that the API made, and may change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import orjson

from dbt_pendo.pendo.answers import acknowledges
from dbt_pendo.pendo.client import Answer, PendoClient, PendoError

# Visitors in one PATCH; of its 10 operations two are enough.
LARGEST_PATCH = 1_000
# What a patch may do.
OPERATIONS = frozenset({"add", "remove"})


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment: its id, its name, and whether the API made it; others may not be changed."""

    id: str
    name: str
    created_by_api: bool


def list_segments(client: PendoClient) -> list[Segment]:
    """Returns all segments.

    Raises:
        PendoError: If Pendo does not list them.
    """
    answer = client.api("GET", "segment", is_clear=_is_list)
    if not answer.ok:
        raise PendoError(f"Pendo does not list its segments ({answer.message}).")
    return [
        Segment(str(item.get("id")), str(item.get("name")), item.get("createdByApi") is True)
        for item in answer.json
        if isinstance(item, dict)
    ]


def _is_list(answer: Answer) -> bool:
    return isinstance(answer.json, list)


def is_there(client: PendoClient, segment_id: str) -> bool:
    """Returns whether a segment still exists.

    Raises:
        PendoError: If Pendo does not say.
    """
    answer = client.api("GET", f"segment/{segment_id}", is_clear=_is_segment)
    if not answer.ok and answer.status != 404:
        raise PendoError(f"Pendo does not say whether the segment {segment_id} exists ({answer.message}).")
    return answer.ok


def _is_segment(answer: Answer) -> bool:
    document = answer.json
    return isinstance(document, dict) and bool(document.get("id"))


def upload(client: PendoClient, name: str, visitors: Sequence[str]) -> Answer:
    """Makes a segment of at least one visitor.

    Raises:
        UnavailableError: If Pendo does not answer; it may have made the segment, and a second call would make another.
    """
    body = orjson.dumps({"name": name, "visitors": list(visitors)})
    return client.api("POST", "segment/upload", body, repeatable=False, keys=visitors)


def uploaded_id(answer: Answer) -> str | None:
    """Returns the id of the segment that an upload made; None when the answer does not tell."""
    document = answer.json if answer.ok else None
    found = document.get("segmentId") if isinstance(document, dict) else None
    return str(found) if isinstance(found, str | int) and found != "" else None


def overwrite(client: PendoClient, segment_id: str, visitors: Sequence[str]) -> Answer:
    """Replaces all members."""
    body = orjson.dumps({"visitors": list(visitors)})
    return client.api("PUT", f"segment/{segment_id}", body, acknowledges, keys=visitors)


def patch(client: PendoClient, segment_id: str, operations: Mapping[str, Sequence[str]]) -> Answer:
    """Adds and removes visitors: ``{"add": [id, …], "remove": [id, …]}``, at most ``LARGEST_PATCH`` of them."""
    body = orjson.dumps(patch_document(operations))
    keys = [visitor for ids in operations.values() for visitor in ids]
    return client.api("PATCH", f"segment/{segment_id}/visitor", body, partial(_tells, operations=operations), keys=keys)


def patch_document(operations: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, object]]]:
    """Returns the body of ``patch``, an operation a list."""
    return {"patch": [{"op": op, "path": "/visitors", "value": list(ids)} for op, ids in operations.items()]}


def is_busy(answer: Answer) -> bool:
    """Returns whether a write was refused because another one is running: as a whole, or by an operation of it."""
    return answer.status == 409 or any(status == 409 for _, status, _ in _entries(answer) or ())


def told_of(answer: Answer, operations: Collection[str]) -> dict[str, tuple[int, str]] | None:
    """Returns what became of each operation of a ``patch``: status and message.

    The entries may come in any order; each names its operation. An operation with several entries is as good as the
    worst of them.

    Returns:
        None when the answer does not tell which entry is about which operation.
    """
    told: dict[str, tuple[int, str]] = {}
    for name, status, message in _entries(answer) or ():
        # An entry that names neither can only be about the only one.
        operation = next(iter(operations)) if name not in OPERATIONS and len(operations) == 1 else name
        if operation is None or operation not in operations:
            return None
        if operation not in told or is_done(told[operation][0]):
            told[operation] = (status, message)
    return told if told.keys() == set(operations) else None


def is_done(status: int) -> bool:
    """Returns whether an operation was carried out: 200 for an addition, 202 for a removal (pendo-api.md 5)."""
    return 200 <= status < 300


def _tells(answer: Answer, operations: Collection[str]) -> bool:
    # Of several operations each can be asked for alone, so their entries need not be told apart.
    return bool(_entries(answer)) if len(operations) > 1 else told_of(answer, operations) is not None


def _entries(answer: Answer) -> list[tuple[str | None, int, str]] | None:
    """Returns the operation, status and message of each entry of an answer to ``patch``; None when it has no list."""
    document = answer.json if answer.ok else None
    entries = document.get("multistatus") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return None
    found = []
    for entry in entries:
        status = entry.get("status") if isinstance(entry, dict) else None
        if type(status) is not int:
            return None
        # The word (SEG), or perhaps the operation as it was sent.
        named = entry.get("operation")
        word = named.get("op") if isinstance(named, dict) else named
        message = answer.told(entry.get("message", ""))
        found.append((str(word).lower() if word else None, status, f"HTTP {status}: {message}"))
    return found
