"""Counts rows by outcome, groups the reasons, and writes `pendo_results.json`."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from dbt_pendo import __version__
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.outcomes import QUEUED_DELETION, Outcome, Position
from dbt_pendo.pendo.client import Traffic
from dbt_pendo.private import replace_private
from dbt_pendo.secret import Secrets
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import LoggedSync

RESULTS_FILE = "pendo_results.json"
SyncStatus = Literal["success", "partial", "error", "skipped", "blocked", "interrupted"]


@dataclass(frozen=True, slots=True)
class SyncResult:
    """One sync of a run, as the contract has it (design.md 2.3).

    Attributes:
        sync: The sync's name.
        unique_id: dbt's id of the model.
        object: The kind of Pendo object.
        status: ``partial`` when a row was rejected.
        message: What went wrong, or what the user should know, a line each; None when there is nothing to say.
        planned: Rows by kind; rows found invalid only while they were rendered count as invalid.
        delivered: Rows Pendo took, or that needed no request.
        missing: Rows whose id Pendo does not know.
        rejected: Rows Pendo refused.
        traffic: Requests, retries and bytes.
        duration: Seconds.
        misconfigured: Whether the sync stopped before anything was sent because its mapping, its model or a key is
            wrong.
        asked_for: Whether a sync that was skipped was so because the user wanted it.
    """

    sync: str
    unique_id: str
    object: str
    status: SyncStatus
    message: str | None = None
    planned: Planned = field(default_factory=Planned)
    delivered: int = 0
    missing: int = 0
    rejected: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    duration: float = 0.0
    misconfigured: bool = False
    asked_for: bool = False

    def without(self, secrets: Secrets) -> SyncResult:
        """Returns the same with no secret in its message, which may quote the warehouse."""
        return self if self.message is None else replace(self, message=secrets.hidden_in(self.message))

    def to_dict(self) -> dict[str, Any]:
        """Returns the sync's entry under ``results``."""
        return {
            "sync": self.sync,
            "unique_id": self.unique_id,
            "object": self.object,
            "status": self.status,
            "message": self.message,
            "planned": asdict(self.planned),
            "delivered": self.delivered,
            "missing": self.missing,
            "rejected": self.rejected,
            **asdict(self.traffic),
            "duration": round(self.duration, 3),
        }

    def to_row(self, run_id: str) -> dict[str, Any]:
        """Returns the sync's row in ``pendo_runs``."""
        entry = self.to_dict()
        return {"run_id": run_id, **entry.pop("planned"), **entry}


