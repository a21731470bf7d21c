"""What a run did: the document of ``pendo_results.json``."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from dbt_pendo import __version__
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.pendo.client import Traffic
from dbt_pendo.private import replace_private
from dbt_pendo.secret import Secrets
from dbt_pendo.spec.sync import SyncSpec
from dbt_pendo.warehouse.pages import Planned

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
