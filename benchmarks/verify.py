"""How long `dbt-pendo verify` takes, and how much memory: N visitors x 10 fields in DuckDB, and a Pendo that is fast.

Every thousandth record is missing in Pendo, the others are equal:

    python benchmarks/verify.py [--rows 200000 1000000]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import resource
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import orjson
import sink
from compare import timed
from visitors import DATABASE, FIELDS, MODEL, build, environment

# As the values are once Pendo has them: times in milliseconds.
SELECT = ", ".join(
    f"epoch_ms({column}::timestamp)" if kind == "time" else f"{column}::double" if kind == "float" else column
    for column, kind in FIELDS.values()
)
AFTER = re.compile(rb'visitorId>\\"(.*?)\\"')
PAGE = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000])
    for rows in parser.parse_args().rows:
        with tempfile.TemporaryDirectory() as folder:
            measure(rows, Path(folder) / "project")


def measure(rows: int, project: Path) -> None:
    build(project, rows)
    here, there = multiprocessing.Pipe()
    pendo = multiprocessing.Process(target=serve, args=(there, rows), daemon=True)
    pendo.start()
    env = environment(project, f"http://127.0.0.1:{here.recv()}")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    verified = timed([sys.executable, "-m", "dbt_pendo", "verify", "--json"], env, project)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = json.loads(verified.output)["results"][0]
    counts = {name: result[name] for name in ("status", "equal", "drifted", "missing", "only_in_pendo")}
    size = (project / DATABASE).stat().st_size / 2**20
    print(
        f"{rows:,} rows: {verified.seconds:.1f} s ({cpu:.1f} s of CPU), {verified.peak_mb:.0f} MB at the peak, "
        f"{size:.0f} MB of database; {counts}",
        flush=True,
    )
    pendo.terminate()
    pendo.join()


class Pendo(sink._Server):
    """Answers with a page of records, written before."""

    pages: dict[bytes, bytes]

    def answer(self, path: bytes, body: bytes) -> bytes:
        if path.endswith(b"/aggregation"):
            after = AFTER.search(body)
            return self.pages[after[1] if after else b""]
        return super().answer(path, body)


def serve(channel: Connection, rows: int) -> None:
    """Serves all records but each thousandth."""
    query = f"select user_id, {SELECT} from ({MODEL.format(rows=rows)}) order by user_id"
    records = []
    for at, (key, *values) in enumerate(duckdb.connect().execute(query).fetchall()):
        if at % 1000 == 1:
            continue
        custom = dict(zip(FIELDS, values, strict=True))
        records.append(orjson.dumps({"visitorId": key, "metadata": {"auto": {"id": key}, "custom": custom}}))
    pages, after = {}, b""
    for first in range(0, len(records), PAGE):
        page = records[first : first + PAGE]
        pages[after] = b'{"results":[%s]}' % b",".join(page)
        after = orjson.loads(page[-1])["visitorId"].encode()
    pages[after] = b'{"results":[]}'
    del records
    with Pendo(("127.0.0.1", 0), sink._Handler) as server:
        server.arrived, server.pages = [], pages
        channel.send(server.server_address[1])
        server.serve_forever()


if __name__ == "__main__":
    main()
