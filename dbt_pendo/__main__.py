"""The process of ``dbt-pendo`` and of ``python -m dbt_pendo``."""

from __future__ import annotations

import os
import sys

from dbt_pendo.cli import main
from dbt_pendo.output.streams import lost_output, steady_streams


def run() -> None:
    """Runs the command line and ends the process.

    At once: all is closed by then, and Python would take a quarter of a second to free all that dbt loaded, one by one.
    """
    steady_streams()
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    lost_output(is_silent_about_readers=True)
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
