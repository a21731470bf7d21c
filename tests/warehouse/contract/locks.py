"""Locks and schemas: one run of a sync at a time, and errors that leave nothing behind."""

import datetime
import threading
import time

import pytest
from engine import PEOPLE, Store, wait_until

from dbt_pendo.warehouse import lock
from dbt_pendo.warehouse.lock import LockedError, SyncLock
from dbt_pendo.warehouse.session import WarehouseError


def locks(store: Store) -> list[SyncLock]:
    store.session.ensure_schema(store.own_schema)
    return [SyncLock(store.session, store.own_schema, "people") for _ in range(3)]


def test_a_lock_is_taken_once_kept_and_broken(store):
    first, second, _ = locks(store)
    first.acquire("first")
    with pytest.raises(LockedError, match="run first on"):
        second.acquire("second")
    first.release()
    assert first.holder() is None
    second.acquire("second")
    holder = first.holder()
    assert holder is not None
    assert (holder.run_id, holder.host) == ("second", lock.this_host())
    assert 0 <= holder.silent_for < 60
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert now - datetime.timedelta(minutes=1) < holder.since.replace(tzinfo=None) <= now

    # A sign of life keeps it, also during a long statement.
    second.renew_every = 0.0
    second.renew()
    with pytest.raises(LockedError):
        first.acquire("first")
    second.renew_every = 0.1
    signs = f"select count(*) from {store.relation('people__lock', store.own_schema)}"
    with second.alive():
        wait_until(lambda: store.session.rows(signs)[0][0] > 3)
    # One that is under way at the end is waited for no longer than for a sign.
    wait_until(lambda: all(thread.name != "dbt-pendo-lock" for thread in threading.enumerate()))
    before = store.session.rows(signs)
    time.sleep(0.3)
    assert store.session.rows(signs) == before

    # Who had it does not give back what is another's by now.
    first.break_()
    first.acquire("third")
    second.release()
    holder = second.holder()
    assert holder is not None
    assert holder.run_id == "third"


def test_the_dead_are_succeeded_by_one(store):
    first, second, late = locks(store)
    first.acquire("dead")
    # No process has this number.
    store.rewrite("people__lock", pid=str(2**22 + 1))
    second.acquire("heir")
    with pytest.raises(LockedError, match="run heir"):
        late.acquire("late")
    first.renew_every = second.renew_every = 0.0
    # It was silent for long, or it could not have been taken for dead.
    first.safe_share = 0.0
    with pytest.raises(WarehouseError, match="was broken"):
        first.renew()
    # The one that was taken for dead does not give back what is its heir's.
    first.release()
    second.renew()

    class Slow(SyncLock):
        def _read(self, identifier):
            holder = super()._read(identifier)
            if holder is not None and holder.run_id == "dead":
                # Between its look at the dead run and its attempt, the heir is done and another run begins.
                second.release()
                assert not store.session.tables(store.own_schema)
                late.acquire("late")
            return holder

    with pytest.raises(WarehouseError, match="changed hands"):
        Slow(store.session, store.own_schema, "people").acquire("slow")
    assert store.session.tables(store.own_schema) == {"people__lock"}
    late.renew_every = 0.0
    late.renew()


def test_who_waits_for_pendo_is_silent_for_as_long_as_it_says_and_no_longer(store):
    _, second, _ = locks(store)
    first = SyncLock(store.session, store.own_schema, "people", quiet_every=900)
    first.acquire("first")
    rows = f"select count(*) from {store.relation('people__lock', store.own_schema)}"

    def pass_by(seconds: int) -> None:
        """Lets time go by for the run and for the warehouse."""
        first._renewed_at -= seconds
        earlier = store.session.sql("pendo_seconds_before", seconds=seconds, moment="seen_at")
        store.rewrite("people__lock", seen_at=earlier)

    def signs(waits_for_pendo: bool) -> int:
        """Gives a sign of life if it is time for one; how many there are."""
        first.renew(waits_for_pendo)
        return int(store.session.rows(rows)[0][0])

    # The first one comes as soon as ever, for until then nobody knows.
    assert signs(True) == 1
    pass_by(31)
    assert signs(True) == 2
    with pytest.raises(LockedError, match=r"waiting for Pendo, to be seen within (900|89\d) s"):
        second.acquire("second")
    pass_by(890)
    assert signs(True) == 2
    pass_by(20)
    assert signs(True) == 3
    # Beside a statement of its own it is seen as often as ever.
    pass_by(31)
    assert signs(False) == 4
    assert first._is_safe

    # Silent for longer than it said, and not for long enough to be dead.
    pass_by(1100)
    assert not first._is_safe
    with pytest.raises(LockedError, match=r"last seen 2[67]\d s ago"):
        second.acquire("second")
    pass_by(40)
    second.acquire("second")
    with pytest.raises(WarehouseError, match="was broken"):
        first.confirm()
    second.release()
    assert not store.session.tables(store.own_schema)


def test_schemas_and_statements_that_are_refused(store):
    store.session.ensure_schema(store.own_schema)
    store.session.ensure_schema(store.own_schema)
    assert store.session.tables(store.own_schema) == frozenset()
    assert not store.session.exists(store.own_schema, "nothing")
    assert store.session.columns(None, store.schema, "nothing") is None
    store.create("people", PEOPLE, [("a", "x")])
    for _ in range(2):
        with pytest.raises(WarehouseError):
            store.session.rows("select * from nowhere_at_all")
        with pytest.raises(WarehouseError):
            store.session.run("insert into nowhere_at_all select 1")
        assert len(store.session.rows(f"select * from {store.relation('people')}")) == 1

    # Of nearly the same name: `_` stands for any letter where an adapter looks by `like`.
    schemas = [f"{store.schema}{end}" for end in ("_1_2_pendo", "_112_pendo")]
    try:
        for schema in schemas:
            store.session.ensure_schema(schema)
        SyncLock(store.session, schemas[1], "people").acquire("r1")
        assert [store.session.tables(schema) for schema in schemas] == [frozenset(), {"people__lock"}]
        assert [store.session.exists(schema, "people__lock") for schema in schemas] == [False, True]
        assert [bool(SyncLock(store.session, schema, "people").holder()) for schema in schemas] == [False, True]
    finally:
        for schema in schemas:
            store.drop_schema(schema)
