"""Programs for whoever starts commands by name or by path: in front of a fork of a Python that has dbt imported."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from functools import cache
from pathlib import Path

from harness import forker
from harness.commands import Ended
from harness.forked import DBT, PENDO, forkers_folder

__all__ = ["DBT", "PENDO", "at_terminal", "dbt_program", "warm_python"]


@cache
def warm_python() -> str:
    """Returns the path of a program that does what Python does with ``-c CODE``."""
    folder = forkers_folder()
    return _program(folder / "python", f'exec {sys.executable} -IS {forker.__file__} {folder / "socket"} "$@"')


def dbt_program(folder: Path, before: str = "") -> None:
    """Writes ``dbt`` as users have it, a program for the PATH, into a folder; ``before`` is what it does at first."""
    _program(folder / "dbt", f"{before}\nexec {warm_python()} -c '{DBT}' \"$@\"")


def at_terminal(*args: str, answer: str = "", columns: int = 160) -> Ended:
    """Runs dbt-pendo at a terminal of so many columns, and answers what it asks there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    # A worker of xdist has COLUMNS of its own, which counts for more than the terminal's.
    seen, env = b"", {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    command = [warm_python(), "-c", PENDO, *args]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as run:
        os.close(theirs)
        with contextlib.suppress(OSError):  # at its end
            while part := os.read(ours, 4096):
                seen += part
                if seen.endswith(b"[y/N] "):
                    os.write(ours, f"{answer}\n".encode())
    os.close(ours)
    return Ended(args, run.returncode, seen.decode(), "")


def _program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)
