"""A dbt project on DuckDB, the command line in process, and what both leave behind."""

from __future__ import annotations

import contextlib
import copy
import datetime
import fcntl
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest

from dbt_pendo.cli import main
from dbt_pendo.sandbox import Request, Sandbox

REPOSITORY = Path(__file__).resolve().parents[2]
PEOPLE = {"object": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}
PEOPLE_ROWS = "select * from (values ('a', 'pro'), ('b', 'free')) rows(id, plan)"
UTC = datetime.timezone.utc
SMALL_PROFILE = """\
small:
  target: dev
  outputs:
    dev: &dev
      type: duckdb
      path: "{{ env_var('SMALL_DUCKDB_PATH') }}"
      schema: main
      threads: 1
    other:
      <<: *dev
      schema: other
"""
COUNTS = ("added", "changed", "removed", "unchanged", "invalid", "held")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    args: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def json(self) -> Any:
        """The one document on stdout; anything beside it is a failure."""
        return json.loads(self.stdout)

    def expect(self, status: int) -> Ended:
        assert self.status == status, f"{self.args} ended with {self.status}:\n{self.output}"
        assert "Traceback" not in self.output
        return self

    def result(self, sync: str | None = None) -> dict[str, Any]:
        """The entry of one sync, or of the only one."""
        results = self.json["results"]
        (found,) = [result for result in results if sync in (None, result["sync"])]
        return found


