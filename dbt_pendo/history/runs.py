"""Reads past runs from the warehouse, and the calls of those that ran on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from dbt_pendo.delivery.results import Ends, outcome_counts
from dbt_pendo.errors import ConfigError
from dbt_pendo.history.calls import LoggedCall, read_calls, run_folders
from dbt_pendo.warehouse.runs import History, LedgerEntry, LoggedSync, Reason
from dbt_pendo.warehouse.session import Session
from dbt_pendo.wording import without_particulars

LATEST = "last"
EXAMPLES = 3
# From the best status of a sync to the worst.
RANKS = ("skipped", "success", "warn", "partial", "interrupted", "blocked", "error")
_RUN_NAME = re.compile(r"[0-9A-Za-z-]+")
# How a run's id begins: when it began, by the clock of the machine that ran it, in UTC.
_BEGAN_AT = re.compile(r"^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\d*Z.*")


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run, as the run log has it, with its syncs in their order."""

    run_id: str
    syncs: tuple[LoggedSync, ...]

    @property
    def name(self) -> str:
        """The random part of its id, short enough to type."""
        return self.run_id.rpartition("-")[2]

    @property
    def began_at(self) -> str:
        """When it began, in UTC, as its id says."""
        return _BEGAN_AT.sub(r"\1-\2-\3 \4:\5:\6", self.run_id)

    @property
    def duration(self) -> float:
        """Seconds that its syncs took together."""
        return sum(sync.duration for sync in self.syncs)

    @property
    def status(self) -> str:
        """The worst status of its syncs."""
        found = {sync.status for sync in self.syncs}
        return next((status for status in reversed(RANKS) if status in found), "success")

    def to_dict(self) -> dict[str, Any]:
        """Returns its entry under ``results``."""
        return {
            "run_id": self.run_id,
            "began_at": self.began_at,
            "status": self.status,
            "duration": round(self.duration, 3),
            "syncs": list(map(asdict, self.syncs)),
        }

    def to_row(self) -> dict[str, Any]:
        """Returns it as a row of a table, with the number of its syncs and the sums of their rows."""
        counted = [outcome_counts(sync) for sync in self.syncs]
        return {
            "run_id": self.run_id,
            "began_at": self.began_at,
            "status": self.status,
            **{name: sum(one[name] for one in counted) for name in ("delivered", "missing", "rejected", "invalid")},
            "syncs": len(self.syncs),
            "duration": round(self.duration, 3),
        }


@dataclass(frozen=True, slots=True)
class SyncDetails:
    """What is known of a sync of a past run beside its counts."""

    sync: LoggedSync
    # Why rows were not delivered.
    reasons: list[Reason]
    # Rows that were not delivered, each with the last call that carried it if that was kept.
    rows: list[tuple[LedgerEntry, LoggedCall | None]]

    def to_row(self) -> dict[str, Any]:
        """Returns the sync as a row of a table, with what was planned in columns of their own."""
        row = asdict(self.sync)
        planned = row.pop("planned")
        return {**row, **{f"planned_{name}": count for name, count in planned.items()}}


class RunLog(History):
    """Reads past runs, and the calls that runs on this machine have kept in dbt's target folder."""

    def __init__(self, session: Session, ends: Ends, target_path: Path) -> None:
        super().__init__(session, ends.schema)
        self.ends = ends
        self.target_path = target_path

    def latest_runs(self, limit: int) -> list[PastRun]:
        """Returns the latest runs, the latest first."""
        return _by_run(self.runs(limit))

    def find_run(self, name: str) -> PastRun:
        """Returns a run by its id, how that begins or ends, or ``last``.

        Raises:
            ConfigError: If there is none, or several could be meant.
        """
        # Other characters may mean something in a pattern, and are in no id.
        may_exist = _RUN_NAME.fullmatch(name) is not None
        found = _by_run(self.runs(2, None if name == LATEST else name)) if may_exist else []
        if not found:
            raise ConfigError(
                "No run is logged yet." if name == LATEST else f"No run {name} is logged.",
                "`dbt-pendo runs` lists the latest; they are in the table pendo_runs of the bookkeeping's schema.",
            )
        exact = [run for run in found if run.run_id == name]
        if name != LATEST and not exact and len(found) > 1:
            raise ConfigError(f"Several runs are called {name}.", "Give more of the run's id.")
        return exact[0] if exact else found[0]

    def calls(self, run_id: str) -> Iterator[LoggedCall] | None:
        """Returns the calls of a run one by one, for there may be many; None when this machine has not kept them."""
        folder = next((one for one in run_folders(self.target_path) if one.name == run_id), None)
        return None if folder is None else read_calls(folder)

    def latest_calls(self, sync: str, key: str) -> tuple[str, list[LoggedCall]]:
        """Returns the latest run kept here that sent a record, and its calls that carried it."""
        for folder in run_folders(self.target_path):
            calls = [call for call in read_calls(folder) if call.sync == sync and call.carried((key,))]
            if calls:
                return folder.name, calls
        return "", []

    def details(self, sync: LoggedSync, calls: Iterable[LoggedCall], limit: int | None) -> SyncDetails:
        """Returns what is known of a sync of a run, with all rows or the first ``limit``, by the calls of that run."""
        failed = sync.missing or sync.rejected or sync.planned.invalid
        reasons = grouped(self.reasons(sync.sync, sync.run_id)) if failed else []
        rows = self.failed_rows(sync.sync, sync.run_id, limit) if failed else []
        keys = {row.key for row in rows}
        carried: dict[str, LoggedCall] = {}
        for call in calls if keys else ():
            if call.sync == sync.sync:
                carried.update(dict.fromkeys(call.carried(keys), call))
        return SyncDetails(sync, reasons, [(row, carried.get(row.key)) for row in rows])


def grouped(reasons: Iterable[Reason]) -> list[Reason]:
    """Groups reasons that differ only by what they say of a row, such as its id; the most frequent first."""
    found: dict[tuple[str, str], Reason] = {}
    for one in reasons:
        kind = one.status, without_particulars(one.message, *one.examples)
        if (alike := found.get(kind)) is not None:
            examples = (*alike.examples, *one.examples)[:EXAMPLES]
            one = replace(alike, rows=alike.rows + one.rows, examples=examples)
        found[kind] = one
    return sorted(found.values(), key=lambda group: -group.rows)


def _by_run(syncs: Iterable[LoggedSync]) -> list[PastRun]:
    """Returns the runs of syncs that are ordered by run."""
    return [PastRun(run_id, tuple(of_run)) for run_id, of_run in groupby(syncs, attrgetter("run_id"))]
