"""The process of ``dbt-pendo`` and of ``python -m dbt_pendo``."""

from __future__ import annotations

import contextlib
import os
import sys

from dbt_pendo.cli import main


def run() -> None:
    """Runs the command line and ends the process.

    At once: all is closed by then, and Python would take a quarter of a second to free all that dbt loaded, one by one.
    """
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    for stream in (sys.stdout, sys.stderr):
        # Whoever read it may be gone.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
