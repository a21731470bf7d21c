"""Rows of a page → Pendo records: pure, a column at a time.

A page is converted column by column because most columns need no conversion at all, and one look at the set of
their Python types tells: that is what makes a million rows a matter of seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import orjson

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import (
    Column,
    Event,
    Field,
    FieldType,
    Group,
    OnInvalid,
    ParentChild,
    Source,
    SyncSpec,
    Value,
)
from dbt_pendo.outcomes import DELIVERED, Outcome, Position
from dbt_pendo.records.convert import (
    CONVERTERS,
    Convert,
    InvalidValue,
    convert_column,
    to_epoch_ms,
    to_filled_string,
    to_identifier,
    to_visitor_id,
)

# The columns every row of a page begins with: bucket, seq, change, record key.
LEADING_COLUMNS = 4

# In place of a value that cannot be sent, where its field is left out.
LEFT_OUT: Any = object()

# A JSON object, or the text of one that the warehouse has written.
Body: TypeAlias = dict[str, Any] | orjson.Fragment


class Record(NamedTuple):
    """What is sent for one row."""

    position: Position
    key: str  # the visitor id, account id or event id
    # One JSON object a request. Of visitors and accounts one a metadata group, None where a row has nothing to say to
    # a group; of events the event alone; of members of a segment the operation; of deletions none.
    bodies: tuple[Body | None, ...]


@dataclass(frozen=True, slots=True)
class PendoField:
    """A mapped field as Pendo knows it."""

    key: str
    type: FieldType | None  # what the value has to become; None leaves it as the column has it


class Replaced(NamedTuple):
    """A value that could not be sent, and cost its field alone (``on_invalid``)."""

    position: Position
    key: str  # of the row
    name: str  # of the field
    on_invalid: OnInvalid
    reason: str


@dataclass(slots=True)
class Rendered:
    """A page, ready to be packed into batches."""

    updates: list[Record] = field(default_factory=list)
    clearings: list[Record] = field(default_factory=list)  # they left the model, and their fields are emptied
    deletions: list[Record] = field(default_factory=list)  # they left the model, and are deleted; without bodies
    # The outcome of every row without a request: invalid rows, rows that have nothing to say, and rows that left the
    # model and are kept.
    unsendable: dict[Position, Outcome] = field(default_factory=dict)
    replaced: list[Replaced] = field(default_factory=list)


def render(spec: SyncSpec, rows: Sequence[tuple[Any, ...]], fields: Sequence[PendoField] = ()) -> Rendered:
    """Renders the rows of a page.

    Args:
        spec: The sync.
        rows: Tuples of bucket, seq, change, record key and the columns of ``spec.columns``.
        fields: For visitors and accounts, what Pendo knows of each of ``spec.fields``.
    """
    if not rows:
        return Rendered()
    page = _Page(spec, rows)
    if spec.segment is not None:
        return _render_members(page)
    return _render_events(page, spec.event) if spec.event else _render_metadata(page, spec, fields)


class _Page:
    """The columns of a page, and for each invalid row the reason."""

    def __init__(self, spec: SyncSpec, rows: Sequence[tuple[Any, ...]]) -> None:
        self._columns = list(zip(*rows, strict=True))
        self._indexes = {name: LEADING_COLUMNS + at for at, name in enumerate(spec.columns)}
        self.size = len(rows)
        self.positions: list[Position] = list(zip(self._columns[0], self._columns[1], strict=True))
        self.changes: Sequence[str] = self._columns[2]
        self.keys: Sequence[str] = self._columns[3]
        self.invalid: dict[int, str] = {}
        self._replaced: list[tuple[int, Replaced]] = []

    def convert(
        self, label: str, source: Source, convert: Convert, required: bool = False, on_invalid: OnInvalid = "row"
    ) -> Sequence[Any]:
        """Converts a column; notes values that cannot be converted, and puts None or ``LEFT_OUT`` in their place."""
        values: Sequence[Any]
        if isinstance(source, Value):
            values = [list(source.value) if isinstance(source.value, tuple) else source.value] * self.size
        else:
            values = self._columns[self._indexes[source.name]]
        if not required and (column := convert_column(values, convert)) is not None:
            return column
        results: list[Any] = []
        for at, value in enumerate(values):
            result = None
            if value is not None or required:
                try:
                    result = convert(value)
                except InvalidValue as reason:
                    # The key of a removed row is all there is of it.
                    if self.changes[at] != "removed":
                        if on_invalid == "row":
                            self.invalid.setdefault(at, f"{label}: {reason}")
                        else:
                            replaced = Replaced(self.positions[at], self.keys[at], label, on_invalid, str(reason))
                            self._replaced.append((at, replaced))
                    result = LEFT_OUT if on_invalid == "skip" else None
            results.append(result)
        return results

    def rendered(self) -> Rendered:
        """Returns what is known of the page: its invalid rows, and values of the others that were replaced."""
        return Rendered(
            unsendable={self.positions[at]: Outcome("invalid", reason) for at, reason in self.invalid.items()},
            replaced=[replaced for at, replaced in self._replaced if at not in self.invalid],
        )


def _render_metadata(page: _Page, spec: SyncSpec, fields: Sequence[PendoField]) -> Rendered:
    groups: list[Sequence[Body | None]] = [_group_bodies(page, spec, group, fields) for group in spec.groups]
    if not groups:
        # Without fields there is nothing but the id to write: `mode: upsert` creates records that way.
        groups = [[{OBJECTS[spec.object].id_key: key, "values": {}} for key in page.keys]]
    records = map(Record, page.positions, page.keys, zip(*groups, strict=True))
    skips = any("skip" in (mapping.nulls, mapping.on_invalid) for mapping in spec.fields)
    rendered = page.rendered()
    if not (page.invalid or skips or "removed" in page.changes):
        rendered.updates = list(records)
        return rendered

    for at, record in enumerate(records):
        if at in page.invalid:
            continue
        removed = page.changes[at] == "removed"
        # No consent creates a record.
        creating = record.bodies[:-1] if spec.consents else record.bodies
        if not removed and spec.mode == "upsert" and not any(creating):
            empty = {OBJECTS[spec.object].id_key: record.key, "values": {}}
            record = record._replace(bodies=(empty, *record.bodies[1:]))
        if removed and spec.on_removed == "delete":
            rendered.deletions.append(record._replace(bodies=()))
        elif removed and spec.on_removed == "clear" and spec.fields and any(record.bodies):
            rendered.clearings.append(record)
        elif not removed and any(record.bodies):
            rendered.updates.append(record)
        else:
            # Kept; or there is nothing to say or to clear, and no record to create.
            rendered.unsendable[record.position] = DELIVERED
    return rendered


def _render_members(page: _Page) -> Rendered:
    """Returns an operation for each visitor; additions and removals are both updates, as one call takes both."""
    return Rendered(
        updates=[
            Record(position, key, ({"op": "remove" if change == "removed" else "add", "value": [key]},))
            for position, change, key in zip(page.positions, page.changes, page.keys, strict=True)
        ]
    )


def operations_of(records: Iterable[Record]) -> dict[str, list[str]]:
    """Returns the visitors that a segment is to gain and to lose: ids by ``add`` and ``remove``."""
    operations: dict[str, list[str]] = {}
    for record in records:
        if isinstance(body := record.bodies[0], dict):
            operations.setdefault(body["op"], []).append(record.key)
    return operations


def consents_of(spec: SyncSpec, record: Record) -> dict[str, bool]:
    """Returns the consents that are sent for a record, by field."""
    # They are the last of the groups.
    body = record.bodies[-1] if spec.consents else None
    return body["values"] if isinstance(body, dict) else {}


def _group_bodies(page: _Page, spec: SyncSpec, group: Group, fields: Sequence[PendoField]) -> Sequence[Body | None]:
    """Returns what each row says to one metadata group.

    None where it has nothing to say: Pendo refuses a call without values (pendo-api.md 3, "missing field mappings").
    """
    id_key = OBJECTS[spec.object].id_key
    mapped = [(mapping, field) for mapping, field in zip(spec.fields, fields, strict=True) if mapping.group == group]
    if not mapped:
        return [None] * page.size
    names = [field.key for _, field in mapped]
    columns = [
        page.convert(mapping.name, mapping.source, CONVERTERS[field.type], on_invalid=mapping.on_invalid)
        for mapping, field in mapped
    ]
    rows = [dict(zip(names, row)) for row in zip(*columns)]  # noqa: B905 - strict costs as much as the dict
    skipped = frozenset(field.key for mapping, field in mapped if mapping.nulls == "skip")
    if skipped or any(mapping.on_invalid == "skip" for mapping, _ in mapped):
        rows = [
            {
                name: value
                for name, value in row.items()
                if value is not LEFT_OUT and (value is not None or name not in skipped)
            }
            for row in rows
        ]
    if "removed" in page.changes:
        # Who leaves the model has not taken a consent back.
        cleared: dict[str, Any] = {} if group == "pendo" else dict.fromkeys(names)
        rows = [cleared if change == "removed" else row for change, row in zip(page.changes, rows, strict=True)]
    return [{id_key: key, "values": row} if row else None for key, row in zip(page.keys, rows, strict=True)]


def _render_events(page: _Page, event: Event) -> Rendered:
    names = page.convert("event", event.name, to_filled_string, required=True)
    visitors = page.convert("visitor_id", event.visitor_id, to_visitor_id, required=True)
    times = page.convert("timestamp", event.timestamp, to_epoch_ms, required=True)
    accounts = _account_ids(page, event.account_id) if event.account_id else [None] * page.size
    properties = _event_dicts(page, "properties", event.properties)
    contexts = _event_dicts(page, "context", event.context)
    rendered = page.rendered()
    parts = zip(names, visitors, times, accounts, properties, contexts, strict=True)
    for at, (name, visitor, time, account, row_properties, context) in enumerate(parts):
        if at in page.invalid:
            continue
        body: dict[str, Any] = {"type": "track", "event": name, "visitorId": visitor, "timestamp": time}
        if account is not None:
            body["accountId"] = account
        # Pendo's reference requires neither, an older page both; empty ones are taken by either (pendo-api.md 4).
        body["properties"] = row_properties
        body["context"] = context
        rendered.updates.append(Record(page.positions[at], page.keys[at], (body,)))
    return rendered


def _account_ids(page: _Page, source: Source | ParentChild) -> Sequence[str | None]:
    """Returns the account of each event; None where it has none."""
    if not isinstance(source, ParentChild):
        return page.convert("account_id", source, to_identifier)
    children = page.convert("account_id.child", Column(source.child), to_identifier)
    parents = page.convert("account_id.parent", Column(source.parent), to_identifier)
    for at, (parent, child) in enumerate(zip(parents, children, strict=True)):
        if parent is None and child is not None:
            page.invalid.setdefault(at, f"account_id.parent: is null, though {child} is given")
    # As Pendo spells the id of an account that has a parent (pendo-api.md 8.7).
    return [child and f"{parent}::{child}" for parent, child in zip(parents, children, strict=True)]


def _event_dicts(page: _Page, part: str, mappings: Sequence[Field]) -> Iterable[dict[str, Any]]:
    """Returns one dict a row; a null is left out, for an event has no earlier value to clear."""
    columns = [
        page.convert(f"{part}.{mapping.name}", mapping.source, CONVERTERS[mapping.type], on_invalid=mapping.on_invalid)
        for mapping in mappings
    ]
    if not columns:
        return [{} for _ in range(page.size)]
    names = [mapping.name for mapping in mappings]
    return (
        {name: value for name, value in zip(names, row, strict=True) if value is not None and value is not LEFT_OUT}
        for row in zip(*columns, strict=True)
    )
