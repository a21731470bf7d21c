"""dbt-pendo beside drt, dlt and a script that does the least: N visitors x 10 fields from DuckDB to a sink.

Each tool runs as a whole process on a fresh copy of the same DuckDB file, in turn with the others, in batches of 500
and over four connections where it has them (drt has one). Time is from the start of the process to its end; memory is
the peak of its largest process. What landed is counted by the sink, and has to be every row:

    python benchmarks/compare.py [--rows 10000 100000 1000000 5000000] [--runs 3] [--only dbt-pendo floor]

A run of more than 20 seconds is not repeated. `make bench` builds the environments of drt and dlt.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import visitors
from rivals import drt_project
from sink import Counts, Sink

ROOT = Path(__file__).resolve().parent.parent
RIVALS = ROOT / "benchmarks" / "rivals"
DRT, DLT = ROOT / ".venv-drt" / "bin", ROOT / ".venv-dlt" / "bin"
PENDO = [sys.executable, "-m", "dbt_pendo"]
LONG = 20
OFFLINE_MODELS = 2_000
# Ends at once when the adapter is open, as dbt-pendo ends: Python would take another 0.4 s to free what dbt loaded.
OPEN_ADAPTER = """
import os, pathlib, sys
from dbt_pendo.cli import collect_rarely
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.session import open_session
collect_rarely()
with open_session(Connection(pathlib.Path(sys.argv[1]))):
    os._exit(0)
"""
# Modules of dbt, as `-X importtime` names them; dbt_pendo is none.
DBT_MODULE = re.compile(r"\| +(?:dbt|dbt_common|dbtlabs)(?:\.\S+)?$", re.MULTILINE)


@dataclass(frozen=True)
class Process:
    """How a process went."""

    seconds: float
    # Seconds of processors, in all.
    cpu: float
    peak_mb: float
    output: str
    complaints: str


@dataclass(frozen=True)
class Place:
    """A fresh copy of the project with its DuckDB file, and the sink to send to."""

    project: Path
    rows: int
    sink: Sink

    @property
    def database(self) -> Path:
        return self.project / visitors.DATABASE

    @property
    def bulk_url(self) -> str:
        return f"{self.sink.url}/api/v1/metadata/visitor/custom/value"


# What one run of a tool yields: the case, and its figures.
Figures = Iterator[tuple[str, dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 5_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="TOOL", help=", ".join(TOOLS))
    parser.add_argument("--plan-rows", type=int, default=10_000_000, help="rows of `dbt-pendo plan` alone; 0 for none")
    parser.add_argument("--out", type=Path, default=Path("benchmark.json"))
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "versions": versions(options.only), "measured": []}
    with tempfile.TemporaryDirectory() as scratch, Sink() as sink:
        for rows in options.rows:
            built = Path(scratch) / f"built_{rows}"
            visitors.build(built, rows)
            results["measured"] += compare(built, rows, sink, options.only, options.runs)
            if rows == options.rows[0]:
                results["check"] = check_offline(built, options.runs)
                results["start"] = start(built, options.runs)
            shutil.rmtree(built)
            options.out.write_text(json.dumps(results, indent=2))
        if options.plan_rows:
            results["plan"] = plan(Path(scratch) / "plan", options.plan_rows, sink)
    options.out.write_text(json.dumps(results, indent=2))
    print(report.text(results))


def compare(built: Path, rows: int, sink: Sink, tools: Sequence[str], runs: int) -> list[dict[str, Any]]:
    """Runs each tool so often, in turn, and returns the figures of each tool and case, a list of one a run."""
    measured: dict[tuple[str, str], dict[str, Any]] = {}
    tired: set[str] = set()
    for run in range(runs):
        for tool in tools:
            if tool in tired:
                continue
            with tempfile.TemporaryDirectory() as folder:
                project = Path(folder) / "project"
                shutil.copytree(built, project)
                visitors.point_at(project, visitors.duckdb_output(project / visitors.DATABASE))
                for case, figures in TOOLS[tool](Place(project, rows, sink)):
                    print(f"{rows:,} rows, run {run + 1}: {tool}, {case}: {figures['seconds']:.2f} s", file=sys.stderr)
                    of_case = measured.setdefault((tool, case), {"rows": rows, "tool": tool, "case": case})
                    for name, figure in figures.items():
                        of_case.setdefault(name, []).append(figure)
                    if figures["seconds"] > LONG:
                        tired.add(tool)
    return list(measured.values())


def run_dbt_pendo(place: Place) -> Figures:
    """First load, nothing changed, and one row in a thousand changed, one after the other."""
    env = visitors.environment(place.project, place.sink.url)
    sync = [*PENDO, "sync", "--json"]
    first, counts = sent(place.sink, sync, env, place.project, wanted=place.rows)
    delivering = visitors.apart(visitors.seconds_delivering, place.database)
    yield "first load", {**figures(first, counts), "delivering": delivering}
    again, counts = sent(place.sink, sync, env, place.project, wanted=0)
    assert not counts.requests, counts
    yield "nothing changed", figures(again, counts)
    visitors.apart(visitors.change_thousandth, place.database)
    changed, counts = sent(place.sink, sync, env, place.project, wanted=len(range(7, place.rows, 1000)))
    yield "0.1 % changed", figures(changed, counts)


def run_limited(place: Place) -> Figures:
    """The same, with a limit to DuckDB's memory in the profile; without one it keeps every block that it has read."""
    limit_memory(place.project)
    yield from run_dbt_pendo(place)


def limit_memory(project: Path) -> None:
    """Writes a limit to DuckDB's memory into the profile."""
    output = visitors.duckdb_output(project / visitors.DATABASE)
    visitors.point_at(project, output | {"settings": {"memory_limit": report.MEMORY_LIMIT}})


