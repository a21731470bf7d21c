"""What to select a ledger's entries from: also one that an earlier version made, and that lacks columns."""

from __future__ import annotations

from collections.abc import Sequence

from dbt_pendo.warehouse.session import Session

# Columns that ledgers of earlier versions lack.
ADDED_COLUMNS = ("destination", "commit_number")


class Commits:
    """Numbers the statements that write into a ledger; the sync's lock keeps others from counting at the same time.

    Attributes:
        entries: What the ledger's entries are selected from; None until ``read``.
        earlier: The number of the last commit before this run.
        destination: What the last commit before this run delivered its rows as; None when there was none.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last = self.earlier = 0
        self.entries: str | None = None
        self.destination: str | None = None

    def read(self, entries: str) -> None:
        """Learns where the commits of a ledger end.

        Raises:
            WarehouseError: If the ledger is not there, or lacks a column.
        """
        rows = self._session.rows(self._session.sql("pendo_last_commits", ledger=entries))
        self._last, self.destination = (int(rows[0][1]), rows[0][0]) if rows else (0, None)
        self.earlier = self._last
        self.entries = entries

    def next(self) -> int:
        """Returns a number larger than that of each commit before."""
        self._last += 1
        return self._last


def ledger_entries(session: Session, schema: str, identifier: str, destination: str) -> str | None:
    """Returns the relation or subquery that has all columns of a ledger; None when there is no such ledger.

    Args:
        session: The warehouse.
        schema: The schema of the bookkeeping.
        identifier: The ledger.
        destination: What the rows of a ledger that does not say so were delivered as.
    """
    if session.has_columns(schema, identifier, ADDED_COLUMNS):
        return session.relation(schema, identifier)
    return carried_entries(session, schema, identifier, destination)


def carried_entries(session: Session, schema: str, identifier: str, destination: str) -> str | None:
    """Returns a subquery that gives a ledger the columns it lacks; None when it lacks none, or there is no ledger."""
    lacking = _lacking(session, schema, identifier)
    if not lacking:
        return None
    return session.sql(
        "pendo_carried_entries", ledger=session.relation(schema, identifier), lacking=lacking, destination=destination
    )


def _lacking(session: Session, schema: str, identifier: str) -> Sequence[str]:
    # Whatever runs elsewhere have done since we last looked.
    if identifier.lower() not in session.tables(schema):
        return ()
    found = {column.name.lower() for column in session.columns(None, schema, identifier) or ()}
    return [name for name in ADDED_COLUMNS if name not in found]
