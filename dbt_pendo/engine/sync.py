"""One sync: plan, then page by page read, render, send, commit."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from dbt_pendo.engine.deletions import follow_deletions
from dbt_pendo.engine.deliver import Deliverer, Settled
from dbt_pendo.engine.hygiene import count_events
from dbt_pendo.engine.interrupts import InterruptedRunError, Stop
from dbt_pendo.engine.journal import Journal, journal_path, read_remains
from dbt_pendo.engine.observer import Observer
from dbt_pendo.engine.prepare import Prepared
from dbt_pendo.engine.results import SyncResult, SyncStatus
from dbt_pendo.engine.segment import SegmentWriter
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.outcome import QUEUED_DELETION, UNSENT, Outcome, Position
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.deletion import LARGEST_DELETION
from dbt_pendo.records.batches import Batch, RecordBatch, pack
from dbt_pendo.records.render import ID_KEYS, render
from dbt_pendo.records.written import WrittenBatch, body_layouts
from dbt_pendo.spec.event_warnings import count_warnings, property_name_warnings
from dbt_pendo.spec.sync import Limit, SyncSpec
from dbt_pendo.warehouse.ledger import NotedSegment, PlanOptions, Row, SyncTables
from dbt_pendo.warehouse.lock import RENEW_EVERY, LockedError, SyncLock
from dbt_pendo.warehouse.pages import Bucket, Planned, Span, cut_pages, limit_buckets, positions_to_write

# A page is a commit: large enough to be worth a statement, small enough to be sent in a minute or so.
BATCHES_PER_PAGE = 100
SMALLEST_PAGE, LARGEST_PAGE = 1_000, 25_000
# So many times as large where the warehouse writes the bodies, and little is left to do for each row.
WRITTEN_ROWS = 4
# Nor may its rows take more memory than this, by the width of the first few.
PAGE_BYTES = 32 * 2**20
ROWS_MEASURED = 20
REASONS_SHOWN = 3
# Pendo's messages may name the row, and then there are as many as rejected rows.
REASONS_KEPT = 1_000

T = TypeVar("T")
# Sends a batch one way or the other, and tells the outcomes of its rows.
Deliver = Callable[[Batch, Settled], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a sync.

    Attributes:
        full_refresh: Send every row again.
        limit: Send at most so many rows; None for all.
        force: Pass the guards ``max_changes`` and ``max_removals``.
        retry_held: Try held rows again.
    """

    full_refresh: bool = False
    limit: int | None = None
    force: bool = False
    retry_held: bool = False


