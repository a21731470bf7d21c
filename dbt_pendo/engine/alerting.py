"""Tells of what a run has changed, whoever wants to know."""

from __future__ import annotations

from dataclasses import replace

from dbt_pendo.engine.alerts import RUNS_READ, Alert, changes_of
from dbt_pendo.engine.mask import body_mask
from dbt_pendo.engine.open_syncs import OpenSyncs
from dbt_pendo.engine.results import RunResults, SyncResult
from dbt_pendo.engine.sync import Options
from dbt_pendo.engine.webhooks import tell
from dbt_pendo.warehouse.history import History
from dbt_pendo.warehouse.session import WarehouseError


def alert(syncs: OpenSyncs, run: RunResults, options: Options) -> list[str]:
    """Tells the channels what a run has changed, and returns what went wrong with that: no run fails for it.

    Args:
        syncs: The syncs.
        run: What they did.
        options: How they were run.
    """
    channels = syncs.settings.alerts
    if not channels:
        return []
    try:
        history = History(syncs.session, syncs.schema)
        past = history.recent([result.sync for result in run.results], run.run_id, RUNS_READ)
    except WarehouseError:
        # Better told twice than not at all.
        past = {}
    try:
        changes = changes_of([_without_quotes(syncs, result) for result in run.results], past, options)
        what = Alert(run.run_id, syncs.session.target, syncs.session.schema, changes)
        return tell(what, channels, syncs.settings.allow_http)
    except Exception as error:
        return [f"No alert: something is wrong with alerts themselves ({type(error).__name__})."]


def _without_quotes(syncs: OpenSyncs, result: SyncResult) -> SyncResult:
    """Returns a result without a message that may quote a masked value, as Pendo's words may in any way."""
    masked = any(spec.name == result.sync and body_mask(syncs.settings.mask, spec) for _, spec in syncs.gathered.syncs)
    return replace(result, message=None) if masked and result.status == "error" else result
