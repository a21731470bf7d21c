"""dbt projects built once a run, copied for each test; a sandbox for each test; the environment of a user."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbt_cloud import DbtCloud, build_artifacts
from harness import (
    PEOPLE,
    PEOPLE_ROWS,
    REPOSITORY,
    SMALL_PROFILE,
    Project,
    SmallProject,
    build_once,
    clean_environment,
    copy_built,
    environment_of,
    run_dbt,
)

from dbt_pendo.sandbox import Sandbox
from dbt_pendo.sandbox.subscription import load_subscription

SMALL_PROJECT = """\
name: small
version: "1.0.0"
config-version: 2
profile: small
models:
  small:
    +materialized: table
"""


@pytest.fixture(scope="session", autouse=True)
def macros_read_once() -> Iterator[None]:
    """Lets dbt parse our macros and its own once a worker instead of once a command.

    That is four fifths of a command's time, always the same, and no part of what is tested here. Commands run as
    processes of their own do it as users' do.
    """
    from dbt.parser.manifest import ManifestLoader

    parse = ManifestLoader.create_macro_manifest
    parsed: dict[tuple[str, ...], Any] = {}

    def parse_once(loader: Any) -> Any:
        projects = tuple(str(project.project_root) for project in loader.all_projects.values())
        if projects not in parsed:
            parsed[projects] = parse(loader)
        return parsed[projects]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ManifestLoader, "create_macro_manifest", parse_once)
        yield


@pytest.fixture(autouse=True)
def user_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of dbt's or ours in the environment, and a home of one's own."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PENDO_RETRIES", "1")
    # Missing rows come again at once; the sample project shows the default.
    monkeypatch.setenv("PENDO_MISSING_RETRY", "0")
    monkeypatch.setenv("PENDO_TIMEOUT", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A stand-in for Pendo, and the environment that points at it."""
    with Sandbox(apps=["web"]) as running:
        for name, value in environment_of(running).items():
            monkeypatch.setenv(name, value)
        yield running


# The sample project.


