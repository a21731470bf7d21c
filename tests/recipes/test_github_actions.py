"""The workflow's steps, one after another, each with the environment that the workflow gives it."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from recipe import ACCOUNTS, PASSWORD, RECIPES, VISITORS, Shop, check_out, run

WORKFLOW = yaml.safe_load((RECIPES / "github_actions.yml").read_text(encoding="utf-8"))


class Ran(NamedTuple):
    """A job that has ended."""

    failed: str
    output: str
    summary: str
    artifact: set[str]


@dataclass
class Runner:
    """What GitHub does, as far as the workflow asks for it: a fresh checkout for each job, and its steps."""

    shop: Shop
    wheel: Path
    bare_machine: Mapping[str, str]

    def __post_init__(self) -> None:
        self.environment = {**self.shop.places, "CI": "true", "GITHUB_ACTIONS": "true"}
        self.secrets = {"PENDO_INTEGRATION_KEY": self.shop.sandbox.integration_key, "WAREHOUSE_PASSWORD": PASSWORD}

    def start(self, event: str, **edit: str) -> Ran:
        """Runs the one job that is for an event; files of models may be edited."""
        (job,) = (job for job in WORKFLOW["jobs"].values() if _is_true(job["if"], event))
        with tempfile.TemporaryDirectory(dir=self.shop.folder.parent) as machine:
            return self._run(job, Path(machine), edit)

    def _run(self, job: Mapping[str, Any], machine: Path, edit: Mapping[str, str]) -> Ran:
        folder, tools, summary = machine / "work", machine / "tools", machine / "summary"
        summary.touch()
        environment = {**self.bare_machine, **self.environment, "HOME": str(machine)}
        environment["GITHUB_STEP_SUMMARY"] = str(summary)
        failed, output, artifact = "", "", set[str]()
        for step in job["steps"]:
            if failed and step.get("if") != "always()":
                continue
            action, _, _ = step.get("uses", "").partition("@")
            if action == "actions/checkout":
                check_out(folder, self.wheel, edit)
            elif action == "actions/setup-python":
                assert (folder / step["with"]["cache-dependency-path"]).is_file()
                subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tools)], check=True)
                environment["PATH"] = f"{tools / 'bin'}:{environment['PATH']}"
            elif action == "actions/upload-artifact":
                artifact = {path for path in step["with"]["path"].split() if (folder / path).is_file()}
            else:
                assert action == ""
                given = {
                    name: re.sub(r"\$\{\{ secrets\.(\w+) \}\}", lambda found: self.secrets.get(found[1], ""), value)
                    for name, value in {**job.get("env", {}), **step.get("env", {})}.items()
                }
                assert "${{" not in "".join(given.values()) + step["run"]
                ended = run(["bash", "-e", "-c", step["run"]], folder, {**environment, **given})
                output += ended.stdout
                failed = f"{step['run']}: {ended.returncode}" if ended.returncode else ""
        return Ran(failed, output, summary.read_text(), artifact)


def _is_true(condition: str, event: str) -> bool:
    name, operator, value = condition.split()
    assert name == "github.event_name"
    return {"==": event == value.strip("'"), "!=": event != value.strip("'")}[operator]


@pytest.fixture
def runner(shop: Shop, wheel: Path, bare_machine: Mapping[str, str]) -> Runner:
    return Runner(shop, wheel, bare_machine)


def test_a_schedule_builds_and_syncs_on_a_new_machine_each_time(runner):
    runner.environment["SHOP_IS_BROKEN"] = "1"
    ran = runner.start("schedule")
    assert ran.failed == "dbt-pendo build: 1", ran.output
    # What was built is in Pendo, and what became of the rest can be read.
    assert runner.shop.plans == (VISITORS, {})
    assert ran.artifact == {"target/pendo_results.json", "target/run_results.json"}
    assert re.search(r"dim\\_accounts .* skipped ", ran.summary)

    del runner.environment["SHOP_IS_BROKEN"]
    ran = runner.start("workflow_dispatch")
    assert ran.failed == "", ran.output
    assert (runner.shop.plans, runner.shop.writes) == ((VISITORS, ACCOUNTS), 2)


def test_a_pull_request_checks_the_mappings_without_a_secret(runner):
    runner.secrets.clear()
    wrong = (runner.shop.folder / "models" / "_models.yml").read_text().replace("visitor_id", "visitor")
    ran = runner.start("pull_request", _models=wrong)
    assert ran.failed == "dbt-pendo check --offline: 2", ran.output
    assert re.search(r"did you mean `visitor_id`\?\n1 problem in meta.pendo", ran.output)
    assert (runner.shop.sandbox.requests, runner.shop.database.exists()) == ([], False)


def test_it_is_a_workflow_by_the_schema_that_is_published_for_them():
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    ended = run([*command, str(RECIPES / "github_actions.yml")], RECIPES, os.environ)
    assert ended.returncode == 0, ended.stdout
