"""Runs all syncs of a command, one after the other (`sync`, `build`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dbt_pendo.alerts.post import send_alerts
from dbt_pendo.commands.context import Context, new_run_id, now
from dbt_pendo.commands.select import Selected, target_doubts
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import Note, Observer, RunResults, SyncResult, failed_result
from dbt_pendo.delivery.sync import Options
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.mapping.spec import Model, SyncSpec
from dbt_pendo.pendo.client import KeyRefusedError
from dbt_pendo.warehouse.builds import Build, take_builds
from dbt_pendo.warehouse.runs import COMPLETE
from dbt_pendo.wording import visible


def run_syncs(context: Context, options: Options, fail_fast: bool, observer: Observer) -> RunResults:
    """Delivers, logs each sync in the warehouse, and writes ``pendo_results.json``.

    All syncs are prepared before the first row is sent.

    Args:
        context: The syncs.
        options: How to run each.
        fail_fast: Whether to skip the syncs after one that failed.
        observer: Watches the run.
    """
    started, syncs = time.monotonic(), context.selected.syncs
    context.require_writable()
    run_id = context.begin()
    ready = [_prepare(context, model, spec, options.force) for model, spec in syncs]
    results: list[SyncResult] = []
    for index, ((_, spec), prepared) in enumerate(zip(syncs, ready, strict=True), start=1):
        verdict = context.selected.verdicts[spec.unique_id]
        if verdict.may_run:
            observer.sync_started(index, len(syncs), spec, verdict.reason)
        if fail_fast and any(result.status not in ("success", "warn", "skipped") for result in results):
            result = _skipped(spec, "an earlier sync failed (--fail-fast)")
        elif isinstance(prepared, SyncResult):
            result = prepared
        else:
            result = context.deliver(run_id, prepared, options, observer)
        results.append(context.log(run_id, result))
        observer.sync_finished(index, len(syncs), results[-1])
    notes = [*filter(None, [context.calls.fault]), *_unknown_mask_columns(context)]
    elapsed = time.monotonic() - started
    invocation_id, doubts = context.selected.invocation_id, target_doubts(context.selected, context.session)
    run = RunResults(run_id, invocation_id, results, elapsed, now(), context.ends, notes, doubts)
    run = _written(run, context.target_path)
    if context.settings.alerts:
        specs = [spec for _, spec in syncs]
        faults = send_alerts(context.session, context.ends, context.settings, specs, run, options)
        run = replace(run, notes=[*run.notes, *faults])
    # What went to a sandbox is still to be synced.
    if context.selected.builds and not context.settings.pendo.sandbox:
        take_builds(context.session, context.schema, _done(context, results, options), run_id)
    return run


def nothing_to_sync(selected: Selected, target_path: Path) -> RunResults:
    """Writes and returns the results of a run without syncs."""
    return _written(RunResults(new_run_id(), selected.invocation_id, (), 0.0, now()), target_path)


def _prepare(context: Context, model: Model, spec: SyncSpec, force: bool) -> Prepared | SyncResult:
    verdict = context.selected.verdicts[spec.unique_id]
    if not verdict.may_run:
        return replace(_skipped(spec, visible(f"skipped: {verdict.reason}")), asked_for=verdict.asked_for)
    try:
        return context.prepare(model, spec, may_create=True, force=force)
    except DbtPendoError as error:
        return replace(failed_result(spec, error), misconfigured=isinstance(error, ConfigError | KeyRefusedError))


def _skipped(spec: SyncSpec, reason: str) -> SyncResult:
    return SyncResult(spec.name, spec.unique_id, spec.object, "skipped", (Note("info", reason),))


def _unknown_mask_columns(context: Context) -> list[str]:
    """Returns a warning for each column of ``mask`` that no sync has: the values of a misspelt column stay visible."""
    specs = [spec for _, spec in context.selected.syncs]
    known = {name.lower() for spec in specs for name in (*spec.identifier.columns, *spec.columns)}
    unknown = [column for column in context.settings.mask if column.lower() not in known]
    return [f"mask: no sync of this run has a column `{column}`" for column in unknown]


def _done(context: Context, results: Sequence[SyncResult], options: Options) -> list[Build]:
    """Returns the published builds that need no other run: synced, or held back by their gate."""
    if options.limit is not None:
        return []
    to_come = {
        result.unique_id
        for result in results
        if result.status not in COMPLETE and context.selected.verdicts[result.unique_id].may_run
    }
    return [build for build in context.selected.builds if build.unique_id not in to_come]


def _written(run: RunResults, target_path: Path) -> RunResults:
    """Writes results; if that fails, the run still shows and announces them in all other ways."""
    try:
        run.write(target_path)
    except DbtPendoError as error:
        return replace(run, unwritten=error)
    return run
