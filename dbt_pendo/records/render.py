"""Rows of a page → Pendo records: pure, a column at a time.

A page is converted column by column because most columns need no conversion at all, and one look at the set of
their Python types tells: that is what makes a million rows a matter of seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

from dbt_pendo.outcome import DELIVERED, Outcome, Position
from dbt_pendo.records.values import (
    CONVERTERS,
    INT64,
    Convert,
    InvalidValue,
    to_epoch_ms,
    to_identifier,
    to_string,
    to_visitor_id,
)
from dbt_pendo.spec.sync import Event, FieldType, Group, Source, SyncSpec, Value
from dbt_pendo.spec.sync import Mapping as Mapped

# The columns every row of a page begins with: bucket, seq, change, record key.
LEADING_COLUMNS = 4
NULL = type(None)

ID_KEYS: Mapping[str, str] = {
    "visitor": "visitorId",
    "account": "accountId",
    # Not documented (pendo-api.md 3); named as its siblings are.
    "parent_account": "parentAccountId",
}


class Record(NamedTuple):
    """What is sent for one row.

    Attributes:
        position: Where the row stands in the change set.
        key: The visitor id, account id or event id.
        bodies: One JSON object a request: for visitors and accounts one a metadata group (None where a row has
            nothing to say to a group), for events the event alone, for deletions none.
    """

    position: Position
    key: str
    bodies: tuple[dict[str, Any] | None, ...]


@dataclass(frozen=True, slots=True)
class PendoField:
    """A mapped field as Pendo knows it.

    Attributes:
        key: The field's key in Pendo's schema.
        type: What the value has to become; None leaves it as the column has it.
    """

    key: str
    type: FieldType | None


@dataclass(slots=True)
class Rendered:
    """A page, ready to be packed into batches.

    Attributes:
        updates: Records to write.
        deletions: Records to delete from Pendo, without bodies.
        unsendable: The outcome of every row for which there is no request: invalid ones, and those that have
            nothing to say.
    """

    updates: list[Record] = field(default_factory=list)
    deletions: list[Record] = field(default_factory=list)
    unsendable: dict[Position, Outcome] = field(default_factory=dict)


def render(spec: SyncSpec, rows: Sequence[tuple[Any, ...]], fields: Sequence[PendoField] = ()) -> Rendered:
    """Renders the rows of a page.

    Args:
        spec: The sync.
        rows: Tuples of bucket, seq, change, record key and the columns of ``spec.columns``.
        fields: For visitors and accounts, what Pendo knows of each of ``spec.fields``.

    Returns:
        The records, and why some rows have none.
    """
    if not rows:
        return Rendered()
    page = _Page(spec, rows)
    return _render_events(page, spec.event) if spec.event else _render_metadata(page, spec, fields)


class _Page:
    """The columns of a page, and the reason of each of its rows that turned out invalid."""

    def __init__(self, spec: SyncSpec, rows: Sequence[tuple[Any, ...]]) -> None:
        self._columns = list(zip(*rows, strict=True))
        self._indexes = {name: LEADING_COLUMNS + at for at, name in enumerate(spec.columns)}
        self.size = len(rows)
        self.positions: list[Position] = list(zip(self._columns[0], self._columns[1], strict=True))
        self.changes: Sequence[str] = self._columns[2]
        self.keys: Sequence[str] = self._columns[3]
        self.invalid: dict[int, str] = {}

    def values(self, source: Source) -> Sequence[Any]:
        if isinstance(source, Value):
            constant = list(source.value) if isinstance(source.value, tuple) else source.value
            return list(repeat(constant, self.size))
        return self._columns[self._indexes[source.name]]

    def converted(self, label: str, source: Source, convert: Convert, required: bool = False) -> Sequence[Any]:
        """Converts a column; rows that cannot be are noted as invalid, and hold None."""
        values = self.values(source)
        if not required and _fits(values, convert):
            return values
        results: list[Any] = []
        for at, value in enumerate(values):
            result = None
            if value is not None or required:
                try:
                    result = convert(value)
                except InvalidValue as reason:
                    # The key of a removed row is all there is of it.
                    if self.changes[at] != "removed":
                        self.invalid.setdefault(at, f"{label}: {reason}")
            results.append(result)
        return results

    def outcomes(self) -> dict[Position, Outcome]:
        return {self.positions[at]: Outcome("invalid", reason) for at, reason in self.invalid.items()}


def _fits(values: Sequence[Any], convert: Convert) -> bool:
    """Returns whether a column can be sent as it stands."""
    types = set(map(type, values)) - {NULL}
    if not types:
        return True
    if types == {str}:
        return convert in (to_string, CONVERTERS[None])
    if types == {bool}:
        return convert in (CONVERTERS["boolean"], CONVERTERS[None])
    if types == {int} and convert in (CONVERTERS["integer"], CONVERTERS[None]):
        present = [value for value in values if value is not None]
        return min(present) in INT64 and max(present) in INT64
    if types == {float} and convert in (CONVERTERS["float"], CONVERTERS[None]):
        return all(value is None or math.isfinite(value) for value in values)
    return False


def _render_metadata(page: _Page, spec: SyncSpec, fields: Sequence[PendoField]) -> Rendered:
    id_key = ID_KEYS[spec.object]
    groups = [_group_values(page, spec, group, fields) for group in spec.groups]
    rendered = Rendered()
    deletes = spec.on_removed == "delete"
    # Without fields there is nothing but the id to write: `mode: upsert` creates records that way.
    for at, row in enumerate(zip(*groups, strict=True) if groups else repeat(({},), page.size)):
        position, key = page.positions[at], page.keys[at]
        if at in page.invalid:
            continue
        if deletes and page.changes[at] == "removed":
            rendered.deletions.append(Record(position, key, ()))
            continue
        # A group to which a row has nothing to say is not asked: Pendo refuses a call without values.
        bodies = tuple({id_key: key, "values": values} if values else None for values in row)
        if not any(bodies):
            if spec.mode == "update":
                rendered.unsendable[position] = DELIVERED
                continue
            bodies = ({id_key: key, "values": {}}, *bodies[1:])
        rendered.updates.append(Record(position, key, bodies))
    rendered.unsendable.update(page.outcomes())
    return rendered


def _group_values(page: _Page, spec: SyncSpec, group: Group, fields: Sequence[PendoField]) -> Iterable[dict[str, Any]]:
    """Returns the values of each row for one metadata group."""
    mapped = [(mapping, at) for mapping, at in zip(spec.fields, fields, strict=True) if mapping.group == group]
    names = [pendo_field.key for _, pendo_field in mapped]
    columns = [
        page.converted(mapping.name, mapping.source, CONVERTERS[pendo_field.type]) for mapping, pendo_field in mapped
    ]
    skipped = frozenset(pendo_field.key for mapping, pendo_field in mapped if mapping.nulls == "skip")
    cleared = dict.fromkeys(names)
    rows: Iterable[dict[str, Any]] = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    if skipped:
        rows = (
            {name: value for name, value in row.items() if value is not None or name not in skipped} for row in rows
        )
    if "removed" in page.changes:
        rows = (cleared if page.changes[at] == "removed" else row for at, row in enumerate(rows))
    return rows


def _render_events(page: _Page, event: Event) -> Rendered:
    names = page.converted("event", event.name, _to_event_name, required=True)
    visitors = page.converted("visitor_id", event.visitor_id, to_visitor_id, required=True)
    times = page.converted("timestamp", event.timestamp, to_epoch_ms, required=True)
    accounts = page.converted("account_id", event.account_id, to_identifier) if event.account_id else None
    properties = _event_dicts(page, "properties", event.properties)
    contexts = _event_dicts(page, "context", event.context)
    rendered = Rendered(unsendable=page.outcomes())
    for at, body_parts in enumerate(zip(names, visitors, times, properties, contexts, strict=True)):
        if at in page.invalid:
            continue
        name, visitor, time, row_properties, context = body_parts
        body: dict[str, Any] = {"type": "track", "event": name, "visitorId": visitor, "timestamp": time}
        if accounts is not None and accounts[at] is not None:
            body["accountId"] = accounts[at]
        body["properties"] = row_properties
        # "Required but may be {}" in Pendo's older documentation (pendo-api.md 4).
        body["context"] = context
        rendered.updates.append(Record(page.positions[at], page.keys[at], (body,)))
    return rendered


def _event_dicts(page: _Page, part: str, mappings: Sequence[Mapped]) -> Iterable[dict[str, Any]]:
    """Returns one dict a row; a null is left out, for an event has no earlier value to clear."""
    columns = [
        page.converted(f"{part}.{mapping.name}", mapping.source, CONVERTERS[mapping.type]) for mapping in mappings
    ]
    if not columns:
        return [{} for _ in range(page.size)]
    names = [mapping.name for mapping in mappings]
    return (
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*columns, strict=True)
    )


def _to_event_name(value: Any) -> str:
    if value is None:
        raise InvalidValue("is null")
    text = to_string(value)
    if not text.strip():
        raise InvalidValue("is empty")
    return text
