"""Reads a part of a change set: a value that a driver cannot read costs its own row, never a page."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from dbt_pendo.outcomes import unreadable
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.warehouse.session import ConnectionLostError, WarehouseError

# So many parts of a page are tried again, in search of the rows at fault.
MOST_TRIES = 200
# How `pendo_text` writes dates and timestamps: in UTC, if the type has a zone.
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:\+00(?::?00)?|Z| UTC)?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a change set: from row ``first_seq`` of bucket ``first`` to row ``last_seq`` of ``last``.

    A seq of None stands for the whole bucket.
    """

    first: str
    last: str
    first_seq: int | None = None
    last_seq: int | None = None


Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column to read."""

    alias: str
    dtype: str
    # Whether the warehouse makes text of it, which every driver can read.
    as_text: bool = False


# Reads the columns of a span: rows that begin with what tells them apart, and end with the columns.
Read: TypeAlias = Callable[[Span, Sequence[Wanted]], list[Row]]


def read_span(read: Read, span: Span, columns: Sequence[Wanted]) -> list[Row]:
    """Reads rows; what the driver cannot read is ``unreadable``.

    Args:
        read: Reads columns of a part of the span. Its rows begin with bucket and seq, or with a bucket and what tells
            the rows of one bucket apart.
        span: Where the rows are.
        columns: The columns.

    Raises:
        WarehouseError: If the warehouse refuses the statement even without columns.
    """
    try:
        return read(span, columns)
    except ConnectionLostError:
        raise
    except WarehouseError:
        if not columns:
            raise
        rows = read(span, ())
        if not rows:
            raise
    values = [_read_column(read, span, column, [row[:2] for row in rows]) for column in columns]
    return [(*row, *(found.get(row[:2]) for found in values)) for row in rows]


def _read_column(read: Read, span: Span, column: Wanted, places: Sequence[Any]) -> dict[Any, Any]:
    """Returns a column's values by the first two columns of their rows."""
    with contextlib.suppress(WarehouseError):
        return _by_place(read(span, [column]))
    texts = _by_place(read(span, [replace(column, as_text=True)]))
    if TableColumn(column.alias, column.dtype).is_moment:
        return {place: None if text is None else _moment(text) for place, text in texts.items()}
    values = {place: None if text is None else unreadable(str(text), "cannot be read") for place, text in texts.items()}
    # Only a seq can be the end of a span.
    if isinstance(places[0][1], int):
        for part in _readable(read, column, sorted(places), iter(range(MOST_TRIES))):
            values |= part
    return values


def _readable(read: Read, column: Wanted, places: Sequence[Any], tries: Iterator[int]) -> Iterator[dict[Any, Any]]:
    """Yields the values of a column that the driver can read, by halves of those that it cannot."""
    half = len(places) // 2
    for part in (places[:half], places[half:]):
        if not part or next(tries, None) is None:
            continue
        (first, first_seq), (last, last_seq) = part[0], part[-1]
        try:
            yield _by_place(read(Span(first, last, first_seq, last_seq), [column]))
        except WarehouseError:
            if len(part) > 1:
                yield from _readable(read, column, part, tries)


def _by_place(rows: Sequence[Row]) -> dict[Any, Any]:
    return {row[:2]: row[-1] for row in rows}


def _moment(text: str) -> Any:
    if found := _MOMENT.fullmatch(text):
        date, clock, fraction = found.groups()
        with contextlib.suppress(ValueError):
            if clock is None:
                return datetime.date.fromisoformat(date)
            return datetime.datetime.fromisoformat(f"{date}T{clock}.{(fraction or '')[:6]:0<6}")
    return unreadable(text, "is outside the years 1 to 9999")
