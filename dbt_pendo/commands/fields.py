"""Compares the mapped fields of all syncs with those of Pendo, and creates what Pendo lacks."""

from __future__ import annotations

from dbt_pendo.commands.context import Context
from dbt_pendo.delivery.fields import (
    SyncFields,
    UnmappedField,
    allow_creation,
    create_missing,
    match,
    unmapped,
    unusable,
)
from dbt_pendo.delivery.prepare import find_source
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Model, SyncSpec
from dbt_pendo.pendo.metadata import FieldsRefusedError


def compare_fields(context: Context, create: bool) -> tuple[list[SyncFields], list[UnmappedField]]:
    """Compares the mapped fields with those of Pendo.

    Args:
        context: The syncs.
        create: Create those that Pendo lacks, even where a mapping does not have ``create_fields``.

    Returns:
        The fields of each sync, and those of Pendo that no sync writes.
    """
    pendo = context.pendo

    def compare(model: Model, spec: SyncSpec) -> SyncFields:
        if not OBJECTS[spec.object].has_fields:
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
    # A sync without a table counts as well, for fields are mapped by name; one of which Pendo was not asked does not.
    asked = dict.fromkeys(
        one.spec.object for one in found if OBJECTS[one.spec.object].has_fields and (one.matched or one.error is None)
    )
    specs = [spec for _, spec in context.selected.syncs]
    left = [
        field
        for object_ in asked
        for field in unmapped(object_, (spec for spec in specs if spec.object == object_), pendo.schema(object_))
    ]
    return found, left
