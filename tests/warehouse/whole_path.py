"""The whole way, and a kill in its midst; an engine's test file imports these tests beside the contract's."""

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from acme import ROWS, Acme
from engine import Engine
from harness import chosen

from dbt_pendo.sandbox import Sandbox

CONCURRENCY = 4
# Writes each statement of a run to a file, but for those that begin and end a transaction.
WRITE_DOWN = """
from pathlib import Path
from dbt.adapters.sql.connections import SQLConnectionManager
add_query = SQLConnectionManager.add_query
def write_down(self, sql, *args, **kwargs):
    if sql not in ("BEGIN", "COMMIT"):
        with Path("statements.txt").open("a") as file:
            file.write(" ".join(sql.split()) + chr(10))
    return add_query(self, sql, *args, **kwargs)
SQLConnectionManager.add_query = write_down
"""
# Of a run: its connection, the lists of both schemas, whose the ledgers are, the run log; at first also what it makes.
OF_A_RUN = 5
CREATED_BY_A_RUN = 7

__all__ = ["TestPath", "acme"]


@pytest.fixture
def acme(engine: Engine, tmp_path: Path) -> Iterator[Acme]:
    with Sandbox(switches=chosen()) as sandbox:
        project = Acme(engine, tmp_path / "acme", f"p{uuid.uuid4().hex[:12]}", sandbox)
        project.build()
        yield project
    project.drop()


class TestPath:
    def test_check_plan_and_syncs_and_the_models_of_the_package(self, acme):
        acme.install_package()
        # Before the first sync there is nothing for them to read, and their own tests pass.
        acme.build()
        assert acme.read("select sync from {pendo_held_rows}") == []
        assert [sync["status"] for sync in acme.run("check")["results"]] == ["success", "success"]
        assert [sync["planned"]["added"] for sync in acme.run("plan")["results"]] == [ROWS, ROWS]

        results = acme.sync()
        assert {name: result["delivered"] for name, result in results.items()} == {"visitors": ROWS, "events": ROWS}
        acme.check_pendo()

        acme.sandbox.forget_requests()
        again = acme.sync()
        assert {name: one["planned"]["unchanged"] for name, one in again.items()} == {"visitors": ROWS, "events": ROWS}
        assert not [request for request in acme.sandbox.requests if request.method == "POST"]

        # One changed, one gone, one new.
        acme.seed({**{name: count for name, count in acme.seats.items() if name != "v3"}, "v5": 9, "v99": 1})
        acme.sandbox.add_visitors(["v99"])
        acme.build()
        last = acme.sync()["visitors"]
        assert last["planned"] == {"added": 1, "changed": 1, "removed": 1, "unchanged": 58, "invalid": 0, "held": 0}
        acme.check_pendo()

        acme.seed({**acme.seats, "v97": 8, "v98": 9})
        acme.build()
        # Events would make visitors of those that Pendo does not know.
        acme.run("sync", "--select", "visitors")
        acme.build()
        days = acme.read(
            "select sync, runs, delivered, missing, rejected, delivery_rate from {pendo_delivery_by_day} order by sync"
        )
        assert [(sync, *map(float, numbers)) for sync, *numbers in days] == [
            ("events", 3, ROWS + 1, 0, 0, 1),
            ("visitors", 4, ROWS + 3, 2, 0, pytest.approx((ROWS + 3) / (ROWS + 5))),
        ]
        held = acme.read("select sync, status, reason, row_count, most_attempts, example_key from {pendo_held_rows}")
        assert held == [("visitors", "missing", "Pendo does not know this id", 2, 1, "v97")]

    def test_a_sync_takes_few_statements(self, acme):
        written = acme.folder / "statements.txt"

        def count(*flags):
            written.unlink(missing_ok=True)
            acme.start("sync", "--json", *flags, prelude=WRITE_DOWN).wait().expect(0)
            return written.read_text().splitlines()

        first, unchanged, changed = acme.engine.statements
        made = count()
        assert len(made) <= 2 * first + OF_A_RUN + CREATED_BY_A_RUN, made
        made = count()
        assert len(made) <= 2 * unchanged + OF_A_RUN, made
        # BigQuery bills each look for 10 MB of each table: one at the lock to give it back, and none at past runs.
        looks = [sql for sql in made if sql.startswith("select")]
        assert len([sql for sql in looks if "__lock" in sql]) <= 2, looks
        assert not [sql for sql in looks if "pendo_runs" in sql], looks
        acme.seed({**acme.seats, "v5": 9})
        acme.build()
        made = count("--select", "visitors")
        assert len(made) <= changed + OF_A_RUN, made

    def test_a_kill_in_the_midst_loses_nothing(self, acme):
        acme.sandbox.switches = chosen(latency_ms=(20, 40))
        run = acme.start("sync", "--json", "--select", "events")
        while len(acme.sandbox.events) < ROWS // 3 and not run.has_ended():
            time.sleep(0.002)
        run.kill()

        results = acme.sync()

        # What the dead run had been told of is not sent again; of what was in flight nobody knows.
        sent = Counter(event["properties"]["id"] for event in acme.sandbox.events)
        assert set(sent) == set(acme.seats)
        assert sent.total() - ROWS <= CONCURRENCY
        assert results["events"]["delivered"] < ROWS - ROWS // 3 + CONCURRENCY
        assert [result["planned"]["added"] for result in acme.sync().values()] == [0, 0]
