"""The contract through dbt-clickhouse and its HTTP client, against ClickHouse as a library behind a server of ours."""

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from acme import ROWS
from contract import *  # noqa: F403
from engine import HOUR, Engine, Store, clicks, commit, deliver, everything, people, plan, planned, trial
from harness import REPOSITORY
from whole_path import *  # noqa: F403

from dbt_pendo.mapping.objects import ConsentCounts, PropertySizes
from dbt_pendo.mapping.spec import Column, Field, FieldType, SyncSpec
from dbt_pendo.outcomes import Outcome
from dbt_pendo.records.render import PendoField, render
from dbt_pendo.warehouse.lock import LockedError, SyncLock
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.plan import EVERYTHING, PlanOptions
from dbt_pendo.warehouse.session import WarehouseError
from dbt_pendo.warehouse.tables import SyncTables

pytest.importorskip("dbt.adapters.clickhouse")
pytest.importorskip("chdb", reason="chDB has packages for Linux and macOS only")

# What is not of this adapter's making.
pytestmark = pytest.mark.filterwarnings("ignore")

# Of what Python has no word for, ClickHouse has only the year 0, for which there is a test below.
del globals()["test_a_moment_that_python_has_no_word_for_costs_its_own_row"]

# No zone of the server's, the client's or a column's may matter.
SERVER_ZONE = "Europe/Berlin"
TYPES = {
    name: f"Nullable({type_})"
    for name, type_ in (
        *(("text", "String"), ("whole", "Int64"), ("money", "Decimal(18, 2)"), ("real", "Float64"), ("flag", "Bool")),
        *(("day", "Date32"), ("moment", "DateTime64(6, 'UTC')"), ("zoned", "DateTime64(6, 'America/New_York')")),
    )
}


# As whole_path's, for connections without cursors; without what dbt asks while it connects.
WRITE_DOWN = """
from pathlib import Path
from dbt.adapters.clickhouse.httpclient import ChHttpClient
def written_down(run):
    def write_down(self, sql, **kwargs):
        if hasattr(self, "atomic_exchange"):
            with Path("statements.txt").open("a") as file:
                file.write(" ".join(sql.split()) + chr(10))
        return run(self, sql, **kwargs)
    return write_down
ChHttpClient.query, ChHttpClient.command = map(written_down, (ChHttpClient.query, ChHttpClient.command))
"""


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """The port of the server, a process of its own."""
    command = [sys.executable, REPOSITORY / "tests" / "servers" / "clickhouse_server.py"]
    environment = {**os.environ, "TZ": SERVER_ZONE}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        yield int(running.stdout.readline())
        running.stdin.close()


