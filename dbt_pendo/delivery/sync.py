"""One sync: recover what a dead run left, plan, deliver, compact."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dbt_pendo.delivery.deletions import follow_deletions, waiting_outcomes
from dbt_pendo.delivery.events import age_warnings, count_events, count_warnings, left_out_notes, property_name_warnings
from dbt_pendo.delivery.journal import read_remains
from dbt_pendo.delivery.members import Filling
from dbt_pendo.delivery.pages import PageReader, Pages
from dbt_pendo.delivery.prepare import Prepared, SyncContext
from dbt_pendo.delivery.results import CHANGES, Counts, Note, SyncResult, SyncStatus, failed_result
from dbt_pendo.delivery.segments import Segment, find_segment
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import DO_NOT_PROCESS, ConsentCounts
from dbt_pendo.mapping.spec import Limit, SyncSpec
from dbt_pendo.outcomes import UNSENT, Outcome
from dbt_pendo.pendo.client import PendoError
from dbt_pendo.pendo.records import is_ignored, read_record
from dbt_pendo.records.masking import BodyMask
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.pages import Bucket, Planned, Span, limit_buckets
from dbt_pendo.warehouse.plan import EVERYTHING, PlanOptions
from dbt_pendo.wording import number, visible

_IGNORED = f"Do Not Process (`{DO_NOT_PROCESS}`)"
_LOSES_DATA = "Pendo then throws all their data away, which cannot be undone"
_IS_MISSING = "Pendo does not take them"
_DELETED = f"it marks deleted ids Do Not Process; `{DO_NOT_PROCESS}` of `group: pendo` can take that back"


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a sync.

    Attributes:
        full_refresh: Send every row again.
        limit: Send at most so many rows; None for all.
        force: Pass the guards ``max_changes`` and ``max_removals``, and take a segment over.
        retry_held: Try held rows again.
    """

    full_refresh: bool = False
    limit: int | None = None
    force: bool = False
    retry_held: bool = False

    def to_plan(self, settings: Settings) -> PlanOptions:
        """Returns how a plan compares the model with the ledger."""
        attempts = None if self.retry_held else settings.max_attempts
        return PlanOptions(self.full_refresh, attempts, settings.missing_retry)


def run_sync(context: SyncContext, options: Options) -> SyncResult:
    """Delivers what there is to deliver; failures end up in the result."""
    counts, spec = context.counts, context.spec
    started = time.monotonic()
    try:
        context.stop.check()
        with context.tables.locked(context.run_id):
            status, notes = _run(context, options)
        result = SyncResult(spec.name, spec.unique_id, spec.object, status, notes)
    except DbtPendoError as error:
        result = failed_result(spec, error, counts.notes())
    return replace(
        result,
        planned=counts.planned,
        delivered=counts.rows["delivered"],
        delivered_by=_delivered_by(spec, counts),
        missing=counts.rows["missing"],
        rejected=counts.rows["rejected"],
        traffic=context.client.traffic,
        duration=time.monotonic() - started,
        created_fields=context.prepared.new_fields,
    )


def _delivered_by(spec: SyncSpec, counts: Counts) -> dict[str, int]:
    """Returns the delivered rows by what happened to them in Pendo."""
    found = {change: counts.delivered_by[change] for change in CHANGES}
    if kind := {"delete": "deleted", "clear": "cleared"}.get(spec.on_removed):
        found[kind] = found["removed"]
    return found


def _run(context: SyncContext, options: Options) -> tuple[SyncStatus, tuple[Note, ...]]:
    counts, spec, tables = context.counts, context.spec, context.tables
    if not options.force and (reason := second_ledger(context.prepared)):
        return "blocked", (Note("error", reason),)
    ledger = tables.prepare_by(context.listed)
    new_subscription, noted = context.prepared.new_subscription, context.prepared.noted_subscription
    # Of a ledger that was not there nobody has noted anything meanwhile.
    if new_subscription is not None and ledger != "made" and tables.subscription() != noted:
        raise DbtPendoError(f"{spec.name}: another run has noted another Pendo with its ledger.", "Run it again.")
    recovered = _recover(context)
    segment = find_segment(context.client, spec, context.stop, tables) if spec.segment is not None else None
    ended: list[str] = []
    deletions_wait = False
    if spec.on_removed == "delete":
        ended, deletions_wait = follow_deletions(context)
    # Where the members of a segment are not known, the change set has to hold all of them.
    compared = replace(options, full_refresh=options.full_refresh or (segment is not None and not segment.known))
    buckets = tables.write_changes(context.run_id, compared.to_plan(context.client.settings))
    counts.planned = sum((bucket.planned for bucket in buckets), Planned())
    texts = [*recovered, *_told_before(context), *ended]
    if counts.planned.invalid:
        for reason, rows, key in tables.invalid_reasons():
            counts.add_reason("invalid", reason, key, rows)
    consents = tables.count_consents() if counts.planned.to_send else ConsentCounts()
    if not options.force and (reason := (segment and segment.blocked) or blocked_by(spec, counts.planned, consents)):
        return "blocked", (Note("error", reason), *counts.notes(), *_infos(texts))
    if new_subscription is not None:
        tables.note_subscription(new_subscription)
    waiting = waiting_outcomes(context) if deletions_wait else {}
    texts += _send(context, options, segment, buckets, waiting)
    notes = (*counts.notes(), *_infos(texts))
    if counts.rows["rejected"]:
        return "partial", notes
    return "warn" if counts.rows["missing"] or counts.planned.invalid else "success", notes


