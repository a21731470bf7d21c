"""dbt projects built once a worker, copied for each test; a sandbox for each test; the environment of a user."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from harness import (
    REPOSITORY,
    Project,
    SmallProject,
    clean_environment,
    copy_built,
    environment_of,
    run_dbt,
)

from dbt_pendo.sandbox import Sandbox
from dbt_pendo.sandbox.subscription import load_subscription

MakeProject: TypeAlias = Callable[..., Project]

SMALL_PROJECT = """\
name: small
version: "1.0.0"
config-version: 2
profile: small
models:
  small:
    +materialized: table
"""
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


@pytest.fixture(autouse=True)
def user_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of dbt's or ours in the environment, and a home of one's own."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PENDO_RETRIES", "1")
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
    days: dict[int, Path] = {}
    for day in (1, 2):
        folder = tmp_path_factory.mktemp(f"sample_day_{day}")
        source = days[1] if day == 2 else REPOSITORY / "sample_project"
        shutil.copytree(
            source,
            folder,
            ignore=shutil.ignore_patterns("logs", ".user.yml", *(["target", "*.duckdb"] if day == 1 else [])),
            dirs_exist_ok=True,
        )
        run_dbt(
            "build",
            "--vars",
            f"demo_day: {day}",
            "--profiles-dir",
            ".",
            cwd=folder,
            env={"SAMPLE_DUCKDB_PATH": str(folder / "sample.duckdb")},
        )
        days[day] = folder
    return days


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
    monkeypatch.setenv("SAMPLE_DUCKDB_PATH", str(database))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    return Sample(folder, built_sample)


# jaffle_shop.


@pytest.fixture(scope="session")
def built_jaffle_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jaffle_shop")
    shutil.copytree(REPOSITORY / "tests" / "projects" / "jaffle_shop", folder, dirs_exist_ok=True)
    run_dbt("build", "--profiles-dir", ".", cwd=folder, env={})
    return folder


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
    folder = tmp_path_factory.mktemp("small")
    (folder / "models").mkdir()
    (folder / "dbt_project.yml").write_text(SMALL_PROJECT)
    (folder / "profiles.yml").write_text(SMALL_PROFILE)
    (folder / "models" / "template.sql").write_text("select 1 as id")
    run_dbt("build", "--profiles-dir", ".", cwd=folder, env={"SMALL_DUCKDB_PATH": "small.duckdb"})
    return folder


@pytest.fixture
def project(built_small: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project without an annotated model yet, beside an empty sandbox."""
    folder = tmp_path / "small"
    database = copy_built(built_small, folder, "small.duckdb")
    monkeypatch.setenv("SMALL_DUCKDB_PATH", str(database))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    return SmallProject(folder, database)
