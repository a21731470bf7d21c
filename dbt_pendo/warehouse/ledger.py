"""One sync's change set and ledger: commits outcomes, adopts rows, compacts the ledger."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from dbt_pendo.mapping.event_limits import OLDEST_SECONDS
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.outcomes import DELIVERED, QUEUED_DELETION, Outcome, Position
from dbt_pendo.warehouse.ledger_table import LedgerKeptError, LedgerTable
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.pages import Span
from dbt_pendo.warehouse.plan import ChangeSet, ModelTable
from dbt_pendo.warehouse.segments import SegmentNotes
from dbt_pendo.warehouse.session import Session, WarehouseError

# An exception costs about 150 bytes of SQL, and its detail, each byte of which may have to be escaped. The shortest
# statement limit known is 1 MiB (Snowflake, BigQuery).
EXCEPTIONS_PER_STATEMENT = 1_000
DETAIL_BYTES_PER_STATEMENT = 400_000
DETAIL_LENGTH = 500


class SyncTables(ChangeSet):
    """The change set and the ledger of one sync; what writes into the ledger takes the lock and ``prepare`` first."""

    def __init__(self, session: Session, schema: str, spec: SyncSpec, source: ModelTable) -> None:
        super().__init__(session, schema, spec, source, SyncLock(session, schema, spec.name), "changes")
        self._table = LedgerTable(session, schema, spec.name)
        # The numbers of the last commit, and of the last one before this run; what that one delivered its rows as.
        self._last_commit: int | None = None
        self._earlier_commit = 0
        self._earlier_destination: str | None = None

    @property
    def ledger(self) -> str:
        """The ledger's relation, for people who want to query it."""
        return self._table.relation

    @cached_property
    def _entries(self) -> str | None:
        # A dead run may have left the ledger under another name, an earlier version without some columns.
        return self._table.entries(self._spec.destination)

    @property
    def address(self) -> str:
        """What tells this ledger from that of the same sync in another warehouse, database or schema."""
        return f"{self._session.server} {self.ledger}"

    def ensure_schema(self) -> None:
        """Creates the schema of the bookkeeping on a first run."""
        self._session.ensure_schema(self._schema)

    def prepare(self) -> None:
        """Creates the ledger on a first run, undoes what a dead run left half done, and adds columns that lack."""
        self._table.ensure()
        try:
            self._read_commits(self.ledger)
        except WarehouseError:
            entries = self._table.entries(self._spec.destination)
            if entries is None or entries == self.ledger:
                raise
            self._carry_on(entries)
            self._read_commits(self.ledger)

    def earlier_destination(self) -> str | None:
        """Returns what the ledger's last rows were delivered as, if the sync delivers to something else now."""
        if self._last_commit is None and self._entries is not None:
            self._read_commits(self._entries)
        return None if self._earlier_destination == self._spec.destination else self._earlier_destination

    def commit(
        self,
        run_id: str,
        span: Span,
        positions: Sequence[Position],
        outcomes: Mapping[Position, Outcome],
        destination: str | None = None,
    ) -> None:
        """Writes what happened to the rows of a span into the ledger, and logs the span's invalid rows.

        Args:
            run_id: The run.
            span: The page.
            positions: The rows of the page that were to be sent.
            outcomes: The outcome of each row; a row that is not there was delivered.
            destination: What the rows were delivered as; None for what the sync delivers to now.
        """
        usual = _most_common(positions, outcomes)
        if usual is DELIVERED:
            exceptions = list(outcomes.items())
        else:
            exceptions = [
                (position, outcome) for position in positions if (outcome := outcomes.get(position, DELIVERED)) != usual
            ]
        for part, named in _statements(span, exceptions):
            self._session.execute(
                "pendo_commit",
                ledger=self.ledger,
                changes=self.changes,
                status=usual.status,
                detail=_shortened(usual.detail),
                exceptions=[
                    {"bucket": bucket, "seq": seq, "status": outcome.status, "detail": _shortened(outcome.detail)}
                    for (bucket, seq), outcome in named
                ],
                span=part,
                **self._commit_values(run_id, destination),
            )

    def forget(self) -> None:
        """Drops the ledger, its change set, and what a dead run left; a segment's members are in doubt then."""
        self.lock.confirm()
        if self._spec.segment is not None:
            self.segment_notes().claim()
        self.drop_changes()
        self._table.drop()

    def adopt(self, run_id: str, drift: str | None = None) -> None:
        """Begins the ledger anew, with the rows of the change set as delivered without sending them.

        What was delivered to other destinations stays: the mapping may be set back.

        Args:
            run_id: The run.
            drift: The relation of a ``DriftTable``: rows that Pendo has otherwise; None takes all for equal.
        """
        adopted = {"changes": self.changes, "drift": drift, **self._commit_values(run_id)}
        others = self._session.sql("pendo_other_entries", ledger=self.ledger, destination=self._spec.destination)
        self._refill([("pendo_adopt", adopted), ("pendo_carry_on", {"entries": others})])

    def queued_deletions(self) -> dict[str, int]:
        """Returns the rows of each of Pendo's deletions that is not known to have ended, by the id of its job."""
        rows = self._session.query(
            "pendo_queued_deletions", ledger=self.ledger, queued=QUEUED_DELETION, destination=self._spec.destination
        )
        return {str(detail).removeprefix(QUEUED_DELETION): int(count) for detail, count in rows}

    def end_deletion(self, run_id: str, job: str, detail: str, is_undone: bool) -> None:
        """Notes how a deletion ended.

        Args:
            run_id: The run.
            job: Pendo's id of the deletion.
            detail: How it ended, in words.
            is_undone: Whether its rows are still in Pendo, and have to be removed again.
        """
        self._session.execute(
            "pendo_end_deletion",
            ledger=self.ledger,
            queued=QUEUED_DELETION,
            job=job,
            detail=_shortened(detail),
            is_undone=is_undone,
            **self._commit_values(run_id),
        )

    def compact(self, keys: int) -> None:
        """Rewrites the ledger without its dead rows, when they are more than the living.

        Args:
            keys: About how many keys the sync knows; a ledger shorter than twice that is left alone.
        """
        entries = self._session.count(self.ledger)
        if entries <= 2 * keys + EXCEPTIONS_PER_STATEMENT:
            return
        if self._spec.max_age is None:
            # Those who left the model are known as well: no copy is made to learn that next to nothing is dead.
            ((known,),) = self._session.query("pendo_count_known", ledger=self.ledger)
            if entries <= 2 * known:
                return

        def compacted(draft: str) -> bool:
            self._session.execute("pendo_compact_ledger", compacted=draft, ledger=self.ledger, **self._forgetting())
            return entries > 2 * self._session.count(draft)

        # A view of somebody's may read it, on PostgreSQL say: better a long ledger than no view, or no sync.
        with contextlib.suppress(LedgerKeptError):
            self._table.replace(compacted, self.lock)

    def segment_notes(self) -> SegmentNotes:
        """Returns what runs have noted of the segment that the sync fills."""
        if self._spec.segment is None:
            raise ValueError(f"{self._spec.name} fills no segment")
        return SegmentNotes(self._session, self._schema, self._spec.name, self._spec.segment)

    def _forgetting(self) -> dict[str, Any]:
        """Returns what a compaction has to know to drop keys that no plan will read again."""
        if self._spec.max_age is None:
            return {}
        # Not before Pendo would drop the event itself: a `max_age` raised from an hour to a day must send none twice.
        seconds = max(self._spec.max_age, OLDEST_SECONDS)
        return {
            "recent": self._recent(seconds),
            "key": self._source.keys,
            "max_age": seconds,
            "destination": self._spec.destination,
            "earlier": self._earlier_commit,
        }

    def _read_commits(self, entries: str) -> None:
        """Learns where the ledger's commits end.

        Raises:
            WarehouseError: If the ledger is not there, or lacks a column.
        """
        rows = self._session.query("pendo_last_commits", ledger=entries)
        self._earlier_destination, self._earlier_commit = (rows[0][0], int(rows[0][1])) if rows else (None, 0)
        self._last_commit = self._earlier_commit

    def _commit_values(self, run_id: str, destination: str | None = None) -> dict[str, Any]:
        """Returns what all entries of the next commit have in common; the lock keeps others from counting meanwhile."""
        self._last_commit = (self._last_commit or 0) + 1
        destination = destination or self._spec.destination
        return {"run_id": run_id, "destination": destination, "commit_number": self._last_commit}

    def _carry_on(self, entries: str) -> None:
        """Rewrites a ledger of an earlier version with the columns that it lacks."""
        try:
            self._refill([("pendo_carry_on", {"entries": entries})])
        except LedgerKeptError as error:
            raise WarehouseError(
                f"{self.ledger} is of an earlier version of dbt-pendo and has to be written anew: {error.message}",
                "Drop the view that reads it, and run again. Nothing was sent.",
            ) from None

    def _refill(self, fills: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Replaces the ledger by a new one that some macros fill."""

        def filled(draft: str) -> bool:
            self._session.execute("pendo_create_ledger", ledger=draft)
            for macro, arguments in fills:
                self._session.execute(macro, ledger=draft, **arguments)
            return True

        self._table.replace(filled, self.lock)


def _most_common(positions: Sequence[Position], outcomes: Mapping[Position, Outcome]) -> Outcome:
    """Returns the outcome most rows of a page share, which the commit then need not list."""
    if 2 * len(outcomes) <= len(positions):
        return DELIVERED
    counts = Counter(outcomes.get(position, DELIVERED) for position in positions)
    return counts.most_common(1)[0][0] if counts else DELIVERED


def _statements(
    span: Span, exceptions: Sequence[tuple[Position, Outcome]]
) -> Iterator[tuple[Span, Sequence[tuple[Position, Outcome]]]]:
    """Cuts a span so that no statement names more exceptions than fit; each part is committed on its own."""
    start = span
    named: list[tuple[Position, Outcome]] = []
    size = 0
    for position, outcome in sorted(exceptions, key=lambda exception: exception[0]):
        length = len((_shortened(outcome.detail) or "").encode())
        if len(named) == EXCEPTIONS_PER_STATEMENT or size + length > DETAIL_BYTES_PER_STATEMENT:
            bucket, seq = named[-1][0]
            yield replace(start, last=bucket, last_seq=seq), named
            start = replace(start, first=bucket, first_seq=seq + 1)
            named, size = [], 0
        named.append((position, outcome))
        size += length
    yield start, named


def _shortened(detail: str | None) -> str | None:
    return detail if detail is None else detail.replace("\0", "")[:DETAIL_LENGTH]
