"""What every warehouse has to do for a sync. An engine's test file imports these tests, and brings an ``engine``."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import orjson
import pytest
from engine import Store, clicks, everything, people, plan

from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.objects import EventCounts, PropertySize, PropertySizes
from dbt_pendo.mapping.spec import Column, Event, Field, ParentChild, SyncSpec, Value
from dbt_pendo.outcomes import DELIVERED, QUEUED_DELETION, UNSENT, Outcome
from dbt_pendo.records.batches import body_layouts
from dbt_pendo.records.render import PendoField, Record, Rendered, render
from dbt_pendo.warehouse import ledger, lock
from dbt_pendo.warehouse.builds import read_builds, take_builds
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.lock import LockedError, LockLostError, SyncLock
from dbt_pendo.warehouse.pages import Planned, Row, cut_pages, positions_to_write
from dbt_pendo.warehouse.plan import EVERYTHING, ChangeSet, DriftTable, ModelTable, PlanOptions
from dbt_pendo.warehouse.runs import History, log_run
from dbt_pendo.warehouse.segments import NotedSegment, SegmentNotes
from dbt_pendo.warehouse.session import Session, WarehouseError

PEOPLE = {"id": "text", "plan": "text"}
AWKWARD = [
    "it's",
    '"quoted"',
    "back\\slash",
    "trailing\\",
    "\\'); drop table x; --",
    "new\nline\r\ntab\t",
    "{{ jinja }} {% raw %} {# x #}",
    "%s %(name)s %% :bind ? $1 @at",
    "${env:HOME} ${x} $x",
    "emoji 🚀 größe 名前",
    "/* comment */ -- comment",
    "null",
    " leading and trailing ",
]
# In UTC; clocks in Berlin and New York never show such a time, or show the same an hour later.
CLOCK_CHANGES = [
    *("2026-03-29 02:30:00+00", "2026-03-29 03:30:00+00", "2026-10-25 00:30:00+00", "2026-10-25 01:30:00+00"),
    *("2026-03-08 02:30:00+00", "2026-03-08 03:30:00+00", "2026-11-01 05:30:00+00", "2026-11-01 06:30:00+00"),
]

__all__ = [
    "TestBeyondPython",
    "TestBodies",
    "TestBuilds",
    "TestClock",
    "TestCommits",
    "TestDestinations",
    "TestDrift",
    "TestEarlierVersions",
    "TestEvents",
    "TestExactKeys",
    "TestHistory",
    "TestLocks",
    "TestNames",
    "TestPages",
    "TestPlans",
    "TestReplacements",
    "TestRunLog",
    "TestSchemas",
    "TestSegments",
    "TestSnapshots",
    "TestValues",
]


def commit(tables: SyncTables, run_id: str, **others: Outcome) -> None:
    """Commits a whole change set: all rows were delivered but for those named."""
    rows = tables.read_page(EVERYTHING)
    outcomes = {row[:2]: others[row[3]] for row in rows if row[3] in others}
    tables.commit(run_id, EVERYTHING, [row[:2] for row in rows], outcomes)


def drifted(store: Store, changes: ChangeSet, run_id: str, **states: str) -> DriftTable:
    """Writes a change set of all rows, and a table of those that drifted: by key, how."""
    plan(changes, run_id, full_refresh=True)
    drift = DriftTable(store.session, store.own_schema, people())
    drift.create()
    drift.add({row[:2]: states[row[3]] for row in changes.read_page(EVERYTHING) if row[3] in states})
    return drift


def wait_until(is_so: Callable[[], bool]) -> None:
    """Waits for something to become true, a minute at most."""
    give_up_at = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def check_written(tables: SyncTables, spec: SyncSpec, fields: Sequence[PendoField]) -> Sequence[Record]:
    """Compares the bodies that the warehouse writes, if it does, with Python's; returns Python's records."""
    rows = tables.read_page(EVERYTHING)
    records = {record.position: record for record in render(spec, rows, fields).updates}
    layouts = body_layouts(spec, fields)
    if tables.writes_bodies(layouts):
        for bodies, row in zip(tables.read_bodies(EVERYTHING, layouts), rows, strict=True):
            record = records.get(row[:2])
            wanted = record and [orjson.dumps(one) for one in record.bodies]
            assert None in bodies or [body.encode() for body in bodies] == wanted
    return list(records.values())


class TestPlans:
    def test_the_first_plan_has_every_row(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "free"), ("b", None), ("A", "team")])
        tables = store.tables(people())
        assert plan(tables, "r1") == Planned(added=3)
        found = everything(tables)
        assert {key: (row[2], row[4]) for key, row in found.items()} == {
            "a": ("added", "free"),
            "b": ("added", None),
            "A": ("added", "team"),
        }
        assert all(len(row[0]) == 3 and set(row[0]) <= set("0123456789abcdef") for row in found.values())

    def test_an_empty_model(self, store: Store) -> None:
        store.create("people", PEOPLE, [])
        tables = store.tables(people())
        assert plan(tables, "r1") == Planned()
        assert everything(tables) == {}

    def test_what_was_delivered_is_unchanged_until_it_changes(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "free"), ("b", "free"), ("c", None), ("d", "x")])
        tables = store.tables(people(on_removed="clear"))
        plan(tables, "r1")
        commit(tables, "r1")
        assert plan(tables, "r2") == Planned(unchanged=4)
        assert everything(tables) == {}

        store.create("people", PEOPLE, [("a", "free"), ("b", "team"), ("c", ""), ("e", "new")])
        assert plan(tables, "r3") == Planned(added=1, changed=2, removed=1, unchanged=1)
        assert {key: row[2] for key, row in everything(tables).items()} == {
            "b": "changed",
            "c": "changed",
            "d": "removed",
            "e": "added",
        }
        commit(tables, "r3")
        assert plan(tables, "r4") == Planned(unchanged=4)
        # Back again, and as it was.
        store.insert("people", [("d", "x")])
        assert plan(tables, "r5") == Planned(added=1, unchanged=4)

    def test_who_left_is_removed_once(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "free"), ("b", "free")])
        tables = store.tables(people())
        plan(tables, "r1")
        commit(tables, "r1")
        store.create("people", PEOPLE, [("a", "free"), (None, "free")])
        assert plan(tables, "r2") == Planned(removed=1, unchanged=1, invalid=1)
        # Nothing is sent for it.
        assert tables.preview(PlanOptions(), 5) == []
        commit(tables, "r2")
        assert plan(tables, "r3") == Planned(unchanged=1, invalid=1)
        store.create("people", PEOPLE, [("a", "free"), ("b", "free")])
        assert plan(tables, "r4") == Planned(added=1, unchanged=1)

    def test_keys_that_name_nobody_are_invalid(self, store: Store) -> None:
        rows = [("a", "x"), (None, "x"), ("", "x"), ("  ", "x"), ("b", "1"), ("b", "2"), ("b", "2")]
        store.create("people", PEOPLE, [*rows, ("_PENDO_T_1", "x"), ("VISITOR-UNIQUE-ID", "x")])
        tables = store.tables(people())
        assert plan(tables, "r1") == Planned(added=1, invalid=8)
        assert {(reason, count) for reason, count, _ in tables.invalid_reasons()} == {
            ("the key is null", 1),
            ("the key is empty", 2),
            ("3 rows have this key", 3),
            ("an anonymous visitor id", 2),
        }
        commit(tables, "r1")
        by_key = Counter((key, status) for key, status, *_ in store.ledger(tables))
        assert by_key["a", "delivered"] == by_key["b", "invalid"] == by_key["_PENDO_T_1", "invalid"] == 1
        assert not [key for key, _ in by_key if key is None]
        # They are named in the ledger once, not in every run.
        before = len(store.ledger(tables))
        assert plan(tables, "r2") == Planned(unchanged=1, invalid=8)
        commit(tables, "r2")
        assert len(store.ledger(tables)) == before

    def test_another_mapping_sends_everything_again(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "free"), ("b", "free")])
        tables = store.tables(people())
        plan(tables, "r1")
        commit(tables, "r1")
        other = store.tables(people(fields=(Field("plan_name", Column("plan")),)))
        assert plan(other, "r2") == Planned(changed=2)

    def test_events_are_delivered_once(self, store: Store) -> None:
        columns = {"id": "text", "event": "text", "person": "text", "at": "moment"}
        store.create("clicks", columns, [("e1", "Clicked", "a", "2026-01-02 03:04:05")])
        tables = store.tables(clicks())
        plan(tables, "r1")
        commit(tables, "r1")
        store.create("clicks", columns, [(f"e{i}", "Viewed", "b", "2026-01-02 03:04:06") for i in (1, 2)])
        assert plan(tables, "r2") == Planned(added=1, unchanged=1)
        assert plan(tables, "r3", full_refresh=True) == Planned(added=1, changed=1)

    def test_rows_that_failed_come_again_and_are_held_in_the_end(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "free"), ("b", "free"), ("c", "free")])
        tables = store.tables(people())
        for number in (1, 2, 3):
            planned = plan(tables, f"r{number}", max_attempts=3)
            assert planned == (Planned(added=3) if number == 1 else Planned(added=2, unchanged=1))
            commit(tables, f"r{number}", a=Outcome("rejected", "no"), b=Outcome("missing", "who?"))
        assert plan(tables, "r4", max_attempts=3) == Planned(held=2, unchanged=1)
        assert plan(tables, "r5", max_attempts=None) == Planned(added=2, unchanged=1)
        assert plan(tables, "r6", max_attempts=10, missing_retry=1.0) == Planned(added=1, held=1, unchanged=1)
        store.create("people", PEOPLE, [("a", "team"), ("b", "free"), ("c", "free")])
        assert plan(tables, "r7", max_attempts=3) == Planned(added=1, held=1, unchanged=1)

    def test_a_plan_alone_stores_nothing(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "free"), ("b", "free")])
        tables = store.tables(people())
        buckets = tables.plan(PlanOptions())
        assert sum((bucket.planned for bucket in buckets), Planned()) == Planned(added=2)
        assert len(tables.preview(PlanOptions(), 1)) == 1
        assert "people__changes" not in store.session.tables(store.own_schema)


class TestCommits:
    def test_each_row_gets_its_outcome(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 3)
        store.create("people", PEOPLE, [(f"p{i}", "x") for i in range(40)])
        tables = store.tables(people())
        kinds = itertools.cycle(
            [DELIVERED, Outcome("missing", "who?"), Outcome("rejected", "no"), UNSENT, Outcome("invalid", "odd")]
        )
        for most in (None, Outcome("missing", "who?"), UNSENT):
            run_id = f"run {most}"
            plan(tables, run_id, full_refresh=True)
            rows = tables.read_page(EVERYTHING)
            told = {
                row[:2]: outcome if most is None or at % 5 == 0 else most
                for at, (row, outcome) in enumerate(zip(rows, kinds, strict=False))
            }
            tables.commit(run_id, EVERYTHING, list(told), {at: one for at, one in told.items() if one is not DELIVERED})
            wanted = Counter(
                (row[3], one.status, one.detail) for row in rows if (one := told[row[0], row[1]]).status != "unsent"
            )
            written = Counter(entry[:3] for entry in store.ledger(tables) if entry[4] == run_id)
            assert written == wanted

    def test_long_reasons_make_no_long_statement(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        store.create("people", PEOPLE, [(f"p{i}", "x") for i in range(12)])
        tables = store.tables(people())
        plan(tables, "r1")
        reason = "🚀" * 600
        monkeypatch.setattr(ledger, "DETAIL_BYTES_PER_STATEMENT", 5_000)
        seen: list[str] = []
        run = store.session.run
        monkeypatch.setattr(store.session, "run", lambda sql: (seen.append(sql), run(sql)))
        commit(tables, "r1", **{f"p{i}": Outcome("rejected", reason) for i in range(0, 12, 3)})
        assert {entry[0]: entry[2] for entry in store.ledger(tables)} == {
            f"p{i}": None if i % 3 else reason[:500] for i in range(12)
        }
        # Four reasons of 2,000 bytes, two to a statement.
        assert len(seen) == 2

    def test_removed_rows_are_known_to_be_gone(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "x"), ("b", "x")])
        tables = store.tables(people(on_removed="delete"))
        plan(tables, "r1")
        commit(tables, "r1")
        store.create("people", PEOPLE, [])
        assert plan(tables, "r2") == Planned(removed=2)
        commit(tables, "r2", b=Outcome("rejected", "no"))
        assert plan(tables, "r3") == Planned(removed=1)
        assert list(everything(tables)) == ["b"]

    def test_queued_deletions_are_known_until_they_end(self, store: Store) -> None:
        store.create("people", PEOPLE, [(key, "x") for key in "abcdef"])
        tables = store.tables(people(on_removed="delete"))
        assert tables.prepare() is None
        assert tables.queued_deletions() == {}
        plan(tables, "r1")
        commit(tables, "r1")
        store.create("people", PEOPLE, [])
        plan(tables, "r2")
        jobs = {"a": "it's 100%", "b": "it's 100%", "c": "2", "d": "2", "e": "3"}
        commit(tables, "r2", **{key: Outcome("delivered", f"{QUEUED_DELETION}{job}") for key, job in jobs.items()})
        assert {entry[0]: entry[1:3] for entry in store.ledger(tables) if entry[4] == "r2"} == {
            **{key: ("removed", f"{QUEUED_DELETION}{job}") for key, job in jobs.items()},
            "f": ("removed", None),
        }
        # One is back by now, and no longer to be followed.
        store.create("people", PEOPLE, [("d", "y")])
        assert plan(tables, "r3") == Planned(added=1)
        commit(tables, "r3")
        assert tables.queued_deletions() == {"it's 100%": 2, "2": 1, "3": 1}
        tables.end_deletion("r4", "it's 100%", "it is done", is_undone=False)
        tables.end_deletion("r4", "2", "it failed", is_undone=True)
        assert tables.queued_deletions() == {"3": 1}
        assert {entry[:3] for entry in store.ledger(tables) if entry[4] == "r4"} == {
            ("a", "removed", "it is done"),
            ("b", "removed", "it is done"),
            ("c", "delivered", "it failed"),
        }
        assert plan(tables, "r5") == Planned(removed=1, unchanged=1)
        assert list(everything(tables)) == ["c"]
        store.create("people", PEOPLE, [("c", "x"), ("d", "y")])
        assert plan(tables, "r6") == Planned(changed=1, unchanged=1)

    def test_another_runs_change_set_is_not_committed(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "x")])
        tables = store.tables(people())
        plan(tables, "r1")
        positions = tables.read_positions(EVERYTHING)
        plan(tables, "r2")
        tables.commit("r1", EVERYTHING, positions, {})
        assert store.ledger(tables) == []
        assert tables.change_set_run() == "r2"

    def test_compaction_keeps_what_counts(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 1)
        store.create("people", PEOPLE, [("a", "x"), ("b", "x"), ("c", "x"), ("d", "1"), ("d", "2")])
        tables = store.tables(people())
        for number in range(8):
            plan(tables, f"r{number}", full_refresh=True, max_attempts=None)
            commit(tables, f"r{number}", c=Outcome("rejected", "no"))
        before = plan(tables, "before", max_attempts=9)
        entries = len(store.ledger(tables))
        tables.compact(4)
        assert len(store.ledger(tables)) < entries
        assert plan(tables, "after", max_attempts=9) == before
        assert store.session.tables(store.own_schema) >= {"people__ledger", "people__changes"}
        # A view that reads it may be in the way of that: then it stays as long as it is.
        view = store.relation("people__seen", store.own_schema)
        store.session.run(f"create view {view} as select * from {tables.ledger}")
        for number in range(8):
            plan(tables, f"s{number}", full_refresh=True, max_attempts=None)
            commit(tables, f"s{number}", c=Outcome("rejected", "no"))
        before = plan(tables, "before", max_attempts=99)
        tables.compact(4)
        assert plan(tables, "after", max_attempts=99) == before
        assert store.session.tables(store.own_schema) - {"people__seen"} == {"people__ledger", "people__changes"}
        # It still reads the ledger.
        assert store.session.rows(f"select count(*) from {view}") == [(len(store.ledger(tables)),)]
        store.session.run(f"drop view {view}")
        # A run of an older release that died between the last two steps of it.
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 1_000)
        store.session.rename(store.own_schema, "people__ledger", "people__compacted")
        assert plan(store.tables(people()), "again", max_attempts=99) == before


class Killed(BaseException):
    """The end of a run that has no time to tidy up."""


class TestReplacements:
    """A ledger is replaced as a whole: nothing is forgotten, whoever dies and whoever comes between."""

    LEFT: ClassVar = {"people__ledger", "people__changes"}
    # Every statement is a place to die at; every so many where one takes long.
    STEP: ClassVar = 1

    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 1)

    def each_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Leaves the statements of a replacement without a transaction, as some warehouses do."""
        monkeypatch.setattr(Session, "transaction", lambda self: contextlib.nullcontext())

    def bloated(self, store: Store) -> SyncTables:
        """A ledger with four entries for each of two people who are known."""
        store.create("people", PEOPLE, [("a", "x"), ("b", "x")])
        store.session.ensure_schema(store.own_schema)
        for name in store.session.tables(store.own_schema):
            store.session.drop(store.own_schema, name)
        tables = store.tables(people())
        plan(tables, "r1")
        commit(tables, "r1")
        columns = "record_key, row_hash, status, detail, attempts, run_id, logged_at, destination, commit_number"
        for _ in range(2):
            store.session.run(f"insert into {tables.ledger} ({columns}) select {columns} from {tables.ledger}")
        return tables

    def before_each_statement(
        self, store: Store, patch: pytest.MonkeyPatch, happens: Callable[[int], None]
    ) -> Iterator[int]:
        """Lets something happen before each statement; returns the numbers of those there were."""
        numbers = itertools.count()

        def stepped(original: Callable[..., Any]) -> Callable[..., Any]:
            def step(*args: Any) -> Any:
                happens(next(numbers))
                return original(*args)

            return step

        for name in ("run", "rows", "rename"):
            patch.setattr(store.session, name, stepped(getattr(store.session, name)))
        return numbers

    @pytest.mark.parametrize(("what", "is_one"), [("compaction", True), ("compaction", False), ("adoption", False)])
    def test_a_kill_at_any_statement(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, what: str, is_one: bool
    ) -> None:
        if not is_one:
            self.each_by_itself(monkeypatch)
        for last in itertools.count(0, self.STEP):
            tables = self.bloated(store)
            if what == "adoption":
                plan(tables, "r2", full_refresh=True)

            def dies(number: int, last: int = last) -> None:
                if number >= last:
                    raise Killed

            with monkeypatch.context() as patch, contextlib.suppress(Killed):
                numbers = self.before_each_statement(store, patch, dies)
                tables.compact(2) if what == "compaction" else tables.adopt("r2")
            # Without the sync's lock, and without writing anything.
            assert tables.plan(PlanOptions())[0].planned.to_send == 0
            assert plan(store.tables(people()), "r3") == Planned(unchanged=2)
            assert store.session.tables(store.own_schema) == self.LEFT
            if next(numbers) <= last:
                break
        assert last > 6

    @pytest.mark.parametrize("compacts", [False, True])
    def test_another_run_before_any_statement(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, compacts: bool
    ) -> None:
        self.each_by_itself(monkeypatch)
        for when in itertools.count(0, self.STEP):
            tables = self.bloated(store)
            store.insert("people", [("c", "x")])
            known = []

            def other_run(number: int, when: int = when, known: list[str] = known) -> None:
                if number == when:
                    with contextlib.suppress(WarehouseError):
                        others = store.tables(people())
                        plan(others, "r2")
                        commit(others, "r2")
                        known.append("c")
                        if compacts:
                            others.compact(3)

            with monkeypatch.context() as patch, contextlib.suppress(WarehouseError):
                self.before_each_statement(store, patch, other_run)
                tables.compact(2)
            assert plan(store.tables(people()), "r3") == Planned(added=1 - len(known), unchanged=2 + len(known))
            assert store.session.tables(store.own_schema) == self.LEFT
            if when > 6 and not known:
                break

    def test_a_first_run_that_wakes_up_late(self, store: Store) -> None:
        self.bloated(store)
        store.session.rename(store.own_schema, "people__ledger", "people__old_0123ab")
        store.session.run(
            store.session.sql("pendo_create_ledger", ledger=store.relation("people__ledger", store.own_schema))
        )
        assert plan(store.tables(people()), "r2") == Planned(unchanged=2)
        assert store.session.tables(store.own_schema) == self.LEFT

    def test_who_lost_the_lock_replaces_nothing(self, store: Store) -> None:
        tables = self.bloated(store)
        tables.lock.acquire("first")
        tables.lock.break_()
        SyncLock(store.session, store.own_schema, "people").acquire("second")
        entries = store.ledger(tables)
        for attempt in (
            lambda: tables.compact(2),
            lambda: tables.adopt("first"),
            lambda: tables.forget(),
            lambda: tables.write_changes("first", PlanOptions()),
        ):
            with pytest.raises(LockLostError, match="It is held by run second"):
                attempt()
        assert store.ledger(tables) == entries
        assert store.session.tables(store.own_schema) == {*self.LEFT, "people__lock"}
        assert tables.change_set_run() == "r1"


