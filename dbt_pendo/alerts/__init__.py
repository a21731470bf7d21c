"""Tells whoever wants to know what a run has changed."""

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
    """Tells the channels what a run has changed, and returns what went wrong with that: no run fails for it."""
    if not settings.alerts:
        return []
    try:
        past = History(session, schema).recent([result.sync for result in run.results], run.run_id, RUNS_READ)
    except WarehouseError:
        # An alert that comes twice is better than none.
        past = {}
    try:
        masked = {spec.name for spec in specs if body_mask(settings.mask, spec)}
        changes = changes_of([_without_quotes(result, masked) for result in run.results], past, options)
        return tell(Alert(run.run_id, session.target, session.schema, changes), settings.alerts, settings.allow_http)
    except Exception as error:
        return [f"No alert: something is wrong with alerts themselves ({type(error).__name__})."]


def _without_quotes(result: SyncResult, masked: set[str]) -> SyncResult:
    """Returns a result without notes in which Pendo may quote a masked value, in any form."""
    return replace(result, notes=()) if result.sync in masked and result.status == "error" else result
