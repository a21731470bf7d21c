"""One million visitors x 10 fields on DuckDB, against a sink that answers at once.

Shows rows a second from change set to commit, and what a second run without a change costs beyond
`dbt-pendo --version` plus opening the adapter:

    python benchmarks/sync_million.py [--rows 1000000]

The sink is a process of its own that takes every bulk call and says that all was well.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socketserver
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb

PROJECT = """
name: bench
version: "1.0"
config-version: 2
profile: bench
"""
PROFILES = """
bench:
  target: dev
  outputs:
    dev: {{type: duckdb, path: "{path}", schema: main, threads: 2}}
"""
MODEL = """
{{{{ config(materialized='table') }}}}
select
    'user-' || i as user_id,
    'plan ' || (i % 5) as plan,
    'name ' || i as full_name,
    'user' || i || '@example.com' as email,
    i % 90 as seats,
    i * 1.5 as mrr,
    i % 2 = 0 as is_admin,
    timestamp '2026-01-01' + to_seconds(i) as seen_at,
    date '2026-01-01' + (i % 300)::int as signed_up_on,
    case when i % 3 = 0 then null else 'team ' || (i % 40) end as team,
    (i * 0.01)::decimal(18, 2) as credit
from range({rows}) t(i)
"""
FIELDS = {
    "plan": ("plan", "string"),
    "name": ("full_name", "string"),
    "email": ("email", "string"),
    "seats": ("seats", "integer"),
    "mrr": ("mrr", "float"),
    "admin": ("is_admin", "boolean"),
    "seen": ("seen_at", "time"),
    "signedup": ("signed_up_on", "time"),
    "team": ("team", "string"),
    "credit": ("credit", "float"),
}
OPEN_ADAPTER = """
import sys, pathlib
from dbt_pendo.warehouse.session import Connection, open_session
with open_session(Connection(pathlib.Path(sys.argv[1]))):
    pass
"""
SCHEMA = {"custom": {name: {"Type": kind, "DisplayName": name} for name, (_, kind) in FIELDS.items()}}


class Sink(socketserver.StreamRequestHandler):
    """Reads requests as fast as it can, and answers each as Pendo would if all went well."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        while line := self.rfile.readline():
            path = line.split()[1]
            length = 0
            while (header := self.rfile.readline()) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            records = self.rfile.read(length).count(b'"visitorId"')
            if path.endswith(b"/schema/visitor"):
                body = json.dumps(SCHEMA).encode()
            elif path.endswith(b"/verify"):
                body = b'{"valid":true,"writeAccess":true}'
            else:
                body = b'{"total":%d,"updated":%d,"failed":0}' % (records, records)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def run_sink(channel: Connection) -> None:
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Sink) as server:
        channel.send(server.server_address[1])
        server.serve_forever()


def timed(command: list[str], env: dict[str, str]) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    here, there = multiprocessing.Pipe()
    sink = multiprocessing.Process(target=run_sink, args=(there,), daemon=True)
    sink.start()
    url = f"http://127.0.0.1:{here.recv()}"
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "models").mkdir()
        (project / "dbt_project.yml").write_text(PROJECT)
        (project / "profiles.yml").write_text(PROFILES.format(path=project / "bench.duckdb"))
        (project / "models" / "visitors.sql").write_text(MODEL.format(rows=rows).replace("{{{{", "{{"))
        meta = {
            "object": "visitor",
            "visitor_id": "user_id",
            "fields": {k: column for k, (column, _) in FIELDS.items()},
        }
        schema = {"models": [{"name": "visitors", "config": {"meta": {"pendo": meta}}}]}
        (project / "models" / "schema.yml").write_text(json.dumps(schema))
        env = {
            **os.environ,
            "DBT_PROJECT_DIR": folder,
            "DBT_PROFILES_DIR": folder,
            "PENDO_API_URL": url,
            "PENDO_INTEGRATION_KEY": "sink",
        }
        python = sys.executable
        timed([python, "-c", "from dbt.cli.main import cli; cli()", "build", "--quiet"], env)
        pendo = [python, "-m", "dbt_pendo"]
        _, first = timed([*pendo, "sync", "--json"], env)
        result = json.loads(first)["results"][0]
        assert result["delivered"] == rows, result
        print(f"{rows:,} rows delivered in {result['duration']:.1f} s with the plan, {result['requests']:,} requests")
        with duckdb.connect(str(project / "bench.duckdb")) as connection:
            # From the change set to the last commit: the ledger's own clock, less the one page before the first commit.
            first_commit, last_commit, pages = connection.execute(
                "select min(logged_at), max(logged_at), count(distinct logged_at) from main_pendo.visitors__ledger"
            ).fetchone()
        delivering = (last_commit - first_commit).total_seconds() * pages / (pages - 1)
        print(
            f"from change set to commit: {delivering:.1f} s = {rows / delivering:,.0f} rows a second (at least 100,000)"
        )
        version, _ = timed([*pendo, "--version"], env)
        opening, _ = timed([python, "-c", OPEN_ADAPTER, folder], env)
        second, output = timed([*pendo, "sync", "--json"], env)
        again = json.loads(output)["results"][0]
        assert again["planned"]["unchanged"] == rows, again
        assert again["delivered"] == 0, again
        print(
            f"second run without a change: {second:.1f} s; `--version` {version:.1f} s and opening the adapter "
            f"{opening:.1f} s leave {second - version - opening:.1f} s (at most 3)"
        )
    sink.terminate()


if __name__ == "__main__":
    main()
