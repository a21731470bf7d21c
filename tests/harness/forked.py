"""Commands of dbt and of dbt-pendo in processes of their own, forked from one that has all imported; see forker.py."""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Literal, TextIO

from harness import forker
from harness.commands import Ended, clean_environment

REPOSITORY = Path(__file__).resolve().parents[2]
DBT = "from dbt.cli.main import cli; cli()"
PENDO = "from dbt_pendo.__main__ import run; run()"


@cache
def forkers_folder() -> Path:
    """Starts the process that forks, which ends with this one; returns a folder with the socket it listens to."""
    folder = tempfile.TemporaryDirectory(prefix="forker-")
    process = subprocess.Popen(
        # Commands end with what they share not given back, which Python would tell of at the end.
        [sys.executable, "-W", "ignore:resource_tracker", forker.__file__, f"{folder.name}/socket"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**clean_environment(), "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    assert process.stdout.readline(), f"the forker ended with {process.wait()}"
    atexit.register(lambda: (process.communicate(), folder.cleanup()))
    return Path(folder.name)


class Started:
    """A run under way, in a process of its own."""

    def __init__(self, told: TextIO, args: Sequence[str], outputs: Sequence[IO[bytes]]) -> None:
        self.pid = int(next(told))
        self._told = told
        self._args = tuple(args)
        self._outputs = outputs

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the run with ``kill -9``."""
        self.send(signal.SIGKILL)
        assert self.wait().status == -signal.SIGKILL

    def has_ended(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def wait_until_stopped(self) -> None:
        """Waits for a SIGSTOP."""
        assert next(self._told) == "stopped\n"

    def wait(self) -> Ended:
        status = forker.status_of(self._told)
        printed = []
        for file in self._outputs:
            with file:
                # What went elsewhere is not to be read here.
                printed.append(file.seek(0) or file.read() if file.readable() else b"")
        stdout, stderr = (text.decode(errors="replace") for text in printed)
        return Ended(self._args, status, stdout, stderr)


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
    """Starts a command, in a process that has the adapter of that name imported and executes the prelude at first.

    What it writes goes to the files, or is read once it has ended.
    """
    outputs = [Path(path).open("wb") if path else tempfile.TemporaryFile() for path in (stdout, stderr)]  # noqa: SIM115
    code = f"{prelude}\n{DBT if program == 'dbt' else PENDO}"
    with Path(os.devnull).open("rb") as stdin:
        files = [file.fileno() for file in (stdin, *outputs)]
        place = {"cwd": str(cwd), "env": dict(env), "adapter": adapter}
        told = forker.order(str(forkers_folder() / "socket"), files, code=code, argv=[program, *args], **place)
    return Started(told, args, outputs)


def run_process(*args: str) -> Ended:
    """Runs dbt-pendo in a process of its own, in the folder and the environment of this one."""
    return start("dbt-pendo", *args, cwd=Path.cwd(), env=os.environ).wait()
