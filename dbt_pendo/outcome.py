"""What can happen to a row: the word that every room shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

# Where a row stands in its change set: its bucket and its seq there.
Position: TypeAlias = tuple[str, int]
Status: TypeAlias = Literal["delivered", "missing", "rejected", "invalid", "unsent"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to a row.

    Attributes:
        status: ``delivered``; ``missing``, Pendo does not know the id; ``rejected`` by Pendo; or ``invalid``,
            never sent; or ``unsent``, when the sync ended before its turn. An unsent row leaves no trace in the
            ledger, so it comes again.
        detail: Why, in Pendo's words or ours; None for unsent rows, and for delivered ones unless a deletion is queued.
    """

    status: Status
    detail: str | None = None


# The detail of a removed row whose deletion Pendo had not carried out yet; the id of Pendo's job follows.
QUEUED_DELETION = "queued in Pendo as deletion "

DELIVERED = Outcome("delivered")
UNSENT = Outcome("unsent")
