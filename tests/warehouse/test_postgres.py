"""The contract on PostgreSQL, a real server started for the worker; and what only it can show."""

import contextlib
import json
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from acme import ROWS, Acme
from contract import *  # noqa: F403
from contract import TestExactKeys as ForEachEngine
from engine import PEOPLE, Engine, Store, deliver, people, plan, wait_until
from harness import REPOSITORY, chosen, write_files
from harness.postgres import administration, postgres
from whole_path import *  # noqa: F403

from dbt_pendo.mapping.spec import Column, Field, FieldType
from dbt_pendo.records.render import PendoField, render
from dbt_pendo.sandbox import Sandbox
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.ledger import ADDED_COLUMNS
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.pages import Planned, Span
from dbt_pendo.warehouse.plan import EVERYTHING, PlanOptions
from dbt_pendo.warehouse.session import WarehouseError, open_session

psycopg2 = pytest.importorskip("psycopg2")


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The folder of the server's socket."""
    with postgres() as folder:
        yield folder


@pytest.fixture
def admin(server: Path) -> Iterator[Any]:
    with administration(server) as cursor:
        yield cursor


@pytest.fixture
def engine(server: Path) -> Engine:
    output = {"type": "postgres", "host": str(server), "port": 5432, "user": "postgres", "password": ""}
    return Engine("postgres", {**output, "dbname": "postgres"})


FOLDED = """
create collation if not exists folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
drop domain if exists folded;
-- A cast cannot name a collation.
create domain folded as text collate folded
"""


class TestFoldedKeys(ForEachEngine):
    """Columns that fold case: by a collation where the server has ICU, else by a type."""

    @pytest.fixture
    def engine(self, engine: Engine, admin: Any) -> Engine:
        try:
            admin.execute(FOLDED)
            folded = "public.folded"
        except psycopg2.errors.FeatureNotSupported:
            admin.execute("create extension if not exists citext with schema public")
            folded = "public.citext"
        return replace(engine, types={**engine.types, "folded": folded})


def nodes_of(store: Store, options: str, sql: str) -> list[dict[str, Any]]:
    """Every node of a query's plan."""
    ((explained,),) = store.session.rows(f"explain ({options}) {sql}")
    ((tree),) = json.loads(explained) if isinstance(explained, str) else explained
    nodes, level = [], [tree["Plan"]]
    while level:
        nodes += level
        level = [child for node in level for child in node.get("Plans", ())]
    return nodes


def test_a_page_is_read_by_its_index_and_a_plan_scans_the_ledger_once_and_a_view_once(store, monkeypatch):
    store.create("people", PEOPLE, [("p0", "x")])
    store.session.run(
        f"insert into {store.relation('people')} select 'p' || i, repeat('x', 100) from generate_series(1, 19999) i"
    )
    many = store.tables(people())
    assert plan(many, "r1").added == 20_000
    sql = store.session.sql(
        "pendo_read_page",
        changes=store.relation("people__changes", store.own_schema),
        columns=[{"alias": "plan", "dtype": "text"}],
        span={"first": "100", "last": "10f", "first_seq": None, "last_seq": None},
    )
    nodes = nodes_of(store, "analyze, format json", sql)
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]
    rows = len(many.read_page(Span("100", "10f")))
    assert 0 < rows < 200
    # No more rows are looked at than belong to the page.
    assert max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes) == rows

    many.commit("r1", EVERYTHING, many.read_positions(EVERYTHING), {})
    seen: list[str] = []
    run = store.session.run
    monkeypatch.setattr(store.session, "run", lambda sql: (seen.append(sql), run(sql)))
    # The second scan of a table counts its rows.
    for is_view, scanned in ((False, ["people", "people", "people__ledger"]), (True, ["people", "people__ledger"])):
        many._source = replace(many._source, is_view=is_view)
        seen.clear()
        assert plan(many, "r2") == Planned(unchanged=20_000)
        (create,) = [sql.partition(";\n")[2] for sql in seen if "__changes" in sql and "create table" in sql]
        nodes = nodes_of(store, "format json", create.partition(" as")[2])
        assert sorted(node["Relation Name"] for node in nodes if "Relation Name" in node) == scanned
        assert store.session.count(many.changes) == 1


