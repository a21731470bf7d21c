"""The mapped fields beside Pendo's: which is which, and what does not fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dbt_pendo.pendo.metadata import Schema, SchemaField
from dbt_pendo.spec.sync import Column, FieldType, Group, Mapping, SyncSpec

State: TypeAlias = Literal["ok", "missing", "mismatch", "created", "unmapped"]

GROUPS: tuple[Group, ...] = ("custom", "agent")
# Values that can never become a field of that type, whatever the row: the kind of the column, and the field's type.
_UNFIT: frozenset[tuple[str, FieldType]] = frozenset(
    {
        ("boolean", "integer"),
        ("boolean", "float"),
        ("boolean", "time"),
        ("time", "boolean"),
        ("time", "integer"),
        ("time", "float"),
        ("list", "string"),
        ("list", "boolean"),
        ("list", "integer"),
        ("list", "float"),
        ("list", "time"),
    }
)


@dataclass(frozen=True, slots=True)
class ShownField:
    """A field of Pendo's and what fills it; either side may be missing.

    Attributes:
        state: ``ok``; ``missing`` in Pendo; ``mismatch``, the column can never fit; ``created`` just now; ``unmapped``,
            no sync of this run fills it.
        group: Pendo's metadata group.
        mapped: The name in the mapping; None when nothing fills the field.
        source: The column, or the constant as text; None when nothing fills the field.
        dtype: The column's type in the warehouse's words.
        key: Pendo's key; None when Pendo has no such field.
        display_name: Pendo's name for people.
        type: Pendo's type; None when undeclared.
        note: What is wrong, and what may have been meant.
    """

    state: State
    group: str
    mapped: str | None = None
    source: str | None = None
    dtype: str | None = None
    key: str | None = None
    display_name: str | None = None
    type: FieldType | None = None
    note: str | None = None


def show_fields(
    spec: SyncSpec, dtypes: dict[str, str], kinds: dict[str, str | None], schema: Schema, created: frozenset[str]
) -> Iterator[ShownField]:
    """Yields each mapped field beside Pendo's.

    Args:
        spec: The sync.
        dtypes: The types of the mapped columns in the warehouse's words.
        kinds: The kinds of value they hold.
        schema: Pendo's fields.
        created: The mapped names that were created just now.
    """
    for mapping in spec.fields:
        found = schema.find(mapping.group, mapping.name)
        source = mapping.source.name if isinstance(mapping.source, Column) else repr(mapping.source.value)
        dtype = dtypes.get(source) if isinstance(mapping.source, Column) else None
        if found is None:
            note = advice(mapping, schema) or None
            yield ShownField("missing", mapping.group, mapping.name, source, dtype, note=note)
            continue
        wanted = mapping.type or found.type
        unfit = isinstance(mapping.source, Column) and not fits(kinds[source], wanted)
        state: State = "mismatch" if unfit else "created" if mapping.name in created else "ok"
        note = f"{dtype} can never be {wanted}" if unfit else None
        shown = (mapping.name, source, dtype, found.key, found.display_name, found.type)
        yield ShownField(state, mapping.group, *shown, note=note)


def unmapped_fields(specs: Sequence[SyncSpec], schema: Schema) -> Iterator[ShownField]:
    """Yields the fields that could be written and that no sync of an object fills."""
    filled = {
        (mapping.group, found.key)
        for spec in specs
        for mapping in spec.fields
        if (found := schema.find(mapping.group, mapping.name))
    }
    for group in GROUPS:
        for key, field in sorted(schema.groups.get(group, {}).items()):
            if (group, key) not in filled:
                yield ShownField("unmapped", group, key=key, display_name=field.display_name, type=field.type)


def agent_warnings(spec: SyncSpec) -> list[str]:
    """Says which mapped fields Pendo's own snippet writes as well (pendo-api.md 8.2)."""
    names = [mapping.name for mapping in spec.fields if mapping.group == "agent"]
    if not names:
        return []
    listed = ", ".join(f"`{name}`" for name in names)
    return [f"Pendo's snippet overwrites agent fields on the next page view: {listed}. Custom fields stay as synced."]


def fits(kind: str | None, type_: FieldType | None) -> bool:
    """Returns whether a column of a kind can fill a field of a type; None stands for text, or an undeclared type."""
    return kind not in ("bytes", "nested") and (kind, type_) not in _UNFIT


def advice(mapping: Mapping, schema: Schema) -> str:
    """Returns what may have been meant by a field that Pendo does not have; empty when nothing is near."""
    own = schema.groups.get(mapping.group, {})
    namesakes = [key for key, field in own.items() if field.display_name == mapping.name]
    if len(namesakes) > 1:
        return f"Several have this display name; map one by its key: {', '.join(namesakes)}."
    elsewhere = [group for group in schema.groups if group != mapping.group and schema.find(group, mapping.name)]
    if elsewhere:
        writable = [group for group in elsewhere if group in GROUPS]
        if writable:
            return f"There is one in the group `{writable[0]}`."
        return f"There is one in the group `{elsewhere[0]}`, which is Pendo's own and cannot be written."
    fields: dict[str, SchemaField] = {}
    for key, field in schema.groups.get(mapping.group, {}).items():
        fields[field.display_name.lower()] = field
        fields[key] = field
    close = difflib.get_close_matches(mapping.name.lower(), fields, n=1)
    return f"Did you mean `{fields[close[0]].key}`?" if close else ""


def doubles(spec: SyncSpec, schema: Schema) -> Iterator[str]:
    """Yields what is wrong where two mapped names are one field of Pendo's: its key and its display name, say."""
    first: dict[tuple[str, str], str] = {}
    for mapping in spec.fields:
        if found := schema.find(mapping.group, mapping.name):
            other = first.setdefault((mapping.group, found.key), mapping.name)
            if other != mapping.name:
                yield f"`{other}` and `{mapping.name}` are one {mapping.group} field of Pendo's, `{found.key}`"
