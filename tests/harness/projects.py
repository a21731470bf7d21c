"""A dbt project on DuckDB whose files belong to one test."""

import copy
import datetime
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.commands import Ended, run_cli
from harness.dbt import run_dbt

PEOPLE = {"object": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}
PEOPLE_ROWS = "select * from (values ('a', 'pro'), ('b', 'free')) rows(id, plan)"
CLICKS = {
    **{"object": "track_event", "event": "Clicked", "event_id": "id", "visitor_id": "id", "timestamp": "at"},
    "max_age": "none",
}
CLICK_ROWS = "select 'e' || i as id, timestamp '2026-05-01' as at from range(12) r(i)"
COUNTS = ("added", "changed", "removed", "unchanged", "invalid", "held")


def planned(**counts: int) -> dict[str, int]:
    """The ``planned`` of a result, zeros left out."""
    return {**dict.fromkeys(COUNTS, 0), **counts}


def select(columns: str, *rows: tuple[str | None, ...]) -> str:
    """The select of rows of texts."""

    def literal(text: str | None) -> str:
        return "cast(null as varchar)" if text is None else "'" + text.replace("'", "''") + "'"

    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    return f"select * from (values {values}) rows({columns})"


def connect(database: Path) -> Any:
    """Opens a DuckDB file, which nobody else may have open."""
    # Not every environment has it.
    import duckdb

    # As in the profiles: DuckDB refuses a second connection with another configuration.
    return duckdb.connect(str(database), config={"threads": 1})


class Project:
    """A built dbt project whose folder and DuckDB file belong to one test."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder = folder
        self.database = database
        self.target = folder / "target"

    # Commands.

    def dbt(self, *commands: str, status: int = 0, **env: str) -> str:
        """Runs dbt's commands; all of them end with the status."""
        # The same path each time, or dbt would parse everything anew.
        return run_dbt(*commands, cwd=self.folder, env={"SMALL_DUCKDB_PATH": self.database.name, **env}, status=status)

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

    def settings(self, text: str) -> None:
        """Adds a line to ``dbt_project.yml``."""
        with (self.folder / "dbt_project.yml").open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    # The warehouse.

    def connect(self) -> Any:
        """Opens the warehouse, until the end of a ``with``."""
        return connect(self.database)

    def sql(self, statement: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Runs SQL on the DuckDB file, as another program would, and lets go of it again."""
        with self.connect() as connection:
            return connection.execute(statement, parameters).fetchall()

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.connect() as connection:
            answer = connection.execute(f"select * from {table}")
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def build(self, name: str, rows: str) -> None:
        """Builds a model's table anew, from other rows."""
        self.sql(f'create or replace table main."{name}" as {rows}')

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

    def keys(self, sync: str, status: str) -> set[str]:
        """The keys of which the ledger says a status at last."""
        return {key for key, found in self.statuses(sync).items() if found == status}

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
        """Adds a model that dbt has built: its ``meta.pendo``, its select, and that of its columns by name."""
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


def _column(name: str, pendo: Any) -> dict[str, Any]:
    meta = {"pendo": pendo}
    empty = {"data_type": None, "constraints": [], "quote": None, "tags": [], "granularity": None, "doc_blocks": []}
    return {"name": name, "description": "", "meta": meta, "config": {"meta": meta, "tags": []}, **empty}


Entered = TypeVar("Entered", bound=Project)


def enter(
    built: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Entered],
    database: str = "small.duckdb",
    variable: str = "SMALL_DUCKDB_PATH",
    without: Sequence[str] = ("logs", "compiled", "run", "*.msgpack", "*.gpickle"),
) -> Entered:
    """Copies a built project for one test to change, and points the environment at it."""
    # A package may be a link to this repository.
    shutil.copytree(built, folder, symlinks=True, ignore=shutil.ignore_patterns(*without))
    monkeypatch.setenv(variable, str(folder / database))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    return kind(folder, folder / database)


# What every results document has to keep.

_RUN_ID = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{6}")
_RESULT_KEYS = ["sync", "unique_id", "object", "status", "message", "planned", "delivered", "missing", "rejected"]
_RESULT_KEYS += ["delivered_by", "requests", "retries", "bytes", "duration", "created_fields"]
_METADATA_KEYS = ["dbt_pendo_version", "generated_at", "run_id", "manifest_invocation_id"]
_STATUSES = {"success", "warn", "partial", "error", "skipped", "blocked", "interrupted"}


def check_document(document: Mapping[str, Any]) -> None:
    """Checks ``pendo_results.json`` against the contract (design.md 2.3)."""
    assert list(document) == ["metadata", "elapsed", "results"]
    metadata = document["metadata"]
    ends = ["target", "schema", "pendo"] if document["results"] else []
    assert list(metadata) == [*_METADATA_KEYS, *ends]
    assert datetime.datetime.fromisoformat(metadata["generated_at"].replace("Z", "+00:00"))
    assert metadata["generated_at"].endswith("Z")
    assert _RUN_ID.fullmatch(metadata["run_id"])
    assert metadata["manifest_invocation_id"]
    assert document["elapsed"] >= 0
    for result in document["results"]:
        assert list(result) == _RESULT_KEYS
        planned = result["planned"]
        assert tuple(planned) == COUNTS
        assert result["status"] in _STATUSES
        assert result["message"] is None or result["message"].strip()
        numbers = [result[name] for name in ("delivered", "missing", "rejected", "requests", "retries", "bytes")]
        assert all(isinstance(number, int) and number >= 0 for number in [*numbers, *planned.values()])
        assert result["retries"] <= result["requests"]
        by = result["delivered_by"]
        assert list(by) == ["added", "changed", "removed", "deleted", "cleared"]
        assert result["delivered"] == by["added"] + by["changed"] + by["removed"], result
        assert all(0 <= by[change] <= planned[change] for change in ("added", "changed", "removed")), result
        assert by["deleted"] + by["cleared"] in (0, by["removed"])
        if result["status"] in ("success", "warn", "partial"):
            judged = result["delivered"] + result["missing"] + result["rejected"]
            assert judged == planned["added"] + planned["changed"] + planned["removed"], result
            left_out = result["missing"] or planned["invalid"]
            assert result["status"] == ("partial" if result["rejected"] else "warn" if left_out else "success"), result
