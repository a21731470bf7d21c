"""Delivers the pages of a change set: read, sent and committed one after another."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from dbt_pendo.delivery.context import SyncContext
from dbt_pendo.delivery.journal import Journal
from dbt_pendo.delivery.reader import Decide, Page, PageReader
from dbt_pendo.delivery.send import Outcomes, Sender, Settled
from dbt_pendo.delivery.writers import Writer
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.outcomes import DELIVERED, UNSENT, Outcome, Position
from dbt_pendo.records.batches import Batch
from dbt_pendo.warehouse.lock import RENEW_EVERY
from dbt_pendo.warehouse.pages import Span


@dataclass(slots=True)
class _Delivery:
    """A page whose batches are on their way."""

    # In the journal.
    number: int
    page: Page
    # The outcomes other than merely delivered, by row.
    exceptions: Outcomes
    # The rows whose outcome is known, in the parts in which it became known.
    settled: list[Sequence[Position]]
    sent: list[tuple[Batch, Future[None]]] = field(default_factory=list)

    def outcomes(self) -> Outcomes:
        """Returns the outcome of each row that was not merely delivered; a row that nobody settled was not sent."""
        positions = self.page.positions
        if sum(map(len, self.settled)) == len(positions):
            return self.exceptions
        settled = set(itertools.chain(*self.settled))
        return self.exceptions | {position: UNSENT for position in positions if position not in settled}


class Pages:
    """Delivers a change set page by page; the next is read while one is under way.

    Attributes:
        failure: Why the sync has to stop; None while it need not.
    """

    def __init__(self, context: SyncContext, reader: PageReader, decide: Decide | None = None) -> None:
        self._context = context
        self._reader = reader
        self._decide = decide
        self._sender = Sender(context.stop.check, context.settings.max_error_share)
        self._settling = threading.Lock()
        self.failure: DbtPendoError | None = None

    def deliver(self, spans: Sequence[Span]) -> None:
        """Reads, sends and commits pages; what stops it is the ``failure``, and what was delivered is committed."""
        context = self._context
        pool = ThreadPoolExecutor(context.settings.concurrency, thread_name_prefix="dbt-pendo")
        journal = Journal(context.journal_path, context.run_id, context.spec.destination)
        committed = False
        try:
            under_way: _Delivery | None = None
            for number, span in enumerate(spans):
                try:
                    delivery = self._send_page(pool, journal, number, span)
                except DbtPendoError as error:
                    # The page before may still be committed.
                    self._fail(error)
                    break
                if under_way is not None:
                    self._finish_page(journal, under_way)
                under_way = delivery
                if self.failure is not None:
                    break
            if under_way is not None:
                self._finish_page(journal, under_way)
            committed = True
        finally:
            pool.shutdown(cancel_futures=True)
            journal.close(keep=not committed)

    def _send_page(self, pool: ThreadPoolExecutor, journal: Journal, number: int, span: Span) -> _Delivery:
        """Reads a page and hands its batches to the threads."""
        page = self._reader.read(span, self._decide)
        exceptions = {position: outcome for position, outcome in page.decided.items() if outcome is not DELIVERED}
        delivery = _Delivery(number, page, exceptions, [list(page.decided)])
        journal.begin_page(number, span)
        settled = partial(self._settle, journal, delivery)
        for writers, batch in page.batches:
            delivery.sent.append((batch, pool.submit(self._send_batch, writers, batch, settled)))
        return delivery

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

    def _settle(
        self,
        journal: Journal,
        delivery: _Delivery,
        positions: Sequence[Position],
        exceptions: Mapping[Position, Outcome],
    ) -> None:
        """Takes the outcomes of some rows from a sending thread, before it sends anything else."""
        with self._settling:
            delivery.settled.append(positions)
            delivery.exceptions |= exceptions
        # Last, for it may fail: the page is committed even so.
        journal.note(delivery.number, positions, exceptions)

    def _finish_page(self, journal: Journal, delivery: _Delivery) -> None:
        """Waits for a page's batches and commits what happened to its rows, also when the sync has to stop."""
        context, page = self._context, delivery.page
        for batch, sending in delivery.sent:
            while wait((sending,), timeout=RENEW_EVERY).not_done:
                self._keep_lock()
            self._keep_lock()
            sending.result()
            context.observer.sync_progressed(context.spec, len(batch))
        outcomes = delivery.outcomes()
        context.tables.commit(context.run_id, page.span, page.positions, outcomes)
        journal.end_page(delivery.number)
        context.counts.count(len(page.positions), outcomes, page.named())

    def _keep_lock(self) -> None:
        """Gives a sign of life; a lock that is lost is a failure."""
        try:
            self._context.lock.renew()
        except DbtPendoError as error:
            self._fail(error)