@dataclass(frozen=True, slots=True)
class RunResults:
    """A run as a whole.

    Attributes:
        run_id: Sortable by time: when it began in UTC, and a random part.
        manifest_invocation_id: The dbt invocation that built the models.
        results: One entry a sync, in the order of the run.
        elapsed: Seconds.
        generated_at: When the run ended, in UTC.
        notes: What is worth a warning, and no sync's doing.
        unwritten: Why ``pendo_results.json`` could not be written; None if it was.
    """

    run_id: str
    manifest_invocation_id: str
    results: Sequence[SyncResult]
    elapsed: float
    generated_at: datetime.datetime
    notes: Sequence[str] = ()
    unwritten: DbtPendoError | None = None

    def exit_code(self, warn_error: bool = False) -> int:
        """Returns the exit status of the contract (design.md 2.3); results that cannot be written are a failure.

        2 is for a run in which no sync could start because all are configured wrongly; once another sync was
        able to deliver, a misconfigured one is a failed sync among others.
        """
        if self.results and all(result.misconfigured for result in self.results):
            return 2
        if any(result.status in ("partial", "error", "blocked", "interrupted") for result in self.results):
            return 1
        if self.unwritten is not None:
            return 1
        return 1 if warn_error and self.has_warnings else 0

    @property
    def has_warnings(self) -> bool:
        """Whether rows or syncs were left out without that being a failure."""
        return any(
            (result.status == "skipped" and not result.asked_for) or result.missing or result.planned.invalid
            for result in self.results
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the document of ``pendo_results.json``."""
        return {
            "metadata": {
                "dbt_pendo_version": __version__,
                "generated_at": self.generated_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "run_id": self.run_id,
                "manifest_invocation_id": self.manifest_invocation_id,
            },
            "elapsed": round(self.elapsed, 3),
            "results": [result.to_dict() for result in self.results],
        }

    def write(self, target_path: Path) -> Path:
        """Writes ``pendo_results.json`` in place of an older one, never half, for its owner alone.

        Raises:
            DbtPendoError: If it cannot be written.
        """
        path = target_path / RESULTS_FILE
        try:
            # Without a manifest there need be no folder.
            target_path.mkdir(parents=True, exist_ok=True)
            replace_private(path, orjson.dumps(self.to_dict(), option=orjson.OPT_INDENT_2))
        except OSError as error:
            sent = sum(result.delivered + result.missing + result.rejected for result in self.results)
            kept = f"What became of the rows of this run is in the ledger: `dbt-pendo show {self.run_id}` tells it."
            raise DbtPendoError(
                f"{path} cannot be written: {error.strerror}.", kept if sent else "No row was sent."
            ) from None
        return path


def failed_before_start(spec: SyncSpec, message: str, misconfigured: bool = True) -> SyncResult:
    """Returns the result of a sync that never got to send a row."""
    return SyncResult(spec.name, spec.unique_id, spec.object, "error", message=message, misconfigured=misconfigured)


def outcome_counts(result: SyncResult | LoggedSync) -> dict[str, int]:
    """Returns the rows of a sync, now or in a past run, by what happened to them."""
    return {
        "delivered": result.delivered,
        "missing": result.missing,
        "rejected": result.rejected,
        "invalid": result.planned.invalid,
        "held": result.planned.held,
    }


class Observer(Protocol):
    """Somebody who watches a run: the terminal, a log, or nobody."""

    def sync_started(self, index: int, total: int, spec: SyncSpec, reason: str) -> None:
        """A sync begins: its place in the run, from 1, and why it may run."""

    def sync_planned(self, spec: SyncSpec, planned: Planned) -> None:
        """The change set is written."""

    def sync_progressed(self, spec: SyncSpec, rows: int) -> None:
        """So many more rows have been judged."""

    def sync_finished(self, index: int, total: int, result: SyncResult) -> None:
        """A sync ended, one way or another."""


REASONS_SHOWN = 3
# Pendo's messages may name the row, and then there are as many as rejected rows.
REASONS_KEPT = 1_000


class Counts:
    """Counts what became of a sync's rows, and why.

    Attributes:
        planned: Rows by kind; a row found invalid while it was rendered moves over to the invalid ones.
    """

    def __init__(self) -> None:
        self.planned = Planned()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}

    @property
    def delivered(self) -> int:
        """Rows that Pendo took, or that needed no request."""
        return self._counts["delivered"]

    @property
    def missing(self) -> int:
        """Rows whose id Pendo does not know."""
        return self._counts["missing"]

    @property
    def rejected(self) -> int:
        """Rows that Pendo refused."""
        return self._counts["rejected"]

    def count(self, rows: int, others: Mapping[Position, Outcome], named: Iterable[tuple[Position, str, str]]) -> None:
        """Adds the rows of a page.

        Args:
            rows: How many there are.
            others: The outcomes of those that were not merely delivered.
            named: Of each row its position, its change and its key; looked at only if there are others.
        """
        moved: Counter[str] = Counter()
        self._counts["delivered"] += rows - len(others)
        for position, change, key in named if others else ():
            if (outcome := others.get(position)) is not None:
                self._counts[outcome.status] += 1
                if outcome.status == "invalid":
                    moved[change] += 1
                if outcome.detail is not None:
                    self.note(outcome.status, outcome.detail, key, 1)
        self.planned = replace(
            self.planned,
            added=self.planned.added - moved["added"],
            changed=self.planned.changed - moved["changed"],
            removed=self.planned.removed - moved["removed"],
            invalid=self.planned.invalid + moved.total(),
        )

    def note(self, status: str, reason: str, key: str | None, rows: int) -> None:
        """Notes why some rows have their status, with the key of one."""
        if (status, reason) not in self._reasons and len(self._reasons) >= REASONS_KEPT:
            reason = "other reasons"
        self._reasons[status, reason] += rows
        self._examples.setdefault((status, reason), "" if key is None else key)

    def notes(self) -> list[str]:
        """Says of each kind of failure how often and why, with a key to look up; and which deletions are queued."""
        notes = []
        for status in ("rejected", "invalid", "missing"):
            of_status = self._reasons_of(status)
            shown = [
                f"{reason} ({rows:,}, e.g. {example})"
                if (example := self._examples[status, reason])
                else f"{reason} ({rows:,})"
                for reason, rows in of_status.most_common(REASONS_SHOWN)
            ]
            if shown:
                more = len(of_status) - len(shown)
                notes.append(
                    f"{of_status.total():,} {status}: " + ", ".join(shown) + (f", {more} more reasons" if more else "")
                )
        if queued := self._reasons_of("delivered"):
            jobs = ", ".join(reason.removeprefix(QUEUED_DELETION) for reason in list(queued)[:REASONS_SHOWN])
            notes.append(f"{queued.total():,} deletions are queued in Pendo, for up to 21 days (jobs: {jobs})")
        return notes

    def _reasons_of(self, status: str) -> Counter[str]:
        return Counter({reason: rows for (kind, reason), rows in self._reasons.items() if kind == status})
