"""Dialects of warehouses that no test can reach: their own adapters render each statement, and another engine runs it.

The adapter is never connected. A ``Runner`` puts its statements into words that the other engine takes.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine import Engine, Store

from dbt_pendo.warehouse.adapter import Connection, load_adapter
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.warehouse.session import Session, WarehouseError


class Runner(Protocol):
    """An engine that runs another one's statements."""

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Runs a statement; returns the names of its columns, and its rows."""

    def schemas(self) -> list[str]: ...

    def tables(self, schema: str) -> list[str]:
        """Returns the tables and views of a schema."""

    def columns(self, schema: str, table: str) -> list[tuple[str, str]]:
        """Returns the columns with their types, in the dialect's words."""

    def create_schema(self, schema: str) -> None: ...

    def drop_schema(self, schema: str) -> None: ...

    def rename(self, schema: str, old: str, new: str) -> None: ...

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Undoes the statements of a block that fails, where the dialect's own warehouse would."""

    def close(self) -> None: ...


class ElsewhereSession(Session):
    """A session whose statements a runner runs, those of several threads one after the other."""

    def __init__(self, adapter: Any, credentials: Any, runner: Runner) -> None:
        super().__init__(adapter, credentials)
        self.runner = runner
        self._turn = threading.RLock()

    def query_named(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        with self._turn:
            try:
                return self.runner.query(sql)
            except Exception as error:
                raise WarehouseError(f"{type(error).__name__}: {error}\n{sql}") from error

    def run(self, sql: str) -> None:
        self.query_named(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.query_named(sql)[1]

    def table(self, macro: str, **arguments: Any) -> list[dict[str, Any]]:
        names, rows = self.query_named(self.sql(macro, **arguments))
        return [dict(zip((name.lower() for name in names), row, strict=True)) for row in rows]

    def listed(self, schema: str, identifier: str) -> list[dict[str, Any]]:
        names, rows = self.query_named(f"select * from {self.relation(schema, identifier)}")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def dry_run(self, sql: str) -> int | None:
        return None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self._turn, self.runner.transaction():
            yield

    @contextlib.contextmanager
    def connected(self, name: str) -> Iterator[None]:
        with self._adapter.connection_named(name):
            yield

    def tables(self, schema: str) -> frozenset[str]:
        with self._turn:
            return frozenset(map(self.folded, self.runner.tables(schema)))

    def schemas_with(self, identifier: str) -> list[str]:
        with self._turn:
            return sorted(schema for schema in self.runner.schemas() if self.exists(schema, identifier))

    def columns(self, database: str | None, schema: str, identifier: str) -> list[TableColumn] | None:
        if not self.exists(schema, identifier):
            return None
        with self._turn:
            return [TableColumn(*column) for column in self.runner.columns(schema, identifier)]

    def is_table(self, database: str | None, schema: str, identifier: str) -> bool:
        return self.exists(schema, identifier)

    def ensure_schema(self, schema: str) -> None:
        with self._turn:
            self.runner.create_schema(schema)

    def rename(self, schema: str, identifier: str, new_identifier: str) -> None:
        with self._turn:
            try:
                self.runner.rename(schema, identifier, new_identifier)
            except Exception as error:
                raise WarehouseError(f"{schema}.{identifier} cannot be renamed: {error!r}") from error


class ElsewhereStore(Store):
    session: ElsewhereSession

    def drop_schema(self, schema: str) -> None:
        self.session.runner.drop_schema(schema)


@dataclass(frozen=True)
class ElsewhereEngine(Engine):
    """A dialect that is run elsewhere."""

    # The adapter and its credentials, loaded once.
    loaded: tuple[Any, Any] = (None, None)
    start: Callable[[], Runner] | None = None

    @contextlib.contextmanager
    def store(self, folder: Path) -> Iterator[Store]:
        assert self.start is not None
        adapter, credentials = self.loaded
        with adapter.connection_named("never opened"), contextlib.closing(self.start()) as runner:
            session = ElsewhereSession(adapter, credentials, runner)
            schema = f"c{uuid.uuid4().hex[:12]}"
            session.ensure_schema(schema)
            store = ElsewhereStore(self, session, schema)
            yield store
            store.drop_schemas()


@contextlib.contextmanager
def adapter_of(dialect: str, output: Any, folder: Path) -> Iterator[tuple[Any, Any]]:
    """Loads a dialect's adapter, of which dbt keeps one at a time, and its credentials."""
    Engine(dialect, {"type": dialect, **output}).write_project(folder, "shop")
    with load_adapter(Connection(folder, folder)) as (adapter, credentials):
        # The one thing a macro asks the warehouse for: any Databricks of today is newer than 10.4.
        if dialect == "databricks":
            adapter.compare_dbr_version = lambda major, minor: 1
        yield adapter, credentials


def quoted(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)
