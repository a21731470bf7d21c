"""A dbt project with one sync of each kind, real processes that run it, and what Pendo and the ledger hold after.

It is on DuckDB or on a PostgreSQL server (see harness/postgres.py).
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import Ended, Started, add_fields, chosen, clean_environment, environment_of, start
from harness.dbt import SMALL_PROFILE, models_yaml, project_yaml, write_files
from harness.postgres import Connected, begin_anew, build_on
from harness.projects import Project

from dbt_pendo.sandbox import Sandbox

HERE = Path(__file__).resolve().parent

EVENTS = {"object": "track_event", "event_id": "id", "visitor_id": "person", "timestamp": "happened_at"}
EVENTS |= {"properties": {"id": "id"}, "max_age": "none"}
A_TIME = "'p0' as person, timestamp '2026-01-01' as happened_at"
PEOPLE = {"object": "visitor", "visitor_id": "id", "batch_size": 10, "on_removed": "clear"}
COMPANIES = {"object": "account", "account_id": "id", "batch_size": 10, "mode": "upsert", "fields": {"name": "name"}}
MODELS: Mapping[str, tuple[dict[str, Any], str]] = {
    "people": (
        {**PEOPLE, "fields": {"plan": "plan", "mrr": "mrr"}},
        "select 'p0' as id, 'free' as plan, 1.5::float8 as mrr",
    ),
    "companies": (COMPANIES, "select 'c0' as id, 'Acme' as name"),
    "clicks": ({**EVENTS, "event": "Clicked"}, f"select 'k0' as id, {A_TIME}"),
    "views": ({**EVENTS, "event": "Viewed", "batch_size": 10}, f"select 'v0' as id, {A_TIME}"),
}


def small_pages(rows: int) -> dict[str, Any]:
    """Module constants of which small data has many pages."""
    pages = {"SMALLEST_PAGE": rows, "BATCHES_PER_PAGE": 1, "WRITTEN_ROWS": 1}
    return {f"dbt_pendo.delivery.pages.{name}": value for name, value in pages.items()}


def build_template(folder: Path, server: Path | None = None) -> None:
    """Builds the project with dbt, in a file of DuckDB's or on a server."""
    files = {f"models/{name}.sql": select for name, (_, select) in MODELS.items()}
    files["models/models.yml"] = models_yaml({name: pendo for name, (pendo, _) in MODELS.items()})
    write_files(folder, {**files, "dbt_project.yml": project_yaml("lab"), "profiles.yml": SMALL_PROFILE})
    build_on(server, folder)


class Lab(Project):
    """A built project in a folder of its own, beside a sandbox; its commands are processes that may be killed."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        super().__init__(folder, folder / "small.duckdb")
        self.sandbox = sandbox
        # Module constants set in the runs, and what happens to the warehouse in them; see sabotage.py.
        self.shrink: dict[str, Any] = {}
        self.plots: list[dict[str, Any]] = []
        self.env = {
            **clean_environment(),
            **environment_of(sandbox),
            **dict.fromkeys(("HOME", "DBT_PROJECT_DIR", "DBT_PROFILES_DIR"), str(folder)),
            **{"SMALL_DUCKDB_PATH": str(self.database), "NO_COLOR": "1", "PENDO_TIMEOUT": "20"},
        }

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

    def fill(self, model: str, rows: Sequence[Sequence[Any]]) -> None:
        """Builds a model anew, in its own shape, from rows of values; the time of events is always the same."""
        with self.connect() as connection:
            columns = connection.execute(f"select * from main.{model} limit 0").description
            names = [column[0] for column in columns if column[0] != "happened_at"]
            connection.execute("begin")
            connection.execute(f"truncate main.{model}")
            if rows:
                # In one statement, as DuckDB takes rows one by one a hundred times slower.
                places = ", ".join([f"({', '.join('?' for _ in names)})"] * len(rows))
                values = [value for row in rows for value in row]
                connection.execute(f"insert into main.{model} ({', '.join(names)}) values {places}", values)
            if len(names) < len(columns):
                connection.execute(f"update main.{model} set happened_at = timestamp '2026-01-01'")
            connection.execute("commit")

    def click(self, count: int) -> set[str]:
        """Builds the model of clicks with so many; returns their ids."""
        names = [f"k{number}" for number in range(count)]
        self.fill("clicks", [(name, "u1") for name in names])
        return set(names)

    def statuses(self, sync: str) -> dict[str, str]:
        return super().statuses(sync) if f"{sync}__ledger" in self.tables() else {}

    def sandbox_event_ids(self) -> list[str]:
        """The ids of all events the sandbox took, in order; an event that came twice is here twice."""
        return [event["properties"]["id"] for event in self.sandbox.events]

    def only(self, *models: str) -> None:
        """Leaves only some models annotated."""
        for model in MODELS.keys() - set(models):
            self.annotate(model, None)


class PostgresLab(Lab):
    """The same on a PostgreSQL server, of one test at a time."""

    def __init__(self, folder: Path, sandbox: Sandbox, server: Path) -> None:
        super().__init__(folder, sandbox)
        self._server = server
        begin_anew(server)
        self.env["SMALL_HOST"] = str(server)

    def connect(self) -> Any:
        return Connected(self._server)


def wait_until(run: Started, happened: Callable[[], bool]) -> None:
    """Waits for something to happen in a run, or for its end."""
    while not happened() and not run.has_ended():
        time.sleep(0.002)


@contextlib.contextmanager
def pendo(apps: Sequence[str] = ()) -> Iterator[Sandbox]:
    """A stand-in for Pendo with the fields of the lab's mappings."""
    with Sandbox(switches=chosen(), apps=apps) as running:
        add_fields(running, plan="string", mrr="float")
        running.add_field("account", "custom", "name", "string")
        yield running
