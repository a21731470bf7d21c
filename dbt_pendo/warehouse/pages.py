"""The pages of a change set: cut by its counts, and read so that a value no driver can read costs its own row only."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import add, attrgetter
from typing import Any, TypeAlias

from dbt_pendo.outcomes import Position, unreadable
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.warehouse.session import ConnectionLostError, WarehouseError

# So many parts of a page are tried again, in search of the rows at fault.
MOST_TRIES = 200
# How `pendo_text` writes dates and timestamps: in UTC, if the type has a zone.
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:\+00(?::?00)?|Z| UTC)?)?", re.ASCII)

SENDABLE = ("added", "changed", "removed")
# How the rows of a bucket stand in the change set; held ones come last, and are of no page.
IN_ORDER = ("added", "changed", "invalid", "removed")


@dataclass(frozen=True, slots=True)
class Planned:
    """How many rows a plan found of each kind."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    invalid: int = 0
    held: int = 0

    @property
    def to_send(self) -> int:
        """Rows that a run has to deliver."""
        return self.added + self.changed + self.removed

    @property
    def in_model(self) -> int:
        """Rows that the model has."""
        return self.added + self.changed + self.unchanged + self.invalid + self.held

    def __add__(self, other: Planned) -> Planned:
        return Planned(*map(add, _counts(self), _counts(other)))


_counts = attrgetter("added", "changed", "removed", "unchanged", "invalid", "held")


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a change set has of one bucket."""

    # Three hex digits.
    name: str
    planned: Planned
    # Where a `--limit` cuts it; None when it is whole.
    last_seq: int | None = None

    @property
    def rows(self) -> int:
        """Rows of the bucket that stand in the change set: its seq runs from 1 to this."""
        return self.planned.to_send + self.planned.invalid

    def change_at(self, seq: int) -> str:
        """Returns how a row of the bucket differs from the ledger."""
        end = 0
        for change in IN_ORDER:
            end += getattr(self.planned, change)
            if seq <= end:
                break
        return change

    def first_rows(self, count: int) -> Bucket:
        """Returns this bucket cut after its first ``count`` rows to send."""
        added = min(count, self.planned.added)
        changed = min(count - added, self.planned.changed)
        removed = min(count - added - changed, self.planned.removed)
        # Invalid rows are numbered between the changed and the removed ones.
        invalid = self.planned.invalid if removed else 0
        cut = replace(self.planned, added=added, changed=changed, removed=removed, invalid=invalid)
        return replace(self, planned=cut, last_seq=added + changed + invalid + removed)


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


def buckets_from_counts(counts: Iterable[tuple[str, str, int, int]]) -> list[Bucket]:
    """Returns the buckets of a change set in their order, the last one with the unchanged rows that do not stand in it.

    Args:
        counts: Rows of ``pendo_count_changes``: bucket, change, number of rows, highest seq. That of `total` is the
            number of the model's rows, that of `unchanged` how many of these a bucket has.
    """
    found: dict[str, dict[str, int]] = {}
    total = unchanged = 0
    for bucket, change, rows, last_seq in counts:
        if change == "total":
            total = int(last_seq)
        elif change == "unchanged":
            unchanged += int(last_seq)
        else:
            found.setdefault(bucket, {})[change] = int(rows)
    buckets = [Bucket(name, Planned(**kinds)) for name, kinds in sorted(found.items())]
    unchanged += max(total - sum(bucket.planned.in_model for bucket in buckets), 0)
    return [*buckets, Bucket("total", Planned(unchanged=unchanged))] if unchanged else buckets


def limit_buckets(buckets: Iterable[Bucket], limit: int) -> list[Bucket]:
    """Returns the buckets that hold the first ``limit`` rows to send, the last one cut as needed."""
    kept: list[Bucket] = []
    for bucket in buckets:
        if limit <= 0:
            break
        kept.append(bucket if bucket.planned.to_send <= limit else bucket.first_rows(limit))
        limit -= bucket.planned.to_send
    return kept


def cut_pages(buckets: Iterable[Bucket], rows_per_page: int) -> Iterator[Span]:
    """Cuts buckets into spans of about ``rows_per_page`` rows, in order, without gap or overlap.

    A bucket that alone is larger is cut by seq.
    """
    first: str | None = None
    last, last_seq = "", None
    selected = 0
    for bucket in buckets:
        if bucket.rows == 0:
            continue
        if first is not None and selected + bucket.rows > rows_per_page:
            yield Span(first, last)
            first, selected = None, 0
        if bucket.rows > rows_per_page:
            for start in range(1, bucket.rows + 1, rows_per_page):
                end = min(start + rows_per_page - 1, bucket.rows)
                yield Span(bucket.name, bucket.name, start, end)
            continue
        first = first or bucket.name
        last, last_seq = bucket.name, bucket.last_seq
        selected += bucket.rows
    if first is not None:
        yield Span(first, last, last_seq=last_seq)


def changes_in(buckets: Iterable[Bucket], span: Span) -> dict[str, int]:
    """Returns how many rows of a span have to be sent, by how they differ from the ledger."""
    found = dict.fromkeys(SENDABLE, 0)
    for bucket, first, last in _cut(buckets, span):
        end = 0
        for change in IN_ORDER:
            start, end = end + 1, end + getattr(bucket.planned, change)
            if change in found:
                found[change] += max(min(end, last) - max(start, first) + 1, 0)
    return found


def positions_to_write(buckets: Iterable[Bucket], span: Span) -> list[Position]:
    """Returns the added and changed rows of a span in their order: they come first in each bucket."""
    positions: list[Position] = []
    for bucket, first, last in _cut(buckets, span):
        last = min(last, bucket.planned.added + bucket.planned.changed)
        positions += [(bucket.name, seq) for seq in range(first, last + 1)]
    return positions


def _cut(buckets: Iterable[Bucket], span: Span) -> Iterator[tuple[Bucket, int, int]]:
    """Yields the buckets of a span, each with the seq of the first and of the last of its rows there."""
    for bucket in buckets:
        if span.first <= bucket.name <= span.last:
            first = span.first_seq if bucket.name == span.first and span.first_seq is not None else 1
            last = span.last_seq if bucket.name == span.last and span.last_seq is not None else bucket.rows
            yield bucket, first, last
