"""Pendo's segments (pendo-api.md 5): lists of visitors that the API made, and may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from dbt_pendo.pendo.answers import acknowledges
from dbt_pendo.pendo.client import Answer, PendoClient, PendoError

# Visitors in one PATCH; of its 10 operations two are enough.
LARGEST_PATCH = 1_000


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
    return client.api("PATCH", f"segment/{segment_id}/visitor", body, _tells, keys=keys)


def patch_document(operations: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, object]]]:
    """Returns the body of ``patch``, an operation a list."""
    return {"patch": [{"op": op, "path": "/visitors", "value": list(ids)} for op, ids in operations.items()]}


def is_busy(answer: Answer) -> bool:
    """Returns whether a write was refused because another one is running: as a whole, or by an operation of it."""
    return answer.status == 409 or any(status == 409 for status, _ in told_of(answer) or ())


def _tells(answer: Answer) -> bool:
    return told_of(answer) is not None


def told_of(answer: Answer) -> list[tuple[int, str]] | None:
    """Returns what a ``patch`` did, an operation each: status and message; None when the answer does not tell."""
    document = answer.json if answer.ok else None
    entries = document.get("multistatus") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return None
    told = []
    for entry in entries:
        status = entry.get("status") if isinstance(entry, dict) else None
        if not isinstance(status, int):
            return None
        told.append((status, f"HTTP {status}: {entry.get('message', '')}"))
    return told
