"""Counts events that Pendo accepts but drops or hides: too old, in the future, too large."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import orjson

from dbt_pendo.delivery.fields import PendoFacts, kind_of
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.mapping.objects import LARGEST_PROPERTIES, OLDEST_SECONDS, EventCounts, PropertySize, PropertySizes
from dbt_pendo.mapping.spec import Column, Event, Field, FieldType, MappingError, Problem, SyncSpec, Value
from dbt_pendo.records.convert import CONVERTERS, InvalidValue
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.warehouse.pages import Span
from dbt_pendo.warehouse.plan import EVERYTHING, PlanOptions
from dbt_pendo.warehouse.tables import SyncTables
from dbt_pendo.wording import age, number, shortened

MOST_EVENT_NAMES = 5_000
# Names of one sync that are compared with those that Pendo knows.
MOST_NAMES_ASKED = 1_000
TOO_LARGE = "Pendo answers 200 and shows that they are too large"
# What is wrong with the name of a property that Pendo accepts over HTTP and cannot show (pendo-api.md 4).
NAME_FAULTS = (
    (re.compile(".{33,}", re.DOTALL), "has more than 32 characters"),
    (re.compile(".*[^A-Za-z0-9_].*", re.DOTALL), "has more than letters, digits and underscores"),
    (re.compile("[0-9].*"), "starts with a digit"),
    (re.compile("__.*__"), "stands between double underscores"),
)
# The bytes of `"2026-01-02T03:04:05.999+00:00"`.
_TIME_BYTES = 31
_QUOTES = 2
# A colon after the name, a comma after the value.
_SEPARATORS = 2
# Kinds of columns whose values JSON writes without quotes.
_BARE = frozenset({"boolean", "integer", "float", "list", "nested"})


def require_moment(spec: SyncSpec, columns: Mapping[str, TableColumn]) -> None:
    """Makes sure that the warehouse can tell how old an event is, where the user wants fewer than Pendo processes.

    Args:
        spec: The sync.
        columns: The mapped columns that are there.

    Raises:
        MappingError: If the timestamp is text or a number.
    """
    fault = _age_fault(spec, columns)
    if spec.event is not None and fault and spec.max_age is not None and spec.max_age < OLDEST_SECONDS:
        column = spec.event.timestamp.name
        problem = Problem(
            *(spec.file, spec.name, "timestamp", f"{fault}.", column), unique_id=spec.unique_id, shows_key=False
        )
        raise MappingError([problem], "Cast the column in the model, or remove `max_age`.")


def age_warnings(prepared: Prepared) -> list[str]:
    """Returns the warning that no event is left out, as the warehouse cannot tell how old a text or a number is."""
    fault = _age_fault(prepared.spec, prepared.source.named(prepared.spec))
    return [f"{fault}: events of any age are sent; cast it in the model, or write `max_age: none`"] if fault else []


def _age_fault(spec: SyncSpec, columns: Mapping[str, TableColumn]) -> str:
    if spec.event is None or spec.max_age is None:
        return ""
    name = spec.event.timestamp.name
    column = columns.get(name)
    if column is None or column.is_moment:
        return ""
    return f"`max_age` needs a date or timestamp, but column {name} is {column.dtype.lower()}"


def left_out_notes(spec: SyncSpec, count: int) -> list[str]:
    """Returns a note on the events that are older than ``max_age``."""
    if not count or spec.max_age is None:
        return []
    verb = "is" if count == 1 else "are"
    return [f"{number(count, 'event')} older than {age(spec.max_age)} {verb} left out (max_age)"]


def new_event_names(prepared: Prepared, tables: SyncTables, pendo: PendoFacts) -> list[str]:
    """Returns the names of events that Pendo does not know yet; none if it does not tell them.

    Args:
        prepared: The sync.
        tables: Its tables, which tell the names of events in a column.
        pendo: What Pendo says.
    """
    event = prepared.spec.event
    if event is None or (known := pendo.event_names) is None:
        return []
    name = event.name
    names = tables.event_names(name.name, MOST_NAMES_ASKED) if isinstance(name, Column) else [str(name.value)]
    return [one for one in names if one not in known]


def new_event_notes(names: Sequence[str]) -> list[str]:
    """Returns a note on the names of events that Pendo does not know yet (pendo-api.md 4)."""
    if not names:
        return []
    example = f"{'e.g. ' if len(names) > 1 else ''}{shortened(names[0])}"
    unknown = f"Pendo does not know {number(len(names), 'event name')} yet ({example})"
    return [f"{unknown}: it does not process events from before the first of a name"]


def count_events(
    prepared: Prepared, tables: SyncTables, options: PlanOptions | None = None, span: Span = EVERYTHING
) -> EventCounts:
    """Counts the events that Pendo would accept and then drop or hide; none in a sync of anything else.

    Args:
        prepared: The sync.
        tables: Its tables.
        options: The plan whose events are looked at; None looks at those of the change set.
        span: The rows of it that are sent.
    """
    event = prepared.spec.event
    return tables.count_events(_property_sizes(event, prepared), options, span) if event else EventCounts()


def _property_sizes(event: Event, prepared: Prepared) -> PropertySizes:
    """Returns how many bytes the properties of an event take as JSON, about: a text's escapes are not counted."""
    dtypes = dict(zip(prepared.spec.columns, (column.dtype for column in prepared.source.columns), strict=True))
    # One brace; instead of the other, a comma is counted with each property.
    fixed = 1
    columns = []
    for mapping in event.properties:
        around, source = len(orjson.dumps(mapping.name)) + _SEPARATORS, mapping.source
        if isinstance(source, Column):
            columns.append(_column_size(source.name, around, kind_of(dtypes[source.name]), mapping.type))
        elif (value := _constant_bytes(source, mapping)) is not None:
            fixed += around + value
    return PropertySizes(fixed, columns)


