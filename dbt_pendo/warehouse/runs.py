"""The run log, and what ledgers say of past runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from dbt_pendo.warehouse.ledger import LedgerTable
from dbt_pendo.warehouse.names import table_name
from dbt_pendo.warehouse.pages import Planned, Row, Span, Wanted, read_span
from dbt_pendo.warehouse.plan import EVERYTHING, ModelTable
from dbt_pendo.warehouse.session import ConnectionLostError, Session, WarehouseError

RUNS_TABLE = "pendo_runs"
# Columns that the table lacks where an earlier version has made it.
ADDED_RUN_COLUMNS = ("target", "pendo_host", "deleted", "cleared")


# A longer union may be too complex for a warehouse.
ROWS_LOGGED_AT_ONCE = 50


def log_runs(
    session: Session, schema: str, rows: Sequence[Mapping[str, Any]], tables: Collection[str] | None = None
) -> None:
    """Appends rows: a value for each column of the macro ``pendo_run_columns``. Creates the table if needed.

    Args:
        session: The warehouse.
        schema: The schema of our tables.
        rows: The rows.
        tables: The names of its tables not long ago; None if they are not known.
    """
    runs = session.relation(schema, RUNS_TABLE)
    if tables is not None and session.folded(RUNS_TABLE) not in tables:
        session.ensure_schema(schema)
        session.make("pendo_create_runs", runs=runs)
    for entry in session.sql_of_rows("pendo_log_runs", list(map(dict, rows)), ROWS_LOGGED_AT_ONCE, runs=runs):
        try:
            session.run(entry)
        except WarehouseError:
            session.ensure_schema(schema)
            session.make("pendo_create_runs", runs=runs)
            for column in ADDED_RUN_COLUMNS if not session.has_columns(schema, RUNS_TABLE, ADDED_RUN_COLUMNS) else ():
                session.make("pendo_add_run_column", runs=runs, name=column)
            session.run(entry)


# Pendo's messages may name the row, and then there are as many as rejected rows.
REASONS_READ = 10_000
ENTRIES_READ = 100
# The destination of entries that an earlier version made, and that no sync has carried on yet.
NOT_NOTED = ""
NO_REASON = "no reason given"
# Statuses of a sync that came to its end, even if rows were rejected.
COMPLETE = frozenset({"success", "warn", "partial"})
# Columns of numbers beside those of what was planned; null where an earlier version has not noted them.
_COUNTS = ("delivered", "missing", "rejected", "requests", "retries", "bytes", "deleted", "cleared")


@dataclass(frozen=True, slots=True)
class LoggedSync:
    """One sync of a past run, as the run log has it, in the order of its columns; see ``SyncResult`` for its words."""

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
    # dbt's target and the URL of Pendo; None where an earlier version has not noted them.
    target: str | None
    pendo_host: str | None
    # Of the delivered rows, those that were deleted in Pendo, or whose fields were cleared there.
    deleted: int
    cleared: int
    # When it ended, by the warehouse's clock, in UTC.
    logged_at: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why rows of a run were not delivered: their status, the ledger's words, how many, and some of their keys."""

    status: str
    message: str
    rows: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LatestSync:
    """The last that the run log has of a sync."""

    last: LoggedSync
    # When it last came to its end, by the warehouse's clock, in UTC; None for never.
    completed_at: str | None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """An entry of a ledger; ``logged_at`` is by the warehouse's clock, in UTC. The ledger has no row without a key."""

    key: str
    status: str
    detail: str | None
    attempts: int | None
    run_id: str
    logged_at: str
    # What the row was delivered as; None when an earlier version has not noted it.
    destination: str | None


