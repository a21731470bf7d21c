"""Past runs: from the warehouse, which has them wherever they ran, and from the calls kept on this machine."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbt_pendo.errors import ConfigError
from dbt_pendo.history.calls import LoggedCall, read_calls, run_folders
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.runs import FailedRow, History, LoggedSync, Reason
from dbt_pendo.warehouse.session import Connection, open_session

LATEST = "last"
EXAMPLES = 3
SLOWEST = 3
_RUN_NAME = re.compile(r"[0-9A-Za-z-]+")
# What in a message is about one row, not about what is wrong with it.
_PARTICULARS = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|\d+""")


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run, as the run log has it.

    Attributes:
        run_id: The run.
        syncs: Its syncs, in their order.
    """

    run_id: str
    syncs: tuple[LoggedSync, ...]

    @property
    def name(self) -> str:
        """The random part of its id, short enough to type."""
        return self.run_id.rpartition("-")[2]

    @property
    def began_at(self) -> str:
        """When it began, in UTC, by the clock of the machine that ran it: the first part of its id."""
        stamp = self.run_id.partition("Z")[0]
        with contextlib.suppress(ValueError, IndexError):
            day, clock = stamp.split("T")
            return f"{day[:4]}-{day[4:6]}-{day[6:8]} {clock[:2]}:{clock[2:4]}:{clock[4:6]}"
        return self.run_id

    @property
    def duration(self) -> float:
        """Seconds that its syncs took together."""
        return sum(sync.duration for sync in self.syncs)

    @property
    def status(self) -> str:
        """The worst status of its syncs."""
        ranks = ("skipped", "success", "partial", "interrupted", "blocked", "error")
        found = {sync.status for sync in self.syncs}
        return next((status for status in reversed(ranks) if status in found), "success")


@dataclass(frozen=True, slots=True)
class GroupedReason:
    """Reasons that differ by what they say of a row only.

    Attributes:
        status: Of the rows.
        message: One of the reasons.
        rows: How many rows.
        examples: Keys of some of them.
    """

    status: str
    message: str
    rows: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallSummary:
    """What the calls of a run were like.

    Attributes:
        calls: All of them.
        failed: Those that Pendo did not do as asked.
        retries: Those that were sent again.
        answers: How many had which status; 0 is for no answer.
        waited: Seconds for which they waited for their turn.
        slowest: The slowest of them.
    """

    calls: int
    failed: int
    retries: int
    answers: Mapping[int, int]
    waited: float
    slowest: tuple[LoggedCall, ...]


class Past:
    """Reads past runs.

    Args:
        history: The warehouse's side.
        target_path: dbt's target folder, where runs on this machine kept their calls.
    """

    def __init__(self, history: History, target_path: Path) -> None:
        self.history = history
        self._target_path = target_path

    def runs(self, limit: int) -> list[PastRun]:
        """Returns the latest runs, the latest first."""
        return _by_run(self.history.runs(limit))

    def run(self, name: str) -> PastRun:
        """Returns a run.

        Args:
            name: Its id, how that begins or ends, or ``last``.

        Raises:
            ConfigError: If there is none, or several could be meant.
        """
        # What no id is made of may mean something in a pattern.
        known = _RUN_NAME.fullmatch(name) is not None
        found = _by_run(self.history.runs(2, None if name == LATEST else name)) if known else []
        if not found:
            raise ConfigError(
                "No run is logged yet." if name == LATEST else f"No run {name} is logged.",
                "`dbt-pendo runs` lists the latest; they are in the table pendo_runs of the bookkeeping's schema.",
            )
        exact = [run for run in found if run.run_id == name]
        if name != LATEST and not exact and len(found) > 1:
            raise ConfigError(f"Several runs are called {name}.", "Give more of the run's id.")
        return exact[0] if exact else found[0]

    def calls(self, run_id: str) -> list[LoggedCall] | None:
        """Returns the calls of a run; None when this machine has not kept them."""
        calls = self.kept_calls(run_id)
        return None if calls is None else list(calls)

    def kept_calls(self, run_id: str) -> Iterator[LoggedCall] | None:
        """Returns the same one by one, for runs may have made many."""
        folder = next((one for one in run_folders(self._target_path) if one.name == run_id), None)
        return None if folder is None else read_calls(folder)

    def latest_calls(self, sync: str, key: str) -> tuple[str, list[LoggedCall]]:
        """Returns the latest run kept here that sent a record, and its calls that carried it."""
        for folder in run_folders(self._target_path):
            calls = [call for call in read_calls(folder) if call.sync == sync and call.carried((key,))]
            if calls:
                return folder.name, calls
        return "", []

    def reasons(self, sync: LoggedSync) -> list[GroupedReason]:
        """Returns why rows of a sync of a run were not delivered."""
        if not (sync.missing or sync.rejected or sync.planned.invalid):
            return []
        return grouped(self.history.reasons(sync.sync, sync.run_id))

    def rejected_rows(self, sync: LoggedSync, limit: int) -> list[FailedRow]:
        """Returns the rows of a sync of a run that Pendo refused."""
        return self.history.failed_rows(sync.sync, sync.run_id, ("rejected",), limit) if sync.rejected else []


@contextlib.contextmanager
def open_past(connection: Connection, settings: Settings, target_path: Path) -> Iterator[Past]:
    """Opens the warehouse for a look at past runs.

    Raises:
        ConfigError: If the profile cannot be used.
        WarehouseError: If the warehouse cannot be reached.
    """
    with open_session(connection) as session:
        yield Past(History(session, session.own_schema(settings.schema)), target_path)


def grouped(reasons: Iterable[Reason]) -> list[GroupedReason]:
    """Puts reasons together that differ by what they say of a row only, such as its id; the most frequent first."""
    found: dict[tuple[str, str], list[Reason]] = {}
    for reason in reasons:
        message = (reason.detail or "no reason given").replace(reason.example or "\0", "…")
        found.setdefault((reason.status, _PARTICULARS.sub("…", message)), []).append(reason)
    return sorted(
        (
            GroupedReason(
                status,
                alike[0].detail or "no reason given",
                sum(reason.rows for reason in alike),
                tuple(reason.example for reason in alike[:EXAMPLES] if reason.example is not None),
            )
            for (status, _), alike in found.items()
        ),
        key=lambda group: -group.rows,
    )


def summed(calls: Sequence[LoggedCall]) -> CallSummary:
    """Returns what the calls of a run were like."""
    return CallSummary(
        calls=len(calls),
        failed=sum(call.failed for call in calls),
        retries=sum(call.attempt > 1 for call in calls),
        answers=dict(sorted(Counter(call.status or 0 for call in calls).items())),
        waited=sum(call.waited for call in calls),
        slowest=tuple(sorted(calls, key=lambda call: -call.seconds)[:SLOWEST]),
    )


def last_calls(calls: Iterable[LoggedCall], sync: str, keys: Collection[str]) -> dict[str, LoggedCall]:
    """Returns of each record the last call of a sync that carried it."""
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