def run_cli(*args: str) -> Ended:
    """Runs dbt-pendo in this process, as its entry point does; an exception that escapes is the test's failure."""
    stdout, stderr = io.StringIO(), io.StringIO()
    status = 0
    with (
        mock.patch.object(sys, "argv", ["dbt-pendo", *args]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Ended(args, status, stdout.getvalue(), stderr.getvalue())


def run_process(*args: str) -> Ended:
    """Runs dbt-pendo as a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "dbt_pendo", *args], capture_output=True, text=True, encoding="utf-8", check=False
    )
    return Ended(args, ended.returncode, ended.stdout, ended.stderr)


def run_dbt(*args: str, cwd: Path, env: Mapping[str, str], status: int = 0) -> str:
    """Runs dbt as a process of its own, and returns what it printed."""
    ended = subprocess.run(
        [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *args],
        cwd=cwd,
        env={**clean_environment(), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stdout


def build_once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """Returns the folder of a built project; of several workers the first builds it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, built = root / f"built_{name}", root / f"built_{name}.done"
    with (root / f"built_{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            # What a build that failed has left.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            built.touch()
    return folder


def run_dbt_commands(commands: Sequence[Sequence[str]], cwd: Path, env: Mapping[str, str], status: int = 0) -> None:
    """Runs dbt's commands one after another in one process, for most of a command's time is dbt's own start."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN_COMMANDS, json.dumps(commands), str(status)],
        cwd=cwd,
        env={**clean_environment(), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


RUN_COMMANDS = """\
import json, sys
from dbt.cli.main import dbtRunner
for command in json.loads(sys.argv[1]):
    ended = dbtRunner().invoke(command)
    status = 2 if ended.exception else 1 - ended.success
    assert status == int(sys.argv[2]), (command, status, ended.exception)
"""


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that dbt or dbt-pendo reads."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PENDO_"))}


class Project:
    """A built dbt project whose target folder and DuckDB file belong to one test.

    Args:
        folder: Where ``dbt_project.yml``, ``profiles.yml``, ``target/`` and the DuckDB file are.
        database: The DuckDB file.
    """

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder = folder
        self.database = database
        self.target = folder / "target"

    # Commands.

    def run(self, command: str, *args: str) -> Ended:
        return run_cli(command, *args)

    def sync(self, *args: str, status: int = 0) -> Ended:
        """Syncs with ``--json``, and checks what holds for every run."""
        ended = run_cli("sync", "--json", *args).expect(status)
        if "results" in ended.json:
            check_document(ended.json)
            assert self.results() == ended.json
        return ended

    def plan(self, *args: str, status: int = 0) -> Ended:
        return run_cli("plan", "--json", *args).expect(status)

    def check(self, *args: str, status: int = 0) -> Ended:
        return run_cli("check", "--json", *args).expect(status)

    def results(self) -> dict[str, Any]:
        return json.loads((self.target / "pendo_results.json").read_text(encoding="utf-8"))

    # The warehouse.

    def sql(self, statement: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Runs SQL on the DuckDB file, as another program would, and lets go of it again."""
        with duckdb.connect(str(self.database)) as connection:
            return connection.execute(statement, parameters).fetchall()

    def rows(self, table: str) -> list[dict[str, Any]]:
        with duckdb.connect(str(self.database)) as connection:
            answer = connection.execute(f"select * from {table}")
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def tables(self, schema: str = "main_pendo") -> set[str]:
        found = self.sql("select table_name from information_schema.tables where table_schema = ?", [schema])
        return {name for (name,) in found}

    def schemas(self) -> set[str]:
        """The schemas somebody created."""
        return {name for (name,) in self.sql("select schema_name from duckdb_schemas() where not internal")}

    def ledger(self, sync: str, schema: str = "main_pendo") -> list[dict[str, Any]]:
        """The entries of a sync's ledger, oldest first."""
        return self.rows(f"{schema}.{sync.replace('.', '__')}__ledger order by logged_at, record_key, status")

    def statuses(self, sync: str) -> dict[str, str]:
        """What the ledger says of each key: its latest entry."""
        return {entry["record_key"]: entry["status"] for entry in self.ledger(sync)}

    # The manifest.

    @property
    def manifest_path(self) -> Path:
        return self.target / "manifest.json"

    def manifest(self) -> dict[str, Any]:
        return json.loads(self.manifest_path.read_text(encoding="utf-8"))

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        self.manifest_path.write_text(json.dumps(manifest), encoding="utf-8")

    def change_node(self, unique_id: str, change: Any) -> None:
        """Changes a node of the manifest in place: ``change(node)``."""
        manifest = self.manifest()
        change(manifest["nodes"][unique_id])
        self.write_manifest(manifest)

    def annotate(self, model: str, pendo: Any, columns: Mapping[str, Any] | None = None) -> None:
        """Writes another ``meta.pendo`` on a model, as ``dbt parse`` would after an edit of its YAML."""

        def change(node: dict[str, Any]) -> None:
            node["config"]["meta"] = node["meta"] = {} if pendo is None else {"pendo": copy.deepcopy(pendo)}
            node["columns"] = {name: _column(name, value) for name, value in (columns or {}).items()}

        self.change_node(f"model.{self.name}.{model}", change)

    @property
    def name(self) -> str:
        return str(self.manifest()["metadata"]["project_name"])


class SmallProject(Project):
    """A project whose models a test makes up: their tables by SQL, their nodes from that of a real model."""

    TEMPLATE = "model.small.template"

    def model(
        self,
        name: str,
        pendo: Any,
        rows: str,
        columns: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        parents: Iterable[str] = (),
    ) -> None:
        """Adds a model that dbt has built.

        Args:
            name: Its name.
            pendo: Its ``meta.pendo``.
            rows: The select that dbt would run.
            columns: Column-level ``meta.pendo`` by column.
            tags: Its tags.
            parents: The models it depends on.
        """
        manifest = self.manifest()
        node = json.loads(json.dumps(manifest["nodes"][self.TEMPLATE]).replace("template", name))
        node["resource_type"] = "model"
        node["config"]["meta"] = node["meta"] = {"pendo": copy.deepcopy(pendo)} if pendo is not None else {}
        node["columns"] = {column: _column(column, value) for column, value in (columns or {}).items()}
        node["config"]["tags"] = node["tags"] = list(tags)
        node["depends_on"]["nodes"] = [f"model.small.{parent}" for parent in parents]
        node["patch_path"] = "small://models/_models.yml"
        manifest["nodes"][node["unique_id"]] = node
        self.write_manifest(manifest)
        self.build(name, rows)

    def build(self, name: str, rows: str) -> None:
        """Builds a model's table anew, from other rows."""
        self.sql(f'create or replace table main."{name}" as {rows}')


def _column(name: str, pendo: Any) -> dict[str, Any]:
    meta = {"pendo": pendo}
    return {
        "name": name,
        "description": "",
        "meta": meta,
        "data_type": None,
        "constraints": [],
        "quote": None,
        "config": {"meta": meta, "tags": []},
        "tags": [],
        "granularity": None,
        "doc_blocks": [],
    }


def copy_built(built: Path, folder: Path, database: str) -> Path:
    """Copies a built project for one test to change."""
    shutil.copytree(built, folder, ignore=shutil.ignore_patterns("logs", "compiled", "run", "*.msgpack", "*.gpickle"))
    return folder / database


# What Pendo received.


def writes(requests: Iterable[Request]) -> list[Request]:
    """The requests that write, in the order they were answered."""
    return [request for request in requests if request.method != "GET"]


def bodies(requests: Iterable[Request], path: str = "") -> list[Any]:
    """The bodies of the writing requests whose path holds a text."""
    return [json.loads(request.body) for request in writes(requests) if path in request.path]


def sent_ids(requests: Iterable[Request], kind: str) -> list[str]:
    """The ids of all records of one kind in bulk writes, sorted; an id sent twice is here twice."""
    return sorted(record[f"{kind}Id"] for body in bodies(requests, f"/api/v1/metadata/{kind}/") for record in body)


def sent_events(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """All events sent, in or out of arrays."""
    found: list[dict[str, Any]] = []
    for body in bodies(requests, "/data/track"):
        found += body if isinstance(body, list) else [body]
    # An empty object is no event, but what `check` asks with whether Pendo knows the secret.
    return [event for event in found if event]


def custom(records: Mapping[str, Mapping[str, Any]], group: str = "custom") -> dict[str, dict[str, Any]]:
    """What each record holds in one group."""
    return {record_id: dict(record[group]) for record_id, record in records.items()}


def canonical(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Events in an order of their own, for they may be sent in any."""
    return sorted(json.dumps(event, sort_keys=True, ensure_ascii=False) for event in events)


# What a value becomes, told without the code under test.


def epoch_ms(value: datetime.date | str) -> int:
    """Epoch milliseconds; a date is its midnight, a time without a zone is UTC."""
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    seconds = Decimal(int(value.replace(microsecond=0).timestamp()))
    return int(seconds * 1000 + value.microsecond // 1000)


def held(value: Any) -> Any:
    """What Pendo holds for a value of the warehouse."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime.date):
        return epoch_ms(value)
    return value


def held_fields(row: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """The fields Pendo holds for a row: a null is no value."""
    return {name: held(row[column]) for name, column in mapping.items() if row[column] is not None}


# What every results document has to keep.

_RUN_ID = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{6}")
_RESULT_KEYS = [
    "sync",
    "unique_id",
    "object",
    "status",
    "message",
    "planned",
    "delivered",
    "missing",
    "rejected",
    "requests",
    "retries",
    "bytes",
    "duration",
]


def check_document(document: Mapping[str, Any]) -> None:
    """Checks ``pendo_results.json`` against the contract (design.md 2.3)."""
    assert list(document) == ["metadata", "elapsed", "results"]
    metadata = document["metadata"]
    assert list(metadata) == ["dbt_pendo_version", "generated_at", "run_id", "manifest_invocation_id"]
    assert datetime.datetime.fromisoformat(metadata["generated_at"].replace("Z", "+00:00"))
    assert metadata["generated_at"].endswith("Z")
    assert _RUN_ID.fullmatch(metadata["run_id"])
    assert metadata["manifest_invocation_id"]
    assert document["elapsed"] >= 0
    for result in document["results"]:
        assert list(result) == _RESULT_KEYS
        assert tuple(result["planned"]) == COUNTS
        assert result["status"] in ("success", "partial", "error", "skipped", "blocked", "interrupted")
        assert result["message"] is None or result["message"].strip()
        numbers = [result[name] for name in ("delivered", "missing", "rejected", "requests", "retries", "bytes")]
        assert all(isinstance(number, int) and number >= 0 for number in [*numbers, *result["planned"].values()])
        assert result["retries"] <= result["requests"]
        if result["status"] in ("success", "partial"):
            planned = result["planned"]
            judged = result["delivered"] + result["missing"] + result["rejected"]
            assert judged == planned["added"] + planned["changed"] + planned["removed"], result
            assert (result["rejected"] > 0) == (result["status"] == "partial")


def planned(**counts: int) -> dict[str, int]:
    """The ``planned`` of a result, zeros left out."""
    return {**dict.fromkeys(COUNTS, 0), **counts}


def environment_of(sandbox: Sandbox) -> dict[str, str]:
    """What a user exports to reach a sandbox."""
    return {
        "PENDO_API_URL": sandbox.url,
        "PENDO_DATA_URL": sandbox.url,
        "PENDO_INTEGRATION_KEY": sandbox.integration_key,
        **{
            f"PENDO_TRACK_SECRET{f'_{app.upper()}' if app else ''}": secret
            for app, secret in sandbox.track_secrets.items()
        },
    }
