"""Describes a sync in words, for people who never see its mapping, and as rows."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator
from typing import Any

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Column, Event, Field, Limit, ParentChild, Source, SyncSpec
from dbt_pendo.wording import quoted


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
        parts = [_event(spec, spec.event), _list("Properties", spec.event.properties)]
        parts.append(_list("Context", spec.event.context))
    elif spec.segment is not None:
        parts = [f"The Pendo segment {quoted(spec.segment)} holds exactly the visitors in {quoted(spec.key)}."]
    else:
        parts = [" ".join(_records(spec)), _list("Fields", spec.fields)]
    return "\n\n".join(filter(None, parts))


def _records(spec: SyncSpec) -> Iterator[str]:
    key = f"{quoted(spec.parent_key)} and {quoted(spec.key)}" if spec.parent_key else quoted(spec.key)
    unknown = "skipped" if spec.mode == "update" else "created"
    yield f"Pendo {OBJECTS[spec.object].plural} by the id in {key}; ids that Pendo does not know are {unknown}."
    if spec.on_removed == "clear":
        yield "Of those that leave the model the fields are emptied."
    elif spec.on_removed == "delete":
        yield "Those that leave the model are deleted in Pendo."


def _event(spec: SyncSpec, event: Event) -> str:
    if isinstance(event.account_id, ParentChild):
        account = f", for the account in {quoted(event.account_id.parent)} and {quoted(event.account_id.child)}"
    else:
        account = f", for the account {_given_by(event.account_id)}" if event.account_id else ""
    named = "named" if isinstance(event.name, Column) else "called"
    return (
        f"Pendo track events {named} {_given_by(event.name)}, one for each {quoted(spec.key)}: of the visitor "
        f"{_given_by(event.visitor_id)}{account}, at the time {_given_by(event.timestamp)}."
    )


def _list(heading: str, mappings: Iterable[Field]) -> str:
    lines = [f"- {quoted(one.name)}{_group(one)}: {_filled_with(one.source)}" for one in mappings]
    return "\n".join((f"{heading}:", "", *lines)) if lines else ""


def _group(mapping: Field) -> str:
    # The fields of most syncs are custom ones, and nothing else has a group at all.
    return "" if mapping.group == "custom" else f" ({mapping.group})"


def _given_by(source: Source) -> str:
    return f"in {quoted(source.name)}" if isinstance(source, Column) else quoted(_constant(source.value))


def _filled_with(source: Source) -> str:
    return quoted(source.name) if isinstance(source, Column) else f"always {quoted(_constant(source.value))}"


def _constant(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def mapping_rows(spec: SyncSpec) -> Iterator[dict[str, Any]]:
    """Yields what fills each of Pendo's words."""
    key = {"track_event": "event_id", "segment": "visitor_id"}.get(spec.object, f"{spec.object}_id")
    yield _row(key, ParentChild(spec.parent_key, spec.key) if spec.parent_key else Column(spec.key))
    for field in spec.fields:
        yield _row(field.name, field.source, field.type, field.nulls, field.group)
    if (event := spec.event) is not None:
        ids = {"event": event.name, "visitor_id": event.visitor_id, "account_id": event.account_id}
        yield from (_row(name, source) for name, source in (*ids.items(), ("timestamp", event.timestamp)) if source)
        for part, fields in (("properties", event.properties), ("context", event.context)):
            yield from (_row(f"{part}.{one.name}", one.source, one.type, one.nulls) for one in fields)


def _row(
    pendo: str, source: Source | ParentChild, type_: str | None = None, nulls: str = "", group: str = ""
) -> dict[str, Any]:
    """Returns what fills one of Pendo's words; an id has no nulls."""
    if isinstance(source, ParentChild):
        filled_from = f"{source.parent}::{source.child}"
    else:
        filled_from = source.name if isinstance(source, Column) else json.dumps(source.value, ensure_ascii=False)
    return {
        "pendo": pendo,
        "from": filled_from,
        "constant": not isinstance(source, Column | ParentChild),
        "type": type_ or "",
        "nulls": nulls,
        "group": group,
        "id": not nulls,
    }


def options(spec: SyncSpec) -> dict[str, str]:
    """Returns the other keys of a mapping that mean something for its kind."""
    found = {
        "model": spec.unique_id,
        "file": spec.file,
        "segment": spec.segment,
        "app": spec.event and spec.event.app,
        "mode": spec.fields and spec.mode,
        "on_removed": None if spec.event else spec.on_removed,
        "create_fields": spec.create_fields and "true",
        "batch_size": f"{spec.batch_size:,}",
        "max_changes": spec.max_changes and _limit(spec.max_changes),
        "max_removals": spec.max_removals and _limit(spec.max_removals),
        "max_age": None if spec.max_age is None else str(datetime.timedelta(seconds=spec.max_age)),
    }
    return {name: str(text) for name, text in found.items() if text}


def _limit(limit: Limit) -> str:
    return f"{limit.rows:,}" if limit.rows is not None else f"{limit.percent:g}%"
