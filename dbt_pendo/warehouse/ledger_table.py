"""The table of a sync's ledger: made once, found again after any crash, and replaced as a whole."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable

from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.names import table_name
from dbt_pendo.warehouse.reading import Row
from dbt_pendo.warehouse.session import Session, WarehouseError

# A draft, and the ledger it replaces, have names of their own: no other run touches them by accident. `compacted` is
# what earlier versions left in place of the ledger when they died.
DRAFT, OLD = re.compile("new_[0-9a-f]{6}"), re.compile("old_[0-9a-f]{6}|compacted")
# Columns that ledgers of earlier versions lack.
ADDED_COLUMNS = ("destination", "commit_number")


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

    @property
    def relation(self) -> str:
        """The ledger's relation."""
        return self._session.relation(self._schema, self.name)

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
        name = self.name if self.is_there() else next(iter(self._left()[0]), None)
        if name is None:
            return None
        ledger = session.relation(schema, name)
        found = {column.name.lower() for column in session.columns(None, schema, name) or ()}
        if lacking := [column for column in ADDED_COLUMNS if column not in found]:
            return session.sql("pendo_carried_entries", ledger=ledger, lacking=lacking, destination=destination)
        return ledger

    def ensure(self) -> None:
        """Makes the ledger on a first run, and undoes a replacement that a dead run has begun."""
        old, drafts = self._left()
        there = self.is_there()
        if there and old and self._version(self.name)[0][0] == 0:
            # A first run that woke up late made one without an entry while the ledger was set aside.
            self._session.drop(self._schema, self.name)
            there = False
        if not there and old:
            self._session.rename(self._schema, old.pop(0), self.name)
        elif not there:
            # Never in place of one that is there after all: it is what keeps rows from being sent twice.
            self._session.execute("pendo_create_ledger", ledger=self.relation)
        for name in (*old, *drafts):
            self._session.drop(self._schema, name)

    def drop(self) -> None:
        """Drops the ledger and what a dead run left of it."""
        # The ledger last: what is set aside would come back in its place.
        old, drafts = self._left()
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

    def _put_in_place(self, draft: str, old: str, before: list[Row]) -> None:
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
                if old in self._left()[0] and not self.is_there():
                    session.rename(schema, old, self.name)
            raise

    def _version(self, name: str) -> list[Row]:
        """Returns what changes with every entry that is added: how many there are, and when the last one was made."""
        relation = self._session.relation(self._schema, name)
        return self._session.rows(f"select count(*) as entries, max(logged_at) as latest from {relation}")

    def _left(self) -> tuple[list[str], list[str]]:
        """Returns the ledgers that runs have set aside, and the drafts that they have left or are at work on."""
        stem = table_name(self._sync, "")
        names = [name for name in sorted(self._session.tables(self._schema)) if name.startswith(stem.lower())]
        endings = [name.removeprefix(stem.lower()) for name in names]
        old, drafts = ([stem + ending for ending in endings if kind.fullmatch(ending)] for kind in (OLD, DRAFT))
        return old, drafts