def test_a_view_in_the_way_of_a_ledger_of_an_earlier_version(store):
    store.create("people", PEOPLE, [("a", "x")])
    tables = store.tables(people())
    deliver(tables, "r1")
    store.rewrite("people__ledger", without=ADDED_COLUMNS)
    view = store.relation("people__seen", store.own_schema)
    store.session.run(f"create view {view} as select * from {tables.ledger}")
    with pytest.raises(WarehouseError, match=r"people__ledger. is of an earlier version of dbt-pendo") as refused:
        store.tables(people())
    assert refused.value.hint == "Drop the view that reads it, and run again. Nothing was sent."
    store.session.run(f"drop view {view}")
    assert plan(store.tables(people()), "r2").unchanged == 1


def test_a_materialized_view_has_the_columns_of_its_table(store):
    """dbt asks the information schema, which PostgreSQL keeps materialized views out of."""
    kinds = ["text", "varchar(40)", "char(8)", "numeric(18, 2)", "numeric", "timestamptz", "timestamp(3)", "text[]"]
    listed = ", ".join(f'null::{kind} as "Column {number}"' for number, kind in enumerate(kinds))
    select = f"select 'a'::text as id, 'x'::text as plan, {listed}"
    store.session.run(f"create table {store.relation('as_table')} as {select}")
    store.session.run(f"create materialized view {store.relation('people')} as {select}")
    found = store.session.columns(None, store.schema, "people")
    assert found == store.session.columns(None, store.schema, "as_table")
    assert [column.name for column in found or ()][:3] == ["id", "plan", "Column 0"]
    assert plan(store.tables(people()), "r1").added == 1


def check_sent(store: Store, type_: FieldType, values: dict[str, Any]) -> None:
    """Checks what a field is sent for values that are given in SQL; an invalid one has None."""
    spec = people(fields=(Field("value", Column("value")),))
    for value, wanted in values.items():
        create = f"create table {store.relation('people')} as select 'k' as id, {value} as value"
        store.session.create(store.schema, "people", create)
        tables = store.tables(spec)
        assert plan(tables, "r1").added == 1
        rendered = render(spec, tables.read_page(EVERYTHING), [PendoField("value", type_)])
        sent = [record.bodies[0]["values"]["value"] for record in rendered.updates]  # type: ignore[index]
        assert (sent, len(rendered.unsendable)) == (([], 1) if wanted is None else ([wanted], 0)), value


@pytest.fixture
def types(admin: Any) -> Iterator[str]:
    """A schema with types of a user's own, made before our session begins."""
    schema = f"t{uuid.uuid4().hex[:12]}"
    admin.execute(
        f"create schema {schema}; create type {schema}.mood as enum ('happy', 'sad', 'a, \"b\"', ''); "
        f"create domain {schema}.birthday as date; create type {schema}.pair as (number int, name text); "
        f"create table {schema}.points (x int)"
    )
    yield schema
    admin.execute(f"drop schema {schema} cascade")


