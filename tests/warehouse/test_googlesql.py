"""The contract for BigQuery: rendered by its adapter, run by GoogleSQL's own reference implementation.

It answers a select over the rows of tables that are sent along. What creates, fills and drops tables is done here.
GOOGLESQL names the folder of the server and of what protoc has made of its protocol (see the Makefile).
"""

import contextlib
import datetime
import decimal
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract import *  # noqa: F403
from elsewhere import ElsewhereEngine, adapter_of
from engine import Engine
from test_rendered import DIALECTS

if "GOOGLESQL" not in os.environ:
    pytest.skip("there is no GoogleSQL", allow_module_level=True)
FOLDER = Path(os.environ["GOOGLESQL"])
sys.path.append(str(FOLDER / "protocol"))

import grpc  # noqa: E402
import local_service_pb2 as service  # noqa: E402
import local_service_pb2_grpc as rpc  # noqa: E402
from zetasql.public import options_pb2, type_pb2  # noqa: E402

# What is not of these adapters' making.
pytestmark = pytest.mark.filterwarnings("ignore")

# BigQuery has no text of a fixed width, and its dates and times are those that Python has.
del globals()["test_text_of_a_fixed_width_has_no_blanks_at_its_end"]
del globals()["test_a_moment_that_python_has_no_word_for_costs_its_own_row"]

PROJECT = DIALECTS["bigquery"].output["project"]
TYPES = {
    **{"text": "STRING", "whole": "INT64", "money": "NUMERIC", "real": "FLOAT64", "flag": "BOOL", "day": "DATE"},
    **{"moment": "DATETIME", "zoned": "TIMESTAMP"},
}
KINDS = {
    **{"STRING": type_pb2.TYPE_STRING, "INT64": type_pb2.TYPE_INT64, "NUMERIC": type_pb2.TYPE_NUMERIC},
    **{"FLOAT64": type_pb2.TYPE_DOUBLE, "BOOL": type_pb2.TYPE_BOOL, "DATE": type_pb2.TYPE_DATE},
    **{"DATETIME": type_pb2.TYPE_DATETIME, "TIMESTAMP": type_pb2.TYPE_TIMESTAMP},
}
WORDS = {kind: word for word, kind in KINDS.items()}
# Characters that a column's name may not have.
FORBIDDEN = set('!"$()*,./;?@[\\]^`{}~')
NAME = re.compile(r"`([^`]+)`\.`([^`]+)`\.`([^`]+)`")

# A table's columns, by name and kind, and its rows in the server's form.
Content = tuple[list[tuple[str, int]], list[Any]]


