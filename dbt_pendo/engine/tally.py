"""The numbers of a sync, and what there is to say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from dbt_pendo.outcome import QUEUED_DELETION, Outcome, Position
from dbt_pendo.warehouse.pages import Planned

REASONS_SHOWN = 3
# Pendo's messages may name the row, and then there are as many as rejected rows.
REASONS_KEPT = 1_000


class Tally:
    """Counts what became of a sync's rows, and why.

    Attributes:
        planned: Rows by kind; a row found invalid while it was rendered moves over to the invalid ones.
    """

    def __init__(self) -> None:
        self.planned = Planned()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}

    @property
    def delivered(self) -> int:
        """Rows that Pendo took, or that needed no request."""
        return self._counts["delivered"]

    @property
    def missing(self) -> int:
        """Rows whose id Pendo does not know."""
        return self._counts["missing"]

    @property
    def rejected(self) -> int:
        """Rows that Pendo refused."""
        return self._counts["rejected"]

    def count(self, rows: int, others: Mapping[Position, Outcome], named: Iterable[tuple[Position, str, str]]) -> None:
        """Adds the rows of a page.

        Args:
            rows: How many there are.
            others: The outcomes of those that were not merely delivered.
            named: Of each row its position, its change and its key; looked at only if there are others.
        """
        moved: Counter[str] = Counter()
        self._counts["delivered"] += rows - len(others)
        for position, change, key in named if others else ():
            if (outcome := others.get(position)) is not None:
                self._counts[outcome.status] += 1
                if outcome.status == "invalid":
                    moved[change] += 1
                if outcome.detail is not None:
                    self.note(outcome.status, outcome.detail, key, 1)
        self.planned = replace(
            self.planned,
            added=self.planned.added - moved["added"],
            changed=self.planned.changed - moved["changed"],
            removed=self.planned.removed - moved["removed"],
            invalid=self.planned.invalid + moved.total(),
        )

    def note(self, status: str, reason: str, key: str | None, rows: int) -> None:
        """Notes why some rows have their status, with the key of one."""
        if (status, reason) not in self._reasons and len(self._reasons) >= REASONS_KEPT:
            reason = "other reasons"
        self._reasons[status, reason] += rows
        self._examples.setdefault((status, reason), "" if key is None else key)

    def notes(self) -> list[str]:
        """Says of each kind of failure how often and why, with a key to look up; and which deletions are queued."""
        notes = []
        for status in ("rejected", "invalid", "missing"):
            of_status = self._reasons_of(status)
            shown = [
                f"{reason} ({rows:,}, e.g. {example})"
                if (example := self._examples[status, reason])
                else f"{reason} ({rows:,})"
                for reason, rows in of_status.most_common(REASONS_SHOWN)
            ]
            if shown:
                more = len(of_status) - len(shown)
                notes.append(
                    f"{of_status.total():,} {status}: " + ", ".join(shown) + (f", {more} more reasons" if more else "")
                )
        if queued := self._reasons_of("delivered"):
            jobs = ", ".join(reason.removeprefix(QUEUED_DELETION) for reason in list(queued)[:REASONS_SHOWN])
            notes.append(f"{queued.total():,} deletions are queued in Pendo, for up to 21 days (jobs: {jobs})")
        return notes

    def _reasons_of(self, status: str) -> Counter[str]:
        return Counter({reason: rows for (kind, reason), rows in self._reasons.items() if kind == status})
