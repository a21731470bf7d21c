"""Checks mappings, and plans what a sync would do (`check`, `plan`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from dbt_pendo.commands.context import Context, SyncFinding
from dbt_pendo.commands.sample import SAMPLE, Look, look_at_model, look_at_plan
from dbt_pendo.commands.select import Selected
from dbt_pendo.commands.verify import RowDiff, diff_rows, why_unreadable
from dbt_pendo.delivery.estimate import RUNS, Estimate, count_requests, estimate
from dbt_pendo.delivery.events import (
    age_warnings,
    count_events,
    count_warnings,
    new_event_names,
    property_name_warnings,
)
from dbt_pendo.delivery.fields import agent_warnings
from dbt_pendo.delivery.sync import Options, another_destination, blocked_by, consent_warnings, second_ledger
from dbt_pendo.delivery.writers import preview_requests
from dbt_pendo.errors import DbtPendoError, JoinedError, all_errors
from dbt_pendo.mapping.spec import MappingError, Model, Problem, SyncSpec
from dbt_pendo.pendo.client import Request
from dbt_pendo.records.masking import body_mask
from dbt_pendo.records.render import render
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import History, LoggedSync
from dbt_pendo.warehouse.session import WarehouseError


@dataclass(frozen=True, slots=True)
class Checked(SyncFinding):
    """What a check says of one sync."""

    # What Pendo would accept and not use.
    warnings: Sequence[str] = ()
    # Events older than the sync's `max_age`.
    left_out: int = 0
    # Records that would be marked Do Not Process.
    do_not_process: int = 0
    # The fields that a sync would create: name, group, type.
    new_fields: Sequence[Mapping[str, str]] = ()
    # Names of events that Pendo does not know yet.
    new_event_names: Sequence[str] = ()
    # Rows that would be invalid.
    looks: Sequence[Look] = ()

    def details(self) -> dict[str, Any]:
        """Returns what was found."""
        return {
            "problems": _problems(self.spec.name, self.error),
            "warnings": list(self.warnings),
            "left_out": self.left_out,
            "do_not_process": self.do_not_process,
            "new_fields": list(self.new_fields),
            "new_event_names": list(self.new_event_names),
            "invalid": [entry for look in self.looks for entry in look.to_dicts()],
        }


@dataclass(frozen=True, slots=True)
class Unread:
    """A sync whose mapping does not say enough to look for more than is wrong in it."""

    sync: str
    error: MappingError
    warnings: Sequence[str] = ()

    @property
    def title(self) -> str:
        """Its name, as nobody knows the kind of its object."""
        return self.sync

    def to_dict(self) -> dict[str, Any]:
        """Returns its entry under ``results``."""
        return {
            "sync": self.sync,
            "unique_id": self.error.problems[0].unique_id,
            "object": None,
            "status": "error",
            "message": str(self.error),
            "problems": _problems(self.sync, self.error),
            "warnings": [],
        }


def _problems(sync: str, error: DbtPendoError | None) -> list[dict[str, Any]]:
    """Returns all problems of a sync, each with its place as far as it has one, and what to do about it."""
    found: list[dict[str, Any]] = []
    for one in all_errors(error):
        # A key that is not set, say, has no place in a file.
        nowhere = Problem("", sync, "", one.message)
        problems = one.problems if isinstance(one, MappingError) else [nowhere]
        found += [{**problem.to_dict(), "sync": sync, "hint": one.hint or None} for problem in problems]
    return found


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


def check_syncs(context: Context) -> Iterator[Checked | Unread]:
    """Compares each mapping with the warehouse and with Pendo, as far as it can be read; tells all problems of each."""
    mistakes = _mistakes(context.selected)

    def check(model: Model, spec: SyncSpec) -> Checked:
        if spec.name in mistakes:
            return _failed(spec, [mistakes[spec.name], *context.find_errors(model, spec)])
        try:
            return _check(context, model, spec)
        except DbtPendoError as error:
            # Who interrupts it waits for no more questions.
            context.stop.check()
            errors = context.find_errors(model, spec)
            error = context.located(error)
            is_among_them = str(error) in map(str, errors)
            return _failed(spec, errors if is_among_them else [error, *errors])

    yield from context.each_sync(check, _checked)
    yield from _unread(context.selected, mistakes)


def _check(context: Context, model: Model, spec: SyncSpec) -> Checked:
    prepared = context.prepare(model, spec, may_create=False)
    segment, tables = context.find_segment(prepared), context.tables(prepared)
    counts = count_events(prepared, tables, Options().to_plan(context.settings))
    if spec.event is not None:
        context.pendo.require_track_secret(spec.event.app)
    mask = body_mask(context.settings.mask, spec, prepared.fields)
    look = look_at_model(prepared, tables, mask)
    consents = tables.count_consents(Options().to_plan(context.settings))
    warnings = [
        *_mapping_warnings(spec),
        *([held_back] if (held_back := second_ledger(prepared)) else []),
        *consent_warnings(spec, consents, mask),
        *look.warnings(),
        *age_warnings(prepared),
        *count_warnings(counts),
    ]
    if segment is not None and segment.taking_over:
        warnings.append(segment.blocked or segment.taking_over)
    return Checked(
        spec,
        warnings=warnings,
        left_out=counts.left_out,
        do_not_process=consents.ignored,
        new_fields=prepared.new_fields,
        new_event_names=new_event_names(prepared, tables, context.pendo),
        looks=[look],
    )


def check_offline(selected: Selected) -> Iterator[Checked | Unread]:
    """Checks mappings by themselves."""
    mistakes = _mistakes(selected)
    for _, spec in selected.syncs:
        yield _failed(spec, [mistakes[spec.name]]) if spec.name in mistakes else _checked(spec)
    yield from _unread(selected, mistakes)


def _mistakes(selected: Selected) -> dict[str, MappingError]:
    """Returns what is wrong in the mappings themselves, by the name of the sync."""
    by_sync: dict[str, list[Problem]] = {}
    for problem in selected.problems:
        by_sync.setdefault(problem.sync, []).append(problem)
    return {sync: MappingError(problems) for sync, problems in by_sync.items()}


def _unread(selected: Selected, mistakes: Mapping[str, MappingError]) -> Iterator[Unread]:
    read = {spec.name for _, spec in selected.syncs}
    return (Unread(sync, error) for sync, error in mistakes.items() if sync not in read)


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


def _checked(spec: SyncSpec, error: DbtPendoError | None = None) -> Checked:
    return Checked(spec, error, warnings=_mapping_warnings(spec))


def _failed(spec: SyncSpec, errors: Sequence[DbtPendoError]) -> Checked:
    return _checked(spec, errors[0] if len(errors) == 1 else JoinedError(errors))


def _mapping_warnings(spec: SyncSpec) -> list[str]:
    return [*agent_warnings(spec), *property_name_warnings(spec)]
