"""A shop whose dbt project the recipes build and sync, and what they find on the machines on which they run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.commands import CACHE
from harness.warm import dbt_program

from dbt_pendo.sandbox import Sandbox

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = REPOSITORY / "docs" / "deploy"
PASSWORD = "the-warehouse's-password"
VISITORS = {"u-1": "pro", "u-2": "free"}
ACCOUNTS = {"a-1": "pro"}


@dataclass(frozen=True)
class Shop:
    """The shop: a dbt project in which nothing was built, its warehouse, and its Pendo, which knows all records."""

    folder: Path
    database: Path
    sandbox: Sandbox

    @property
    def places(self) -> dict[str, str]:
        """The part of an environment that says where things are; the recipes bring the secrets."""
        return {
            **{"SHOP_DUCKDB_PATH": str(self.database), "PENDO_API_URL": self.sandbox.url, "PENDO_RETRIES": "1"},
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            **CACHE,
        }

    @property
    def plans(self) -> tuple[dict[str, str], dict[str, str]]:
        """The plans of the visitors and of the accounts in Pendo."""
        return _plans(self.sandbox.visitors), _plans(self.sandbox.accounts)

    @property
    def writes(self) -> int:
        """How many requests have written something."""
        return sum(request.method != "GET" for request in self.sandbox.requests)


def _plans(records: dict[str, dict[str, dict[str, str]]]) -> dict[str, str]:
    return {key: record["custom"]["plan"] for key, record in records.items() if "plan" in record.get("custom", {})}


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    text = (RECIPES / page).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def copy_project(folder: Path) -> None:
    """Copies the dbt project, as it is in a repository."""
    built = shutil.ignore_patterns("target", "logs", "dbt_packages", ".user.yml")
    shutil.copytree(REPOSITORY / "tests" / "projects" / "shop", folder, ignore=built, dirs_exist_ok=True)


def check_out(folder: Path, wheel: Path, edit: Mapping[str, str]) -> None:
    """Makes a checkout of the project that brings dbt-pendo's wheel; files of models may be edited."""
    copy_project(folder)
    (folder / "wheels").mkdir()
    (folder / "wheels" / wheel.name).symlink_to(wheel)
    (folder / "requirements.txt").write_text(f"dbt-duckdb\n./wheels/{wheel.name}\n")
    for model, text in edit.items():
        (folder / "models" / f"{model}.yml").write_text(text)


def machine(folder: Path) -> dict[str, str]:
    """The environment of a machine with Python, on which pip asks no registry.

    All but dbt-pendo counts as installed everywhere, so that an installation takes seconds and is real all the same:
    of a wheel, by pip, from a requirements file.
    """
    packages = folder / "packages"
    packages.mkdir(parents=True)
    for path in sys.path:
        if path.endswith("site-packages"):
            for package in Path(path).iterdir():
                if "dbt_pendo" not in package.name and not (packages / package.name).exists():
                    (packages / package.name).symlink_to(package)
    programs = folder / "programs"
    programs.mkdir()
    dbt_program(programs)
    (programs / "pip").write_text('#!/bin/sh\nexec python -m pip "$@"\n')
    (programs / "pip").chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    pip = dict.fromkeys(("PIP_NO_INDEX", "PIP_DISABLE_PIP_VERSION_CHECK"), "1")
    return {"PATH": path_of(programs), "PYTHONPATH": str(packages), **pip}


def path_of(programs: Path) -> str:
    """The PATH of a machine with some programs."""
    return os.pathsep.join([str(programs), "/usr/bin", "/bin"])


def run(command: list[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command with nothing in its environment but what is given."""
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=folder, env=environment, text=True, check=False, **outputs)
