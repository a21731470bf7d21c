"""Describes a sync in words, for people who never see its mapping, and as rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Column, Event, Field, Limit, ParentChild, Source, SyncSpec, Value
from dbt_pendo.wording import age, listing, quoted


def title(spec: SyncSpec) -> str:
    """Returns what a sync brings to Pendo, in a few words."""
    if spec.event is not None:
        name = spec.event.name
        what = "events" if isinstance(name, Column) else f"event {name.value}"
    elif spec.segment is not None:
        what = f"segment {spec.segment}"
    else:
        what = OBJECTS[spec.object].plural
    return f"Pendo {what} ({spec.name})"


def description(spec: SyncSpec) -> str:
    """Returns what a sync does, and which columns it takes, as Markdown."""
    if spec.event is not None:
        parts = [_event(spec, spec.event)]
    elif spec.segment is not None:
        parts = [f"The Pendo segment {quoted(spec.segment)} holds exactly the visitors in {quoted(spec.key)}."]
    else:
        parts = [" ".join(_records(spec))]
    for section, fields in spec.sections.items():
        lines = [_line(one) for one in fields]
        parts += ["\n".join((f"{section.capitalize()}:", "", *lines))] if lines else []
    return "\n\n".join(parts)


def key_reading(spec: SyncSpec, column: str) -> str:
    """Returns the path of the first key of a mapping that reads a column; empty if none does."""
    if column in spec.identifier.columns:
        return OBJECTS[spec.object].key
    for name, source in (spec.event.ids if spec.event else {}).items():
        if column in source.columns:
            return name
    paths = (
        f"{section}.{one.name}"
        for section, fields in spec.sections.items()
        for one in fields
        if column in one.source.columns
    )
    return next(paths, "")


def _records(spec: SyncSpec) -> Iterator[str]:
    unknown = "skipped" if spec.mode == "update" else "created"
    plural = OBJECTS[spec.object].plural
    yield f"Pendo {plural} by the id {_given_by(spec.identifier)}; ids that Pendo does not know are {unknown}."
    if spec.on_removed == "clear":
        yield "Of those that leave the model the fields are emptied."
    elif spec.on_removed == "delete":
        yield "Those that leave the model are deleted in Pendo."


def _event(spec: SyncSpec, event: Event) -> str:
    named = "named" if isinstance(event.name, Column) else "called"
    account = f", for the account {_given_by(event.account_id)}" if event.account_id else ""
    return (
        f"Pendo track events {named} {_given_by(event.name)}, one for each {quoted(spec.key)}: of the visitor "
        f"{_given_by(event.visitor_id)}{account}, at the time {_given_by(event.timestamp)}."
    )


def _line(mapping: Field) -> str:
    source = mapping.source
    filled_with = quoted(source.name) if isinstance(source, Column) else f"always {quoted(_constant(source))}"
    # The fields of most syncs are custom ones, and nothing else has a group at all.
    group = "" if mapping.group == "custom" else f" ({mapping.group})"
    return f"- {quoted(mapping.name)}{group}: {filled_with}"


def _given_by(source: Source | ParentChild) -> str:
    if isinstance(source, Value):
        return quoted(_constant(source))
    return f"in {listing(map(quoted, source.columns))}"


def _constant(source: Value) -> str:
    return source.value if isinstance(source.value, str) else json.dumps(source.value, ensure_ascii=False)


def mapping_rows(spec: SyncSpec) -> Iterator[dict[str, Any]]:
    """Yields what fills each of Pendo's words."""
    yield _row(OBJECTS[spec.object].key, spec.identifier)
    for name, source in spec.event.ids.items() if spec.event else ():
        yield _row(name, source)
    for section, fields in spec.sections.items():
        for one in fields:
            name = one.name if section == "fields" else f"{section}.{one.name}"
            yield _row(name, one.source, one, one.group if section == "fields" else "")


def _row(pendo: str, source: Source | ParentChild, field: Field | None = None, group: str = "") -> dict[str, Any]:
    """Returns what fills one of Pendo's words; an id is no field."""
    constant = json.dumps(source.value, ensure_ascii=False) if isinstance(source, Value) else None
    return {
        "pendo": pendo,
        "from": constant or "::".join(source.columns),
        "constant": constant is not None,
        "type": (field.type or "") if field else "",
        "nulls": field.nulls if field else "",
        "on_invalid": field.on_invalid if field else "",
        "group": group,
        "id": field is None,
    }


def options(spec: SyncSpec) -> dict[str, str]:
    """Returns the other keys of a mapping that mean something for its kind."""
    found = {
        "model": spec.unique_id,
        "file": spec.file,
        "segment": spec.segment,
        "take_over": spec.take_over and "true",
        "replace": spec.replace and "true",
        "app": spec.event and spec.event.app,
        "mode": spec.fields and spec.mode,
        "on_removed": None if spec.event else spec.on_removed,
        "create_fields": spec.create_fields and "true",
        "batch_size": f"{spec.batch_size:,}",
        "max_changes": spec.max_changes and _limit(spec.max_changes),
        "max_removals": spec.max_removals and _limit(spec.max_removals),
        "max_invalid": spec.max_invalid and _limit(spec.max_invalid),
        "max_age": None if spec.max_age is None else age(spec.max_age),
    }
    return {name: str(text) for name, text in found.items() if text}


def _limit(limit: Limit) -> str:
    return f"{limit.rows:,}" if limit.rows is not None else f"{limit.percent:g}%"