CLICKS = {"id": "text", "event": "text", "person": "text", "at": "moment"}
HOUR, DAY = 3600, 24 * 3600
NO_PROPERTIES = PropertySizes(1, ())


def ago(seconds: float, kind: str = "moment") -> str:
    """That moment as a text that becomes a column of the kind."""
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)
    if kind == "day":
        return at.strftime("%Y-%m-%d")
    if kind == "zoned":
        # No clock of the machine's, and none of a session's.
        at = at.astimezone(datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
        return at.strftime("%Y-%m-%d %H:%M:%S+05:30")
    return at.strftime("%Y-%m-%d %H:%M:%S")


def clicked(*events: tuple[str, str | None]) -> list[tuple[str | None, ...]]:
    """Events of ids and moments."""
    return [(key, "Clicked", "a", at) for key, at in events]


class TestEvents:
    @pytest.mark.parametrize("kind", ["moment", "zoned"])
    def test_late_and_future_ones_are_counted(self, store: Store, kind: str) -> None:
        if kind not in store.engine.types:
            pytest.skip(f"{store.engine.name} has no such type")
        late = [7 * DAY + 60, 8 * DAY, 9000 * DAY]
        fine = [7 * DAY - 60, 7 * DAY - 6 * HOUR, 0, -4 * 60]
        future = [-6 * 60, -5 * HOUR, -9000 * DAY]
        events = [(f"e{at}", ago(at, kind)) for at in (*late, *fine, *future)]
        store.create("clicks", {**CLICKS, "at": kind}, clicked(*events, ("null", None)))
        tables = store.tables(clicks())
        wanted = EventCounts(late=3, future=3, names=1)
        assert tables.count_events(NO_PROPERTIES, PlanOptions()) == wanted
        plan(tables, "r1")
        assert tables.count_events(NO_PROPERTIES) == wanted
        # Only what a sync would send is looked at, but for names.
        commit(tables, "r1")
        plan(tables, "r2")
        assert tables.count_events(NO_PROPERTIES) == EventCounts(names=1)
        assert tables.count_events(NO_PROPERTIES, PlanOptions(full_refresh=True)) == wanted

    def test_days_are_their_first_instant(self, store: Store) -> None:
        events = [("old", ago(8 * DAY, "day")), ("new", ago(6 * DAY, "day")), ("next", ago(-2 * DAY, "day"))]
        store.create("clicks", {**CLICKS, "at": "day"}, clicked(*events))
        tables = store.tables(clicks())
        assert tables.count_events(NO_PROPERTIES, PlanOptions()) == EventCounts(late=1, future=1, names=1)

    def test_a_timestamp_that_is_text_is_not_judged(self, store: Store) -> None:
        store.create("clicks", {**CLICKS, "at": "text"}, clicked(("e1", "2001-01-01"), ("e2", "no time")))
        assert store.tables(clicks()).count_events(NO_PROPERTIES, PlanOptions()) == EventCounts(names=1)

    def test_an_empty_model_has_no_concerns(self, store: Store) -> None:
        store.create("clicks", CLICKS, [])
        assert store.tables(clicks()).count_events(NO_PROPERTIES, PlanOptions()) == EventCounts()

    def test_properties_are_measured_in_bytes(self, store: Store) -> None:
        columns = {**CLICKS, "note": "text", "seats": "whole", "won": "flag", "seen": "moment"}
        # `{"note":"…","seats":…,"won":…,"seen":"2026-01-02T03:04:05.999+00:00"}`
        sizes = PropertySizes(
            1,
            [
                PropertySize("note", 10, None),
                PropertySize("seats", 9, None),
                PropertySize("won", 7, None),
                PropertySize("seen", 8, 31),
            ],
        )
        others: list[dict[str, Any]] = [{}, {"seats": 12345}, {"won": False}, {"seen": "2026-01-02T03:04:05.999+00:00"}]
        bodies = [
            {"note": text * times, **more}
            for more in others
            for text, most in (("x", 501), ("ö", 250), ("🚀", 125))
            for times in range(most - 20, most + 2)
        ]
        wanted = Counter(len(orjson.dumps(body)) for body in bodies)
        assert wanted[512] >= 3 <= wanted[513]
        rows = [
            (
                f"e{at}",
                body["note"],
                body.get("seats"),
                "false" if "won" in body else None,
                ago(0) if "seen" in body else None,
            )
            for at, body in enumerate(bodies)
        ]
        rows.append(("none", None, None, None, None))
        store.create("clicks", columns, [(key, "Clicked", "a", ago(0), *values) for key, *values in rows])
        spec = clicks()
        assert spec.event is not None
        properties = tuple(Field(size.column, Column(size.column)) for size in sizes.columns)
        tables = store.tables(dataclasses.replace(spec, event=dataclasses.replace(spec.event, properties=properties)))
        oversized = sum(count for size, count in wanted.items() if size > 512)
        assert 0 < oversized < len(bodies)
        assert tables.count_events(sizes, PlanOptions()) == EventCounts(oversized=oversized, names=1)
        plan(tables, "r1")
        assert tables.count_events(sizes) == EventCounts(oversized=oversized, names=1)

    def test_names_are_those_of_the_model(self, store: Store) -> None:
        rows = [("e1", "A"), ("e2", "B"), ("e3", "A"), ("e4", None), ("old", "C")]
        at = {"old": ago(3 * DAY)}
        store.create("clicks", CLICKS, [(key, name, "a", at.get(key, ago(0))) for key, name in rows])
        assert store.tables(clicks()).count_events(NO_PROPERTIES, PlanOptions()) == EventCounts(names=3)
        tables = store.tables(dataclasses.replace(clicks(), max_age=2 * DAY))
        assert tables.count_events(NO_PROPERTIES, PlanOptions()) == EventCounts(names=2, left_out=1)

    @pytest.mark.parametrize("kind", ["moment", "zoned"])
    def test_old_ones_are_left_out(self, store: Store, kind: str) -> None:
        if kind not in store.engine.types:
            pytest.skip(f"{store.engine.name} has no such type")
        ages = {"old": 2 * HOUR + 60, "older": 10 * HOUR, "edge": 2 * HOUR - 60, "new": 0, "next": -5 * HOUR}
        events = [(key, ago(age, kind)) for key, age in ages.items()]
        store.create("clicks", {**CLICKS, "at": kind}, clicked(*events, ("null", None)))
        tables = store.tables(dataclasses.replace(clicks(), max_age=2 * HOUR))
        assert tables.count_events(NO_PROPERTIES, PlanOptions()) == EventCounts(future=1, names=1, left_out=2)
        assert plan(tables, "r1") == Planned(added=4)
        # One that does not say when it happened is for the sync to judge.
        assert set(everything(tables)) == {"edge", "new", "next", "null"}
        assert {row[3] for row in tables.preview(PlanOptions(), 10)} == {"edge", "new", "next", "null"}

    def test_compaction_forgets_old_ones(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 1)
        ages = {"gone": 9 * DAY, "old": 8 * DAY, "edge": 5 * DAY, "new": HOUR, "next": -3 * DAY}
        store.create("clicks", CLICKS, clicked(*((key, ago(age)) for key, age in ages.items())))
        everlasting = store.tables(clicks())
        for number in range(4):
            plan(everlasting, f"r{number}", full_refresh=True)
            commit(everlasting, f"r{number}")
        store.session.run(
            f"insert into {everlasting.ledger} (record_key, row_hash, status, detail, attempts, run_id, logged_at, "
            "destination, commit_number) select record_key, row_hash, 'rejected', detail, 1, run_id, logged_at, "
            f"destination, commit_number from {everlasting.ledger}"
        )
        # They were all logged ten days ago, but for one that has just been sent and has left the model since.
        store.rewrite("clicks__ledger", logged_at=store.session.sql("pendo_seconds_ago", seconds=10 * DAY))
        store.insert("clicks", clicked(("just", ago(6 * DAY))))
        plan(everlasting, "r5")
        commit(everlasting, "r5")
        kept = {key: age for key, age in ages.items() if key != "gone"}
        store.create("clicks", CLICKS, clicked(*((key, ago(age)) for key, age in kept.items())))

        store.session.run(
            f"create table {store.relation('before', store.own_schema)} as select * from {everlasting.ledger}"
        )
        everlasting.compact(1)
        assert {entry[0] for entry in store.ledger(everlasting)} == {*ages, "just"}
        store.session.drop(store.own_schema, "clicks__ledger")
        store.session.rename(store.own_schema, "before", "clicks__ledger")

        # A key is known for as long as Pendo would process the event, however short `max_age` is.
        tables = store.tables(dataclasses.replace(clicks(), max_age=HOUR * 2))
        assert plan(tables, "r6") == Planned(unchanged=2)
        tables.compact(1)
        assert {entry[0] for entry in store.ledger(tables)} == {"edge", "new", "next", "just"}
        assert plan(tables, "r7") == Planned(unchanged=2)
        assert plan(store.tables(dataclasses.replace(clicks(), max_age=7 * DAY)), "r8") == Planned(unchanged=3)


class TestDestinations:
    """What was delivered as one thing was not delivered as another."""

    CLICK = ("x", "Clicked", "a", "2026-01-02 03:04:05")

    def visitors(self, store: Store) -> SyncTables:
        return store.tables(people())

    def events(self, store: Store, app: str | None = None) -> SyncTables:
        spec = clicks()
        assert spec.event is not None
        return store.tables(dataclasses.replace(spec, name="people", event=dataclasses.replace(spec.event, app=app)))

    def test_another_destination_is_another_ledger(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        columns = {**PEOPLE, **{name: CLICKS[name] for name in ("event", "person", "at")}}
        store.create("people", columns, [("a", *self.CLICK), ("b", *self.CLICK)])
        tables = self.visitors(store)
        assert tables.earlier_destination() is None
        plan(tables, "r1")
        commit(tables, "r1", b=Outcome("rejected", "no"))

        alone = SyncTables(store.session, store.own_schema, self.events(store)._spec, self.events(store)._source)
        assert sum((bucket.planned for bucket in alone.plan(PlanOptions(max_attempts=1))), Planned()) == Planned(
            added=2
        )
        assert alone.earlier_destination() == "visitor"
        tables = self.events(store)
        assert plan(tables, "r2", max_attempts=1) == Planned(added=2)
        commit(tables, "r2")
        assert self.events(store).earlier_destination() is None
        history = History(store.session, store.own_schema)
        assert history.open_rows("people", ["rejected"], 10) == []
        assert [(one.status, one.destination) for one in history.entries("people", "b")] == [
            ("delivered", "track_event"),
            ("rejected", "visitor"),
        ]

        # An app's events go to that app, however it is spelt.
        tables = self.events(store, "web")
        assert plan(tables, "r3") == Planned(added=2)
        commit(tables, "r3")
        assert plan(self.events(store, "Web"), "r4") == Planned(unchanged=2)

        # Adopting for one destination forgets none of another.
        plan(tables, "adopted", full_refresh=True)
        tables.adopt("adopted")
        assert {entry[4] for entry in store.ledger(tables)} == {"r1", "r2", "adopted"}

        # By mistake, and back again; a compaction in between keeps what each of them knows.
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 1)
        tables = self.visitors(store)
        for number in range(5, 30):
            plan(tables, f"r{number}", full_refresh=True, max_attempts=None)
            commit(tables, f"r{number}", b=Outcome("rejected", "no"))
        before = len(store.ledger(tables))
        tables.compact(2)
        assert len(store.ledger(tables)) < before
        assert plan(tables, "back", max_attempts=1) == Planned(held=1, unchanged=1)
        assert plan(self.events(store), "again") == Planned(unchanged=2)
        assert plan(self.events(store, "web"), "again") == Planned(unchanged=2)

    def test_removals_and_deletions_are_those_of_the_destination(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "x"), ("b", "x")])
        tables = store.tables(people(on_removed="delete"))
        plan(tables, "r1")
        commit(tables, "r1")
        store.create("people", PEOPLE, [("a", "x")])
        plan(tables, "r2")
        commit(tables, "r2", b=Outcome("delivered", f"{QUEUED_DELETION}7"))
        other = store.tables(dataclasses.replace(people(on_removed="delete"), object="account"))
        assert other.queued_deletions() == {}
        store.create("people", PEOPLE, [("c", "x")])
        assert plan(other, "r3") == Planned(added=1)
        assert tables.queued_deletions() == {"7": 1}

    def test_what_a_dead_run_delivered_is_committed_as_what_it_was(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "x")])
        tables = self.visitors(store)
        plan(tables, "r1")
        tables.commit("r1", EVERYTHING, tables.read_positions(EVERYTHING), {}, "account")
        assert plan(tables, "r2") == Planned(added=1)


