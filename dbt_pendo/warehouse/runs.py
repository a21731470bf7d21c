"""The run log, and what ledgers say of past runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbt_pendo.warehouse.ledger_table import LedgerTable
from dbt_pendo.warehouse.pages import Planned, Span
from dbt_pendo.warehouse.plan import EVERYTHING, ModelTable
from dbt_pendo.warehouse.reading import Row, Wanted, read_span
from dbt_pendo.warehouse.session import Session, WarehouseError

RUNS_TABLE = "pendo_runs"


def log_run(session: Session, schema: str, row: Mapping[str, Any]) -> None:
    """Appends one row, and creates the table on a first run.

    Args:
        session: The warehouse.
        schema: The schema of the bookkeeping.
        row: A value for each column of the macro ``pendo_run_columns``.

    Raises:
        WarehouseError: If the warehouse refuses it.
    """
    runs = session.relation(schema, RUNS_TABLE)
    entry = session.sql("pendo_log_run", runs=runs, result=dict(row))
    try:
        session.run(entry)
    except WarehouseError:
        session.ensure_schema(schema)
        # Another run may do the same right now; then the table is there as well.
        with contextlib.suppress(WarehouseError):
            session.run(session.sql("pendo_create_runs", runs=runs))
        session.run(entry)


# Pendo's messages may name the row, and then there are as many as rejected rows.
REASONS_READ = 10_000
ENTRIES_READ = 100
# The destination of entries that an earlier version made, and that no sync has carried on yet.
NOT_NOTED = ""
# Statuses of a sync that came to its end, whatever became of single rows.
COMPLETE = frozenset({"success", "partial"})


@dataclass(frozen=True, slots=True)
class LoggedSync:
    """One sync of a past run, as the run log has it; see ``SyncResult`` for its words.

    Attributes:
        logged_at: When it ended, by the warehouse's clock, in UTC.
    """

    run_id: str
    sync: str
    unique_id: str
    object: str
    status: str
    message: str | None
    planned: Planned
    delivered: int
    missing: int
    rejected: int
    requests: int
    retries: int
    bytes: int
    duration: float
    logged_at: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why rows of a run were not delivered: their status, the ledger's detail, how many, and one of their keys."""

    status: str
    detail: str | None
    rows: int
    example: str | None


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row of a run that was not delivered, and in which of its attempts that was."""

    key: str | None
    status: str
    detail: str | None
    attempts: int | None


@dataclass(frozen=True, slots=True)
class LatestSync:
    """The last that the run log has of a sync.

    Attributes:
        last: Its last run.
        completed_at: When it last went through to its end, by the warehouse's clock, in UTC; None for never.
    """

    last: LoggedSync
    completed_at: str | None


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A row that was not delivered when a run last tried it; ``logged_at`` is by the warehouse's clock, in UTC.

    A row without a key has no entry in a ledger, so it is none of these.
    """

    key: str
    status: str
    detail: str | None
    attempts: int | None
    run_id: str
    logged_at: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the ledger about a known key; ``logged_at`` is by the warehouse's clock, in UTC.

    Attributes:
        destination: What the row was delivered as; None when an earlier version has not noted it.
    """

    status: str
    detail: str | None
    attempts: int | None
    run_id: str
    logged_at: str
    destination: str | None


class History:
    """Reads the bookkeeping; knows neither manifest nor mapping.

    Args:
        session: The warehouse.
        schema: The schema of the bookkeeping.

    Raises:
        WarehouseError: In every method, if the warehouse refuses it.
    """

    def __init__(self, session: Session, schema: str) -> None:
        self._session = session
        self._schema = schema

    def runs(self, limit: int, run: str | None = None) -> list[LoggedSync]:
        """Returns the syncs of the latest runs, the latest run first.

        Args:
            limit: How many runs.
            run: Only runs whose id is this, or begins or ends so.
        """
        if not self._session.exists(self._schema, RUNS_TABLE):
            return []
        runs = self._session.relation(self._schema, RUNS_TABLE)
        rows = self._session.rows(self._session.sql("pendo_read_runs", runs=runs, run_limit=limit, run=run))
        return [_logged_sync(row) for row in rows]

    def recent(self, syncs: Sequence[str], but: str, limit: int) -> dict[str, list[LoggedSync]]:
        """Returns of each sync its latest runs that were neither skipped nor interrupted, the latest first.

        Args:
            syncs: Names of syncs.
            but: The id of a run that is left out.
            limit: How many runs of each sync.
        """
        found: dict[str, list[LoggedSync]] = {sync: [] for sync in syncs}
        if not syncs or not self._session.exists(self._schema, RUNS_TABLE):
            return found
        runs = self._session.relation(self._schema, RUNS_TABLE)
        sql = self._session.sql("pendo_read_recent_runs", runs=runs, syncs=list(syncs), but=but, row_limit=limit)
        for logged in map(_logged_sync, self._session.rows(sql)):
            found[logged.sync].append(logged)
        return found

    def latest_syncs(self) -> list[LatestSync]:
        """Returns the last that the run log has of each sync."""
        if not self._session.exists(self._schema, RUNS_TABLE):
            return []
        runs = self._session.relation(self._schema, RUNS_TABLE)
        found: dict[str, list[LoggedSync]] = {}
        for row in self._session.rows(self._session.sql("pendo_latest_syncs", runs=runs)):
            found.setdefault((logged := _logged_sync(row)).sync, []).append(logged)
        return [
            LatestSync(rows[0], next((row.logged_at for row in rows if row.status in COMPLETE), None))
            for rows in found.values()
        ]

    def reasons(self, sync: str, run_id: str) -> list[Reason]:
        """Returns why rows of a run were not delivered, the most frequent reason first."""
        return [
            Reason(str(status), detail, int(rows), example)
            for status, detail, rows, example in self._ledger_rows(
                "pendo_reasons", sync, run_id=run_id, row_limit=REASONS_READ
            )
        ]

    def failed_rows(self, sync: str, run_id: str, statuses: Sequence[str], limit: int | None) -> list[FailedRow]:
        """Returns the rows of a run that ended in one of some statuses."""
        found = self._ledger_rows("pendo_failed_rows", sync, run_id=run_id, statuses=list(statuses), row_limit=limit)
        return [FailedRow(*row) for row in found]

    def open_rows(self, sync: str, statuses: Sequence[str], limit: int) -> list[OpenRow]:
        """Returns the rows whose last entry in the ledger has one of some statuses, by status and key."""
        found = self._ledger_rows("pendo_open_rows", sync, statuses=list(statuses), row_limit=limit)
        return [
            OpenRow(key, status, detail, attempts, str(run_id), _moment(at))
            for key, status, detail, attempts, run_id, at in found
        ]

    def entries(self, sync: str, key: str) -> list[Entry]:
        """Returns what the ledger has of a key, the latest first."""
        found = self._ledger_rows("pendo_key_history", sync, record_key=key, row_limit=ENTRIES_READ)
        return [
            Entry(status, detail, attempts, str(run_id), _moment(at), destination or None)
            for status, detail, attempts, run_id, at, destination in found
        ]

    def model_rows(self, source: ModelTable, key: str) -> list[Row]:
        """Returns the model's rows of a key: its columns in the order of ``SyncSpec.columns``; two at most."""

        def read(_: Span, columns: Sequence[Wanted]) -> list[Row]:
            rows = self._session.query(
                "pendo_model_rows", model=source.relation, key=source.keys, columns=columns, record_key=key
            )
            # What tells the two apart is their order.
            return [(row[0], f"row {at}", *row[1:]) for at, row in enumerate(rows)]

        wanted = [Wanted(column.name, column.dtype) for column in source.columns]
        return [row[2:] for row in read_span(read, EVERYTHING, wanted)]

    def _ledger_rows(self, macro: str, sync: str, **arguments: Any) -> list[Row]:
        ledger = LedgerTable(self._session, self._schema, sync).entries(NOT_NOTED)
        return [] if ledger is None else self._session.query(macro, ledger=ledger, **arguments)


def _logged_sync(row: Row) -> LoggedSync:
    run_id, sync, unique_id, object_, status, message, *counts, duration, logged_at = row
    numbers = [int(count or 0) for count in counts]
    delivered, missing, rejected, requests, retries, sent_bytes = numbers[6:]
    return LoggedSync(
        run_id=str(run_id),
        sync=str(sync),
        unique_id=str(unique_id),
        object=str(object_),
        status=str(status),
        message=message,
        planned=Planned(*numbers[:6]),
        delivered=delivered,
        missing=missing,
        rejected=rejected,
        requests=requests,
        retries=retries,
        bytes=sent_bytes,
        duration=float(duration or 0.0),
        logged_at=_moment(logged_at),
    )


def _moment(value: Any) -> str:
    """Returns a timestamp in UTC as ISO 8601, whatever the driver made of it."""
    text = value.isoformat(timespec="milliseconds") if hasattr(value, "isoformat") else str(value)
    return f"{text.replace('+00:00', '').replace(' ', 'T').rstrip('Z')}Z"
