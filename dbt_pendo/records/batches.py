"""Batches of records: rendered by us, or written by the warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import orjson

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import BodyField, BodyLayout, Column, Group, SyncSpec
from dbt_pendo.outcomes import Position
from dbt_pendo.records.render import PendoField, Record


class Batch:
    """Records that go to Pendo in one request a metadata group."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.positions: Sequence[Position] = [record.position for record in records]
        self.keys: Sequence[str] = [record.key for record in records]
        # How many metadata groups the records have bodies for.
        self.groups = len(records[0].bodies) if records else 0

    def __len__(self) -> int:
        return len(self.positions)

    def request(self, group: int) -> bytes:
        """Returns the body of the bulk metadata call for a group: an array, also of one record (pendo-api.md 3).

        Records that have nothing to say to the group are left out.
        """
        return orjson.dumps([record.bodies[group] for record in self.records if record.bodies[group] is not None])

    def part(self, group: int) -> Batch:
        """Returns the batch of those records that have something to say to a group."""
        return Batch([record for record in self.records if record.bodies[group] is not None])


class SqlBatch(Batch):
    """A batch of rows whose bodies the warehouse has written; they are read only if Pendo does not take them all.

    Args:
        positions: Where the rows stand in the change set.
        bodies: Of each row, the text of a body a metadata group; every row has one, if only of nulls.
        id_key: The key of the id in each body.
    """

    def __init__(self, positions: Sequence[Position], bodies: Sequence[tuple[str, ...]], id_key: str) -> None:
        self.positions = positions
        self.groups = len(bodies[0])
        self._bodies = bodies
        self._id_key = id_key

    @cached_property
    def keys(self) -> Sequence[str]:  # type: ignore[override]
        """The first value of each body, read without the rest of it."""
        start = len(f'{{"{self._id_key}":"')
        written = [bodies[0][start : bodies[0].index('"', start)] for bodies in self._bodies]
        # A key with a quote or a line break in it is escaped, so this was perhaps not its end.
        return [
            orjson.loads(bodies[0])[self._id_key] if "\\" in key else key
            for key, bodies in zip(written, self._bodies, strict=True)
        ]

    @cached_property
    def records(self) -> Sequence[Record]:  # type: ignore[override]
        """The same rows as records."""
        fragments = [tuple(map(orjson.Fragment, bodies)) for bodies in self._bodies]
        return list(map(Record, self.positions, self.keys, fragments))

    def request(self, group: int) -> bytes:
        """Joins the bodies as they are."""
        return f"[{','.join([bodies[group] for bodies in self._bodies])}]".encode()

    def part(self, group: int) -> SqlBatch:
        """Returns the batch itself."""
        return self


def pack(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    """Cuts records into batches of at most ``size``, in their order."""
    for start in range(0, len(records), size):
        yield records[start : start + size]


def values_body(records: Sequence[Record], group: int, id_key: str) -> bytes:
    """Returns the body of a bulk metadata call with the ids under another key than the one they were rendered with."""
    bodies = ((record.key, record.bodies[group]) for record in records)
    return orjson.dumps([{id_key: key, "values": body["values"]} for key, body in bodies if isinstance(body, dict)])


def track_body(records: Sequence[Record]) -> bytes:
    """Returns the body of a track call: one event as a bare object, several as an array (pendo-api.md 9)."""
    events = [record.bodies[0] for record in records]
    return orjson.dumps(events[0] if len(events) == 1 else events)


def body_layouts(spec: SyncSpec, fields: Sequence[PendoField]) -> tuple[BodyLayout, ...]:
    """Returns the bodies of a sync, one a metadata group; none when only ``render`` can write them."""
    by_group: dict[Group, list[BodyField]] = {}
    for mapping, field in zip(spec.fields, fields, strict=True):
        # The key of a parent account's id is found by trying (see MetadataWriter), so no text can be written before.
        if spec.object == "parent_account" or mapping.nulls == "skip" or not isinstance(mapping.source, Column):
            return ()
        by_group.setdefault(mapping.group, []).append(BodyField(field.key, mapping.source.name, field.type))
    return tuple(BodyLayout(OBJECTS[spec.object].id_key, tuple(written)) for written in by_group.values())
