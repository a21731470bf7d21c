"""Page arithmetic: from row counts by bucket to the spans that are read, sent and committed together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from operator import add, attrgetter

from dbt_pendo.outcomes import Position


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


def buckets_from_counts(counts: Iterable[tuple[str, str, int, int]]) -> list[Bucket]:
    """Returns the buckets of a change set in their order.

    Args:
        counts: Rows of ``pendo_count_changes``: bucket, change, number of rows, highest seq. Of a bucket's held and
            unchanged rows, which come last in this order, only the last of each stands in the change set.
    """
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for bucket, change, rows, last_seq in counts:
        found.setdefault(bucket, {})[change] = (int(rows), int(last_seq))
    buckets = []
    for name, kinds in sorted(found.items()):
        counted = {change: rows for change, (rows, _) in kinds.items() if change not in ("held", "unchanged")}
        before = sum(counted.values())
        for change in ("held", "unchanged"):
            if change in kinds:
                last_seq = kinds[change][1]
                counted[change] = last_seq - before
                before = last_seq
        buckets.append(Bucket(name, Planned(**counted)))
    return buckets


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


def positions_to_write(buckets: Iterable[Bucket], span: Span) -> list[Position]:
    """Returns the added and changed rows of a span in their order: they come first in each bucket."""
    positions: list[Position] = []
    for bucket in buckets:
        if span.first <= bucket.name <= span.last:
            first = span.first_seq if bucket.name == span.first and span.first_seq is not None else 1
            last = bucket.planned.added + bucket.planned.changed
            if bucket.name == span.last and span.last_seq is not None:
                last = min(last, span.last_seq)
            positions += [(bucket.name, seq) for seq in range(first, last + 1)]
    return positions
