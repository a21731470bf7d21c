"""Verifies all syncs, and resends what has drifted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dbt_pendo.engine.mask import body_mask
from dbt_pendo.engine.observer import Observer
from dbt_pendo.engine.open_syncs import OpenSyncs
from dbt_pendo.engine.prepare import (
    Prepared,
)
from dbt_pendo.engine.sync import Options, SyncRun
from dbt_pendo.engine.verify import Verified, compare, drifted_part, why_unreadable
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.warehouse.readback import ReadBack
from dbt_pendo.warehouse.run_log import log_run
from dbt_pendo.warehouse.session import WarehouseError


def verify_syncs(syncs: OpenSyncs, repair: bool, target_path: Path, observer: Observer) -> Iterator[Verified]:
    """Compares what Pendo holds with what the warehouse says.

    Args:
        syncs: The syncs.
        repair: Resend what drifted.
        target_path: dbt's target folder, for the journal.
        observer: Watches the resending.
    """
    run_id = syncs.begin(target_path)
    for model, spec in syncs.gathered.syncs:
        syncs.stop.check()
        if (unreadable := why_unreadable(spec)) is not None:
            yield Verified(spec, note=unreadable)
            continue
        if not (verdict := syncs.gathered.verdicts[spec.unique_id]).may_run:
            # What its table holds is not what the model says.
            yield Verified(spec, note=verdict.reason)
            continue
        try:
            prepared = syncs.prepare(model, spec, may_create=repair, writes=repair)
            yield _verify(syncs, run_id, prepared, repair, target_path, observer)
        except DbtPendoError as error:
            yield Verified(spec, error)


def _verify(
    syncs: OpenSyncs, run_id: str, prepared: Prepared, repair: bool, target_path: Path, observer: Observer
) -> Verified:
    tables = syncs.tables(prepared)
    readback = ReadBack(syncs.session, syncs.schema, prepared.spec, prepared.source)
    syncs.calls.about(prepared.spec.name, body_mask(syncs.settings.mask, prepared.spec, prepared.fields))
    try:
        with syncs.locked(tables, run_id) as lock:
            verified = compare(prepared, syncs.client, readback, lock)
        if not repair or not verified.to_repair:
            return verified
        part = drifted_part(prepared, readback)
        # Whoever asks for a repair has seen how many there are.
        options = Options(full_refresh=True, force=True)
        result = SyncRun(
            run_id, part, syncs.tables(part), syncs.client, options, target_path, syncs.stop, observer
        ).run()
        result = result.without(syncs.settings.secrets)
        with contextlib.suppress(WarehouseError):
            log_run(syncs.session, syncs.schema, result.to_row(run_id))
        return replace(verified, repaired=result)
    finally:
        with contextlib.suppress(WarehouseError):
            readback.drop()