class TestClock:
    """The warehouse's clock was fast for one run, and is right again."""

    def test_the_latest_commit_counts(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 1)
        tables = None
        for run, value in enumerate("xyx"):
            store.create("people", PEOPLE, [("a", value), ("b", value), ("c", "z")])
            tables = store.tables(people())
            assert plan(tables, f"r{run}").to_send == (3 if run == 0 else 2)
            if run < 2:
                commit(tables, f"r{run}", b=Outcome("rejected", f"no {value}"))
            if run == 0:
                self.log_later(store, "people__ledger")
        assert tables is not None
        history = History(store.session, store.own_schema)
        assert [one.run_id for one in history.entries("people", "a")] == ["r1", "r0"]
        assert [row.detail for row in history.open_rows("people", ["rejected"], 9)] == ["no y"]
        for run in range(2, 8):
            plan(tables, f"r{run}", full_refresh=True)
            commit(tables, f"r{run}")
        tables.compact(1)
        assert len(store.ledger(tables)) < 10
        assert plan(tables, "last") == Planned(unchanged=3)

    def test_a_missing_row_is_not_held_until_then(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "x")])
        tables = store.tables(people())
        plan(tables, "r1")
        commit(tables, "r1", a=Outcome("missing", "who?"))
        assert plan(tables, "r2", max_attempts=9, missing_retry=1.0) == Planned(held=1)
        self.log_later(store, "people__ledger")
        assert plan(tables, "r3", max_attempts=9, missing_retry=1.0) == Planned(added=1)

    def test_queued_deletions_end(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "x")])
        tables = store.tables(people(on_removed="delete"))
        plan(tables, "r1")
        commit(tables, "r1")
        store.create("people", PEOPLE, [])
        plan(tables, "r2")
        commit(tables, "r2", a=Outcome("delivered", f"{QUEUED_DELETION}7"))
        self.log_later(store, "people__ledger")
        tables.end_deletion("r3", "7", "it is done", is_undone=False)
        assert tables.queued_deletions() == {}

    def test_the_latest_note_of_a_segment_counts(self, store: Store) -> None:
        store.session.ensure_schema(store.own_schema)
        trial, paying = (SegmentNotes(store.session, store.own_schema, "people", name) for name in ("Trial", "Paying"))
        trial.note(NotedSegment("s1", True))
        self.log_later(store, "pendo_segments")
        trial.note(NotedSegment("s1", False))
        assert trial.latest() == NotedSegment("s1", False)
        trial.note(NotedSegment("s1", True))
        paying.note(NotedSegment("s2", True))
        assert trial.latest() == NotedSegment("s1", False)

    def test_no_key_is_forgotten_early(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """The clock of the run that compacts is six days fast: what was three days ago seems to be nine."""
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 1)
        spec = dataclasses.replace(clicks(), max_age=7 * DAY)
        store.create("clicks", CLICKS, clicked(("e1", ago(DAY))))
        tables = store.tables(spec)
        for number in range(8):
            plan(tables, f"r{number}", full_refresh=True)
            commit(tables, f"r{number}")
        store.rewrite("clicks__ledger", logged_at=store.session.sql("pendo_seconds_ago", seconds=9 * DAY))
        store.create("clicks", CLICKS, clicked(("e1", ago(9 * DAY)), ("e2", ago(0))))
        tables = store.tables(spec)
        assert plan(tables, "fast") == Planned(added=1)
        commit(tables, "fast")
        tables.compact(1)
        assert len(store.ledger(tables)) == 2
        store.create("clicks", CLICKS, clicked(("e1", ago(3 * DAY)), ("e2", ago(0))))
        assert plan(tables, "right") == Planned(unchanged=2)

    def test_a_build_of_the_future_hides_none(self, store: Store) -> None:
        builds = TestBuilds()
        builds.publish(store, [builds.row("a", "i1"), builds.row("b", "i1")])
        self.log_later(store, "pendo_builds")
        first = read_builds(store.session, store.own_schema)
        take_builds(store.session, store.own_schema, first, "r1")
        builds.publish(store, [builds.row("a", "i2")])
        assert builds.names(store) == ["a i2"]

    def log_later(self, store: Store, name: str) -> None:
        store.rewrite(name, logged_at=store.session.sql("pendo_seconds_ago", seconds=-30 * DAY))


