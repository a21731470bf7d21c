"""One run of a sync at a time: a lock in the warehouse, for runs on any machine."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.warehouse.names import table_name
from dbt_pendo.warehouse.session import Session, WarehouseError

# Seconds between signs of life, and of silence after which a lock counts as left by a dead run.
RENEW_EVERY, STALE_AFTER = 30.0, 300.0
# Seconds for which a look at the lock is enough to give it back.
LOOK_LASTS = 2.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: the run, where it runs, since when, and the seconds since its last sign of life.

    They are less than none where the run has announced that it only waits for Pendo, and is silent for longer.
    """

    run_id: str
    host: str
    pid: int
    since: datetime.datetime
    silent_for: float

    @property
    def is_dead(self) -> bool:
        """Whether the run is over: silent for long, or its process on this machine has ended."""
        if self.silent_for > STALE_AFTER:
            return True
        return self.host == this_host() and not _is_running(self.pid)

    def __str__(self) -> str:
        seen = f"last seen {self.silent_for:.0f} s ago"
        if self.silent_for < 0:
            seen = f"waiting for Pendo, to be seen within {RENEW_EVERY - self.silent_for:.0f} s"
        return f"run {self.run_id} on {self.host} (process {self.pid}) since {self.since:%Y-%m-%d %H:%M:%S} UTC, {seen}"


class LockedError(DbtPendoError):
    """Another run has the sync."""


class LockLostError(WarehouseError):
    """Another run has the lock by now, or somebody broke it."""


