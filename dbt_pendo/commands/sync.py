"""A run: all syncs of a command, one after the other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dbt_pendo.alerts import send_alerts
from dbt_pendo.commands.context import Context, new_run_id, now
from dbt_pendo.commands.select import Selected
from dbt_pendo.delivery.context import SyncContext
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import Note, Observer, RunResults, SyncResult, failed_before_start
from dbt_pendo.delivery.sync import Options, SyncRun
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.project.manifest import Model
from dbt_pendo.records.masking import body_mask
from dbt_pendo.visible import visible
from dbt_pendo.warehouse.builds import Build, take_builds
from dbt_pendo.warehouse.runs import log_run
from dbt_pendo.warehouse.session import WarehouseError


def run_syncs(syncs: Context, options: Options, fail_fast: bool, target_path: Path, observer: Observer) -> RunResults:
    """Delivers, logs each sync in the warehouse, and writes ``pendo_results.json``.

    All syncs are prepared before the first row is sent.

    Args:
        syncs: The syncs.
        options: How to run each.
        fail_fast: Whether those after one that failed are skipped.
        target_path: dbt's target folder.
        observer: Watches.

    """
    started, secrets = time.monotonic(), syncs.settings.secrets
    run_id = syncs.begin(target_path)
    ready: dict[str, Prepared | SyncResult] = {
        spec.name: _ready_or_result(syncs, model, spec) for model, spec in syncs.selected.syncs
    }
    results: list[SyncResult] = []
    for index, (_, spec) in enumerate(syncs.selected.syncs, start=1):
        verdict = syncs.selected.verdicts[spec.unique_id]
        if verdict.may_run:
            observer.sync_started(index, len(syncs.selected.syncs), spec, verdict.reason)
        prepared = ready[spec.name]
        if fail_fast and any(result.status not in ("success", "skipped") for result in results):
            notes = (Note("info", "an earlier sync failed (--fail-fast)"),)
            result = SyncResult(spec.name, spec.unique_id, spec.object, "skipped", notes)
        elif isinstance(prepared, SyncResult):
            result = prepared
        else:
            syncs.calls.about(spec.name, body_mask(syncs.settings.mask, spec, prepared.fields))
            context = SyncContext(
                run_id, prepared, syncs.tables(prepared), syncs.client, target_path, syncs.stop, observer
            )
            result = SyncRun(context, options).run()
        result = result.without(secrets)
        results.append(result)
        observer.sync_finished(index, len(syncs.selected.syncs), result)
        # The run log is a convenience; a schema that cannot be written has failed the sync already.
        with contextlib.suppress(WarehouseError):
            log_run(syncs.session, syncs.schema, result.to_row(run_id))
    run = RunResults(
        run_id,
        syncs.selected.invocation_id,
        results,
        time.monotonic() - started,
        now(),
        [*filter(None, [syncs.calls.fault]), *_masked_nowhere(syncs)],
    )
    run = _written(run, target_path)
    specs = [spec for _, spec in syncs.selected.syncs]
    faults = send_alerts(syncs.session, syncs.schema, syncs.settings, specs, run, options)
    take_builds(syncs.session, syncs.schema, _done(syncs, results, options), run_id)
    return replace(run, notes=[*run.notes, *faults])


def _masked_nowhere(syncs: Context) -> list[str]:
    """Says which columns of ``mask`` no sync here has: a slip of the pen would keep what was to be hidden."""
    known = {
        name.lower()
        for _, spec in syncs.selected.syncs
        for name in (spec.key, spec.parent_key, *spec.columns)
        if name is not None
    }
    return [
        f"mask: no sync of this run has a column `{column}`"
        for column in syncs.settings.mask
        if column.lower() not in known
    ]


def _done(syncs: Context, results: Sequence[SyncResult], options: Options) -> list[Build]:
    """Returns the published builds that nothing more will come of: synced, or held back as they were published."""
    if options.limit is not None:
        return []
    to_come = {
        result.unique_id
        for result in results
        if result.status not in ("success", "partial") and syncs.selected.verdicts[result.unique_id].may_run
    }
    return [build for build in syncs.selected.builds if build.unique_id not in to_come]


def _ready_or_result(syncs: Context, model: Model, spec: SyncSpec) -> Prepared | SyncResult:
    if not (verdict := syncs.selected.verdicts[spec.unique_id]).may_run:
        notes = (Note("info", visible(f"skipped: {verdict.reason}")),)
        return SyncResult(spec.name, spec.unique_id, spec.object, "skipped", notes, asked_for=verdict.asked_for)
    try:
        return syncs.prepare(model, spec, may_create=True)
    except DbtPendoError as error:
        return failed_before_start(spec, error)


def nothing_to_sync(selected: Selected, target_path: Path) -> RunResults:
    """Writes and returns the results of a run whose selection is empty, without opening anything."""
    return _written(RunResults(new_run_id(), selected.invocation_id, (), 0.0, now()), target_path)


def _written(run: RunResults, target_path: Path) -> RunResults:
    """Writes results; if that fails, whoever waits for them still hears of the run in all other ways."""
    try:
        run.write(target_path)
    except DbtPendoError as error:
        return replace(run, unwritten=error)
    return run
