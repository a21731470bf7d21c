"""The tables of one sync: commits outcomes into its ledger, adopts rows, and keeps it short."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from operator import itemgetter
from typing import Any

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import OLDEST_SECONDS
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.outcomes import DELIVERED, QUEUED_DELETION, UNKNOWN_JOB, Outcome, Position
from dbt_pendo.warehouse.ledger import Ensured, LedgerKeptError, LedgerTable
from dbt_pendo.warehouse.lock import RENEW_EVERY, SyncLock
from dbt_pendo.warehouse.notes import (
    SegmentNotes,
    Subscription,
    note_subscription,
    read_subscriptions,
    subscription_name,
)
from dbt_pendo.warehouse.pages import Bucket, Span
from dbt_pendo.warehouse.plan import ChangeSet, ModelTable, PlanOptions
from dbt_pendo.warehouse.session import SANDBOX, ConnectionLostError, Session, WarehouseError

EXCEPTIONS_PER_STATEMENT = 1_000
# Bytes of SQL: of a commit without exceptions, and of an exception beside its detail, at most.
_COMMIT_BYTES, _EXCEPTION_BYTES = 10_000, 200
DETAIL_LENGTH = 500
# How the ledger tells of a deletion that is queued.
_QUEUED = {"queued": QUEUED_DELETION, "unknown": UNKNOWN_JOB}


class SyncTables(ChangeSet):
    """The change set and the ledger of one sync; what writes into the ledger takes the lock and ``prepare`` first."""

    ledger: str

    def __init__(
        self, session: Session, schema: str, spec: SyncSpec, source: ModelTable, lock_interval: float = RENEW_EVERY
    ) -> None:
        lock = SyncLock(session, schema, spec.name, lock_interval)
        super().__init__(session, schema, spec, source, lock, "changes")
        self._table = LedgerTable(session, schema, spec.name)
        self.ledger = self._table.relation
        # The numbers of the last commit, and of the last one before this run; what that one delivered its rows as.
        self._last_commit: int | None = None
        self._earlier_commit = 0
        self._earlier_destination: str | None = None
        # How many entries the ledger had when the change set was written.
        self._entries_planned: int | None = None

    @cached_property
    def _entries(self) -> str | None:
        # A dead run may have left the ledger under another name, an earlier version without some columns.
        return self._table.entries(self._spec.destination)

    @property
    def address(self) -> str:
        """That of the ledger."""
        return self._table.address

    def ledgers_elsewhere(self) -> list[str]:
        """Returns the other schemas of the database with a ledger of a sync of this name; a sandbox's do not count."""
        found = self._session.schemas_with(self._table.name)
        return [one for one in found if one.lower() != self._schema.lower() and not one.lower().endswith(SANDBOX)]

    def subscription(self) -> Subscription | None:
        """Returns whose the ledger is; None if that is not noted."""
        return read_subscriptions(self._session, self._schema).get(subscription_name(self._spec))

    def note_subscription(self, subscription: Subscription | None) -> None:
        """Notes whose the ledger is from now on; None, or one without a fingerprint, for nobody's."""
        subscription = subscription if subscription and subscription.fingerprint else None
        note_subscription(self._session, self._schema, subscription_name(self._spec), subscription)

    def ensure_schema(self) -> None:
        """Creates the schema of the bookkeeping on a first run."""
        self._session.ensure_schema(self._schema)

    @contextlib.contextmanager
    def locked(self, run_id: str) -> Iterator[SyncLock]:
        """Holds the sync's lock inside the block; a warehouse that is gone keeps it, and it goes stale."""
        self.ensure_schema()
        self.lock.acquire(run_id)
        try:
            yield self.lock
        finally:
            with contextlib.suppress(DbtPendoError):
                self.lock.release()

    def prepare(self) -> Ensured:
        """Creates the ledger on a first run, undoes what a dead run left half done, and adds columns that lack."""
        ensured = self._table.ensure()
        if ensured == "made":
            self._last_commit = 0
            return ensured
        try:
            self._read_commits(self.ledger)
        except WarehouseError:
            entries = self._table.entries(self._spec.destination)
            if entries is None or entries == self.ledger:
                raise
            self._carry_on(entries)
            self._read_commits(self.ledger)
            return "mended"
        return ensured

    def prepare_by(self, tables: Collection[str]) -> Ensured:
        """Prepares the ledger, unless the tables that a run found at its start hold it whole.

        By now they may be others: a change set that cannot be written then is the reason to ``prepare``.
        """
        return "whole" if self._table.is_whole(tables) else self.prepare()

    def write_changes(self, run_id: str, options: PlanOptions) -> list[Bucket]:
        """Compares the model with the ledger, and writes the change set."""
        try:
            return super().write_changes(run_id, options)
        except ConnectionLostError:
            raise
        except WarehouseError:
            self.lock.confirm()
            if self.prepare() == "whole":
                raise
        return super().write_changes(run_id, options)

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
        exceptions: Sequence[tuple[Position, Outcome]] = list(outcomes.items())
        if usual is not DELIVERED:
            judged = ((position, outcomes.get(position, DELIVERED)) for position in positions)
            exceptions = [(position, outcome) for position, outcome in judged if outcome != usual]
        for part, named in _statements(span, exceptions, self._session.longest_statement - _COMMIT_BYTES):
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
        if self.subscription() is not None:
            self.note_subscription(None)

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
        names = {"ledger": self.ledger, "destination": self._spec.destination}
        rows = self._session.table("pendo_queued_deletions", **names, **_QUEUED)
        return {row["detail"].removeprefix(QUEUED_DELETION): int(row["row_count"]) for row in rows}

    def returned(self, run_id: str) -> dict[str, str]:
        """Returns the keys that a run's change set has anew while their deletion is open, each with Pendo's job."""
        names = {"ledger": self.ledger, "changes": self.changes, "destination": self._spec.destination}
        rows = self._session.table("pendo_returned", **names, **_QUEUED, run_id=run_id)
        return {row["record_key"]: row["detail"].removeprefix(QUEUED_DELETION) for row in rows}

    def end_deletion(self, run_id: str, job: str, detail: str, is_undone: bool) -> None:
        """Notes how Pendo's deletion ``job`` ended; if undone, its rows are in Pendo and have to be removed again."""
        self._session.execute(
            "pendo_end_deletion",
            ledger=self.ledger,
            job=job,
            detail=_shortened(detail),
            is_undone=is_undone,
            **_QUEUED,
            **self._commit_values(run_id),
        )

    def came_back(self, run_id: str) -> list[tuple[str, int, str]]:
        """Returns the rows of a run that an earlier one has removed: outcome, number of rows, one key."""
        rows = self._session.table(
            "pendo_came_back", ledger=self.ledger, destination=self._spec.destination, run_id=run_id
        )
        return [(row["status"], int(row["row_count"]), row["example_key"]) for row in rows]

    def compact(self, keys: int, added: int | None = None) -> None:
        """Rewrites the ledger without its dead rows, when they are more than the living.

        Args:
            keys: About how many keys the sync knows; a ledger shorter than twice that is left alone.
            added: At most how many entries were added since the change set was written; None if that is not known.
        """
        most = 2 * keys + EXCEPTIONS_PER_STATEMENT
        if added is not None and self._entries_planned is not None and self._entries_planned + added <= most:
            return
        entries = self._session.count(self.ledger)
        if entries <= most:
            return
        if self._max_age is None:
            # Those who left the model are known as well: no copy is made to learn that next to nothing is dead.
            (kept,) = self._session.table("pendo_count_kept", ledger=self.ledger)
            if entries <= 2 * int(kept["kept"]):
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
        if self._max_age is None:
            return {}
        # Not before Pendo would drop the event itself: a `max_age` raised from an hour to a day must send none twice.
        seconds = max(self._max_age, OLDEST_SECONDS)
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
        last = next(iter(self._session.table("pendo_last_commits", ledger=entries)), {})
        self._earlier_destination = last.get("destination")
        self._last_commit = self._earlier_commit = int(last.get("last_commit", 0))

    def _learn_ledger(self, destinations: Sequence[tuple[str, int, int]]) -> None:
        self._entries_planned = sum(entries for _, entries, _ in destinations)
        if self._last_commit is None:
            last = max(destinations, key=itemgetter(2), default=(None, 0, 0))
            self._earlier_destination, _, self._last_commit = last
            self._earlier_commit = self._last_commit

    def _commit_values(self, run_id: str, destination: str | None = None) -> dict[str, Any]:
        """Returns what all entries of the next commit have in common; the lock keeps others from counting meanwhile."""
        if self._last_commit is None:
            self._read_commits(self.ledger)
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
    return Counter(outcomes.get(position, DELIVERED) for position in positions).most_common(1)[0][0]


def _statements(
    span: Span, exceptions: Sequence[tuple[Position, Outcome]], most: int
) -> Iterator[tuple[Span, Sequence[tuple[Position, Outcome]]]]:
    """Cuts a span so that no statement names more exceptions than fit, in ``most`` bytes; each is a commit."""
    start = span
    named: list[tuple[Position, Outcome]] = []
    size = 0
    for position, outcome in sorted(exceptions, key=lambda exception: exception[0]):
        # Every byte of the detail may have to be escaped.
        length = _EXCEPTION_BYTES + 2 * len((_shortened(outcome.detail) or "").encode())
        if len(named) == EXCEPTIONS_PER_STATEMENT or size + length > most:
            bucket, seq = named[-1][0]
            yield replace(start, last=bucket, last_seq=seq), named
            start = replace(start, first=bucket, first_seq=seq + 1)
            named, size = [], 0
        named.append((position, outcome))
        size += length
    yield start, named


def _shortened(detail: str | None) -> str | None:
    return detail if detail is None else detail.replace("\0", "")[:DETAIL_LENGTH]
