"""The table that every tool sends: N visitors x 10 fields in DuckDB, built by dbt, and what changes in it.

DuckDB is used in processes of its own (`apart`): what a process holds when it starts another counts for the other too.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

DATABASE = "bench.duckdb"
PROJECT = 'name: bench\nversion: "1.0"\nprofile: bench\nmodels: {+materialized: table}\n'
# DuckDB and PostgreSQL both take it.
MODEL = """
select
    'user-' || i as user_id,
    'plan ' || (i % 5) as plan,
    'name ' || i as full_name,
    'user' || i || '@example.com' as email,
    i % 90 as seats,
    i * 1.5 as mrr,
    i % 2 = 0 as is_admin,
    timestamp '2026-01-01' + i * interval '1 second' as seen_at,
    date '2026-01-01' + cast(i % 300 as int) as signed_up_on,
    case when i % 3 = 0 then null else 'team ' || (i % 40) end as team,
    cast(i * 0.01 as decimal(18, 2)) as credit
from generate_series(0, {rows} - 1) as t(i)
"""
# Field -> column and Pendo's type.
FIELDS = {
    "plan": ("plan", "string"),
    "name": ("full_name", "string"),
    "email": ("email", "string"),
    "seats": ("seats", "integer"),
    "mrr": ("mrr", "float"),
    "admin": ("is_admin", "boolean"),
    "seen": ("seen_at", "time"),
    "signedup": ("signed_up_on", "time"),
    "team": ("team", "string"),
    "credit": ("credit", "float"),
}
PENDO = {"object": "visitor", "visitor_id": "user_id", "fields": {name: column for name, (column, _) in FIELDS.items()}}
DBT = [sys.executable, "-c", "from dbt.cli.main import cli; cli()"]


def environment(project: Path, url: str) -> dict[str, str]:
    """Returns what dbt and dbt-pendo need to know, and nothing of the user's own settings."""
    # Nor of one that has every process compile dbt anew.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PENDO_", "PYTHONDONT"))}
    folders = {"DBT_PROJECT_DIR": str(project), "DBT_PROFILES_DIR": str(project)}
    pendo = {"PENDO_API_URL": url, "PENDO_SANDBOX": "false", "PENDO_INTEGRATION_KEY": "sink"}
    return own | folders | pendo | {"PENDO_CONCURRENCY": "4"}


def build(project: Path, rows: int) -> None:
    """Writes the dbt project and builds its table with dbt."""
    build_project(project, {"visitors": (MODEL.format(rows=rows), PENDO)}, duckdb_output(project / DATABASE))


def build_project(
    project: Path, models: Mapping[str, tuple[str, Mapping[str, Any]]], output: Mapping[str, Any]
) -> None:
    """Writes a dbt project of mapped models, each with its SQL and mapping, and builds it with dbt."""
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text(PROJECT)
    for model, (sql, _) in models.items():
        (project / "models" / f"{model}.sql").write_text(sql)
    mapped = [{"name": model, "config": {"meta": {"pendo": pendo}}} for model, (_, pendo) in models.items()]
    (project / "models" / "schema.yml").write_text(json.dumps({"models": mapped}))
    point_at(project, output)
    subprocess.run([*DBT, "build", "--quiet"], env=environment(project, ""), cwd=project, check=True)


def duckdb_output(database: Path) -> dict[str, Any]:
    """Returns what a profile says of a DuckDB file."""
    return {"type": "duckdb", "path": str(database), "schema": "main", "threads": 2}


def point_at(project: Path, output: Mapping[str, Any]) -> None:
    """Lets the project's profile name a warehouse."""
    (project / "profiles.yml").write_text(json.dumps({"bench": {"target": "dev", "outputs": {"dev": output}}}))


def select() -> str:
    """Returns the query of the tools that have no mapping: one column a field, under the field's name.

    Decimals are cast in SQL: each would otherwise cost a call back from the JSON library, and some would send a text.
    """
    columns = [
        f"{column}::double as {name}" if kind == "float" else f"{column} as {name}"
        for name, (column, kind) in FIELDS.items()
    ]
    return f"select user_id, {', '.join(columns)} from visitors"


def change_thousandth(database: Path) -> None:
    """Changes one value in every thousandth row, all over the table."""
    execute(database, "update visitors set plan = 'changed' where substr(user_id, 6)::bigint % 1000 = 7")


def seconds_delivering(database: Path) -> float:
    """Returns how long it took from the change set to the last commit, by the ledger's own clock."""
    first, last, pages = execute(
        database, "select min(logged_at), max(logged_at), count(distinct logged_at) from main_pendo.visitors__ledger"
    )[0]
    # The clock starts when the first page is committed: that one page is added.
    return (last - first).total_seconds() * pages / max(pages - 1, 1)


def execute(database: Path, sql: str) -> list[tuple[Any, ...]]:
    import duckdb

    with duckdb.connect(str(database)) as connection:
        return connection.execute(sql).fetchall()


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def offline_manifest(manifest: Mapping[str, Any], models: int) -> dict[str, Any]:
    """Returns a manifest of so many models, every tenth of them mapped, from one of a single mapped model."""
    nodes = {}
    (original,) = (node for node in manifest["nodes"].values() if node["resource_type"] == "model")
    for i in range(models):
        name = f"visitors_{i}"
        node = {**original, "name": name, "alias": name, "unique_id": f"model.bench.{name}"}
        if i % 10:
            node |= {"meta": {}, "config": {**original["config"], "meta": {}}}
        nodes[node["unique_id"]] = {**node, "fqn": ["bench", name]}
    return {**manifest, "nodes": nodes}
