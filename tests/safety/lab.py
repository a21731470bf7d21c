"""A dbt project with one sync of each kind, real processes that run it, and what Pendo and the ledger hold after."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import Ended, Started, clean_environment, project_yaml, run_dbt, start, write_files
from harness.projects import connect

from dbt_pendo.sandbox import Request, Sandbox

HERE = Path(__file__).resolve().parent

PROFILE = """\
lab:
  target: dev
  outputs:
    dev:
      type: duckdb
      path: "{{ env_var('LAB_DUCKDB_PATH') }}"
      schema: main
      threads: 1
      config_options: {threads: 1}
"""
MODELS: Mapping[str, tuple[dict[str, Any], str]] = {
    "people": (
        {
            "object": "visitor",
            "visitor_id": "id",
            "batch_size": 10,
            "on_removed": "clear",
            "fields": {"plan": "plan", "mrr": "mrr"},
        },
        "select 'p0' as id, 'free' as plan, 1.5::double as mrr",
    ),
    "companies": (
        {"object": "account", "account_id": "id", "mode": "upsert", "batch_size": 10, "fields": {"name": "name"}},
        "select 'c0' as id, 'Acme' as name",
    ),
    "clicks": (
        {
            "object": "track_event",
            "event": "Clicked",
            "event_id": "id",
            "visitor_id": "person",
            "timestamp": "happened_at",
            "properties": {"id": "id"},
        },
        "select 'k0' as id, 'p0' as person, timestamp '2026-01-01' as happened_at",
    ),
    "views": (
        {
            "object": "track_event",
            "event": "Viewed",
            "event_id": "id",
            "visitor_id": "person",
            "timestamp": "happened_at",
            "batch_size": 10,
            "properties": {"id": "id"},
        },
        "select 'v0' as id, 'p0' as person, timestamp '2026-01-01' as happened_at",
    ),
}


def build_template(folder: Path) -> None:
    """Builds the project with dbt."""
    files = {f"models/{name}.sql": select for name, (_, select) in MODELS.items()}
    declared = [{"name": name, "config": {"meta": {"pendo": pendo}}} for name, (pendo, _) in MODELS.items()]
    # JSON is YAML.
    files |= {"models/_models.yml": json.dumps({"version": 2, "models": declared}), "profiles.yml": PROFILE}
    write_files(folder, {**files, "dbt_project.yml": project_yaml("lab", profile="lab")})
    run_dbt("build", cwd=folder, env={"LAB_DUCKDB_PATH": "lab.duckdb"})


class Lab:
    """A built project in a folder of its own, beside a sandbox."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.database = folder / "lab.duckdb"
        self.target = folder / "target"
        # Module constants set in the runs, and what happens to the warehouse in them; see sabotage.py.
        self.shrink: dict[str, Any] = {}
        self.plots: list[dict[str, Any]] = []
        self.env = {
            **clean_environment(),
            "HOME": str(folder),
            "NO_COLOR": "1",
            "LAB_DUCKDB_PATH": str(self.database),
            "DBT_PROJECT_DIR": str(folder),
            "DBT_PROFILES_DIR": str(folder),
            "PENDO_API_URL": sandbox.url,
            "PENDO_INTEGRATION_KEY": sandbox.integration_key,
            "PENDO_TRACK_SECRET": sandbox.track_secrets[""],
            "PENDO_TIMEOUT": "20",
        }

    # Runs.

    def start(self, *args: str, **env: str) -> Started:
        prelude = f"import sys; sys.path.append({str(HERE)!r}); import sabotage; sabotage.shrink({self.shrink!r})\n"
        prelude += "".join(f"sabotage.sabotage(**{plot!r})\n" for plot in self.plots)
        return start("dbt-pendo", *args, cwd=self.folder, env={**self.env, **env}, prelude=prelude)

    def run(self, *args: str, **env: str) -> Ended:
        return self.start(*args, **env).wait()

    def sync(self, *args: str, status: int = 0, **env: str) -> dict[str, dict[str, Any]]:
        """Syncs with ``--json`` and returns the results by sync."""
        document = self.run("sync", "--json", *args, **env).expect(status).json
        assert document == self.results()
        return {result["sync"]: result for result in document["results"]}

    def sabotage(self, method: str, *statements: str, call: int = 1) -> None:
        """Runs statements in the warehouse just before a call of a method of ``SyncTables``, in all runs to come."""
        self.plots.append({"method": method, "call": call, "statements": statements})

    def results(self) -> dict[str, Any]:
        return dict(json.loads((self.target / "pendo_results.json").read_text(encoding="utf-8")))

    # The warehouse. Nothing else may have the file open.

    def sql(self, statement: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        with connect(self.database) as connection:
            return connection.execute(statement, parameters).fetchall()

    def build(self, model: str, select: str) -> None:
        """Builds a model anew, from other rows."""
        self.sql(f"create or replace table main.{model} as {select}")

    def fill(self, model: str, rows: Sequence[Sequence[Any]]) -> None:
        """Builds a model anew, in its own shape, from rows of values; the time of events is always the same."""
        with connect(self.database) as connection:
            columns = connection.execute(f"select * from main.{model} limit 0").description
            names = [column[0] for column in columns if column[0] != "happened_at"]
            connection.execute("begin")
            connection.execute(f"truncate main.{model}")
            if rows:
                places = ", ".join("?" for _ in names)
                connection.executemany(f"insert into main.{model} ({', '.join(names)}) values ({places})", rows)
            if len(names) < len(columns):
                connection.execute(f"update main.{model} set happened_at = timestamp '2026-01-01'")
            connection.execute("commit")

    def tables(self) -> set[str]:
        found = self.sql("select table_name from information_schema.tables where table_schema = 'main_pendo'")
        return {name for (name,) in found}

    def ledger(self, sync: str) -> dict[str, str]:
        """What the ledger says of each key: the status of its latest entry."""
        if f"{sync}__ledger" not in self.tables():
            return {}
        entries = self.sql(f"select record_key, status from main_pendo.{sync}__ledger order by logged_at")
        return dict(entries)

    def sandbox_event_ids(self) -> list[str]:
        """The ids of all events the sandbox took, in order; an event that came twice is here twice."""
        return [event["properties"]["id"] for event in self.sandbox.events]

    # The manifest.

    @contextlib.contextmanager
    def manifest(self) -> Iterator[dict[str, Any]]:
        """The manifest, to change in place."""
        path = self.target / "manifest.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        yield manifest
        path.write_text(json.dumps(manifest), encoding="utf-8")

    def annotate(self, model: str, **changes: Any) -> None:
        """Changes a model's ``meta.pendo``, as ``dbt parse`` would after an edit of its YAML."""
        with self.manifest() as manifest:
            node = manifest["nodes"][f"model.lab.{model}"]
            pendo = {**copy.deepcopy(node["config"]["meta"]["pendo"]), **changes}
            node["config"]["meta"] = node["meta"] = {"pendo": pendo}

    def only(self, *models: str) -> None:
        """Leaves only some models annotated."""
        with self.manifest() as manifest:
            for unique_id, node in manifest["nodes"].items():
                if unique_id.rpartition(".")[2] not in models:
                    node["config"]["meta"] = node["meta"] = {}


def copy_template(template: Path, folder: Path) -> None:
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns("logs", "compiled", "run", "*.msgpack"))


@contextlib.contextmanager
def pendo(apps: Sequence[str] = ()) -> Iterator[Sandbox]:
    """A stand-in for Pendo with the fields of the lab's mappings."""
    with Sandbox(apps=apps) as running:
        running.add_field("visitor", "custom", "plan", "string")
        running.add_field("visitor", "custom", "mrr", "float")
        running.add_field("account", "custom", "name", "string")
        yield running


def events_of(request: Request) -> list[dict[str, Any]]:
    """The events of a request, which holds one or a list."""
    body = json.loads(request.body)
    return body if isinstance(body, list) else [body]
