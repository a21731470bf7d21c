"""Real dbt beside the tests, and projects that it builds once a run."""

import contextlib
import fcntl
import functools
import gc
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.commands import CACHE, clean_environment
from harness.forked import start

SMALL_PROFILE = """\
small:
  target: dev
  outputs:
    dev: &dev
      type: duckdb
      path: "{{ env_var('SMALL_DUCKDB_PATH') }}"
      schema: main
      threads: "{{ env_var('SMALL_THREADS', '1') | as_number }}"
      config_options: {threads: 1}
    other: {<<: *dev, schema: other}
"""


def run_dbt(*commands: str, cwd: Path, env: Mapping[str, str], status: int = 0) -> str:
    """Runs dbt's commands one after another, each in a process of its own; returns what they printed on stdout."""
    environment = {**clean_environment(), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **env}
    printed = ""
    for command in commands:
        args = [*shlex.split(command), "--profiles-dir", "."]
        printed += start("dbt", *args, cwd=cwd, env=environment).wait().expect(status).stdout
    return printed


def build_once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """Returns the folder of a built project; of several workers the first builds it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, built = root / f"built_{name}", root / f"built_{name}.done"
    with (root / f"built_{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            # What a build that failed has left.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            built.touch()
    return folder


def project_yaml(name: str, more: str = "models: {+materialized: table}", profile: str = "small") -> str:
    """Returns a ``dbt_project.yml``."""
    return f'name: {name}\nversion: "1.0.0"\nconfig-version: 2\nprofile: {profile}\n{more}\n'


def dbt_build(name: str, files: Mapping[str, str], status: int = 0) -> Callable[[Path], None]:
    """Returns what builds a project of such files, for ``build_once``: a ``dbt build`` that ends with the status."""

    def build(folder: Path) -> None:
        write_files(folder, {"dbt_project.yml": project_yaml(name), "profiles.yml": SMALL_PROFILE, **files})
        run_dbt("build", cwd=folder, env={"SMALL_DUCKDB_PATH": "small.duckdb"}, status=status)

    return build


def models_yaml(mappings: Mapping[str, Any]) -> str:
    """Returns a file that annotates models, by name, with their ``meta.pendo``."""
    # JSON is YAML.
    return json.dumps({"models": [{"name": name, "config": {"meta": {"pendo": of}}} for name, of in mappings.items()]})


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def quick_dbt() -> Iterator[None]:
    """Spares the commands in this process a third of their time: what dbt does in vain, and Python among tests."""
    import parsedatetime
    from dbt.adapters.events import types
    from dbt.config.runtime import RuntimeConfig  # noqa: F401
    from dbt.parser.manifest import ManifestLoader  # noqa: F401
    from dbt_common.behavior_flags import BehaviorFlagRendered

    with pytest.MonkeyPatch.context() as patch:
        # Reads the source of each frame of the stack, for a log line; pytest has many frames.
        patch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "tests"))
        # Made thrice for each answer of the warehouse.
        patch.setattr(parsedatetime, "Constants", functools.cache(parsedatetime.Constants))
        # Dropped unread, several for each statement.
        for event in ("CacheAction", "ConnectionUsed", "SQLCommit", "SQLQuery", "SQLQueryStatus"):
            patch.setattr(getattr(types, event), "__init__", lambda *_, **__: None)
        # What is imported is no garbage, and need not be looked through for it.
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()


def without_dbt_or_pendo(monkeypatch: pytest.MonkeyPatch, home: Path, **env: str) -> None:
    """Takes all of dbt's and ours out of the environment, and sets what tests want."""
    for name in os.environ:
        if name.startswith(("DBT_", "PENDO_")):
            monkeypatch.delenv(name)
    for name, value in {"HOME": str(home), "NO_COLOR": "1", **CACHE, **env}.items():
        monkeypatch.setenv(name, value)
