"""Past runs: the warehouse has them wherever they ran, and this machine the calls of those that ran here."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dbt_pendo.errors import ConfigError
from dbt_pendo.history.calls import LoggedCall, read_calls, run_folders
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.runs import FailedRow, History, LoggedSync, Reason
from dbt_pendo.warehouse.session import Session, open_session
from dbt_pendo.wording import without_particulars

LATEST = "last"
EXAMPLES = 3
# From the best status of a sync to the worst.
RANKS = ("skipped", "success", "partial", "interrupted", "blocked", "error")
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


@dataclass(frozen=True, slots=True)
class GroupedReason:
    """Reasons of one status that differ only by what they say of a row: one of them, and keys of some of the rows."""

    status: str
    message: str
    rows: int
    examples: tuple[str, ...]


class RunLog(History):
    """Reads past runs, and the calls that runs on this machine have kept in dbt's target folder."""

    def __init__(self, session: Session, schema: str, target_path: Path) -> None:
        super().__init__(session, schema)
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

    def grouped_reasons(self, sync: LoggedSync) -> list[GroupedReason]:
        """Returns why rows of a sync of a run were not delivered."""
        failed = sync.missing or sync.rejected or sync.planned.invalid
        return grouped(self.reasons(sync.sync, sync.run_id)) if failed else []

    def rejected_rows(self, sync: LoggedSync, limit: int) -> list[FailedRow]:
        """Returns the rows of a sync of a run that Pendo refused."""
        return self.failed_rows(sync.sync, sync.run_id, ("rejected",), limit) if sync.rejected else []


@contextlib.contextmanager
def open_run_log(connection: Connection, settings: Settings, target_path: Path) -> Iterator[RunLog]:
    """Opens the warehouse for a look at past runs.

    Raises:
        ConfigError: If the profile cannot be used.
        WarehouseError: If the warehouse cannot be reached.
    """
    with open_session(connection) as session:
        yield RunLog(session, session.own_schema(settings.schema), target_path)


def grouped(reasons: Iterable[Reason]) -> list[GroupedReason]:
    """Groups reasons that differ only by what they say of a row, such as its id; the most frequent first."""
    found: dict[tuple[str, str], list[Reason]] = {}
    for reason in reasons:
        message = without_particulars(reason.detail or "no reason given", reason.example)
        found.setdefault((reason.status, message), []).append(reason)
    groups = [
        GroupedReason(
            status,
            alike[0].detail or "no reason given",
            sum(reason.rows for reason in alike),
            tuple(reason.example for reason in alike[:EXAMPLES] if reason.example is not None),
        )
        for (status, _), alike in found.items()
    ]
    return sorted(groups, key=lambda group: -group.rows)


def last_calls(calls: Iterable[LoggedCall], sync: str, keys: Collection[str]) -> dict[str, LoggedCall]:
    """Returns the last call of a sync that carried each record, by the record's key."""
    found: dict[str, LoggedCall] = {}
    for call in calls:
        if call.sync == sync:
            found.update(dict.fromkeys(call.carried(keys), call))
    return found


def _by_run(syncs: Iterable[LoggedSync]) -> list[PastRun]:
    runs: dict[str, list[LoggedSync]] = {}
    for sync in syncs:
        runs.setdefault(sync.run_id, []).append(sync)
    return [PastRun(run_id, tuple(of_run)) for run_id, of_run in runs.items()]
