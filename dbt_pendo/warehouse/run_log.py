"""The run log ``pendo_runs``: one row a sync and run, for people who query the warehouse."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

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
