"""The workflow is one by the schema that is published for them."""

import subprocess
import sys

import pytest
from recipe import RECIPES

pytest.importorskip("check_jsonschema")


def test_it_is_a_workflow() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    ended = subprocess.run([*command, str(RECIPES / "github_actions.yml")], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
