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
        detail: Why, in Pendo's words or ours; None for delivered and unsent rows.
    """

    status: Status
    detail: str | None = None


DELIVERED = Outcome("delivered")
UNSENT = Outcome("unsent")
