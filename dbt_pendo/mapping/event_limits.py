"""What Pendo takes of an event over HTTP, answers 200 to, and then drops or does not show (pendo-api.md 4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dbt_pendo.mapping.spec import SyncSpec

OLDEST_SECONDS = 7 * 24 * 3600
# Clocks differ, and what has just happened is no event of the future.
FUTURE_SECONDS = 5 * 60
LARGEST_PROPERTIES = 512
MOST_EVENT_NAMES = 5_000
_LONGEST_NAME = 32


@dataclass(frozen=True, slots=True)
class PropertySize:
    """How many bytes a property takes in the JSON of an event.

    Attributes:
        column: The mapped column.
        around: The bytes around the value: the name, a colon, a comma, quotes.
        value: The bytes of each value; None where they are those of the value's text.
    """

    column: str
    around: int
    value: int | None


@dataclass(frozen=True, slots=True)
class PropertySizes:
    """The size of an event's properties as JSON: what is the same for every row, and what each column adds."""

    fixed: int
    columns: Sequence[PropertySize]


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What a warehouse counted before anything is sent.

    Attributes:
        late: Events to send that are older than Pendo processes; 0 where the timestamp's type does not tell.
        future: Events to send that are yet to happen; 0 where the timestamp's type does not tell.
        oversized: Events to send whose properties are larger than Pendo shows, about.
        names: Event names in the model; 0 when the name is the same for all.
        left_out: Events in the model that are older than ``max_age``.
    """

    late: int = 0
    future: int = 0
    oversized: int = 0
    names: int = 0
    left_out: int = 0


def property_name_warnings(spec: SyncSpec) -> list[str]:
    """Says which event properties Pendo will take over HTTP and then fail to show, and why."""
    names = [mapping.name for mapping in spec.event.properties] if spec.event else []
    return [
        f"Pendo accepts the event property `{name}` but cannot show it: its name {fault}"
        for name in names
        if (fault := _fault(name))
    ]


def count_warnings(counts: EventCounts) -> list[str]:
    """Says of which events Pendo would make nothing, though it answers 200."""
    warnings = []
    if counts.late:
        warnings.append(
            f"{_events(counts.late, 'is', 'are')} older than 7 days: Pendo answers 200 and drops "
            f"{_them(counts.late)}; `max_age: 7 days` leaves {_them(counts.late)} out"
        )
    if counts.future:
        warnings.append(
            f"{_events(counts.future, 'lies', 'lie')} in the future: what Pendo makes of {_them(counts.future)} is "
            "not documented"
        )
    if counts.oversized:
        warnings.append(
            f"{_events(counts.oversized, 'has', 'have')} properties of more than about {LARGEST_PROPERTIES} bytes: "
            "Pendo answers 200 and shows that they are too large"
        )
    if counts.names > MOST_EVENT_NAMES:
        warnings.append(
            f"the model has {counts.names:,} event names: Pendo answers 200 and keeps {MOST_EVENT_NAMES:,} an app"
        )
    return warnings


def _events(count: int, one: str, many: str) -> str:
    return f"{count:,} {f'event {one}' if count == 1 else f'events {many}'}"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _fault(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        return f"has {len(name)} characters, at most {_LONGEST_NAME} work"
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        return "has more than letters, digits and underscores"
    if name[0].isdigit():
        return "starts with a digit"
    if re.fullmatch(r"__.*__", name):
        return "stands between double underscores"
    return ""
