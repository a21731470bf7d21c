"""What is known of deliveries, forgotten or taken over; and the locks of runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from dbt_pendo.commands.context import Context, new_run_id
from dbt_pendo.commands.verify import Verified, compare, require_readable
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.warehouse.ledger import PlanOptions
from dbt_pendo.warehouse.lock import Holder, SyncLock
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.readback import ReadBack
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


def reset_syncs(syncs: Context, adopt: bool, from_pendo: bool) -> Iterator[Reset]:
    """Forgets what was delivered.

    Args:
        syncs: The syncs.
        adopt: Take every row of the model for delivered.
        from_pendo: Take those for delivered that Pendo holds as the warehouse says.
    """
    run_id = new_run_id()
    for model, spec in syncs.selected.syncs:
        syncs.stop.check()
        try:
            if from_pendo:
                require_readable(spec)
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
            yield _reset(syncs, run_id, prepared, adopt, from_pendo)
        except DbtPendoError as error:
            yield Reset(spec, error)


def _reset(syncs: Context, run_id: str, prepared: Prepared, adopt: bool, from_pendo: bool) -> Reset:
    spec = prepared.spec
    tables = syncs.tables(prepared)
    readback = ReadBack(syncs.session, syncs.schema, spec, prepared.source)
    segment = syncs.find_segment(prepared, is_taken_over=True) if adopt else None
    if segment is not None and segment.id is None:
        raise ConfigError(
            f"{spec.name}: Pendo has no segment {spec.segment}; there is nothing to adopt.", "A sync makes it."
        )
    try:
        with tables.locked(run_id) as lock:
            known = compare(prepared, syncs.client, readback, lock) if from_pendo else None
            if not adopt and known is None:
                tables.forget()
                return Reset(spec)
            tables.prepare()
            buckets = tables.write_changes(run_id, PlanOptions(full_refresh=True))
            tables.adopt(run_id, readback.drift if known else None)
            if segment is not None and segment.id is not None:
                lock.confirm()
                tables.segment_notes().note(NotedSegment(segment.id, known=True))
            there = sum((bucket.planned for bucket in buckets), Planned())
            adopted = known.equal if known else there.added + there.changed
            return Reset(spec, adopted=adopted, known=known)
    finally:
        if from_pendo:
            with contextlib.suppress(WarehouseError):
                readback.drop()


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