def test_an_array_of_any_type_is_a_list(types, store):
    moods = f"{types}.mood[]"
    sent = {
        f"array['happy', 'sad', 'a, \"b\"', '']::{moods}": ["happy", "sad", 'a, "b"', ""],
        f"array[]::{moods}": [],
        f"'[0:1]={{happy,sad}}'::{moods}": ["happy", "sad"],
        "array['00000000-0000-0000-0000-000000000001']::uuid[]": ["00000000-0000-0000-0000-000000000001"],
        f"array['2026-01-02']::{types}.birthday[]": ["2026-01-02T00:00:00.000+00:00"],
        "array['a', 'b ']::char(8)[]": ["a", "b"],
        "array['1.5', '2']::money[]": ["$1.50", "$2.00"],
        f"array[row(1, 'x, y')]::{types}.pair[]": ['(1,"x, y")'],
        f"array[row(1)]::{types}.points[]": ["(1)"],
        "array['2026-01-02']::date[]": ["2026-01-02T00:00:00.000+00:00"],
        "array['24:00', '01:02']::time[]": ["24:00:00", "01:02:00"],
    }
    nested, beyond = f"array[['happy'], ['sad']]::{moods}", "array['20000-01-01']::timestamp[]"
    invalid = (nested, beyond, "array['infinity']::date[]", "array['(1,1),(0,0)']::box[]")
    check_sent(store, "list", {**sent, **dict.fromkeys(invalid)})


def test_a_value_that_psycopg2_cannot_read_is_invalid(store):
    sent = {
        **{"'24:00:00'::time": "24:00:00", "'01:02:03.5'::time": "01:02:03.500000"},
        # The end of a day in Berlin.
        "'24:00:00+02'::timetz": "24:00:00+02",
        **{"'1.5'::money": "$1.50", "b'101'": "101", "'12'::xid": "12"},
    }
    invalid = [
        *("'1 year'::interval", "'178000000 years'::interval", "'[2020-01-01,20000-01-01)'::tsrange"),
        # A long number, a deep list, and half a character.
        *("('1' || repeat('0', 5000))::jsonb", "(repeat('[', 5000) || repeat(']', 5000))::json"),
        """'"\\ud800"'::json""",
    ]
    check_sent(store, "string", {**sent, **dict.fromkeys(invalid)})


@pytest.fixture
def inside(engine: Engine, tmp_path: Path) -> Iterator[Acme]:
    """A project of which nothing was built, with the dbt package, and hooks around the one that publishes."""
    hooks = [
        "create table if not exists {{ target.schema }}.hooks (x varchar(10))",
        "insert into {{ target.schema }}.hooks values ('before')",
        "{{ dbt_pendo.publish(results) }}",
        "insert into {{ target.schema }}.hooks values ('after')",
    ]
    with Sandbox(switches=chosen()) as sandbox:
        project = Acme(engine, tmp_path / "inside", f"i{uuid.uuid4().hex[:12]}", sandbox)
        write_files(project.folder, {"packages.yml": json.dumps({"packages": [{"local": str(REPOSITORY)}]})})
        with (project.folder / "dbt_project.yml").open("a", encoding="utf-8") as file:
            file.write(f"on-run-end: {json.dumps(hooks)}\n")
        project.dbt("deps")
        yield project
    project.drop()


@contextlib.contextmanager
def as_role(acme: Acme, admin: Any, *rights: str) -> Iterator[str]:
    """Has a project run as a new role, which has these rights alone; returns its name."""
    role, profile = f"{acme.schema}_role", acme.folder / "profiles.yml"
    admin.execute(f"create role {role} login")
    for right in rights:
        admin.execute(right.format(role=role, schema=acme.schema))
    written = profile.read_text()
    profile.write_text(written.replace('"user": "postgres"', f'"user": "{role}"'))
    yield role
    profile.write_text(written)
    admin.execute(f"drop owned by {role} cascade; drop role {role}")


def test_a_role_that_may_not_create_schemas(engine, admin, tmp_path):
    schema = f"r{uuid.uuid4().hex[:12]}"
    role, given = f"{schema}_reader", f"{schema}_given"
    admin.execute(f"create role {role} login; create schema {schema}; create schema {given} authorization {role}")
    admin.execute(f"create table {schema}.people as select 'a'::text as id, 'x'::text as plan")
    admin.execute(f"grant usage on schema {schema} to {role}; grant select on {schema}.people to {role}")
    reader = replace(engine, output={**engine.output, "user": role})
    reader.write_project(tmp_path, schema)
    with open_session(Connection(tmp_path, tmp_path)) as session:
        store = Store(reader, session, schema)
        with pytest.raises(WarehouseError, match="permission denied"):
            store.tables(people())
        # The administrator has made one for it.
        store.own_schema = given
        assert plan(store.tables(people()), "r1").added == 1
    admin.execute(f"drop schema {schema} cascade; drop owned by {role} cascade; drop role {role}")


