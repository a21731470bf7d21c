"""The contract through Snowflake's own connector, against fakesnow: a stand-in that has DuckDB answer its SQL."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from contract import *  # noqa: F403
from engine import AWKWARD, PEOPLE, TYPES, Engine, people
from whole_path import *  # noqa: F403

from dbt_pendo.warehouse.plan import PlanOptions

pytest.importorskip("fakesnow")
snowflake_connector = pytest.importorskip("snowflake.connector")

# dbt-snowflake's own doing.
pytestmark = pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property:DeprecationWarning")

LOGIN = {"account": "fakesnow", "host": "localhost", "protocol": "http", "user": "pendo", "password": "pendo"}


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """The port of the server, a process of its own, with an empty database."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = subprocess.Popen(
        [sys.executable, "-m", "fakesnow", "--server", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, running)
        with contextlib.closing(snowflake_connector.connect(**LOGIN, port=port)) as connection:
            connection.cursor().execute("create database contract")
        yield port
    finally:
        running.terminate()
        running.wait()


def wait_for(port: int, running: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert running.poll() is None, "fakesnow did not start"
        time.sleep(0.1)
    raise AssertionError("fakesnow does not answer")


@pytest.fixture
def engine(server: int) -> Engine:
    output: dict[str, Any] = {**LOGIN, "type": "snowflake", "port": server, "database": "contract", "warehouse": "w"}
    numbers = {"whole": "number(38, 0)", "money": "number(18, 2)", "real": "double"}
    types = {**TYPES, **numbers, "moment": "timestamp_ntz", "zoned": "timestamp_tz"}
    return Engine(
        "snowflake",
        output,
        types,
        # fakesnow breaks off after it has created a table with a quote in a column's name, puts session variables in
        # place of ``$x`` inside a text too, and sends a null timestamp as 1970-01-01.
        column_names=[name for name in Engine.column_names if name != "it's"],
        texts=[text for text in AWKWARD if " $x" not in text],
        has_null_moments=False,
        step=5,
    )


def test_snowflake_says_what_a_plan_scans(store, monkeypatch):
    """fakesnow knows no `explain`: its connector brings an answer of Snowflake's form."""
    store.create("people", PEOPLE, [("a", "x")])
    tables = store.tables(people())
    scan = {"operation": "TableScan", "objects": ["PEOPLE"], "partitionsAssigned": 2, "bytesAssigned": 1024}
    answer = {"GlobalStats": {"partitionsTotal": 3, "partitionsAssigned": 2, "bytesAssigned": 1024}}
    render, asked = store.session.sql, []

    def recorded(macro: str, **arguments: Any) -> str:
        sql: str = render(macro, **arguments)
        if macro != "pendo_explain":
            return sql
        asked.append(sql)
        return f"select {store.literal(json.dumps({**answer, 'Operations': [[scan]]}))} as content"

    monkeypatch.setattr(store.session, "sql", recorded)
    assert tables.bytes_scanned(PlanOptions()) == 1024
    assert asked[0].startswith("explain using json with model as")
    # Another form than is known says nothing.
    answer.clear()
    assert tables.bytes_scanned(PlanOptions()) is None
