"""Finds and drops the tables of syncs that are no more (`prune`)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from dbt_pendo.warehouse.ledger import DRAFT, OLD
from dbt_pendo.warehouse.names import table_name
from dbt_pendo.warehouse.session import Session

# How the tables of a sync end; `lock_…` is a lock that was taken from a dead run.
_TABLE = re.compile(rf"(.+)__(?:ledger|{DRAFT.pattern}|{OLD.pattern}|changes|drift|lock(?:_(?:[0-9a-f]{{2}}){{3,4}})?)")


def find_left(session: Session, schema: str, syncs: Iterable[str]) -> dict[str, list[str]]:
    """Returns the tables of syncs that are not among ``syncs``, by the sync as its tables name it."""
    known = {session.folded(table_name(sync, "")) for sync in syncs}
    left: dict[str, list[str]] = {}
    for table in sorted(session.tables(schema)):
        if (found := _TABLE.fullmatch(table)) and f"{found[1]}__" not in known:
            left.setdefault(found[1], []).append(table)
    return left


def drop_left(session: Session, schema: str, tables: Collection[str]) -> None:
    """Drops the tables of a sync, its ledger last: without it, what is left says that something is left."""
    for table in sorted(tables, key=lambda name: name.endswith("__ledger")):
        session.drop(schema, table)