@pytest.fixture
def engine(server: int, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr("whole_path.WRITE_DOWN", WRITE_DOWN)
    # By which the tests' texts become times; ours never do.
    settings = {"cast_string_to_date_time_mode": "best_effort"}
    output: dict[str, Any] = {"type": "clickhouse", "host": "127.0.0.1", "port": server, "custom_settings": settings}
    # A backslash in a name may begin an escape.
    names = (*Engine.column_names, "back\\nslash", "trailing\\")
    return Engine("clickhouse", output, TYPES, column_names=names)


def create(store: Store, table: str, columns: str, *rows: str) -> None:
    """Builds a table of columns as ClickHouse declares them."""
    create = f"create table {store.relation(table)} ({columns}) engine = MergeTree order by tuple()"
    store.session.create(store.schema, table, create)
    for row in rows:
        store.session.run(f"insert into {store.relation(table)} select {row}")


def of_columns(*names: str, **changes: Any) -> SyncSpec:
    """A sync of visitors with a field for each column."""
    return people(fields=tuple(Field(name, Column(name)) for name in names), **changes)


# By the type of a column: a value in SQL, the type of Pendo's field, and what is sent.
VALUES: dict[str, tuple[str, FieldType | None, Any]] = {
    "String": ("'größe'", None, "größe"),
    "LowCardinality(String)": ("'a'", None, "a"),
    "LowCardinality(Nullable(String))": ("null", None, None),
    "FixedString(8)": ("'abc'", None, "abc"),
    "Nullable(FixedString(3))": ("'abc'", None, "abc"),
    "Enum8('on' = 1, 'off' = 2)": ("'off'", None, "off"),
    "UUID": ("'61f0c404-5cb3-11e7-907b-a6006ad3dba0'", None, "61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
    "IPv4": ("'192.0.2.1'", None, "192.0.2.1"),
    "Nullable(IPv6)": ("'2001:db8::1'", None, "2001:db8::1"),
    "Bool": ("true", None, True),
    "UInt8": ("7", "integer", 7),
    "Nullable(UInt64)": ("18446744073709551615", "string", "18446744073709551615"),
    "Int256": ("-5", None, -5),
    "Decimal(76, 3)": ("1.5", "float", 1.5),
    "Float32": ("0.5", None, 0.5),
    # Instants, of whatever zone: this one's are the server's.
    "DateTime": ("toDateTime('2026-01-02 03:04:05', 'UTC')", None, "2026-01-02T03:04:05.000+00:00"),
    "DateTime('Asia/Tokyo')": ("toDateTime('2026-01-02 03:04:05', 'UTC')", None, "2026-01-02T03:04:05.000+00:00"),
    "DateTime64(3)": ("toDateTime64('2026-07-02 03:04:05.678', 3, 'UTC')", None, "2026-07-02T03:04:05.678+00:00"),
    "Nullable(DateTime64(9, 'Asia/Tokyo'))": (
        *("toDateTime64('2026-01-02 03:04:05.123456789', 9, 'UTC')", None),
        "2026-01-02T03:04:05.123+00:00",
    ),
    "Date": ("'2026-01-02'", "time", "2026-01-02T00:00:00.000+00:00"),
    "Date32": ("'1969-12-31'", "time", "1969-12-31T00:00:00.000+00:00"),
    "Array(String)": ("['a', 'b']", "list", ["a", "b"]),
    "Array(Nullable(DateTime))": (
        *("[toDateTime('2026-01-02 03:04:05', 'UTC'), null]", "list"),
        ["2026-01-02T03:04:05.000+00:00"],
    ),
}


def test_values_are_sent_as_what_they_are(store):
    columns = [f"c{at} {type_}" for at, type_ in enumerate(VALUES)]
    create(
        store, "people", ", ".join(["id String", *columns]), ", ".join(["'a'", *(row[0] for row in VALUES.values())])
    )
    names = [f"c{at}" for at, _ in enumerate(VALUES)]
    spec = of_columns(*names, on_removed="delete")
    tables = store.tables(spec)
    assert plan(tables, "r1") == Planned(added=1)
    fields = [PendoField(name, type_) for name, (_, type_, _) in zip(names, VALUES.values(), strict=True)]
    (record,) = render(spec, tables.read_page(EVERYTHING), fields).updates
    sent = dict(zip(VALUES, record.bodies[0]["values"].values(), strict=True))
    assert sent == {type_: value for type_, (_, _, value) in VALUES.items()}
    commit(tables, "r1")
    assert planned(tables) == Planned(unchanged=1)
    view = SyncTables(store.session, store.own_schema, spec, dataclasses.replace(tables._source, is_view=True))
    assert planned(view) == Planned(unchanged=1)
    store.session.run(f"insert into {store.relation('people')} (id) values ('b')")
    assert planned(view) == planned(tables) == Planned(added=1, unchanged=1)

    # Of one who left nothing is known; what cannot be null is empty.
    store.session.run(f"truncate table {store.relation('people')}")
    for one in (tables, view):
        assert plan(one, "r2") == Planned(removed=1)
        empty = {"Array(String)": [], "Array(Nullable(DateTime))": []}
        assert everything(one)["a"][4:] == tuple(empty.get(type_) for type_ in VALUES)


@pytest.mark.parametrize(
    ("type_", "value", "why"),
    [
        ("Float64", "nan", "not a number (NaN)"),
        ("Float64", "-inf", "infinite"),
        ("Map(String, UInt8)", "map('a', 1)", "a nested value cannot be sent"),
        ("Tuple(a UInt8, b String)", "(1, 'x')", "a nested value cannot be sent"),
        ("Date32", "cast('0000-01-02' as Date32)", "is outside the years 1 to 9999"),
        (
            "DateTime64(6)",
            "addYears(toDateTime64('0001-01-02 00:00:00', 6, 'UTC'), -1)",
            "is outside the years 1 to 9999",
        ),
    ],
)
def test_a_value_that_cannot_be_sent_costs_its_own_row(store, type_, value, why):
    create(store, "people", f"id String, plan {type_}", f"'bad', {value}")
    store.session.run(f"insert into {store.relation('people')} (id) values ('good')")
    tables = store.tables(people())
    assert plan(tables, "r1") == Planned(added=2)
    rendered = render(tables._spec, tables.read_page(EVERYTHING), [PendoField("plan", "string")])
    (outcome,) = [rendered.unsendable[row[:2]] for row in tables.read_page(EVERYTHING) if row[3] == "bad"]
    assert why in str(outcome.detail)


def test_events_at_times_of_every_type(store):
    """All of them happened at yesterday's first instant, in UTC."""
    types = ("DateTime", "DateTime('Asia/Tokyo')", "DateTime64(3)", "Nullable(DateTime64(9, 'UTC'))", "Date", "Date32")
    columns = ", ".join(f"c{at} {type_}" for at, type_ in enumerate(types))
    yesterday = "toStartOfDay(now('UTC') - 86400)"
    values = ", ".join(f"toDate({yesterday})" if type_ in ("Date", "Date32") else yesterday for type_ in types)
    create(store, "clicks", f"id String, event String, person String, {columns}", f"'e', 'Clicked', 'a', {values}")
    ((age,),) = store.session.rows(f"select now('UTC') - {yesterday}")
    for at, _ in enumerate(types):
        for max_age, left_out in ((int(age) - HOUR, 1), (int(age) + HOUR, 0)):
            tables = store.tables(clicks(f"c{at}", max_age=max_age))
            found = tables.count_events(PropertySizes(1, ()), PlanOptions())
            assert (found.left_out, found.future) == (left_out, 0)
            assert planned(tables) == Planned(added=1 - left_out)


def test_columns_that_are_named_as_ours_are_read(store):
    names = (
        "present",
        "record_key",
        "row_hash",
        "calls",
        "ignored",
        "late",
        "future",
        "names",
        "event_name",
        "changes",
    )
    create(
        store, "people", ", ".join(["id String", *(f"{name} Bool" for name in names)]), "'a'" + ", true" * len(names)
    )
    for key in ("id", "record_key"):
        spec = of_columns(*(name for name in names if name != key), key=key)
        assert spec.key == key
        tables = store.tables(spec)
        plan(tables, "r1", full_refresh=True)
        assert [row[3:] for row in tables.read_page(EVERYTHING)] == [
            ("a" if key == "id" else "true", *[True] * len(spec.fields))
        ]
    consents = (
        Field("donotprocess", Column("ignored"), group="pendo"),
        Field("blacklistguides", Column("calls"), group="pendo"),
    )
    assert store.tables(people(fields=consents)).count_consents(PlanOptions()) == ConsentCounts(2, 1, "a")


def test_a_view_is_read_as_it_was_made(store):
    """Its join puts an empty text where it finds nothing: what a session sets must not change that."""
    create(store, "users", "id String", "'a'", "'b'")
    create(store, "plans", "id String, plan String", "'a', 'pro'")
    users, plans, view = (store.relation(name) for name in ("users", "plans", "people"))
    select = f"select u.id as id, p.plan as plan from {users} u left join {plans} p on u.id = p.id"
    store.session.run(f"create view {view} as {select}")
    tables = store.tables(people())
    source = dataclasses.replace(tables._source, is_view=True)
    tables = SyncTables(store.session, store.own_schema, people(on_removed="clear"), source)
    assert deliver(tables, "r1") == Planned(added=2)
    assert {key: row[4] for key, row in everything(tables).items()} == {"a": "pro", "b": ""}
    store.session.run(f"truncate table {plans}")
    assert planned(tables) == Planned(changed=1, unchanged=1)


def test_a_rename_replaces_nothing(store):
    for name in ("one", "two"):
        create(store, name, "name String", f"'{name}'")
    with pytest.raises(WarehouseError, match="TABLE_ALREADY_EXISTS"):
        store.session.rename(store.schema, "one", "two")
    assert [store.session.rows(f"select name from {store.relation(name)}") for name in ("one", "two")] == [
        [("one",)],
        [("two",)],
    ]


def test_nobody_sees_a_lock_before_it_says_whose_it_is(store, monkeypatch):
    """On servers where a table is there before its rows are; this one fills it first."""
    store.session.ensure_schema(store.own_schema)
    lock, other = (SyncLock(store.session, store.own_schema, "people") for _ in range(2))

    class Killed(BaseException):
        """The end of a run that has no time to tidy up."""

    def dies(*_: str) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store.session, "rename", dies)
        with pytest.raises(Killed):
            lock.acquire("dead")
    assert lock.holder() is None
    other.acquire("other")
    with pytest.raises(LockedError, match="run other on"):
        lock.acquire("late")
    other.release()
    assert "people__lock" not in store.session.tables(store.own_schema)


def test_no_statement_is_longer_than_a_server_reads(store, monkeypatch):
    """Of names and reasons that have to be escaped, as many as one may have; and a plan of many columns."""
    longest = 0
    run = store.session.run

    def measured(sql: str) -> None:
        nonlocal longest
        longest = max(longest, len(sql.encode()))
        run(sql)

    monkeypatch.setattr(store.session, "run", measured)
    names = [f"column_of_the_model_{at}" for at in range(250)]
    columns = ", ".join(["id String", *(f"{name} String default 'x'" for name in names)])
    create(store, "people", columns)
    run(f"insert into {store.relation('people')} (id) select toString(number) from numbers(2200)")
    tables = store.tables(of_columns(*names))
    assert plan(tables, "r1") == Planned(added=2200)
    commit(tables, "r1", {str(at): Outcome("rejected", "'" * (90 if at % 2 else 89)) for at in range(1100)})
    assert Counter(entry[1] for entry in store.ledger(tables)) == {"delivered": 1100, "rejected": 1100}
    assert 100_000 < longest < 256 * 1024


def test_a_member_who_left_is_known_by_another_spelling(store):
    """Also with letters that ASCII lacks."""
    create(store, "people", "id String", "'größe'", "'b'")
    members = store.tables(trial("trial"), "people")
    assert deliver(members, "r1") == Planned(added=2)
    create(store, "people", "id String", "' GRÖSSE'", "' GRÖßE'")
    assert plan(members, "r2") == Planned(added=2, removed=2)
    assert members.removed_twins() == [" GRÖßE"]


def test_of_the_unchanged_rows_of_a_view_few_are_written_down(store):
    create(store, "people", "id String, plan String")
    store.session.run(f"insert into {store.relation('people')} (id) select toString(number) from numbers(20000)")
    tables = store.tables(people())
    view = SyncTables(store.session, store.own_schema, people(), dataclasses.replace(tables._source, is_view=True))
    deliver(view, "r1")
    assert plan(view, "r2") == Planned(unchanged=20_000)
    ((rows, buckets),) = store.session.rows(f"select count(*), count(distinct bucket) from {view.changes}")
    assert rows == buckets > 4_000


def test_syncs_side_by_side_have_sessions_of_their_own(acme):
    """A server refuses two statements of one session at once."""
    results = {result["sync"]: result["delivered"] for result in acme.run("sync", "--threads", "4")["results"]}
    assert results == {"visitors": ROWS, "events": ROWS}
