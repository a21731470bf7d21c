"""Describes a sync in words, for people who never see its mapping."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Column, Event, Field, ParentChild, Source, SyncSpec
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
