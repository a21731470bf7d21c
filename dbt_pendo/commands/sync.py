"""Runs all syncs of a command, one after the other (`sync`, `build`)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dbt_pendo.alerts import send_alerts
from dbt_pendo.commands.context import Context, new_run_id, now
from dbt_pendo.commands.select import Selected
from dbt_pendo.delivery.prepare import Prepared, SyncContext
from dbt_pendo.delivery.results import Note, Observer, RunResults, SyncResult, failed_before_start
from dbt_pendo.delivery.sync import Options, SyncRun
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import Model, SyncSpec
from dbt_pendo.warehouse.builds import Build, take_builds
from dbt_pendo.warehouse.runs import log_run
from dbt_pendo.warehouse.session import WarehouseError
from dbt_pendo.wording import visible


def run_syncs(context: Context, options: Options, fail_fast: bool, target_path: Path, observer: Observer) -> RunResults:
    """Delivers, logs each sync in the warehouse, and writes ``pendo_results.json``.

    All syncs are prepared before the first row is sent.

    Args:
        context: The syncs.
        options: How to run each.
        fail_fast: Whether to skip the syncs after one that failed.
        target_path: dbt's target folder.
        observer: Watches the run.
    """
    started, syncs = time.monotonic(), context.selected.syncs
    run_id = context.begin(target_path)
    ready = [_prepare(context, model, spec) for model, spec in syncs]
    results: list[SyncResult] = []
    for index, ((_, spec), prepared) in enumerate(zip(syncs, ready, strict=True), start=1):
        verdict = context.selected.verdicts[spec.unique_id]
        if verdict.may_run:
            observer.sync_started(index, len(syncs), spec, verdict.reason)
        if fail_fast and any(result.status not in ("success", "skipped") for result in results):
            result = _skipped(spec, "an earlier sync failed (--fail-fast)")
        elif isinstance(prepared, SyncResult):
            result = prepared
        else:
            context.log_calls_of(spec, prepared.fields)
            tables = context.tables(prepared)
            sync = SyncContext(run_id, prepared, tables, context.client, target_path, context.stop, observer)
            result = SyncRun(sync, options).run()
        result = result.without(context.settings.secrets)
        results.append(result)
        observer.sync_finished(index, len(syncs), result)
        # The run log is a convenience; a schema that cannot be written has failed the sync already.
        with contextlib.suppress(WarehouseError):
            log_run(context.session, context.schema, result.to_row(run_id))
    notes = [*filter(None, [context.calls.fault]), *_unknown_mask_columns(context)]
    elapsed = time.monotonic() - started
    run = _written(RunResults(run_id, context.selected.invocation_id, results, elapsed, now(), notes), target_path)
    specs = [spec for _, spec in syncs]
    faults = send_alerts(context.session, context.schema, context.settings, specs, run, options)
    take_builds(context.session, context.schema, _done(context, results, options), run_id)
    return replace(run, notes=[*run.notes, *faults])


def nothing_to_sync(selected: Selected, target_path: Path) -> RunResults:
    """Writes and returns the results of a run without syncs."""
    return _written(RunResults(new_run_id(), selected.invocation_id, (), 0.0, now()), target_path)


def _prepare(context: Context, model: Model, spec: SyncSpec) -> Prepared | SyncResult:
    verdict = context.selected.verdicts[spec.unique_id]
    if not verdict.may_run:
        return replace(_skipped(spec, visible(f"skipped: {verdict.reason}")), asked_for=verdict.asked_for)
    try:
        return context.prepare(model, spec, may_create=True)
    except DbtPendoError as error:
        return failed_before_start(spec, error)


def _skipped(spec: SyncSpec, reason: str) -> SyncResult:
    return SyncResult(spec.name, spec.unique_id, spec.object, "skipped", (Note("info", reason),))


def _unknown_mask_columns(context: Context) -> list[str]:
    """Returns a warning for each column of ``mask`` that no sync has: the values of a misspelt column stay visible."""
    known = set()
    for _, spec in context.selected.syncs:
        known |= {name.lower() for name in (spec.key, spec.parent_key or "", *spec.columns)}
    return [
        f"mask: no sync of this run has a column `{column}`"
        for column in context.settings.mask
        if column.lower() not in known
    ]


def _done(context: Context, results: Sequence[SyncResult], options: Options) -> list[Build]:
    """Returns the published builds that need no other run: synced, or held back by their gate."""
    if options.limit is not None:
        return []
    to_come = {
        result.unique_id
        for result in results
        if result.status not in ("success", "partial") and context.selected.verdicts[result.unique_id].may_run
    }
    return [build for build in context.selected.builds if build.unique_id not in to_come]


def _written(run: RunResults, target_path: Path) -> RunResults:
    """Writes results; if that fails, the run still shows and announces them in all other ways."""
    try:
        run.write(target_path)
    except DbtPendoError as error:
        return replace(run, unwritten=error)
    return run
