"""Finds what a run has changed, for alerts; pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dbt_pendo.channels import Channel, Event
from dbt_pendo.delivery.results import Ends, SyncResult
from dbt_pendo.delivery.sync import Options
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import LoggedSync

BAD: Mapping[str, Event] = {"error": "failure", "partial": "partial", "blocked": "blocked"}
# Their plans have seen all rows, and nothing held them back.
RAN_THROUGH = ("success", "warn", "partial")
# A row count is far off when it is less than half of, or more than twice, what is usual, by more than a few rows.
RUNS_COMPARED = 10
RUNS_NEEDED = 5
FACTOR = 2
A_FEW_ROWS = 100
# The run before is compared with those before it: what was in its alerts is not in this one's.
RUNS_READ = RUNS_COMPARED + 1


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed about a sync."""

    result: SyncResult
    # In the order of ``channels.Event``.
    events: tuple[Event, ...]
    # The status of the run before, and the number of rows its model usually has; None when not known.
    before: str | None
    usual_rows: int | None = None

    @property
    def rows(self) -> int:
        """How many rows its model has."""
        return self.result.planned.in_model


@dataclass(frozen=True, slots=True)
class Alert:
    """What a run has changed, and where."""

    run_id: str
    ends: Ends
    changes: tuple[Change, ...]

    @property
    def project(self) -> str:
        """The dbt project of the models."""
        return ", ".join(dict.fromkeys(change.result.unique_id.split(".")[1] for change in self.changes))

    @property
    def command(self) -> str:
        """The command to look further."""
        return f"dbt-pendo show {self.run_id}"


def changes_of(
    results: Sequence[SyncResult], past: Mapping[str, Sequence[LoggedSync]], options: Options, channel: Channel
) -> tuple[Change, ...]:
    """Returns what a run has changed that a channel wants to hear of.

    Args:
        results: What the run did.
        past: Each sync's last ``RUNS_READ`` runs that were neither skipped nor interrupted, the latest first.
        options: How the run was made.
        channel: Who is told.
    """
    found = []
    for result in results:
        runs = past.get(result.sync, ())
        compared = [run for run in runs if run.status in RAN_THROUGH]
        events = _events(result, runs, compared, options, channel.share)
        if wanted := tuple(event for event in events if event in channel.events):
            usual_rows = _usual_rows([run.planned for run in compared])
            found.append(Change(result, wanted, runs[0].status if runs else None, usual_rows))
    return tuple(found)


def _events(
    result: SyncResult, runs: Sequence[LoggedSync], compared: Sequence[LoggedSync], options: Options, share: float
) -> Iterator[Event]:
    # A sync that was skipped or interrupted says nothing about how it is.
    if result.status in ("skipped", "interrupted"):
        return
    bad = BAD.get(result.status)
    if bad != (BAD.get(runs[0].status) if runs else None):
        yield bad or "recovery"
    if result.status not in RAN_THROUGH:
        return
    if _sends_all_again(result, runs, options):
        yield "full_resync"
    # The number of all rows cannot be known from a part of them.
    if options.limit is not None:
        return
    before = [run.planned for run in compared]
    side = _side(result.planned, before)
    # What was in the alerts of the run before is not in this one's.
    if side and side != _side(before[0], before[1:]):
        yield "row_count"
    told = _above(share, compared[0]) if compared else ()
    yield from (event for event in _above(share, result) if event not in told)


def _sends_all_again(result: SyncResult, runs: Sequence[LoggedSync], options: Options) -> bool:
    """Returns whether a sync sends all that it had delivered, and the run before has not done so already."""
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


def unsent(sync: SyncResult | LoggedSync) -> dict[Event, int]:
    """Returns how many rows of a sync were not sent, by the event that tells of many."""
    # A missing row is tried again once a day, and held in between.
    return {"invalid": sync.planned.invalid, "held": sync.planned.held + sync.missing}


def _above(share: float, sync: SyncResult | LoggedSync) -> list[Event]:
    """Returns the events of rows that are more than a share of all, in percent."""
    return [event for event, rows in unsent(sync).items() if 100 * rows > share * sync.planned.in_model]


def _side(planned: Planned, before: Sequence[Planned]) -> int:
    """Returns 1 when there are far more rows than usual, -1 when there are far fewer, else 0."""
    rows, usual = planned.in_model, _usual_rows(before)
    if usual is None or abs(rows - usual) <= A_FEW_ROWS:
        return 0
    return (rows > usual * FACTOR) - (rows * FACTOR < usual)


def _usual_rows(before: Sequence[Planned]) -> int | None:
    """Returns the median row count of a model's latest plans; None when they are too few."""
    counts = [planned.in_model for planned in before[:RUNS_COMPARED]]
    return None if len(counts) < RUNS_NEEDED else round(statistics.median(counts))
