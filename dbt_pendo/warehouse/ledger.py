"""One sync's ledger: made once, found again after any crash, replaced as a whole; commits outcomes and adopts rows."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import OLDEST_SECONDS
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.outcomes import DELIVERED, QUEUED_DELETION, UNKNOWN_JOB, Outcome, Position
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.pages import Span
from dbt_pendo.warehouse.plan import Bucket, ChangeSet, ModelTable, PlanOptions
from dbt_pendo.warehouse.segments import SegmentNotes
from dbt_pendo.warehouse.session import SANDBOX, ConnectionLostError, Session, WarehouseError, table_name
from dbt_pendo.warehouse.subscriptions import Subscription, note_subscription, read_subscriptions, subscription_name

# An exception costs about 150 bytes of SQL, and its detail, whose bytes may all have to be escaped. The shortest
# statement limit known is 1 MiB (Snowflake, BigQuery).
EXCEPTIONS_PER_STATEMENT = 1_000
DETAIL_BYTES_PER_STATEMENT = 400_000
DETAIL_LENGTH = 500
# How the ledger tells of a deletion that is queued.
_QUEUED = {"queued": QUEUED_DELETION, "unknown": UNKNOWN_JOB}
# A draft, and the ledger it replaces, have names of their own: no other run touches them by accident. `compacted` is
# what earlier versions left in place of the ledger when they died.
DRAFT, OLD = re.compile("new_[0-9a-f]{6}"), re.compile("old_[0-9a-f]{6}|compacted")
# Columns that ledgers of earlier versions lack.
ADDED_COLUMNS = ("change", "destination", "commit_number")

# What a run found, or did: the ledger was there, had to be mended after another run, or is new and empty.
Ensured: TypeAlias = Literal["whole", "mended", "made"]


class LedgerKeptError(WarehouseError):
    """The ledger could not be replaced, and is as it was."""


class LedgerTable:
    """The ledger of one sync, and how another table takes its place.

    A replacement sets the ledger aside under a name of its own, where nobody else writes into it, and compares it with
    what the draft was made of. If another run has written into it meanwhile, it is put back. Where a warehouse can, all
    of this is one transaction. Elsewhere a crash leaves a ledger in place, or the old one set aside, which ``ensure``
    puts back.
    """

    def __init__(self, session: Session, schema: str, sync: str) -> None:
        self._session = session
        self._schema = schema
        self._sync = sync
        self.name = table_name(sync, "ledger")
        self.relation = session.relation(schema, self.name)

    @property
    def address(self) -> str:
        """Its warehouse and relation: another warehouse, database or schema may have the same sync."""
        return f"{self._session.server} {self.relation}"

    def is_there(self) -> bool:
        """Returns whether the ledger exists under its own name."""
        return self._session.exists(self._schema, self.name)

    def entries(self, destination: str) -> str | None:
        """Returns what to select the ledger's entries from, with all columns; None when there is no ledger.

        A dead run may have left the ledger under another name, an earlier version without some columns.

        Args:
            destination: What the rows of a ledger that does not say so were delivered as.
        """
        session, schema = self._session, self._schema
        if session.has_columns(schema, self.name, ADDED_COLUMNS):
            return self.relation
        tables = session.tables(schema)
        name = self.name if session.folded(self.name) in tables else next(iter(self._left(tables)[0]), None)
        if name is None:
            return None
        ledger = session.relation(schema, name)
        found = {column.name.lower() for column in session.columns(None, schema, name) or ()}
        if lacking := [column for column in ADDED_COLUMNS if column not in found]:
            return session.sql("pendo_carried_entries", ledger=ledger, lacking=lacking, destination=destination)
        return ledger

    def is_whole(self, tables: Collection[str]) -> bool:
        """Returns whether the ledger is one of some tables, and nothing that a dead run has left of it."""
        return self._session.folded(self.name) in tables and not any(self._left(tables))

    def has_begun(self, tables: Collection[str]) -> bool:
        """Returns whether some tables hold the ledger, perhaps set aside by a dead run."""
        return self._session.folded(self.name) in tables or bool(self._left(tables)[0])

    def ensure(self) -> Ensured:
        """Makes the ledger on a first run, and undoes a replacement that a dead run has begun."""
        tables = self._session.tables(self._schema)
        if self.is_whole(tables):
            return "whole"
        old, drafts = self._left(tables)
        there = self._session.folded(self.name) in tables
        if there and old and self._version(self.name)[0]["entries"] == 0:
            # A first run that woke up late made one without an entry while the ledger was set aside.
            self._session.drop(self._schema, self.name)
            there = False
        is_renamed = not there and bool(old)
        if is_renamed:
            self._session.rename(self._schema, old.pop(0), self.name)
        elif not there:
            # Never in place of one that is there after all: it is what keeps rows from being sent twice.
            self._session.execute("pendo_create_ledger", ledger=self.relation)
        for name in (*old, *drafts):
            self._session.drop(self._schema, name)
        return "mended" if there or is_renamed else "made"

    def drop(self) -> None:
        """Drops the ledger and what a dead run left of it."""
        # The ledger last: what is set aside would come back in its place.
        old, drafts = self._left(self._session.tables(self._schema))
        for name in (*old, *drafts, self.name):
            self._session.drop(self._schema, name)

    def replace(self, make: Callable[[str], bool], lock: SyncLock) -> None:
        """Replaces the ledger, unless another run has written into it meanwhile.

        Args:
            make: Creates the new ledger under the name that it is given, and returns whether that is to take the place
                of the old one.
            lock: The sync's lock, which is kept meanwhile.

        Raises:
            LockLostError: If another run has taken the lock.
            LedgerKeptError: If the warehouse refuses it, and the ledger is in its place as it was.
            WarehouseError: If the ledger has to be put back by ``ensure``.
        """
        mark = secrets.token_hex(3)
        draft, old = (table_name(self._sync, f"{kind}_{mark}") for kind in ("new", "old"))
        before = self._version(self.name)
        try:
            with lock.alive():
                wanted = make(self._session.relation(self._schema, draft))
            if wanted:
                lock.confirm()
                self._put_in_place(draft, old, before)
        except WarehouseError as error:
            lock.confirm()
            if self.is_there():
                raise LedgerKeptError(error.message, error.hint) from None
            raise
        finally:
            with contextlib.suppress(WarehouseError):
                self._session.drop(self._schema, draft)

    def _put_in_place(self, draft: str, old: str, before: list[dict[str, Any]]) -> None:
        session, schema = self._session, self._schema
        try:
            with session.transaction():
                session.rename(schema, self.name, old)
                if self._version(old) != before:
                    raise WarehouseError(f"Another run has written into {self.relation} while it was replaced.")
                session.rename(schema, draft, self.name)
                session.drop(schema, old)
        except WarehouseError:
            # Where no transaction has done so.
            with contextlib.suppress(WarehouseError):
                tables = session.tables(schema)
                if session.folded(old) in tables and session.folded(self.name) not in tables:
                    session.rename(schema, old, self.name)
            raise

    def _version(self, name: str) -> list[dict[str, Any]]:
        """Returns what changes with every entry that is added: how many there are, and when the last one was made."""
        return self._session.table("pendo_ledger_version", ledger=self._session.relation(self._schema, name))

    def _left(self, tables: Collection[str]) -> tuple[list[str], list[str]]:
        """Returns the ledgers that runs have set aside, and the drafts that they have left or are at work on."""
        stem = table_name(self._sync, "")
        folded = self._session.folded(stem)
        endings = [name.removeprefix(folded) for name in sorted(tables) if name.startswith(folded)]
        old, drafts = ([stem + ending for ending in endings if kind.fullmatch(ending)] for kind in (OLD, DRAFT))
        return old, drafts


class SyncTables(ChangeSet):
    """The change set and the ledger of one sync; what writes into the ledger takes the lock and ``prepare`` first."""

    ledger: str

    def __init__(self, session: Session, schema: str, spec: SyncSpec, source: ModelTable) -> None:
        super().__init__(session, schema, spec, source, SyncLock(session, schema, spec.name), "changes")
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
