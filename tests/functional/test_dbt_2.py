"""dbt v2, where it is to be had: the package parses, publishes, and its manifest is read. See `make test-dbt-2`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import clean_environment, run_cli
from published import MAPPED, YAML, Published, write_project

from dbt_pendo.sandbox import Sandbox

# The binary that `make test-dbt-2` names; else that of the package which dbt-core 1.12 brings along.
BINARY = os.environ.get("DBT2") or shutil.which("dbt-core-experimental-parser", path=str(Path(sys.executable).parent))
pytestmark = pytest.mark.skipif(BINARY is None, reason="there is no dbt v2")
# It reaches DuckDB by a driver of its own.
runs = pytest.mark.skipif("ADBC_DRIVER_PATH" not in os.environ, reason="there is no driver for dbt v2")


class Dbt2(Published):
    """The project, and dbt v2 beside it."""

    def dbt2(self, *args: str, status: int = 0) -> str:
        ended = subprocess.run(
            [str(BINARY), *args, "--profiles-dir", "."],
            cwd=self.folder,
            env={**clean_environment(), "SMALL_DUCKDB_PATH": str(self.database)},
            capture_output=True,
            text=True,
            check=False,
        )
        output = ended.stdout + ended.stderr
        assert ended.returncode == status, output
        return output


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Dbt2:
    """The project of the other tests, by the rules of v2: `meta` in `config` only, no model that fails."""
    folder = tmp_path / "published"
    write_project(folder)
    for name in ("broken", "after_broken", "passing"):
        (folder / "models" / f"{name}.sql").unlink()
    declared = {
        "models": [
            {"name": "sound", **MAPPED, "columns": [{"name": "id", "data_tests": ["unique"]}, {"name": "plan"}]},
            {
                "name": "by_column",
                "config": {"meta": {"pendo": {"object": "visitor", "visitor_id": "id"}}},
                "columns": [{"name": "id"}, {"name": "tariff", "config": {"meta": {"pendo": "plan"}}}],
            },
            {"name": "versioned", **MAPPED, "versions": [{"v": 2}]},
        ],
        "unit_tests": YAML["unit_tests"],
    }
    (folder / "models" / "_models.yml").write_text(json.dumps(declared))
    shutil.rmtree(folder / "snapshots")
    monkeypatch.setenv("SMALL_DUCKDB_PATH", str(folder / "small.duckdb"))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors({name: {"custom": {"plan": "old"}} for name in ("sound", "by_column", "versioned")})
    project = Dbt2(folder, folder / "small.duckdb")
    project.dbt2("deps")
    return project


def test_the_package_parses_without_a_warning_and_its_manifest_is_read(project):
    told = project.dbt2("parse", "--show-all-deprecations")
    assert "[warning]" not in told
    assert "[error]" not in told
    assert "Finished 'parse' successfully" in told
    found = run_cli("check", "--offline", "--json").expect(0).json["results"]
    assert {one["sync"] for one in found} == {"sound", "by_column", "versioned_v2"}


def test_what_it_published_is_synced(project, written):
    project.dbt2("build")
    project.dbt2("compile", "--write-catalog")
    project.dbt2("run", "--select", "sound", "--empty")
    project.dbt2("build", "--exclude", "sound")
    published = [(row["model"], row["command"], row["status"], row["partial"]) for row in project.published()]
    assert sorted(published) == [
        ("by_column", "build", "success", None),
        ("by_column", "build", "success", None),
        ("sound", "build", "success", None),
        ("sound", "run", "success", "--empty"),
        ("versioned_v2", "build", "success", None),
        ("versioned_v2", "build", "success", None),
    ]
    shutil.rmtree(project.target)
    ended = run_cli("sync", "--published", "--json").expect(0)
    assert ended.messages == {
        "sound": "skipped: `dbt run --empty` built it without all its rows",
        "by_column": None,
        "versioned_v2": None,
    }
    assert written() == {"by_column", "versioned"}
    project.dbt2("build", "--select", "sound")
    run_cli("sync", "--published").expect(0).says("[RUN]\n", "    built by `dbt build`, 2 tests passed\n")
    assert written() == {"sound", "by_column", "versioned"}
    project.dbt2("run-operation", "dbt_pendo.publish")
    assert len(run_cli("sync", "--published", "--json").expect(0).json["results"]) == 3


@runs
def test_the_marks_of_personal_data_are_published(project, sandbox):
    column = {"name": "plan", "config": {"meta": {"pii": True}, "tags": ["gdpr"]}}
    declared = {"models": [{"name": "sound", **MAPPED, "columns": [{"name": "id"}, column]}]}
    (project.folder / "models" / "_models.yml").write_text(json.dumps(declared))
    project.dbt2("build", "--select", "sound")
    (marks,) = (row["mapping"] for row in project.rows("main_pendo.pendo_builds where action = 'marks'"))
    assert {name: set(found) for name, found in json.loads(marks).items()} == {"plan": {"meta.pii", "gdpr"}}
    run_cli("sync", "--published").expect(2).says("`plan` is personal data by `meta.pii`")


@runs
def test_it_builds_the_models_of_the_package(project, written):
    project.settings("vars: {dbt_pendo: {models: true}}")
    # Before the first sync there is nothing for them to read.
    project.dbt2("build")
    assert project.rows("main.pendo_held_rows") == []
    # Its own artifacts are believed.
    run_cli("sync", "--only-built", "--require-tests").expect(0).says(
        "[RUN]\n", "    built by `dbt build`, 2 tests passed\n"
    )
    assert written() == {"sound", "by_column", "versioned"}
    told = project.dbt2("build", "--select", "package:dbt_pendo")
    assert "pendo_ledger_has_each_strand_once" in told
    days = {row["sync"]: row["delivered"] for row in project.rows("main.pendo_delivery_by_day")}
    assert days == {"sound": 1, "by_column": 1, "versioned_v2": 1}
