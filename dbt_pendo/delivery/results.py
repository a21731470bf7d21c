"""Counts rows by outcome, groups the reasons, and writes `pendo_results.json`."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from dbt_pendo import __version__
from dbt_pendo.delivery.signals import InterruptedRunError
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.outcomes import QUEUED_DELETION, Outcome, Position, Status
from dbt_pendo.pendo.client import Traffic
from dbt_pendo.records.masking import HIDDEN_REASON, BodyMask
from dbt_pendo.records.render import Replaced
from dbt_pendo.secret import Secrets, replace_private
from dbt_pendo.settings import PendoHost
from dbt_pendo.warehouse.lock import LockedError
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import LoggedSync
from dbt_pendo.wording import number, visible

RESULTS_FILE = "pendo_results.json"
# How the entry of a sync begins.
ENTRY = ("sync", "unique_id", "object", "status", "message", "planned", "delivered", "missing", "rejected")
# How a row that is sent differs from the ledger, and what Pendo did with a removed one.
CHANGES = ("added", "changed", "removed")
REMOVALS = ("deleted", "cleared")
SyncStatus = Literal["success", "warn", "partial", "error", "skipped", "blocked", "interrupted"]


# What a note is about: why the sync could not run or what held it back, and what to do about it; rows with one outcome,
# as in ``outcomes.Status``; or anything else worth knowing.
NoteKind = Literal["error", "hint", "rejected", "invalid", "missing", "delivered", "info"]


class GuardError(DbtPendoError):
    """A guard of the mapping holds back what is left of a sync."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know about a sync, on one line."""

    kind: NoteKind
    text: str
    # How many rows it is about, and the key of one of them.
    rows: int = 0
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a run: where rows come from, and where they go."""

    # dbt's target.
    target: str
    # Of our tables.
    schema: str
    pendo: PendoHost

    def to_dict(self) -> dict[str, Any]:
        """Returns their entries under ``metadata``."""
        return asdict(self)

    def to_row(self) -> dict[str, Any]:
        """Returns their columns in ``pendo_runs``."""
        return {"target": self.target, "pendo_host": self.pendo.host}


@dataclass(frozen=True, slots=True)
class SyncResult:
    """One sync of a run, as the contract has it (design.md 2.3)."""

    sync: str
    unique_id: str
    object: str
    # ``partial`` when a row was rejected; ``warn`` when none was, and some were missing or invalid.
    status: SyncStatus
    notes: tuple[Note, ...] = ()
    # Rows found invalid only while they were rendered count as invalid.
    planned: Planned = field(default_factory=Planned)
    # Rows that Pendo took, or that needed no request.
    delivered: int = 0
    # Those by how they differed from the ledger; of the removed ones, how many were deleted or cleared in Pendo.
    delivered_by: Mapping[str, int] = field(default_factory=dict)
    # Rows whose id Pendo does not know.
    missing: int = 0
    rejected: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    # Seconds.
    duration: float = 0.0
    # The fields that were created in Pendo: name, group, type.
    created_fields: Sequence[Mapping[str, str]] = ()
    # Whether it stopped before anything was sent because its mapping, its model or a key is wrong.
    misconfigured: bool = False
    # Whether the user wanted it to be skipped.
    asked_for: bool = False

    @property
    def message(self) -> str | None:
        """The notes, a line each; None when there is nothing to say."""
        return "\n".join(note.text for note in self.notes) or None

    def without(self, secrets: Secrets) -> SyncResult:
        """Returns the same with no secret in its notes, which may quote the warehouse."""
        notes = (replace(note, text=secrets.hidden_in(note.text)) for note in self.notes)
        return replace(self, notes=tuple(notes))

    def to_dict(self) -> dict[str, Any]:
        """Returns the sync's entry under ``results``."""
        entry = {name: getattr(self, name) for name in ENTRY}
        return {
            **entry,
            "planned": asdict(self.planned),
            "delivered_by": {name: self.delivered_by.get(name, 0) for name in (*CHANGES, *REMOVALS)},
            **asdict(self.traffic),
            "duration": round(self.duration, 3),
            "created_fields": list(self.created_fields),
        }

    def to_row(self, run_id: str) -> dict[str, Any]:
        """Returns the sync's row in ``pendo_runs``."""
        entry = self.to_dict()
        removed = {name: entry["delivered_by"][name] for name in REMOVALS}
        return {"run_id": run_id, **entry.pop("planned"), **removed, **entry}


