"""What a run has changed, of all that somebody wants to be told; pure."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from dbt_pendo.channels import Event
from dbt_pendo.delivery.results import SyncResult, SyncStatus
from dbt_pendo.delivery.sync import Options
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import LoggedSync

BAD: Mapping[SyncStatus, Event] = {"error": "failure", "partial": "partial", "blocked": "blocked"}
# Of these a plan has seen all rows, and nothing held them back.
RAN_THROUGH = ("success", "partial")
# A row count is far off when it is less than half of, or more than twice, what is usual, by more than a few rows.
RUNS_COMPARED = 10
RUNS_NEEDED = 5
FACTOR = 2
A_FEW_ROWS = 100
# The run before is compared with those before it, for whoever was told then is not told again.
RUNS_READ = RUNS_COMPARED + 1


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed about a sync.

    Attributes:
        result: How it went.
        events: What has changed, in the order of ``channels.Event``.
        before: How it stood before; None when nothing is known of that.
        usual_rows: How many rows its model usually has; None when that is not known.
    """

    result: SyncResult
    events: tuple[Event, ...]
    before: str | None
    usual_rows: int | None = None

    @property
    def rows(self) -> int:
        """How many rows its model has."""
        return rows_of(self.result.planned)


@dataclass(frozen=True, slots=True)
class Alert:
    """What a run has changed.

    Attributes:
        run_id: The run.
        target: dbt's target.
        schema: The target's schema.
        changes: Of each sync about which something has changed.
    """

    run_id: str
    target: str
    schema: str
    changes: tuple[Change, ...]

    @property
    def project(self) -> str:
        """The dbt project of the models."""
        return ", ".join(dict.fromkeys(change.result.unique_id.split(".")[1] for change in self.changes))

    @property
    def events(self) -> tuple[Event, ...]:
        """What has changed, each once."""
        return tuple(dict.fromkeys(event for change in self.changes for event in change.events))

    def about(self, events: Collection[Event]) -> Alert:
        """Returns the part of it that is about some events."""
        parts = (
            replace(change, events=tuple(event for event in change.events if event in events))
            for change in self.changes
        )
        return replace(self, changes=tuple(part for part in parts if part.events))


def changes_of(
    results: Sequence[SyncResult], past: Mapping[str, Sequence[LoggedSync]], options: Options
) -> tuple[Change, ...]:
    """Returns what a run has changed.

    A sync that was skipped or interrupted says nothing of how it stands.

    Args:
        results: What the run did.
        past: Of each sync its ``RUNS_READ`` runs before that were neither skipped nor interrupted, the latest first.
        options: How the run was made.
    """
    changes = []
    for result in results:
        if result.status in ("skipped", "interrupted"):
            continue
        runs = past.get(result.sync, ())
        usual = usual_rows(runs)
        events: list[Event] = []
        if (status := _status_event(result, runs)) is not None:
            events.append(status)
        if result.status in RAN_THROUGH and _sends_all_again(result, runs, options):
            events.append("full_resync")
        # A part of the rows says nothing of how many there are.
        if result.status in RAN_THROUGH and options.limit is None and _is_off(result, runs):
            events.append("row_count")
        if events:
            changes.append(Change(result, tuple(events), runs[0].status if runs else None, usual))
    return tuple(changes)


def rows_of(planned: Planned) -> int:
    """Returns how many rows a model had, by a plan of it."""
    return planned.added + planned.changed + planned.unchanged + planned.invalid + planned.held


def usual_rows(runs: Sequence[LoggedSync]) -> int | None:
    """Returns how many rows a model had in the middle of its latest runs; None when they are too few."""
    counts = [rows_of(run.planned) for run in runs if run.status in RAN_THROUGH][:RUNS_COMPARED]
    return None if len(counts) < RUNS_NEEDED else round(statistics.median(counts))


def _status_event(result: SyncResult, runs: Sequence[LoggedSync]) -> Event | None:
    before = runs[0].status if runs else "success"
    if result.status == before:
        return None
    return BAD.get(result.status) or "recovery"


def _sends_all_again(result: SyncResult, runs: Sequence[LoggedSync], options: Options) -> bool:
    """Returns whether a sync sends what it had delivered, all of it, and the run before has not done so already."""
    planned = result.planned
    # A segment's members are replaced in one call whenever they are in doubt, which changes none of them.
    if planned.unchanged or result.object == "segment":
        return False
    if not options.full_refresh and planned.added + planned.changed <= A_FEW_ROWS:
        return False
    before = runs[0].planned if runs else Planned()
    if planned.changed:
        return before.unchanged > 0 or not before.changed
    # The ledger is gone: what was known in the run before is new.
    return planned.added > 0 and before.unchanged > 0


def _is_off(result: SyncResult, runs: Sequence[LoggedSync]) -> bool:
    """Returns whether a row count is far off, and that of the run before was not so already."""
    ran_through = [run for run in runs if run.status in RAN_THROUGH]
    side = _side(result.planned, ran_through)
    return side != 0 and side != _side(ran_through[0].planned, ran_through[1:])


def _side(planned: Planned, runs: Sequence[LoggedSync]) -> int:
    """Returns 1 when there are far more rows than usual, -1 when there are far fewer, else 0."""
    rows, usual = rows_of(planned), usual_rows(runs)
    if usual is None or abs(rows - usual) <= A_FEW_ROWS:
        return 0
    return (rows > usual * FACTOR) - (rows * FACTOR < usual)
