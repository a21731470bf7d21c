"""Real dbt beside the tests, and projects that it builds once a run."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from harness.commands import clean_environment

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL_PROFILE = """\
small:
  target: dev
  outputs:
    dev: &dev
      {type: duckdb, path: "{{ env_var('SMALL_DUCKDB_PATH') }}", schema: main, threads: 1, config_options: {threads: 1}}
    other: {<<: *dev, schema: other}
"""
# Forks a child a command, which finds dbt imported: four fifths of a command's time.
SERVER = """\
import json, os, sys
import dbt.adapters.duckdb, dbt.config.runtime, dbt.parser.manifest
from dbt.cli.main import cli
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        status = 70
        try:
            for output, path in enumerate(order["outputs"], start=1):
                os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), output)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir(order["cwd"])
            os.environ.clear()
            os.environ.update(order["env"])
            sys.argv = ["dbt", *order["args"]]
            cli()
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@cache
def _server() -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen([sys.executable, "-c", SERVER], **pipes, env=clean_environment(), text=True)
    # It ends with its standard input.
    atexit.register(server.communicate)
    return server


def run_dbt(*commands: str, cwd: Path, env: Mapping[str, str], status: int = 0) -> str:
    """Runs dbt's commands one after another, each in a process of its own; returns what they printed on stdout."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    environment = {**clean_environment(), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **env}
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]
        for command in commands:
            args = [*shlex.split(command), "--profiles-dir", "."]
            order = {"args": args, "cwd": str(cwd), "env": environment, "outputs": list(map(str, outputs))}
            server.stdin.write(json.dumps(order) + "\n")
            server.stdin.flush()
            ended = int(server.stdout.readline())
            printed = [output.read_text(encoding="utf-8") for output in outputs]
            assert ended == status, f"{command} ended with {ended}:\n{''.join(printed)}"
    return printed[0]


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


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def frames_left_unread() -> Iterator[None]:
    """Keeps dbt from reading the source of each frame of the stack, for a log line; pytest has many frames."""
    from dbt_common.behavior_flags import BehaviorFlagRendered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "tests"))
        yield


def without_dbt_or_pendo(monkeypatch: pytest.MonkeyPatch, home: Path, **env: str) -> None:
    """Takes all of dbt's and ours out of the environment, and sets what tests want."""
    for name in os.environ:
        if name.startswith(("DBT_", "PENDO_")):
            monkeypatch.delenv(name)
    for name, value in {"HOME": str(home), "NO_COLOR": "1", **env}.items():
        monkeypatch.setenv(name, value)
