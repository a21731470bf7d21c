"""Every statement for the warehouses that no test can reach: rendered by their adapters' macros, parsed by sqlglot."""

import contextlib
import datetime
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, ClassVar

import pytest
import sqlparse
from acme import REPOSITORY
from engine import AWKWARD, Engine, clicks, people, trial

from dbt_pendo.mapping.objects import EventCounts, PropertySize, PropertySizes
from dbt_pendo.mapping.spec import Column, Field, SyncSpec
from dbt_pendo.outcomes import UNSENT, Outcome
from dbt_pendo.sandbox.exchange import Call, Reply
from dbt_pendo.sandbox.server import Server
from dbt_pendo.warehouse import costs
from dbt_pendo.warehouse.adapter import Connection, load_adapter
from dbt_pendo.warehouse.builds import Build, read_builds, take_builds
from dbt_pendo.warehouse.ledger import ADDED_COLUMNS
from dbt_pendo.warehouse.lock import LockLostError, SyncLock
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.warehouse.notes import NotedSegment, Subscription, note_subscription, read_subscriptions
from dbt_pendo.warehouse.pages import Span
from dbt_pendo.warehouse.plan import EVERYTHING, DriftTable, ModelTable, PlanOptions
from dbt_pendo.warehouse.runs import ADDED_RUN_COLUMNS, History, log_runs
from dbt_pendo.warehouse.session import Session, _dtype
from dbt_pendo.warehouse.tables import SyncTables

sqlglot = pytest.importorskip("sqlglot")
tsql = pytest.importorskip("tsql")
exp = sqlglot.expressions

# What is not of these adapters' making.
pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Dialect:
    """A warehouse: its profile, its words for types, and how it quotes names."""

    output: Mapping[str, Any]
    types: tuple[str, ...]
    quote: str = '"'

    def name(self, text: str) -> str:
        return f"{self.quote}{text}{']' if self.quote == '[' else self.quote}"


TRINO_TYPES = ("varchar", "char(8)", "bigint", "decimal(18,2)", "double", "boolean", "date", "timestamp(6)")
DIALECTS = {
    "bigquery": Dialect(
        {"method": "oauth-secrets", "project": "project-1", "token": "none"},
        ("STRING", "INT64", "NUMERIC", "FLOAT64", "BOOL", "DATE", "DATETIME", "TIMESTAMP"),
        "`",
    ),
    # In an environment of its own, where its statements are run as well: only their length is looked at.
    "snowflake": Dialect(
        {"account": "a", "user": "u", "password": "p", "database": "db", "warehouse": "w"},
        (
            *("character varying(16777216)", "character(8)", "number(38,0)", "number(18,2)", "float", "boolean"),
            *("date", "timestamp_ntz", "timestamp_tz"),
        ),
    ),
    "redshift": Dialect(
        {"host": "localhost", "user": "u", "password": "p", "port": 5439, "dbname": "db"},
        (
            *("character varying(256)", "character(8)", "bigint", "numeric(18,2)", "double precision", "boolean"),
            *("date", "timestamp without time zone", "timestamp with time zone"),
        ),
    ),
    "databricks": Dialect(
        {"host": "localhost", "http_path": "/sql", "token": "none", "catalog": "main"},
        ("string", "char(8)", "bigint", "decimal(18,2)", "double", "boolean", "date", "timestamp_ntz", "timestamp"),
        "`",
    ),
    "trino": Dialect(
        {"method": "none", "host": "localhost", "port": 8080, "user": "u", "catalog": "lake"},
        (*TRINO_TYPES, "timestamp(6) with time zone"),
    ),
    "athena": Dialect(
        {"region_name": "eu-west-1", "s3_staging_dir": "s3://bucket/", "database": "awsdatacatalog"},
        (*TRINO_TYPES, "timestamp(6) with time zone"),
    ),
    "clickhouse": Dialect(
        {"host": "localhost", "user": "u"},
        (
            *("String", "FixedString(8)", "Int64", "Decimal(18, 2)", "Float64", "Bool", "UUID", "IPv4"),
            *("Array(String)", "Array(DateTime)", "Date", "Date32", "DateTime", "DateTime64(6, 'Europe/Berlin')"),
        ),
    ),
    "sqlserver": Dialect(
        {"driver": "none", "server": "localhost", "user": "u", "password": "p", "database": "db"},
        (
            *("nvarchar(4000)", "nchar(8)", "bigint", "decimal(18,2)", "money", "float", "boolean", "uniqueidentifier"),
            *("time", "date", "datetime", "datetime2(6)", "datetimeoffset"),
        ),
    ),
    "fabric": Dialect(
        {"server": "localhost", "user": "u", "password": "p", "database": "db"},
        ("varchar(8000)", "char(8)", "bigint", "decimal(18,2)", "float", "boolean", "time", "date", "datetime2(6)"),
        "[",
    ),
}
# Those in which a name stands for an expression of the select rather than for a column, wherever it is used.
ALIASES_FIRST = ("clickhouse",)
NAMES = (
    "plain",
    "UPPER",
    "Mixed Case",
    "select",
    "bucket",
    "per-cent%",
    "it's",
    "größe 🚀",
    "{{ x }}",
    "present",
    "ignored",
)


