"""One run of a sync at a time, by the command line; the lock alone is tested in warehouse/contract/locks.py."""

from lab import Lab, small_pages


def hold(lab: Lab, silent_for: int) -> None:
    """Leaves a lock as a run elsewhere would."""
    lab.only("clicks")
    lab.sql(
        "create schema if not exists main_pendo; create table main_pendo.clicks__lock as "
        "select 'run-1' as run_id, 'elsewhere' as host, 4711 as pid, "
        f"(now() at time zone 'UTC')::timestamp - interval '{silent_for} seconds' as seen_at"
    )


def test_the_loser_says_who_holds_the_lock_and_sends_nothing(lab):
    hold(lab, silent_for=100)
    result = lab.sync(status=1)["clicks"]
    assert result["status"] == "blocked"
    assert "run run-1 on elsewhere (process 4711)" in result["message"]
    assert "dbt-pendo unlock --select clicks" in result["message"]
    assert lab.sandbox.events == []
    # Nor did it take the lock away.
    assert "clicks__lock" in lab.tables()


def test_unlock_breaks_a_dead_runs_lock_only(lab):
    hold(lab, silent_for=400)
    lab.run("unlock").expect(0)
    assert "clicks__lock" not in lab.tables()

    hold(lab, silent_for=10)
    refused = lab.run("unlock").expect(1)
    assert "run-1" in refused.output
    assert "--force" in refused.output
    assert "clicks__lock" in lab.tables()

    lab.run("unlock", "--force").expect(0)
    assert "clicks__lock" not in lab.tables()
    assert lab.sync()["clicks"]["status"] == "success"


def test_a_sync_whose_lock_is_broken_stops_at_its_next_sign_of_life(lab):
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
