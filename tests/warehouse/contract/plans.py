"""Plans, change sets and their pages: what is new, changed, gone, invalid or held, and what drifted."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence

from engine import DAY, PEOPLE, Store, commit, deliver, everything, people, plan, planned, trial

from dbt_pendo.delivery.journal import BUCKET
from dbt_pendo.mapping.objects import ConsentCounts
from dbt_pendo.mapping.spec import Column, Field
from dbt_pendo.outcomes import DELIVERED, Outcome
from dbt_pendo.warehouse.pages import Planned, cut_pages, positions_to_write
from dbt_pendo.warehouse.plan import EVERYTHING, ChangeSet, DriftTable, PlanOptions
from dbt_pendo.warehouse.runs import History
from dbt_pendo.warehouse.tables import SyncTables

NO = Outcome("rejected", "no")
UNKNOWN = Outcome("missing", "who?")


def changes_of(tables: ChangeSet) -> dict[str, str]:
    """What a change set has to send: by key, the kind of change."""
    return {key: row[2] for key, row in everything(tables).items()}


def drifted(store: Store, changes: ChangeSet, run_id: str, **states: str) -> DriftTable:
    """Writes a change set of all rows, and a table of those that drifted: by key, how."""
    plan(changes, run_id, full_refresh=True)
    drift = DriftTable(store.session, store.own_schema, people())
    drift.create()
    drift.add({row[:2]: states[row[3]] for row in changes.read_page(EVERYTHING) if row[3] in states})
    return drift


def test_what_is_new_changed_gone_and_back(store):
    store.create("people", PEOPLE, [("a", "free"), ("b", None), ("A", "team"), ("d", "x")])
    tables = store.tables(people(on_removed="clear"))
    # A plan alone stores nothing.
    assert planned(tables) == Planned(added=4)
    assert len(tables.preview(PlanOptions(), 1)) == 1
    assert "people__changes" not in store.session.tables(store.own_schema)

    assert deliver(tables, "r1") == Planned(added=4)
    found = everything(tables)
    assert {key: (row[2], row[4]) for key, row in found.items()} == {
        **{"a": ("added", "free"), "b": ("added", None)},
        **{"A": ("added", "team"), "d": ("added", "x")},
    }
    assert all(BUCKET.fullmatch(row[0]) for row in found.values())
    assert (plan(tables, "r2"), everything(tables)) == (Planned(unchanged=4), {})

    store.create("people", PEOPLE, [("a", "free"), ("b", ""), ("A", "pro"), ("e", "new")])
    assert deliver(tables, "r3") == Planned(added=1, changed=2, removed=1, unchanged=1)
    assert changes_of(tables) == {"b": "changed", "A": "changed", "d": "removed", "e": "added"}
    assert planned(tables) == Planned(unchanged=4)
    # Back again, and as it was.
    store.insert("people", [("d", "x")])
    assert planned(tables) == Planned(added=1, unchanged=4)
    other_mapping = store.tables(people(fields=(Field("plan_name", Column("plan")),)))
    assert planned(other_mapping) == Planned(added=1, changed=4)


def test_a_consent_stands_in_the_change_set_where_it_is_new_or_has_changed(store):
    columns = {**PEOPLE, "optout": "flag", "plain": "flag"}
    plan_alone, optout = Field("plan", Column("plan")), Field("donotprocess", Column("optout"), group="pendo")
    plain = Field("blacklistguides", Column("plain"), group="pendo")

    def built(**rows: str) -> None:
        """Rows by key, each of a plan and two consents, by their letters."""
        said = {"t": "true", "f": "false", "-": None}
        store.create("people", columns, [(key, row[0], said[row[1]], said[row[2]]) for key, row in rows.items()])

    def consents(tables: ChangeSet) -> dict[str, tuple[object, ...]]:
        return {key: row[5:] for key, row in everything(tables).items()}

    built(a="1t-", b="1ff", c="1--")
    before = store.tables(people(fields=(plan_alone,)))
    assert (before.count_consents(PlanOptions()), deliver(before, "r1")) == (ConsentCounts(), Planned(added=3))
    # One that is mapped later is new, whatever else was delivered of the row.
    tables = store.tables(people(fields=(plan_alone, optout)))
    assert tables.count_consents(PlanOptions()) == ConsentCounts(2, 1, "a")
    assert deliver(tables, "r2", {"b": NO}) == Planned(changed=3)
    assert consents(tables) == {"a": (True,), "b": (False,), "c": (None,)}
    built(a="2t-", b="1ff", c="1t-")
    assert plan(tables, "r3") == Planned(changed=3)
    # What was rejected is not known to be delivered.
    assert consents(tables) == {"a": (None,), "b": (False,), "c": (True,)}
    assert tables.count_consents() == ConsentCounts(2, 1, "c")
    commit(tables, "r3")
    # The other one beside it; of this one nothing is new.
    both = store.tables(people(fields=(plan_alone, optout, plain)))
    built(a="2tt", b="1tf", c="1--", d="1tt")
    assert plan(both, "r4") == Planned(added=1, changed=3)
    assert consents(both) == {"a": (None, True), "b": (True, False), "c": (None, None), "d": (True, True)}
    assert both.count_consents() == ConsentCounts(5, 2, "b")
    assert plan(both, "r5", full_refresh=True) == Planned(added=1, changed=3)
    assert consents(both)["a"] == (True, True)
    commit(both, "r5")
    assert planned(both) == Planned(unchanged=4)
    assert both.count_consents(PlanOptions()) == ConsentCounts()


def test_rows_that_come_back(store):
    store.create("people", PEOPLE, [("a", "x"), ("b", "x"), ("c", "x")])
    tables = store.tables(people(on_removed="delete"))
    deliver(tables, "r1")
    assert tables.came_back("r1") == []
    store.create("people", PEOPLE, [("c", "x")])
    deliver(tables, "r2")
    assert tables.came_back("r2") == []
    store.insert("people", [("a", "x"), ("b", "y"), ("d", "x")])
    deliver(tables, "r3", {"b": UNKNOWN, "d": UNKNOWN})
    assert tables.came_back("r3") == [("delivered", 1, "a"), ("missing", 1, "b")]
    # What was delivered as something else is another matter.
    assert store.tables(people(object="account")).came_back("r3") == []


def test_rows_without_a_key_are_counted_one_by_one_and_spread(store):
    nobody = [(None, f"plan {number}") for number in range(40)]
    store.create("people", PEOPLE, [("a", "x"), ("b", "x"), *nobody, *[(None, None)] * 3])
    tables = store.tables(people(on_removed="clear"))
    buckets = f"select count(distinct bucket) from {tables.changes} where record_key is null"
    for run_id, expected in (("r1", Planned(added=2, invalid=43)), ("r2", Planned(unchanged=2, invalid=43))):
        assert planned(tables) == expected
        assert deliver(tables, run_id) == expected
        # DuckDB's are parts of the model.
        assert (store.session.rows(buckets)[0][0] > 20) == (store.engine.name != "duckdb")
        assert tables.invalid_reasons() == [("the key is null", 43, None)]
    assert {key for key, *_ in store.ledger(tables)} == {"a", "b"}


def test_the_warehouse_says_what_a_plan_scans(store):
    columns = {"id": "text", "plan": "text"}

    def scanned(rows: Sequence[tuple[str, str]]) -> int | None:
        store.create("people", columns, rows)
        if store.engine.name in ("postgres", "redshift"):
            store.session.run(f"analyze {store.relation('people')}")
        return store.tables(people()).bytes_scanned(PlanOptions())

    few = scanned([("a", "x")])
    if store.engine.name not in ("duckdb", "postgres", "redshift", "spark", "databricks"):
        assert few is None
        return
    many = scanned([(f"p{number}", "x" * 100) for number in range(200)])
    assert few is not None
    assert many is not None
    assert 0 < few < many < 10**7
    # What cannot be asked for is not said.
    tables = store.tables(people())
    store.session.drop(store.schema, "people")
    assert tables.bytes_scanned(PlanOptions()) is None
    assert store.session.rows("select 1") == [(1,)]


def test_keys_that_name_nobody_and_one_who_leaves(store):
    nobody = [(None, "x"), ("", "x"), ("  ", "x"), ("b", "1"), ("b", "2"), ("b", "2")]
    nobody += [("_PENDO_T_1", "x"), ("VISITOR-UNIQUE-ID", "x"), ("PENDO_T1", "x")]
    store.create("people", PEOPLE, [("a", "x"), ("z", "x"), *nobody])
    tables = store.tables(people())
    assert plan(tables, "r1") == Planned(added=2, invalid=9)
    assert {(reason, count) for reason, count, _ in tables.invalid_reasons()} == {
        *(("the key is null", 1), ("the key is empty", 2)),
        *(("3 rows have this key", 3), ("an anonymous visitor id", 3)),
    }
    commit(tables, "r1")
    by_key = Counter((key, status) for key, status, *_ in store.ledger(tables))
    assert by_key["a", "delivered"] == by_key["b", "invalid"] == by_key["_PENDO_T_1", "invalid"] == 1
    assert not [key for key, _ in by_key if key is None]

    before = len(store.ledger(tables))
    store.create("people", PEOPLE, [("a", "x"), *nobody])
    assert plan(tables, "r2") == Planned(removed=1, unchanged=1, invalid=9)
    # Nothing is sent for one who leaves.
    assert tables.preview(PlanOptions(), 5) == []
    commit(tables, "r2")
    # A sample has whatever is in the model, those of one key together, and the same each time.
    for size in (9, 6):
        sampled = PlanOptions(full_refresh=True, sample=size)
        reasons = tables.invalid_reasons(sampled)
        assert reasons == tables.invalid_reasons(sampled)
        assert len(tables.preview(sampled, 9)) + sum(count for _, count, _ in reasons) == size
    # The invalid ones are named in the ledger once, not in every run.
    assert len(store.ledger(tables)) == before + 1
    assert planned(tables) == Planned(unchanged=1, invalid=9)
    store.insert("people", [("z", "x")])
    assert planned(tables) == Planned(added=1, unchanged=1, invalid=9)


def test_rows_that_failed_come_again_and_are_held_in_the_end(store):
    store.create("people", PEOPLE, [("a", "free"), ("b", "free"), ("c", "free")])
    tables = store.tables(people())
    for number, wanted in ((1, Planned(added=3)), (2, Planned(added=2, unchanged=1))):
        assert deliver(tables, f"r{number}", {"a": NO, "b": UNKNOWN}, max_attempts=2) == wanted
    assert planned(tables, max_attempts=2) == Planned(held=2, unchanged=1)
    assert planned(tables, max_attempts=None) == Planned(added=2, unchanged=1)
    assert planned(tables, max_attempts=10, missing_retry=1.0) == Planned(added=1, held=1, unchanged=1)
    store.create("people", PEOPLE, [("a", "team"), ("b", "free"), ("c", "free")])
    assert planned(tables, max_attempts=2) == Planned(added=1, held=1, unchanged=1)
    # The clock was fast when they failed: nobody is held until then.
    store.log_at("people__ledger", -30 * DAY)
    assert planned(tables, max_attempts=9, missing_retry=1.0) == Planned(added=2, unchanged=1)
    # Nor is anybody when all are sent, or are mapped otherwise.
    store.create("people", PEOPLE, [("a", "free"), ("b", "free"), ("c", "free")])
    assert planned(tables, max_attempts=1) == Planned(held=2, unchanged=1)
    assert planned(tables, max_attempts=1, full_refresh=True) == Planned(added=2, changed=1)
    mapped_otherwise = store.tables(people(fields=(Field("other", Column("plan")),)))
    assert planned(mapped_otherwise, max_attempts=1) == Planned(added=2, changed=1)


def test_a_view_is_counted_like_a_table(store):
    store.create("people", PEOPLE, [(f"p{number}", "x") for number in range(40)])
    tables = store.tables(people(on_removed="delete"))
    deliver(tables, "r1", {"p1": NO, "p2": NO}, max_attempts=1)
    kept = [(f"p{number}", "y" if number < 4 else "x") for number in range(1, 40)]
    store.create("people", PEOPLE, [*kept, ("p2", "y"), ("p2", "y"), ("new", "x"), (None, "x")])
    view = SyncTables(store.session, store.own_schema, tables._spec, dataclasses.replace(tables._source, is_view=True))
    view.prepare()
    wanted = {"p0": "removed", "p1": "added", "p3": "changed", "new": "added"}
    for one in (tables, view):
        counts = Planned(added=2, changed=1, removed=1, unchanged=36, invalid=4)
        assert planned(one, max_attempts=1) == plan(one, "r2", max_attempts=1) == counts
        assert changes_of(one) == wanted
    store.create("people", PEOPLE, [(f"p{number}", "x") for number in range(40)])
    for one in (tables, view):
        assert plan(one, "r3", max_attempts=1) == Planned(unchanged=38, held=2)
        assert everything(one) == {}
        # Held rows stand in the change set, but for no page.
        held = store.session.rows(f"select record_key from {one.changes} where change = 'held' order by record_key")
        assert [key for (key,) in held] == ["p1", "p2"]
        one.commit("r3", EVERYTHING, [], {})
    assert {entry[4] for entry in store.ledger(tables)} == {"r1"}
    assert plan(view, "r4", full_refresh=True) == Planned(added=2, changed=38)


def test_attempts_count_from_the_last_success(store):
    # As it was when Pendo last took it, a row comes again too: what vain attempts have left there nobody knows.
    tries = [*[("x", NO)] * 2, ("x", DELIVERED), *[("y", NO)] * 2, ("z", NO), ("x", NO), ("x", DELIVERED), ("x", NO)]
    for run, (value, outcome) in enumerate(tries):
        store.create("people", PEOPLE, [("a", value)])
        tables = store.tables(people())
        deliver(tables, f"r{run}", {"a": outcome}, full_refresh=run == len(tries) - 1)
    assert [entry[3] for entry in store.ledger(tables)] == [1, 2, None, 1, 2, 1, 1, None, 1]


def test_pages_hold_each_row_once(store):
    # Some keys share a bucket.
    keys = [f"p{number}" for number in range(60)]
    store.create("people", PEOPLE, [(key, key.upper()) for key in keys])
    tables = store.tables(people())
    buckets = tables.write_changes("r1", PlanOptions())
    for rows_per_page in (12, 50):
        spans = list(cut_pages(buckets, rows_per_page))
        pages = [tables.read_page(span) for span in spans]
        assert max(map(len, pages)) <= rows_per_page
        found = list(itertools.chain.from_iterable(pages))
        assert {row[3]: row[4] for row in found} == {key: key.upper() for key in keys}
        assert len({row[:2] for row in found}) == len(found) == 60
        for span, page in zip(spans, pages, strict=True):
            positions = [row[:2] for row in page]
            assert positions == sorted(positions) == tables.read_positions(span)
            assert positions == positions_to_write(buckets, span)


def test_what_drifted(store, monkeypatch):
    """What Pendo has otherwise, or lacks, found in a change set that is compared with no ledger."""
    monkeypatch.setattr("dbt_pendo.warehouse.plan.DRIFT_PER_STATEMENT", 2)
    rows = [(key, "x") for key in ("same", "other", "lost", "absent", "twice", "twice", "it's", "")]
    # What Pendo hides is in no repair.
    states = {"other": "drifted", "lost": "invalid", "absent": "missing", "it's": "excluded"}
    store.create("people", PEOPLE, [*rows, (None, "x")])
    tables = store.tables(people())
    changes = ChangeSet(store.session, store.own_schema, people(), tables._source, tables.lock, "compared")
    drift = drifted(store, changes, "r1", **states)
    drift.add({})
    assert store.session.count(drift.relation) == 4
    for with_missing, wanted in ((False, {"other", "lost"}), (True, {"other", "lost", "absent"})):
        source = drift.part_of(tables._source, changes.changes, with_missing)
        part = SyncTables(store.session, store.own_schema, people(), source)
        part.prepare()
        assert plan(part, "r2", full_refresh=True) == Planned(added=len(wanted))
        assert everything(part).keys() == wanted
    commit(part, "r2")
    assert plan(tables, "r3") == Planned(added=2, unchanged=3, invalid=4)

    # Whatever the ledger says, and without a word to it.
    assert plan(changes, "r4", full_refresh=True) == Planned(added=5, invalid=4)
    assert everything(changes).keys() == {"same", *states}
    assert sorted(changes.read_invalid_keys(EVERYTHING)) == ["", "twice", "twice"]
    assert tables.change_set_run() == "r3"
    assert planned(tables) == Planned(added=2, unchanged=3, invalid=4)
    changes.drop_changes()
    drift.drop()
    assert not {"people__compared", "people__drift"} & store.session.tables(store.own_schema)

    # A ledger made from it.
    drift = drifted(store, tables, "r6", **states)
    tables.adopt("r6", drift.relation)
    assert planned(tables) == Planned(added=1, changed=3, unchanged=1, invalid=4)
    plan(tables, "r8", full_refresh=True)
    tables.adopt("r8")
    assert {entry[4] for entry in store.ledger(tables)} == {"r8"}
    assert planned(tables) == Planned(unchanged=5, invalid=4)


def test_current_rows_of_a_snapshot(store):
    columns = {"id": "text", "plan": "text", "Valid To": "moment", "is deleted": "text"}
    rows = [
        ("a", "old", "2026-01-05 09:00:00", "False"),
        ("a", "new", None, None),
        ("b", "old", "9999-12-31 00:00:00", "False"),
        # One that a run of before `dbt_valid_to_current` has left, one that was deleted, one that ended.
        ("c", "old", None, "False"),
        ("d", "old", "9999-12-31 00:00:00", "True"),
        ("e", "old", "2026-01-05 09:00:00", "False"),
    ]
    store.create("people", columns, rows)
    model = store.tables(people())._source
    sentinel = f"cast('9999-12-31 00:00:00' as {store.engine.types['moment']})"
    for current, is_deleted, keys in (
        (None, "is deleted", {"a": "new", "c": "old"}),
        (sentinel, None, {"a": "new", "b": "old", "c": "old", "d": "old"}),
        (sentinel, "is deleted", {"a": "new", "b": "old", "c": "old"}),
    ):
        ends = {"valid_to": "Valid To", "valid_to_current": current, "is_deleted": is_deleted}
        relation = store.session.sql("pendo_current_rows", snapshot=store.relation("people"), **ends)
        source = dataclasses.replace(model, relation=relation)
        tables = SyncTables(store.session, store.own_schema, people(), source)
        assert plan(tables, "r1") == Planned(added=len(keys))
        assert {key: row[4] for key, row in everything(tables).items()} == keys
        members = dataclasses.replace(source, columns=())
        assert planned(SyncTables(store.session, store.own_schema, trial("trial"), members)).added == len(keys)

    drift = drifted(store, tables, "r1", a="drifted", c="missing")
    part = drift.part_of(source, tables.changes, with_missing=False)
    again = SyncTables(store.session, store.own_schema, people(), part)
    assert [row[3:] for row in again.preview(PlanOptions(), 10)] == [("a", "new")]
    history = History(store.session, store.own_schema)
    assert [history.model_rows(source, key) for key in "ade"] == [[("new",)], [], []]
