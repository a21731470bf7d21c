"""What a sync's tables are called, and its columns in the change set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from dbt_pendo.warehouse.session import TableColumn

# PostgreSQL cuts identifiers after 63 bytes; `__changes` must survive.
LONGEST_NAME = 50
# Names of the change set's own columns and of those the plan works with, which a mapped column makes way for.
OWN_COLUMNS = frozenset(
    [
        *("bucket", "seq", "change", "record_key", "row_hash", "detail", "invalid_hash", "attempts", "run_id"),
        *("present", "copies", "delivered_hash", "settled_number", "failed_number", "failed_at", "failed_status"),
        "next_change",
    ]
)


def table_name(sync: str, suffix: str) -> str:
    """Returns the name of a sync's table: ``pendo_visitors__ledger``, ``users__custom__ledger``.

    A name too long for the warehouse is cut and told apart by its hash.
    """
    name = sync.replace(".", "__")
    if len(name.encode()) > LONGEST_NAME:
        digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]
        name = f"{name.encode()[: LONGEST_NAME - 9].decode(errors='ignore')}_{digest}"
    return f"{name}__{suffix}"


def aliases_of(columns: Sequence[TableColumn]) -> tuple[str, ...]:
    """Returns the columns' names in the change set: their own, unless one of ours has that name."""
    taken = {column.name.lower() for column in columns} | OWN_COLUMNS
    aliases = []
    for column in columns:
        alias = column.name
        if alias.lower() in OWN_COLUMNS:
            while alias.lower() in taken:
                alias += "_"
            taken.add(alias.lower())
        aliases.append(alias)
    return tuple(aliases)
