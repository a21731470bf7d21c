"""Plans what a sync would do (`plan`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from dbt_pendo.commands.check import Checked
from dbt_pendo.commands.context import Context
from dbt_pendo.commands.sample import SAMPLE, look_at_plan
from dbt_pendo.commands.verify import RowDiff, diff_rows, why_unreadable
from dbt_pendo.delivery.estimate import RUNS, Estimate, count_requests, estimate
from dbt_pendo.delivery.events import age_warnings, count_events, count_warnings, property_name_warnings
from dbt_pendo.delivery.sync import Options, another_destination, blocked_by, consent_warnings, second_ledger
from dbt_pendo.delivery.writers import preview_requests
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import Model, SyncSpec
from dbt_pendo.pendo.client import Request
from dbt_pendo.records.masking import body_mask
from dbt_pendo.records.render import render
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import History, LoggedSync
from dbt_pendo.warehouse.session import WarehouseError


@dataclass(frozen=True, slots=True)
class SyncPlan(Checked):
    """What a sync would do."""

    planned: Planned = field(default_factory=Planned)
    # Why a sync would hold its rows back.
    note: str | None = None
    # The first requests a sync would send.
    requests: Sequence[Request] = ()
    estimate: Estimate = field(default_factory=Estimate)
    # About how many bytes the comparison scans; None where the warehouse does not say so beforehand.
    bytes_scanned: int | None = None
    # The first changed rows beside what Pendo holds of them.
    diff: Sequence[RowDiff] = ()

    def details(self) -> dict[str, Any]:
        """Returns the counts, and what was asked for by ``--show`` and ``--diff``."""
        return {
            **Checked.details(self),
            "planned": asdict(self.planned),
            "note": self.note,
            "estimate": asdict(self.estimate),
            "bytes_scanned": self.bytes_scanned,
            "requests": [{"method": one.method, "path": one.path, "body": one.document} for one in self.requests],
            "diff": list(map(asdict, self.diff)),
        }


def plan_syncs(context: Context, options: Options, show: int, diff: int) -> Iterator[SyncPlan]:
    """Says what a sync would do; sends and stores nothing.

    Args:
        context: The syncs.
        options: As for the sync.
        show: How many records to show, in the requests they would be sent in.
        diff: How many changed rows to show beside what Pendo holds.
    """
    past: Mapping[str, list[LoggedSync]] = {}
    # Without the run log there is still an estimate.
    with contextlib.suppress(WarehouseError):
        syncs = [spec.name for _, spec in context.selected.syncs]
        past = History(context.session, context.schema).recent(syncs, but="", limit=RUNS)

    def plan(model: Model, spec: SyncSpec) -> SyncPlan:
        verdict = context.selected.verdicts[spec.unique_id]
        if not verdict.may_run:
            return SyncPlan(spec, note=f"skipped: {verdict.reason}", warnings=property_name_warnings(spec))
        return _plan(context, model, spec, options, show, diff, past.get(spec.name, []))

    def failed(spec: SyncSpec, error: DbtPendoError) -> SyncPlan:
        return SyncPlan(spec, error, warnings=property_name_warnings(spec))

    return context.each_sync(plan, failed)


def _plan(
    context: Context, model: Model, spec: SyncSpec, options: Options, show: int, diff: int, past: Sequence[LoggedSync]
) -> SyncPlan:
    if diff:
        context.settings.require_integration_key()
    has_key = context.settings.integration_key is not None
    prepared = context.prepare(model, spec, may_create=False, ask_pendo=has_key)
    tables = context.tables(prepared)
    segment = context.find_segment(prepared) if has_key else None
    if segment is not None and not segment.known:
        options = replace(options, full_refresh=True)
    compared = options.to_plan(context.settings)
    planned = sum((bucket.planned for bucket in tables.plan(compared)), Planned())
    counts, consents = count_events(prepared, tables, compared), tables.count_consents(compared)
    rows = tables.preview(compared, max(show, SAMPLE)) if planned.to_send else []
    mask = body_mask(context.settings.mask, spec, prepared.fields)
    looks = look_at_plan(prepared, tables, compared, planned, rows, mask)
    is_compared = segment is not None and segment.is_compared(options.full_refresh, planned)
    is_uploaded = spec.segment is not None and (segment is None or segment.id is None)
    estimated = estimate(count_requests(spec, planned, is_uploaded, consents.calls), past, context.settings)
    warnings = [
        *([prepared.about_subscription] if prepared.about_subscription else []),
        *([another_destination(earlier, spec)] if (earlier := tables.earlier_destination()) else []),
        *property_name_warnings(spec),
        *consent_warnings(spec, consents, mask),
        *(warning for look in looks for warning in look.warnings()),
        *age_warnings(prepared),
        *count_warnings(counts),
        *estimated.warnings(),
    ]
    if segment is not None and segment.taking_over and not segment.blocked:
        warnings.append(segment.taking_over)
    rendered = render(spec, rows[:show], prepared.fields)
    previewed = preview_requests(context.client, spec, rendered, segment, is_compared)
    requests = [
        replace(
            one,
            path=one.pattern if mask.ids and one.pattern else one.path,
            body=orjson.dumps(mask.hide_body(one.document, one.path)[0]),
        )
        for one in previewed
    ]
    note = None
    if not options.force:
        note = second_ledger(prepared) or (segment and segment.blocked) or blocked_by(spec, planned, consents)
    # On a first run nothing has changed yet, and all of it is new.
    kind = "changed" if planned.changed else "added"
    unreadable = why_unreadable(spec)
    if diff and unreadable:
        warnings.append(f"--diff shows nothing of it: {unreadable}")
    changed = tables.preview(compared, diff, [kind]) if diff and not unreadable else []
    differing = list(diff_rows(prepared, context.client, changed, mask))
    return SyncPlan(
        spec,
        warnings=warnings,
        left_out=counts.left_out,
        do_not_process=consents.ignored,
        new_fields=prepared.new_fields,
        looks=looks,
        planned=planned,
        note=note,
        requests=requests,
        estimate=estimated,
        bytes_scanned=tables.bytes_scanned(compared),
        diff=differing,
    )
