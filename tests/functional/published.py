"""A project of which dbt publishes what it builds: dbt Cloud from inside, without a manifest."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import PEOPLE, REPOSITORY, SMALL_PROFILE, Project, project_yaml, write_files

from dbt_pendo.sandbox import Sandbox

PROJECT = project_yaml(
    "published",
    """\
models: {published: {+materialized: table}}
seeds: {published: {+column_types: {id: varchar, plan: varchar}}}
on-run-end: "{{ dbt_pendo.publish(results) }}\"""",
)
PACKAGES = f"packages: [{{local: {json.dumps(str(REPOSITORY))}}}]\n"
MODELS = {
    "sound": "select 'sound' as id, 'new' as plan",
    "untested": "select 'untested' as id, 'new' as plan",
    "failed_test": "select 'failed_test' as id, 'new' as plan, cast(null as int) as age",
    "broken": "select {{ \"'broken'\" if var('mended', false) else \"error('no luck')\" }} as id, 'new' as plan",
    "after_broken": "select 'after_broken' as id, plan from {{ ref('broken') }}",
    "by_column": "select 'by_column' as id, 'new' as tariff",
    "versioned_v2": "select 'versioned' as id, 'new' as plan",
    "plain": "select 'plain' as id, 'new' as plan",
    "clicks": "select 'e1' as id, 'sound' as person, current_date as at",
    "passing": "{{ config(materialized='ephemeral') }} select 'passing' as id, 'new' as plan",
}
CLICKS = {"object": "track_event", "event": "Click", "event_id": "id", "visitor_id": "person", "timestamp": "at"}
MAPPED: dict[str, Any] = {"config": {"meta": {"pendo": PEOPLE}}}
YAML: dict[str, Any] = {
    "seeds": [{"name": "seeded", **MAPPED}],
    "models": [
        {"name": "sound", **MAPPED, "columns": [{"name": "id", "data_tests": ["unique", "not_null"]}]},
        {"name": "untested", "meta": {"pendo": PEOPLE}},
        {"name": "failed_test", **MAPPED, "columns": [{"name": "age", "data_tests": ["not_null"]}]},
        *({"name": name, **MAPPED} for name in ("broken", "after_broken", "passing")),
        {
            "name": "by_column",
            "config": {"meta": {"pendo": {"object": "visitor", "visitor_id": "id"}}},
            "columns": [{"name": "id"}, {"name": "tariff", "meta": {"pendo": "plan"}}],
        },
        {"name": "versioned", **MAPPED, "versions": [{"v": 2}]},
        {"name": "clicks", "config": {"meta": {"pendo": CLICKS}}},
        # Takes itself and its columns out of what it inherits.
        {
            "name": "plain",
            "config": {"meta": {"pendo": None}},
            "columns": [{"name": "plan", "meta": {"pendo": "plan"}}],
        },
    ],
    "unit_tests": [
        {"name": "plans", "model": "sound", "given": [], "expect": {"rows": [{"id": "sound", "plan": "new"}]}}
    ],
}
SNAPSHOT = """\
{% snapshot snapped %}
{{ config(target_schema='main', unique_key='id', strategy='check', check_cols='all',
          meta={'pendo': {'object': 'visitor', 'visitor_id': 'id', 'fields': {'plan': 'plan'}}}) }}
select 'snapped' as id, 'new' as plan
{% endsnapshot %}
"""
SOUND = {"sound", "untested", "failed_test", "by_column", "versioned_v2", "seeded", "snapped", "clicks"}
FAILED = {"broken", "after_broken"}
VISITORS = {"sound", "untested", "failed_test", "by_column", "versioned", "seeded", "snapped"}


class Published(Project):
    """The project, and what dbt has published of it."""

    def published(self, schema: str = "main_pendo") -> list[dict[str, Any]]:
        """What dbt has published, oldest first."""
        return self.rows(f"{schema}.pendo_builds where action = 'published' order by logged_at, build_order")

    def taken(self) -> dict[str, str]:
        """The run that took each model's latest build."""
        rows = self.rows("main_pendo.pendo_builds where action = 'taken' order by logged_at")
        return {row["unique_id"].split(".")[2]: row["run_id"] for row in rows}

    def mark(self, model: str, column: str, mapping: Any = PEOPLE, **marks: Any) -> None:
        """Marks a column of a model in the project's YAML, and builds the model."""
        declared = {"name": model, "config": {"meta": {"pendo": mapping}}, "columns": [{"name": column, **marks}]}
        models = [one for one in YAML["models"] if one["name"] != model]
        (self.folder / "models" / "_models.yml").write_text(json.dumps({**YAML, "models": [*models, declared]}))
        self.dbt(f"run --select {model}")

    def publish_again(self, *models: str, **changes: Any) -> None:
        """Publishes models once more, as another dbt invocation that left them so."""
        values = {"invocation_id": f"again-{len(self.published())}", **changes}
        replaced = ", ".join(f"? as {column}" for column in values)
        latest = "action = 'published' and unique_id like ? order by logged_at desc limit 1"
        for model in models:
            self.sql(
                "insert into main_pendo.pendo_builds by name "
                f"select * replace ({replaced}, now()::timestamp as logged_at) "
                f"from (from main_pendo.pendo_builds where {latest})",
                [*values.values(), f"%.published.{model}%"],
            )

    @property
    def log(self) -> str:
        """What dbt has logged, but for what it logs of its own parts."""
        return (self.folder / "logs" / "dbt.log").read_text(encoding="utf-8")


def write_project(folder: Path) -> Published:
    files = {f"models/{name}.sql": sql for name, sql in MODELS.items()}
    files |= {"dbt_project.yml": PROJECT, "profiles.yml": SMALL_PROFILE, "packages.yml": PACKAGES}
    files |= {"models/_models.yml": json.dumps(YAML), "snapshots/snapped.sql": SNAPSHOT}
    write_files(folder, {**files, "seeds/seeded.csv": "id,plan\nseeded,new\n"})
    return Published(folder, folder / "small.duckdb")


def build(folder: Path) -> None:
    project = write_project(folder)
    inherited = {"+materialized": "table", "plain": {"+meta": {"pendo": PEOPLE}}}
    project_file = PROJECT.replace("{+materialized: table}", json.dumps(inherited), 1)
    (folder / "dbt_project.yml").write_text(project_file)
    project.dbt("deps")
    project.dbt("build", status=1)
    shutil.copytree(project.target, folder / "of_the_build")
    project.dbt("docs generate")


@pytest.fixture
def project(copy_of: Callable[..., Published], plans: Sandbox) -> Published:
    """The project after a `dbt build` that failed in places and a `dbt docs generate`."""
    names = {*MODELS, "seeded", "snapped", "versioned"}
    plans.add_visitors({name: {"custom": {"plan": "old"}} for name in names})
    return copy_of(Published, "published", build, without=["logs"])


@pytest.fixture
def elsewhere(project: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, that knows of the project no more than a profile does."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DBT_PROJECT_DIR")
    monkeypatch.setenv("DBT_PROFILE", "small")
    return folder
