"""What Pendo takes of an event over HTTP, answers 200 to, and then drops or does not show (pendo-api.md 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OLDEST_SECONDS = 7 * 24 * 3600
# Clocks differ, and what has just happened is no event of the future.
FUTURE_SECONDS = 5 * 60
LARGEST_PROPERTIES = 512


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