@dataclass(slots=True)
class _Page:
    """A page whose batches are on their way.

    Attributes:
        number: Its number in the journal.
        span: Its rows in the change set.
        positions: Those of its rows that are to be sent.
        rows: They as read; none when the warehouse wrote their bodies.
        others: The outcomes other than delivered, by row.
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
        """Returns the outcome of each row that was not delivered; a row nobody settled was not sent."""
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


class SyncRun:
    """Runs one prepared sync against its tables."""

    def __init__(
        self,
        run_id: str,
        prepared: Prepared,
        tables: SyncTables,
        client: PendoClient,
        options: Options,
        target_path: Path,
        stop: Stop,
        observer: Observer,
    ) -> None:
        self._run_id = run_id
        self._prepared = prepared
        self._spec = prepared.spec
        self._tables = tables
        self._client = client
        self._layouts = body_layouts(prepared.spec, prepared.fields)
        self._written = bool(self._layouts) and tables.writes_bodies(self._layouts)
        self._options = options
        self._journal_path = journal_path(target_path, prepared.spec.name, tables.address)
        self._stop = stop
        self._observer = observer
        self._segment = SegmentWriter(client, prepared.spec, stop) if prepared.spec.segment is not None else None
        self._deliverer = Deliverer(client, prepared.spec, stop, self._segment)
        self._buckets: Sequence[Bucket] = ()
        self._planned = Planned()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}
        self._failure: DbtPendoError | None = None
        self._held: frozenset[str] | None = None
        self._settling = threading.Lock()

    def run(self) -> SyncResult:
        """Delivers what there is to deliver; failures end up in the result."""
        started, traffic = time.monotonic(), self._client.traffic
        status: SyncStatus
        message: str | None
        try:
            status, message = self._run_locked()
        except InterruptedRunError as error:
            status, message = "interrupted", str(error)
        except LockedError as error:
            status, message = "blocked", str(error)
        except DbtPendoError as error:
            status, message = "error", str(error)
        return SyncResult(
            sync=self._spec.name,
            unique_id=self._spec.unique_id,
            object=self._spec.object,
            status=status,
            message=message,
            planned=self._planned,
            delivered=self._counts["delivered"],
            missing=self._counts["missing"],
            rejected=self._counts["rejected"],
            traffic=self._client.traffic - traffic,
            duration=time.monotonic() - started,
        )

    def _run_locked(self) -> tuple[SyncStatus, str | None]:
        self._stop.check()
        self._tables.ensure_schema()
        lock = self._tables.lock()
        lock.acquire(self._run_id)
        try:
            return self._run(lock)
        finally:
            # A warehouse that is gone keeps the lock; it goes stale.
            with contextlib.suppress(DbtPendoError):
                lock.release()

    def _run(self, lock: SyncLock) -> tuple[SyncStatus, str | None]:
        self._tables.prepare()
        self._recover()
        settings = self._client.settings
        options = self._options
        if self._segment is not None:
            self._segment.find(self._tables)
            # Who is in it already is not known: all members have to be in the change set.
            options = replace(options, full_refresh=options.full_refresh or not self._segment.known)
        ended: Sequence[str] = ()
        if self._spec.on_removed == "delete":
            followed = follow_deletions(self._client, self._tables, self._run_id)
            ended = followed.notes
            for job, rows in followed.queued.items():
                self._note("delivered", f"{QUEUED_DELETION}{job}", None, rows)
        buckets = self._tables.write_changes(
            self._run_id, plan_options(options, settings.max_attempts, settings.missing_retry)
        )
        everything = sum((bucket.planned for bucket in buckets), Planned())
        self._planned = everything
        if not self._options.force and (reason := blocked_by(self._spec, everything)):
            return "blocked", reason
        waiting = 0
        if self._options.limit is not None:
            buckets = limit_buckets(buckets, self._options.limit)
            taken = sum((bucket.planned for bucket in buckets), Planned())
            waiting = everything.to_send - taken.to_send
            self._planned = replace(taken, unchanged=everything.unchanged, held=everything.held)
        self._observer.sync_planned(self._spec, self._planned)
        if self._planned.invalid:
            for reason, rows, key in self._tables.invalid_reasons():
                self._note("invalid", reason, key, rows)
        warnings: list[str] = []
        if self._planned.to_send:
            # Counted before anything is sent: afterwards Pendo's answers do not tell.
            counts = count_events(self._prepared, self._tables)
            warnings = property_name_warnings(self._spec) + count_warnings(counts)
        rows_per_page = min(max(self._spec.batch_size * BATCHES_PER_PAGE, SMALLEST_PAGE), LARGEST_PAGE)
        if self._written:
            rows_per_page *= WRITTEN_ROWS
        rows_per_page = min(rows_per_page, max(PAGE_BYTES // self._row_width(buckets), 1))
        self._buckets = buckets
        # The plan may have taken so long that the lock was taken for dead.
        lock.renew()
        spans = list(cut_pages(buckets, rows_per_page))
        if self._segment is None:
            self._deliver(spans, lock)
        else:
            replaced = self._segment.is_replaced(self._options.full_refresh, everything)
            # A part of the members says nothing of the others.
            replaced = replaced and (self._segment.id is None or self._options.limit is None)
            self._fill(self._segment, spans, replaced, whole=not waiting, lock=lock)
        if self._failure is not None:
            raise self._failure
        if self._planned.to_send:
            self._tables.compact(self._planned.to_send + self._planned.unchanged)
        notes = [*self._notes(), *ended, *warnings, *([f"{waiting:,} more rows wait (--limit)"] if waiting else [])]
        if self._planned.removed and not self._spec.sends_removals:
            notes.append(f"{self._planned.removed:,} left the model: noted in the ledger, kept in Pendo")
        if self._segment is not None and self._segment.id is None:
            notes.append("no segment was made: a segment needs a visitor")
        return ("partial" if self._counts["rejected"] else "success"), "; ".join(notes) or None

    def _row_width(self, buckets: Sequence[Bucket]) -> int:
        """Returns about how many bytes of memory a row takes, at least 1."""
        first = next((bucket.name for bucket in buckets if bucket.planned.to_send), None)
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

    def _fill(self, segment: SegmentWriter, spans: Sequence[Span], replaced: bool, whole: bool, lock: SyncLock) -> None:
        """Changes or replaces the members of a segment, and notes for the next run whether the ledger tells them.

        Args:
            segment: The segment.
            spans: The pages of the change set.
            replaced: Whether its members are replaced.
            whole: Whether the pages hold the whole change set.
            lock: The sync's lock.
        """
        if not (replaced or self._planned.to_send):
            self._deliver(spans, lock)
            return
        if segment.id is not None:
            # Until it is over: whom a run has added that dies, or is not answered, nobody knows.
            self._tables.note_segment(NotedSegment(segment.id, known=False))
        if replaced:
            self._replace_members(segment, spans, lock)
        self._deliver(spans, lock)
        known = whole and self._failure is None if replaced else segment.known
        if segment.id is not None and known and segment.answered:
            # Without the note the next run replaces all members, in one call.
            with contextlib.suppress(DbtPendoError):
                self._tables.note_segment(NotedSegment(segment.id, known=True))

    def _replace_members(self, segment: SegmentWriter, spans: Sequence[Span], lock: SyncLock) -> None:
        """Makes or overwrites the segment in one call; whom it does not take is left for the pages."""
        members: list[str] = []
        removed: str | None = None
        for span in spans:
            for _, _, change, key, *_ in self._tables.read_page(span):
                if change == "removed":
                    removed = key
                elif _is_unicode(key):
                    members.append(key)
            self._keep(lock)
        if members:
            is_new = segment.id is None
            self._held = frozenset(self._waited_for(partial(segment.replace, members), lock))
            if is_new and segment.id is not None:
                self._tables.note_segment(NotedSegment(segment.id, known=False))
            self._observer.sync_progressed(self._spec, len(self._held))
            return
        self._held = frozenset()
        if segment.id is not None:
            self._waited_for(partial(segment.clear, removed), lock)

    def _waited_for(self, call: Callable[[], T], lock: SyncLock) -> T:
        """Calls Pendo for as long as it takes, while the lock is kept."""
        with ThreadPoolExecutor(1, thread_name_prefix="dbt-pendo") as pool:
            answer = pool.submit(call)
            while wait((answer,), timeout=RENEW_EVERY).not_done:
                self._keep(lock)
            self._keep(lock)
            return answer.result()

    def _recover(self) -> None:
        """Commits what Pendo had acknowledged to a run that died before it could."""
        remains = read_remains(self._journal_path)
        if remains is None or not remains.pages or self._tables.change_set_run() != remains.run_id:
            return
        for page in remains.pages:
            positions = self._tables.read_positions(page.span)
            outcomes = {position: page.outcomes.get(position, UNSENT) for position in positions}
            self._tables.commit(remains.run_id, page.span, positions, outcomes)

    def _deliver(self, spans: Sequence[Span], lock: SyncLock) -> None:
        """Reads, sends and commits the pages; the next is read while one is under way."""
        pool = ThreadPoolExecutor(self._client.settings.concurrency, thread_name_prefix="dbt-pendo")
        journal = Journal(self._journal_path, self._run_id)
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
                    self._finish_page(journal, under_way, lock)
                under_way = page
                if self._failure is not None:
                    break
            if under_way is not None:
                self._finish_page(journal, under_way, lock)
            committed = True
        finally:
            pool.shutdown(cancel_futures=True)
            journal.close(keep=not committed)

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
            size, id_key = spec.batch_size, ID_KEYS[spec.object]
            return _Page(number, span, positions), [
                (deliverer.deliver, WrittenBatch(positions[at : at + size], bodies[at : at + size], id_key))
                for at in range(0, len(bodies), size)
            ]
        rows = self._tables.read_page(span)
        rendered = render(spec, rows, self._prepared.fields)
        others = rendered.unsendable
        page = _Page(number, span, [(row[0], row[1]) for row in rows], rows, others, settled=[list(others)])
        if self._held is not None:
            # The segment was replaced: who is in it needs no request, nor who is out of it.
            done = {(row[0], row[1]) for row in rows if row[2] == "removed" or row[3] in self._held}
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
        if self._failure is not None:
            return
        try:
            deliver(batch, settled)
        except DbtPendoError as error:
            self._fail(error)

    def _fail(self, error: DbtPendoError) -> None:
        """Notes why the sync has to stop; the first reason counts."""
        with self._settling:
            self._failure = self._failure or error

    def _settle(
        self, journal: Journal, page: _Page, positions: Sequence[Position], others: Mapping[Position, Outcome]
    ) -> None:
        """Takes the outcomes of some rows from a sending thread, before it sends anything else."""
        with self._settling:
            page.settled.append(positions)
            page.others |= others
        # Last, for it may fail: the page is committed even so.
        journal.note(page.number, positions, others)

    def _finish_page(self, journal: Journal, page: _Page, lock: SyncLock) -> None:
        """Waits for a page's batches and commits what happened to its rows, also when the sync has to stop."""
        for batch, delivery in page.sent:
            while wait((delivery,), timeout=RENEW_EVERY).not_done:
                self._keep(lock)
            self._keep(lock)
            delivery.result()
            self._observer.sync_progressed(self._spec, len(batch))
        outcomes = page.outcomes()
        self._tables.commit(self._run_id, page.span, page.positions, outcomes)
        journal.end_page(page.number)
        self._count(page, outcomes)

    def _keep(self, lock: SyncLock) -> None:
        try:
            lock.renew()
        except DbtPendoError as error:
            self._fail(error)

    def _count(self, page: _Page, outcomes: Mapping[Position, Outcome]) -> None:
        """Adds a page to the results; a row found invalid while it was rendered moves over to the invalid ones."""
        moved: Counter[str] = Counter()
        self._counts["delivered"] += len(page.positions) - len(outcomes)
        for position, change, key in page.named() if outcomes else ():
            if (outcome := outcomes.get(position)) is not None:
                self._counts[outcome.status] += 1
                if outcome.status == "invalid":
                    moved[change] += 1
                if outcome.detail is not None:
                    self._note(outcome.status, outcome.detail, key, 1)
        self._planned = replace(
            self._planned,
            added=self._planned.added - moved["added"],
            changed=self._planned.changed - moved["changed"],
            removed=self._planned.removed - moved["removed"],
            invalid=self._planned.invalid + moved.total(),
        )

    def _note(self, status: str, reason: str, key: str | None, rows: int) -> None:
        if (status, reason) not in self._reasons and len(self._reasons) >= REASONS_KEPT:
            reason = "other reasons"
        self._reasons[status, reason] += rows
        self._examples.setdefault((status, reason), "" if key is None else key)

    def _notes(self) -> list[str]:
        """Says of each kind of failure how often and why, with a key to look up."""
        notes = []
        for status in ("rejected", "invalid", "missing"):
            of_status = Counter({reason: rows for (kind, reason), rows in self._reasons.items() if kind == status})
            shown = [
                f"{reason} ({rows:,}, e.g. {example})"
                if (example := self._examples[status, reason])
                else f"{reason} ({rows:,})"
                for reason, rows in of_status.most_common(REASONS_SHOWN)
            ]
            if shown:
                more = len(of_status) - len(shown)
                notes.append(
                    f"{of_status.total():,} {status}: " + ", ".join(shown) + (f", {more} more reasons" if more else "")
                )
        if queued := Counter({reason: rows for (kind, reason), rows in self._reasons.items() if kind == "delivered"}):
            jobs = ", ".join(reason.removeprefix(QUEUED_DELETION) for reason in list(queued)[:REASONS_SHOWN])
            notes.append(f"{queued.total():,} deletions are queued in Pendo, for up to 21 days (jobs: {jobs})")
        return notes


