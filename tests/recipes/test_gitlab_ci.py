"""The scripts of the pipeline's jobs, each in a fresh checkout, with the environment that the file gives them."""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from recipe import ACCOUNTS, PASSWORD, RECIPES, VISITORS, Shop, check_out, run

PIPELINE = yaml.safe_load((RECIPES / "gitlab_ci.yml").read_text(encoding="utf-8"))


class Ran(NamedTuple):
    """A job that has ended."""

    status: int
    output: str
    artifact: set[str]


@dataclass
class Runner:
    """What GitLab does, as far as the pipeline asks for it."""

    shop: Shop
    wheel: Path
    bare_machine: Mapping[str, str]

    def __post_init__(self) -> None:
        self.variables = {
            **{"PENDO_INTEGRATION_KEY": self.shop.sandbox.integration_key},
            **{"DBT_ENV_SECRET_WAREHOUSE_PASSWORD": PASSWORD},
        }
        self.environment = {**self.shop.places, "CI": "true", "GITLAB_CI": "true"}

    def start(self, source: str, **edit: str) -> Ran:
        """Runs the one job that is for a pipeline's source; files of models may be edited."""
        condition = f'$CI_PIPELINE_SOURCE == "{source}"'
        (job,) = (job for job in PIPELINE.values() if {"if": condition} in job.get("rules", []))
        with tempfile.TemporaryDirectory(dir=self.shop.folder.parent) as machine:
            return self._run({**PIPELINE[job["extends"]], **job}, Path(machine), edit)

    def _run(self, job: Mapping[str, Any], machine: Path, edit: Mapping[str, str]) -> Ran:
        folder = machine / "builds"
        check_out(folder, self.wheel, edit)
        # A variable of the project goes before one of the file.
        given = {**job.get("variables", {}), **self.variables, "HOME": str(machine), "CI_PROJECT_DIR": str(folder)}
        for name, value in PIPELINE["variables"].items():
            given[name] = value.replace("$CI_PROJECT_DIR", str(folder))
        # pip is the machine's, so the environment is made without one.
        script = [line.replace("-m venv", "-m venv --without-pip") for line in [*job["before_script"], *job["script"]]]
        ended = run(["bash", "-e", "-c", "\n".join(script)], folder, {**self.bare_machine, **self.environment, **given})
        paths = job.get("artifacts", {}).get("paths", [])
        return Ran(ended.returncode, ended.stdout, {path for path in paths if (folder / path).is_file()})


@pytest.fixture
def runner(shop: Shop, wheel: Path, bare_machine: Mapping[str, str]) -> Runner:
    return Runner(shop, wheel, bare_machine)


def test_a_schedule_builds_and_syncs_on_a_new_machine_each_time(runner):
    runner.environment["SHOP_IS_BROKEN"] = "1"
    ran = runner.start("schedule")
    assert ran.status == 1, ran.output
    # What was built is in Pendo, and what became of the rest can be read.
    assert runner.shop.plans == (VISITORS, {})
    assert ran.artifact == {"target/pendo_results.json", "target/run_results.json"}
    assert PIPELINE["sync"]["artifacts"]["when"] == "always"

    del runner.environment["SHOP_IS_BROKEN"]
    ran = runner.start("schedule")
    assert ran.status == 0, ran.output
    assert (runner.shop.plans, runner.shop.writes) == ((VISITORS, ACCOUNTS), 2)


def test_a_merge_request_checks_the_mappings_without_a_secret(runner):
    runner.variables.clear()
    wrong = (runner.shop.folder / "models" / "_models.yml").read_text().replace("visitor_id", "visitor")
    ran = runner.start("merge_request_event", _models=wrong)
    assert ran.status == 2, ran.output
    assert "did you mean `visitor_id`?\n1 problem in meta.pendo" in ran.output
    assert (runner.shop.sandbox.requests, runner.shop.database.exists()) == ([], False)


def test_it_is_a_pipeline_by_the_schema_that_is_published_for_them(tmp_path):
    pytest.importorskip("check_jsonschema")
    shutil.copy(RECIPES / "gitlab_ci.yml", tmp_path / ".gitlab-ci.yml")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci"]
    ended = run([*command, "--data-transform", "gitlab-ci", str(tmp_path / ".gitlab-ci.yml")], RECIPES, os.environ)
    assert ended.returncode == 0, ended.stdout
