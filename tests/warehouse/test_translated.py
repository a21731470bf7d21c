"""The contract for Trino and Athena: rendered by their adapters, translated by sqlglot, run by DuckDB."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from contract import *  # noqa: F403
from elsewhere import ElsewhereEngine, adapter_of, quoted
from engine import TYPES, Engine
from test_rendered import DIALECTS

sqlglot = pytest.importorskip("sqlglot")
duckdb = pytest.importorskip("duckdb")
exp = sqlglot.expressions

# What is not of these adapters' making.
pytestmark = pytest.mark.filterwarnings("ignore")

# What DuckDB's client makes of a date beyond Python's calendar says nothing of theirs.
del globals()["test_a_moment_that_python_has_no_word_for_costs_its_own_row"]

DATABASES = {"trino": "lake", "athena": "awsdatacatalog"}
WORDS = {
    **{"VARCHAR": "varchar", "BIGINT": "bigint", "DECIMAL(18,2)": "decimal(18,2)", "DOUBLE": "double"},
    **{"BOOLEAN": "boolean", "DATE": "date", "TIMESTAMP": "timestamp(6)"},
    "TIMESTAMP WITH TIME ZONE": "timestamp(6) with time zone",
}
MILLISECONDS_A_DAY = 86_400_000
HIVE_NAMES = re.compile(r" `[^`.]+`\.`[^`.]+`( |$)")
# The tests' own models have their names in quotes.
COLUMN_LIST = re.compile(r"create table \S+ \(\s*\w")
ADD_COLUMNS = re.compile(r"alter table (\S+) add columns \((.*)\)", re.DOTALL)


class Translated:
    """DuckDB, which runs Trino's statements as sqlglot translates them."""

    def __init__(self, dialect: str) -> None:
        self.dialect, self.database = dialect, DATABASES[dialect]
        self.connection = duckdb.connect()
        self.connection.execute(f"attach ':memory:' as {quoted(self.database)}")
        self.connection.execute(f"use {quoted(self.database)}")
        # No session's time zone may matter.
        self.connection.execute("set timezone = 'Europe/Berlin'")

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        # What Athena reads as Hive: two names in backticks. It would refuse a list of columns that is no query.
        if added := ADD_COLUMNS.fullmatch(sql):
            sql = f"alter table {added[1]} add column {added[2]}"
        if self.dialect == "athena" and sql.startswith(("alter table", "drop table")):
            assert HIVE_NAMES.search(sql), sql
            sql = sql.replace("`", '"')
        assert self.dialect != "athena" or not COLUMN_LIST.match(sql), sql
        (statement,) = sqlglot.parse(sql, dialect="trino")
        translated = statement.transform(reworded).sql(dialect="duckdb", unsupported_level=sqlglot.ErrorLevel.IGNORE)
        answer = self.connection.execute(translated)
        return [column[0] for column in answer.description or ()], answer.fetchall()

    def schemas(self) -> list[str]:
        found = "select schema_name from information_schema.schemata where catalog_name = ?"
        return [name for (name,) in self.connection.execute(found, [self.database]).fetchall()]

    def tables(self, schema: str) -> list[str]:
        found = "select table_name from information_schema.tables where table_catalog = ? and table_schema = ?"
        return [name for (name,) in self.connection.execute(found, [self.database, schema]).fetchall()]

    def columns(self, schema: str, table: str) -> list[tuple[str, str]]:
        found = self.connection.execute(
            "select column_name, data_type from information_schema.columns where table_catalog = ? "
            "and table_schema = ? and lower(table_name) = lower(?) order by ordinal_position",
            [self.database, schema, table],
        )
        return [(name, WORDS.get(type_, type_)) for name, type_ in found.fetchall()]

    def create_schema(self, schema: str) -> None:
        self.connection.execute(f"create schema if not exists {quoted(self.database, schema)}")

    def drop_schema(self, schema: str) -> None:
        self.connection.execute(f"drop schema if exists {quoted(self.database, schema)} cascade")

    def rename(self, schema: str, old: str, new: str) -> None:
        self.connection.execute(f"alter table {quoted(self.database, schema, old)} rename to {quoted(new)}")

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def close(self) -> None:
        self.connection.close()


def reworded(node: Any) -> Any:
    """What sqlglot leaves as Trino has it."""
    if isinstance(node, exp.Length) and isinstance(node.this, exp.Encode):
        return exp.Anonymous(this="octet_length", expressions=[node.this])
    if isinstance(node, exp.Anonymous) and node.name.lower() == "to_milliseconds":
        days = exp.Paren(this=node.expressions[0])
        return exp.Paren(this=exp.Mul(this=days, expression=exp.Literal.number(MILLISECONDS_A_DAY)))
    return node


@pytest.fixture(scope="module", params=DATABASES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    dialect = request.param
    pytest.importorskip(f"dbt.adapters.{dialect}")
    with adapter_of(dialect, DIALECTS[dialect].output, tmp_path_factory.mktemp(dialect) / "project") as adapter:
        yield adapter


@pytest.fixture
def engine(loaded: tuple[Any, Any]) -> Engine:
    dialect = loaded[0].type()
    return ElsewhereEngine(
        dialect,
        DIALECTS[dialect].output,
        {**TYPES, "real": "double", "moment": "timestamp(6)", "zoned": "timestamp(6) with time zone"},
        loaded=loaded,
        start=lambda: Translated(dialect),
    )
