"""Batches of records: rendered by us, or written by the warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import orjson

from dbt_pendo.mapping.spec import BodyField, BodyLayout, Column, SyncSpec
from dbt_pendo.outcomes import Position
from dbt_pendo.records.render import ID_KEYS, PendoField, Record


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


@dataclass(frozen=True)
class SqlBatch:
    """A batch of rows whose bodies are there already; only when Pendo does not take all of them are they looked at.

    Attributes:
        positions: Where the rows stand in the change set.
        bodies: Of each row, a body a metadata group.
        id_key: The key of the id in each body.
    """

    positions: Sequence[Position]
    bodies: Sequence[tuple[str, ...]]
    id_key: str

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def keys(self) -> Sequence[str]:
        """See ``Batch``: the first value of each body, read without the rest of it."""
        start = len(f'{{"{self.id_key}":"')
        written = [bodies[0][start : bodies[0].index('"', start)] for bodies in self.bodies]
        # A key with a quote or a line break in it is escaped, so this was perhaps not its end.
        return [
            orjson.loads(bodies[0])[self.id_key] if "\\" in key else key
            for key, bodies in zip(written, self.bodies, strict=True)
        ]

    @cached_property
    def records(self) -> Sequence[Record]:
        """See ``Batch``."""
        return [
            Record(position, key, tuple(map(orjson.Fragment, bodies)))
            for position, key, bodies in zip(self.positions, self.keys, self.bodies, strict=True)
        ]

    @property
    def groups(self) -> int:
        """See ``Batch``."""
        return len(self.bodies[0])

    def request(self, group: int) -> bytes:
        """See ``Batch``."""
        return f"[{','.join([bodies[group] for bodies in self.bodies])}]".encode()

    def part(self, group: int) -> SqlBatch:
        """See ``Batch``: every row has a value, if only null, for each group."""
        return self


def body_layouts(spec: SyncSpec, fields: Sequence[PendoField]) -> tuple[BodyLayout, ...]:
    """Returns the bodies of a sync, one a metadata group; none when only ``render`` can write them."""
    # The key of a parent account's id is found by trying (see ParentAccountWriter), so no text can be written before.
    if spec.object == "parent_account" or any(
        mapping.nulls == "skip" or not isinstance(mapping.source, Column) for mapping in spec.fields
    ):
        return ()
    return tuple(
        BodyLayout(
            ID_KEYS[spec.object],
            tuple(
                BodyField(field.key, mapping.source.name, field.type)
                for mapping, field in zip(spec.fields, fields, strict=True)
                if mapping.group == group and isinstance(mapping.source, Column)
            ),
        )
        for group in spec.groups
    )