class History:
    """Reads the run log and the ledgers; knows neither manifest nor mapping."""

    def __init__(self, session: Session, schema: str) -> None:
        self._session = session
        self._schema = schema

    def runs(self, limit: int, run: str | None = None) -> list[LoggedSync]:
        """Returns the syncs of the latest runs, the latest run first.

        Args:
            limit: How many runs.
            run: Only runs whose id is this, or begins or ends so.
        """
        return self._logged("pendo_read_runs", run_limit=limit, run=run)

    def recent(self, syncs: Sequence[str], but: str, limit: int) -> dict[str, list[LoggedSync]]:
        """Returns of each sync its latest runs that were neither skipped nor interrupted, the latest first.

        Args:
            syncs: Names of syncs.
            but: The id of a run that is left out.
            limit: How many runs of each sync.
        """
        found: dict[str, list[LoggedSync]] = {sync: [] for sync in syncs}
        if syncs:
            for logged in self._logged("pendo_read_recent_runs", syncs=list(syncs), but=but, row_limit=limit):
                found[logged.sync].append(logged)
        return found

    def latest_syncs(self) -> list[LatestSync]:
        """Returns the last that the run log has of each sync."""
        found: dict[str, list[LoggedSync]] = {}
        for logged in self._logged("pendo_latest_syncs"):
            found.setdefault(logged.sync, []).append(logged)
        return [
            LatestSync(rows[0], next((row.logged_at for row in rows if row.status in COMPLETE), None))
            for rows in found.values()
        ]

    def reasons(self, sync: str, run_id: str) -> list[Reason]:
        """Returns why rows of a run were not delivered, the most frequent reason first."""
        if (ledger := self._ledger(sync)) is None:
            return []
        rows = self._session.table("pendo_reasons", ledger=ledger, run_id=run_id, row_limit=REASONS_READ)
        return [
            Reason(row["status"], row["detail"] or NO_REASON, int(row["row_count"]), (row["example"],)) for row in rows
        ]

    def failed_rows(self, sync: str, run_id: str, limit: int | None) -> list[LedgerEntry]:
        """Returns the rows of a run that were not delivered: rejected ones, then missing ones, then invalid ones.

        Of an earlier run than the last it returns only those invalid rows that no run before it has logged.
        """
        changes = None
        if self._session.exists(self._schema, name := table_name(sync, "changes")):
            relation = self._session.relation(self._schema, name)
            written = self._session.table("pendo_change_set_run", changes=relation)
            changes = relation if any(row["run_id"] == run_id for row in written) else None
        return self._entries("pendo_failed_rows", sync, run_id=run_id, row_limit=limit, changes=changes)

    def open_rows(self, sync: str, statuses: Sequence[str], limit: int) -> list[LedgerEntry]:
        """Returns the rows whose last entry in the ledger has one of some statuses, by status and key."""
        return self._entries("pendo_open_rows", sync, statuses=list(statuses), row_limit=limit)

    def entries(self, sync: str, key: str) -> list[LedgerEntry]:
        """Returns what the ledger has of a key, the latest first."""
        return self._entries("pendo_key_history", sync, record_key=key, row_limit=ENTRIES_READ)

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

    def _logged(self, macro: str, **arguments: Any) -> list[LoggedSync]:
        session, schema = self._session, self._schema
        runs = session.relation(schema, RUNS_TABLE)
        try:
            rows = session.table(macro, runs=runs, **arguments)
        except ConnectionLostError:
            raise
        except WarehouseError:
            if not session.exists(schema, RUNS_TABLE):
                return []
            if session.has_columns(schema, RUNS_TABLE, ADDED_RUN_COLUMNS):
                raise
            runs = session.sql("pendo_older_runs", runs=runs, lacking=ADDED_RUN_COLUMNS)
            rows = session.table(macro, runs=runs, **arguments)
        found = []
        for row in rows:
            planned = Planned(**{field.name: int(row.pop(field.name) or 0) for field in fields(Planned)})
            row |= {name: int(row[name] or 0) for name in _COUNTS}
            row |= {"duration": float(row["duration"] or 0), "logged_at": _moment(row["logged_at"])}
            found.append(LoggedSync(planned=planned, **row))
        return found

    def _entries(self, macro: str, sync: str, **arguments: Any) -> list[LedgerEntry]:
        # As the driver's own tuples: of a run that failed these may be all rows of a model.
        found = self._session.query(macro, ledger=ledger, **arguments) if (ledger := self._ledger(sync)) else []
        return [LedgerEntry(*(*row, _moment(at) if at else "", destination or None)) for *row, at, destination in found]

    def _ledger(self, sync: str) -> str | None:
        return LedgerTable(self._session, self._schema, sync).entries(NOT_NOTED)


def _moment(value: Any) -> str:
    """Returns a timestamp in UTC as ISO 8601, from any form a driver gives it."""
    text = value.isoformat(timespec="milliseconds") if hasattr(value, "isoformat") else str(value)
    return f"{text.replace('+00:00', '').replace(' ', 'T').rstrip('Z')}Z"
