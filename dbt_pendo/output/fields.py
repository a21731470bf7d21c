"""Prints the mapped fields beside those of Pendo (`fields`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from dbt_pendo.commands.fields import SyncFields, UnmappedField, UnusedField
from dbt_pendo.delivery.fields import USABLE, MatchedField, short_dtype
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Column
from dbt_pendo.output.terminal import Tag, Terminal
from dbt_pendo.pendo.metadata import SchemaField
from dbt_pendo.wording import listing, number, shortened


def show_fields(lines: Terminal, found: Sequence[SyncFields], unmapped: Sequence[UnmappedField]) -> None:
    """Prints the mapped fields of each sync beside those of Pendo, then those of Pendo that no sync writes."""
    for index, one in enumerate(found, start=1):
        tag: Tag = "ERROR" if one.error else "WARN" if one.warnings else "OK"
        states = Counter(each.state for each in one.matched)
        note = ", ".join(f"{count:,} {state}" for state, count in states.items()) or ("" if one.error else "no fields")
        text = f"{tag} {one.spec.object} {one.spec.name}"
        lines.node((index, len(found)), text, tag, note, "FieldsCompared", one.to_dict())
        lines.rows(
            [_field_row(each) for each in one.matched],
            ["info" if each.state in USABLE else "error" for each in one.matched],
        )
        # An error about the fields alone repeats their notes.
        notes = [] if one.error else [each.note for each in one.matched if each.note]
        for note in (*notes, *one.warnings):
            lines.below(note, "warn")
        lines.message_below(one.error, "error")
    for object_ in dict.fromkeys(each.object for each in unmapped):
        left = [each for each in unmapped if each.object == object_]
        lines.line()
        lines.line(f"{number(len(left), f'{object_} field')} of Pendo that no sync here maps")
        lines.rows([(_pendos_name(each.group, each.field), each.field.type or "-", "unmapped") for each in left])
    lines.line()
    if any(one.error for one in found):
        lines.line("Not every mapped field can be written.", "error")
    elif found:
        lines.line("All mapped fields can be written.", "success")


def show_unused(lines: Terminal, unused: Sequence[UnusedField]) -> None:
    """Prints the fields that no mapping of the project writes, with what uses them."""
    lines.line(f"{number(len(unused), 'field')} of Pendo that no mapping of this project writes")
    lines.rows(
        [(one.object, _pendos_name(one.group, one.field), one.field.type or "-", _used_by(one)) for one in unused]
    )
    if any(one.used_by is not None and not one.used_by for one in unused):
        lines.line()
        lines.line("`dbt-pendo fields --delete NAME` deletes one.")


def show_deleted(lines: Terminal, one: UnusedField, entry: Mapping[str, Any]) -> None:
    """Prints that a field was deleted."""
    text = f"Deleted the {one.group} field {one.field.key} of {OBJECTS[one.object].plural} in Pendo."
    lines.line(text, "success", "FieldDeleted", entry)


def _used_by(one: UnusedField) -> str:
    if one.used_by is None:
        return "Pendo does not say what uses it"
    return f"used by {shortened(listing(one.used_by), 80)}" if one.used_by else "unused"


def _field_row(one: MatchedField) -> tuple[str, ...]:
    source = one.mapping.source
    if isinstance(source, Column):
        filled_from = f"{source.name} {short_dtype(one.dtype or '')}"
    else:
        filled_from = orjson.dumps(source.value).decode()
    shown = _pendos_name(one.mapping.group, one.found, known_as=one.mapping.name) if one.found else one.mapping.group
    return one.mapping.name, shortened(filled_from, 32), shown, (one.found and one.found.type) or "-", one.state


def _pendos_name(group: str, field: SchemaField, known_as: str = "") -> str:
    name = f"{group}.{field.key}"
    return name if field.display_name in (field.key, known_as) else f"{name} ({field.display_name})"
