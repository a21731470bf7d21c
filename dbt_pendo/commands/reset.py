"""Forgets what was delivered, or adopts rows as delivered (`reset`); breaks stale locks (`unlock`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from dbt_pendo.commands.context import Context, SyncFinding, new_run_id
from dbt_pendo.commands.verify import Verified, compare, why_unreadable
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.spec import Model, SyncSpec
from dbt_pendo.warehouse.lock import Holder, SyncLock
from dbt_pendo.warehouse.notes import NotedSegment
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.plan import DriftTable, PlanOptions
from dbt_pendo.warehouse.session import WarehouseError


@dataclass(frozen=True, slots=True)
class Reset(SyncFinding):
    """A sync's ledger after a reset: empty, or with some rows adopted."""

    adopted: int = 0
    # With `--from-pendo`, how the model's rows differ from what Pendo holds.
    known: Verified | None = None

    def details(self) -> dict[str, Any]:
        """Returns how the ledger was reset."""
        drifted, missing = (self.known.drifted, self.known.missing) if self.known else (None, None)
        return {"adopted": self.adopted, "drifted": drifted, "missing": missing}


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A sync's lock: who held it, if anybody did, and whether it was broken."""

    sync: str
    holder: Holder | None
    broken: bool

    def to_dict(self) -> dict[str, Any]:
        """Returns the sync's entry under ``results``."""
        holder = {**asdict(self.holder), "since": str(self.holder.since)} if self.holder else None
        return {"sync": self.sync, "holder": holder, "broken": self.broken}


def reset_syncs(context: Context, adopt: bool, from_pendo: bool) -> Iterator[Reset]:
    """Forgets what was delivered.

    Args:
        context: The syncs.
        adopt: Adopt every row of the model as delivered.
        from_pendo: Adopt the rows that Pendo has as the warehouse says.
    """
    context.settings.require_listed(context.session.target)
    run_id = new_run_id()

    def reset(model: Model, spec: SyncSpec) -> Reset:
        if from_pendo and (reason := why_unreadable(spec)):
            raise ConfigError(f"{spec.file}: {spec.name}: {reason}.", "Leave it out with --exclude.")
        verdict = context.selected.verdicts[spec.unique_id]
        if (adopt or from_pendo) and not verdict.may_run:
            raise ConfigError(
                f"{spec.name}: {verdict.reason}; its rows are not taken for delivered.", "Build it first."
            )
        # A segment has to be there before its ledger can say who its members are.
        ask_pendo = from_pendo or (adopt and spec.segment is not None)
        prepared = context.prepare(model, spec, may_create=False, ask_pendo=ask_pendo, writes=False, of_any_pendo=True)
        return _reset(context, run_id, prepared, adopt, from_pendo)

    return context.each_sync(reset, Reset)


def _reset(context: Context, run_id: str, prepared: Prepared, adopt: bool, from_pendo: bool) -> Reset:
    spec = prepared.spec
    # A record that only the ledger or Pendo has counts as one that never was in the model.
    tables = context.tables(replace(prepared, source=replace(prepared.source, is_part=True)))
    segment = context.find_segment(prepared, is_taken_over=True) if adopt else None
    if segment is not None and segment.id is None:
        raise ConfigError(
            f"{spec.name}: Pendo has no segment {spec.segment}; there is nothing to adopt.", "A sync makes it."
        )
    drift = DriftTable(context.session, context.schema, spec)
    with tables.locked(run_id) as lock:
        if not adopt and not from_pendo:
            tables.forget()
            return Reset(spec)
        tables.prepare()
        if from_pendo:
            try:
                known = compare(prepared, context, tables, run_id, drift)
                tables.adopt(run_id, drift.relation)
                tables.note_subscription(context.subscriptions.current(spec))
            finally:
                with contextlib.suppress(WarehouseError):
                    drift.drop()
            return Reset(spec, adopted=known.equal, known=known)
        buckets = tables.write_changes(run_id, PlanOptions(full_refresh=True))
        tables.adopt(run_id)
        tables.note_subscription(context.subscriptions.current(spec))
        if segment is not None and segment.id is not None:
            lock.confirm()
            tables.segment_notes().note(NotedSegment(segment.id, known=True))
        there = sum((bucket.planned for bucket in buckets), Planned())
        return Reset(spec, adopted=there.added + there.changed)


def unlock_syncs(context: Context, force: bool) -> Iterator[Unlocked]:
    """Breaks the locks of runs that are dead; with ``force`` all locks."""
    for _, spec in context.selected.syncs:
        lock = SyncLock(context.session, context.schema, spec.name)
        holder = lock.holder()
        broken = holder is not None and (force or holder.is_dead)
        if broken or force:
            lock.break_()
        yield Unlocked(spec.name, holder, broken)
