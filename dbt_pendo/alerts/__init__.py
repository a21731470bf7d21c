"""Tells of what a run has changed, whoever wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dbt_pendo.alerts.changes import RUNS_READ, Alert, changes_of
from dbt_pendo.alerts.post import tell
from dbt_pendo.delivery.results import RunResults, SyncResult
from dbt_pendo.delivery.sync import Options
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.records.masking import body_mask
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.runs import History
from dbt_pendo.warehouse.session import Session, WarehouseError


def send_alerts(
    session: Session, schema: str, settings: Settings, specs: Sequence[SyncSpec], run: RunResults, options: Options
) -> list[str]:
    """Tells the channels what a run has changed, and returns what went wrong with that: no run fails for it.

    Args:
        session: The warehouse.
        schema: The schema of the bookkeeping.
        settings: The channels, and what is masked.
        specs: The syncs.
        run: What they did.
        options: How they were run.
    """
    channels = settings.alerts
    if not channels:
        return []
    try:
        history = History(session, schema)
        past = history.recent([result.sync for result in run.results], run.run_id, RUNS_READ)
    except WarehouseError:
        # Better told twice than not at all.
        past = {}
    try:
        changes = changes_of([_without_quotes(settings, specs, result) for result in run.results], past, options)
        what = Alert(run.run_id, session.target, session.schema, changes)
        return tell(what, channels, settings.allow_http)
    except Exception as error:
        return [f"No alert: something is wrong with alerts themselves ({type(error).__name__})."]


def _without_quotes(settings: Settings, specs: Sequence[SyncSpec], result: SyncResult) -> SyncResult:
    """Returns a result without a message that may quote a masked value, as Pendo's words may in any way."""
    masked = any(spec.name == result.sync and body_mask(settings.mask, spec) for spec in specs)
    return replace(result, notes=()) if masked and result.status == "error" else result
