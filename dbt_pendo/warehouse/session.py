"""The warehouse, through dbt's own adapter: the one place that opens a connection and runs SQL.

Macros make the SQL, this module runs it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.warehouse.adapter import Connection, load_adapter, read_every_type, readable_errors
from dbt_pendo.warehouse.names import TableColumn

# How the schemas of our tables end: rows that went to a sandbox are no rows that Pendo has.
OWN, SANDBOX = "_pendo", "_pendo_sandbox"


# Bytes of a statement that every warehouse takes (BigQuery, Snowflake and Trino no more), and the few that take less.
_STATEMENT_BYTES = 1_000_000
_FEWER_BYTES = {"athena": 262_144, "clickhouse": 262_144}
# Rows of a list of values, where they are limited.
_MOST_ROWS = {"sqlserver": 1_000, "fabric": 1_000}


class WarehouseError(DbtPendoError):
    """The warehouse refused a statement, or could not be reached."""


class ConnectionLostError(WarehouseError):
    """The connection to the warehouse was lost; the next statement opens it again."""


class UnreadableError(WarehouseError):
    """A table is there, and may not be read."""


class Session:
    """An open adapter."""

    def __init__(self, adapter: Any, credentials: Any) -> None:
        self._adapter = adapter
        # Of each thread, for each has a connection of its own.
        self._state = _ConnectionState()
        # Threads that ask for the same list of relations at the same time would each fetch it.
        self._listing = threading.Lock()
        # Schemas that are known to be there.
        self._schemas: set[str] = set()
        # As many syncs at once.
        self.threads: int = max(int(adapter.config.threads), 1)
        # The machine, account or file that holds the database; only good to tell two apart.
        self.server: str = str(credentials.unique_field)
        self.target: str = str(adapter.config.target_name)
        self.adapter_type: str = adapter.type()
        # Whether others can see a table that is made of a select before its rows are in it.
        self.fills_late: bool = self.adapter_type == "clickhouse"
        # Whether rows can be had without a statement: BigQuery bills one for 10 MB of each table, and no list of rows.
        self.lists_rows = hasattr(adapter.connections, "get_bq_table")
        self.database: str = credentials.database
        self.schema: str = credentials.schema
        # Bytes.
        self.longest_statement: int = _FEWER_BYTES.get(self.adapter_type, _STATEMENT_BYTES)
        # Who we are to the warehouse; None where the profile does not say.
        self.role: str | None = getattr(credentials, "role", None) or getattr(credentials, "user", None)

    def sql(self, macro: str, **arguments: Any) -> str:
        """Returns the SQL that a macro of the dbt_pendo package renders."""
        with _refusals():
            return str(self._adapter.execute_macro(macro, project="dbt_pendo", kwargs=arguments)).strip()

    def run(self, sql: str) -> None:
        """Runs one statement and commits it."""
        with self._connected():
            self._adapter.execute(sql, auto_begin=True)
            self._commit()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Returns the answer to a query as the driver's own tuples, read whole.

        Whole, because dbt-duckdb has one cursor a connection: a next statement would cut this one short. Not
        as a ``table``, which is five to ten times slower and heavier.
        """
        with self._connected():
            return self._rows(sql)

    def execute(self, macro: str, **arguments: Any) -> None:
        """Runs the statement that a macro renders, and commits it."""
        self.run(self.sql(macro, **arguments))

    def sql_of_rows(self, macro: str, rows: Sequence[Any], at_once: int, **arguments: Any) -> Iterator[str]:
        """Yields what a macro renders of ``rows``: several statements where they are too many, or too long, for one.

        Args:
            macro: The macro, which takes them as ``rows``.
            rows: The rows.
            at_once: The most rows of a statement.
            arguments: The macro's other arguments.
        """
        at_once = min(at_once, _MOST_ROWS.get(self.adapter_type, at_once))
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            sql = self.sql(macro, rows=part, **arguments)
            if len(part) > 1 and len(sql.encode()) > self.longest_statement:
                yield from self.sql_of_rows(macro, part, (len(part) + 1) // 2, **arguments)
            else:
                yield sql

    def make(self, macro: str, **arguments: Any) -> None:
        """Runs a macro that makes a table of ours, or adds a column, unless another run does the same right now.

        Raises:
            ConnectionLostError: If the connection was lost, which says nothing about the table.
        """
        try:
            self.execute(macro, **arguments)
        except ConnectionLostError:
            raise
        except WarehouseError:
            # If it is not there all the same, the next statement that uses it says why.
            return

    def query(self, macro: str, **arguments: Any) -> list[tuple[Any, ...]]:
        """Returns the answer to the query that a macro renders."""
        return self.rows(self.sql(macro, **arguments))

    def table(self, macro: str, **arguments: Any) -> list[dict[str, Any]]:
        """Returns a small answer as dbt reads it, by the columns' names in lower case; a number may be a Decimal."""
        with self._connected():
            self._begin()
            _, table = self._adapter.execute(self.sql(macro, **arguments), fetch=True)
            self._commit()
        # Snowflake answers in upper case.
        names = [name.lower() for name in table.column_names]
        return [dict(zip(names, row, strict=True)) for row in table.rows]

    def listed(self, schema: str, identifier: str) -> list[dict[str, Any]]:
        """Returns the rows of a small table of ours without a statement, where ``lists_rows``."""
        connections = self._adapter.connections
        with self._connected():
            table = connections.get_bq_table(self.database, schema, identifier)
            return [dict(row.items()) for row in connections.get_thread_connection().handle.list_rows(table)]

    def dry_run(self, sql: str) -> int | None:
        """Returns how many bytes BigQuery would process for a query; None for other warehouses."""
        connections = self._adapter.connections
        if not hasattr(connections, "raw_execute"):
            return None
        with self._connected():
            job, _ = connections.raw_execute(sql, dry_run=True)
        return int(job.total_bytes_processed)

    def count(self, relation: str) -> int:
        """Returns how many rows a table has."""
        return int(self.rows(f"select count(*) from {relation}")[0][0])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits all statements of the block at its end, and none when it fails, where the warehouse can do so.

        Snowflake, BigQuery, Spark, Databricks and Trino commit each statement that creates, renames or drops a table,
        and ClickHouse every statement.
        """
        with self._connected():
            self._begin()
            if self._adapter.type() in ("postgres", "redshift"):
                # dbt leaves it to the driver to begin one, and psycopg2 does so only until dbt's first commit.
                self._adapter.execute("begin")
        self._state.in_transaction = True
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                self._adapter.connections.rollback_if_open()
            raise
        finally:
            self._state.in_transaction = False
        with self._connected():
            self._commit()

    @contextlib.contextmanager
    def connected(self, name: str) -> Iterator[None]:
        """Gives another thread than the one that opened the session a connection of its own.

        Raises:
            WarehouseError: If the warehouse cannot be reached.
        """
        with contextlib.ExitStack() as stack:
            with _refusals():
                stack.enter_context(self._adapter.connection_named(name))
                self._connect()
            yield

    def own_schema(self, named: str | None, for_sandbox: bool = False) -> str:
        """Returns the schema of our tables, which the macro ``pendo_schema`` finds as well.

        Args:
            named: What the settings call it; None for one beside the target's.
            for_sandbox: Whether it is the one beside the target's for rows that went to a sandbox.

        Raises:
            ConfigError: If the name that the settings give is too long: the warehouse would cut it without a word.
        """
        if not named:
            return self.sql("pendo_schema_beside", schema=self.schema, ending=SANDBOX if for_sandbox else OWN)
        size, longest = len(named.encode()), int(self.sql("pendo_longest_name"))
        if 0 < longest < size:
            raise ConfigError(
                f"The schema {named} for dbt-pendo's tables has a name of {size} bytes; the warehouse takes {longest}.",
                "Choose a shorter one: DBT_PENDO_SCHEMA, `--schema`, or `schema` under `vars: dbt_pendo:`.",
            )
        return named

    def relation(self, schema: str, identifier: str) -> str:
        """Returns the rendered name of a table of ours."""
        return str(self._relation(schema, identifier))

    def exists(self, schema: str, identifier: str) -> bool:
        """Returns whether a table of ours exists now: a run elsewhere may have created or dropped it."""
        return self.folded(identifier) in self.tables(schema)

    def has_columns(self, schema: str, identifier: str, names: Sequence[str]) -> bool:
        """Returns whether there is a table of ours with these columns."""
        with contextlib.suppress(WarehouseError):
            self.rows(f"select {', '.join(names)} from {self._relation(schema, identifier)} where 1 = 0")
            return True
        return False

    def tables(self, schema: str) -> frozenset[str]:
        """Returns the names of all tables in a schema of ours as they are by now, each ``folded``."""
        return frozenset(self.folded(relation.identifier) for relation in self._relations(schema))

    def folded(self, name: str) -> str:
        """Returns a name as one that the warehouse tells from others: most take no notice of case."""
        return name if self._adapter.type() in ("postgres", "clickhouse") else name.lower()

    def schemas_with(self, identifier: str) -> list[str]:
        """Returns the schemas of the database with a table of ours of that name, by the ending of ours if need be."""
        try:
            return sorted(str(schema) for (schema,) in self.query("pendo_schemas_with", identifier=identifier))
        except WarehouseError:
            # BigQuery and Spark have no list of all tables, and may have many schemas.
            with self._looking():
                found = [schema for schema in self._adapter.list_schemas(self.database) if schema.lower().endswith(OWN)]
            return sorted(schema for schema in found if self.exists(schema, identifier))

    def columns(self, database: str | None, schema: str, identifier: str) -> list[TableColumn] | None:
        """Returns the columns of a table or view in their order, or None when it does not exist.

        Raises:
            UnreadableError: If it exists, and the warehouse does not let us read it.
        """
        name = {"database": database or self.database, "schema": schema, "identifier": identifier}
        with self._looking():
            with self._listing:
                listed = self._adapter.get_relation(**name)
            columns = self._columns_of(listed) if listed is not None else []
        if columns:
            return columns
        # Not all that can be read is in the lists that dbt looks into: PostgreSQL's have no materialized views.
        relation = listed or self._adapter.Relation.create(**name, quote_policy=self._adapter.config.quoting)
        try:
            self.rows(f"select * from {relation} where 1 = 0")
        except WarehouseError as error:
            if listed is None:
                return None
            raise UnreadableError(str(error)) from None
        if sql := self.sql("pendo_columns", relation=relation):
            return [TableColumn(str(found), str(dtype)) for found, dtype in self.rows(sql)]
        with self._looking():
            columns = self._columns_of(relation)
        return columns or None

    def is_table(self, database: str | None, schema: str, identifier: str) -> bool:
        """Returns whether dbt lists it as a table: no view, and nothing that dbt does not list."""
        with self._looking(), self._listing:
            listed = self._adapter.get_relation(database or self.database, schema, identifier)
        return listed is not None and listed.is_table

    def all_column_names(self, database: str | None, schema: str, identifier: str) -> frozenset[str]:
        """Returns the names of a table's columns, with those that we may not read; empty where nothing tells them."""
        name = {"database": database or self.database, "schema": schema, "identifier": identifier}
        relation = self._adapter.Relation.create(**name, quote_policy=self._adapter.config.quoting)
        try:
            sql = self.sql("pendo_columns", relation=relation)
            return frozenset(str(column) for column, _ in self.rows(sql)) if sql else frozenset()
        except WarehouseError:
            return frozenset()

    def ensure_schema(self, schema: str) -> None:
        """Creates a schema unless it is there; a role that may not create schemas can be given one."""
        if schema in self._schemas:
            return
        with self._looking():
            if not self._has_schema(schema):
                try:
                    self._adapter.create_schema(self._relation(schema, None))
                    self._commit()
                except Exception:
                    # Another run may have done so this very moment.
                    if not self._has_schema(schema):
                        raise
        self._schemas.add(schema)

    def create(self, schema: str, identifier: str, sql: str) -> None:
        """Creates a table of ours, in place of one of that name; only for who holds the lock of the table's sync.

        What a killed run has left of such a table is removed. It may look like a table that somebody is making, which
        only the lock rules out.

        Args:
            schema: The schema.
            identifier: The table.
            sql: The statement that creates it; begins with `create table`.
        """
        relation = self._relation(schema, identifier)
        statement = self.sql("pendo_replace_table", relation=relation, create=sql)
        if not statement:
            self.drop(schema, identifier)
        try:
            self.run(statement or sql)
        except ConnectionLostError:
            raise
        except WarehouseError as refused:
            steps = self.removal(schema, identifier, refused)
            if not steps:
                raise
            for step in steps:
                self.run(step)
            self.run(statement or sql)

    def removal(self, schema: str, identifier: str, refused: WarehouseError) -> list[str]:
        """Returns what removes files in a table's place, because of which it was refused; empty if they are not why."""
        relation = self._relation(schema, identifier)
        return self.sql("pendo_empty_folder", relation=relation, refusal=refused.message).splitlines()

    def drop(self, schema: str, identifier: str) -> None:
        """Drops a table of ours if it is there."""
        relation = self._relation(schema, identifier)
        # Athena reads this as Hive: names in backticks, without the catalog.
        name = relation.render_hive() if hasattr(relation, "render_hive") else relation
        self.run(f"drop table if exists {name}")
        self._adapter.cache_dropped(relation)

    def rename(self, schema: str, identifier: str, new_identifier: str) -> None:
        """Renames a table of ours."""
        old, new = self._relation(schema, identifier), self._relation(schema, new_identifier)
        if statement := self.sql("pendo_rename_table", relation=old, new_relation=new):
            self.run(statement)
            self._adapter.cache_renamed(old, new)
            return
        with self._connected():
            self._adapter.rename_relation(old, new)
            self._commit()

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        # dbt rolls back only what it has begun, and PostgreSQL refuses every statement after an error until then.
        self._begin()
        rows = _fetch_all(self._adapter.connections, sql)
        self._commit()
        return rows

    def _columns_of(self, relation: Any) -> list[TableColumn]:
        return [TableColumn(column.name, _dtype(column)) for column in self._adapter.get_columns_in_relation(relation)]

    def _relations(self, schema: str) -> list[Any]:
        """Returns what is in a schema by now."""
        with self._looking(), self._listing:
            self._adapter.cache.clear()
            found = self._adapter.list_relations(self.database, schema)
        # PostgreSQL's looks by `ilike`, for which `_` stands for any letter.
        there = [relation for relation in found if self._is_name(relation.schema, schema)]
        if there:
            self._schemas.add(schema)
        return there

    def _has_schema(self, schema: str) -> bool:
        if not self._adapter.check_schema_exists(self.database, schema):
            return False
        # Redshift's looks by `like` as well.
        return self._adapter.type() != "redshift" or any(
            self._is_name(found, schema) for found in self._adapter.list_schemas(self.database)
        )

    def _is_name(self, found: str, name: str) -> bool:
        return self.folded(found) == self.folded(name)

    def _begin(self) -> None:
        # dbt refuses to begin twice, and some adapters leave one open (Spark's rename does).
        if not self._adapter.connections.get_thread_connection().transaction_open:
            self._adapter.connections.begin()

    def _commit(self) -> None:
        # Some of dbt's macros commit on their own, and dbt refuses to commit twice.
        connection = self._adapter.connections.get_if_exists()
        if connection is not None and connection.transaction_open and not self._state.in_transaction:
            self._adapter.connections.commit()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """Runs statements on a connection that is opened again if it was lost, and turns their errors into ours."""
        if self._state.is_lost and not self._state.in_transaction:
            with readable_errors(
                WarehouseError, "The connection to the warehouse was lost, and it cannot be reached again"
            ):
                self._reconnect()
            self._state.is_lost = False
        try:
            with _refusals():
                yield
        except WarehouseError as error:
            if self._answers():
                raise
            self._state.is_lost = True
            raise ConnectionLostError(f"The connection to the warehouse was lost: {error}") from None

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """Lets dbt look into its lists, and ends the transaction that some adapters begin for it.

        What a thread reads in that later would be as old: on DuckDB without the schema that another thread has made.
        """
        with self._connected():
            yield
            self._commit()

    def _answers(self) -> bool:
        try:
            self._rows("select 1 as answer")
        except Exception:
            return False
        return True

    def _reconnect(self) -> None:
        with contextlib.suppress(Exception):
            self._adapter.release_connection()
        self._adapter.connections.clear_thread_connection()
        self._adapter.acquire_connection("dbt_pendo")
        self._connect()

    def _connect(self) -> None:
        """Connects now, which dbt would do at the first statement, and sets what a session has to be set."""
        read_every_type(self._adapter.connections.get_thread_connection().handle)
        if setting := self.sql("pendo_prepare_session"):
            self._adapter.execute(setting, auto_begin=True)
            self._commit()

    def _relation(self, schema: str, identifier: str | None) -> Any:
        return self._adapter.Relation.create(
            database=self.database,
            schema=schema,
            identifier=identifier,
            type="table" if identifier else None,
            quote_policy=self._adapter.config.quoting,
        )


class _ConnectionState(threading.local):
    """A thread's connection: whether it was lost, and whether it is in a transaction of several statements."""

    is_lost = False
    in_transaction = False


@contextlib.contextmanager
def open_session(connection: Connection) -> Iterator[Session]:
    """Opens the adapter of the user's profile, and closes it at the end.

    Raises:
        ConfigError: If the profile is wrong or its adapter is not installed.
        WarehouseError: If the warehouse cannot be reached.
    """
    with contextlib.ExitStack() as stack:
        adapter, credentials = stack.enter_context(load_adapter(connection))
        # dbt-duckdb keeps the file open, and locked, beyond its connections.
        stack.callback(getattr(adapter.connections, "close_all_connections", lambda: None))
        stack.callback(adapter.cleanup_connections)
        if (pyspark := sys.modules.get("pyspark.logger")) is not None:
            # It would print a refused statement with its stack trace; we say what it was.
            pyspark.PySparkLogger.getLogger("SQLQueryContextLogger").disabled = True
        with readable_errors(WarehouseError, f"The warehouse ({adapter.type()}) cannot be reached"):
            # At once, so that the error is this one.
            stack.enter_context(adapter.connection_named("dbt_pendo"))
            session = Session(adapter, credentials)
            session._connect()
        yield session


def _refusals() -> contextlib.AbstractContextManager[None]:
    return readable_errors(WarehouseError, "The warehouse refused a statement")


def _dtype(column: Any) -> str:
    """Returns a column's type in the warehouse's words."""
    dtype = str(column.dtype)
    if hasattr(column, "is_low_cardinality"):
        # ClickHouse's without `Nullable` and `LowCardinality`, of which nothing depends here; dbt also calls a
        # `FixedString` a `String`, and that has bytes of 0 at its end.
        return dtype
    if dtype.lower() == "bit" and column.translate_type("boolean") == "BIT":
        # SQL Server's booleans; PostgreSQL's bits are something else.
        return "boolean"
    # dbt calls all text `character varying`, also text of a fixed width, which has blanks at its end.
    if dtype.lower() not in ("character", "char", "nchar", "bpchar"):
        return str(column.data_type)
    return f"{dtype}({column.char_size})" if column.char_size else dtype


def _fetch_all(connections: Any, sql: str) -> list[tuple[Any, ...]]:
    """Runs a query and returns its rows as the driver has them."""
    if hasattr(connections, "raw_execute"):
        # BigQuery's connections have no cursor, but an iterator of rows that know their columns.
        _, iterator = connections.raw_execute(sql)
        return [row.values() for row in iterator]
    if connections.TYPE == "clickhouse":
        # Nor have these; their client answers.
        with connections.exception_handler(sql):
            client = connections.get_thread_connection().handle
            return list(map(tuple, client.query(connections._add_query_comment(sql)).result_set))
    _, cursor = connections.add_select_query(sql)
    # A driver may have lists (Redshift, Trino) or rows of its own; a tuple is left as it is.
    return list(map(tuple, cursor.fetchall()))
