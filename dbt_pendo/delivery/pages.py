"""The pages of a change set: read, rendered, sent and committed one after another."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from dbt_pendo.delivery.journal import Journal
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import Counts, Observer
from dbt_pendo.delivery.send import Sender, Settled
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.outcomes import UNSENT, Outcome, Position
from dbt_pendo.pendo.deletion import LARGEST_DELETION
from dbt_pendo.records.batches import Batch, RecordBatch, SqlBatch, body_layouts, pack
from dbt_pendo.records.render import render
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.lock import RENEW_EVERY, SyncLock
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

# Sends a batch one way or the other, and tells the outcomes of its rows.
Deliver: TypeAlias = Callable[[Batch, Settled], None]


@dataclass(slots=True)
class _Page:
    """A page whose batches are on their way.

    Attributes:
        number: Its number in the journal.
        span: Its rows in the change set.
        positions: Those of its rows that are to be sent.
        rows: They as read; none when the warehouse wrote their bodies.
        others: The outcomes other than merely delivered, by row.
        settled: The rows whose outcome is known, in the parts in which it became known.
        sent: Its batches, and what became of each.
    """

    number: int
    span: Span
    positions: Sequence[Position]
    rows: Sequence[Row] = ()
    others: dict[Position, Outcome] = field(default_factory=dict)
    settled: list[Sequence[Position]] = field(default_factory=list)
    sent: list[tuple[Batch, Future[None]]] = field(default_factory=list)

    def outcomes(self) -> dict[Position, Outcome]:
        """Returns the outcome of each row that was not merely delivered; a row nobody settled was not sent."""
        if sum(map(len, self.settled)) == len(self.positions):
            return self.others
        settled = set(itertools.chain(*self.settled))
        return self.others | {position: UNSENT for position in self.positions if position not in settled}

    def named(self) -> Iterator[tuple[Position, str, str]]:
        """Yields of each row its position, its change and its key."""
        if self.rows:
            return ((row[:2], row[2], row[3]) for row in self.rows)
        # Of removed rows the warehouse writes no bodies, and how the others changed does not matter here.
        return ((record.position, "changed", record.key) for batch, _ in self.sent for record in batch.records)


class Pages:
    """Delivers a change set page by page; the next is read while one is under way.

    Args:
        run_id: The run that wrote the change set.
        prepared: The sync.
        tables: Its tables.
        buckets: What the change set holds, as far as it is to be delivered.
        deliverer: Sends the batches, from several threads at once.
        threads: How many.
        journal_path: Where what Pendo acknowledges is noted until a page is committed.
        lock: The sync's lock, which is kept meanwhile.
        tally: Counts the rows.
        observer: Is told how far it is.

    Attributes:
        failure: Why the sync has to stop; None while it need not.
        in_segment: The members that a segment was replaced with: no request is made for them, nor for those who left.
            None unless it was replaced.
    """

    def __init__(
        self,
        run_id: str,
        prepared: Prepared,
        tables: SyncTables,
        buckets: Sequence[Bucket],
        deliverer: Sender,
        threads: int,
        journal_path: Path,
        lock: SyncLock,
        tally: Counts,
        observer: Observer,
    ) -> None:
        self._run_id = run_id
        self._prepared = prepared
        self._spec = prepared.spec
        self._tables = tables
        self._buckets = buckets
        self._deliverer = deliverer
        self._threads = threads
        self._journal_path = journal_path
        self._lock = lock
        self._tally = tally
        self._observer = observer
        self._layouts = body_layouts(prepared.spec, prepared.fields)
        self._written = bool(self._layouts) and tables.writes_bodies(self._layouts)
        self._settling = threading.Lock()
        self.failure: DbtPendoError | None = None
        self.in_segment: frozenset[str] | None = None

    def spans(self) -> list[Span]:
        """Returns the pages: as many rows as are worth a commit, and fit into memory."""
        rows = min(max(self._spec.batch_size * BATCHES_PER_PAGE, SMALLEST_PAGE), LARGEST_PAGE)
        if self._written:
            rows *= WRITTEN_ROWS
        return list(cut_pages(self._buckets, min(rows, max(PAGE_BYTES // self._row_width(), 1))))

    def deliver(self, spans: Sequence[Span]) -> None:
        """Reads, sends and commits pages; what stops it is the ``failure``, and what was delivered is committed."""
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="dbt-pendo")
        journal = Journal(self._journal_path, self._run_id, self._spec.destination)
        committed = False
        try:
            under_way: _Page | None = None
            for number, span in enumerate(spans):
                try:
                    page = self._send_page(pool, journal, number, span)
                except DbtPendoError as error:
                    # The page before may still be committed.
                    self._fail(error)
                    break
                if under_way is not None:
                    self._finish_page(journal, under_way)
                under_way = page
                if self.failure is not None:
                    break
            if under_way is not None:
                self._finish_page(journal, under_way)
            committed = True
        finally:
            pool.shutdown(cancel_futures=True)
            journal.close(keep=not committed)

    def keep_lock(self) -> None:
        """Gives a sign of life; a lock that is lost is a failure."""
        try:
            self._lock.renew()
        except DbtPendoError as error:
            self._fail(error)

    def progress(self, rows: int) -> None:
        """Tells that so many more rows are judged."""
        self._observer.sync_progressed(self._spec, rows)

    def _row_width(self) -> int:
        """Returns about how many bytes of memory a row takes, at least 1."""
        first = next((bucket.name for bucket in self._buckets if bucket.planned.to_send), None)
        if first is None:
            return 1
        span = Span(first, first)
        rows = (
            self._tables.read_bodies(span, self._layouts)
            if self._written
            else self._tables.read_page(span, ROWS_MEASURED)
        )
        measured = rows[:ROWS_MEASURED]
        return sum(sys.getsizeof(value) for row in measured for value in row) // max(len(measured), 1) or 1

    def _send_page(self, pool: ThreadPoolExecutor, journal: Journal, number: int, span: Span) -> _Page:
        """Reads a page and hands its batches to the threads."""
        page, batches = self._read(number, span)
        journal.begin_page(number, span)
        settled = partial(self._settle, journal, page)
        for deliver, batch in batches:
            page.sent.append((batch, pool.submit(self._deliver_batch, deliver, batch, settled)))
        return page

    def _read(self, number: int, span: Span) -> tuple[_Page, Sequence[tuple[Deliver, Batch]]]:
        """Reads a page as the warehouse's own bodies where it can write them, and else as values."""
        spec, deliverer = self._spec, self._deliverer
        bodies = self._tables.read_bodies(span, self._layouts) if self._written else []
        positions = positions_to_write(self._buckets, span) if bodies else []
        # A change set that another run has written anew meanwhile has other rows, and this run will learn of it.
        if bodies and len(bodies) == len(positions) and not any(None in row for row in bodies):
            size, id_key = spec.batch_size, OBJECTS[spec.object].id_key
            return _Page(number, span, positions), [
                (deliverer.deliver, SqlBatch(positions[at : at + size], bodies[at : at + size], id_key))
                for at in range(0, len(bodies), size)
            ]
        rows = self._tables.read_page(span)
        rendered = render(spec, rows, self._prepared.fields)
        others = rendered.unsendable
        page = _Page(number, span, [(row[0], row[1]) for row in rows], rows, others, settled=[list(others)])
        if self.in_segment is not None:
            done = {(row[0], row[1]) for row in rows if row[2] == "removed" or row[3] in self.in_segment}
            page.settled.append(list(done))
            rendered.updates = [record for record in rendered.updates if record.position not in done]
        return page, [
            (deliver, RecordBatch(batch))
            for deliver, records, size in (
                (deliverer.deliver, rendered.updates, spec.batch_size),
                (deliverer.clear, rendered.clearings, spec.batch_size),
                (deliverer.delete, rendered.deletions, LARGEST_DELETION),
            )
            for batch in pack(records, size)
        ]

    def _deliver_batch(self, deliver: Deliver, batch: Batch, settled: Settled) -> None:
        """Delivers a batch, unless the sync has failed: then what was not begun is not begun any more."""
        if self.failure is not None:
            return
        try:
            deliver(batch, settled)
        except DbtPendoError as error:
            self._fail(error)

    def _fail(self, error: DbtPendoError) -> None:
        """Notes why the sync has to stop; the first reason counts."""
        with self._settling:
            self.failure = self.failure or error

    def _settle(
        self, journal: Journal, page: _Page, positions: Sequence[Position], others: Mapping[Position, Outcome]
    ) -> None:
        """Takes the outcomes of some rows from a sending thread, before it sends anything else."""
        with self._settling:
            page.settled.append(positions)
            page.others |= others
        # Last, for it may fail: the page is committed even so.
        journal.note(page.number, positions, others)

    def _finish_page(self, journal: Journal, page: _Page) -> None:
        """Waits for a page's batches and commits what happened to its rows, also when the sync has to stop."""
        for batch, delivery in page.sent:
            while wait((delivery,), timeout=RENEW_EVERY).not_done:
                self.keep_lock()
            self.keep_lock()
            delivery.result()
            self.progress(len(batch))
        outcomes = page.outcomes()
        self._tables.commit(self._run_id, page.span, page.positions, outcomes)
        journal.end_page(page.number)
        self._tally.count(len(page.positions), outcomes, page.named())
