"""Forks runs of dbt-pendo from a process that has imported everything: a run starts in a fraction of a second.

Reads orders from stdin and answers on stdout, a JSON object a line each. A run is a real process of its own, with its
own signals, files and connections; it may be killed. `shrink` sets module constants in the run, so that small data has
many pages. `sabotage` lets something happen to the warehouse just before a certain call of a method of `SyncTables`.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import json
import os
import sys
import threading
import traceback
from typing import Any


def run(order: dict[str, Any]) -> int:
    """Runs the command line as its entry point does, in this process."""
    from dbt_pendo.cli import main

    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    for where, value in order["shrink"].items():
        module, _, name = where.rpartition(".")
        setattr(importlib.import_module(module), name, value)
    for plot in order["sabotage"]:
        sabotage(**plot)
    sys.argv = ["dbt-pendo", *order["args"]]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def sabotage(method: str, call: int, statements: list[str]) -> None:
    """Runs statements before a call of a method; the statement `close` closes the connection."""
    from dbt.adapters.factory import FACTORY

    from dbt_pendo.warehouse.ledger import SyncTables

    calls = itertools.count(1)
    original = getattr(SyncTables, method)

    def sabotaged(self: SyncTables, *args: Any, **options: Any) -> Any:
        if next(calls) == call:
            for statement in statements:
                if statement == "close":
                    FACTORY.adapters["duckdb"].connections.get_thread_connection().handle.close()
                else:
                    self._session.run(statement)
        return original(self, *args, **options)

    setattr(SyncTables, method, sabotaged)


def warm_up(order: dict[str, Any]) -> int:
    """Runs in this process, which imports all there is and fills dbt's caches; leaves no thread and no connection."""
    outputs = [os.dup(number) for number in (1, 2)]
    status = run(order)
    for number, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, number)
        os.close(output)
    # A database that is still open has threads, which no fork takes along.
    gc.collect()
    assert threading.active_count() == 1
    return status


def serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        elif "ended" in order:
            answer = {"ended": os.waitid(os.P_PID, order["ended"], os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None}
        elif order.get("warm_up"):
            answer = {"status": warm_up(order)}
        else:
            pid = os.fork()
            if pid == 0:
                status = 70
                try:
                    status = run(order)
                    sys.stdout.flush()
                    sys.stderr.flush()
                finally:
                    os._exit(status)
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