@dataclass(frozen=True, slots=True)
class RunResults:
    """A run as a whole."""

    # Sortable by time: when it began in UTC, and a random part.
    run_id: str
    # The dbt invocation that built the models.
    manifest_invocation_id: str
    # In the order of the run.
    results: Sequence[SyncResult]
    # Seconds.
    elapsed: float
    # When the run ended, in UTC.
    generated_at: datetime.datetime
    # None of a run without syncs, which opens nothing.
    ends: Ends | None = None
    # Warnings that concern no single sync.
    notes: Sequence[str] = ()
    # What speaks against the target being the one that dbt has built for.
    doubts: Sequence[str] = ()
    # Why ``pendo_results.json`` could not be written; None if it was.
    unwritten: DbtPendoError | None = None

    def exit_code(self, warn_error: bool = False) -> int:
        """Returns the exit status of the contract (design.md 2.3); results that cannot be written are a failure.

        2 is for a run in which no sync could start because all are configured wrongly; once another sync was
        able to deliver, a misconfigured one is a failed sync among others.
        """
        if self.results and all(result.misconfigured for result in self.results):
            return 2
        failed = any(result.status in ("partial", "error", "blocked", "interrupted") for result in self.results)
        return int(failed or self.unwritten is not None or (warn_error and self.has_warnings))

    @property
    def has_warnings(self) -> bool:
        """Whether rows or syncs were left out without that being a failure."""
        return bool(self.doubts) or any(
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
                **(self.ends.to_dict() if self.ends else {}),
            },
            "elapsed": round(self.elapsed, 3),
            "results": [result.to_dict() for result in self.results],
        }

    def write(self, target_path: Path) -> None:
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
            hint = "No row was sent."
            if any(result.delivered or result.missing or result.rejected for result in self.results):
                hint = f"The ledger has what happened to the rows: `dbt-pendo show {self.run_id}` shows it."
            raise DbtPendoError(f"{path} cannot be written: {error.strerror}.", hint) from None


def failed_result(spec: SyncSpec, error: DbtPendoError, more: Iterable[Note] = ()) -> SyncResult:
    """Returns the result of a sync that an error ended, with a note for each line of the error, and more notes."""
    status: SyncStatus = "interrupted" if isinstance(error, InterruptedRunError) else "error"
    if isinstance(error, LockedError | GuardError):
        status = "blocked"
    notes = [Note("error", line) for line in error.message.split("\n")]
    if error.hint:
        notes.append(Note("hint", error.hint))
    return SyncResult(spec.name, spec.unique_id, spec.object, status, (*notes, *more))


def outcome_counts(result: SyncResult | LoggedSync) -> dict[str, int]:
    """Returns the rows of a sync, now or in a past run, by what happened to them."""
    sent = {"delivered": result.delivered, "missing": result.missing, "rejected": result.rejected}
    return {**sent, "invalid": result.planned.invalid, "held": result.planned.held}


def said_counts(result: SyncResult | LoggedSync) -> dict[str, int]:
    """Returns the same in the words of what was done in Pendo: records deleted or cleared, members of a segment."""
    found = outcome_counts(result)
    delivered = found.pop("delivered")
    by: Mapping[str, int]
    if isinstance(result, SyncResult):
        by = {name: result.delivered_by.get(name, 0) for name in (*CHANGES, *REMOVALS)}
    else:
        # The run log has no more; but where all was delivered, it is what was planned.
        planned = result.planned if result.planned.to_send == delivered else Planned()
        by = {**asdict(planned), "deleted": result.deleted, "cleared": result.cleared}
    done = {"deleted": by["deleted"], "cleared": by["cleared"]}
    if result.object == "segment":
        done = {"added": by["added"], "sent again": by["changed"], "removed": by["removed"]}
    rest = delivered - sum(done.values())
    return {**({"delivered": rest} if rest or not delivered else {}), **done, **found}


class Observer(Protocol):
    """Watches a run: the terminal, a log, or nobody."""

    def sync_started(self, index: int, total: int, spec: SyncSpec, reason: str) -> None:
        """A sync begins: its place in the run, from 1, and why it may run."""

    def sync_planned(self, spec: SyncSpec, planned: Planned) -> None:
        """The change set is written."""

    def sync_progressed(self, spec: SyncSpec, rows: int) -> None:
        """So many more rows have been judged."""

    def sync_finished(self, index: int, total: int, result: SyncResult) -> None:
        """A sync ended, one way or another."""