def _send(
    context: SyncContext,
    options: Options,
    segment: Segment | None,
    buckets: Sequence[Bucket],
    decided: Mapping[str, Outcome],
) -> list[str]:
    """Delivers a change set that nothing holds back, and returns what to tell of it.

    Args:
        context: The sync.
        options: How to run it.
        segment: The segment of a ``segment`` sync.
        buckets: What the change set holds.
        decided: The outcome of rows by their keys, of which nothing is sent.
    """
    counts, spec, tables, texts = context.counts, context.spec, context.tables, []
    everything, waiting = counts.planned, 0
    if options.limit is not None:
        buckets = limit_buckets(buckets, options.limit)
        taken = sum((bucket.planned for bucket in buckets), Planned())
        waiting = everything.to_send - taken.to_send
        # Of the others as many as there are: nothing of them waits.
        counts.planned = replace(
            taken, unchanged=everything.unchanged, invalid=everything.invalid, held=everything.held
        )
    context.observer.sync_planned(spec, counts.planned)
    if counts.planned.to_send and spec.event is not None:
        # Counted before anything is sent: afterwards Pendo's answers do not tell.
        span = Span("000", buckets[-1].name, last_seq=buckets[-1].last_seq) if waiting else EVERYTHING
        events = count_events(context.prepared, tables, span=span)
        texts += [*property_name_warnings(spec), *age_warnings(context.prepared), *count_warnings(events)]
        texts += left_out_notes(spec, events.left_out)
    is_compared = segment is not None and segment.is_compared(options.full_refresh, everything, options.limit)
    most_invalid = None if options.force else _allowed(spec.max_invalid, everything.in_model)
    left = None if most_invalid is None else most_invalid - everything.invalid
    texts += _deliver(context, buckets, segment, is_compared, not waiting, left, decided)
    texts += _came_back(context)
    if counts.planned.to_send:
        added = counts.planned.to_send + counts.planned.invalid
        tables.compact(counts.planned.to_send + counts.planned.unchanged, added)
    if segment is not None and segment.is_foreign:
        texts.append(f"took over the segment {spec.segment}, which no run of dbt-pendo had filled before")
    if waiting:
        texts.append(f"{number(waiting, 'more row')} {'waits' if waiting == 1 else 'wait'} (--limit)")
    if counts.planned.removed and not spec.sends_removals:
        texts.append(f"{counts.planned.removed:,} left the model: noted in the ledger, kept in Pendo")
    if segment is not None and segment.id is None:
        texts.append("no segment was made: a segment needs a visitor")
    return texts


def _came_back(context: SyncContext) -> list[str]:
    """Returns what to tell of records that were deleted and are in the model again: Pendo may not process them."""
    spec, texts = context.spec, []
    # One that was removed is added again.
    may_be = spec.on_removed == "delete" and context.counts.planned.added
    for status, rows, key in context.tables.came_back(context.run_id) if may_be else ():
        what = f"{number(rows, 'row')} came back after a deletion in Pendo (e.g. {key})"
        if status == "missing":
            texts.append(f"{what} and {_IS_MISSING}: {_DELETED}")
            continue
        # What cannot be read cannot be said, and the rows are delivered.
        with contextlib.suppress(PendoError):
            if is_ignored(read_record(context.client, spec.object, key)):
                texts.append(f"{what}, and Pendo throws their data away: {_DELETED}")
    return texts


def _infos(texts: Sequence[str]) -> list[Note]:
    return [Note("info", visible(text)) for text in texts]


def _told_before(context: SyncContext) -> list[str]:
    """Returns what to tell of a sync in any case: new fields in Pendo, another key, another destination."""
    prepared = context.prepared
    texts = [
        f"created the {one['group']} field {one['name']} ({one['type']}) in Pendo. {one.get('note', '')}".rstrip(" .")
        for one in prepared.new_fields
    ]
    if prepared.about_subscription:
        texts.append(prepared.about_subscription)
    if earlier := context.tables.earlier_destination():
        texts.append(another_destination(earlier, context.spec))
    return texts


