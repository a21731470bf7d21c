"""The steps of action.yml, one after another, each with the environment that GitHub's runner gives it."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from recipe import ACCOUNTS, PASSWORD, REPOSITORY, VISITORS, Shop, run

ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))


def filled(text: str, inputs: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)


def use(shop: Shop, wheel: Path, bare_machine: Mapping[str, str], **given: str) -> tuple[list[str], str, set[str]]:
    """Runs the action; returns the names of the steps that failed, the summary, and the files of the artifact."""
    inputs = {name: one.get("default", "") for name, one in ACTION["inputs"].items()}
    inputs |= {"adapter": "duckdb", "project-dir": str(shop.folder), "package": str(wheel), **given}
    tools, summary = shop.folder.parent / "tools", shop.folder.parent / "summary"
    summary.touch()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tools)], check=True)
    environment: dict[str, Any] = {**bare_machine, **shop.places, "HOME": str(shop.folder.parent), "CI": "true"}
    environment |= {"PATH": f"{tools / 'bin'}:{bare_machine['PATH']}", "GITHUB_STEP_SUMMARY": str(summary)}
    environment |= {"GITHUB_ACTIONS": "true", "GITHUB_ACTION_PATH": str(REPOSITORY)}
    environment |= {"PENDO_INTEGRATION_KEY": shop.sandbox.integration_key}
    environment |= {"DBT_ENV_SECRET_WAREHOUSE_PASSWORD": PASSWORD}
    failed, artifact = list[str](), set[str]()
    for step in ACTION["runs"]["steps"]:
        if failed and step.get("if") != "always()":
            continue
        if "uses" in step:
            paths = map(Path, filled(step["with"]["path"], inputs).split())
            artifact = {path.name for path in paths if path.is_file()}
            continue
        values = {name: filled(value, inputs) for name, value in step.get("env", {}).items()}
        assert "${{" not in step["run"], "an input would be read as code"
        folder = Path(filled(step.get("working-directory", str(shop.folder)), inputs))
        ended = run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], folder, environment | values
        )
        if ended.returncode:
            failed.append(step["name"])
    return failed, summary.read_text(), artifact


def test_it_builds_syncs_and_keeps_the_results(shop, wheel, bare_machine):
    failed, summary, artifact = use(shop, wheel, bare_machine, command="build", arguments="--fail-fast")
    assert failed == []
    assert shop.plans == (VISITORS, ACCOUNTS)
    assert artifact == {"pendo_results.json", "pendo_report.html"}
    assert "dim" in summary


def test_a_selection_and_a_failure(shop, wheel, bare_machine):
    # Nothing was built: there is no manifest.
    failed, _, _ = use(shop, wheel, bare_machine, command="sync", select="dim_users; touch hacked")
    assert failed == ["Run dbt-pendo"]
    assert not (shop.folder / "hacked").exists()


def test_it_is_an_action_by_the_schema_that_is_published_for_them():
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions"]
    ended = run([*command, str(REPOSITORY / "action.yml")], REPOSITORY, os.environ)
    assert ended.returncode == 0, ended.stdout