class TestEarlierVersions:
    """Their ledgers had neither destination nor commit number."""

    def ledger(self, store: Store) -> None:
        """The ledger of an earlier version: `a` was delivered twice, `b` was rejected, and `c` is gone."""
        store.create("people", PEOPLE, [("a", "x"), ("b", "x"), ("c", "x")])
        tables = store.tables(people())
        plan(tables, "r1")
        commit(tables, "r1", b=Outcome("rejected", "no"))
        store.create("people", PEOPLE, [("a", "y"), ("b", "x")])
        plan(tables, "r2")
        commit(tables, "r2", b=Outcome("rejected", "still no"))
        store.rewrite("people__ledger", without=("destination", "commit_number"))

    def test_a_ledger_is_carried_on(self, store: Store) -> None:
        self.ledger(store)
        found = store.session.columns(None, store.schema, "people")
        assert found is not None
        source = ModelTable(store.relation("people"), found[0], (found[1],))
        unprepared = SyncTables(store.session, store.own_schema, people(), source)
        wanted = Planned(added=1, unchanged=1)
        assert sum((bucket.planned for bucket in unprepared.plan(PlanOptions())), Planned()) == wanted
        assert unprepared.earlier_destination() is None
        history = History(store.session, store.own_schema)
        self.check_history(history, None)

        tables = store.tables(people())
        assert "people__compacted" not in store.session.tables(store.own_schema)
        assert plan(tables, "r3") == wanted
        self.check_history(history, "visitor")
        entries = store.ledger(tables)
        assert [(entry[0], entry[4]) for entry in entries] == [
            *((key, "r1") for key in "abc"),
            *((key, "r2") for key in "abc"),
        ]
        commit(tables, "r3")
        assert plan(store.tables(people()), "r4") == Planned(unchanged=2)
        assert store.ledger(tables)[:6] == entries

    def check_history(self, history: History, destination: str | None) -> None:
        assert [(one.detail, one.run_id, one.destination) for one in history.entries("people", "b")] == [
            ("still no", "r2", destination),
            ("no", "r1", destination),
        ]
        assert [(row.key, row.detail) for row in history.open_rows("people", ["rejected"], 9)] == [("b", "still no")]
        assert [one.message for one in history.reasons("people", "r1")] == ["no"]
        assert [row.key for row in history.failed_rows("people", "r2", ["rejected"], 9)] == ["b"]

    def test_what_a_death_left_of_it_is_carried_on(self, store: Store) -> None:
        self.ledger(store)
        store.session.rename(store.own_schema, "people__ledger", "people__compacted")
        assert plan(store.tables(people()), "r3") == Planned(added=1, unchanged=1)

    def test_notes_of_segments_are_carried_on(self, store: Store) -> None:
        store.session.ensure_schema(store.own_schema)
        notes = SegmentNotes(store.session, store.own_schema, "people", "Trial")
        notes.note(NotedSegment("s1", True))
        store.rewrite("pendo_segments", without=("note_number",))
        assert notes.latest() == NotedSegment("s1", True)
        assert notes.filler("s1") == "people"
        notes.note(NotedSegment("s1", False))
        assert notes.latest() == NotedSegment("s1", False)


