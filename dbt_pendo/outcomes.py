"""What can happen to a row: the word that every room shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from dbt_pendo.wording import shortened

# Where a row stands in its change set: its bucket and its seq there.
Position: TypeAlias = tuple[str, int]
Status: TypeAlias = Literal["delivered", "missing", "rejected", "invalid", "unsent"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to a row.

    It was ``delivered``; or is ``missing`` (Pendo does not know the id), ``rejected`` by Pendo, ``invalid`` (never
    sent), or ``unsent`` (the sync ended before its turn; it leaves no trace in the ledger, so it comes again).
    """

    status: Status
    detail: str | None = None  # why, in Pendo's words or ours; of delivered rows only that a deletion is queued


# The detail of a removed row whose deletion Pendo had not carried out yet; the id of Pendo's job follows.
QUEUED_DELETION = "queued in Pendo as deletion "
# In place of that id, where Pendo said that a deletion waits, and not as which job.
UNKNOWN_JOB = "unknown"

# The only key of what replaces a value that cannot be read, such as a day before the year 1; its value says why.
UNREADABLE = "unreadable"

DELIVERED = Outcome("delivered")
UNSENT = Outcome("unsent")


def unreadable(text: str, what: str) -> dict[str, str]:
    """Returns what stands for a value that cannot be read: its text in the warehouse, and what is wrong with it."""
    return {UNREADABLE: f"{shortened(text, mark='...')} {what}"}
