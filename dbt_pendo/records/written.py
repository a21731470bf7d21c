"""Bodies that the warehouse has written: what ``render.py`` makes of a page, where SQL can do it.

It spares the way of every value through the driver and Python, most of what a row costs. The bodies are the same to
the byte; the macro ``pendo_read_bodies`` leaves out what it cannot write so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

from dbt_pendo.outcome import Position
from dbt_pendo.records.render import ID_KEYS, PendoField, Record
from dbt_pendo.spec.body import BodyField, BodyLayout
from dbt_pendo.spec.sync import Column, SyncSpec


@dataclass(frozen=True)
class WrittenBatch:
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

    def part(self, group: int) -> WrittenBatch:
        """See ``Batch``: every row has a value, if only null, for each group."""
        return self


def body_layouts(spec: SyncSpec, fields: Sequence[PendoField]) -> tuple[BodyLayout, ...]:
    """Returns the bodies of a sync, one a metadata group; none when only ``render`` can write them."""
    # What the id of a parent account is called is found by trying (see Deliverer): no text to be written beforehand.
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