class TestExactKeys:
    """Keys are compared byte by byte, also where a database or a column folds case."""

    def create(self, store: Store, *rows: tuple[str | None, ...]) -> None:
        kind = "folded" if "folded" in store.engine.types else "text"
        store.create("people", {"id": kind, "plan": kind}, rows)

    def test_case_makes_another_key_and_another_value(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 1)
        self.create(store, ("U1", "x"), ("u1", "x"), ("u2", "x"), ("_pendo_t_1", "x"))
        tables = store.tables(people())
        assert plan(tables, "r1") == Planned(added=4)
        commit(tables, "r1", U1=Outcome("rejected", "no"))
        assert plan(tables, "r2") == Planned(added=1, unchanged=3)
        assert list(everything(tables)) == ["U1"]
        commit(tables, "r2", U1=Outcome("rejected", "no"))

        history = History(store.session, store.own_schema)
        assert [one.status for one in history.entries("people", "u1")] == ["delivered"]
        assert [(row.key, row.attempts) for row in history.open_rows("people", ["rejected"], 9)] == [("U1", 2)]
        assert history.model_rows(tables._source, "U2") == []
        assert history.model_rows(tables._source, "u1") == [("x",)]

        self.create(store, ("U1", "x"), ("u1", "X"), ("U2", "x"))
        assert plan(tables, "r3") == Planned(added=2, changed=1, removed=2)
        assert {key: row[2] for key, row in everything(tables).items()} == {
            **{"U1": "added", "U2": "added", "u1": "changed"},
            **{"u2": "removed", "_pendo_t_1": "removed"},
        }
        commit(tables, "r3")
        for number in range(4, 9):
            plan(tables, f"r{number}", full_refresh=True)
            commit(tables, f"r{number}")
        before = len(store.ledger(tables))
        tables.compact(1)
        assert len(store.ledger(tables)) < before
        assert plan(tables, "last") == Planned(unchanged=3)

    def test_events_that_are_kept(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 1)
        kind = "folded" if "folded" in store.engine.types else "text"
        kinds = {**CLICKS, "id": kind}
        store.create("clicks", kinds, clicked(("e1", ago(0)), ("E1", ago(0))))
        tables = store.tables(dataclasses.replace(clicks(), max_age=DAY))
        for number in range(8):
            plan(tables, f"r{number}", full_refresh=True)
            commit(tables, f"r{number}")
        store.rewrite("clicks__ledger", logged_at=store.session.sql("pendo_seconds_ago", seconds=10 * DAY))
        store.create("clicks", kinds, clicked(("E1", ago(0))))
        tables.compact(1)
        assert {entry[0] for entry in store.ledger(tables)} == {"E1"}

    def test_members_of_a_segment(self, store: Store) -> None:
        self.create(store, ("u1", None), ("U1", None), ("u1", None))
        tables = store.tables(SyncSpec("people", "model.x", "x.yml", "segment", "id", segment="Trial"))
        assert plan(tables, "r1") == Planned(added=2)
        assert set(everything(tables)) == {"u1", "U1"}
        tables.segment_notes().note(NotedSegment("s1", True))
        notes = SegmentNotes(store.session, store.own_schema, "people", "trial")
        assert notes.latest() is None
        assert (notes.filler("s1"), notes.filler("S1")) == ("people", None)

    def test_deletions(self, store: Store) -> None:
        self.create(store, ("u1", None), ("U1", None))
        tables = store.tables(people(on_removed="delete"))
        plan(tables, "r1")
        commit(tables, "r1")
        store.create("people", PEOPLE, [])
        assert plan(tables, "r2") == Planned(removed=2)
        jobs = {"u1": "job", "U1": "JOB"}
        commit(tables, "r2", **{key: Outcome("delivered", f"{QUEUED_DELETION}{job}") for key, job in jobs.items()})
        assert tables.queued_deletions() == {"job": 1, "JOB": 1}
        tables.end_deletion("r3", "JOB", "it failed", is_undone=True)
        assert tables.queued_deletions() == {"job": 1}
        assert plan(tables, "r4") == Planned(removed=1)
        assert list(everything(tables)) == ["U1"]

    def test_what_drifted(self, store: Store) -> None:
        self.create(store, ("same", "x"), ("u1", "x"), ("U1", "x"), ("u2", "x"))
        tables = store.tables(people())
        drift = drifted(store, tables, "r1", u1="drifted", u2="missing")
        source = drift.part_of(tables._source, tables.changes, with_missing=True)
        part = SyncTables(store.session, store.own_schema, people(), source)
        assert {row[3] for row in part.preview(PlanOptions(full_refresh=True), 10)} == {"u1", "u2"}
        tables.adopt("r1", drift.relation)
        assert plan(tables, "r3") == Planned(added=1, changed=1, unchanged=2)


class TestPages:
    @pytest.mark.parametrize("rows_per_page", [7, 50])
    def test_pages_hold_each_row_once(self, store: Store, rows_per_page: int) -> None:
        # Some keys share a bucket.
        keys = [f"p{number}" for number in range(60)]
        store.create("people", PEOPLE, [(key, key.upper()) for key in keys])
        tables = store.tables(people())
        buckets = tables.write_changes("r1", PlanOptions())
        pages = [tables.read_page(span) for span in cut_pages(buckets, rows_per_page)]
        assert max(map(len, pages)) <= rows_per_page
        found = list(itertools.chain.from_iterable(pages))
        assert {row[3]: row[4] for row in found} == {key: key.upper() for key in keys}
        assert len({(row[0], row[1]) for row in found}) == len(found) == 60
        for span in cut_pages(buckets, rows_per_page):
            assert [row[:2] for row in tables.read_page(span)] == sorted(row[:2] for row in tables.read_page(span))
            assert tables.read_positions(span) == [row[:2] for row in tables.read_page(span)]
            assert positions_to_write(buckets, span) == tables.read_positions(span)


class TestNames:
    def test_columns_by_any_name(self, store: Store) -> None:
        names = store.engine.column_names
        store.create("people", {"id": "text", **dict.fromkeys(names, "text")}, [("a", *names), ("b", *names)])
        spec = people(fields=tuple(Field(f"f{at}", Column(name)) for at, name in enumerate(names)))
        tables = store.tables(spec)
        assert plan(tables, "r1") == Planned(added=2)
        assert everything(tables)["a"][4:] == tuple(names)
        check_written(tables, spec, [PendoField(mapping.name, "string") for mapping in spec.fields])
        commit(tables, "r1")
        assert plan(tables, "r2") == Planned(unchanged=2)

    def test_a_model_with_many_columns(self, store: Store) -> None:
        names = [f"c{number}" for number in range(60)]
        store.create("people", {"id": "text", **dict.fromkeys(names, "text")}, [("a", *names), ("b", *names)])
        tables = store.tables(people(fields=tuple(Field(name, Column(name)) for name in names)))
        assert plan(tables, "r1") == Planned(added=2)
        commit(tables, "r1")
        assert plan(tables, "r2") == Planned(unchanged=2)

    def test_syncs_by_any_name(self, store: Store) -> None:
        for name in store.engine.sync_names:
            spec = dataclasses.replace(people(), name=name)
            store.create("people", PEOPLE, [("a", "x")])
            tables = store.tables(spec, "people")
            assert plan(tables, "r1") == Planned(added=1)
            commit(tables, "r1")
            assert plan(tables, "r2") == Planned(unchanged=1)


class TestValues:
    def test_keys_values_and_reasons_travel_unharmed(self, store: Store) -> None:
        texts = [*AWKWARD, "x" * 20_000]
        store.create("people", PEOPLE, [(text[:200], text) for text in texts])
        tables = store.tables(people())
        assert plan(tables, "r1") == Planned(added=len(texts))
        found = everything(tables)
        assert {key: row[4] for key, row in found.items()} == {text[:200]: text for text in texts}
        commit(tables, "r1", **{text[:200]: Outcome("rejected", text) for text in texts[:10]})
        assert {entry[0]: entry[2] for entry in store.ledger(tables)} == {
            **{text[:200]: None for text in texts},
            **{text[:200]: text for text in texts[:10]},
        }

    @pytest.mark.parametrize(
        ("kind", "values"),
        [
            ("text", [None, "", " ", "-", "0:", "a", "A", "ä", "a\u0308"]),
            ("whole", [None, "0", "1", "-1", "9223372036854775807", "-9223372036854775808"]),
            ("money", [None, "0", "0.01", "-0.01", "9999999999999999.99", "9999999999999999.98"]),
            ("real", [None, "0", "0.1", "0.10000000000000002", "1e300", "-1e300", "1e-300"]),
            ("flag", [None, "true", "false"]),
            ("day", [None, "1970-01-01", "2024-02-29", "9999-12-31", "0001-01-01"]),
            ("moment", [None, "2026-01-02 03:04:05", "2026-01-02 03:04:05.000001", "1969-12-31 23:59:59"]),
            ("zoned", [None, "2026-01-02 03:04:05+00", "2026-01-02 03:04:05+01", "2026-01-02 03:04:05.5+00"]),
            ("zoned", CLOCK_CHANGES),
        ],
    )
    def test_every_difference_is_a_change(self, store: Store, kind: str, values: list[str | None]) -> None:
        """Whichever value follows another in the same row: the row has changed; the same value again: it has not."""
        if kind not in store.engine.types:
            pytest.skip(f"{store.engine.name} has no such type")
        columns = {"id": "text", "value": kind}
        spec = people(fields=(Field("value", Column("value")),))
        keys = [f"k{at}" for at in range(len(values))]
        store.create("people", columns, list(zip(keys, values, strict=True)))
        tables = store.tables(spec)
        plan(tables, "r1")
        commit(tables, "r1")
        assert plan(tables, "r2") == Planned(unchanged=len(values))
        for turn in range(1, len(values)):
            turned = [*values[turn:], *values[:turn]]
            store.create("people", columns, list(zip(keys, turned, strict=True)))
            assert plan(tables, f"turned {turn}") == Planned(changed=len(values))

    def test_text_of_a_fixed_width_has_no_blanks_at_its_end(self, store: Store) -> None:
        """Wherever it is an id or a value: one who is a visitor in one sync is the same in another."""
        text, moment = (store.engine.types[kind] for kind in ("text", "moment"))
        names = ("id", "event", "person", "parent", "child", "note")
        columns = ", ".join(f"{store.name(name)} char(8)" for name in names)
        store.session.create(
            store.schema,
            "clicks",
            f"create table {store.relation('clicks')} "
            f"({columns}, {store.name('wide')} {text}, {store.name('at')} {moment})",
        )
        store.session.run(
            f"insert into {store.relation('clicks')} select 'e1', 'Seen', ' cu1', 'p', 'c', 'n', 'w ', "
            f"cast('2026-01-02 03:04:05' as {moment})"
        )
        event = Event(
            *(Column("event"), Column("person"), Column("at"), ParentChild("parent", "child")),
            properties=(Field("note", Column("note")), Field("wide", Column("wide"))),
        )
        tables = store.tables(dataclasses.replace(clicks(), event=event))
        assert plan(tables, "r1") == Planned(added=1)
        (record,) = render(tables._spec, tables.read_page(EVERYTHING)).updates
        (body,) = record.bodies
        assert record.key == "e1"
        assert isinstance(body, dict)
        assert (body["event"], body["visitorId"], body["accountId"]) == ("Seen", " cu1", "p::c")
        assert body["properties"] == {"note": "n", "wide": "w "}

        spec = dataclasses.replace(people(fields=(Field("note", Column("note")),)), name="visitors", key="person")
        visitors = store.tables(spec, "clicks")
        assert plan(visitors, "r1") == Planned(added=1)
        (record,) = check_written(visitors, spec, [PendoField("note", "string")])
        assert record.bodies == ({"visitorId": " cu1", "values": {"note": "n"}},)

    def test_what_moves_from_one_column_to_the_next_is_a_change(self, store: Store) -> None:
        columns = {"id": "text", "one": "text", "two": "text"}
        spec = people(fields=(Field("one", Column("one")), Field("two", Column("two"))))
        rows = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("abc", None), (None, "abc"), ("1:a", "-")]
        store.create("people", columns, [(f"k{at}", *row) for at, row in enumerate(rows)])
        tables = store.tables(spec)
        plan(tables, "r1")
        hashes = store.session.rows(
            f"select count(distinct row_hash) from {store.relation('people__changes', store.own_schema)}"
        )
        assert int(hashes[0][0]) == len(rows)