class Recorder(Session):
    """Writes statements down instead of running them."""

    def __init__(self, session: Session, dialect: str) -> None:
        super().__init__(session._adapter, session._adapter.config.credentials)
        self.types, self.quoted = DIALECTS[dialect].types, DIALECTS[dialect].name
        self.statements: list[str] = []
        self.answers: list[list[Any]] = []
        self.there = False

    def run(self, sql: str) -> None:
        self.statements.append(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.statements.append(sql)
        return self.answers.pop(0) if self.answers else []

    def table(self, macro: str, **arguments: Any) -> list[dict[str, Any]]:
        return self.query(macro, **arguments)

    def listed(self, schema: str, identifier: str) -> list[dict[str, Any]]:
        return [{"run_id": "r1", "seen_at": 1}]

    def dry_run(self, sql: str) -> int | None:
        return None

    def exists(self, schema: str, identifier: str) -> bool:
        return self.there

    def has_columns(self, schema: str, identifier: str, names: Sequence[str]) -> bool:
        return self.there

    def tables(self, schema: str) -> frozenset[str]:
        return frozenset({"people__lock"} | ({"people__ledger", "people__changes"} if self.there else set()))

    def ensure_schema(self, schema: str) -> None:
        pass

    def rename(self, schema: str, identifier: str, new_identifier: str) -> None:
        pass

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def pendos(self, identifier: str) -> str:
        """A table of ours."""
        return self.relation("pendo", identifier)

    def model(self, key: TableColumn, *columns: TableColumn, **changes: Any) -> ModelTable:
        relation = ".".join(map(self.quoted, ("db", "shop", "people")))
        return ModelTable(relation, key, columns, **changes)

    def people(self, **changes: Any) -> tuple[SyncSpec, ModelTable]:
        """A sync of a column of each type, and of a column of each name."""
        types = [TableColumn(f"c{at}", type_) for at, type_ in enumerate(self.types)]
        columns = (*types, *(TableColumn(name, types[0].dtype) for name in NAMES))
        fields = tuple(Field(f"f{at}", Column(column.name)) for at, column in enumerate(columns))
        return people(fields=fields, **changes), self.model(columns[0], *columns)

    def sync(self, **changes: Any) -> SyncTables:
        return SyncTables(self, "pendo", *self.people(**changes))

    def events(self, moment: str, max_age: int | None = None) -> SyncTables:
        """A sync of events with a property of each type, and a moment of one."""
        text = self.types[0]
        properties = tuple(TableColumn(f"c{at}", type_) for at, type_ in enumerate(self.types))
        ids = (TableColumn("event", text), TableColumn("person", text), TableColumn("at", moment))
        spec = clicks(max_age=max_age)
        assert spec.event is not None
        mapped = tuple(Field(column.name, Column(column.name)) for column in properties)
        spec = replace(spec, event=replace(spec.event, properties=mapped))
        return SyncTables(self, "pendo", spec, self.model(TableColumn("id", text), *ids, *properties))

    @property
    def moments(self) -> list[str]:
        """The types of columns that say when an event happened."""
        return [type_ for type_ in self.types if TableColumn("at", type_).is_moment]

    def earlier_ledger(self, destination: str) -> str:
        """What the ledger of an earlier version is read as."""
        lacking = {"lacking": list(ADDED_COLUMNS), "destination": destination}
        return self.sql("pendo_carried_entries", ledger=self.pendos("people__ledger"), **lacking)


@pytest.fixture(scope="module", params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(f"dbt.adapters.{request.param}")
    return str(request.param)


@pytest.fixture(scope="module")
def loaded(dialect: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp(dialect) / "project"
    Engine(dialect, {"type": dialect, **DIALECTS[dialect].output}).write_project(folder, "shop")
    with load_adapter(Connection(folder, folder)) as (adapter, credentials):
        session = Session(adapter, credentials)
        # The one thing a macro asks the warehouse for: any Databricks of today is newer than 10.4.
        if dialect == "databricks":
            session._adapter.compare_dbr_version = lambda major, minor: 1
        yield session


@pytest.fixture
def recorder(loaded: Session, dialect: str) -> Recorder:
    return Recorder(loaded, dialect)


PLAIN = PlanOptions()
SAMPLED = PlanOptions(full_refresh=True, sample=1000)
RETRIES = PlanOptions(max_attempts=3, missing_retry=24)


def plans(recorder: Recorder) -> None:
    tables = recorder.sync()
    tables.lock.acquire("r1")
    tables.write_changes("r1", PLAIN)
    recorder.sync().plan(PLAIN)
    recorder.sync().preview(PLAIN, 5)
    recorder.sync().invalid_reasons(SAMPLED)
    recorder.there = True
    for options in (RETRIES, PlanOptions(full_refresh=True)):
        recorder.sync().write_changes("r1", options)
    recorder.sync(on_removed="clear").write_changes("r1", PLAIN)
    spec, source = recorder.people()
    SyncTables(recorder, "pendo", spec, replace(source, is_view=True)).write_changes("r1", PLAIN)


def events(recorder: Recorder) -> None:
    recorder.there = True
    recorder.events(recorder.types[-1]).write_changes("r1", RETRIES)
    for moment in recorder.moments:
        tables = recorder.events(moment, max_age=7 * 24 * 3600)
        tables.write_changes("r1", PLAIN)
        tables.preview(SAMPLED, 5)
        tables.event_names("event", 1000)
        recorder.answers = [[(10**6,)], [], [(1,)]]
        tables.compact(1)


def event_counts(recorder: Recorder) -> None:
    recorder.there = True
    sizes = [PropertySize(f"c{at}", 9, at % 2 or None) for at, _ in enumerate(recorder.types)]
    ages = [(recorder.types[0], None), *((moment, age) for moment in recorder.moments for age in (None, 3600))]
    for moment, max_age in ages:
        for options in (None, PLAIN):
            # The plan looks for the ledger; the counts are what is asked for last.
            recorder.answers = [[dict.fromkeys(EventCounts.__slots__, 0)]]
            recorder.events(moment, max_age).count_events(PropertySizes(1, sizes), options)


def pages(recorder: Recorder) -> None:
    for span in (EVERYTHING, Span("0aa", "0ab", 3, 7), Span("0aa", "0ab", last_seq=7)):
        recorder.sync().read_page(span)
        recorder.sync().read_positions(span)


def commits(recorder: Recorder) -> None:
    tables = recorder.sync()
    rows = [("0ab", at) for at in range(len(AWKWARD) + 4)]
    tables.commit("r1", EVERYTHING, rows, {})
    odd = {("0ab", at): Outcome("rejected", text) for at, text in enumerate(AWKWARD)}
    tables.commit("r1", EVERYTHING, rows, {("0ab", 0): UNSENT})
    tables.commit("r1", Span("0aa", "0ab", 3, 7), rows, odd)
    for text in AWKWARD:
        tables.commit(text, EVERYTHING, rows, dict.fromkeys(rows, Outcome("missing", text)))


def ledgers(recorder: Recorder) -> None:
    tables = recorder.sync()
    tables.prepare()
    recorder.answers = [[(10**6,)], [{"kept": 1}], [], [(1,)]]
    tables.compact(1)
    tables.queued_deletions()
    tables.returned("r1")
    for text in AWKWARD:
        tables.end_deletion("r1", text, text, is_undone=text < "a")
        recorder.run(recorder.sql("pendo_last_commits", ledger=recorder.earlier_ledger(text)))
    copy = {"ledger": recorder.pendos("people__compacted"), "entries": recorder.earlier_ledger("visitor")}
    recorder.run(recorder.sql("pendo_carry_on", **copy))
    recorder.there = True
    recorder.answers = [[], [{"run_id": "r1"}]]
    tables.invalid_reasons()
    tables.change_set_run()


def locks(recorder: Recorder) -> None:
    lock = recorder.sync().lock
    for text in AWKWARD:
        lock.acquire(text)
        renewed = {"lock": recorder.pendos("people__lock"), "run_id": text, "host": text, "pid": 1}
        for pause in (0, 570):
            recorder.run(recorder.sql("pendo_renew_lock", **renewed, pause=pause))
    lock.holder()


def run_log(recorder: Recorder) -> None:
    recorder.run(recorder.sql("pendo_create_runs", runs=recorder.pendos("pendo_runs")))
    counts = ("added", "changed", "removed", "unchanged", "invalid", "held", "delivered", "missing", "rejected")
    row = dict.fromkeys((*counts, "requests", "retries", "bytes", "duration"), 1)
    row |= {"deleted": 1, "cleared": 1}
    texts = dict.fromkeys(("run_id", "sync", "unique_id", "object", "status", "target", "pendo_host"), "x")
    for name in ADDED_RUN_COLUMNS:
        recorder.run(recorder.sql("pendo_add_run_column", runs=recorder.pendos("pendo_runs"), name=name))
    for message in (None, *AWKWARD):
        log_runs(recorder, "pendo", [{**row, **texts, "message": message}] * 2)


def subscriptions(recorder: Recorder) -> None:
    recorder.run(recorder.sql("pendo_create_subscriptions", subscriptions=recorder.pendos("pendo_subscriptions")))
    for text in AWKWARD:
        note_subscription(recorder, "pendo", text, Subscription(text, "0" * 32, text))
    note_subscription(recorder, "pendo", "people", None)
    read_subscriptions(recorder, "pendo")
    recorder.run(recorder.sql("pendo_schemas_with", identifier="people__ledger"))


def older_runs(recorder: Recorder, runs: str) -> str:
    """What the run log of an earlier version is read as."""
    return recorder.sql("pendo_older_runs", runs=runs, lacking=ADDED_RUN_COLUMNS)


def history(recorder: Recorder) -> None:
    recorder.there = True
    past = History(recorder, "pendo")
    _, source = recorder.people()
    past.runs(20)
    for text in AWKWARD:
        past.runs(2, text)
        past.reasons("people", text)
        past.failed_rows("people", text, 20)
        recorder.answers = [[{"run_id": text}]]
        past.failed_rows("people", text, None)
        past.entries("people", text)
        past.model_rows(source, text)
        past.model_rows(replace(source, parent=source.columns[0]), text)
        past.recent(["people", text], text, 11)
    past.latest_syncs()
    recorder.run(recorder.sql("pendo_latest_syncs", runs=older_runs(recorder, "older_runs")))
    past.open_rows("people", ["rejected", "missing"], 5)


def models_of_the_package(recorder: Recorder) -> None:
    """The package's models as a user's dbt makes them, before the first sync and after some."""
    ledgers = [{"sync": name, "relation": recorder.pendos("x__ledger")} for name in ("people", "it's")]
    earlier = [{"sync": "people", "relation": recorder.earlier_ledger("")}]
    for found in ([], ledgers, earlier):
        for name in ("stg_pendo_runs", "stg_pendo_ledger", "pendo_delivery_by_day", "pendo_held_rows"):
            recorder.run(model_sql(recorder, name, found))


def model_sql(recorder: Recorder, name: str, ledgers: list[dict[str, str]]) -> str:
    """A model of the package with all that it refers to inside, in a project with these ledgers."""
    from dbt.clients.jinja import get_rendered
    from dbt.context.providers import generate_runtime_macro_context

    adapter = recorder._adapter
    resolver = adapter.get_macro_resolver()
    macro = resolver.find_macro_by_name("pendo_now", "dbt_pendo", "dbt_pendo")
    context = generate_runtime_macro_context(macro, adapter.config, resolver, "dbt_pendo")
    context |= {
        "dbt_pendo": {
            **context["dbt_pendo"],
            "pendo_ledgers": lambda one: ledgers,
            "pendo_runs_of": lambda runs: (
                older_runs(recorder, runs) if ledgers else f"({recorder.sql('pendo_no_runs')})"
            ),
        },
        "config": lambda **_: "",
        "source": lambda source, table: recorder.pendos(table),
        "ref": lambda model: f"({model_sql(recorder, model, ledgers)}) {model}",
    }
    sql: str = get_rendered((REPOSITORY / "models" / f"{name}.sql").read_text(encoding="utf-8"), context)
    return sql.strip()


def builds(recorder: Recorder) -> None:
    relation = recorder.pendos("pendo_builds")
    recorder.run(recorder.sql("pendo_create_builds", builds=relation))
    texts = ("unique_id", "invocation_id", "command", "tests", "model", "file", "mapping", "column_mappings")
    published = [{"action": "published", **dict.fromkeys(texts, text), "build_order": 1} for text in AWKWARD]
    recorder.run(recorder.sql("pendo_add_builds", builds=relation, rows=published))
    read_builds(recorder, "pendo")
    take_builds(recorder, "pendo", [Build(*[text] * len(fields(Build))) for text in AWKWARD], "r1")


def drift(recorder: Recorder) -> None:
    spec, source = recorder.people()
    source = replace(source, parent=source.columns[0])
    tables, drift = SyncTables(recorder, "pendo", spec, source), DriftTable(recorder, "pendo", spec)
    drift.create()
    drift.add({("0ab", 1): "drifted", ("0ab", 2): "missing"})
    for with_missing in (True, False):
        part = SyncTables(recorder, "pendo", spec, drift.part_of(source, tables.changes, with_missing))
        part.write_changes("r1", PlanOptions(full_refresh=True))
    tables.read_invalid_keys(EVERYTHING)
    tables.adopt("r1")
    tables.adopt("r1", drift.relation)
    drift.drop()


def segments(recorder: Recorder) -> None:
    _, source = recorder.people()
    table = recorder.pendos("pendo_segments")
    for name in AWKWARD:
        tables = SyncTables(recorder, "pendo", trial(segment=name), replace(source, columns=()))
        notes = tables.segment_notes()
        for known in (True, False):
            notes.note(NotedSegment(name, known))
        recorder.there = True
        notes.latest()
        notes.filler(name)
        recorder.run(recorder.sql("pendo_number_segments", segments=table))
        unnumbered = recorder.sql("pendo_unnumbered_segments", segments=table)
        recorder.run(recorder.sql("pendo_read_segment", segments=unnumbered, sync=name, segment=name))
        tables.write_changes("r1", PLAIN)
        tables.removed_twins()
        recorder.there = False


def snapshots(recorder: Recorder) -> None:
    spec, source = recorder.people()
    for is_deleted, last in (("is deleted", "cast('9999-12-31' as date)"), (None, None)):
        ends = {"valid_to": "Valid To", "valid_to_current": last, "is_deleted": is_deleted}
        current = replace(source, relation=recorder.sql("pendo_current_rows", snapshot=source.relation, **ends))
        SyncTables(recorder, "pendo", spec, current).write_changes("r1", PLAIN)
        History(recorder, "pendo").model_rows(current, "a")


def consents(recorder: Recorder) -> None:
    """A consent of a boolean of each name."""
    recorder.there = True
    (flag,) = [type_ for type_ in recorder.types if type_.lower().startswith("bool")]
    for name in NAMES:
        mapped = (Field("plan", Column("plan")), Field("donotprocess", Column(name), group="pendo"))
        source = recorder.model(
            *(TableColumn("id", recorder.types[0]), TableColumn("plan", recorder.types[0]), TableColumn(name, flag))
        )
        for either in (mapped, (mapped[0], replace(mapped[1], name="blacklistguides"))):
            tables = SyncTables(recorder, "pendo", people(fields=either), source)
            for options in (PLAIN, PlanOptions(full_refresh=True)):
                tables.write_changes("r1", options)
            recorder.answers = [[{"calls": 1, "ignored": 1, "example_key": "a"}]]
            tables.count_consents()
    tables.came_back("r1")


CASES: list[Callable[[Recorder], None]] = [
    *(plans, events, event_counts, pages, commits, ledgers, locks, run_log, subscriptions, history, builds, drift),
    *(segments, snapshots, consents, models_of_the_package),
]


def parsed(sql: str, dialect: str) -> Any:
    """The one statement that a text holds."""
    (statement,) = sqlglot.parse(sql, dialect=tsql.TSQL.get(dialect, dialect))
    assert not isinstance(statement, exp.Command), f"not understood: {sql}"
    return statement


def nameless_subqueries(statement: Any) -> list[Any]:
    """The subqueries that a statement selects from, and does not name."""
    found = [one for one in statement.find_all(exp.Subquery) if isinstance(one.parent, exp.From | exp.Join)]
    return [one for one in found if not one.alias]


def shadowed_columns(statement: Any, anywhere: bool = False) -> set[str]:
    """The names that a select gives to expressions, and uses elsewhere in itself as if they were columns.

    In an aggregate or in ``having`` GoogleSQL may take the expression instead of the column, and ClickHouse does so
    anywhere. A column under its own name is no other, and ``order by`` means the expression in every dialect.
    """
    found = set()
    for select in statement.find_all(exp.Select):
        for one in select.expressions:
            if isinstance(one, exp.Alias) and not (isinstance(one.this, exp.Column) and one.this.name == one.alias):
                parts = [other for other in select.expressions if other is not one]
                clauses = [
                    select.args[name] for name in ("where", "group", "having", "qualify") if select.args.get(name)
                ]
                columns = [column for part in (*parts, *clauses) for column in own_columns(part)]
                found |= {
                    one.alias
                    for column in columns
                    if column.name == one.alias and not column.table and (anywhere or is_sensitive(column))
                }
    return found


def own_columns(part: Any) -> list[Any]:
    """The columns in a part of a select, but for those of its subqueries."""
    walked = part.walk(prune=lambda node: isinstance(node, exp.Query))
    return [node for node in walked if isinstance(node, exp.Column)]


def is_sensitive(column: Any) -> bool:
    """Whether a column is used in an aggregate, or in ``having``."""
    over = column.find_ancestor(exp.AggFunc, exp.Having, exp.Query)
    return isinstance(over, exp.AggFunc | exp.Having)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_statements_are_of_the_dialect(recorder, dialect, case):
    case(recorder)
    assert recorder.statements
    for sql in recorder.statements:
        statement = parsed(sql, dialect)
        # PostgreSQL before 16 and Redshift refuse others.
        assert not [found.sql() for found in nameless_subqueries(statement)]
        assert not shadowed_columns(statement, anywhere=dialect in ALIASES_FIRST), sql
        if dialect == "redshift":
            # Its adapter runs what sqlparse cuts, each piece on its own.
            assert len(sqlparse.split(sql)) == 1, sql
        if dialect in tsql.TSQL:
            assert not tsql.refused(sql, statement, dialect), sql


@pytest.mark.parametrize(
    ("sql", "found", "anywhere"),
    [
        ("select min(seen_at) as since, max(seen_at) as seen_at from x", {"seen_at"}, {"seen_at"}),
        ("select f(k) as k, count(*) as n from x group by 1 having max(k) > 1", {"k"}, {"k"}),
        ("select f(k) as k from x where k > 1", set(), {"k"}),
        ("select f(k) as k, g(k) as other from x", set(), {"k"}),
        ("select max(k) as k, min(x.k) as other, n as n, max(n) as most from x order by max(k)", set(), set()),
        ("select f(k) as k, (select max(k) from y) as other from x", set(), set()),
    ],
)
def test_names_of_expressions_that_are_columns_are_found(sql, found, anywhere):
    statement = sqlglot.parse_one(sql)
    assert shadowed_columns(statement) == found
    assert shadowed_columns(statement, anywhere=True) == anywhere


# What warehouses say of a scan, how much that is, and the words by which they are asked.
SCANS = {
    "redshift": (
        "explain",
        """XN Hash Full Join DS_DIST_NONE  (cost=15.00..144002487.50 rows=6000 width=21)
  Hash Cond: ("outer".meeting_key = "inner".record_key)
  ->  XN Subquery Scan keyed  (cost=104.33..120.24 rows=909 width=44)
        ->  XN Seq Scan on people  (cost=0.00..60012.15 rows=6001215 width=22)
  ->  XN Hash  (cost=17803.81..17803.81 rows=1424306 width=8)
        ->  XN Seq Scan on people__ledger entries  (cost=0.00..17803.81 rows=1424306 width=8)
              Filter: (("destination")::text = 'visitor'::text)""",
        6001215 * 22 + 1424306 * 8,
    ),
    "databricks": (
        "explain cost",
        """== Optimized Logical Plan ==
Project [bucket#1], Statistics(sizeInBytes=9.0 GiB)
+- Join FullOuter, (meeting_key#2 = record_key#3), Statistics(sizeInBytes=8.0 EiB)
   :- Project [id#4], Statistics(sizeInBytes=30.8 MiB, rowCount=1.62E+6)
   :  +- Relation main.shop.people[id#4,plan#5] parquet, Statistics(sizeInBytes=134.6 MiB, rowCount=2.88E+9)
   +- Relation main.pendo.people__ledger[record_key#3] parquet, Statistics(sizeInBytes=512.0 B)

== Physical Plan ==
AdaptiveSparkPlan isFinalPlan=false""",
        round(134.6 * 1024**2) + 512,
    ),
}


def test_a_warehouse_says_what_a_plan_scans(recorder, dialect):
    words, answer, size = SCANS.get(dialect, ("", "", None))
    # In one row or in many.
    for rows in ([(answer,)], [(line,) for line in answer.splitlines()]):
        recorder.statements.clear()
        recorder.answers = [rows]
        recorder.there = True
        assert recorder.sync().bytes_scanned(PLAIN) == size
        # Where nothing is known of such a statement, none is run.
        assert [sql.partition(" with model as")[0] for sql in recorder.statements] == [words] * bool(words)
    # Words that nobody knows, and a table of which nothing is known.
    for odd in ("", "XN Unheard Of", "Relation a.b[x#1] orc, Statistics(sizeInBytes=8.0 EiB)"):
        recorder.answers = [[(odd,)]]
        assert recorder.sync().bytes_scanned(PLAIN) is None


def test_rows_without_a_key_do_not_go_to_one_worker(recorder, dialect):
    if dialect == "clickhouse":
        pytest.skip("has one worker for a window")
    recorder.there = True
    for changes in ({}, {"on_removed": "clear"}):
        recorder.sync(**changes).write_changes("r1", PLAIN)
    plans = [parsed(sql, dialect) for sql in recorder.statements if "with model as" in sql]
    assert len(plans) == 2
    for statement in plans:
        (keyed,) = [one for one in statement.find_all(exp.CTE) if one.alias == "keyed"]
        (window,) = keyed.find_all(exp.Window)
        assert [column.name for column in window.args["partition_by"]] == ["meeting_key"]
        (judged,) = [one for one in statement.find_all(exp.CTE) if one.alias == "judged"]
        (join,) = judged.find_all(exp.Join)
        assert {f"{one.table}.{one.name}" for one in join.args["on"].find_all(exp.Column)} == {
            "keyed.meeting_key",
            "known.record_key",
        }


class BigQuery:
    """BigQuery's API on loopback, as far as its client has to know of a job and of a table."""

    TABLE = "/bigquery/v2/projects/project-1/datasets/pendo/tables/people__lock"
    SCHEMA: ClassVar = {"run_id": "STRING", "pid": "INTEGER", "seen_at": "TIMESTAMP"}

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.rows = [["first", "7", "1767323045000001"], ["later", "8", "1767323046000000"]]
        self._server = Server(0, self._answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.close()

    @staticmethod
    def field(name: str, type_: str) -> dict[str, str]:
        return {"name": name, "type": type_}

    def _answer(self, call: Call) -> Reply:
        self.calls.append(call)
        path = call.path.partition("?")[0]
        answer: dict[str, Any] | None = None
        if path.endswith("/jobs"):
            job = json.loads(call.body)
            reference = {"projectId": "project-1", "location": "EU", "jobId": "job-1"}
            query = {"statementType": "SELECT", "totalBytesProcessed": "123456789", "totalBytesBilled": "0"}
            statistics = {"totalBytesProcessed": "123456789", "query": query}
            done = {"status": {"state": "DONE"}, "jobReference": reference, "statistics": statistics}
            answer = {"kind": "bigquery#job", **job, **done}
            if "nowhere" in json.dumps(job):
                return Reply(403, b'{"error": {"code": 403, "message": "no", "errors": [{"reason": "accessDenied"}]}}')
        elif path.endswith("/queries/job-1"):
            row = {"rows": [{"f": [{"v": "1"}]}], "totalRows": "1", "schema": {"fields": [self.field("x", "INTEGER")]}}
            answer = {"jobComplete": True, "jobReference": {"projectId": "project-1", "jobId": "job-1"}, **row}
        elif path == self.TABLE:
            fields = [self.field(*column) for column in self.SCHEMA.items()]
            names = {"projectId": "project-1", "datasetId": "pendo", "tableId": "people__lock"}
            answer = {"tableReference": names, "schema": {"fields": fields}, "type": "TABLE"}
        elif path == f"{self.TABLE}/data":
            rows = [{"f": [{"v": value} for value in row]} for row in self.rows]
            answer = {"rows": rows, "totalRows": str(len(rows))}
        if answer is None:
            return Reply(404, b'{"error": {"code": 404, "message": "Not found", "errors": [{"reason": "notFound"}]}}')
        return Reply(200, json.dumps(answer).encode())


@pytest.fixture
def bigquery(loaded, dialect):
    """A session whose client speaks to it."""
    if dialect != "bigquery":
        pytest.skip("of another kind")
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    server = BigQuery()
    with contextlib.closing(server), loaded._adapter.connection_named("recorded"):
        connection = loaded._adapter.connections.get_thread_connection()
        connection.handle = Client(
            "project-1", AnonymousCredentials(), client_options={"api_endpoint": server.url}, location="EU"
        )
        connection.state = "open"
        yield Session(loaded._adapter, loaded._adapter.config.credentials), server


def test_bigquery_says_what_the_very_statement_would_process(bigquery):
    session, server = bigquery
    assert costs.bytes_scanned(session, "select 1 as x") == 123_456_789
    (call,) = server.calls
    asked = json.loads(call.body)["configuration"]
    assert (asked["dryRun"], asked["query"]["query"]) == (True, "select 1 as x")
    # Who may not run it may not ask either.
    assert costs.bytes_scanned(session, "select 1 as nowhere") is None
    assert session.rows("select 1 as x") == [(1,)]


def test_whose_a_lock_is_costs_no_query_of_bigquery(bigquery):
    session, server = bigquery
    lock = SyncLock(session, "pendo", "people")
    lock._run_id, lock._renewed_at = "first", time.time()
    lock.look()
    assert [call.path for call in server.calls] == [server.TABLE, f"{server.TABLE}/data"]
    # Nor does a statement look at it.
    assert lock.relation is None
    # Whoever made the table has it, in whatever order its rows are listed.
    server.rows.reverse()
    lock.look()
    server.rows = [["later", "8", "1767323046000000"]]
    with pytest.raises(LockLostError, match="was broken"):
        lock.look()


def test_dbt_publishes_where_a_sync_reads(loaded):
    with loaded._adapter.connection_named("never opened"):
        assert loaded.sql("pendo_builds_relation", schema="Pendo") == loaded.relation("Pendo", "pendo_builds")


def test_columns_are_quoted_and_of_their_types(recorder, dialect):
    recorder.sync().write_changes("r1", PLAIN)
    (create,) = [sql for sql in recorder.statements if "with model as" in sql]
    names = {found.name for found in parsed(create, dialect).find_all(exp.Identifier) if found.quoted}
    assert names > {name for name in NAMES if name != "bucket"} | {"bucket_"}
    assert recorder.sql("pendo_name", name="select") == recorder.quoted("select")
    # Dates and timestamps are moments.
    assert [type_.lower().split("(")[0].split()[0] for type_ in recorder.moments] == {
        "bigquery": ["date", "datetime", "timestamp"],
        "databricks": ["date", "timestamp_ntz", "timestamp"],
        "clickhouse": ["date", "date32", "datetime", "datetime64"],
        "sqlserver": ["date", "datetime", "datetime2", "datetimeoffset"],
        "fabric": ["date", "datetime2"],
    }.get(dialect, ["date", "timestamp", "timestamp"])


def test_texts_are_what_the_warehouse_reads(recorder, dialect):
    literals = [f"select {recorder.sql('pendo_literal', text=text)}" for text in AWKWARD]
    assert [text_of(parsed(literal, dialect).expressions[0]) for literal in literals] == AWKWARD


@pytest.mark.parametrize("text", ["a\\\nb", "a\\\r\nb", "\\\n", "it's \\\n' + '\\\n"])
def test_a_backslash_at_the_end_of_a_line_is_read(recorder, dialect, text):
    if dialect not in tsql.TSQL:
        pytest.skip("leaves no line break out")
    literal = recorder.sql("pendo_literal", text=text)
    assert "\\\n" not in literal
    assert "\\\r" not in literal
    assert text_of(parsed(f"select {literal}", dialect).expressions[0]) == text


def test_bits_are_booleans_where_there_are_no_others(loaded, dialect):
    assert _dtype(loaded._adapter.Column("flag", "bit")) == ("boolean" if dialect in tsql.TSQL else "bit")


# Values of a column as text, of which T-SQL's plain casts would leave out a part; `_` stands for the type of texts.
EXACT = "collate Latin1_General_100_BIN2_UTF8"
TEXTS = {
    "varchar(10)": "cast(c as _)",
    "boolean": "cast(c as _)",
    "decimal(18,2)": "cast(c as _)",
    "char(8)": "rtrim(cast(c as _))",
    "float": "convert(_, c, 3)",
    "real": "convert(_, c, 3)",
    "money": "convert(_, c, 2)",
    "smallmoney": "convert(_, c, 2)",
    "time": "convert(_, c, 121)",
    "date": "convert(_, c, 121)",
    "datetime": "convert(_, c, 121)",
    "smalldatetime": "convert(_, c, 121)",
    "datetime2(6)": "convert(_, c, 121)",
    "datetimeoffset": "convert(_, c at time zone 'UTC', 121)",
}


def test_texts_of_tsql_are_whole_and_compared_by_bytes(recorder, dialect):
    if dialect not in tsql.TSQL:
        pytest.skip("has no such casts")
    whole = recorder.sql("pendo_text_type")
    assert whole == {"sqlserver": "nvarchar(max)", "fabric": "varchar(max)"}[dialect]
    for dtype, expected in TEXTS.items():
        text = expected.replace("_", whole)
        assert recorder.sql("pendo_text", expression="c", dtype=dtype) == f"({text} {EXACT})"
    # In the bytes of UTF-8; what is collated is not collated again.
    assert recorder.sql("pendo_bytes", text="c") == f"datalength(cast(((c) {EXACT}) as varchar(max)))"
    key = f"coalesce((c {EXACT}), '')"
    digest = f"lower(convert(varchar(32), hashbytes('MD5', cast(({key}) as varchar(max))), 2))"
    assert recorder.sql("pendo_md5", text=key) == digest


def test_pages_of_sqlserver_are_found_by_an_index(recorder, dialect):
    recorder.sync().write_changes("r1", PLAIN)
    indexes = [sql for sql in recorder.statements if sql.startswith("create clustered index")]
    assert len(indexes) == (dialect == "sqlserver")


REFUSED = {
    "select current_timestamp as a": "no function current_timestamp",
    "select a from information_schema.tables b": "a name in small letters",
    "select a from b limit 3": "no limit",
    "select a || b as c from d": "no ||",
    "create table [a] as select 1 as b": "no create table as",
    "select substr(a, 1, 2) as b from c": "no function substr",
    "select date '2026-01-02' as a": "no literal",
    "select trim(trailing ' ' from a) as b from c": "no trim",
    "alter table [a] add column b int": "no add column",
    "select cast(a as boolean) as b from c": "the type",
    "select true as a": "a boolean",
    "select (a = 1) as b from c": "a condition",
    "select count(a = 1) as b from c": "a condition",
    "select case a when b = 1 then 2 end as c from d": "a condition",
    "select a from b where c": "no condition",
    "select a from b where not c and d = 1": "no condition",
    "select a from b join c on d": "no condition",
    "select case when a then 1 end as b from c": "no condition",
    "select * from (select a from b order by a) c": "an order in a subquery",
    "select a from b where a in (select c from d order by c)": "an order in a subquery",
    "select a from b offset 0 rows fetch next 2 rows only": "in no order",
    "select * from (with a as (select 1 as b) select * from a) c": "not at the start",
    "insert into [a] (b) with c as (select 1 as b) select b from c": "not at the start",
    "select * from (select a + 1 from b) c": "without names of their own",
    "with a as (select b, B from c) select * from a": "without names of their own",
    "select file from a": "a reserved word",
    "select (a collate b) collate b as c from d": "collated twice",
    f"insert into [a] (b) values {', '.join(['(1)'] * 1_001)}": "1001 rows of values",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_what_tsql_refuses_is_found(sql):
    (found,) = {why for why in tsql.refused(sql, parsed(sql, "sqlserver"), "sqlserver") if REFUSED[sql] in why}
    assert found


@pytest.mark.parametrize("dialect", tsql.TSQL)
def test_what_tsql_takes_is_not_refused(dialect):
    taken = """
        with a as (select b, case when c = 1 and (d is null or not e > 2) then 1 end as f from g)
        select a.*, count(*) over (partition by f) as h into [i] from a
        left join (select k from l order by k offset 0 rows fetch next 2 rows only) m on (k = b)
        where exists (select 1 from n where o like 'p') order by b
    """
    assert not tsql.refused(taken, parsed(taken, dialect), dialect)


def test_rows_of_bigquery_are_tuples(loaded, dialect, monkeypatch):
    if dialect != "bigquery":
        pytest.skip("has a cursor")
    from google.cloud.bigquery import SchemaField
    from google.cloud.bigquery.table import RowIterator

    types = {"seq": "INTEGER", "change": "STRING", "amount": "NUMERIC", "at": "TIMESTAMP", "flag": "BOOLEAN"}
    schema = [SchemaField(name, type_) for name, type_ in types.items()]
    values = [["7", "added", "1.50", "1767323045000001", "true"], [None] * 5]
    answer = {"rows": [{"f": [{"v": value} for value in row]} for row in values], "totalRows": "2"}
    iterator = RowIterator(None, lambda **_: answer, "/rows", schema)
    monkeypatch.setattr(loaded._adapter.connections, "raw_execute", lambda sql: (None, iterator))
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 1, datetime.timezone.utc)
    with loaded._adapter.connection_named("never opened"):
        rows = loaded.rows("select")
    assert rows == [(7, "added", Decimal("1.50"), moment, True), (None,) * 5]
    assert all(type(row) is tuple for row in rows)


def text_of(expression: Any) -> str:
    """What an expression of literals amounts to."""
    if isinstance(expression, exp.Cast | exp.Paren):
        return text_of(expression.this)
    if isinstance(expression, exp.DPipe | exp.Add):
        return text_of(expression.this) + text_of(expression.expression)
    if isinstance(expression, exp.Chr):
        return "".join(chr(int(code.name)) for code in expression.expressions)
    assert isinstance(expression, exp.National) or expression.is_string
    return str(expression.this)
