"""One sync: recover what a dead run left, plan, deliver, compact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dbt_pendo.delivery.events import count_events, count_warnings, property_name_warnings
from dbt_pendo.delivery.journal import read_remains
from dbt_pendo.delivery.pages import Decide, PageReader, Pages
from dbt_pendo.delivery.prepare import SyncContext
from dbt_pendo.delivery.results import Note, SyncResult, SyncStatus, error_notes, status_of
from dbt_pendo.delivery.segments import Segment
from dbt_pendo.delivery.writers import follow_deletions, make_writers
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import Limit, SyncSpec
from dbt_pendo.outcomes import QUEUED_DELETION, UNSENT
from dbt_pendo.warehouse.pages import Bucket, Planned, limit_buckets
from dbt_pendo.warehouse.plan import PlanOptions
from dbt_pendo.wording import number, visible


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

    def __init__(self, context: SyncContext, options: Options) -> None:
        self._context = context
        self._spec = context.spec
        self._tables = context.tables
        self._counts = context.counts
        self._options = options
        self._segment: Segment | None = None

    def run(self) -> SyncResult:
        """Delivers what there is to deliver; failures end up in the result."""
        context, counts = self._context, self._counts
        started, traffic = time.monotonic(), context.client.traffic
        status: SyncStatus
        notes: Sequence[Note]
        try:
            context.stop.check()
            with self._tables.locked(context.run_id):
                status, notes = self._run()
        except DbtPendoError as error:
            status, notes = status_of(error), error_notes(error)
        return SyncResult(
            sync=self._spec.name,
            unique_id=self._spec.unique_id,
            object=self._spec.object,
            status=status,
            notes=tuple(notes),
            planned=counts.planned,
            delivered=counts["delivered"],
            missing=counts["missing"],
            rejected=counts["rejected"],
            traffic=context.client.traffic - traffic,
            duration=time.monotonic() - started,
        )

    def _run(self) -> tuple[SyncStatus, Sequence[Note]]:
        context, counts, spec = self._context, self._counts, self._spec
        self._tables.prepare()
        earlier = self._tables.earlier_destination()
        self._recover()
        if spec.segment is not None:
            self._segment = Segment(context.client, spec, context.stop, self._tables)
            self._segment.find()
        ended = self._follow_deletions() if spec.on_removed == "delete" else ()
        buckets = self._plan()
        everything = counts.planned
        if not self._options.force and (reason := blocked_by(spec, everything)):
            return "blocked", [Note("error", reason)]
        waiting = 0
        if self._options.limit is not None:
            buckets = limit_buckets(buckets, self._options.limit)
            taken = sum((bucket.planned for bucket in buckets), Planned())
            waiting = everything.to_send - taken.to_send
            counts.planned = replace(taken, unchanged=everything.unchanged, held=everything.held)
        context.observer.sync_planned(spec, counts.planned)
        if counts.planned.invalid:
            for reason, rows, key in self._tables.invalid_reasons():
                counts.add_reason("invalid", reason, key, rows)
        texts = [*ended, *([another_destination(earlier, spec)] if earlier else [])]
        if counts.planned.to_send and spec.event is not None:
            # Counted before anything is sent: afterwards Pendo's answers do not tell.
            texts += [*property_name_warnings(spec), *count_warnings(count_events(context.prepared, self._tables))]
        self._deliver(buckets, everything, is_whole=not waiting)
        if counts.planned.to_send:
            self._tables.compact(counts.planned.to_send + counts.planned.unchanged)
        if waiting:
            texts.append(f"{waiting:,} more rows wait (--limit)")
        if counts.planned.removed and not spec.sends_removals:
            texts.append(f"{counts.planned.removed:,} left the model: noted in the ledger, kept in Pendo")
        if self._segment is not None and self._segment.id is None:
            texts.append("no segment was made: a segment needs a visitor")
        notes = [*counts.notes(), *(Note("info", visible(text)) for text in texts)]
        return "partial" if counts["rejected"] else "success", notes

    def _plan(self) -> list[Bucket]:
        """Writes the change set, and counts what is in it."""
        settings, options = self._context.settings, self._options
        if self._segment is not None and not self._segment.known:
            # Nobody knows who is in it already: all members have to be in the change set.
            options = replace(options, full_refresh=True)
        how = plan_options(options, settings.max_attempts, settings.missing_retry)
        buckets = self._tables.write_changes(self._context.run_id, how)
        self._counts.planned = sum((bucket.planned for bucket in buckets), Planned())
        return buckets

    def _deliver(self, buckets: Sequence[Bucket], everything: Planned, is_whole: bool) -> None:
        """Delivers what the buckets hold.

        Args:
            buckets: What is to be delivered.
            everything: What the change set holds.
            is_whole: Whether the buckets hold all of it.

        Raises:
            DbtPendoError: If no further row can or shall be delivered; what was delivered is committed.
        """
        context, segment, options = self._context, self._segment, self._options
        writers = make_writers(context.client, self._spec, context.stop, segment)
        reader = PageReader(context, buckets, writers)
        spans = reader.spans()
        # The plan may have taken so long that the lock was taken for dead.
        context.lock.confirm()
        decide: Decide | None = None
        is_replaced = False
        if segment is not None:
            is_replaced = segment.is_replaced(options.full_refresh, everything, options.limit)
            if is_replaced or self._counts.planned.to_send:
                segment.begin()
            if is_replaced:
                decide = segment.replace(context, spans)
        pages = Pages(context, reader, decide)
        pages.deliver(spans)
        if segment is not None:
            segment.end(context, is_whole and pages.failure is None if is_replaced else segment.known)
        if pages.failure is not None:
            raise pages.failure

    def _follow_deletions(self) -> Sequence[str]:
        """Asks how far deletions of earlier runs are, and returns how those ended that have."""
        queued, notes = follow_deletions(self._context.client, self._tables, self._context.run_id)
        for job, rows in queued.items():
            self._counts.add_reason("delivered", f"{QUEUED_DELETION}{job}", None, rows)
        return notes

    def _recover(self) -> None:
        """Commits what Pendo had acknowledged to a run that died before it could."""
        remains = read_remains(self._context.journal_path)
        if remains is None or not remains.pages or self._tables.change_set_run() != remains.run_id:
            return
        for span, acknowledged in remains.pages:
            positions = self._tables.read_positions(span)
            outcomes = {position: acknowledged.get(position, UNSENT) for position in positions}
            self._tables.commit(remains.run_id, span, positions, outcomes, remains.destination)


def another_destination(earlier: str, spec: SyncSpec) -> str:
    """Returns the warning about a sync that delivered its rows as something else before."""
    now = spec.destination
    return f"last delivered as {earlier}, now as {now}: only what was delivered as {now} counts as delivered"


def plan_options(options: Options, max_attempts: int, missing_retry: float) -> PlanOptions:
    """Returns how a plan compares, by a run's options and the settings of held rows."""
    return PlanOptions(options.full_refresh, None if options.retry_held else max_attempts, missing_retry)


def blocked_by(spec: SyncSpec, planned: Planned) -> str | None:
    """Returns why a guard holds a plan back; None when none does."""
    known = planned.changed + planned.removed + planned.unchanged
    if planned.removed and spec.on_removed == "delete" and spec.max_removals is None:
        return (
            f"blocked: {number(planned.removed, spec.object)} would be deleted in "
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


def _allowed(limit: Limit | None, known: int) -> int | None:
    """Returns how many rows a guard lets pass; a percentage says nothing before the first delivery."""
    if limit is None:
        return None
    if limit.rows is not None:
        return limit.rows
    return int(known * (limit.percent or 0) / 100) if known else None