# What a column can hold and Python's calendar cannot; then what only PostgreSQL and DuckDB hold.
BEYOND = {
    "day": (["20000-01-01"], ["0044-03-15 BC", "infinity", "-infinity", "300000-01-01"]),
    "moment": (["20000-01-01 00:00:00"], ["0044-03-15 00:00:00 BC", "infinity", "-infinity"]),
    "zoned": (["9999-12-31 23:59:59-12:00"], ["0001-01-01 00:00:00+12:00", "infinity", "-infinity"]),
}


class TestBeyondPython:
    """A value that Python has no word for costs its own row: its neighbours go out."""

    @pytest.mark.parametrize("kind", BEYOND)
    def test_moments_beyond_the_calendar(self, store: Store, kind: str) -> None:
        if kind not in store.engine.types:
            pytest.skip(f"{store.engine.name} has no such type")
        anywhere, here = BEYOND[kind]
        beyond = [*anywhere, *(here if store.engine.name in ("duckdb", "postgres") else [])]
        if store.engine.name == "duckdb":
            beyond = [value.replace(" 00:00:00 BC", " (BC) 00:00:00").replace(" BC", " (BC)") for value in beyond]
        bad = {f"bad {at}": value for at, value in enumerate(beyond)}
        # The last day that people write, and what Python makes of infinity.
        clock = " 00:00:00+00:00" if kind == "zoned" else ""
        # Snowflake's stand-in sends a null timestamp as 1970-01-01.
        nulls = {} if store.engine.name == "snowflake" else {"none": None}
        good = {"now": f"2026-01-02{clock}", **nulls, "end": f"9999-12-31{clock}", "first": f"0001-01-01{clock}"}
        store.create("people", {"id": "text", "value": kind}, [*good.items(), *bad.items()])
        spec = people(fields=(Field("value", Column("value")),))
        tables = store.tables(spec)
        assert plan(tables, "r1") == Planned(added=len(good) + len(bad))
        types: list[Any] = ["time", "string", None]
        for type_ in types:
            fields = [PendoField("value", type_)]
            assert {record.key for record in check_written(tables, spec, fields)} == set(good)
            for rows in (tables.read_page(EVERYTHING), tables.preview(PlanOptions(), 100)):
                self.check(rows, render(spec, rows, fields), set(bad))

        # An event at such a time.
        event = Event(Value("Seen"), Column("id"), Column("value"))
        events = dataclasses.replace(clicks(), name="people", event=event)
        seen = store.tables(events)
        seen.count_events(NO_PROPERTIES, PlanOptions())
        plan(seen, "r2")
        rows = seen.read_page(EVERYTHING)
        self.check(rows, render(events, rows), {*bad, *nulls})

        # What `row` shows.
        read = {row[3]: row[4] for row in tables.read_page(EVERYTHING)}
        history = History(store.session, store.own_schema)
        shown = {key: history.model_rows(tables._source, key) for key in read}
        assert {key: [[self.in_utc(value) for value in row] for row in rows] for key, rows in shown.items()} == {
            key: [[self.in_utc(value)]] for key, value in read.items()
        }

    def in_utc(self, value: Any) -> Any:
        """A moment without a zone counts as one in UTC."""
        is_naive = isinstance(value, datetime.datetime) and value.tzinfo is None
        return value.replace(tzinfo=datetime.timezone.utc) if is_naive else value

    def check(self, rows: Sequence[Row], rendered: Rendered, bad: set[str]) -> None:
        keys = {row[:2]: row[3] for row in rows}
        reasons = {keys[position]: outcome.detail for position, outcome in rendered.unsendable.items()}
        assert reasons.keys() == bad
        for reason in reasons.values():
            assert reason is not None
            assert reason.endswith((": infinite", " is outside the years 1 to 9999", ": is null"))


GOLDEN: dict[str, tuple[list[str | None], str | None, list[bytes]]] = {
    # kind: values, the type of Pendo's field, their JSON
    "text": (["a", 'q"\\\n', "größe 🚀", None], "string", [b'"a"', b'"q\\"\\\\\\n"', '"größe 🚀"'.encode(), b"null"]),
    "whole": (["0", "-7", "9007199254740993", None], "integer", [b"0", b"-7", b"9007199254740993", b"null"]),
    "money": (["0", "1.50", "-0.01", "1234567.89", None], "float", [b"0.0", b"1.5", b"-0.01", b"1234567.89", b"null"]),
    "real": (["0", "0.1", "-2.5", "1e10", None], "float", [b"0.0", b"0.1", b"-2.5", b"10000000000.0", b"null"]),
    "flag": (["true", "false", None], "boolean", [b"true", b"false", b"null"]),
    "day": (
        ["2026-01-02", "1969-12-31", None],
        "time",
        [b'"2026-01-02T00:00:00.000+00:00"', b'"1969-12-31T00:00:00.000+00:00"', b"null"],
    ),
    "moment": (
        ["2026-01-02 03:04:05", "2026-01-02 03:04:05.999999", None],
        "time",
        [b'"2026-01-02T03:04:05.000+00:00"', b'"2026-01-02T03:04:05.999+00:00"', b"null"],
    ),
    "zoned": (
        ["2026-01-02 03:04:05+00", "2026-01-02 03:04:05+05:30", None, *CLOCK_CHANGES],
        "time",
        [
            b'"2026-01-02T03:04:05.000+00:00"',
            b'"2026-01-01T21:34:05.000+00:00"',
            b"null",
            *(f'"{instant[:10]}T{instant[11:19]}.000+00:00"'.encode() for instant in CLOCK_CHANGES),
        ],
    ),
}


class TestBodies:
    """The same bytes from every warehouse: the wanted ones stand in this file, once for all engines."""

    @pytest.mark.parametrize("kind", GOLDEN)
    def test_bodies_are_the_same_everywhere(self, store: Store, kind: str) -> None:
        if kind not in store.engine.types:
            pytest.skip(f"{store.engine.name} has no such type")
        values, type_, wanted = GOLDEN[kind]
        store.create("people", {"id": "text", "value": kind}, [(f"k{at}", value) for at, value in enumerate(values)])
        spec = people(fields=(Field("value", Column("value")),))
        tables = store.tables(spec)
        plan(tables, "r1")
        fields = [PendoField("v", type_)]  # type: ignore[arg-type]
        records = check_written(tables, spec, fields)
        bodies = {record.key: orjson.dumps(record.bodies[0]) for record in records}
        assert bodies == {
            f"k{at}": b'{"visitorId":"k%d","values":{"v":%s}}' % (at, json) for at, json in enumerate(wanted)
        }

    def test_whole_numbers_keep_their_digits_in_a_float_field(self, store: Store) -> None:
        numbers = ["7", "9007199254740993", "-9007199254740993", "1000000000000000000", "9223372036854775807", None]
        wanted = [b"7.0", b"9007199254740993", b"-9007199254740993", b"1e+18", b"9223372036854775807", b"null"]
        store.create("people", {"id": "text", "value": "whole"}, [(f"k{at}", n) for at, n in enumerate(numbers)])
        spec = people(fields=(Field("value", Column("value")),))
        tables = store.tables(spec)
        plan(tables, "r1")
        records = check_written(tables, spec, [PendoField("v", "float")])
        assert {record.key: orjson.dumps(record.bodies[0]) for record in records} == {
            f"k{at}": b'{"visitorId":"k%d","values":{"v":%s}}' % (at, json) for at, json in enumerate(wanted)
        }


