"""The contract on DuckDB, in process."""

import contextvars
import queue
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from contract import *  # noqa: F403
from contract import TestExactKeys as ForEachEngine
from engine import PEOPLE, TYPES, Engine, commit, deliver, people, plan
from whole_path import *  # noqa: F403

from dbt_pendo.mapping.spec import Column, Field
from dbt_pendo.outcomes import Outcome
from dbt_pendo.records.render import PendoField, render
from dbt_pendo.warehouse.pages import Planned, cut_pages, limit_buckets
from dbt_pendo.warehouse.plan import EVERYTHING, PlanOptions


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    output = {"type": "duckdb", "path": str(tmp_path / "contract.duckdb"), "config_options": {"threads": 1}}
    return Engine("duckdb", output, {**TYPES, "real": "double"})


class TestFoldedKeys(ForEachEngine):
    """A database that folds case."""

    @pytest.fixture
    def engine(self, engine: Engine) -> Engine:
        return replace(engine, output={**engine.output, "settings": {"default_collation": "nocase"}})


@pytest.mark.parametrize("look", ["columns", "is_table"])
def test_a_thread_that_has_looked_around_sees_the_schema_that_another_makes_then(store, look):
    store.create("people", PEOPLE, [("p1", "x")])
    session, looked, made, ended = store.session, threading.Event(), threading.Event(), queue.SimpleQueue()

    def work() -> None:
        try:
            with session.connected("other"):
                getattr(session, look)(None, store.schema, "people")
                looked.set()
                made.wait(60)
                session.run(f"create table {store.relation('made', store.own_schema)} as select 1 as one")
                ended.put(None)
        except Exception as error:
            ended.put(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
    thread.start()
    assert looked.wait(60)
    session.ensure_schema(store.own_schema)
    made.set()
    thread.join()
    assert ended.get(timeout=1) is None


def test_a_view_is_read_once_and_a_table_keeps_no_row_for_its_number(store):
    store.create("people", PEOPLE, [(f"p{number}", "x") for number in range(9)])
    tables = store.tables(people())
    deliver(tables, "r1")
    for is_view in (False, True):
        tables._source = replace(tables._source, is_view=is_view, has_rowid=not is_view)
        plan_sql = tables._plan_sql(tables.ledger, PlanOptions(), "r2")
        ((_, explained),) = store.session.rows(f"explain (format json) {plan_sql}")
        assert '"WINDOW"' not in explained
        assert ("STREAMING_WINDOW" in explained) is is_view
        assert not is_view or explained.count('.people"') == 1


@pytest.mark.parametrize("has_rowid", [True, False])
def test_rows_are_numbered_by_their_place_in_the_model_and_without_gaps_in_a_page(store, has_rowid):
    store.session.run(
        f"create table {store.relation('people')} as select 'p' || i as id, 'x' as plan from range(60000) r(i)"
    )
    tables = store.tables(people())
    tables._source = replace(tables._source, has_rowid=has_rowid)
    for run_id in ("r1", "r2"):
        assert sum((bucket.planned for bucket in tables.plan(PlanOptions())), Planned()) == Planned(added=60_000)
        buckets = tables.write_changes(run_id, PlanOptions())
        assert [(bucket.name, bucket.rows) for bucket in buckets] == [
            *(("0000000", 25_000), ("0000001", 25_000), ("0000002", 10_000))
        ]
        positions = [
            (name, seq) for name, rows in ((one.name, one.rows) for one in buckets) for seq in range(1, rows + 1)
        ]
        assert tables.read_positions(EVERYTHING) == positions
    tables.commit("r2", EVERYTHING, positions, {})
    store.session.run(f"update {store.relation('people')} set plan = 'y' where id in ('p7', 'p9')")
    store.session.run(f"delete from {store.relation('people')} where id = 'p8'")
    buckets = tables.write_changes("r3", PlanOptions())
    assert [bucket.name for bucket in buckets] == ["0000000", "1000000", "total"]
    assert [row[:4] for row in tables.read_page(EVERYTHING)] == [
        *(("0000000", 1, "changed", "p7"), ("0000000", 2, "changed", "p9"), ("1000000", 1, "removed", "p8"))
    ]
    (cut,) = limit_buckets(buckets, 1)
    assert cut.planned == Planned(changed=1)
    (page,) = cut_pages([cut], 10)
    assert [row[3] for row in tables.read_page(page)] == ["p7"]
    commit(tables, "r3", {"p9": Outcome("missing")})
    assert [entry[:2] for entry in store.ledger(tables)[-3:]] == [
        *(("p7", "delivered"), ("p8", "removed"), ("p9", "missing"))
    ]


def test_a_value_that_the_driver_cannot_read_costs_its_own_row(store):
    """Its client makes no interval of so many years, and fails with the page."""
    store.session.create(
        store.schema,
        "people",
        f"create table {store.relation('people')} as select 'v' || i as id, 'plan ' || i as plan, "
        "case i when 3 then interval '178000000 years' when 5 then interval '177000000 years' end as age, "
        "case when i > 9 then [timestamptz 'infinity', null] else [timestamptz '2026-01-02 00:00+00'] end as days, "
        "'24:00:00'::time as midnight from range(12) r(i)",
    )
    spec = people(fields=tuple(Field(name, Column(name)) for name in ("plan", "age", "days", "midnight")))
    tables = store.tables(spec)
    plan(tables, "r1")
    rows = tables.read_page(EVERYTHING)
    keys = {row[:2]: row[3] for row in rows}
    types = ("string", "string", "list", "string")
    fields = [PendoField(mapping.name, type_) for mapping, type_ in zip(spec.fields, types, strict=True)]
    rendered = render(spec, rows, fields)
    assert {keys[position]: outcome.detail for position, outcome in rendered.unsendable.items()} == {
        "v3": "age: 178000000 years cannot be read",
        "v5": "age: 177000000 years cannot be read",
        "v10": "days: infinite",
        "v11": "days: infinite",
    }
    same = {"age": None, "days": ["2026-01-02T00:00:00.000+00:00"], "midnight": "24:00:00"}
    assert {record.key: record.bodies[0] for record in rendered.updates} == {
        f"v{at}": {"visitorId": f"v{at}", "values": {"plan": f"plan {at}", **same}} for at in (0, 1, 2, 4, 6, 7, 8, 9)
    }
