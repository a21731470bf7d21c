"""The contract for Redshift: rendered by its adapter, run by PostgreSQL, which is taught some of its words."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract import *  # noqa: F403
from elsewhere import ElsewhereEngine, adapter_of, quoted
from engine import TYPES, Engine
from harness.postgres import administration, postgres
from test_rendered import DIALECTS

pytest.importorskip("dbt.adapters.redshift")
psycopg2 = pytest.importorskip("psycopg2")

# What is not of these adapters' making.
pytestmark = pytest.mark.filterwarnings("ignore")

TAUGHT = """
create function public.datediff(part text, a timestamp, b timestamp) returns bigint immutable language sql as
$$ select case part when 'second' then
    cast(extract(epoch from date_trunc('second', b)) - extract(epoch from date_trunc('second', a)) as bigint) end $$;
create function public.exact(a text, how text) returns text immutable language sql as $$ select a collate "C" $$;
create function public.dateadd(part text, n bigint, a timestamp) returns timestamp immutable language sql as
$$ select a + n * cast('1 ' || part as interval) $$;
create function public.dateadd(part text, n bigint, a timestamptz) returns timestamptz immutable language sql as
$$ select a + n * cast('1 ' || part as interval) $$;
"""
WORDS = [
    (r"\bcompound sortkey \([^)]*\)", ""),
    (r"\bsysdate\b", "localtimestamp"),
    # dbt's type for text, which in Redshift is another name of this.
    (r"\bTEXT\b", "varchar(256)"),
    (r"\bcollate\(", "public.exact("),
    (r"\bdatediff\(\s*(\w+)", r"public.datediff('\1'"),
    (r"\bdateadd\(\s*(\w+)", r"public.dateadd('\1'"),
]
# Literals and quoted names, which are left alone.
LITERAL = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")""")
TABLES = "from pg_class join pg_namespace n on n.oid = relnamespace where nspname = %s"
COLUMNS = (
    "select attname, format_type(atttypid, atttypmod) from pg_attribute join pg_class on pg_class.oid = attrelid "
    "join pg_namespace n on n.oid = relnamespace where nspname = %s and lower(relname) = lower(%s) and attnum > 0 "
    "and not attisdropped order by attnum"
)


class Taught:
    """PostgreSQL, which runs Redshift's statements."""

    def __init__(self, server: Path) -> None:
        self.connection = psycopg2.connect(host=str(server), user="postgres", dbname="db")
        self.connection.autocommit = True
        # No session's time zone may matter.
        self._fetch("set timezone = 'Europe/Berlin'")

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        with self.connection.cursor() as cursor:
            cursor.execute(reworded(sql))
            if cursor.description is None:
                return [], []
            return [column.name for column in cursor.description], cursor.fetchall()

    def _fetch(self, sql: str, *parameters: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def schemas(self) -> list[str]:
        return [name for (name,) in self._fetch("select nspname from pg_namespace")]

    def tables(self, schema: str) -> list[str]:
        return [name for (name,) in self._fetch(f"select relname {TABLES} and relkind in ('r', 'v')", schema)]

    def columns(self, schema: str, table: str) -> list[tuple[str, str]]:
        return [(name, type_) for name, type_ in self._fetch(COLUMNS, schema, table)]

    def create_schema(self, schema: str) -> None:
        self._fetch(f"create schema if not exists {quoted(schema)}")

    def drop_schema(self, schema: str) -> None:
        self._fetch(f"drop schema if exists {quoted(schema)} cascade")

    def rename(self, schema: str, old: str, new: str) -> None:
        self._fetch(f"alter table {quoted(schema, old)} rename to {quoted(new)}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self._fetch("begin")
        try:
            yield
        except BaseException:
            self._fetch("rollback")
            raise
        self._fetch("commit")

    def close(self) -> None:
        self.connection.close()


def reworded(sql: str) -> str:
    """Returns Redshift's statement in PostgreSQL's words."""
    parts = LITERAL.split(sql)
    for at in range(0, len(parts), 2):
        for pattern, words in WORDS:
            parts[at] = re.sub(pattern, words, parts[at])
    return "".join(parts)


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The folder of the server's socket."""
    with postgres() as folder:
        with administration(folder) as admin:
            # The name that the profile has.
            admin.execute("create database db")
        with psycopg2.connect(host=str(folder), user="postgres", dbname="db") as connection:
            connection.cursor().execute(TAUGHT)
        connection.close()
        yield folder


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    with adapter_of("redshift", DIALECTS["redshift"].output, tmp_path_factory.mktemp("redshift") / "project") as found:
        yield found


@pytest.fixture
def engine(loaded: tuple[Any, Any], server: Path) -> Engine:
    types = {**TYPES, "text": "varchar(65535)"}
    return ElsewhereEngine("redshift", DIALECTS["redshift"].output, types, loaded=loaded, start=lambda: Taught(server))