class TestLocks:
    def test_a_lock_is_taken_once(self, store: Store) -> None:
        first, second = self.locks(store)
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

    def test_a_sign_of_life_keeps_the_lock(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = self.locks(store)
        first.acquire("first")
        monkeypatch.setattr(lock, "RENEW_EVERY", 0.0)
        first.renew()
        with pytest.raises(LockedError):
            second.acquire("second")

    def test_a_long_statement_does_not_cost_the_lock(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        first, _ = self.locks(store)
        first.acquire("first")
        monkeypatch.setattr(lock, "RENEW_EVERY", 0.1)
        signs = f"select count(*) from {store.relation('people__lock', store.own_schema)}"
        with first.alive():
            wait_until(lambda: store.session.rows(signs)[0][0] > 2)
        before = store.session.rows(signs)
        time.sleep(0.3)
        assert store.session.rows(signs) == before
        first.release()

    def test_the_dead_are_succeeded_by_one(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = self.locks(store)
        # No process has this number.
        dead = {"run_id": "dead", "host": lock.this_host(), "pid": 2**22 + 1}
        relation = store.relation("people__lock", store.own_schema)
        store.session.run(store.session.sql("pendo_create_lock", lock=relation, **dead))
        second.acquire("heir")
        with pytest.raises(LockedError, match="run heir"):
            SyncLock(store.session, store.own_schema, "people").acquire("late")
        monkeypatch.setattr(lock, "RENEW_EVERY", 0.0)
        with pytest.raises(WarehouseError, match="was broken"):
            first.renew()
        second.release()
        assert not store.session.tables(store.own_schema)

    def test_a_lock_can_be_broken(self, store: Store) -> None:
        first, second = self.locks(store)
        first.acquire("first")
        second.break_()
        second.acquire("second")
        first.release()
        holder = second.holder()
        assert holder is not None
        assert holder.run_id == "second"

    def locks(self, store: Store) -> Any:
        store.session.ensure_schema(store.own_schema)
        return [SyncLock(store.session, store.own_schema, "people") for _ in range(2)]


class TestRunLog:
    def test_each_result_is_a_row(self, store: Store) -> None:
        store.session.ensure_schema(store.own_schema)
        counts = ("added", "changed", "removed", "unchanged", "invalid", "held", "delivered", "missing", "rejected")
        row: dict[str, Any] = {name: at for at, name in enumerate((*counts, "requests", "retries", "bytes"))}
        texts = {"sync": "people", "unique_id": "model.x", "object": "visitor", "status": "partial"}
        for message in (None, *AWKWARD):
            result = {**row, **texts, "run_id": f"run of {message}", "message": message, "duration": 1.5}
            log_run(store.session, store.own_schema, result)
        found = store.session.rows(
            f"select run_id, message, held, bytes, duration from {store.relation('pendo_runs', store.own_schema)}"
        )
        assert {(run, message) for run, message, *_ in found} == {
            (f"run of {message}", message) for message in (None, *AWKWARD)
        }
        assert {(int(held), int(size), float(took)) for *_, held, size, took in found} == {(5, 11, 1.5)}

    def test_the_latest_runs_of_each_sync(self, store: Store) -> None:
        store.session.ensure_schema(store.own_schema)
        history = History(store.session, store.own_schema)
        assert history.recent(["people"], "r9", 3) == {"people": []}
        counts = dict.fromkeys(("changed", "removed", "unchanged", "invalid", "held", "delivered", "missing"), 0)
        rest = {**counts, **dict.fromkeys(("rejected", "requests", "retries", "bytes"), 0), "duration": 1.5}
        texts = {"unique_id": "model.x", "object": "visitor", "message": None}
        logged = [
            *(("r1", "people", "success"), ("r1", "it's", "error"), ("r2", "people", "partial")),
            *(("r3", "people", "skipped"), ("r4", "people", "interrupted"), ("r5", "people", "blocked")),
            *(
                ("r5", "it's", "success"),
                ("r6", "people", "error"),
                ("r9", "people", "error"),
                ("r6", "other", "error"),
            ),
        ]
        for at, (run_id, sync, status) in enumerate(logged):
            row = {**rest, **texts, "run_id": run_id, "sync": sync, "status": status, "added": at}
            log_run(store.session, store.own_schema, row)
        found = history.recent(["people", "it's", "new"], "r9", 3)
        assert {
            sync: [(run.run_id, run.status, run.planned.added) for run in runs] for sync, runs in found.items()
        } == {
            "people": [("r6", "error", 7), ("r5", "blocked", 5), ("r2", "partial", 2)],
            "it's": [("r5", "success", 6), ("r1", "error", 1)],
            "new": [],
        }
        assert history.recent([], "r9", 3) == {}


class TestHistory:
    def test_the_last_of_each_sync_and_its_last_complete_run(self, store: Store) -> None:
        store.session.ensure_schema(store.own_schema)
        assert History(store.session, store.own_schema).latest_syncs() == []
        counts = ("added", "changed", "removed", "unchanged", "invalid", "held", "delivered", "missing", "rejected")
        row = dict.fromkeys((*counts, "requests", "retries", "bytes", "duration"), 1)
        texts = {"unique_id": "model.x", "object": "visitor", "message": None}
        for run, sync, status in (
            *(("r1", "people", "success"), ("r1", "others", "error"), ("r2", "people", "partial")),
            *(("r2", "others", "blocked"), ("r3", "people", "interrupted")),
        ):
            log_run(store.session, store.own_schema, {**row, **texts, "run_id": run, "sync": sync, "status": status})
        history = History(store.session, store.own_schema)
        others, people = history.latest_syncs()
        assert (others.last.sync, others.last.run_id, others.completed_at) == ("others", "r2", None)
        assert (people.last.sync, people.last.run_id, people.last.status) == ("people", "r3", "interrupted")
        (second,) = [sync for sync in history.runs(1, "r2") if sync.sync == "people"]
        assert people.completed_at == second.logged_at

    def test_rows_are_open_until_they_are_delivered(self, store: Store) -> None:
        store.create("people", PEOPLE, [(f"p{i}", "x") for i in range(6)])
        tables = store.tables(people())
        history = History(store.session, store.own_schema)
        assert history.open_rows("people", ["rejected"], 10) == []
        plan(tables, "r1")
        outcomes = {"p1": Outcome("rejected", "no"), "p2": Outcome("rejected", "no"), "p3": Outcome("missing", "who?")}
        commit(tables, "r1", p4=Outcome("invalid", "odd"), **outcomes)
        statuses = ["rejected", "missing", "invalid"]
        found = history.open_rows("people", statuses, 10)
        assert [(row.key, row.status, row.detail, row.run_id) for row in found] == [
            *(("p1", "rejected", "no", "r1"), ("p2", "rejected", "no", "r1")),
            *(("p3", "missing", "who?", "r1"), ("p4", "invalid", "odd", "r1")),
        ]
        assert [row.key for row in history.open_rows("people", statuses, 2)] == ["p1", "p2"]
        assert [row.key for row in history.open_rows("people", ["invalid", "missing"], 10)] == ["p3", "p4"]
        plan(tables, "r2")
        commit(tables, "r2", p1=Outcome("rejected", "still no"))
        (row,) = history.open_rows("people", statuses, 10)
        assert (row.key, row.detail, row.run_id, row.attempts) == ("p1", "still no", "r2", 2)

    def test_runs_by_id_beginning_and_end(self, store: Store) -> None:
        history = History(store.session, store.own_schema)
        assert history.runs(5) == []
        store.session.ensure_schema(store.own_schema)
        counts = ("added", "changed", "removed", "unchanged", "invalid", "held", "delivered", "missing", "rejected")
        numbers = {name: at for at, name in enumerate((*counts, "requests", "retries", "bytes"))}
        texts = {"unique_id": "model.x", "object": "visitor", "status": "partial", "message": "it's\nso"}
        for run_id, sync in (("r1-aa", "one"), ("r2-bb", "one"), ("r2-bb", "two"), ("r2-cc", "one")):
            entry = {**numbers, **texts, "run_id": run_id, "sync": sync, "duration": 1.5}
            log_run(store.session, store.own_schema, entry)
        assert [(sync.run_id, sync.sync) for sync in history.runs(2)] == [
            ("r2-cc", "one"),
            ("r2-bb", "one"),
            ("r2-bb", "two"),
        ]
        for name, found in (
            ("r1-aa", ["r1-aa"]),
            ("r2", ["r2-cc", "r2-bb", "r2-bb"]),
            ("bb", ["r2-bb"] * 2),
            ("'", []),
        ):
            assert [sync.run_id for sync in history.runs(9, name)] == found
        (latest,) = history.runs(1)
        assert latest.planned == Planned(0, 1, 2, 3, 4, 5)
        assert (latest.delivered, latest.missing, latest.rejected) == (6, 7, 8)
        assert (latest.requests, latest.retries, latest.bytes, latest.duration) == (9, 10, 11, 1.5)
        assert (latest.object, latest.status, latest.message) == ("visitor", "partial", "it's\nso")
        age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(
            latest.logged_at.replace("Z", "+00:00")
        )
        assert abs(age) < datetime.timedelta(minutes=10)

    def test_what_the_ledger_tells_of_a_run_and_of_a_key(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "1"), ("b", "2"), ("c", "3"), ("it's", "4"), (None, "5")])
        tables = store.tables(people())
        history = History(store.session, store.own_schema)
        assert history.entries("nobody", "a") == []
        plan(tables, "r1")
        refused = Outcome("rejected", "not 'this'")
        commit(tables, "r1", b=refused, c=refused, **{"it's": Outcome("missing", "unknown")})
        assert [(one.status, one.message, one.rows, one.examples) for one in history.reasons("people", "r1")] == [
            ("rejected", "not 'this'", 2, ("b",)),
            ("missing", "unknown", 1, ("it's",)),
        ]
        assert history.reasons("people", "r2") == []
        rows = history.failed_rows("people", "r1", ("rejected", "missing"), None)
        assert [(row.key, row.status, row.detail, row.attempts) for row in rows] == [
            ("b", "rejected", "not 'this'", 1),
            ("c", "rejected", "not 'this'", 1),
            ("it's", "missing", "unknown", 1),
        ]
        assert history.failed_rows("people", "r1", ("rejected",), 1) == rows[:1]
        plan(tables, "r2")
        commit(tables, "r2", c=refused)
        assert [(one.status, one.run_id, one.attempts) for one in history.entries("people", "c")] == [
            ("rejected", "r2", 2),
            ("rejected", "r1", 1),
        ]
        assert [one.status for one in history.entries("people", "it's")] == ["delivered", "missing"]

    def test_the_models_rows_of_a_key(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "1"), ("it's", "4"), ("twice", "1"), ("twice", "2"), ("twice", "3")])
        source = store.tables(people())._source
        history = History(store.session, store.own_schema)
        assert history.model_rows(source, "it's") == [("4",)]
        assert history.model_rows(source, "A") == []
        assert len(history.model_rows(source, "twice")) == 2


class TestBuilds:
    def test_what_was_published_is_read_as_it_was(self, store: Store) -> None:
        texts = [*AWKWARD, "x" * 20_000]
        rows = [
            {
                **dict.fromkeys(("model", "file", "identifier", "relation_name", "mapping"), text),
                **{"action": "published", "unique_id": f"model.x.{text[:200]}", "invocation_id": "i1"},
                **{"schema_name": text, "materialized": "table", "column_mappings": text, "command": "build"},
            }
            for text in texts
        ]
        self.publish(store, rows)
        builds = read_builds(store.session, store.own_schema)
        assert [build.unique_id for build in builds] == [row["unique_id"] for row in rows]
        for text, build in zip(texts, builds, strict=True):
            assert {build.model, build.file, build.mapping, build.column_mappings, build.relation_name} == {text}
            assert (build.status, build.partial, build.tests, build.database) == (None,) * 4

    def test_the_latest_build_counts_until_it_is_taken(self, store: Store) -> None:
        self.publish(store, [self.row("a", "i1"), self.row("b", "i1"), self.row("c", "i1")])
        self.publish(store, [self.row("b", "i2"), self.row("a", "i2")])
        assert self.names(store) == ["c i1", "b i2", "a i2"]
        builds = read_builds(store.session, store.own_schema)
        take_builds(store.session, store.own_schema, [build for build in builds if build.model != "a"], "r1")
        assert self.names(store) == ["a i2"]
        # One that was published in the meantime is not what was taken.
        self.publish(store, [self.row("b", "i3")])
        take_builds(store.session, store.own_schema, builds, "r2")
        assert self.names(store) == ["b i3"]
        take_builds(store.session, store.own_schema, [], "r3")
        taken = store.session.rows(f"select distinct run_id from {self.relation(store)} where action = 'taken'")
        assert sorted(taken) == [("r1",), ("r2",)]

    def test_dbt_publishes_where_a_sync_reads(self, store: Store) -> None:
        assert store.session.sql("pendo_builds_relation", schema=store.own_schema) == self.relation(store)

    def test_nothing_was_ever_published(self, store: Store) -> None:
        with pytest.raises(ConfigError, match=r"There is no table .*_pendo\.pendo_builds"):
            read_builds(store.session, store.own_schema)

    def publish(self, store: Store, rows: list[dict[str, Any]]) -> None:
        store.session.ensure_schema(store.own_schema)
        if not store.session.exists(store.own_schema, "pendo_builds"):
            store.session.run(store.session.sql("pendo_create_builds", builds=self.relation(store)))
        ordered = [{**row, "build_order": order} for order, row in enumerate(rows)]
        store.session.run(store.session.sql("pendo_add_builds", builds=self.relation(store), rows=ordered))

    def row(self, model: str, invocation_id: str) -> dict[str, Any]:
        ids = {"unique_id": f"model.x.{model}", "invocation_id": invocation_id}
        return {"action": "published", "model": model, "column_mappings": "{}", **ids}

    def names(self, store: Store) -> list[str]:
        return [f"{build.model} {build.invocation_id}" for build in read_builds(store.session, store.own_schema)]

    def relation(self, store: Store) -> str:
        return store.relation("pendo_builds", store.own_schema)