def test_a_role_that_may_not_publish_builds_all_the_same(inside, admin):
    """psycopg2 opens a transaction after an error, in which the user's next hooks would be lost."""
    with as_role(inside, admin, "create schema {schema} authorization {role}") as role:
        assert "dbt_pendo: nothing was published" in inside.dbt("build")
        admin.execute(f"select x from {inside.schema}.hooks")
        assert admin.fetchall() == [("before",), ("after",)]
        # An administrator makes the schema; at first with another's table in it.
        builds = f"{inside.schema}_pendo.pendo_builds"
        admin.execute(f"create schema {inside.schema}_pendo authorization {role}; create table {builds} (x int)")
        admin.execute(f"alter table {builds} owner to {role}")
        assert "dbt_pendo: nothing was published" in inside.dbt("run")
        admin.execute(f"drop table {builds}")
        assert "dbt_pendo: published 2 models" in inside.dbt("build")
        # What `docs generate` writes hides nothing of it, and it is taken once.
        inside.dbt("docs", "generate")
        assert inside.end("sync", "--published").statuses == {"visitors": "success", "events": "success"}
        inside.check_pendo()
        assert inside.end("sync", "--published").statuses == {}


# A run that stops itself where it has looked at its lock for the last time, and one for which silence of a second is
# long.
STOPS = """
import os, signal
from dbt_pendo.warehouse import tables
from dbt_pendo.warehouse.ledger import LedgerTable
tables.EXCEPTIONS_PER_STATEMENT = 1
put_in_place = LedgerTable._put_in_place
def stopped(*args):
    os.kill(os.getpid(), signal.SIGSTOP)
    put_in_place(*args)
LedgerTable._put_in_place = stopped
"""
HURRIES = "from dbt_pendo.warehouse import lock; lock.STALE_AFTER = 1.0"
EVENTS = ("sync", "--json", "--select", "events")


def test_a_run_taken_for_dead_while_it_compacts_forgets_nothing(acme):
    acme.sync()
    with acme.session() as session:
        entries = session.relation(session.own_schema(None), "events__ledger")
        for _ in range(3):
            session.run(f"insert into {entries} select * from {entries}")
    acme.seed({**acme.seats, "v60": 1})
    acme.build()

    asleep = acme.start(*EVENTS, prelude=STOPS)
    try:
        asleep.wait_until_stopped()
        acme.seed({**acme.seats, "v61": 1})
        acme.build()
        time.sleep(2)
        # By the warehouse's clock whole seconds have passed since its last sign of life.
        hurried = acme.start(*EVENTS, prelude=HURRIES).wait().result()
        assert (hurried["status"], hurried["delivered"]) == ("success", 1)
    finally:
        asleep.send(signal.SIGCONT)
        result = asleep.wait().result()

    assert (result["status"], result["delivered"]) == ("error", 1)
    assert "The lock of events was broken while this run held it" in result["message"]
    again = acme.sync()["events"]
    assert (again["planned"]["added"], again["planned"]["unchanged"]) == (0, ROWS + 2)
    assert set(Counter(event["properties"]["id"] for event in acme.sandbox.events).values()) == {1}
    with acme.session() as session:
        left = session.tables(session.own_schema(None))
    assert not [name for name in left if name.startswith(("events__new", "events__old", "events__lock"))]


OFTEN = "from dbt_pendo.warehouse.lock import SyncLock; SyncLock.renew_every = 0.2"


