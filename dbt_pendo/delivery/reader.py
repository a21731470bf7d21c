"""Reads pages of a change set as batches: their bodies written by the warehouse, or rendered by us."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from dbt_pendo.delivery.context import SyncContext
from dbt_pendo.delivery.send import Outcomes
from dbt_pendo.delivery.writers import Writer, Writers, cut_batches
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.outcomes import Outcome, Position
from dbt_pendo.records.batches import Batch, SqlBatch, body_layouts
from dbt_pendo.records.render import render
from dbt_pendo.warehouse.pages import Bucket, Span, cut_pages, positions_to_write
from dbt_pendo.warehouse.reading import Row

# A page is a commit: large enough to be worth a statement, small enough to be sent in a minute or so.
BATCHES_PER_PAGE = 100
SMALLEST_PAGE, LARGEST_PAGE = 1_000, 25_000
# So many times as large where the warehouse writes the bodies, and little is left to do for each row.
WRITTEN_ROWS = 4
# Nor may its rows take more memory than this, by the width of the first few.
PAGE_BYTES = 32 * 2**20
ROWS_MEASURED = 20


# Returns the outcome of a row by its key, if no request is to be made for it: DELIVERED of a member that a segment was
# replaced with.
Decide: TypeAlias = Callable[[str], Outcome | None]


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a span, ready to be sent."""

    span: Span
    positions: Sequence[Position]
    # Each batch with the writers of its metadata groups.
    batches: Sequence[tuple[Sequence[Writer], Batch]]
    # The rows as they were read; none when the warehouse wrote their bodies.
    rows: Sequence[Row] = ()
    # The outcome of each row that is in no batch.
    decided: Mapping[Position, Outcome] = field(default_factory=dict)

    def named(self) -> Iterator[tuple[Position, str, str]]:
        """Yields the position, the change and the key of each row."""
        if self.rows:
            return ((row[:2], row[2], row[3]) for row in self.rows)
        # The warehouse writes no bodies of removed rows, and how the others changed does not matter here.
        return ((record.position, "changed", record.key) for _, batch in self.batches for record in batch.records)


class PageReader:
    """Reads the change set of one sync.

    Args:
        context: The sync.
        buckets: What the change set holds, as far as it is to be delivered.
        writers: The writers of the batches.
    """

    def __init__(self, context: SyncContext, buckets: Sequence[Bucket], writers: Writers) -> None:
        self._spec = context.spec
        self._tables = context.tables
        self._fields = context.prepared.fields
        self._buckets = buckets
        self._writers = writers
        self._layouts = body_layouts(self._spec, self._fields)
        self._is_written = bool(self._layouts) and self._tables.writes_bodies(self._layouts)

    def spans(self) -> list[Span]:
        """Returns the pages: as many rows as are worth a commit, and fit into memory."""
        rows = min(max(self._spec.batch_size * BATCHES_PER_PAGE, SMALLEST_PAGE), LARGEST_PAGE)
        if self._is_written:
            rows *= WRITTEN_ROWS
        return list(cut_pages(self._buckets, min(rows, max(PAGE_BYTES // self._row_width(), 1))))

    def read(self, span: Span, decide: Decide | None = None) -> Page:
        """Reads a page; rows that are decided are in no batch."""
        if decide is None and (page := self._read_written(span)) is not None:
            return page
        rows = self._tables.read_page(span)
        decided: Outcomes = {}
        left = rows
        if decide is not None:
            decided = {(row[0], row[1]): outcome for row in rows if (outcome := decide(row[3])) is not None}
            left = [row for row in rows if (row[0], row[1]) not in decided]
        rendered = render(self._spec, left, self._fields)
        batches = list(cut_batches(self._writers, rendered, self._spec.batch_size))
        return Page(span, [(row[0], row[1]) for row in rows], batches, rows, decided | rendered.unsendable)

    def _read_written(self, span: Span) -> Page | None:
        """Reads a page as bodies that the warehouse writes; None where it cannot write all of them."""
        if not self._is_written:
            return None
        bodies = self._tables.read_bodies(span, self._layouts)
        positions = positions_to_write(self._buckets, span) if bodies else []
        # A change set that another run has written anew meanwhile has other rows, and this run will learn of it.
        if not bodies or len(bodies) != len(positions) or any(None in row for row in bodies):
            return None
        size, id_key = self._spec.batch_size, OBJECTS[self._spec.object].id_key
        batches = [
            (self._writers.updates, SqlBatch(positions[at : at + size], bodies[at : at + size], id_key))
            for at in range(0, len(bodies), size)
        ]
        return Page(span, positions, batches)

    def _row_width(self) -> int:
        """Returns about how many bytes of memory a row takes, at least 1."""
        first = next((bucket.name for bucket in self._buckets if bucket.planned.to_send), None)
        if first is None:
            return 1
        span = Span(first, first)
        if self._is_written:
            measured = self._tables.read_bodies(span, self._layouts)[:ROWS_MEASURED]
        else:
            measured = self._tables.read_page(span, ROWS_MEASURED)
        return sum(sys.getsizeof(value) for row in measured for value in row) // max(len(measured), 1) or 1
