"""A warehouse to hold the contract against: a profile of dbt's, and the words it has for types."""

from __future__ import annotations

import datetime
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.dbt import project_yaml, write_files

from dbt_pendo.mapping.spec import Column, Event, Field, SyncSpec
from dbt_pendo.outcomes import Outcome
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.pages import Planned, Row
from dbt_pendo.warehouse.plan import EVERYTHING, ChangeSet, ModelTable, PlanOptions
from dbt_pendo.warehouse.session import Session, open_session
from dbt_pendo.warehouse.tables import SyncTables

TYPES = {
    "text": "varchar",
    "whole": "bigint",
    "money": "decimal(18, 2)",
    "real": "double precision",
    "flag": "boolean",
    "day": "date",
    "moment": "timestamp",
    "zoned": "timestamp with time zone",
}
PEOPLE = {"id": "text", "plan": "text"}
CLICKS = {"id": "text", "event": "text", "person": "text", "at": "moment"}
HOUR, DAY = 3600, 24 * 3600
AWKWARD = [
    *("it's", '"quoted"', "back\\slash", "trailing\\", "\\'); drop table x; --", "new\nline\r\ntab\t"),
    *("{{ jinja }} {% raw %} {# x #}", "%s %(name)s %% :bind ? $1 @at", "${env:HOME} ${x} $x", "emoji 🚀 größe 名前"),
    *("/* comment */ -- comment", "null", " leading and trailing "),
]


@dataclass(frozen=True)
class Engine:
    """One warehouse.

    Attributes:
        name: dbt's name of the adapter.
        output: What stands in profiles.yml, but for the schema.
        types: The engine's words for the kinds of TYPES; a kind it lacks is left out.
        column_names: Names that its columns may have.
        sync_names: Names that its tables may have, and so a sync of one.
        texts: What breaks statements, templates and drivers, as far as the engine takes it.
        has_null_moments: Whether its driver can answer that a timestamp is null.
        has_values: Whether rows are given to it as `values`; it would make a task of each `select` of a union.
        statements: How many a sync takes at most: a first one, one without changes, one with a few.
        step: A run dies, or another comes between, before every so many-th statement.
    """

    name: str
    output: Mapping[str, Any]
    types: Mapping[str, str] = field(default_factory=lambda: TYPES)
    column_names: Sequence[str] = (
        *("plain", "UPPER", "Mixed Case", "select", "bucket", "row_hash", "per-cent%", "it's", 'a "quote"', "größe 🚀"),
        *("{{ x }}", "back\\slash", "semi;colon"),
    )
    sync_names: Sequence[str] = ("People", "select", "people.facts", "p" * 70, "größe")
    texts: Sequence[str] = tuple(AWKWARD)
    has_null_moments: bool = True
    has_values: bool = False
    statements: tuple[int, int, int] = (13, 6, 9)
    step: int = 1

    @property
    def text(self) -> str:
        """All of the texts in one, which ends with a backslash."""
        return " ".join([*self.texts, "trailing\\"])

    @property
    def moments(self) -> list[str]:
        """Its kinds of moments."""
        return [kind for kind in ("moment", "zoned") if kind in self.types]

    def write_project(self, folder: Path, schema: str) -> None:
        profiles = {"contract": {"target": "dev", "outputs": {"dev": {**self.output, "schema": schema, "threads": 1}}}}
        # JSON is YAML.
        files = {"dbt_project.yml": project_yaml("contract", profile="contract"), "profiles.yml": json.dumps(profiles)}
        write_files(folder, files)

    @contextmanager
    def store(self, folder: Path) -> Iterator[Store]:
        """An empty schema, and an open session on it."""
        schema = f"c{uuid.uuid4().hex[:12]}"
        self.write_project(folder, schema)
        with open_session(Connection(folder, folder)) as session:
            session.ensure_schema(schema)
            store = Store(self, session, schema)
            yield store
            store.drop_schemas()


