"""What is known of deliveries, forgotten or taken over; and the locks of runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dbt_pendo.commands.context import Context, new_run_id
from dbt_pendo.commands.verify import Verified, compare, why_unreadable
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.warehouse.lock import Holder, SyncLock
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.plan import DriftTable, PlanOptions
from dbt_pendo.warehouse.segments import NotedSegment
from dbt_pendo.warehouse.session import WarehouseError


@dataclass(frozen=True, slots=True)
class Reset:
    """What a sync's ledger became: empty, or so many rows taken for delivered."""

    spec: SyncSpec
    error: DbtPendoError | None = None
    adopted: int = 0
    known: Verified | None = None


@dataclass(frozen=True, slots=True)
class Unlocked:
    """What became of a sync's lock: who held it (None: nobody), and whether it was broken."""

    sync: str
    holder: Holder | None
    broken: bool


def reset_syncs(syncs: Context, adopt: bool, from_pendo: bool, target_path: Path) -> Iterator[Reset]:
    """Forgets what was delivered.

    Args:
        syncs: The syncs.
        adopt: Take every row of the model for delivered.
        from_pendo: Take those for delivered that Pendo has as the warehouse says.
        target_path: dbt's target folder.
    """
    run_id = new_run_id()
    for model, spec in syncs.selected.syncs:
        syncs.stop.check()
        try:
            if from_pendo and (reason := why_unreadable(spec)):
                raise ConfigError(f"{spec.file}: {spec.name}: {reason}.", "Leave it out with --exclude.")
            verdict = syncs.selected.verdicts[spec.unique_id]
            if (adopt or from_pendo) and not verdict.may_run:
                raise ConfigError(
                    f"{spec.name}: {verdict.reason}; its rows are not taken for delivered.", "Build it first."
                )
            # Whose ledger is to tell the members must be known to be there.
            adopts_segment = adopt and spec.segment is not None
            prepared = syncs.prepare(
                model, spec, may_create=False, ask_pendo=from_pendo or adopts_segment, writes=False
            )
            yield _reset(syncs, run_id, prepared, adopt, target_path if from_pendo else None)
        except DbtPendoError as error:
            yield Reset(spec, error)


def _reset(syncs: Context, run_id: str, prepared: Prepared, adopt: bool, compared_in: Path | None) -> Reset:
    """Resets one sync; with ``compared_in``, dbt's target folder, to what Pendo has."""
    spec = prepared.spec
    # Nobody whom the ledger or Pendo alone has is taken for one that left the model.
    tables = syncs.tables(replace(prepared, source=replace(prepared.source, is_part=True)))
    segment = syncs.find_segment(prepared, is_taken_over=True) if adopt else None
    if segment is not None and segment.id is None:
        raise ConfigError(
            f"{spec.name}: Pendo has no segment {spec.segment}; there is nothing to adopt.", "A sync makes it."
        )
    drift = DriftTable(syncs.session, syncs.schema, spec)
    with syncs.locked(tables, run_id) as lock:
        if not adopt and compared_in is None:
            tables.forget()
            return Reset(spec)
        tables.prepare()
        if compared_in is not None:
            try:
                known = compare(prepared, syncs.client, tables, run_id, compared_in, drift)
                tables.adopt(run_id, drift.relation)
            finally:
                with contextlib.suppress(WarehouseError):
                    drift.drop()
            return Reset(spec, adopted=known.equal, known=known)
        buckets = tables.write_changes(run_id, PlanOptions(full_refresh=True))
        tables.adopt(run_id)
        if segment is not None and segment.id is not None:
            lock.confirm()
            tables.segment_notes().note(NotedSegment(segment.id, known=True))
        there = sum((bucket.planned for bucket in buckets), Planned())
        return Reset(spec, adopted=there.added + there.changed)


def unlock_syncs(syncs: Context, force: bool) -> Iterator[Unlocked]:
    """Breaks the locks that dead runs left.

    Args:
        syncs: The syncs.
        force: Break those of living runs as well.
    """
    for _, spec in syncs.selected.syncs:
        lock = SyncLock(syncs.session, syncs.schema, spec.name)
        holder = lock.holder()
        broken = holder is not None and (force or holder.is_dead)
        if broken:
            lock.break_()
        yield Unlocked(spec.name, holder, broken)
