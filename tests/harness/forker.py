"""A process that has all of dbt and dbt-pendo imported forks one for each command: it starts in a fraction of a second.

An order comes over a socket: JSON, and the files that become stdin, stdout and stderr. Who gave it is told the pid,
each time that the command is stopped, and at last how it ended, a line each. A command is a real process of its own,
with its own signals, files and connections; it may be killed.

``forker.py ADDRESS -c CODE ARGUMENTS`` gives an order and lends the command its files, folder, environment and signals:
to whoever starts it, it is ``python -c CODE ARGUMENTS``.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# To be parsed for the sake of what dbt keeps of it.
PROJECT = {
    "dbt_project.yml": "{name: warm, version: '1.0.0', model-paths: [.]}",
    "model.sql": "select 1 as id",
    "model.yml": "models: [{name: model, columns: [{name: id, data_tests: [not_null]}]}]",
}


def order(address: str, files: Sequence[int], **order: Any) -> TextIO:
    """Gives an order; returns what is told of the command."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [json.dumps(order).encode()], files)
        return server.makefile()


def status_of(told: TextIO) -> int:
    """Waits for the end of a command."""
    return int(next(line for line in told if line != "stopped\n"))


def stand_in_front(address: str, option: str, code: str, *args: str) -> int:
    """Has a command run in place of this process; returns its exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    place = {"env": dict(os.environ), "cwd": str(Path.cwd()), "adapter": "duckdb"}
    told = order(address, [0, 1, 2], code=code, argv=[option, *args], **place)
    pid = int(next(told))
    for number in SIGNALS:
        signal.signal(number, lambda number, _: os.kill(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    status = status_of(told)
    return status if status >= 0 else 128 - status


def enter(order: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])


def run(order: dict[str, Any], files: Sequence[int]) -> NoReturn:
    """Runs code as a Python of its own would, and ends this process at once: to free all takes long."""
    status: Any = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        enter(order)
        if "PYTHONIOENCODING" in os.environ:
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(encoding=os.environ["PYTHONIOENCODING"])  # type: ignore[union-attr]
        sys.argv = order["argv"]
        exec(order["code"], {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def import_all() -> None:
    import dbt.cli.main
    import dbt.config.runtime
    import dbt.parser.manifest  # noqa: F401
    import parsedatetime

    import dbt_pendo

    # Made thrice for each answer of the warehouse.
    parsedatetime.Constants = functools.cache(parsedatetime.Constants)

    for module in pkgutil.walk_packages(dbt_pendo.__path__, "dbt_pendo."):
        importlib.import_module(module.name)


def warm_up(order: dict[str, Any]) -> None:
    """Parses dbt's macros and ours once, for the adapter of a project; leaves no thread and no connection."""
    import yaml
    from dbt.cli.main import dbtRunner
    from dbt_common.clients.jinja import template_cache
    from dbt_common.events.event_manager_client import ctx_set_event_manager, get_event_manager
    from dbt_common.tests import enable_test_caching

    from dbt_pendo.warehouse.adapter import _MACROS, Connection, load_adapter

    if order["adapter"] in _MACROS:
        return
    importlib.import_module(f"dbt.adapters.{order['adapter']}")
    events = get_event_manager()
    folder = Path(order["env"].get("DBT_PROFILES_DIR", order["cwd"]))
    enter(order)
    # dbt's own way to parse the same macro once.
    enable_test_caching()
    # What is wrong with a profile is the run's own to tell.
    with contextlib.suppress(Exception), tempfile.TemporaryDirectory() as scratch:
        with load_adapter(Connection(folder, folder)):
            for macro in _MACROS[order["adapter"]].macros.values():
                template_cache.get_node_template(macro)
        for name, text in PROJECT.items():
            Path(scratch, name).write_text(text)
        profile = next(iter(yaml.safe_load((folder / "profiles.yml").read_text())))
        places = ["--project-dir", scratch, "--profiles-dir", str(folder), "--log-path", scratch]
        # The static parser starts threads, which would not be in a fork.
        flags = ["--quiet", "--no-send-anonymous-usage-stats", "--no-static-parser"]
        dbtRunner().invoke([*flags, "parse", *places, "--profile", profile])
    # Ours drops all that dbt has to say, and dbt's says it on the stdout of before.
    ctx_set_event_manager(events)
    gc.collect()
    # Nor need a fork look through all of it for garbage, which would also copy it.
    gc.freeze()
    assert threading.active_count() == 1


def tell_of(running: dict[int, socket.socket]) -> None:
    """Tells of the commands that were stopped or have ended."""
    for pid, client in list(running.items()):
        changed, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if changed:
            told = "stopped" if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
            if told != "stopped":
                del running[pid]
            # Nobody may be there any more.
            with contextlib.suppress(OSError):
                client.sendall(f"{told}\n".encode())


def serve(address: str) -> None:
    """Runs commands until its stdin ends."""
    import_all()
    running: dict[int, socket.socket] = {}
    # A command that stops or ends wakes the server.
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(100)
        print("ready", flush=True)  # noqa: T201
        while sys.stdin not in (ready := select.select([sys.stdin, server, woken], [], [])[0]):
            if woken in ready:
                woken.recv(1000)
                tell_of(running)
            if server in ready:
                client, _ = server.accept()
                text, files, _, _ = socket.recv_fds(client, 1 << 20, 3)
                order = json.loads(text)
                warm_up(order)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    run(order, files)
                for file in files:
                    os.close(file)
                running[pid] = client
                with contextlib.suppress(OSError):
                    client.sendall(f"{pid}\n".encode())


if __name__ == "__main__":
    if sys.argv[2:]:
        sys.exit(stand_in_front(*sys.argv[1:]))
    # This folder has modules of its own.
    sys.path.pop(0)
    serve(sys.argv[1])
    os._exit(0)