def blocked_by(spec: SyncSpec, planned: Planned) -> str | None:
    """Returns why a guard holds a plan back; None when none does."""
    known = planned.changed + planned.removed + planned.unchanged
    if planned.removed and spec.on_removed == "delete" and spec.max_removals is None:
        return (
            f"blocked: {planned.removed:,} {spec.object}{'s' if planned.removed > 1 else ''} would be deleted in "
            "Pendo; set max_removals to allow so many, or --force deletes them"
        )
    changes, changed = planned.added + planned.changed, "added or changed"
    if spec.segment is not None:
        # A member is not changed by being sent again, as it is when all are replaced.
        changes, changed = planned.added, "added"
    for rows, limit, name, what in (
        (changes, spec.max_changes, "max_changes", changed),
        (planned.removed, spec.max_removals, "max_removals", "removed"),
    ):
        allowed = _allowed(limit, known)
        if allowed is not None and rows > allowed:
            return f"blocked: {rows:,} {what}, {name} allows {allowed:,}; --force lets them pass"
    return None


def plan_options(options: Options, max_attempts: int, missing_retry: float) -> PlanOptions:
    """Returns how a plan has to compare, by a run's options and the settings of held rows."""
    return PlanOptions(options.full_refresh, None if options.retry_held else max_attempts, missing_retry)


def _allowed(limit: Limit | None, known: int) -> int | None:
    """Returns how many rows a guard lets pass; a percentage says nothing before the first delivery."""
    if limit is None:
        return None
    if limit.rows is not None:
        return limit.rows
    return int(known * (limit.percent or 0) / 100) if known else None


def _is_unicode(text: str) -> bool:
    # See Deliverer: some drivers hand out text that is none.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
