"""Runs all syncs of a command, as many at a time as dbt has threads (`sync`, `build`)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
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
from dbt_pendo.warehouse.notes import ensure_subscriptions
from dbt_pendo.warehouse.runs import COMPLETE
from dbt_pendo.warehouse.workers import Workers
from dbt_pendo.wording import visible

# Seconds between two entries into the run log: what is not there yet, a run that is killed leaves out.
LOG_EVERY = 30.0


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
    with Workers(context.session, min(context.session.threads, len(syncs))) as workers:
        ready = workers.run([partial(_prepare, context, model, spec, options.force) for model, spec in syncs])
        # Once, and not by each thread; a sync that needs them says what is wrong with them.
        with contextlib.suppress(DbtPendoError):
            ensure_subscriptions(context.session, context.schema, context.listed)
        run = _Run(context, run_id, options, fail_fast, observer)
        turns = [partial(run.sync, at, prepared) for at, prepared in enumerate(ready)]
        results = workers.run(turns, [_waits_for(at, syncs) for at in range(len(syncs))])
        run.log()
    notes = [*filter(None, [context.calls.fault]), *_unknown_mask_columns(context)]
    elapsed = time.monotonic() - started
    invocation_id, doubts = context.selected.invocation_id, target_doubts(context.selected, context.session)
    done = RunResults(run_id, invocation_id, results, elapsed, now(), context.ends, notes, doubts)
    done = _written(done, context.target_path)
    if context.settings.alerts:
        specs = [spec for _, spec in syncs]
        faults = send_alerts(context.session, context.ends, context.settings, specs, done, options)
        done = replace(done, notes=[*done.notes, *faults])
    # What went to a sandbox is still to be synced.
    if context.selected.builds and not context.settings.pendo.sandbox:
        take_builds(context.session, context.schema, _done(context, results, options), run_id)
    return done


class _Run:
    """The syncs of one run, which may be under way at the same time."""

    def __init__(self, context: Context, run_id: str, options: Options, fail_fast: bool, observer: Observer) -> None:
        self._context = context
        self._run_id = run_id
        self._options = options
        self._fail_fast = fail_fast
        self._observer = observer
        self._has_failed = False
        # What is still to be logged, and when it was last done.
        self._unlogged: list[SyncResult] = []
        self._logged_at = time.monotonic()
        self._logging = threading.Lock()

    def sync(self, at: int, prepared: Prepared | SyncResult) -> SyncResult:
        """Runs a sync, unless it may not run."""
        context, total = self._context, len(self._context.selected.syncs)
        _, spec = context.selected.syncs[at]
        verdict = context.selected.verdicts[spec.unique_id]
        if verdict.may_run:
            self._observer.sync_started(at + 1, total, spec, verdict.reason)
        if self._fail_fast and self._has_failed:
            result = _skipped(spec, "an earlier sync failed (--fail-fast)")
        elif isinstance(prepared, SyncResult):
            result = prepared.without(context.settings.secrets)
        else:
            result = context.deliver(self._run_id, prepared, self._options, self._observer)
        if result.status not in ("success", "warn", "skipped"):
            self._has_failed = True
        with self._logging:
            self._unlogged.append(result)
            if time.monotonic() - self._logged_at > LOG_EVERY:
                self._log()
        self._observer.sync_finished(at + 1, total, result)
        return result

    def log(self) -> None:
        """Logs the syncs that have ended and are not logged yet."""
        with self._logging:
            self._log()

    def _log(self) -> None:
        self._context.log(self._run_id, self._unlogged)
        self._unlogged.clear()
        self._logged_at = time.monotonic()


def _waits_for(at: int, syncs: Sequence[tuple[Model, SyncSpec]]) -> Collection[int]:
    """Returns the places of the syncs that have to end before one begins.

    Those of models that its own is made of, as dbt builds them. A visitor that Pendo does not know is missing, and an
    event makes it known (pendo-api.md 4): events come before visitors, unless their model is made of visitors itself.
    """
    model, spec = syncs[at]
    of_visitors = {other.unique_id for other, its in syncs if its.object == "visitor"}
    needs_visitors = spec.object == "visitor" and spec.mode != "upsert"
    return [
        number
        for number, (other, its) in enumerate(syncs)
        if other.unique_id in model.ancestors
        or (needs_visitors and its.event is not None and not other.ancestors & of_visitors)
    ]


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
        return replace(
            failed_result(spec, context.located(error)), misconfigured=isinstance(error, ConfigError | KeyRefusedError)
        )


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