def _column_size(name: str, around: int, kind: str | None, type_: FieldType | None) -> PropertySize:
    if type_ == "time" or (kind == "time" and type_ in (None, "string")):
        return PropertySize(name, around, _TIME_BYTES)
    is_text = type_ == "string" or (type_ is None and kind not in _BARE)
    return PropertySize(name, around + (_QUOTES if is_text else 0), None)


def _constant_bytes(source: Value, mapping: Field) -> int | None:
    """Returns the bytes of a constant; None for one that is left out, or cannot be sent."""
    value = list(source.value) if isinstance(source.value, tuple) else source.value
    try:
        return None if value is None else len(orjson.dumps(CONVERTERS[mapping.type](value)))
    except InvalidValue:
        return None


def property_name_warnings(spec: SyncSpec) -> list[str]:
    """Returns warnings about event properties whose names Pendo cannot show."""
    return [
        f"Pendo accepts the event property `{mapping.name}` but cannot show it: its name {fault}"
        for mapping in (spec.event.properties if spec.event else ())
        if (fault := next((fault for pattern, fault in NAME_FAULTS if pattern.fullmatch(mapping.name)), None))
    ]


def count_warnings(counts: EventCounts) -> list[str]:
    """Returns warnings about events that Pendo would accept and then drop or hide."""
    concerns = (
        (counts.late, "older than 7 days: Pendo answers 200 and drops such events; `max_age: 7 days` leaves them out"),
        (counts.future, "in the future: what Pendo does with such events is not documented"),
        (counts.oversized, f"with properties of more than about {LARGEST_PROPERTIES} bytes: {TOO_LARGE}"),
    )
    warnings = [f"{number(count, 'event')} {concern}" for count, concern in concerns if count]
    if counts.names > MOST_EVENT_NAMES:
        warnings.append(
            f"the model has {counts.names:,} event names: Pendo answers 200 and keeps {MOST_EVENT_NAMES:,} an app"
        )
    return warnings
