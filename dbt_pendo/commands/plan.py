"""What ``check`` and ``plan`` say of each sync."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from dbt_pendo.commands.context import Context
from dbt_pendo.commands.select import Selected
from dbt_pendo.delivery.events import count_events, count_warnings, property_name_warnings
from dbt_pendo.delivery.fields import agent_warnings
from dbt_pendo.delivery.prepare import refuse_unsupported
from dbt_pendo.delivery.sync import Options, another_destination, blocked_by
from dbt_pendo.delivery.writers import preview_requests
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.pendo.client import Request
from dbt_pendo.records.render import render
from dbt_pendo.warehouse.pages import Planned


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check or a plan says of one sync.

    Attributes:
        spec: The sync.
        error: Why it cannot run; None when it can.
        planned: What a sync would do; zeros for a mere check.
        note: Why a sync would hold it back all the same; None when it would not.
        requests: The first requests a sync would send.
        warnings: What Pendo would take and then not use.
        left_out: Events that are older than the sync's ``max_age``.
    """

    spec: SyncSpec
    error: DbtPendoError | None = None
    planned: Planned = field(default_factory=Planned)
    note: str | None = None
    requests: Sequence[Request] = ()
    warnings: Sequence[str] = ()
    left_out: int = 0


def check_syncs(syncs: Context) -> Iterator[Checked]:
    """Compares each mapping with the warehouse and with Pendo."""
    for model, spec in syncs.selected.syncs:
        syncs.stop.check()
        warnings = [*agent_warnings(spec), *property_name_warnings(spec)]
        try:
            prepared = syncs.prepare(model, spec, may_create=False)
            syncs.find_segment(prepared)
            counts = count_events(prepared, syncs.tables(prepared), syncs.how(Options()))
            if spec.event is not None:
                syncs.pendo.require_track_secret(spec.event.app)
        except DbtPendoError as error:
            yield Checked(spec, error, warnings=warnings)
        else:
            warnings += count_warnings(counts)
            yield Checked(spec, warnings=warnings, left_out=counts.left_out)


def plan_syncs(syncs: Context, options: Options, show: int) -> Iterator[Checked]:
    """Says what a sync would do; sends and stores nothing.

    Args:
        syncs: The syncs.
        options: As for the sync.
        show: How many records to show as the requests they would be sent in.
    """
    for model, spec in syncs.selected.syncs:
        syncs.stop.check()
        warnings = property_name_warnings(spec)
        if not (verdict := syncs.selected.verdicts[spec.unique_id]).may_run:
            yield Checked(spec, note=f"skipped: {verdict.reason}", warnings=warnings)
            continue
        try:
            prepared = syncs.prepare(
                model, spec, may_create=False, ask_pendo=syncs.settings.integration_key is not None
            )
            tables = syncs.tables(prepared)
            segment = syncs.find_segment(prepared) if syncs.settings.integration_key else None
            whole = options.full_refresh or (segment is not None and not segment.known)
            how = syncs.how(replace(options, full_refresh=whole))
            buckets = tables.plan(how)
            counts = count_events(prepared, tables, how)
            if earlier := tables.earlier_destination():
                warnings.insert(0, another_destination(earlier, spec))
            rows = tables.preview(how, show) if show else []
            planned = sum((bucket.planned for bucket in buckets), Planned())
            rendered = render(spec, rows, prepared.fields)
            is_replaced = segment is not None and segment.is_replaced(options.full_refresh, planned)
            requests = list(preview_requests(syncs.client, spec, rendered, segment, is_replaced))
            note = None if options.force else blocked_by(spec, planned)
        except DbtPendoError as error:
            yield Checked(spec, error, warnings=warnings)
        else:
            warnings += count_warnings(counts)
            yield Checked(spec, None, planned, note, requests, warnings, counts.left_out)


def check_offline(selected: Selected) -> Iterator[Checked]:
    """Checks mappings by themselves; that they could be parsed is most of it."""
    for _, spec in selected.syncs:
        warnings = [*agent_warnings(spec), *property_name_warnings(spec)]
        try:
            refuse_unsupported(spec)
        except ConfigError as error:
            yield Checked(spec, error, warnings=warnings)
        else:
            yield Checked(spec, warnings=warnings)
