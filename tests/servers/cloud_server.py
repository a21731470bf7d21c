"""A stand-in for dbt Cloud's administrative API, on loopback, and real artifacts for it to serve."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import SMALL_PROFILE, project_yaml, run_dbt, write_files

from dbt_pendo.sandbox.exchange import Call, Reply
from dbt_pendo.sandbox.server import Server

STATUSES = {1: "Queued", 2: "Starting", 3: "Running", 10: "Success", 20: "Error", 30: "Cancelled"}
TOKEN = "dbtc_a-token/of+tests"
ACCOUNT = 4711


@dataclass(frozen=True)
class Step:
    """A step of a run."""

    name: str
    artifacts: Path | None = None


# What dbt Cloud does before a job's own steps.
BEGINNING = (
    Step("Clone git repository"),
    Step("Create profile from connection DuckDB"),
    Step("Invoke dbt with `dbt deps`"),
)


@dataclass(frozen=True)
class Run:
    """A run of a job; its job's own steps come fourth."""

    id: int
    steps: Sequence[Step] = ()
    status: int = 10
    job_id: int = 1
    finished_at: str = "2026-11-24 10:00:00.000000+00:00"


@dataclass
class DbtCloud:
    """An account of dbt Cloud."""

    runs: list[Run] = field(default_factory=list)
    # Whether a run's answer has its steps: "yes", "no", or "refused" for a 400.
    lists_steps: str = "yes"
    # Answers to the next calls, in place of the right ones.
    faults: list[Reply] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> DbtCloud:
        self._lock = threading.Lock()
        self._server = Server(0, self._answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    @property
    def environment(self) -> dict[str, str]:
        return {"DBT_CLOUD_HOST": self.url, "DBT_CLOUD_ACCOUNT_ID": str(ACCOUNT), "DBT_CLOUD_API_TOKEN": TOKEN}

    def _answer(self, call: Call) -> Reply:
        with self._lock:
            self.calls.append(call)
            if self.faults:
                return self.faults.pop(0)
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return _enveloped(401, "Invalid token.")
        path = re.fullmatch(r"/api/v2/accounts/(\d+)/runs(?:/(\d+))?(/artifacts/([\w.]+)|/)", call.path)
        if call.method != "GET" or path is None or int(path[1]) != ACCOUNT:
            return _enveloped(404, "The requested resource was not found.")
        if path[2] is None:
            return self._list(call.options)
        run = next((run for run in self.runs if run.id == int(path[2])), None)
        if run is None:
            return _enveloped(404, "The requested resource was not found.")
        return self._artifact(run, call.options, path[4]) if path[4] else self._run(run, call.options)

    def _list(self, options: dict[str, str]) -> Reply:
        found = [
            run
            for run in self.runs
            if options.get("job_definition_id") in (None, str(run.job_id))
            and options.get("status") in (None, str(run.status))
        ]
        order = options.get("order_by", "id")
        found.sort(key=lambda run: getattr(run, order.lstrip("-")), reverse=order.startswith("-"))
        start = int(options.get("offset", 0))
        page = found[start : start + min(int(options.get("limit", 100)), 100)]
        return _enveloped(200, "Success!", [_described(run) for run in page], {"total_count": len(found)})

    def _run(self, run: Run, options: dict[str, str]) -> Reply:
        described = {**_described(run), "run_steps": []}
        if "run_steps" in options.get("include_related", ""):
            if self.lists_steps == "refused":
                return _enveloped(400, "run_steps is not a valid choice.")
            if self.lists_steps == "yes":
                # In no order one may rely on.
                described["run_steps"] = [
                    {"index": index, "name": step.name, "status": 10, "status_humanized": "Success"}
                    for index, step in reversed(list(enumerate(_steps(run), start=1)))
                ]
        return _enveloped(200, "Success!", described)

    def _artifact(self, run: Run, options: dict[str, str], name: str) -> Reply:
        steps = _steps(run)
        index = int(options.get("step", len(steps)))
        folder = steps[index - 1].artifacts if 1 <= index <= len(steps) else None
        if folder is None or not (folder / name).exists():
            return _enveloped(404, "The requested resource was not found.")
        return Reply(200, (folder / name).read_bytes())


def _steps(run: Run) -> list[Step]:
    return [*BEGINNING, *run.steps]


def _described(run: Run) -> dict[str, Any]:
    return {
        **{"id": run.id, "account_id": ACCOUNT, "job_definition_id": run.job_id, "finished_at": run.finished_at},
        **{"status": run.status, "status_humanized": STATUSES[run.status]},
    }


def _enveloped(code: int, told: str, data: Any = None, pagination: Any = None) -> Reply:
    status = {"code": code, "is_success": code == 200, "user_message": told, "developer_message": None}
    return Reply(code, json.dumps({"status": status, "data": data, "extra": {"pagination": pagination}}).encode())


# The artifacts: what each step leaves, built by dbt.

PEOPLE_PENDO = "{object: visitor, visitor_id: id, fields: {plan: plan}}"
MODELS_YAML = f"""\
seeds:
  - {{name: plans}}
models:
  - name: people
    config: &pendo {{meta: {{pendo: {PEOPLE_PENDO}}}}}
  - name: tested
    config: *pendo
    columns: [{{name: plan, data_tests: [not_null]}}]
  - {{name: broken, config: *pendo}}
"""
MODELS = {
    "people": "select * from {{ ref('plans') }}",
    "tested": "select 'c' as id, cast(null as varchar) as plan",
    "broken": "select case when {{ env_var('CLOUD_BREAKS') }} then error('no luck') else 'd' end as id, 'pro' as plan",
}
# Each ends in a folder of its own, `target` after it: folder, breaks, command.
COMMANDS = (
    ("build", True, "build"),
    ("seed", False, "seed"),
    ("run", False, "run"),
    ("test", False, "test"),
    ("docs", False, "docs generate"),
    ("people", False, "run --select people"),
    ("not_people", False, "run --exclude people"),
)


def build_artifacts(folder: Path) -> None:
    """Runs each command with real dbt, one after another, and keeps what `target` holds after it."""
    files = {f"models/{name}.sql": sql for name, sql in MODELS.items()}
    files |= {"dbt_project.yml": project_yaml("small"), "profiles.yml": SMALL_PROFILE}
    write_files(folder, {**files, "models/_models.yml": MODELS_YAML, "seeds/plans.csv": "id,plan\na,pro\nb,free\n"})
    for step, breaks, command in COMMANDS:
        env = {"SMALL_DUCKDB_PATH": "small.duckdb", "CLOUD_BREAKS": str(breaks).lower()}
        failed = step in ("build", "test")
        run_dbt(command, cwd=folder, env=env, status=int(failed))
        (folder / "steps" / step).mkdir(parents=True)
        for name in ("manifest.json", "run_results.json"):
            shutil.copy(folder / "target" / name, folder / "steps" / step)
    shutil.rmtree(folder / "target")