def run_floor(place: Place) -> Figures:
    command = [sys.executable, str(RIVALS / "floor.py"), str(place.database), place.bulk_url, visitors.select()]
    yield "first load", figures(*sent(place.sink, command, os.environ, place.project, wanted=place.rows))


def run_drt(records: str) -> Callable[[Place], Figures]:
    def run(place: Place) -> Figures:
        project = place.project / "drt"
        drt_project.write(project, place.database, place.bulk_url, records)
        env = {**os.environ, "HOME": str(project), "DO_NOT_TRACK": "1"}
        yield "first load", figures(*sent(place.sink, [str(DRT / "drt"), "run"], env, project, wanted=place.rows))

    return run


def run_dlt(file_format: str) -> Callable[[Place], Figures]:
    def run(place: Place) -> Figures:
        script = [str(DLT / "python"), str(RIVALS / "dlt_visitors.py"), str(place.database), place.bulk_url]
        command = [*script, visitors.select(), file_format, str(place.rows), str(place.project / "dlt")]
        yield "first load", figures(*sent(place.sink, command, os.environ, place.project, wanted=place.rows))

    return run


TOOLS: Mapping[str, Callable[[Place], Figures]] = {
    report.OURS: run_dbt_pendo,
    report.LIMITED: run_limited,
    "floor": run_floor,
    "drt": run_drt("rows"),
    "drt, JSON by DuckDB": run_drt("text"),
    "dlt, typed-jsonl": run_dlt("typed-jsonl"),
    "dlt, parquet": run_dlt("parquet"),
}


def check_offline(built: Path, runs: int) -> dict[str, Any]:
    """Times `dbt-pendo check --offline` on a manifest of many models, and looks whether it imports dbt."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        shutil.copytree(built, project, ignore=shutil.ignore_patterns("*.duckdb"))
        manifest = project / "target" / "manifest.json"
        manifest.write_text(json.dumps(visitors.offline_manifest(json.loads(manifest.read_text()), OFFLINE_MODELS)))
        env = visitors.environment(project, "")
        check = ["-m", "dbt_pendo", "check", "--offline"]
        seconds = [timed([sys.executable, *check], env, project).seconds for _ in range(runs)]
        imports = timed([sys.executable, "-X", "importtime", *check], env, project).complaints
    return {"models": OFFLINE_MODELS, "seconds": seconds, "dbt_imported": bool(DBT_MODULE.search(imports))}


def start(built: Path, runs: int) -> dict[str, list[float]]:
    """Returns the CPU time that every run pays before it reads a row: Python with dbt-pendo, and dbt's adapter."""
    env = visitors.environment(built, "")
    commands = {"version": [*PENDO, "--version"], "adapter": [sys.executable, "-c", OPEN_ADAPTER, str(built)]}
    # The first of them makes the cache.
    return {name: [timed(command, env, built).cpu for _ in range(runs + 1)][1:] for name, command in commands.items()}


def plan(project: Path, rows: int, sink: Sink) -> dict[str, Any]:
    """Times `dbt-pendo plan` of a first load, with a limit to DuckDB's memory."""
    visitors.build(project, rows)
    limit_memory(project)
    planned = timed([*PENDO, "plan"], visitors.environment(project, sink.url), project)
    return {"rows": rows, "seconds": planned.seconds, "peak_mb": planned.peak_mb}


def sent(
    sink: Sink, command: Sequence[str], env: Mapping[str, str], folder: Path, wanted: int
) -> tuple[Process, Counts]:
    """Runs a tool and returns what arrived; it has to be so many rows."""
    sink.take_counts()
    process = timed(command, env, folder)
    counts = sink.take_counts()
    assert counts.rows == wanted, (
        f"{command}: {counts} instead of {wanted} rows\n{process.output[-2000:]}{process.complaints[-2000:]}"
    )
    return process, counts


def timed(command: Sequence[str], env: Mapping[str, str], folder: Path) -> Process:
    """Runs a process to its end."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as complaints:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=output, stderr=complaints)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        # Popen would otherwise look for a process that wait4 has already seen off.
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0), complaints.seek(0)
        printed, complained = output.read(), complaints.read()
    if status:
        sys.exit(f"{' '.join(command)}\n{printed[-2000:]}{complained[-2000:]}")
    return Process(seconds, usage.ru_utime + usage.ru_stime, peak_mb(usage), printed, complained)


def peak_mb(usage: resource.struct_rusage) -> float:
    """Returns the largest resident set in MB; macOS counts it in bytes, Linux in KiB."""
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def figures(process: Process, counts: Counts) -> dict[str, Any]:
    return {
        "seconds": process.seconds,
        "peak_mb": process.peak_mb,
        "requests": counts.requests,
        "landed": counts.rows,
        "bytes": counts.bytes,
    }


def machine() -> dict[str, Any]:
    return {
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
    }


def versions(tools: Sequence[str]) -> dict[str, str]:
    """Returns what is compared, each in the environment it runs in."""
    found = {name: importlib.metadata.version(name) for name in ("dbt-pendo", "dbt-core", "dbt-duckdb", "duckdb")}
    for package, folder in (("drt-core", DRT), ("dlt", DLT)):
        if any(tool.startswith(package[:3]) for tool in tools):
            if not folder.exists():
                sys.exit(f"{folder.parent.name} is missing: `make bench` builds it.")
            ask = f"import importlib.metadata; print(importlib.metadata.version('{package}'), end='')"
            found[package] = subprocess.run(
                [str(folder / "python"), "-c", ask], check=True, capture_output=True, text=True
            ).stdout
    return found


if __name__ == "__main__":
    main()
