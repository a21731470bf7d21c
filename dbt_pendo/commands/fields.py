"""Compares the mapped fields of all syncs with those of Pendo, and creates what Pendo lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dbt_pendo.commands.context import Context, SyncFinding
from dbt_pendo.delivery.fields import (
    GROUPS,
    MatchedField,
    agent_warnings,
    allow_creation,
    create_missing,
    match,
    unusable,
)
from dbt_pendo.delivery.prepare import find_source
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import RECORDS
from dbt_pendo.mapping.spec import Column, Group, Model, Object, SyncSpec
from dbt_pendo.pendo.metadata import FieldsRefusedError, Schema, SchemaField


@dataclass(frozen=True, slots=True)
class SyncFields(SyncFinding):
    """The fields of one sync, in the order of the mapping."""

    matched: tuple[MatchedField, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not keep a sync from running, and may surprise."""
        return agent_warnings(self.spec)

    def details(self) -> dict[str, Any]:
        """Returns the mapped fields beside those of Pendo."""
        return {"fields": list(map(_field_entry, self.matched)), "warnings": list(self.warnings)}

    def to_rows(self) -> list[dict[str, Any]]:
        """Returns the fields as rows of a table of all syncs."""
        return [{"sync": self.spec.name, "object": self.spec.object, **_field_entry(one)} for one in self.matched]


@dataclass(frozen=True, slots=True)
class UnmappedField:
    """A field of Pendo's that a sync could write, and none does."""

    object: Object
    group: Group
    field: SchemaField

    def to_dict(self) -> dict[str, Any]:
        """Returns its entry in the document."""
        return {"object": self.object, "group": self.group, **asdict(self.field), "state": "unmapped"}


def compare_fields(context: Context, create: bool) -> tuple[list[SyncFields], list[UnmappedField]]:
    """Compares the mapped fields with those of Pendo.

    Args:
        context: The syncs.
        create: Create those that Pendo lacks, even where a mapping does not have ``create_fields``.

    Returns:
        The fields of each sync, and those of Pendo that no sync writes.
    """
    pendo = context.pendo
    if create:
        context.require_writable()

    def compare(model: Model, spec: SyncSpec) -> SyncFields:
        if spec.object not in RECORDS:
            return SyncFields(spec)
        source = find_source(context.session, model, spec, context.selected.last_run)
        pendo.require_key()
        matched = match(spec, source, pendo.schema(spec.object))
        if create or spec.create_fields:
            matched = allow_creation(matched)
        if create:
            try:
                matched = create_missing(pendo, spec, source, matched)
            except FieldsRefusedError as error:
                return SyncFields(spec, error, match(spec, source, pendo.schema(spec.object)))
            except DbtPendoError as error:
                return SyncFields(spec, error, matched)
        return SyncFields(spec, unusable(spec, matched), matched)

    found = list(context.each_sync(compare, SyncFields))
    # A sync without a table counts, as fields are mapped by name; one for which Pendo was not asked does not.
    asked = dict.fromkeys(
        one.spec.object for one in found if one.spec.object in RECORDS and (one.matched or one.error is None)
    )
    specs = [spec for _, spec in context.selected.syncs]
    return found, [field for object_ in asked for field in _unmapped(object_, specs, pendo.schema(object_))]


def _unmapped(object_: Object, specs: Iterable[SyncSpec], schema: Schema) -> Iterator[UnmappedField]:
    """Yields the fields of a kind of object that none of the syncs writes."""
    named = [(mapping.group, mapping.name) for spec in specs if spec.object == object_ for mapping in spec.fields]
    mapped = {(group, found.key) for group, name in named if (found := schema.find(group, name)) is not None}
    for group in GROUPS:
        for key, field in sorted(schema.groups.get(group, {}).items()):
            if (group, key) not in mapped:
                yield UnmappedField(object_, group, field)


def _field_entry(one: MatchedField) -> dict[str, Any]:
    source = one.mapping.source
    return {
        "name": one.mapping.name,
        **({"column": source.name} if isinstance(source, Column) else {"value": source.value}),
        "column_type": one.dtype,
        "group": one.mapping.group,
        **(asdict(one.found) if one.found else {"key": None, "display_name": None, "type": None}),
        "state": one.state,
        "note": one.note or None,
    }
