"""The mapped fields of all syncs beside those of Pendo."""

from __future__ import annotations

from dbt_pendo.commands.context import Context
from dbt_pendo.delivery.fields import MatchedField, SyncFields, UnmappedField, allow_creation, match, unmapped, unusable
from dbt_pendo.delivery.prepare import create_missing, find_source
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.pendo.metadata import FieldsRefusedError
from dbt_pendo.project.manifest import Model


def compare_fields(syncs: Context, create: bool) -> tuple[list[SyncFields], list[UnmappedField]]:
    """Puts the mapped fields beside those of Pendo.

    Args:
        syncs: The syncs.
        create: Create those that Pendo lacks, whatever ``create_fields`` says.

    Returns:
        The fields of each sync, and those of Pendo that no sync writes.
    """
    found = [_fields(syncs, model, spec, create) for model, spec in syncs.selected.syncs]
    # Mapped by name, so a sync whose table is not there counts as well; but not without an answer of Pendo's.
    asked = dict.fromkeys(
        one.spec.object for one in found if OBJECTS[one.spec.object].has_fields and (one.matched or one.error is None)
    )
    specs = [spec for _, spec in syncs.selected.syncs]
    left = [
        field
        for object_ in asked
        for field in unmapped(object_, (spec for spec in specs if spec.object == object_), syncs.pendo.schema(object_))
    ]
    return found, left


def _fields(syncs: Context, model: Model, spec: SyncSpec, create: bool) -> SyncFields:
    syncs.stop.check()
    matched: tuple[MatchedField, ...] = ()
    if not OBJECTS[spec.object].has_fields:
        return SyncFields(spec)
    try:
        source = find_source(syncs.session, model, spec, syncs.selected.last_run)
        syncs.pendo.require_key()
        matched = match(spec, source, syncs.pendo.schema(spec.object))
        if create or spec.create_fields:
            matched = allow_creation(matched)
        if create:
            matched = create_missing(syncs.pendo, spec, source, matched)
    except FieldsRefusedError as error:
        return SyncFields(spec, error, match(spec, source, syncs.pendo.schema(spec.object)))
    except DbtPendoError as error:
        return SyncFields(spec, error, matched)
    return SyncFields(spec, unusable(spec, matched), matched)
