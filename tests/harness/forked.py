"""Commands of dbt and of dbt-pendo in processes of their own, forked from one that has all imported."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from harness.commands import Ended, clean_environment

REPOSITORY = Path(__file__).resolve().parents[2]


class Forker:
    """The process that forks runs; see forker.py. It ends with its standard input."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # Runs end with what they share not given back, which Python would tell of at the end.
            [sys.executable, "-W", "ignore:resource_tracker", str(Path(__file__).with_name("forker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**clean_environment(), "PYTHONPATH": str(REPOSITORY)},
            text=True,
        )
        self._lock = threading.Lock()
        atexit.register(self._process.communicate)

    def order(self, **order: Any) -> dict[str, Any]:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        assert line, f"the forker ended with {self._process.wait()}"
        return dict(json.loads(line))


@cache
def _forker() -> Forker:
    return Forker()


class Started:
    """A run under way, in a process of its own."""

    def __init__(self, pid: int, args: Sequence[str], outputs: Sequence[str]) -> None:
        self.pid = pid
        self._args = tuple(args)
        self._outputs = outputs

    def send(self, number: signal.Signals) -> None:
        # A run that has ended stays a zombie until it is waited for, so the pid is still its own.
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the run with ``kill -9``."""
        self.send(signal.SIGKILL)
        assert self.wait().status == -signal.SIGKILL

    def has_ended(self) -> bool:
        return self._looks(os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def wait_until_stopped(self) -> None:
        """Waits for a SIGSTOP, or for its end."""
        self._looks(os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert not self.has_ended()

    def _looks(self, options: int) -> bool:
        return bool(_forker().order(look=self.pid, options=options)["found"])

    def wait(self) -> Ended:
        answer = _forker().order(wait=self.pid)
        stdout, stderr = (
            Path(path).read_text(encoding="utf-8", errors="replace") if Path(path).is_file() else ""
            for path in self._outputs
        )
        return Ended(self._args, answer["status"], stdout, stderr)


def start(
    program: Literal["dbt", "dbt-pendo"],
    *args: str,
    cwd: Path,
    env: Mapping[str, str],
    adapter: str = "duckdb",
    prelude: str = "",
    stdout: str | None = None,
    stderr: str | None = None,
) -> Started:
    """Starts a command.

    Args:
        program: dbt or dbt-pendo.
        args: Its arguments.
        cwd: Its folder.
        env: All of its environment.
        adapter: dbt's name of the adapter to have imported.
        prelude: Python that the process executes at first.
        stdout: A file to write to, in place of one of its own.
        stderr: Likewise.
    """
    outputs = [path or _temporary(name) for name, path in (("stdout", stdout), ("stderr", stderr))]
    order = {"args": args, "cwd": str(cwd), "env": dict(env), "outputs": outputs, "prelude": prelude}
    answer = _forker().order(program=program, adapter=adapter, **order)
    return Started(answer["pid"], args, outputs)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with this process."""
    return tempfile.TemporaryDirectory(prefix="runs")


def _temporary(name: str) -> str:
    file, path = tempfile.mkstemp(prefix=name, dir=_folder().name)
    os.close(file)
    return path