@pytest.fixture(scope="session")
def built_sample(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The sample project as dbt builds it on each of its two days."""

    def build(day: int, folder: Path, source: Path) -> None:
        unwanted = shutil.ignore_patterns("target", "logs", ".user.yml", "*.duckdb*")
        shutil.copytree(source, folder, ignore=unwanted if day == 1 else None, dirs_exist_ok=True)
        run_dbt(
            *("build", "--vars", f"demo_day: {day}", "--profiles-dir", "."),
            cwd=folder,
            env={"SAMPLE_DUCKDB_PATH": str(folder / "sample.duckdb")},
        )

    first = build_once(tmp_path_factory, "sample_1", lambda folder: build(1, folder, REPOSITORY / "sample_project"))
    return {1: first, 2: build_once(tmp_path_factory, "sample_2", lambda folder: build(2, folder, first))}


class Sample(Project):
    """The sample project on its first day, and a way to the second."""

    def __init__(self, folder: Path, days: dict[int, Path]) -> None:
        super().__init__(folder, folder / "sample.duckdb")
        self._days = days

    def move_to_day_2(self) -> None:
        """What ``dbt build --vars 'demo_day: 2'`` does: other tables, and artifacts of another invocation."""
        models = [
            name
            for (name,) in self.sql(
                "select table_name from information_schema.tables "
                "where table_schema = 'main' and table_name like 'pendo_%'"
            )
        ]
        assert len(models) == 4
        self.sql(
            f"attach '{self._days[2] / 'sample.duckdb'}' as later (read_only);"
            + "".join(f"create or replace table main.{model} as from later.main.{model};" for model in models)
            + "detach later"
        )
        for artifact in ("manifest.json", "run_results.json"):
            shutil.copy(self._days[2] / "target" / artifact, self.target)


@pytest.fixture
def sample(built_sample: dict[int, Path], tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """The sample project on day 1, beside a sandbox that holds its subscription."""
    folder = tmp_path / "sample_project"
    database = copy_built(built_sample[1], folder, "sample.duckdb")
    load_subscription(sandbox, folder / "pendo_subscription.json")
    monkeypatch.delenv("PENDO_MISSING_RETRY")
    monkeypatch.setenv("SAMPLE_DUCKDB_PATH", str(database))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    return Sample(folder, built_sample)


# jaffle_shop.


@pytest.fixture(scope="session")
def built_jaffle_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        shutil.copytree(REPOSITORY / "tests" / "projects" / "jaffle_shop", folder, dirs_exist_ok=True)
        run_dbt("build", "--profiles-dir", ".", cwd=folder, env={})

    return build_once(tmp_path_factory, "jaffle_shop", build)


@pytest.fixture
def jaffle_shop(built_jaffle_shop: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    folder = tmp_path / "jaffle_shop"
    database = copy_built(built_jaffle_shop, folder, "jaffle_shop.duckdb")
    monkeypatch.setenv("JAFFLE_DUCKDB_PATH", str(database))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    return Project(folder, database)


# A project whose models the tests make up.


@pytest.fixture(scope="session")
def built_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        (folder / "models").mkdir()
        (folder / "dbt_project.yml").write_text(SMALL_PROJECT)
        (folder / "profiles.yml").write_text(SMALL_PROFILE)
        (folder / "models" / "template.sql").write_text("select 1 as id")
        run_dbt("build", "--profiles-dir", ".", cwd=folder, env={"SMALL_DUCKDB_PATH": "small.duckdb"})

    return build_once(tmp_path_factory, "small", build)


@pytest.fixture
def project(built_small: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project without an annotated model yet, beside an empty sandbox."""
    folder = tmp_path / "small"
    database = copy_built(built_small, folder, "small.duckdb")
    monkeypatch.setenv("SMALL_DUCKDB_PATH", str(database))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    return SmallProject(folder, database)


@pytest.fixture
def people(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """A project with one sound sync, `people`, of two visitors Pendo knows."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a", "b"])
    project.model("people", PEOPLE, PEOPLE_ROWS)
    return project


# A project that dbt Cloud builds.


@pytest.fixture(scope="session")
def built_in_cloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once(tmp_path_factory, "in_cloud", lambda folder: build_artifacts(folder, SMALL_PROFILE))


@pytest.fixture
def in_cloud(built_in_cloud: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without a target folder, the tables that dbt Cloud built, and a Pendo that knows the visitors."""
    folder = tmp_path / "in_cloud"
    database = copy_built(built_in_cloud, folder, "small.duckdb")
    monkeypatch.setenv("SMALL_DUCKDB_PATH", str(database))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a", "b", "c", "d"])
    return Project(folder, database)


@pytest.fixture
def dbt_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[DbtCloud]:
    """An account of dbt Cloud without a run yet, and the environment that points at it."""
    with DbtCloud() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield cloud


# A project with something wrong with almost every model.

ODD_PROJECT = """\
name: odd
version: "1.0.0"
config-version: 2
profile: small
models:
  odd:
    +materialized: table
"""
ODD_MODELS = {
    "good": "select 'a' as id, 'pro' as plan",
    "also_good": "select * from {{ ref('good') }}",
    "broken": "select error('no luck today') as id, 'pro' as plan",
    "after_broken": "select * from {{ ref('broken') }}",
    "unsound": "select 'a' as id, cast(null as varchar) as plan",
    "passing": "{{ config(materialized='ephemeral') }} select 'a' as id, 'pro' as plan",
    "unbuilt": "select 'a' as id, 'pro' as plan",
    "a_view": "{{ config(materialized='view', alias='renamed_view', schema='marts') }} select 'a' as id, 'pro' as plan",
    "versioned_v1": "select 'a' as id, 'v1' as plan",
    "versioned_v2": "select 'a' as id, 'v2' as plan",
    "off": "{{ config(enabled=false) }} select 'a' as id, 'pro' as plan",
}
ODD_YAML = """\
models:
  - name: good
    config: &pendo
      tags: [daily]
      meta: {pendo: {object: visitor, visitor_id: id, fields: {plan: plan}}}
  - name: also_good
    meta: {pendo: {object: visitor, visitor_id: id, fields: {plan: plan}}}
  - {name: broken, config: *pendo}
  - {name: after_broken, config: *pendo}
  - name: unsound
    config: *pendo
    columns: [{name: plan, data_tests: [not_null]}]
  - {name: passing, config: *pendo}
  - {name: unbuilt, config: *pendo}
  - {name: a_view, config: *pendo}
  - {name: "off", config: *pendo}
  - name: versioned
    latest_version: 2
    config: *pendo
    versions: [{v: 1}, {v: 2}]
seeds:
  - {name: a_seed, config: *pendo}
"""
ODD_SNAPSHOT = """\
{% snapshot a_snapshot %}
{{ config(target_schema='main', unique_key='id', strategy='check', check_cols='all',
          meta={'pendo': {'object': 'visitor', 'visitor_id': 'id', 'fields': {'plan': 'plan'}}}) }}
select * from {{ ref('good') }}
{% endsnapshot %}
"""
ODD_SELECTORS = """\
selectors:
  - name: the_good
    definition:
      union:
        - {method: fqn, value: good}
        - {method: fqn, value: also_good}
"""


@pytest.fixture(scope="session")
def built_odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        for name in ("models", "seeds", "snapshots"):
            (folder / name).mkdir()
        (folder / "dbt_project.yml").write_text(ODD_PROJECT)
        (folder / "profiles.yml").write_text(SMALL_PROFILE)
        (folder / "selectors.yml").write_text(ODD_SELECTORS)
        (folder / "models" / "_models.yml").write_text(ODD_YAML)
        (folder / "seeds" / "a_seed.csv").write_text("id,plan\na,seeded\n")
        (folder / "snapshots" / "a_snapshot.sql").write_text(ODD_SNAPSHOT)
        for name, sql in ODD_MODELS.items():
            (folder / "models" / f"{name}.sql").write_text(sql)
        run_dbt(
            *("build", "--profiles-dir", ".", "--exclude", "unbuilt"),
            cwd=folder,
            env={"SMALL_DUCKDB_PATH": "small.duckdb"},
            status=1,
        )

    return build_once(tmp_path_factory, "odd", build)


@pytest.fixture
def odd(built_odd: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project after a `dbt build` that failed in places, beside a Pendo that knows the visitor `a`."""
    folder = tmp_path / "odd"
    database = copy_built(built_odd, folder, "small.duckdb")
    monkeypatch.setenv("SMALL_DUCKDB_PATH", str(database))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a"])
    return Project(folder, database)