def test_a_run_that_waits_for_pendo_leaves_the_warehouse_alone_and_keeps_its_lock(acme):
    acme.sandbox.switches = chosen(latency_ms=(1000, 1000))
    acme.env["DBT_PENDO_LOCK_INTERVAL"] = "60"
    with acme.session() as session:
        own = session.own_schema(None)
        lock = SyncLock(session, own, "events")

        def is_quiet() -> bool:
            holder = lock.holder()
            return holder is not None and holder.silent_for < 0

        def signs() -> int:
            return session.count(session.relation(own, "events__lock"))

        waiting = acme.start(*EVENTS, prelude=OFTEN)
        wait_until(is_quiet)
        before = signs()
        time.sleep(2)
        # It would be dead by now, had it not said that it will be silent.
        hurried = acme.start(*EVENTS, prelude=HURRIES).wait().result()
        assert hurried["status"] == "blocked"
        assert "waiting for Pendo, to be seen within" in hurried["message"]
        assert signs() == before
        assert waiting.wait().result()["delivered"] == ROWS

        # What a kill leaves is taken over at once where the process was, however long it meant to be silent.
        acme.seed({**acme.seats, "v60": 1})
        acme.build()
        acme.sandbox.switches = chosen(latency_ms=(9000, 9000))
        killed = acme.start(*EVENTS, prelude=OFTEN)
        wait_until(is_quiet)
        killed.kill()
    acme.sandbox.switches = chosen()
    assert acme.sync()["events"]["delivered"] == 1


# With its ending the first has 64 bytes, one more than PostgreSQL keeps.
@pytest.mark.parametrize("schema", ["s" * 58, "ü" * 31])
def test_long_schemas_of_targets(engine, tmp_path, schema):
    with Sandbox(switches=chosen()) as sandbox:
        acme = Acme(engine, tmp_path / "acme", schema, sandbox)
        acme.install_package()
        acme.build()
        with acme.session() as session:
            own = session.own_schema(None)
            assert len(own.encode()) <= 63
            assert own.endswith("_pendo")
            assert len(session.own_schema(None, for_sandbox=True).encode()) <= 63
            try:
                assert acme.run("sync", "--select", "visitors")["results"][0]["delivered"] == ROWS
                assert acme.run("sync", "--select", "visitors")["results"][0]["planned"]["unchanged"] == ROWS
                assert session.tables(own) == {
                    "visitors__changes",
                    "visitors__ledger",
                    "pendo_subscriptions",
                    "pendo_runs",
                }
                SyncLock(session, own, "visitors").acquire("dead")
                unlocked = {one["sync"]: one["broken"] for one in acme.run("unlock", "--force")["results"]}
                assert unlocked["visitors"]
                # The package's models find it, and so does what dbt publishes.
                acme.build()
                days = session.relation(schema, "pendo_delivery_by_day")
                assert session.rows(f"select sync, sum(runs) from {days} group by sync") == [("visitors", 2)]
                acme.dbt("run-operation", "dbt_pendo.publish")
                assert "pendo_builds" in session.tables(own)
            finally:
                for name in (schema, own):
                    Store(engine, session, schema).drop_schema(name)


def test_a_schema_that_is_named_too_long_is_refused(acme):
    acme.env["DBT_PENDO_SCHEMA"] = "ü" * 32
    acme.end("sync", status=2).says("64 bytes; the warehouse takes 63")
    # While the warehouse was reached, Pendo was asked what it knows.
    assert {request.method for request in acme.sandbox.requests} <= {"GET"}


def test_schemas_that_differ_by_case(store):
    lower, upper = (f"{store.schema}_{end}" for end in ("x", "X"))
    try:
        for schema in (lower, upper):
            store.session.ensure_schema(schema)
        store.session.run(f"create table {store.relation('people', upper)} as select 1 as x")
        assert (store.session.tables(lower), store.session.tables(upper)) == (frozenset(), {"people"})
        assert (store.session.exists(lower, "people"), store.session.exists(upper, "people")) == (False, True)
    finally:
        for schema in (lower, upper):
            store.drop_schema(schema)


