"""One sync: recover what a dead run left, plan, deliver, compact."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dbt_pendo.delivery.deletions import follow_deletions
from dbt_pendo.delivery.events import count_events
from dbt_pendo.delivery.guards import blocked_by
from dbt_pendo.delivery.journal import journal_path, read_remains
from dbt_pendo.delivery.pages import Pages
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import Counts, Observer, SyncResult, SyncStatus
from dbt_pendo.delivery.segment_writer import SegmentWriter
from dbt_pendo.delivery.segments import fill_segment
from dbt_pendo.delivery.send import Sender
from dbt_pendo.delivery.signals import InterruptedRunError, Stop
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.event_limits import count_warnings, property_name_warnings
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.outcomes import QUEUED_DELETION, UNSENT
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.visible import visible
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.lock import LockedError, SyncLock
from dbt_pendo.warehouse.pages import Bucket, Planned, limit_buckets
from dbt_pendo.warehouse.plan import PlanOptions


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
        self._options = options
        self._journal_path = journal_path(target_path, prepared.spec.name, tables.address)
        self._stop = stop
        self._observer = observer
        self._segment = SegmentWriter(client, prepared.spec, stop) if prepared.spec.segment is not None else None
        self._tally = Counts()

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
            planned=self._tally.planned,
            delivered=self._tally.delivered,
            missing=self._tally.missing,
            rejected=self._tally.rejected,
            traffic=self._client.traffic - traffic,
            duration=time.monotonic() - started,
        )

    def _run_locked(self) -> tuple[SyncStatus, str | None]:
        self._stop.check()
        self._tables.ensure_schema()
        lock = self._tables.lock
        lock.acquire(self._run_id)
        try:
            return self._run(lock)
        finally:
            # A warehouse that is gone keeps the lock; it goes stale.
            with contextlib.suppress(DbtPendoError):
                lock.release()

    def _run(self, lock: SyncLock) -> tuple[SyncStatus, str | None]:
        tally, spec = self._tally, self._spec
        self._tables.prepare()
        earlier = self._tables.earlier_destination()
        self._recover()
        if self._segment is not None:
            self._segment.find(self._tables)
        ended = self._follow_deletions() if spec.on_removed == "delete" else ()
        buckets = self._plan()
        everything = tally.planned
        if not self._options.force and (reason := blocked_by(spec, everything)):
            return "blocked", reason
        waiting = 0
        if self._options.limit is not None:
            buckets = limit_buckets(buckets, self._options.limit)
            taken = sum((bucket.planned for bucket in buckets), Planned())
            waiting = everything.to_send - taken.to_send
            tally.planned = replace(taken, unchanged=everything.unchanged, held=everything.held)
        self._observer.sync_planned(spec, tally.planned)
        if tally.planned.invalid:
            for reason, rows, key in self._tables.invalid_reasons():
                tally.note("invalid", reason, key, rows)
        warnings = [another_destination(earlier, spec)] if earlier else []
        if tally.planned.to_send:
            # Counted before anything is sent: afterwards Pendo's answers do not tell.
            counts = count_events(self._prepared, self._tables)
            warnings += property_name_warnings(spec) + count_warnings(counts)
        self._deliver(buckets, everything, whole=not waiting, lock=lock)
        if tally.planned.to_send:
            self._tables.compact(tally.planned.to_send + tally.planned.unchanged)
        notes = [*tally.notes(), *ended, *warnings, *([f"{waiting:,} more rows wait (--limit)"] if waiting else [])]
        if tally.planned.removed and not spec.sends_removals:
            notes.append(f"{tally.planned.removed:,} left the model: noted in the ledger, kept in Pendo")
        if self._segment is not None and self._segment.id is None:
            notes.append("no segment was made: a segment needs a visitor")
        return ("partial" if tally.rejected else "success"), "\n".join(map(visible, notes)) or None

    def _plan(self) -> list[Bucket]:
        """Writes the change set, and counts what is in it."""
        settings, options = self._client.settings, self._options
        if self._segment is not None and not self._segment.known:
            # Who is in it already is not known: all members have to be in the change set.
            options = replace(options, full_refresh=True)
        how = plan_options(options, settings.max_attempts, settings.missing_retry)
        buckets = self._tables.write_changes(self._run_id, how)
        self._tally.planned = sum((bucket.planned for bucket in buckets), Planned())
        return buckets

    def _deliver(self, buckets: Sequence[Bucket], everything: Planned, whole: bool, lock: SyncLock) -> None:
        """Delivers what the buckets hold.

        Args:
            buckets: What is to be delivered.
            everything: What the change set holds.
            whole: Whether the buckets hold all of it.
            lock: The sync's lock.

        Raises:
            DbtPendoError: If no further row can or shall be delivered; what was delivered is committed.
        """
        pages = Pages(
            self._run_id,
            self._prepared,
            self._tables,
            buckets,
            Sender(self._client, self._spec, self._stop, self._segment),
            self._client.settings.concurrency,
            self._journal_path,
            lock,
            self._tally,
            self._observer,
        )
        spans = pages.spans()
        # The plan may have taken so long that the lock was taken for dead.
        lock.confirm()
        segment = self._segment
        # A part of the members says nothing of the others.
        replaced = (
            segment is not None
            and segment.is_replaced(self._options.full_refresh, everything)
            and (segment.id is None or self._options.limit is None)
        )
        if segment is not None and (replaced or self._tally.planned.to_send):
            fill_segment(segment, self._tables, pages, spans, replaced, whole)
        else:
            pages.deliver(spans)
        if pages.failure is not None:
            raise pages.failure

    def _follow_deletions(self) -> Sequence[str]:
        """Asks how far deletions of earlier runs are, and returns what to tell of those that have ended."""
        followed = follow_deletions(self._client, self._tables, self._run_id)
        for job, rows in followed.queued.items():
            self._tally.note("delivered", f"{QUEUED_DELETION}{job}", None, rows)
        return followed.notes

    def _recover(self) -> None:
        """Commits what Pendo had acknowledged to a run that died before it could."""
        remains = read_remains(self._journal_path)
        if remains is None or not remains.pages or self._tables.change_set_run() != remains.run_id:
            return
        for page in remains.pages:
            positions = self._tables.read_positions(page.span)
            outcomes = {position: page.outcomes.get(position, UNSENT) for position in positions}
            self._tables.commit(remains.run_id, page.span, positions, outcomes, remains.destination)


def another_destination(earlier: str, spec: SyncSpec) -> str:
    """Returns what to tell people of a sync that delivered its rows as something else before."""
    now = spec.destination
    return f"last delivered as {earlier}, now as {now}: only what was delivered as {now} counts as delivered"


def plan_options(options: Options, max_attempts: int, missing_retry: float) -> PlanOptions:
    """Returns how a plan has to compare, by a run's options and the settings of held rows."""
    return PlanOptions(options.full_refresh, None if options.retry_held else max_attempts, missing_retry)