class SyncLock:
    """The lock of one sync.

    A run that finds the holder dead does not remove the table, for another run may do so at the same moment and remove
    what the first has put in its place. It creates a further table, named after the dead run: of all that try only one
    can. So a lock is a chain of tables, each but the last left by a dead run, and a release drops them in order.

    While only Pendo is waited for, signs of life may be further apart: each keeps a warehouse awake that nothing else
    uses. A sign then bears the time from which on the silence counts, so that other runs, with other settings and of
    earlier versions too, wait as long as this one means to be silent.

    Args:
        session: The warehouse.
        schema: The schema of our tables.
        sync: The sync.
        quiet_every: Seconds between signs of life while only Pendo is waited for; no fewer than else.
    """

    # Seconds between signs of life.
    renew_every = RENEW_EVERY
    # After one nobody can take us for dead for this share of STALE_AFTER: our own table then tells whose the lock is.
    safe_share = 0.5

    def __init__(self, session: Session, schema: str, sync: str, quiet_every: float = RENEW_EVERY) -> None:
        self._session = session
        self._schema = schema
        self._sync = sync
        self._identifier = table_name(sync, "lock")
        self._run_id = ""
        # The table that this run has made: the last of the chain, and the only one unless it was taken from the dead.
        self._own = self._identifier
        self._quiet_every = quiet_every
        # When the last sign of life was given, and how many seconds later than else it lets the next one come.
        self._renewed_at = 0.0
        self._pause = 0
        self._seen_at = float("-inf")

    def acquire(self, run_id: str) -> None:
        """Takes the lock, also from a run that is dead.

        Raises:
            LockedError: If another run has it.
        """
        identifier = self._identifier
        dead: list[str] = []
        while True:
            try:
                self._create(identifier, run_id)
                break
            except WarehouseError as refused:
                holder = self._read(identifier)
                unlock = f"`dbt-pendo unlock --select {self._sync.partition('.')[0]}`"
                if holder is None:
                    if not self._session.removal(self._schema, identifier, refused):
                        raise refused
                    raise LockedError(
                        f"{self._sync} has files of a lock: a run is taking it right now, or was killed meanwhile.",
                        f"Run it again. If that does not help, {unlock[:-1]} --force` removes them.",
                    ) from None
                if not holder.is_dead:
                    raise LockedError(
                        f"{self._sync} is being synced by {holder}.",
                        f"Wait for it. If that run is dead, {unlock} breaks its lock.",
                    ) from None
                dead.append(holder.run_id)
                identifier = self._successor(holder)
        # A run that gave the lock back meanwhile has dropped the tables that led here, and another may begin anew.
        if dead and [holder.run_id for _, holder in self._chain()] != [*dead, run_id]:
            self._session.drop(self._schema, identifier)
            raise WarehouseError(f"The lock of {self._sync} changed hands while it was taken.", "Run it again.")
        self._run_id, self._own = run_id, identifier
        self._renewed_at = time.time()

    @property
    def relation(self) -> str | None:
        """The table by which a statement can see whose the lock is.

        None if it was never taken, or a look at it in a statement would be billed (``look`` is not).
        """
        return (
            self._session.relation(self._schema, self._own) if self._run_id and not self._session.lists_rows else None
        )

    def seen(self, run_id: str | None) -> None:
        """Notes the run that a statement has seen in ``relation``.

        Raises:
            LockLostError: If it is not this one.
        """
        if self._is_safe and run_id == self._run_id:
            self._seen_at = time.monotonic()
        else:
            self.confirm()

    def look(self) -> None:
        """Makes sure that the lock is still ours; does nothing if it was never taken.

        Raises:
            LockLostError: If it is not.
        """
        if self._run_id:
            self._require()

    def renew(self, waits_for_pendo: bool = False) -> None:
        """Gives a sign of life, when it is time for one; does nothing if the lock was never taken.

        Args:
            waits_for_pendo: Whether nothing but Pendo is waited for.

        Raises:
            LockLostError: If it is not ours any more.
        """
        wait = self.renew_every + (self._pause if waits_for_pendo else 0)
        # By the wall clock: the monotonic one stands still while a machine sleeps.
        if self._run_id and abs(time.time() - self._renewed_at) >= wait:
            self._renew(round(max(self._quiet_every - RENEW_EVERY, 0)) if waits_for_pendo else 0)

    def wait_for(self, call: Future[Any]) -> None:
        """Waits for a call of another thread to Pendo to end, and gives signs of life.

        Raises:
            LockLostError: If the lock is not ours any more; the call may still go on.
        """
        while wait((call,), timeout=self.renew_every).not_done:
            self.renew(waits_for_pendo=True)
        self.renew(waits_for_pendo=True)

    def confirm(self) -> None:
        """Makes sure that the lock is still ours, and gives a sign of life; does nothing if it was never taken.

        Raises:
            LockLostError: If it is not.
        """
        if self._run_id:
            self._renew()

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Gives signs of life while the block waits for long statements; ``confirm`` says whether the lock was lost."""
        if not self._run_id:
            yield
            return
        over = threading.Event()
        signs = threading.Thread(target=self._give_signs, args=(over,), name="dbt-pendo-lock", daemon=True)
        signs.start()
        try:
            yield
        finally:
            over.set()
            # One whose connection hangs is not waited for.
            signs.join(self.renew_every)

    def release(self) -> None:
        """Gives the lock back, if it is still ours."""
        if self._is_safe and self._own == self._identifier and time.monotonic() - self._seen_at < LOOK_LASTS:
            self._session.drop(self._schema, self._own)
            return
        self._drop(self._own_tables())

    def holder(self) -> Holder | None:
        """Returns who holds the lock; None when nobody does."""
        chain = self._chain()
        return chain[-1][1] if chain else None

    def break_(self) -> None:
        """Removes the lock, no matter who holds it; on Spark also files of a run that was killed while it took it."""
        chain = self._chain()
        self._drop([identifier for identifier, _ in chain])
        if not chain and self._session.adapter_type == "spark":
            with contextlib.suppress(WarehouseError):
                create = self._session.sql("pendo_create_lock", **self._sign(self._identifier, "nobody"))
                self._session.create(self._schema, self._identifier, create)
                self._session.drop(self._schema, self._identifier)

    @property
    def _is_safe(self) -> bool:
        """Whether nobody can have taken this run for dead."""
        safe_for = self.safe_share * STALE_AFTER + self._pause
        return bool(self._run_id) and abs(time.time() - self._renewed_at) < safe_for

    def _create(self, identifier: str, run_id: str) -> None:
        """Creates a table of the lock, which nobody sees without its first row; fails if it is there."""
        if not self._session.fills_late:
            self._session.execute("pendo_create_lock", **self._sign(identifier, run_id))
            return
        # Longer than what successors end in. A run that dies before the next step leaves it, and it is nobody's lock.
        draft = f"{identifier}_{secrets.token_hex(4)}"
        self._session.execute("pendo_create_lock", **self._sign(draft, run_id))
        try:
            self._session.rename(self._schema, draft, identifier)
        except WarehouseError:
            self._session.drop(self._schema, draft)
            raise

    def _own_tables(self) -> list[str]:
        """Returns the tables of the lock in their order; none if it is not ours any more."""
        if self._is_safe and self._own == self._identifier:
            # Nobody can have taken it over, and it was not taken over.
            return [self._own] if self._maker(self._own) == self._run_id else []
        chain = self._chain()
        is_ours = bool(chain) and chain[-1][1].run_id == self._run_id
        return [identifier for identifier, _ in chain] if is_ours else []

    def _require(self) -> None:
        if not self._own_tables():
            holder = self.holder()
            whose = f"It is held by {holder}." if holder else "Another run may be at work."
            message = f"The lock of {self._sync} was broken while this run held it."
            raise LockLostError(message, f"{whose} Run it again later.")

    def _renew(self, pause: int = 0) -> None:
        self._require()
        self._session.execute("pendo_renew_lock", **self._sign(self._own, self._run_id), pause=pause)
        self._renewed_at, self._pause = time.time(), pause

    def _give_signs(self, over: threading.Event) -> None:
        while not over.wait(self.renew_every):
            with contextlib.suppress(DbtPendoError), self._session.connected("dbt_pendo_lock"):
                self.renew()

    def _drop(self, tables: Sequence[str]) -> None:
        # The first table first: while it exists no other run begins anew.
        for identifier in tables:
            self._session.drop(self._schema, identifier)

    def _chain(self) -> list[tuple[str, Holder]]:
        """Returns the tables of the lock and who made each: all dead but the last, who holds it."""
        chain: list[tuple[str, Holder]] = []
        identifier = self._identifier
        tables = self._session.tables(self._schema)
        while self._session.folded(identifier) in tables and (holder := self._read(identifier)) is not None:
            chain.append((identifier, holder))
            identifier = self._successor(holder)
        return chain

    def _maker(self, identifier: str) -> str | None:
        """Returns the run that made a table of the lock; None when there is none."""
        if not self._session.lists_rows:
            holder = self._read(identifier)
            return holder.run_id if holder else None
        rows = self._if_there(identifier, lambda: self._session.listed(self._schema, identifier))
        return min(rows, key=itemgetter("seen_at"))["run_id"] if rows else None

    def _if_there(self, identifier: str, read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Returns what is read of a table of the lock; nothing when there is none."""
        try:
            return read()
        except WarehouseError:
            if self._session.exists(self._schema, identifier):
                raise
            return []

    def _read(self, identifier: str) -> Holder | None:
        """Returns who made a table of the lock, and when it was last seen; None when there is none."""
        lock = self._session.relation(self._schema, identifier)
        rows = self._if_there(identifier, lambda: self._session.table("pendo_read_lock", lock=lock))
        if not rows:
            return None
        first = rows[0]
        return Holder(**{**first, "pid": int(first["pid"]), "silent_for": float(first["silent_for"])})

    def _successor(self, holder: Holder) -> str:
        digest = hashlib.md5(holder.run_id.encode(), usedforsecurity=False).hexdigest()[:6]
        return f"{self._identifier}_{digest}"

    def _sign(self, identifier: str, run_id: str) -> dict[str, object]:
        lock = self._session.relation(self._schema, identifier)
        return {"lock": lock, "run_id": run_id, "host": this_host(), "pid": os.getpid()}


def this_host() -> str:
    """Returns this machine's name, and a mark that no other machine of that name has.

    Containers and machines may share a name, and a process id says nothing outside its own.
    """
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):
        proc = Path("/proc")
        marks += [(proc / "sys/kernel/random/boot_id").read_text("ascii"), str((proc / "self/ns/pid").readlink())]
    if len(marks) == 1:
        marks.append(hex(uuid.getnode()))
    digest = hashlib.md5(" ".join(marks).encode(), usedforsecurity=False).hexdigest()[:6]
    return f"{marks[0]}-{digest}"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
