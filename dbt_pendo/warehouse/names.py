"""Names in the warehouse: columns, tables of a sync, and the columns of a change set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

# PostgreSQL cuts identifiers after 63 bytes; `__changes` must survive.
LONGEST_NAME = 50
# Names of the change set's own columns and of those the plan works with, which a mapped column makes way for.
OWN_COLUMNS = frozenset(
    [
        *("bucket", "seq", "change", "record_key", "row_hash", "detail", "invalid_hash", "attempts", "run_id"),
        *("present", "copies", "delivered_hash", "settled_number", "failed_number", "failed_at", "failed_status"),
        *("next_change", "place", "meeting_key"),
    ]
)


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column as the warehouse knows it: its exact name, and its type in the warehouse's words."""

    name: str
    dtype: str

    @property
    def is_moment(self) -> bool:
        """Whether it holds dates or timestamps."""
        return re.match(r"(date|date32|datetime|datetime64|timestamp\w*)\b", self.dtype.strip().lower()) is not None


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
