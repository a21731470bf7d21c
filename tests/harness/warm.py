"""A Python that has dbt imported already, which is four fifths of the time of a dbt command.

A server forks a child for each command; the client in front of it lends the child its files, folder, environment and
signals. To whoever starts the client it is ``python -c CODE ARGUMENTS``.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

DBT = "from dbt.cli.main import cli; cli()"
PENDO = "from dbt_pendo.__main__ import run; run()"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@cache
def warm_python() -> str:
    """Starts the server, which ends with this process; returns the path of a program in front of it."""
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    address, program = Path(folder.name, "socket"), Path(folder.name, "python")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {__file__} {address} "$@"\n')
    program.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PENDO_"))}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    server = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE, env=environment)
    assert server.stdout is not None
    server.stdout.readline()

    def end() -> None:
        server.kill()
        server.communicate()
        folder.cleanup()

    atexit.register(end)
    return str(program)


def dbt_program(folder: Path, before: str = "") -> None:
    """Writes ``dbt`` as users have it, a program for the PATH, into a folder; ``before`` is what it does at first."""
    (folder / "dbt").write_text(f"#!/bin/sh\n{before}\nexec {warm_python()} -c '{DBT}' \"$@\"\n")
    (folder / "dbt").chmod(0o755)


def ask(address: str, *command: str) -> int:
    """Has a command run; returns how it ended."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        order = {"command": command, "folder": str(Path.cwd()), "environment": dict(os.environ)}
        socket.send_fds(server, [json.dumps(order).encode()], [0, 1, 2])
        pid = int(server.recv(100))
        for number in SIGNALS:
            signal.signal(number, lambda number, _: os.kill(pid, number))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return int(server.recv(100))


def serve(address: str) -> str:
    """Returns the code of a command, in the child that is to run it."""
    # This folder, in which there is a dbt.py.
    del sys.path[0]
    import dbt.adapters.duckdb
    import dbt.cli.main
    import dbt.config.runtime
    import dbt.parser.manifest  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(100)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            client, _ = server.accept()
            if not os.fork():
                break
            client.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, files, _, _ = socket.recv_fds(client, 1 << 20, 3)
    pid = os.fork()
    if pid:
        client.send(str(pid).encode())
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        client.send(str(ended if ended >= 0 else 128 - ended).encode())
        os._exit(0)
    client.close()
    order = json.loads(text)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    option, code, *arguments = order["command"]
    sys.argv = [option, *arguments]
    sys.path.insert(0, "")
    return str(code)


if __name__ == "__main__":
    if sys.argv[2:]:
        sys.exit(ask(*sys.argv[1:]))
    # The rest of the interpreter's life is that of any command.
    exec(serve(sys.argv[1]), {"__name__": "__main__"})
