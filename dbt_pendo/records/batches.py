"""Records → the bytes of requests: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from dbt_pendo.outcome import Position
from dbt_pendo.records.render import Record


class Batch(Protocol):
    """Records that go to Pendo in one request a metadata group."""

    def __len__(self) -> int:
        """Returns how many records there are."""
        ...

    @property
    def positions(self) -> Sequence[Position]:
        """Where the records' rows stand in the change set."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """The records' keys."""
        ...

    @property
    def records(self) -> Sequence[Record]:
        """The records, one by one."""
        ...

    @property
    def groups(self) -> int:
        """How many metadata groups the records have bodies for."""
        ...

    def request(self, group: int) -> bytes:
        """Returns the body of the bulk metadata call for a group."""
        ...

    def part(self, group: int) -> Batch:
        """Returns the batch of those records that have something to say to a group."""
        ...


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """A batch made of records."""

    records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def positions(self) -> Sequence[Position]:
        """See ``Batch``."""
        return [record.position for record in self.records]

    @property
    def keys(self) -> Sequence[str]:
        """See ``Batch``."""
        return [record.key for record in self.records]

    @property
    def groups(self) -> int:
        """See ``Batch``."""
        return len(self.records[0].bodies)

    def request(self, group: int) -> bytes:
        """See ``Batch``."""
        return metadata_body(self.records, group)

    def part(self, group: int) -> RecordBatch:
        """See ``Batch``."""
        return RecordBatch([record for record in self.records if record.bodies[group] is not None])


def pack(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    """Cuts records into batches of at most ``size``, in their order."""
    for start in range(0, len(records), size):
        yield records[start : start + size]


def metadata_body(records: Sequence[Record], group: int) -> bytes:
    """Returns the body of a bulk metadata call: an array, also of one record (pendo-api.md 3)."""
    return orjson.dumps([record.bodies[group] for record in records if record.bodies[group] is not None])


def values_body(records: Sequence[Record], group: int, id_key: str) -> bytes:
    """Returns the body of a bulk metadata call with the ids under another key than the one they were rendered with."""
    bodies = ((record.key, record.bodies[group]) for record in records)
    return orjson.dumps([{id_key: key, "values": body["values"]} for key, body in bodies if isinstance(body, dict)])


def track_body(records: Sequence[Record]) -> bytes:
    """Returns the body of a track call: one event as a bare object, several as an array (pendo-api.md 9)."""
    events = [record.bodies[0] for record in records]
    return orjson.dumps(events[0] if len(events) == 1 else events)
