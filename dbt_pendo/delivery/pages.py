"""Delivers the pages of a change set: each is read, rendered as batches, sent and committed."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from dbt_pendo.delivery.journal import Journal
from dbt_pendo.delivery.prepare import SyncContext
from dbt_pendo.delivery.results import GuardError
from dbt_pendo.delivery.segments import Segment
from dbt_pendo.delivery.send import Batch, Outcomes, Sender, Settled, SqlBatch
from dbt_pendo.delivery.writers import Writer, body_layouts, cut_batches, make_writers
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.outcomes import DELIVERED, UNSENT, Outcome, Position
from dbt_pendo.pendo.client import Answering
from dbt_pendo.records.render import Replaced, render
from dbt_pendo.warehouse.pages import Bucket, Row, Span, changes_in, cut_pages, positions_to_write

# A page is a commit: large enough to be worth a statement, small enough to be sent in a minute or so.
BATCHES_PER_PAGE = 100
SMALLEST_PAGE, LARGEST_PAGE = 1_000, 25_000
# So many times as large where the warehouse writes the bodies, and little is left to do for each row.
WRITTEN_ROWS = 4
# Nor may its rows take more memory than this, by the width of the first few.
PAGE_BYTES = 32 * 2**20
ROWS_MEASURED = 20
# Seconds in which answers have to come for larger requests, and after which smaller ones are sent.
QUICK_ANSWER, SLOW_ANSWER = 1.0, 20.0
# Records of requests that adapt, and bytes.
SMALLEST_BATCH, LARGEST_BATCH = 50, 4_000
LARGEST_BODY = 2**20
# So many fit, even if they are wide.
FEW_ROWS = 2_000


@dataclass(slots=True)
class Page:
    """The rows of a span, ready to be sent or on their way."""

    span: Span
    positions: Sequence[Position]
    # Each batch with the writers of its metadata groups.
    batches: Sequence[tuple[Sequence[Writer], Batch]]
    # How many rows there are by how they differ from the ledger, and how one of them does.
    changes: Mapping[str, int]
    change_of: Callable[[Position], str]
    # The rows as they were read; none when the warehouse wrote their bodies.
    rows: Sequence[Row] = ()
    # Values that were not sent, though their rows were.
    replaced: Sequence[Replaced] = ()
    # The rows whose outcome is known, a part for each answer.
    settled: list[Sequence[Position]] = field(default_factory=list)
    # The outcomes other than merely delivered, by row.
    exceptions: Outcomes = field(default_factory=dict)
    sent: list[tuple[Batch, Future[None]]] = field(default_factory=list)
    # In the journal.
    number: int = 0

    def outcomes(self) -> Outcomes:
        """Returns the outcome of each row that was not merely delivered; a row that nobody settled was not sent."""
        if sum(map(len, self.settled)) == len(self.positions):
            return self.exceptions
        settled = set(itertools.chain(*self.settled))
        return self.exceptions | {position: UNSENT for position in self.positions if position not in settled}

    def named(self) -> Iterator[tuple[Position, str, str]]:
        """Yields the position, the change and the key of each row."""
        if self.rows:
            return ((row[:2], row[2], row[3]) for row in self.rows)
        records = (record for _, batch in self.batches for record in batch.records)
        return ((record.position, self.change_of(record.position), record.key) for record in records)


@dataclass(slots=True)
class BatchSize:
    """How many records go into a request: more as long as Pendo answers at once, fewer when it takes long.

    A request costs Pendo's allowance, and both sides some work, whatever is in it. Pendo documents no limit but five
    minutes (pendo-api.md 3); what stands before it may have one for bytes.
    """

    first: int
    records: int = 0

    def __post_init__(self) -> None:
        self.records = self.first

    def adapt(self, answering: Answering) -> None:
        """Adapts to how some requests were answered."""
        if not answering.requests:
            return
        seconds = answering.seconds / answering.requests
        if seconds > SLOW_ANSWER:
            self.records = max(self.records // 2, SMALLEST_BATCH)
        elif answering.faults:
            # What stands before Pendo may take no larger ones.
            self.records = min(max(self.records // 2, self.first), self.records)
        elif seconds < QUICK_ANSWER:
            larger = min(2 * self.records, LARGEST_BATCH)
            if larger * answering.bytes <= LARGEST_BODY * answering.requests * self.records:
                self.records = larger


class PageReader:
    """Reads the change set of one sync.

    Args:
        context: The sync.
        buckets: What the change set holds, as far as it is to be delivered.
        segment: The segment of a ``segment`` sync.

    Attributes:
        decide: Returns the outcome of a row by its key, if no request is to be made for it; None decides no row.
    """

    decide: Callable[[str], Outcome | None] | None = None

    def __init__(self, context: SyncContext, buckets: Sequence[Bucket], segment: Segment | None) -> None:
        self._spec = context.spec
        self._tables = context.tables
        self._fields = context.prepared.fields
        self._buckets = {bucket.name: bucket for bucket in buckets}
        self._writers = make_writers(context.client, self._spec, context.stop, segment)
        self._layouts = body_layouts(self._spec, self._fields)
        self._is_written = bool(self._layouts) and self._tables.writes_bodies(self._layouts)
        self._batch_size = BatchSize(self._spec.batch_size)

    def adapt(self, page: Page, answering: Answering) -> None:
        """Takes more or fewer records into the requests of later pages, by how Pendo answered those of a page."""
        if self._spec.batch_adapts and not page.exceptions:
            self._batch_size.adapt(answering)

    def spans(self) -> list[Span]:
        """Returns the pages: as many rows as are worth a commit, and fit into memory."""
        rows = min(max(self._spec.batch_size * BATCHES_PER_PAGE, SMALLEST_PAGE), LARGEST_PAGE)
        if self._is_written:
            rows *= WRITTEN_ROWS
        if sum(bucket.rows for bucket in self._buckets.values()) > FEW_ROWS:
            rows = min(rows, max(PAGE_BYTES // self._row_width(), 1))
        return list(cut_pages(self._buckets.values(), rows))

    def read(self, span: Span) -> Page:
        """Reads a page; rows that are decided are in no batch."""
        if self.decide is None and (page := self._read_written(span)) is not None:
            return page
        rows = left = self._tables.read_page(span)
        decided: Outcomes = {}
        if self.decide is not None:
            decided = {row[:2]: outcome for row in rows if (outcome := self.decide(row[3])) is not None}
            left = [row for row in rows if row[:2] not in decided]
        rendered = render(self._spec, left, self._fields)
        decided |= rendered.unsendable
        exceptions = {position: outcome for position, outcome in decided.items() if outcome is not DELIVERED}
        batches = list(cut_batches(self._writers, rendered, self._batch_size.records))
        page = self._page(span, [row[:2] for row in rows], batches)
        page.rows, page.replaced = rows, rendered.replaced
        page.settled, page.exceptions = [list(decided)], exceptions
        return page

    def _read_written(self, span: Span) -> Page | None:
        """Reads a page as bodies that the warehouse writes; None where it cannot write all of them."""
        if not self._is_written:
            return None
        bodies = self._tables.read_bodies(span, self._layouts)
        positions = positions_to_write(self._buckets.values(), span) if bodies else []
        # A change set that another run has written anew meanwhile has other rows, and this run will learn of it.
        if not bodies or len(bodies) != len(positions) or any(None in row for row in bodies):
            return None
        size, id_key = self._batch_size.records, OBJECTS[self._spec.object].id_key
        batches = [
            (self._writers.updates, SqlBatch(positions[at : at + size], bodies[at : at + size], id_key))
            for at in range(0, len(bodies), size)
        ]
        return self._page(span, positions, batches)

    def _page(
        self, span: Span, positions: Sequence[Position], batches: Sequence[tuple[Sequence[Writer], Batch]]
    ) -> Page:
        changes = changes_in(self._buckets.values(), span)
        return Page(span, positions, batches, changes, lambda at: self._buckets[at[0]].change_at(at[1]))

    def _row_width(self) -> int:
        """Returns about how many bytes of memory a row takes, at least 1."""
        first = next((bucket.name for bucket in self._buckets.values() if bucket.planned.to_send), None)
        if first is None:
            return 1
        span = Span(first, first, last_seq=ROWS_MEASURED)
        measured = self._tables.read_bodies(span, self._layouts) if self._is_written else self._tables.read_page(span)
        return sum(sys.getsizeof(value) for row in measured for value in row) // max(len(measured), 1) or 1


class Pages:
    """Delivers a change set page by page; the next is read while one is under way.

    Attributes:
        failure: Why the sync has to stop; None while it need not.
    """

    def __init__(self, context: SyncContext, reader: PageReader, most_invalid: int | None) -> None:
        self._context = context
        self._reader = reader
        # How many more rows may be invalid before the sync stops; None for all.
        self._most_invalid = most_invalid
        settings = context.client.settings
        self._sender = Sender(context.stop.check, settings.max_error_share)
        # For writers that take turns.
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="dbt-pendo-turns")
        self._journal = Journal(context.journal_path, context.run_id, context.spec.destination)
        self._settling = threading.Lock()
        self.failure: DbtPendoError | None = None

    def deliver(self, spans: Sequence[Span]) -> None:
        """Reads, sends and commits pages; what stops it is the ``failure``, and what was delivered is committed."""
        committed = False
        under_way: Page | None = None
        page: Page | None = None
        try:
            for number, span in enumerate(spans):
                try:
                    page = self._send_page(number, span)
                except DbtPendoError as error:
                    # The page before may still be committed.
                    self._fail(error)
                    break
                if under_way is not None:
                    self._finish_page(under_way)
                under_way = page
                if self.failure is not None:
                    break
            if under_way is not None:
                self._finish_page(under_way)
            committed = True
        finally:
            # None are left unless an error has cut this short.
            futures = [future for one in (under_way, page) if one is not None for _, future in one.sent]
            for future in futures:
                future.cancel()
            wait(futures)
            self._turns.shutdown()
            self._journal.close(keep=not committed)

    def _send_page(self, number: int, span: Span) -> Page:
        """Reads a page and hands its batches to the threads."""
        page = self._reader.read(span)
        self._guard(page)
        page.number = number
        self._journal.begin_page(number, span)
        settled = partial(self._settle, page)
        for writers, batch in page.batches:
            senders = self._turns if writers[0].takes_turns else self._context.senders
            page.sent.append((batch, senders.submit(self._send_batch, writers, batch, settled)))
        return page

    def _guard(self, page: Page) -> None:
        """Stops before a page whose values make more rows invalid than ``max_invalid`` allows; no plan knows of them.

        Raises:
            GuardError: If they do.
        """
        if self._most_invalid is None:
            return
        invalid = {at: one for at, one in page.exceptions.items() if one.status == "invalid"}
        self._most_invalid -= len(invalid)
        if self._most_invalid >= 0:
            return
        for position, _, key in page.named():
            if position in invalid:
                self._context.counts.add_reason("invalid", invalid[position].detail or "", key, 1)
        raise GuardError("blocked: more rows are invalid than max_invalid allows; --force lets them pass")

    def _send_batch(self, writers: Sequence[Writer], batch: Batch, settled: Settled) -> None:
        """Sends a batch, unless the sync has failed: then nothing is begun any more."""
        if self.failure is not None:
            return
        try:
            self._sender.send(batch, [writer.write for writer in writers], settled)
        except DbtPendoError as error:
            self._fail(error)

    def _fail(self, error: DbtPendoError) -> None:
        """Notes why the sync has to stop; the first reason counts."""
        with self._settling:
            self.failure = self.failure or error

    def _settle(self, page: Page, positions: Sequence[Position], exceptions: Mapping[Position, Outcome]) -> None:
        """Takes the outcomes of some rows from a sending thread, before it sends anything else."""
        with self._settling:
            page.settled.append(positions)
            page.exceptions |= exceptions
        # Last, for it may fail: the page is committed even so.
        self._journal.note(page.number, positions, exceptions)

    def _finish_page(self, page: Page) -> None:
        """Waits for a page's batches and commits what happened to its rows, also when the sync has to stop."""
        context = self._context
        for batch, sending in page.sent:
            try:
                context.tables.lock.wait_for(sending)
            except DbtPendoError as error:
                self._fail(error)
            sending.result()
            context.observer.sync_progressed(context.spec, len(batch))
        outcomes = page.outcomes()
        context.tables.commit(context.run_id, page.span, page.positions, outcomes)
        self._journal.end_page(page.number)
        self._reader.adapt(page, context.client.take_answering())
        context.counts.count(page.changes, outcomes, page.named())
        context.counts.count_replaced(one for one in page.replaced if one.position not in outcomes)
