"""The ledger of one sync as a table: made once, found again after any crash, replaced as a whole."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Collection
from typing import Any, Literal, TypeAlias

from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.names import table_name
from dbt_pendo.warehouse.session import Session, WarehouseError

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
            if self._session.exists(self._schema, self.name):
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
