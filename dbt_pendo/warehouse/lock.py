"""One run of a sync at a time: a lock in the warehouse, for runs on any machine."""

from __future__ import annotations

import datetime
import os
import socket
import time
from dataclasses import dataclass

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.warehouse.session import Session, WarehouseError

# Seconds between signs of life, and the silence after which a lock counts as left by a dead run.
RENEW_EVERY = 30.0
STALE_AFTER = 300.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: the run, where it runs, since when, and the seconds since its last sign of life."""

    run_id: str
    host: str
    pid: int
    since: datetime.datetime
    silent_for: float

    @property
    def is_dead(self) -> bool:
        """Whether the run is over: silent for long, or a process of this machine that is no more."""
        if self.silent_for > STALE_AFTER:
            return True
        return self.host == socket.gethostname() and not _is_running(self.pid)

    def __str__(self) -> str:
        return (
            f"run {self.run_id} on {self.host} (process {self.pid}) since {self.since:%Y-%m-%d %H:%M:%S} UTC, "
            f"last seen {self.silent_for:.0f} s ago"
        )


class LockedError(DbtPendoError):
    """Another run has the sync."""

    def __init__(self, sync: str, holder: Holder) -> None:
        super().__init__(
            f"{sync} is being synced by {holder}.",
            f"Wait for it. If that run is dead, `dbt-pendo unlock --select {sync.partition('.')[0]}` breaks its lock.",
        )


class SyncLock:
    """The lock of one sync."""

    def __init__(self, session: Session, schema: str, sync: str, identifier: str) -> None:
        self._session = session
        self._schema = schema
        self._sync = sync
        self._identifier = identifier
        self._relation = session.relation(schema, identifier)
        self._run_id = ""
        self._renewed_at = 0.0

    def acquire(self, run_id: str) -> None:
        """Takes the lock, also from a run that is dead.

        Raises:
            LockedError: If another run has it.
            WarehouseError: If the lock can be neither created nor read.
        """
        for attempt in range(2):
            try:
                self._session.run(self._session.sql("pendo_create_lock", **self._sign(run_id)))
            except WarehouseError as refused:
                holder = self.holder()
                if holder is None:
                    raise refused
                if attempt or not holder.is_dead:
                    raise LockedError(self._sync, holder) from None
                self.break_()
            else:
                break
        # Two runs may have taken the same dead run for dead: the first row tells whose the lock is now.
        holder = self.holder()
        if holder is None or holder.run_id != run_id:
            raise WarehouseError(f"The lock of {self._sync} changed hands while it was taken.", "Run it again.")
        self._run_id = run_id
        self._renewed_at = time.monotonic()

    def renew(self) -> None:
        """Gives a sign of life, when it is time for one.

        Raises:
            WarehouseError: If somebody broke the lock.
        """
        if time.monotonic() - self._renewed_at < RENEW_EVERY:
            return
        holder = self.holder()
        if holder is None or holder.run_id != self._run_id:
            raise WarehouseError(
                f"The lock of {self._sync} was broken while this run held it.", "Another run may be at work."
            )
        self._session.run(self._session.sql("pendo_renew_lock", **self._sign(self._run_id)))
        self._renewed_at = time.monotonic()

    def release(self) -> None:
        """Gives the lock back."""
        holder = self.holder()
        if holder is not None and holder.run_id == self._run_id:
            self.break_()

    def holder(self) -> Holder | None:
        """Returns who holds the lock; None when nobody does."""
        try:
            rows = self._session.rows(self._session.sql("pendo_read_lock", lock=self._relation))
        except WarehouseError:
            return None
        if not rows:
            return None
        run_id, host, pid, since, silent_for = rows[0]
        return Holder(run_id, host, int(pid), since, float(silent_for))

    def break_(self) -> None:
        """Removes the lock, whoever holds it."""
        self._session.drop(self._schema, self._identifier)

    def _sign(self, run_id: str) -> dict[str, object]:
        return {"lock": self._relation, "run_id": run_id, "host": socket.gethostname(), "pid": os.getpid()}


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
