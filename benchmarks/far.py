"""Many syncs on a far warehouse: each statement takes a while before the adapter runs it.

20 syncs of 1,000 visitors each, with eight threads: a first load, then nothing changed, then one row in a hundred
changed. Prints the seconds of the whole process and how many statements a sync took:

    python benchmarks/far.py [--syncs 20] [--delay 250] [--threads 8] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import visitors
from sink import Sink

ROWS = 1_000
# Cases in the order of their runs, and the most seconds and statements a sync that each may take.
CASES = {"first load": (20, 13), "nothing changed": (10, 6), "1 % changed": (15, 9)}
# The command line of dbt-pendo, whose adapter waits before each statement; what begins and ends a transaction is none.
FAR = """
import itertools, os, sys, time
from dbt.adapters.sql.connections import SQLConnectionManager
run, seconds, statements = SQLConnectionManager.add_query, float(os.environ["FAR_MS"]) / 1000, itertools.count()
def run_late(self, sql, *args, **kwargs):
    if sql not in ("BEGIN", "COMMIT"):
        next(statements)
        time.sleep(seconds)
    return run(self, sql, *args, **kwargs)
SQLConnectionManager.add_query = run_late
from dbt_pendo import __main__
end = os._exit
def count_and_end(status):
    print(next(statements), file=sys.stderr, flush=True)
    end(status)
os._exit = count_and_end
__main__.run()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--syncs", type=int, default=20)
    parser.add_argument("--delay", type=int, default=250, help="milliseconds a statement")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    measured = [run(options.syncs, options.delay, options.threads) for _ in range(options.runs)]
    print(f"{options.syncs} syncs, {options.delay} ms a statement, {options.threads} threads:")
    for case, (most_seconds, most_statements) in CASES.items():
        seconds, statements = zip(*(one[case] for one in measured), strict=True)
        print(
            f"{case}: {statistics.median(seconds):.1f} s (at most {most_seconds}), "
            f"{statistics.median(statements) / options.syncs:.1f} statements a sync (at most {most_statements})"
        )


def run(syncs: int, delay: int, threads: int) -> dict[str, tuple[float, int]]:
    """Returns the seconds and the statements of each case."""
    with tempfile.TemporaryDirectory() as folder, Sink() as sink:
        project = Path(folder) / "project"
        names = [f"visitors_{at:02}" for at in range(syncs)]
        models = {name: (visitors.MODEL.format(rows=ROWS), visitors.PENDO) for name in names}
        visitors.build_project(
            project, models, visitors.duckdb_output(project / visitors.DATABASE) | {"threads": threads}
        )
        env = visitors.environment(project, sink.url) | {"FAR_MS": str(delay)}
        measured = {}
        for case in CASES:
            if case == "1 % changed":
                visitors.apart(change_hundredth, project / visitors.DATABASE, names)
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", FAR, "sync", "--json"], env=env, cwd=project, capture_output=True, text=True
            )
            seconds = time.perf_counter() - started
            if done.returncode:
                sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
            delivered = sum(result["delivered"] for result in json.loads(done.stdout)["results"])
            expected = syncs * {"first load": ROWS, "nothing changed": 0, "1 % changed": ROWS // 100}[case]
            assert delivered == expected == sink.take_counts().rows, (case, delivered, expected)
            measured[case] = seconds, int(done.stderr.splitlines()[-1])
            print(f"{case}: {seconds:.1f} s, {measured[case][1]} statements", file=sys.stderr)
        return measured


def change_hundredth(database: Path, names: list[str]) -> None:
    """Changes one value in every hundredth row of some tables."""
    for name in names:
        visitors.execute(database, f"update {name} set plan = 'changed' where substr(user_id, 6)::bigint % 100 = 7")


if __name__ == "__main__":
    main()