class GoogleSql:
    """The reference implementation, and the tables that BigQuery would have."""

    def __init__(self, stub: Any, language: Any) -> None:
        self._stub, self._language = stub, language
        self._schemas: set[str] = set()
        self._content: dict[str, Content] = {}
        self._statements: list[tuple[re.Pattern[str], Callable[..., None]]] = [
            (re.compile(pattern, re.DOTALL), run)
            for pattern, run in (
                (r"drop (?:table|view) if exists `([^`]+)`$", self._drop_if_there),
                (r"drop view `([^`]+)`$", self._drop),
                (r"create (or replace )?table `([^`]+)`\s*(?:cluster by bucket\s*)?as\s(.*)", self._create_as),
                (r"create ()view `([^`]+)` as (.*)", self._create_as),
                (r"create (or replace )?table `([^`]+)`\s*\((.*)\)$", self._create),
                (r"alter table `([^`]+)` add column (?:if not exists )?`?(\w+)`? (\w+)$", self._add_column),
                (r"insert into `([^`]+)`\s*(?:\(([^)]*)\))?\s*(.*)", self._insert),
            )
        ]

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        # A table's name of three parts is one name here; BIGINT is BigQuery's own word for INT64.
        sql = re.sub(r"\bbigint\b", "INT64", NAME.sub(r"`\1.\2.\3`", sql.strip()), flags=re.IGNORECASE)
        for pattern, run in self._statements:
            if found := pattern.match(sql):
                run(*found.groups())
                return [], []
        columns, rows = self._select(sql)
        kinds = [kind for _, kind in columns]
        values = [tuple(map(python_value, kinds, row.cell)) for row in rows]
        return [name for name, _ in columns], values

    def _select(self, sql: str) -> Content:
        request = service.EvaluateQueryRequest(sql=sql)
        request.options.language_options.CopyFrom(self._language)
        request.options.default_timezone = "UTC"
        request.simple_catalog.name = "catalog"
        request.simple_catalog.builtin_function_options.language_options.CopyFrom(self._language)
        for name, (columns, rows) in self._content.items():
            if f"`{name}`" not in sql:
                continue
            table = request.simple_catalog.table.add(name=name)
            for column, kind in columns:
                table.column.add(name=column).type.type_kind = kind
            request.table_content[name].table_data.row.extend(rows)
        answer = self._stub.EvaluateQuery(request)
        columns = [(column.name, column.type.type_kind) for column in answer.prepared.columns]
        return columns, list(answer.content.table_data.row)

    def _drop_if_there(self, name: str) -> None:
        self._content.pop(name, None)

    def _drop(self, name: str) -> None:
        del self._content[name]

    def _create_as(self, replace: str | None, name: str, select: str) -> None:
        assert replace or name not in self._content, f"Already Exists: {name}"
        self._content[name] = self._select(select)

    def _create(self, replace: str | None, name: str, columns: str) -> None:
        assert replace or name not in self._content, f"Already Exists: {name}"
        named = [column.split() for column in columns.split(",")]
        self._content[name] = [(column.strip("`"), KINDS[word.upper()]) for column, word in named], []

    def _add_column(self, name: str, column: str, word: str) -> None:
        columns, rows = self._content[name]
        columns.append((column, KINDS[word.upper()]))
        for row in rows:
            row.cell.add()

    def _insert(self, name: str, named: str | None, select: str) -> None:
        columns, rows = self._content[name]
        kinds = dict(columns)
        names = [column.strip(" `\n") for column in named.split(",")] if named else list(kinds)
        if select.startswith("values"):
            fields = ", ".join(f"`{column}` {WORDS[kinds[column]]}" for column in names)
            select = f"select * from unnest(array<struct<{fields}>>[{select.removeprefix('values')}])"
        found, added = self._select(select)
        for (_, kind), column in zip(found, names, strict=True):
            assert kind == kinds[column], f"{name}.{column} is {WORDS[kinds[column]]}, not {WORDS[kind]}"
        for row in added:
            cells = dict(zip(names, row.cell, strict=True))
            new = type(row)()
            for column, _ in columns:
                cell = new.cell.add()
                if column in cells:
                    cell.CopyFrom(cells[column])
            rows.append(new)

    def schemas(self) -> list[str]:
        return sorted(self._schemas)

    def tables(self, schema: str) -> list[str]:
        return [name.split(".", 2)[2] for name in self._content if name.split(".", 2)[1] == schema]

    def columns(self, schema: str, table: str) -> list[tuple[str, str]]:
        return [(name, WORDS[kind]) for name, kind in self._content[f"{PROJECT}.{schema}.{table}"][0]]

    def create_schema(self, schema: str) -> None:
        self._schemas.add(schema)

    def drop_schema(self, schema: str) -> None:
        self._schemas.discard(schema)

    def rename(self, schema: str, old: str, new: str) -> None:
        self._content[f"{PROJECT}.{schema}.{new}"] = self._content.pop(f"{PROJECT}.{schema}.{old}")

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def close(self) -> None:
        pass


def python_value(kind: int, cell: Any) -> Any:
    """Returns a value of the server's as BigQuery's client would."""
    which = cell.WhichOneof("value")
    if which is None:
        return None
    value = getattr(cell, which)
    if which == "date_value":
        return datetime.date(1970, 1, 1) + datetime.timedelta(days=value)
    if which == "timestamp_value":
        since = datetime.timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
        return datetime.datetime.fromtimestamp(0, datetime.timezone.utc) + since
    if which == "datetime_value":
        bits = value.bit_field_datetime_seconds
        parts = (bits >> 26, bits >> 22 & 15, bits >> 17 & 31, bits >> 12 & 31, bits >> 6 & 63, bits & 63)
        return datetime.datetime(*parts, value.nanos // 1000)
    if which == "numeric_value":
        return decimal.Decimal(int.from_bytes(value, "little", signed=True)).scaleb(-9)
    return value


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[Any, Any]]:
    """A client of the server, and the language's options."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [FOLDER / "remote_server.so", "localhost", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    stub = rpc.ZetaSqlLocalServiceStub(grpc.insecure_channel(f"localhost:{port}", options=unlimited))
    try:
        yield stub, options_of(stub, running)
    finally:
        running.terminate()
        running.wait()


def options_of(stub: Any, running: subprocess.Popen[bytes]) -> Any:
    for _ in range(300):
        assert running.poll() is None, "the server did not start"
        try:
            options = stub.GetLanguageOptions(service.LanguageOptionsRequest(maximum_features=True))
        except grpc.RpcError:
            time.sleep(0.1)
        else:
            options.product_mode = options_pb2.PRODUCT_EXTERNAL
            # BigQuery has these, which are not finished here.
            options.enabled_language_features.extend(
                [options_pb2.FEATURE_V_1_3_ANNOTATION_FRAMEWORK, options_pb2.FEATURE_V_1_3_COLLATION_SUPPORT]
            )
            return options
    raise AssertionError("the server does not answer")


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    with adapter_of("bigquery", DIALECTS["bigquery"].output, tmp_path_factory.mktemp("bigquery") / "project") as found:
        yield found


@pytest.fixture
def engine(loaded: tuple[Any, Any], server: tuple[Any, Any]) -> Engine:
    return ElsewhereEngine(
        "bigquery",
        DIALECTS["bigquery"].output,
        TYPES,
        column_names=[name for name in Engine.column_names if not set(name) & FORBIDDEN],
        loaded=loaded,
        start=lambda: GoogleSql(*server),
    )