class TestSchemas:
    def test_the_schema_is_made_once(self, store: Store) -> None:
        store.session.ensure_schema(store.own_schema)
        store.session.ensure_schema(store.own_schema)
        assert store.session.tables(store.own_schema) == frozenset()
        assert not store.session.exists(store.own_schema, "nothing")

    def test_what_a_refused_statement_leaves_is_no_trouble(self, store: Store) -> None:
        store.create("people", PEOPLE, [("a", "x")])
        for _ in range(2):
            with pytest.raises(WarehouseError):
                store.session.rows("select * from nowhere_at_all")
            with pytest.raises(WarehouseError):
                store.session.run("insert into nowhere_at_all select 1")
            assert len(store.session.rows(f"select * from {store.relation('people')}")) == 1

    def test_schemas_of_nearly_the_same_name(self, store: Store) -> None:
        """`_` stands for any letter where an adapter looks by `like`."""
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

    def test_columns_of_what_is_not_there(self, store: Store) -> None:
        assert store.session.columns(None, store.schema, "nothing") is None


class TestSegments:
    def test_a_member_is_a_member_however_often_it_is_listed(self, store: Store) -> None:
        rows = [("a", "1"), ("a", "2"), ("b", "1"), (None, "1"), (None, "2"), ("_PENDO_T_1", "x")]
        store.create("people", PEOPLE, rows)
        tables = self.tables(store, "Trial")
        assert plan(tables, "r1") == Planned(added=2, invalid=2)
        commit(tables, "r1")
        store.create("people", PEOPLE, [("b", "2"), ("c", "1"), ("c", "1")])
        assert plan(tables, "r2") == Planned(added=1, removed=1, unchanged=1)
        assert {key: row[2] for key, row in everything(tables).items()} == {"a": "removed", "c": "added"}

    def test_the_latest_note_of_a_name_counts(self, store: Store) -> None:
        noted = {name: NotedSegment(f"{name} it is", True) for name in dict.fromkeys(["Trial", *AWKWARD])}
        for name, segment in noted.items():
            notes = self.notes(store, name)
            assert notes.latest() is None
            notes.note(dataclasses.replace(segment, known=False))
            assert notes.latest() == dataclasses.replace(segment, known=False)
            notes.note(segment)
            assert notes.latest() == segment
        # The ledger tells of the last one.
        last = next(reversed(noted))
        for name, segment in noted.items():
            assert self.notes(store, name).latest() == dataclasses.replace(segment, known=name == last)
        store.create("people", PEOPLE, [("a", "1")])
        self.tables(store, last).forget()
        assert self.notes(store, last).latest() == dataclasses.replace(noted[last], known=False)

    def test_who_filled_a_segment_last_is_known(self, store: Store) -> None:
        ours, theirs, late = (self.notes(store, "Trial", sync) for sync in ("ours", "theirs", "late"))
        assert ours.filler("s1") is None
        ours.note(NotedSegment("s1", True))
        ours.note(NotedSegment("it's another", True))
        assert [theirs.filler(key) for key in ("s1", "it's another", "s2")] == ["ours", "ours", None]
        theirs.note(NotedSegment("s1", True))
        assert ours.filler("s1") == "theirs"
        # Who forgets claims the segment of that name: the next sync is to replace its members.
        store.create("people", PEOPLE, [("a", "1")])
        self.tables(store, "Trial", "ours").forget()
        assert ours.filler("s1") == "theirs"
        self.tables(store, "Trial", "late").forget()
        assert late.latest() == NotedSegment("it's another", False)
        assert ours.filler("it's another") == "late"

    def notes(self, store: Store, segment: str, sync: str = "people") -> SegmentNotes:
        store.session.ensure_schema(store.own_schema)
        return SegmentNotes(store.session, store.own_schema, sync, segment)

    def tables(self, store: Store, segment: str, sync: str = "people") -> SyncTables:
        spec = SyncSpec(sync, "model.contract.people", "x.yml", "segment", "id", segment=segment)
        return store.tables(spec, "people")


class TestDrift:
    """What Pendo has otherwise, or lacks, found in a change set that is compared with no ledger."""

    def compared(self, store: Store) -> tuple[SyncTables, ChangeSet, DriftTable]:
        rows = [(key, "x") for key in ("same", "other", "lost", "absent", "twice", "twice", "it's", "")]
        store.create("people", PEOPLE, [*rows, (None, "x")])
        tables = store.tables(people())
        changes = ChangeSet(store.session, store.own_schema, people(), tables._source, tables.lock, "compared")
        return tables, changes, drifted(store, changes, "r1", other="drifted", lost="invalid", absent="missing")

    def test_all_rows_are_compared(self, store: Store) -> None:
        tables, changes, drift = self.compared(store)
        assert plan(tables, "r1") == Planned(added=5, invalid=4)
        commit(tables, "r1")
        # Whatever the ledger says, and without a word to it.
        assert plan(changes, "r2", full_refresh=True) == Planned(added=5, invalid=4)
        assert everything(changes).keys() == {"same", "other", "lost", "absent", "it's"}
        assert sorted(changes.read_invalid_keys(EVERYTHING)) == ["", "twice", "twice"]
        assert tables.change_set_run() == "r1"
        assert plan(tables, "r3") == Planned(unchanged=5, invalid=4)
        changes.drop_changes()
        drift.drop()
        assert not {"people__compared", "people__drift"} & store.session.tables(store.own_schema)

    @pytest.mark.parametrize("with_missing", [False, True])
    def test_only_what_drifted_is_planned(self, store: Store, with_missing: bool) -> None:
        tables, changes, drift = self.compared(store)
        source = drift.part_of(tables._source, changes.changes, with_missing)
        part = SyncTables(store.session, store.own_schema, people(), source)
        part.prepare()
        assert plan(part, "r1", full_refresh=True) == Planned(added=3 if with_missing else 2)
        assert everything(part).keys() == {"other", "lost", *(["absent"] if with_missing else [])}
        commit(part, "r1")
        left = 2 if with_missing else 3
        assert plan(tables, "r2") == Planned(added=left, unchanged=5 - left, invalid=4)

    def test_a_ledger_made_from_it(self, store: Store) -> None:
        tables, _, _ = self.compared(store)
        drift = drifted(store, tables, "r1", other="drifted", lost="invalid", absent="missing")
        tables.adopt("r1", drift.relation)
        assert plan(tables, "r2") == Planned(added=1, changed=2, unchanged=2, invalid=4)
        plan(tables, "r3", full_refresh=True)
        tables.adopt("r3")
        assert {entry[4] for entry in store.ledger(tables)} == {"r3"}
        assert plan(tables, "r4") == Planned(unchanged=5, invalid=4)

    def test_more_than_a_statement_can_name(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dbt_pendo.warehouse.plan.DRIFT_PER_STATEMENT", 2)
        _, _, drift = self.compared(store)
        drift.add({})
        assert store.session.count(drift.relation) == 3


class TestSnapshots:
    COLUMNS: ClassVar = {"id": "text", "plan": "text", "Valid To": "moment", "is deleted": "text"}
    ROWS: ClassVar = [
        ("a", "old", "2026-01-05 09:00:00", "False"),
        ("a", "new", None, None),
        ("b", "old", "9999-12-31 00:00:00", "False"),
        # One that a run of before `dbt_valid_to_current` has left, one that was deleted, one that ended.
        ("c", "old", None, "False"),
        ("d", "old", "9999-12-31 00:00:00", "True"),
        ("e", "old", "2026-01-05 09:00:00", "False"),
    ]

    def current(self, store: Store, sentinel: str | None, is_deleted: str | None) -> ModelTable:
        store.create("people", self.COLUMNS, self.ROWS)
        relation = store.session.sql(
            "pendo_current_rows",
            snapshot=store.relation("people"),
            valid_to="Valid To",
            valid_to_current=sentinel,
            is_deleted=is_deleted,
        )
        return dataclasses.replace(store.tables(people())._source, relation=relation)

    def sentinel(self, store: Store) -> str:
        return f"cast('9999-12-31 00:00:00' as {store.engine.types['moment']})"

    def test_only_its_current_rows_are_planned(self, store: Store) -> None:
        for sentinel, is_deleted, keys in (
            (self.sentinel(store), "is deleted", {"a": "new", "b": "old", "c": "old"}),
            (self.sentinel(store), None, {"a": "new", "b": "old", "c": "old", "d": "old"}),
            (None, "is deleted", {"a": "new", "c": "old"}),
        ):
            source = self.current(store, sentinel, is_deleted)
            tables = SyncTables(store.session, store.own_schema, people(), source)
            assert plan(tables, "r1") == Planned(added=len(keys))
            assert {key: row[4] for key, row in everything(tables).items()} == keys
            segment = SyncSpec("trial", "model.contract.people", "x.yml", "segment", "id", segment="Trial")
            members = dataclasses.replace(source, columns=())
            filled = SyncTables(store.session, store.own_schema, segment, members)
            filled.prepare()
            assert plan(filled, "r1").added == len(keys)

    def test_only_its_current_rows_are_compared_and_told(self, store: Store) -> None:
        source = self.current(store, self.sentinel(store), "is deleted")
        tables = SyncTables(store.session, store.own_schema, people(), source)
        drift = drifted(store, tables, "r1", a="drifted", c="missing")
        part = drift.part_of(source, tables.changes, with_missing=False)
        again = SyncTables(store.session, store.own_schema, people(), part)
        assert [row[3:] for row in again.preview(PlanOptions(), 10)] == [("a", "new")]
        history = History(store.session, store.own_schema)
        assert [history.model_rows(source, key) for key in "ade"] == [[("new",)], [], []]
