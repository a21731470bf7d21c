"""Finds and drops the tables of syncs that are no more, and the notes about them (`prune`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from dbt_pendo.warehouse.ledger import DRAFT, OLD
from dbt_pendo.warehouse.names import table_name
from dbt_pendo.warehouse.notes import note_subscription, read_subscriptions, subscription_names
from dbt_pendo.warehouse.session import Session

# How the tables of a sync end; `lock_…` is a lock that was taken from a dead run.
_TABLE = re.compile(
    rf"(.+)__(?:ledger|{DRAFT.pattern}|{OLD.pattern}|changes|compared|drift|lock(?:_(?:[0-9a-f]{{2}}){{3,4}})?)"
)


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a sync: its tables, and the names under which its Pendo is noted."""

    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_left(session: Session, schema: str, syncs: Iterable[str]) -> dict[str, Left]:
    """Returns what is left of syncs that are not among ``syncs``, by the sync as its tables name it."""
    known = {session.folded(table_name(sync, "")) for sync in syncs}
    left: dict[str, Left] = {}
    tables = session.tables(schema)
    for table in sorted(tables):
        if (found := _TABLE.fullmatch(table)) and f"{found[1]}__" not in known:
            left.setdefault(found[1], Left()).tables.append(table)
    events = subscription_names("")[1]
    for name, subscription in sorted(read_subscriptions(session, schema, tables).items()):
        start = session.folded(table_name(name.removesuffix(events), ""))
        # A note of nobody says that it was forgotten.
        if subscription is not None and start not in known:
            left.setdefault(start.removesuffix("__"), Left()).notes.append(name)
    return left


def drop_left(session: Session, schema: str, left: Left) -> None:
    """Drops what is left of a sync, its ledger after the other tables: without it, they say that something is left."""
    for table in sorted(left.tables, key=lambda name: name.endswith("__ledger")):
        session.drop(schema, table)
    for name in left.notes:
        note_subscription(session, schema, name, None)