FAILURES: Sequence[NoteKind] = ("rejected", "invalid", "missing")
REASONS_SHOWN = 3
# Pendo's messages may name the row, and then there are as many as rejected rows.
REASONS_KEPT = 1_000


class Counts:
    """Counts rows of a sync by outcome, and groups the reasons.

    Attributes:
        planned: Rows by kind; a row found invalid while it was rendered moves over to the invalid ones.
        rows: Rows by outcome.
        delivered_by: Delivered rows by how they differed from the ledger.

    Args:
        mask: What the reasons and keys in notes must not show.
    """

    def __init__(self, mask: BodyMask) -> None:
        self._mask = mask
        self.planned = Planned()
        self.rows: Counter[Status] = Counter()
        self.delivered_by: Counter[str] = Counter()
        # By status: how many rows have a reason, and the key of one of them.
        self._reasons: dict[str, Counter[str]] = defaultdict(Counter)
        self._examples: dict[tuple[str, str], str | None] = {}
        # How many values of a field were replaced, and the first of them.
        self._replaced: dict[str, tuple[int, Replaced]] = {}

    def count(
        self,
        changes: Mapping[str, int],
        exceptions: Mapping[Position, Outcome],
        named: Iterable[tuple[Position, str, str]],
    ) -> None:
        """Adds the rows of a page.

        Args:
            changes: How many there are, by how they differ from the ledger.
            exceptions: The outcomes of those that were not merely delivered.
            named: The position, change and key of each row; read only if there are exceptions.
        """
        moved: Counter[str] = Counter()
        self.rows["delivered"] += sum(changes.values()) - len(exceptions)
        self.delivered_by.update(changes)
        for position, change, key in named if exceptions else ():
            if (outcome := exceptions.get(position)) is not None:
                self.rows[outcome.status] += 1
                if outcome.status != "delivered":
                    self.delivered_by[change] -= 1
                if outcome.status == "invalid":
                    moved[change] += 1
                if outcome.detail is not None:
                    quotes = self._mask and outcome.status in ("rejected", "invalid")
                    self.add_reason(outcome.status, HIDDEN_REASON if quotes else outcome.detail, key, 1)
        less = {change: -rows for change, rows in moved.items()}
        self.planned += Planned(**less, invalid=moved.total())

    def count_replaced(self, values: Iterable[Replaced]) -> None:
        """Adds the values of delivered rows that were not sent themselves."""
        for value in values:
            count, first = self._replaced.get(value.name, (0, value))
            self._replaced[value.name] = count + 1, first

    def add_reason(self, status: Status, reason: str, key: str | None, rows: int) -> None:
        """Adds why some rows have an outcome, with the key of one."""
        reasons = self._reasons[status]
        if reason not in reasons and len(reasons) >= REASONS_KEPT:
            reason = "other reasons"
        reasons[reason] += rows
        self._examples.setdefault((status, reason), key and self._mask.key(key))

    def notes(self) -> list[Note]:
        """Returns how often each kind of failure happened and why, with a key; and which deletions are queued."""
        notes = []
        for status in FAILURES:
            reasons = self._reasons[status]
            most = reasons.most_common(REASONS_SHOWN)
            shown = []
            for reason, rows in most:
                example = self._examples[status, reason]
                shown.append(f"{reason} ({rows:,}, e.g. {example})" if example else f"{reason} ({rows:,})")
            if more := len(reasons) - len(most):
                shown.append(number(more, "more reason"))
            if most:
                text = f"{reasons.total():,} {status}: {', '.join(shown)}"
                notes.append(Note(status, visible(text), reasons.total(), self._examples[status, most[0][0]]))
        for name, (count, first) in self._replaced.items():
            text = f"{number(count, 'value')} of {name} could not be sent (on_invalid: {first.on_invalid}), "
            key = self._mask.key(first.key)
            text += f"e.g. {HIDDEN_REASON if self._mask else first.reason} ({key})"
            notes.append(Note("info", visible(text), count, key))
        if queued := self._reasons["delivered"]:
            jobs = ", ".join(reason.removeprefix(QUEUED_DELETION) for reason in list(queued)[:REASONS_SHOWN])
            text = f"{queued.total():,} deletions are queued in Pendo, for up to 21 days (jobs: {jobs})"
            notes.append(Note("delivered", visible(text), queued.total()))
        return notes
