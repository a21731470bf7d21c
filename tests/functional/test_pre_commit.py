"""The hook for pre-commit: its entry as it is written, where pre-commit would run it."""

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import yaml
from harness import PEOPLE, REPOSITORY, SmallProject

# pre-commit installs the hook without any adapter; nor is dbt itself needed.
WITHOUT_DBT = "import sys; sys.modules.update(dict.fromkeys(['dbt', 'duckdb', 'psycopg2'])); "


@pytest.fixture
def hook() -> dict[str, Any]:
    (hook,) = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return hook


def run(hook: dict[str, Any], project: SmallProject) -> subprocess.CompletedProcess[str]:
    program, *args = shlex.split(hook["entry"])
    assert program == "dbt-pendo"
    command = [sys.executable, "-c", f"{WITHOUT_DBT}from dbt_pendo.__main__ import run; run()", *args]
    return subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)


def test_what_pre_commit_reads(hook):
    assert (hook["id"], hook["language"], hook["pass_filenames"]) == ("dbt-pendo-check", "python", False)
    files = ["models/marts/users.sql", "models/_models.yml", "dbt_project.yaml", "README.md", "seeds/a.csv", "yml.py"]
    assert [file for file in files if re.search(hook["files"], file)] == files[:3]


def test_its_entry_finds_what_is_wrong(people, hook, monkeypatch):
    # Where a commit is made, nothing is set but what dbt needs.
    for name in ("PENDO_INTEGRATION_KEY", "PENDO_API_URL", "DBT_PROJECT_DIR", "DBT_PROFILES_DIR", "SMALL_DUCKDB_PATH"):
        monkeypatch.delenv(name)
    people.database.unlink()
    ended = run(hook, people)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "All mappings are sound" in ended.stdout
    people.annotate("people", {**PEOPLE, "feilds": {}})
    ended = run(hook, people)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert "did you mean `fields`?" in ended.stderr