def test_a_connection_that_is_lost_fails_the_sync_under_way_only(acme, admin):
    """The administrator ends the session of a run that waits for Pendo."""

    def has_changes() -> bool:
        tables = f"select 1 from pg_tables where schemaname = '{acme.schema}_pendo'"
        admin.execute(f"{tables} and tablename like '%changes'")
        return admin.fetchone() is not None

    acme.sandbox.switches = chosen(latency_ms=(1000, 1000))
    run = acme.start("sync", "--json")
    wait_until(has_changes)
    admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dbt'")
    acme.sandbox.switches = chosen()
    ended = run.wait().expect(1)
    assert sorted(ended.statuses.values()) == ["error", "success"]
    (failed,) = (result for result in ended.json["results"] if result["status"] == "error")
    assert failed["message"].startswith("The connection to the warehouse was lost: ")
    with acme.session() as session:
        own = session.own_schema(None)
        logged = session.rows(f"select sync, status from {session.relation(own, 'pendo_runs')}")
        assert sorted(logged) == sorted(ended.statuses.items())
        assert not [name for name in session.tables(own) if "__lock" in name]
    # What had been delivered by then is in the journal.
    assert {result["status"] for result in acme.sync().values()} == {"success"}
    assert set(Counter(event["properties"]["id"] for event in acme.sandbox.events).values()) == {1}


def test_what_may_not_be_read_is_not_what_is_not_there(acme, admin):
    rights = ["grant usage on schema {schema} to {role}", "grant select on {schema}.events to {role}"]
    with as_role(acme, admin, *rights) as role:
        check = acme.end("check", status=2).says(
            f"is in the warehouse, but {role} cannot read it",
            f"If a right is missing, grant `select` on it, and `usage` on its schema, to {role}",
        )
        assert check.statuses == {"visitors": "error", "events": "success"}
        admin.execute(f"grant select (id, plan) on {acme.schema}.visitors to {role}")
        check = acme.end("check", status=2)
        assert check.statuses == {"visitors": "error", "events": "success"}
        check.says(f"{role} cannot read the column `seats`", f"Grant `select` on it to {role}.")
        assert "older than the model" not in check.output


def test_the_grants_of_the_page_are_enough(acme, admin):
    page = (REPOSITORY / "docs" / "warehouses" / "postgres.md").read_text(encoding="utf-8")
    page = page.partition("```sql\n")[2].partition("```")[0]
    for name, here in (
        *(
            ("authorization pendo", "authorization {role}"),
            ("to pendo", "to {role}"),
            ("for role dbt", "for role postgres"),
        ),
        *(("analytics_pendo", "{schema}_pendo"), ("schema analytics ", "schema {schema} "), ("warehouse", "postgres")),
    ):
        assert name in page
        page = page.replace(name, here)
    with as_role(acme, admin, *page.strip().split("\n")):
        assert {result["status"] for result in acme.sync().values()} == {"success"}
        assert acme.end("plan").statuses == {"visitors": "success", "events": "success"}
        acme.run("reset", "--select", "visitors")
    acme.check_pendo()


def test_what_several_processes_scan_is_counted_once(store):
    store.session.run(
        f"create table {store.relation('people')} as "
        "select 'p' || i as id, repeat('x', 60) as plan from generate_series(1, 200000) r(i)"
    )
    store.session.run(f"analyze {store.relation('people')}")
    for cost in ("parallel_setup_cost", "parallel_tuple_cost"):
        store.session.run(f"set {cost} = 0")
    tables = store.tables(people())
    explain = store.session.sql("pendo_explain", statement=tables._plan_sql(tables.ledger, PlanOptions()))
    assert any("Parallel Seq Scan" in line for (line,) in store.session.rows(explain))
    ((stored,),) = store.session.rows(f"select pg_relation_size('{store.relation('people')}')")
    scanned = tables.bytes_scanned(PlanOptions())
    assert scanned is not None
    # Rows are stored with 24 bytes each of PostgreSQL's own, and to count them reads no column.
    assert 0.8 * stored < scanned < stored
