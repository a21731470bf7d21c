"""Forks runs of dbt and of dbt-pendo from a process that has all imported: a run starts in a fraction of a second.

Reads orders from stdin and answers on stdout, a JSON object a line each. A run is a real process of its own, with its
own signals, files and connections; it may be killed. The prelude of a run is Python for it to execute at first.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn


def enter(order: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])


def run(order: dict[str, Any]) -> NoReturn:
    """Runs a command line as its entry point does, and ends this process."""
    status: Any = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(order["outputs"], start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
        enter(order)
        if "PYTHONIOENCODING" in os.environ:
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(encoding=os.environ["PYTHONIOENCODING"])  # type: ignore[union-attr]
        exec(order["prelude"], {})
        sys.argv = [order["program"], *order["args"]]
        if order["program"] == "dbt":
            from dbt.cli.main import cli

            cli()
        else:
            from dbt_pendo.__main__ import run as run_dbt_pendo

            run_dbt_pendo()
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

    import dbt_pendo

    for module in pkgutil.walk_packages(dbt_pendo.__path__, "dbt_pendo."):
        importlib.import_module(module.name)


def warm_up(order: dict[str, Any]) -> None:
    """Parses the macros for the adapter of a project, dbt's and ours; leaves no thread and no connection."""
    from dbt_common.clients.jinja import template_cache
    from dbt_common.events.event_manager_client import ctx_set_event_manager, get_event_manager

    from dbt_pendo.warehouse.adapter import _MACROS, Connection, load_adapter

    if order["adapter"] in _MACROS:
        return
    importlib.import_module(f"dbt.adapters.{order['adapter']}")
    events = get_event_manager()
    folder = Path(order["cwd"])
    enter(order)
    # What is wrong with a profile is the run's own to tell.
    with contextlib.suppress(Exception), load_adapter(Connection(folder, folder)):
        for macro in _MACROS[order["adapter"]].macros.values():
            template_cache.get_node_template(macro)
    # Ours drops all that dbt has to say.
    ctx_set_event_manager(events)
    gc.collect()
    assert threading.active_count() == 1


def serve() -> None:
    import_all()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        elif "look" in order:
            answer = {"found": os.waitid(os.P_PID, order["look"], order["options"]) is not None}
        else:
            warm_up(order)
            pid = os.fork()
            if pid == 0:
                run(order)
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    # This folder has modules of its own.
    sys.path.pop(0)
    serve()