class Store:
    """A schema of a warehouse, with tables of the test's own making."""

    def __init__(self, engine: Engine, session: Session, schema: str) -> None:
        self.engine = engine
        self.session = session
        self.schema = schema
        self.own_schema = f"{schema}_pendo"
        self._types: dict[str, dict[str, str]] = {}

    def drop_schemas(self) -> None:
        for schema in (self.schema, self.own_schema):
            self.drop_schema(schema)

    def drop_schema(self, schema: str) -> None:
        self.session._adapter.drop_schema(self.session._relation(schema, None))
        self.session._commit()

    # The models.

    def create(self, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Builds a table: ``columns`` names the kind of each, and values are given as text or None."""
        self._types[table] = dict(columns)
        self.session.create(self.schema, table, f"create table {self.relation(table)} as {self._select(columns, rows)}")

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        self.session.run(f"insert into {self.relation(table)} {self._select(self._types[table], rows)}")

    def _select(self, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> str:
        if self.engine.has_values and rows:
            given = [f"given{at}" for at in range(len(columns))]
            names = ", ".join(
                f"cast({value} as {self.engine.types[kind]}) as {self.name(name)}"
                for value, (name, kind) in zip(given, columns.items(), strict=True)
            )
            values = ", ".join(f"({', '.join(map(self.literal, row))})" for row in rows)
            return f"select {names} from values {values} as given ({', '.join(given)})"
        selects = (
            "select "
            + ", ".join(
                f"cast({self.literal(value)} as {self.engine.types[kind]}) as {self.name(name)}"
                for (name, kind), value in zip(columns.items(), row, strict=True)
            )
            for row in rows or [[None] * len(columns)]
        )
        return " union all ".join(selects) + ("" if rows else " limit 0")

    def relation(self, table: str, schema: str | None = None) -> str:
        return self.session.relation(schema or self.schema, table)

    def literal(self, value: Any) -> str:
        return "null" if value is None else self.session.sql("pendo_literal", text=str(value))

    def name(self, column: str) -> str:
        return self.session.sql("pendo_name", name=column)

    # The syncs.

    def tables(self, spec: SyncSpec, table: str | None = None) -> SyncTables:
        """The change set and ledger of a sync."""
        table = table or spec.name
        found = self.session.columns(None, self.schema, table)
        assert found is not None
        by_name = {column.name: column for column in found}
        columns = tuple(by_name[name] for name in spec.columns)
        has_rowid = self.session.is_table(None, self.schema, table)
        source = ModelTable(self.relation(table), by_name[spec.key], columns, has_rowid=has_rowid)
        tables = SyncTables(self.session, self.own_schema, spec, source)
        tables.ensure_schema()
        tables.prepare()
        return tables

    def ledger(self, tables: SyncTables) -> list[tuple[Any, ...]]:
        """The ledger's entries, oldest first: key, status, detail, attempts, run."""
        return self.session.rows(
            f"select record_key, status, detail, attempts, run_id from {tables.ledger} "
            "order by commit_number, record_key"
        )

    def rewrite(self, name: str, without: Sequence[str] = (), **values: str) -> None:
        """Writes a table of ours anew: without some columns, and with other expressions for some."""
        assert name in self.session.tables(self.own_schema)
        found = self.session.columns(None, self.own_schema, name)
        assert found is not None
        names = [column.name.lower() for column in found if column.name.lower() not in without]
        select = ", ".join(f"{values[name]} as {name}" if name in values else name for name in names)
        old = self.relation(name, self.own_schema)
        copy = f"create table {self.relation('rewritten', self.own_schema)} as select {select} from {old}"
        self.session.create(self.own_schema, "rewritten", copy)
        self.session.drop(self.own_schema, name)
        self.session.rename(self.own_schema, "rewritten", name)

    def log_at(self, name: str, seconds_ago: float) -> None:
        """Lets everything in a table of ours have been logged then, as by a clock that is wrong."""
        self.rewrite(name, logged_at=self.session.sql("pendo_seconds_ago", seconds=seconds_ago))

    def bloat(self, tables: SyncTables, times: int = 3) -> None:
        """Doubles a ledger's entries, so many times."""
        columns = self.session.sql("pendo_ledger_names")
        for _ in range(times):
            self.session.run(f"insert into {tables.ledger} ({columns}) select {columns} from {tables.ledger}")


def people(**changes: Any) -> SyncSpec:
    """A sync of visitors with one field."""
    fields = changes.pop("fields", None) or (Field("plan", Column("plan")),)
    spec = SyncSpec("people", "model.contract.people", "x.yml", "visitor", "id", fields)
    return replace(spec, **changes)


def clicks(at: str = "at", **changes: Any) -> SyncSpec:
    """A sync of events, whose moment is in a column."""
    event = Event(Column("event"), Column("person"), Column(at))
    spec = SyncSpec("clicks", "model.contract.clicks", "x.yml", "track_event", "id", event=event)
    return replace(spec, **changes)


def trial(sync: str = "people", segment: str = "Trial") -> SyncSpec:
    """A sync of a segment."""
    return SyncSpec(sync, "model.contract.people", "x.yml", "segment", "id", segment=segment)


def clicked(*events: tuple[str, str | None]) -> list[tuple[str | None, ...]]:
    """Events of ids and moments."""
    return [(key, "Clicked", "a", at) for key, at in events]


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


def plan(tables: ChangeSet, run_id: str, **options: Any) -> Planned:
    """Writes the change set, and returns its counts."""
    return sum((bucket.planned for bucket in tables.write_changes(run_id, PlanOptions(**options))), Planned())


def everything(tables: ChangeSet) -> dict[str, Row]:
    """The rows to send by key, in the order in which they come."""
    return {row[3]: row for row in tables.read_page(EVERYTHING)}


def planned(tables: ChangeSet, **options: Any) -> Planned:
    """Plans without storing anything, and returns the counts."""
    return sum((bucket.planned for bucket in tables.plan(PlanOptions(**options))), Planned())


def commit(tables: SyncTables, run_id: str, outcomes: Mapping[str, Outcome] | None = None) -> None:
    """Commits a whole change set: all rows were delivered but for those whose keys have another outcome."""
    others = outcomes or {}
    rows = tables.read_page(EVERYTHING)
    exceptions = {row[:2]: others[row[3]] for row in rows if row[3] in others}
    tables.commit(run_id, EVERYTHING, [row[:2] for row in rows], exceptions)


def deliver(tables: SyncTables, run_id: str, outcomes: Mapping[str, Outcome] | None = None, **options: Any) -> Planned:
    """Plans and commits, as a run does."""
    counts = plan(tables, run_id, **options)
    commit(tables, run_id, outcomes)
    return counts


def wait_until(is_so: Callable[[], bool]) -> None:
    """Waits for something to become true, a minute at most."""
    give_up_at = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
