"""One run of a sync at a time, by the command line; the lock alone is tested in warehouse/contract/locks.py."""

import subprocess
import sys

import pytest
from lab import Lab, small_pages

from dbt_pendo.warehouse.lock import this_host

HELD = "create schema if not exists main_pendo; create table main_pendo.clicks__lock as select"


def hold(lab: Lab, host: str, pid: int, silent_for: int = 0) -> None:
    """Leaves a lock as another run would."""
    lab.only("clicks")
    lab.sql(
        f"{HELD} 'run-1' as run_id, '{host}' as host, {pid}::int as pid, "
        f"(now() at time zone 'UTC')::timestamp - interval {silent_for} second as seen_at"
    )


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_the_loser_says_who_holds_the_lock_and_sends_nothing(lab: Lab) -> None:
    hold(lab, "elsewhere", 4711, silent_for=100)
    result = lab.sync(status=1)["clicks"]
    assert result["status"] == "blocked"
    assert "run run-1 on elsewhere (process 4711)" in result["message"]
    assert "dbt-pendo unlock --select clicks" in result["message"]
    assert lab.sandbox.events == []
    # Nor did it take the lock away.
    assert "clicks__lock" in lab.tables()


@pytest.mark.parametrize("why", ["silent for long", "its process is gone"])
def test_a_dead_run_holds_nobody_up(lab: Lab, why: str) -> None:
    if why == "silent for long":
        hold(lab, "elsewhere", 1, silent_for=301)
    else:
        hold(lab, this_host(), dead_pid())
    assert lab.sync()["clicks"]["status"] == "success"
    assert not [table for table in lab.tables() if "__lock" in table]


def test_unlock_breaks_a_dead_runs_lock_only(lab: Lab) -> None:
    hold(lab, "elsewhere", 1, silent_for=400)
    lab.run("unlock").expect(0)
    assert "clicks__lock" not in lab.tables()

    hold(lab, "elsewhere", 1, silent_for=10)
    refused = lab.run("unlock").expect(1)
    assert "run-1" in refused.output
    assert "--force" in refused.output
    assert "clicks__lock" in lab.tables()

    lab.run("unlock", "--force").expect(0)
    assert "clicks__lock" not in lab.tables()
    assert lab.sync()["clicks"]["status"] == "success"


def test_a_sync_whose_lock_is_broken_stops_at_its_next_sign_of_life(lab: Lab) -> None:
    lab.only("clicks")
    names = lab.click(40)
    lab.shrink = {**small_pages(10), "dbt_pendo.warehouse.lock.SyncLock.renew_every": 0.0}
    lab.sabotage("commit", "drop table main_pendo.clicks__lock")

    result = lab.sync(status=1)["clicks"]

    assert result["status"] == "error"
    assert "was broken" in result["message"]
    # What it had sent by then is in the ledger all the same.
    assert 0 < result["delivered"] < 40
    assert lab.statuses("clicks") == dict.fromkeys(lab.sandbox_event_ids(), "delivered")
    lab.plots.clear()
    lab.sync()
    assert sorted(lab.sandbox_event_ids()) == sorted(names)
