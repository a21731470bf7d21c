"""What a request body holds, told to a warehouse that can write it."""

from __future__ import annotations

from dataclasses import dataclass

from dbt_pendo.spec.sync import FieldType


@dataclass(frozen=True, slots=True)
class BodyField:
    """A field of a body: its key, the mapped column, and the type that Pendo wants."""

    key: str
    column: str
    type: FieldType | None


@dataclass(frozen=True, slots=True)
class BodyLayout:
    """What the body of one metadata group holds: the key of the id, and the fields."""

    id_key: str
    fields: tuple[BodyField, ...]