def _deliver(
    context: SyncContext,
    buckets: Sequence[Bucket],
    segment: Segment | None,
    is_compared: bool,
    is_whole: bool,
    most_invalid: int | None,
    decided: Mapping[str, Outcome],
) -> list[str]:
    """Delivers what the buckets hold.

    Args:
        context: The sync.
        buckets: What is to be delivered.
        segment: The segment of a ``segment`` sync.
        is_compared: Whether the members of the segment are compared with Pendo's.
        is_whole: Whether the buckets hold the whole change set.
        most_invalid: How many of the rows may be invalid; None for all.
        decided: The outcome of rows by their keys, of which nothing is sent.

    Returns:
        What to tell of it.

    Raises:
        DbtPendoError: If the sync has to stop; what was delivered is committed.
    """
    reader = PageReader(context, buckets, segment)
    if decided:
        reader.decide = decided.get
    spans = reader.spans()
    # What was asked since the plan may have taken so long that the lock was taken for dead.
    context.tables.lock.renew()
    filling = Filling(context, segment, spans) if segment is not None else None
    if filling is not None:
        reader.decide = filling.begin(is_compared)
    pages = Pages(context, reader, most_invalid)
    pages.deliver(spans)
    if filling is not None:
        filling.end(is_whole, pages.failure is not None)
    if pages.failure is not None:
        raise pages.failure
    return filling.notes if filling is not None else []


def _recover(context: SyncContext) -> list[str]:
    """Commits what Pendo had acknowledged to a run that died before it could, and returns what to tell of that."""
    tables, remains = context.tables, read_remains(context.journal_path)
    if remains is None or not remains.pages or tables.change_set_run() != remains.run_id:
        return []
    noted = 0
    for span, acknowledged in remains.pages:
        positions = tables.read_positions(span)
        outcomes = {position: acknowledged.get(position, UNSENT) for position in positions}
        tables.commit(remains.run_id, span, positions, outcomes, remains.destination)
        noted += sum(outcome is not UNSENT for outcome in outcomes.values())
    text = f"run {remains.run_id} died: noted in the ledger what Pendo had answered for {number(noted, 'row')} of it"
    if context.spec.event is not None:
        text += "; events of its last requests may reach Pendo twice"
    return [text]


def another_destination(earlier: str, spec: SyncSpec) -> str:
    """Returns the warning about a sync that delivered its rows as something else before."""
    now = spec.destination
    return f"last delivered as {earlier}, now as {now}: only what was delivered as {now} counts as delivered"


def second_ledger(prepared: Prepared) -> str | None:
    """Returns why a first run is held back; None when it is not."""
    return f"blocked: {prepared.another_ledger}; or --force passes" if prepared.another_ledger else None


def consent_warnings(spec: SyncSpec, consents: ConsentCounts, mask: BodyMask) -> list[str]:
    """Returns the warning about records of which Pendo would process nothing any more."""
    if not consents.ignored:
        return []
    example = f" (e.g. {mask.key(consents.example)})" if consents.example else ""
    return [f"{number(consents.ignored, spec.object)} would be marked {_IGNORED}{example}: {_LOSES_DATA}"]


def blocked_by(spec: SyncSpec, planned: Planned, consents: ConsentCounts) -> str | None:
    """Returns why a guard holds a plan back; None when none does."""
    known = planned.changed + planned.removed + planned.unchanged
    # A percentage of nothing allows nothing that cannot be undone.
    if consents.ignored and _allowed(spec.max_changes, known) is None:
        return (
            f"blocked: {number(consents.ignored, spec.object)} would be marked {_IGNORED}: {_LOSES_DATA}; set "
            "max_changes to a count to allow so many, or `sync --force` does it"
        )
    if planned.removed and spec.on_removed == "delete" and spec.max_removals is None:
        return (
            f"blocked: {number(planned.removed, spec.object)} would be deleted in "
            "Pendo; set max_removals to allow so many, or --force deletes them"
        )
    changes, changed = planned.added + planned.changed, "added or changed"
    if spec.segment is not None:
        # A member is not changed by being sent again, as it is when all are replaced.
        changes, changed = planned.added, "added"
    for rows, of, limit, name, what in (
        (changes, known, spec.max_changes, "max_changes", changed),
        (planned.removed, known, spec.max_removals, "max_removals", "removed"),
        (planned.invalid, planned.in_model, spec.max_invalid, "max_invalid", "invalid"),
    ):
        allowed = _allowed(limit, of)
        if allowed is not None and rows > allowed:
            return f"blocked: {rows:,} {what}, {name} allows {allowed:,}; --force lets them pass"
    return None


def _allowed(limit: Limit | None, known: int) -> int | None:
    """Returns how many rows a guard lets pass; a percentage of nothing, before the first delivery, says nothing."""
    if limit is None:
        return None
    if limit.rows is not None:
        return limit.rows
    return int(known * (limit.percent or 0) / 100) if known else None
