"""Records → the bytes of requests: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson

from dbt_pendo.records.render import Record


def pack(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    """Cuts records into batches of at most ``size``, in their order."""
    for start in range(0, len(records), size):
        yield records[start : start + size]


def metadata_body(records: Sequence[Record], group: int) -> bytes:
    """Returns the body of a bulk metadata call: an array, also of one record (pendo-api.md 3)."""
    return orjson.dumps([record.bodies[group] for record in records if record.bodies[group] is not None])


def track_body(records: Sequence[Record]) -> bytes:
    """Returns the body of a track call: one event as a bare object, several as an array (pendo-api.md 9)."""
    events = [record.bodies[0] for record in records]
    return orjson.dumps(events[0] if len(events) == 1 else events)
