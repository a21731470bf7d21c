"""The ledger: what a commit writes, what a compaction keeps, and who may replace it."""

import contextlib
import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine import CLICKS, DAY, PEOPLE, Store, clicks, commit, deliver, everything, people, plan, planned

from dbt_pendo.outcomes import DELIVERED, QUEUED_DELETION, UNKNOWN_JOB, UNSENT, Outcome
from dbt_pendo.warehouse import ledger
from dbt_pendo.warehouse import tables as sync_tables
from dbt_pendo.warehouse.lock import LockLostError, SyncLock
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.plan import EVERYTHING, ModelTable, PlanOptions
from dbt_pendo.warehouse.runs import History
from dbt_pendo.warehouse.session import WarehouseError
from dbt_pendo.warehouse.tables import SyncTables

NO = Outcome("rejected", "no")
UNKNOWN = Outcome("missing", "who?")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers are compacted, and statements cut, after a few entries."""
    monkeypatch.setattr(sync_tables, "EXCEPTIONS_PER_STATEMENT", 1)


def compact(store: Store, tables: SyncTables) -> None:
    """Compacts a ledger of many entries, which leaves fewer."""
    store.bloat(tables)
    before = len(store.ledger(tables))
    tables.compact(1)
    assert len(store.ledger(tables)) < before


def test_each_row_gets_its_outcome(store, monkeypatch):
    monkeypatch.setattr(sync_tables, "EXCEPTIONS_PER_STATEMENT", 3)
    store.create("people", PEOPLE, [(f"p{i}", "x") for i in range(15)])
    tables = store.tables(people())
    plan(tables, "r1")
    positions = tables.read_positions(EVERYTHING)
    plan(tables, "r2")
    # Another run's change set is not committed.
    tables.commit("r1", EVERYTHING, positions, {})
    assert (store.ledger(tables), tables.change_set_run()) == ([], "r2")
    # What a dead run delivered is committed as what it was.
    tables.commit("r2", EVERYTHING, tables.read_positions(EVERYTHING), {}, "account")
    assert planned(tables) == Planned(added=15)

    kinds = itertools.cycle([DELIVERED, UNKNOWN, NO, UNSENT, Outcome("invalid", "odd")])
    for most in (None, UNKNOWN, UNSENT):
        run_id = f"run {most}"
        plan(tables, run_id, full_refresh=True)
        rows = tables.read_page(EVERYTHING)
        told = {
            row[:2]: outcome if most is None or at % 5 == 0 else most
            for at, (row, outcome) in enumerate(zip(rows, kinds, strict=False))
        }
        tables.commit(run_id, EVERYTHING, list(told), {at: one for at, one in told.items() if one is not DELIVERED})
        wanted = Counter((row[3], one.status, one.detail) for row in rows if (one := told[row[:2]]) is not UNSENT)
        assert Counter(entry[:3] for entry in store.ledger(tables) if entry[4] == run_id) == wanted

    # Four reasons of 2,000 bytes, each of which may have to be escaped: two to a statement.
    plan(tables, "long", full_refresh=True)
    reason = "🚀" * 600
    monkeypatch.setattr(store.session, "longest_statement", 20_000)
    seen: list[str] = []
    run = store.session.run
    with monkeypatch.context() as patch:
        patch.setattr(store.session, "run", lambda sql: (seen.append(sql), run(sql)))
        commit(tables, "long", {f"p{i}": Outcome("rejected", reason) for i in range(0, 12, 3)})
    assert len(seen) == 2
    assert {entry[0]: entry[2] for entry in store.ledger(tables) if entry[4] == "long"} == {
        f"p{i}": reason[:500] if i in range(0, 12, 3) else None for i in range(15)
    }


def test_removed_rows_and_queued_deletions(store):
    store.create("people", PEOPLE, [(key, "x") for key in "abcdefg"])
    tables = store.tables(people(on_removed="delete"))
    tables.prepare()
    assert tables.queued_deletions() == {}
    deliver(tables, "r1")
    store.create("people", PEOPLE, [])
    jobs = {"a": "it's 100%", "b": "it's 100%", "c": "2", "d": "2", "e": "3"}
    queued = {key: Outcome("delivered", f"{QUEUED_DELETION}{job}") for key, job in jobs.items()}
    assert deliver(tables, "r2", {**queued, "g": NO}) == Planned(removed=7)
    assert {entry[0]: entry[1:3] for entry in store.ledger(tables) if entry[4] == "r2"} == {
        **{key: ("removed", f"{QUEUED_DELETION}{job}") for key, job in jobs.items()},
        **{"f": ("removed", None), "g": ("rejected", "no")},
    }
    # One is back by now, and no longer to be followed.
    store.create("people", PEOPLE, [("d", "y")])
    assert plan(tables, "r3") == Planned(added=1, removed=1)
    assert (tables.returned("r3"), tables.returned("r2")) == ({"d": "2"}, {})
    assert deliver(tables, "r3") == Planned(added=1, removed=1)
    assert list(everything(tables)) in (["d", "g"], ["g", "d"])
    assert tables.queued_deletions() == {"it's 100%": 2, "2": 1, "3": 1}
    other = store.tables(dataclasses.replace(people(on_removed="delete"), object="account"))
    assert (other.queued_deletions(), planned(other)) == ({}, Planned(added=1))

    # By a clock that is right again.
    store.log_at("people__ledger", -30 * DAY)
    tables.end_deletion("r4", "it's 100%", "it is done", is_undone=False)
    tables.end_deletion("r4", "2", "it failed", is_undone=True)
    assert tables.queued_deletions() == {"3": 1}
    assert {entry[:3] for entry in store.ledger(tables) if entry[4] == "r4"} == {
        *((key, "removed", "it is done") for key in "ab"),
        ("c", "delivered", "it failed"),
    }
    assert (plan(tables, "r5"), list(everything(tables))) == (Planned(removed=1, unchanged=1), ["c"])
    store.insert("people", [("c", "x")])
    assert planned(tables) == Planned(changed=1, unchanged=1)


def test_a_deletion_whose_job_is_not_known_ends_after_21_days(store):
    store.create("people", PEOPLE, [("a", "x"), ("b", "x")])
    tables = store.tables(people(on_removed="delete"))
    tables.prepare()
    deliver(tables, "r1")
    store.create("people", PEOPLE, [])
    jobs = {"a": UNKNOWN_JOB, "b": "job"}
    deliver(tables, "r2", {key: Outcome("delivered", f"{QUEUED_DELETION}{job}") for key, job in jobs.items()})
    store.create("people", PEOPLE, [("a", "x"), ("b", "x")])
    for days, still in ((20, {"a": UNKNOWN_JOB, "b": "job"}), (22, {"b": "job"})):
        store.log_at("people__ledger", days * DAY)
        assert plan(tables, f"after {days} days") == Planned(added=2)
        assert tables.returned(f"after {days} days") == still
        assert tables.queued_deletions() == dict.fromkeys(still.values(), 1)


def test_a_row_is_logged_with_how_it_differed_and_its_first_delivery_is_kept(store, short):
    for run, rows in enumerate(("ax bx cx", "ay bx", "az bx dx dy", "ax bx")):
        store.create("people", PEOPLE, [tuple(row) for row in rows.split()])
        tables = store.tables(people(on_removed="delete"))
        deliver(tables, f"r{run}", {"b": NO} if run == 0 else {})
    logged = f"select record_key, change, status, run_id from {tables.ledger} order by record_key, commit_number"
    first, *later = (("a", "changed" if run else "added", "delivered", f"r{run}") for run in range(4))
    others = [
        *(("b", "added", "rejected", "r0"), ("b", "added", "delivered", "r1")),
        *(("c", "added", "delivered", "r0"), ("c", "removed", "removed", "r1")),
        ("d", None, "invalid", "r2"),
    ]
    assert store.session.rows(logged) == [first, *later, *others]
    store.bloat(tables, 4)
    tables.compact(1)
    assert sorted(set(store.session.rows(logged)), key=str) == sorted([first, later[-1], *others], key=str)
    plan(tables, "adopted", full_refresh=True)
    tables.adopt("adopted")
    assert set(store.session.rows(logged)) == {(key, None, "delivered", "adopted") for key in "ab"}


def test_compaction_keeps_what_counts(store, short, monkeypatch):
    store.create("people", PEOPLE, [("a", "x"), ("b", "x"), ("c", "x"), ("d", "1"), ("d", "2")])
    tables = store.tables(people())

    def compact_after_two_runs(attempts: int) -> bool:
        """Checks before and after that the failed row has so many attempts; returns whether less is left."""
        for number in range(2):
            deliver(tables, f"r{number}", {"c": NO}, full_refresh=True)
        store.bloat(tables, 1)
        before = len(store.ledger(tables))
        for compacts in (False, True):
            if compacts:
                tables.compact(4)
            # As often as it failed: a row that is held by one attempt less would be sent.
            assert planned(tables, max_attempts=attempts) == Planned(held=1, unchanged=2, invalid=2)
            assert planned(tables, max_attempts=attempts + 1) == Planned(added=1, unchanged=2, invalid=2)
        return len(store.ledger(tables)) < before

    assert compact_after_two_runs(attempts=2)
    # A view that reads it may be in the way of that: then it stays as long as it is.
    view = store.relation("people__seen", store.own_schema)
    store.session.run(f"create view {view} as select * from {tables.ledger}")
    compact_after_two_runs(attempts=4)
    assert store.session.tables(store.own_schema) - {"people__seen"} == {"people__ledger", "people__changes"}
    # It still reads the ledger.
    assert store.session.rows(f"select count(*) from {view}") == [(len(store.ledger(tables)),)]
    store.session.run(f"drop view {view}")
    # A run of an older release that died between the last two steps of it.
    store.session.rename(store.own_schema, "people__ledger", "people__compacted")
    assert planned(store.tables(people()), max_attempts=4) == Planned(held=1, unchanged=2, invalid=2)


class Killed(BaseException):
    """The end of a run that has no time to tidy up."""


class Replaced:
    """A ledger with four entries for each of two people who are known, to be replaced over and over."""

    LEFT = frozenset({"people__ledger", "people__changes"})

    def __init__(self, store: Store, *more: tuple[str, str]) -> None:
        self.store = store
        store.create("people", PEOPLE, [("a", "x"), ("b", "x")])
        tables = store.tables(people())
        deliver(tables, "r1")
        store.bloat(tables)
        store.session.run(f"create table {store.relation('saved')} as select * from {tables.ledger}")
        if more:
            store.insert("people", more)

    def again(self) -> SyncTables:
        """Sets the ledger back."""
        session, schema = self.store.session, self.store.own_schema
        for name in session.tables(schema) - {"people__changes"}:
            session.drop(schema, name)
        ledger = f"create table {self.store.relation('people__ledger', schema)}"
        session.create(schema, "people__ledger", f"{ledger} as select * from {self.store.relation('saved')}")
        return self.store.tables(people())

    def before_each_statement(self, patch: pytest.MonkeyPatch, happens: Callable[[int], None]) -> Iterator[int]:
        """Lets something happen before each statement; returns the numbers of those there were."""
        numbers = itertools.count()

        def stepped(original: Callable[..., Any]) -> Callable[..., Any]:
            def step(*args: Any) -> Any:
                happens(next(numbers))
                return original(*args)

            return step

        for name in ("run", "rows", "rename"):
            patch.setattr(self.store.session, name, stepped(getattr(self.store.session, name)))
        return numbers

    def check(self, wanted: Planned) -> None:
        assert planned(self.store.tables(people())) == wanted
        assert self.store.session.tables(self.store.own_schema) == self.LEFT


def each_by_itself(store: Store, patch: pytest.MonkeyPatch) -> None:
    """Leaves the statements of a replacement without a transaction, as some warehouses do."""
    patch.setattr(type(store.session), "transaction", lambda self: contextlib.nullcontext())


@pytest.mark.parametrize(("what", "is_one"), [("compaction", True), ("compaction", False), ("adoption", False)])
def test_a_kill_at_any_statement(store, short, monkeypatch, what, is_one):
    replaced = Replaced(store)
    if not is_one:
        each_by_itself(store, monkeypatch)
    for last in itertools.count(0, store.engine.step):
        tables = replaced.again()
        if what == "adoption":
            plan(tables, "r2", full_refresh=True)

        def dies(number: int, last: int = last) -> None:
            if number >= last:
                raise Killed

        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            numbers = replaced.before_each_statement(patch, dies)
            tables.compact(2) if what == "compaction" else tables.adopt("r2")
        # Without the sync's lock, and without writing anything.
        assert planned(tables).to_send == 0
        replaced.check(Planned(unchanged=2))
        if next(numbers) <= last:
            break
    assert last > 6


@pytest.mark.parametrize("compacts", [False, True])
def test_another_run_before_any_statement(store, short, monkeypatch, compacts):
    replaced = Replaced(store, ("c", "x"))
    each_by_itself(store, monkeypatch)
    for when in itertools.count(0, store.engine.step):
        tables = replaced.again()
        known = []

        def other_run(number: int, when: int = when, known: list[str] = known) -> None:
            if number == when:
                with contextlib.suppress(WarehouseError):
                    others = store.tables(people())
                    deliver(others, "r2")
                    known.append("c")
                    if compacts:
                        others.compact(3)

        with monkeypatch.context() as patch, contextlib.suppress(WarehouseError):
            replaced.before_each_statement(patch, other_run)
            tables.compact(2)
        replaced.check(Planned(added=1 - len(known), unchanged=2 + len(known)))
        if when > 6 and not known:
            break


def test_who_comes_late_and_who_lost_the_lock_replace_nothing(store, short):
    replaced = Replaced(store)
    tables = store.tables(people())
    tables.lock.acquire("first")
    tables.lock.break_()
    second = SyncLock(store.session, store.own_schema, "people")
    second.acquire("second")
    entries = store.ledger(tables)
    replacing: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        *((tables.compact, (2,)), (tables.adopt, ("first",)), (tables.forget, ()))
    ]
    for attempt, arguments in replacing:
        with pytest.raises(LockLostError, match="It is held by run second"):
            attempt(*arguments)
    assert store.ledger(tables) == entries
    assert store.session.tables(store.own_schema) == {*replaced.LEFT, "people__lock"}
    assert tables.change_set_run() == "r1"
    # A change set is written before that is noticed: who lost the lock sends none of it, and nobody else commits it.
    with pytest.raises(LockLostError, match="It is held by run second"):
        tables.write_changes("first", PlanOptions())
    second.release()

    # A first run that wakes up late makes a ledger while the old one is set aside.
    store.session.rename(store.own_schema, "people__ledger", "people__old_0123ab")
    empty = store.relation("people__ledger", store.own_schema)
    store.session.run(store.session.sql("pendo_create_ledger", ledger=empty))
    replaced.check(Planned(unchanged=2))


def test_what_was_delivered_as_one_thing_was_not_delivered_as_another(store, short):
    click = ("x", "Clicked", "a", "2026-01-02 03:04:05")
    columns = {**PEOPLE, **{name: CLICKS[name] for name in ("event", "person", "at")}}
    store.create("people", columns, [("a", *click), ("b", *click)])

    def events(app: str | None = None) -> SyncTables:
        event = clicks().event
        assert event is not None
        return store.tables(clicks(name="people", event=dataclasses.replace(event, app=app)))

    tables = store.tables(people())
    assert tables.earlier_destination() is None
    deliver(tables, "r1", {"b": NO})

    tables = events()
    alone = SyncTables(store.session, store.own_schema, tables._spec, tables._source)
    assert (planned(alone, max_attempts=1), alone.earlier_destination()) == (Planned(added=2), "visitor")
    assert deliver(tables, "r2", max_attempts=1) == Planned(added=2)
    assert events().earlier_destination() is None
    history = History(store.session, store.own_schema)
    assert history.open_rows("people", ["rejected"], 10) == []
    known = [(one.status, one.destination) for one in history.entries("people", "b")]
    assert known == [("delivered", "track_event"), ("rejected", "visitor")]

    # An app's events go to that app, however it is spelt.
    tables = events("web")
    assert deliver(tables, "r3") == Planned(added=2)
    assert planned(events("Web")) == Planned(unchanged=2)
    # Adopting for one destination forgets none of another.
    plan(tables, "adopted", full_refresh=True)
    tables.adopt("adopted")
    assert {entry[4] for entry in store.ledger(tables)} == {"r1", "r2", "adopted"}

    # By mistake, and back again; a compaction in between keeps what each of them knows.
    tables = store.tables(people())
    deliver(tables, "r5", {"b": NO}, full_refresh=True, max_attempts=None)
    compact(store, tables)
    assert planned(tables, max_attempts=1) == Planned(held=1, unchanged=1)
    assert [planned(again) for again in (events(), events("web"))] == [Planned(unchanged=2)] * 2


def test_the_latest_commit_counts_though_the_clock_was_fast(store, short):
    for run, value in enumerate("xyx"):
        store.create("people", PEOPLE, [("a", value), ("b", value), ("c", "z")])
        tables = store.tables(people())
        assert plan(tables, f"r{run}").to_send == (3 if run == 0 else 2)
        if run < 2:
            commit(tables, f"r{run}", {"b": Outcome("rejected", f"no {value}")})
        if run == 0:
            store.log_at("people__ledger", -30 * DAY)
    history = History(store.session, store.own_schema)
    assert [one.run_id for one in history.entries("people", "a")] == ["r1", "r0"]
    assert [row.detail for row in history.open_rows("people", ["rejected"], 9)] == ["no y"]
    deliver(tables, "r3", full_refresh=True)
    compact(store, tables)
    assert planned(tables) == Planned(unchanged=3)


@pytest.mark.parametrize("lacking", [ledger.ADDED_COLUMNS, ("change",)])
def test_a_ledger_of_an_earlier_version_is_carried_on(store, lacking):
    """`a` was delivered twice, `b` was rejected, and `c` is gone."""
    store.create("people", PEOPLE, [("a", "x"), ("b", "x"), ("c", "x")])
    tables = store.tables(people())
    deliver(tables, "r1", {"b": NO})
    store.create("people", PEOPLE, [("a", "y"), ("b", "x")])
    deliver(tables, "r2", {"b": Outcome("rejected", "still no")})
    store.rewrite("people__ledger", without=lacking)
    history = History(store.session, store.own_schema)

    def told(destination: str | None) -> bool:
        entries = history.entries("people", "b")
        return [
            [(one.detail, one.run_id, one.destination) for one in entries],
            [(row.key, row.detail) for row in history.open_rows("people", ["rejected"], 9)],
            [one.message for one in history.reasons("people", "r1")],
            [row.key for row in history.failed_rows("people", "r2", 9)],
        ] == [[("still no", "r2", destination), ("no", "r1", destination)], [("b", "still no")], ["no"], ["b"]]

    found = store.session.columns(None, store.schema, "people")
    assert found is not None
    source = ModelTable(store.relation("people"), found[0], (found[1],))
    unprepared = SyncTables(store.session, store.own_schema, people(), source)
    assert planned(unprepared) == Planned(added=1, unchanged=1)
    assert unprepared.earlier_destination() is None
    assert told(destination=None if "destination" in lacking else "visitor")

    tables = store.tables(people())
    assert "people__compacted" not in store.session.tables(store.own_schema)
    assert plan(tables, "r3") == Planned(added=1, unchanged=1)
    assert told(destination="visitor")
    assert store.session.rows(f"select distinct change from {tables.ledger}") == [(None,)]
    entries = store.ledger(tables)
    assert [(entry[0], entry[4]) for entry in entries] == [(key, run) for run in ("r1", "r2") for key in "abc"]
    commit(tables, "r3")
    assert planned(store.tables(people())) == Planned(unchanged=2)
    assert store.ledger(tables)[:6] == entries

    # What a death left of one.
    store.rewrite("people__ledger", without=lacking)
    store.session.rename(store.own_schema, "people__ledger", "people__compacted")
    assert planned(store.tables(people())) == Planned(unchanged=2)
