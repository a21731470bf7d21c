"""Checks mappings, and plans what a sync would do (`check`, `plan`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dbt_pendo.commands.context import Context, SyncFinding
from dbt_pendo.commands.select import Selected
from dbt_pendo.delivery.events import age_warnings, count_events, count_warnings, property_name_warnings
from dbt_pendo.delivery.fields import agent_warnings
from dbt_pendo.delivery.sync import Options, another_destination, another_ledger, blocked_by
from dbt_pendo.delivery.writers import preview_requests
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import Model, SyncSpec
from dbt_pendo.pendo.client import Request
from dbt_pendo.records.render import render
from dbt_pendo.warehouse.plan import Planned


@dataclass(frozen=True, slots=True)
class Checked(SyncFinding):
    """What a check says of one sync."""

    # What Pendo would accept and not use.
    warnings: Sequence[str] = ()
    # Events older than the sync's `max_age`.
    left_out: int = 0
    # The fields that a sync would create: name, group, type.
    new_fields: Sequence[Mapping[str, str]] = ()

    def details(self) -> dict[str, Any]:
        """Returns what was found."""
        return {"warnings": list(self.warnings), "left_out": self.left_out, "new_fields": list(self.new_fields)}


@dataclass(frozen=True, slots=True)
class SyncPlan(Checked):
    """What a sync would do."""

    planned: Planned = field(default_factory=Planned)
    # Why a sync would hold its rows back.
    note: str | None = None
    # The first requests a sync would send.
    requests: Sequence[Request] = ()

    def details(self) -> dict[str, Any]:
        """Returns the counts, and the requests asked for by ``--show``."""
        requests = [{"method": one.method, "path": one.path, "body": one.document} for one in self.requests]
        found = Checked.details(self)
        return {**found, "planned": asdict(self.planned), "note": self.note, "requests": requests}


def check_syncs(context: Context) -> Iterator[Checked]:
    """Compares each mapping with the warehouse and with Pendo."""

    def check(model: Model, spec: SyncSpec) -> Checked:
        prepared = context.prepare(model, spec, may_create=False)
        segment = context.find_segment(prepared)
        counts = count_events(prepared, context.tables(prepared), Options().to_plan(context.settings))
        if spec.event is not None:
            context.pendo.require_track_secret(spec.event.app)
        warnings = [*_mapping_warnings(spec), *age_warnings(prepared), *count_warnings(counts)]
        if segment is not None and segment.taking_over:
            warnings.append(segment.blocked or segment.taking_over)
        return Checked(spec, warnings=warnings, left_out=counts.left_out, new_fields=prepared.new_fields)

    return context.each_sync(check, _checked)


def check_offline(selected: Selected) -> Iterator[Checked]:
    """Checks mappings by themselves; that they could be parsed is most of it."""
    return (_checked(spec) for _, spec in selected.syncs)


def plan_syncs(context: Context, options: Options, show: int) -> Iterator[SyncPlan]:
    """Says what a sync would do; sends and stores nothing.

    Args:
        context: The syncs.
        options: As for the sync.
        show: How many records to show, in the requests they would be sent in.
    """

    def plan(model: Model, spec: SyncSpec) -> SyncPlan:
        verdict = context.selected.verdicts[spec.unique_id]
        if not verdict.may_run:
            return SyncPlan(spec, note=f"skipped: {verdict.reason}", warnings=property_name_warnings(spec))
        return _plan(context, model, spec, options, show)

    def failed(spec: SyncSpec, error: DbtPendoError) -> SyncPlan:
        return SyncPlan(spec, error, warnings=property_name_warnings(spec))

    return context.each_sync(plan, failed)


def _plan(context: Context, model: Model, spec: SyncSpec, options: Options, show: int) -> SyncPlan:
    has_key = context.settings.integration_key is not None
    prepared = context.prepare(model, spec, may_create=False, ask_pendo=has_key)
    tables = context.tables(prepared)
    segment = context.find_segment(prepared) if has_key else None
    if segment is not None and not segment.known:
        options = replace(options, full_refresh=True)
    compared = options.to_plan(context.settings)
    planned = sum((bucket.planned for bucket in tables.plan(compared)), Planned())
    counts = count_events(prepared, tables, compared)
    warnings = [*property_name_warnings(spec), *age_warnings(prepared), *count_warnings(counts)]
    if prepared.about_owner:
        warnings.insert(0, prepared.about_owner)
    if earlier := tables.earlier_destination():
        warnings.insert(0, another_destination(earlier, spec))
    rendered = render(spec, tables.preview(compared, show) if show else [], prepared.fields)
    is_replaced = segment is not None and segment.is_replaced(options.full_refresh, planned)
    requests = list(preview_requests(context.client, spec, rendered, segment, is_replaced))
    if segment is not None and segment.taking_over and not segment.blocked:
        warnings.append(segment.taking_over)
    note = None
    if not options.force:
        note = (
            another_ledger(prepared, tables, context.settings)
            or (segment and segment.blocked)
            or blocked_by(spec, planned)
        )
    return SyncPlan(spec, None, warnings, counts.left_out, prepared.new_fields, planned, note, requests)


def _checked(spec: SyncSpec, error: DbtPendoError | None = None) -> Checked:
    return Checked(spec, error, warnings=_mapping_warnings(spec))


def _mapping_warnings(spec: SyncSpec) -> list[str]:
    return [*agent_warnings(spec), *property_name_warnings(spec)]
