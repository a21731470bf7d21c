"""Compares the mapped fields with those of Pendo, creates what Pendo lacks, and deletes what nothing uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dbt_pendo.commands.context import Context, SyncFinding
from dbt_pendo.commands.select import read_specs
from dbt_pendo.delivery.fields import (
    FieldsRefusedError,
    MatchedField,
    agent_warnings,
    allow_creation,
    create_missing,
    match,
    unusable,
)
from dbt_pendo.delivery.prepare import find_source
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.mapping.keys import GROUPS
from dbt_pendo.mapping.objects import OBJECTS, RECORDS
from dbt_pendo.mapping.spec import Column, Group, Model, Object, SyncSpec
from dbt_pendo.pendo.fields import Uses, delete_field, read_all_uses, read_uses
from dbt_pendo.pendo.metadata import Schema, SchemaField
from dbt_pendo.project.artifacts import read_manifest
from dbt_pendo.wording import did_you_mean, listing, quoted


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


@dataclass(frozen=True, slots=True)
class UnusedField(UnmappedField):
    """A field that no mapping of the whole project writes, and what uses it in Pendo; None if Pendo does not say."""

    used_by: Uses | None

    def to_dict(self) -> dict[str, Any]:
        """Returns its entry in the document."""
        return {**UnmappedField.to_dict(self), "state": "unused", "used_by": self.used_by and list(self.used_by)}


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
        columns = find_source(context.session, model, spec, context.selected.last_run).named(spec)
        pendo.require_key()
        matched = match(spec, columns, pendo.schema(spec.object))
        if create or spec.create_fields:
            matched = allow_creation(matched)
        if create:
            try:
                matched = create_missing(pendo, spec, columns, matched)
            except FieldsRefusedError as error:
                return SyncFields(spec, error, match(spec, columns, pendo.schema(spec.object)))
            except DbtPendoError as error:
                return SyncFields(spec, error, matched)
        wrong = unusable(spec, matched)
        return SyncFields(spec, wrong and context.located(wrong), matched)

    found = list(context.each_sync(compare, SyncFields))
    # A sync without a table counts, as fields are mapped by name; one for which Pendo was not asked does not.
    asked = dict.fromkeys(
        one.spec.object for one in found if one.spec.object in RECORDS and (one.matched or one.error is None)
    )
    specs = [spec for _, spec in context.selected.syncs]
    return found, [field for object_ in asked for field in _unmapped(object_, specs, pendo.schema(object_))]


def find_unused(context: Context) -> list[UnusedField]:
    """Returns the fields of visitors and accounts that no mapping of the project writes, with what uses them.

    Raises:
        ConfigError: If a mapping of the project is wrong, so that nobody knows what it writes.
    """
    context.pendo.require_key(writes=False)
    specs = _all_specs(context)
    unmapped = [one for object_ in _kinds(specs) for one in _unmapped(object_, specs, context.pendo.schema(object_))]
    uses = read_all_uses(context.client) if unmapped else {}
    return [UnusedField(one.object, one.group, one.field, _uses_of(context, one, uses)) for one in unmapped]


def find_to_delete(
    context: Context, name: str, group: Group | None, object_: Object | None, force: bool
) -> UnusedField:
    """Returns the one field that a name means, if it may be deleted.

    Args:
        context: The syncs and Pendo.
        name: Its key or its name.
        group: Its group; None for any.
        object_: Whose field it is; None for visitors and accounts.
        force: Whether it may be one that a mapping writes, or something in Pendo uses.

    Raises:
        ConfigError: If it means no field or several, or the field is in use.
    """
    context.settings.require_listed(context.session.target)
    context.pendo.require_key()
    specs = _all_specs(context)
    kinds = [object_] if object_ else _kinds(specs)
    schemas = {kind: context.pendo.schema(kind) for kind in kinds}
    groups = [group] if group else GROUPS
    found = [
        UnmappedField(kind, one, field)
        for kind in kinds
        for one in groups
        for field in schemas[kind].candidates(one, name)
    ]
    if not found:
        known = [key for kind in kinds for one in groups for key in schemas[kind].groups.get(one, {})]
        where = f"{listing(groups, 'or')} field of {listing(OBJECTS[kind].plural for kind in kinds)}"
        hint = did_you_mean(name, known) or "`dbt-pendo fields` lists its fields, with their keys and display names."
        raise ConfigError(f"Pendo has no {where} named {quoted(name)}.", hint)
    if len(found) > 1:
        named = listing(f"{one.group}.{one.field.key} of {OBJECTS[one.object].plural}" for one in found)
        raise ConfigError(f"{name} means several fields: {named}.", "Give its key, --object, --group, or all of them.")
    (one,) = found
    schema, uses = schemas[one.object], _uses_of(context, one, None)
    reasons = [
        f"{spec.file}: {spec.name} writes it"
        for spec in specs
        if spec.object == one.object and _writes(spec, one, schema)
    ]
    if uses is None:
        reasons.append("Pendo does not say what uses it")
    elif uses:
        reasons.append(f"in Pendo it is used by {listing(uses)}")
    if reasons and not force:
        what = f"The {one.group} field {one.field.key} of {OBJECTS[one.object].plural} is not deleted"
        raise ConfigError(
            [f"{what}: {reason}." for reason in reasons],
            "Take it out of what uses it first, or --force deletes it all the same.",
        )
    return UnusedField(one.object, one.group, one.field, uses)


def delete_found(context: Context, one: UnusedField) -> dict[str, Any]:
    """Deletes a field, and returns its entry in the document.

    Raises:
        DbtPendoError: If Pendo refuses, or has the field all the same.
    """
    delete_field(context.client, one.object, one.group, one.field.key)
    context.pendo.forget(one.object)
    if one.field.key in context.pendo.schema(one.object).groups.get(one.group, {}):
        raise DbtPendoError(
            f"Pendo took the request to delete {one.field.key}, and still has the field.", "Run it again."
        )
    return {**one.to_dict(), "state": "deleted"}


def _all_specs(context: Context) -> list[SyncSpec]:
    """Returns the syncs of all models of the project, unselected and disabled ones among them."""
    return read_specs(read_manifest(context.target_path).models, context.selected.positions)


def _kinds(specs: Iterable[SyncSpec]) -> list[Object]:
    """Returns whose fields to look at: whether there are parent accounts is not known unless a sync is of them."""
    mapped = {spec.object for spec in specs}
    return [object_ for object_ in RECORDS if OBJECTS[object_].is_readable or object_ in mapped]


def _writes(spec: SyncSpec, one: UnmappedField, schema: Schema) -> bool:
    return any(
        mapping.group == one.group and one.field in schema.candidates(one.group, mapping.name)
        for mapping in spec.fields
    )


def _uses_of(context: Context, one: UnmappedField, known: Mapping[tuple[str, str, str], Uses] | None) -> Uses | None:
    """Returns what uses a field: as is known of all fields, else as Pendo says of this one."""
    if known is None:
        return read_uses(context.client, one.object, one.group, one.field.key)
    return known.get((OBJECTS[one.object].metadata_kind.lower(), one.group, one.field.key.lower()), ())


def _unmapped(object_: Object, specs: Iterable[SyncSpec], schema: Schema) -> Iterator[UnmappedField]:
    """Yields the fields of a kind of object that none of the syncs writes."""
    named = [(mapping.group, mapping.name) for spec in specs if spec.object == object_ for mapping in spec.fields]
    mapped = {(group, found.key) for group, name in named for found in schema.candidates(group, name)}
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
