"""The whole way on a warehouse: a project that dbt builds, and dbt-pendo's commands as processes of their own."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from engine import Engine, Store
from harness import REPOSITORY, Ended, Started, environment_of, models_yaml, start, write_files

from dbt_pendo.sandbox import Sandbox
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.session import Session, open_session

FIELDS = {"plan": "string", "seats": "integer", "mrr": "float", "admin": "boolean", "seen": "time"}
MODELS = {
    "visitors": (
        {
            **{"object": "visitor", "visitor_id": "id", "batch_size": 20, "on_removed": "clear"},
            "fields": {name: name for name in FIELDS},
        },
        """
        select id, plan, seats, cast(seats * 1.5 as {money}) as mrr, seats > 5 as admin,
            cast('2026-01-02 03:04:05' as {moment}) as seen
        from {{{{ ref('seats') }}}}
        """,
    ),
    "events": (
        {
            **{"object": "track_event", "event": "Took a seat", "event_id": "id", "visitor_id": "id"},
            **{"timestamp": "at", "properties": {"id": "id", "seats": "seats"}, "max_age": "none"},
        },
        "select id, seats, cast('2026-01-02 03:04:05' as {moment}) as at from {{{{ ref('seats') }}}}",
    ),
}
PACKAGE_MODELS = ("pendo_delivery_by_day", "pendo_held_rows")
ROWS = 60


class Acme:
    """A built project in a folder, beside a sandbox that knows its fields and visitors."""

    # Python that each process executes at first.
    prelude = ""

    def __init__(self, engine: Engine, folder: Path, schema: str, sandbox: Sandbox) -> None:
        self.engine = engine
        self.folder = folder
        self.schema = schema
        self.sandbox = sandbox
        engine.write_project(folder, schema)
        self.seed({f"v{number}": number % 10 for number in range(ROWS)})
        files = {f"models/{name}.sql": sql.format(**engine.types) for name, (_, sql) in MODELS.items()}
        files["models/models.yml"] = models_yaml({name: meta for name, (meta, _) in MODELS.items()})
        write_files(folder, files)
        for name, type_ in FIELDS.items():
            sandbox.add_field("visitor", "custom", name, type_)
        sandbox.add_visitors([f"v{number}" for number in range(ROWS)])
        self.env = {
            **os.environ,
            **dict.fromkeys(("DBT_PROJECT_DIR", "DBT_PROFILES_DIR"), str(folder)),
            **environment_of(sandbox),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }

    def seed(self, seats: dict[str, int]) -> None:
        self.seats = seats
        lines = "".join(f"{name},plan {count % 3},{count}\n" for name, count in seats.items())
        write_files(self.folder, {"seeds/seats.csv": f"id,plan,seats\n{lines}"})

    def install_package(self) -> None:
        """Does what `dbt deps` does, and asks for the package's models."""
        packages = {"packages": [{"local": str(REPOSITORY)}]}
        (self.folder / "packages.yml").write_text(json.dumps(packages), encoding="utf-8")
        (self.folder / "dbt_packages").mkdir()
        (self.folder / "dbt_packages" / "dbt_pendo").symlink_to(REPOSITORY, target_is_directory=True)
        with (self.folder / "dbt_project.yml").open("a", encoding="utf-8") as project:
            project.write("vars: {dbt_pendo: {models: true, ledger: visitors}}\n")

    def build(self) -> None:
        self.dbt("build")

    def dbt(self, *args, status: int = 0) -> str:
        return self._start("dbt", *args).wait().expect(status).stdout

    def start(self, *args, prelude: str = "") -> Started:
        """Starts a command; the prelude is Python that its process executes at first."""
        return self._start("dbt-pendo", *args, prelude=prelude)

    def _start(self, program, *args, prelude: str = "") -> Started:
        prelude = f"{self.prelude}\n{prelude}"
        return start(program, *args, cwd=self.folder, env=self.env, adapter=self.engine.name, prelude=prelude)

    def end(self, *args: str, status: int = 0) -> Ended:
        return self.start(*args, "--json").wait().expect(status)

    def run(self, *args: str) -> Any:
        """Runs a command with ``--json`` and returns the document it prints."""
        return self.end(*args).json

    def sync(self) -> dict[str, dict[str, Any]]:
        return {result["sync"]: result for result in self.run("sync")["results"]}

    def read(self, query: str) -> list[tuple[Any, ...]]:
        """Returns the answer to a query that has models' names in braces."""
        with self.session() as session:
            relations = {name: session.relation(session.schema, name) for name in PACKAGE_MODELS}
            return session.rows(query.format(**relations))

    def session(self) -> contextlib.AbstractContextManager[Session]:
        return open_session(Connection(self.folder, self.folder))

    def drop(self) -> None:
        with self.session() as session:
            Store(self.engine, session, self.schema).drop_schemas()

    def check_pendo(self) -> None:
        """Compares what the sandbox holds with the seed, field by field."""
        held = {name: dict(values["custom"]) for name, values in self.sandbox.visitors.items()}
        known = {"seen": 1767323045000}
        assert {name: values for name, values in held.items() if values} == {
            name: {"plan": f"plan {count % 3}", "seats": count, "mrr": count * 1.5, "admin": count > 5, **known}
            for name, count in self.seats.items()
        }
        assert {event["properties"]["id"] for event in self.sandbox.events} >= set(self.seats)
        assert {event["timestamp"] for event in self.sandbox.events} == {1767323045000}
