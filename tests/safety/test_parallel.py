"""Several syncs under way at once: each counts and logs its own, and all end well when they fail or are interrupted."""

import json
import signal
from collections import Counter

import pytest
from harness import chosen, writes
from lab import MODELS, Lab, small_pages, wait_until

from dbt_pendo.sandbox import Fault

ROWS = 60
SYNCS = ("clicks", "companies", "people", "views")
SIDE_BY_SIDE = ("--threads", "8")
# What the requests of a sync have in their paths, or bodies where those are the same.
MARKS = {"clicks": '"Clicked"', "companies": '"accountId"', "people": '"values"', "views": '"Viewed"'}


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """Some rows of everything; Pendo knows none of the people, whom the events make known."""
    lab.fill("people", [(f"p{at}", "free", 1.5) for at in range(ROWS)])
    lab.fill("companies", [(f"c{at}", "Acme") for at in range(ROWS)])
    for model in ("clicks", "views"):
        lab.fill(model, [(f"{'k' if model == 'clicks' else 'v'}{at}", f"p{at}") for at in range(ROWS)])
    lab.shrink = small_pages(20)
    return lab


def sent(lab: Lab) -> dict[str, list[str]]:
    """The bodies of each sync's writes, by the sync."""
    found: dict[str, list[str]] = {sync: [] for sync in SYNCS}
    for request in writes(lab.sandbox.requests):
        text = request.body.decode()
        (sync,) = [sync for sync in ("clicks", "views", "companies", "people") if MARKS[sync] in text][:1]
        found[sync].append(text)
    return found


def check_pendo(lab: Lab) -> None:
    """Pendo has all rows, and each event once; each ledger says so."""
    assert {name: held["custom"] for name, held in lab.sandbox.visitors.items()} == {
        f"p{at}": {"plan": "free", "mrr": 1.5} for at in range(ROWS)
    }
    assert {name: held["custom"] for name, held in lab.sandbox.accounts.items()} == {
        f"c{at}": {"name": "Acme"} for at in range(ROWS)
    }
    assert Counter(lab.sandbox_event_ids()) == Counter(f"{kind}{at}" for kind in "kv" for at in range(ROWS))
    for sync in SYNCS:
        assert set(lab.statuses(sync).values()) == {"delivered"}
        assert len(lab.statuses(sync)) == ROWS


def test_they_run_side_by_side_and_each_counts_and_logs_its_own(filled):
    filled.sandbox.switches = chosen(latency_ms=(15, 25))
    ended = filled.run("sync", *SIDE_BY_SIDE).expect(0)
    lines = [line.split("  ", 1)[1] for line in ended.stdout.splitlines() if " of 4 " in line]
    # What they have to do is announced before the first is done, and visitors wait for the events.
    first_done = next(at for at, line in enumerate(lines) if " OK " in line)
    assert {line.split()[6] for line in lines[:first_done]} == {"clicks", "companies", "views"}
    started = next(at for at, line in enumerate(lines) if "START sync visitor" in line)
    assert {line.split()[6] for line in lines[:started] if " OK " in line} >= {"clicks", "views"}
    assert "4 of 4 OK synced track_event views" in ended.stdout
    check_pendo(filled)

    results = {result["sync"]: result for result in filled.results()["results"]}
    assert list(results) == list(SYNCS)
    made = sent(filled)
    assert {sync: one["requests"] for sync, one in results.items()} == {sync: len(one) for sync, one in made.items()}
    assert {sync: one["bytes"] for sync, one in results.items()} == {
        sync: sum(map(len, one)) for sync, one in made.items()
    }
    (log,) = (filled.target / "dbt_pendo" / "runs").glob("*/requests.jsonl")
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    assert Counter(call["sync"] for call in calls if call["method"] == "POST") == {
        sync: len(one) for sync, one in made.items()
    }
    logged = filled.sql("select sync, delivered from main_pendo.pendo_runs order by sync")
    assert logged == [(sync, ROWS) for sync in SYNCS]


def test_two_that_fail_at_once_hold_up_no_other(filled):
    filled.sandbox.switches = chosen(latency_ms=(5, 10))
    for mark in ("clicks", "companies"):
        filled.sandbox.fail(Fault(status=503, body_contains=MARKS[mark], times=None))
    results = filled.sync(*SIDE_BY_SIDE, status=1, PENDO_RETRIES="0")
    assert {sync: one["status"] for sync, one in results.items()} == {
        "clicks": "error",
        "companies": "error",
        "people": "success",
        "views": "success",
    }
    assert (results["people"]["delivered"], results["views"]["delivered"]) == (ROWS, ROWS)
    logged = dict(filled.sql("select sync, status from main_pendo.pendo_runs"))
    assert logged == {sync: one["status"] for sync, one in results.items()}
    assert not any(table.endswith("__lock") for table in filled.tables())

    filled.sandbox.clear_faults()
    filled.sync(*SIDE_BY_SIDE)
    check_pendo(filled)


def test_after_a_failure_fail_fast_begins_no_other(filled):
    filled.sandbox.switches = chosen(latency_ms=(30, 40))
    filled.sandbox.fail(Fault(status=503, body_contains=MARKS["companies"], times=None))
    results = filled.sync("--threads", "2", "--fail-fast", status=1, PENDO_RETRIES="0")
    assert {sync: one["status"] for sync, one in results.items()} == {
        # It was under way.
        "clicks": "success",
        "companies": "error",
        "people": "skipped",
        "views": "skipped",
    }


@pytest.mark.parametrize("threads", ["1", "2", "8"])
def test_those_that_a_signal_interrupts_have_in_their_ledgers_what_pendo_took(filled, threads):
    filled.sandbox.switches = chosen(latency_ms=(15, 30))
    run = filled.start("sync", "--json", "--threads", threads)
    wait_until(run, lambda: len(writes(filled.sandbox.requests)) >= 25)
    run.send(signal.SIGINT)
    ended = run.wait().expect(1)
    assert "interrupted" in ended.statuses.values()
    taken = Counter(filled.sandbox_event_ids())
    assert set(taken.values()) == {1}
    for model in ("clicks", "views"):
        mine = {name for name in taken if name[0] == ("k" if model == "clicks" else "v")}
        assert {name for name, status in filled.statuses(model).items() if status == "delivered"} == mine
        assert ended.result(model)["delivered"] == len(mine)
    assert not any(table.endswith("__lock") for table in filled.tables())
    assert not list((filled.target / "dbt_pendo").glob("*.journal"))

    filled.sync("--threads", threads)
    check_pendo(filled)


def test_a_kill_loses_nothing_of_those_under_way(filled):
    filled.sandbox.switches = chosen(latency_ms=(15, 30))
    run = filled.start("sync", *SIDE_BY_SIDE)
    wait_until(run, lambda: len({event["event"] for event in filled.sandbox.events}) > 1)
    wait_until(run, lambda: len(writes(filled.sandbox.requests)) >= 30)
    run.kill()
    filled.sync(*SIDE_BY_SIDE)
    taken = Counter(filled.sandbox_event_ids())
    assert set(taken) == {f"{kind}{at}" for kind in "kv" for at in range(ROWS)}
    # Of the requests in flight nobody knows; a view's has ten events.
    assert (taken.total() - 2 * ROWS) <= 4 * 10
    assert {status for sync in SYNCS for status in filled.statuses(sync).values()} == {"delivered"}


def test_locks_of_others_block_those_alone(filled):
    filled.sql("create schema if not exists main_pendo")
    for sync in ("clicks", "companies"):
        filled.sql(
            f"create table main_pendo.{sync}__lock as select 'run-1' as run_id, 'elsewhere' as host, 4711 as pid, "
            "(now() at time zone 'UTC')::timestamp as seen_at"
        )
    results = filled.sync(*SIDE_BY_SIDE, status=1)
    assert {sync: one["status"] for sync, one in results.items()} == {
        "clicks": "blocked",
        "companies": "blocked",
        "people": "success",
        "views": "success",
    }
    assert {table for table in filled.tables() if table.endswith("__lock")} == {"clicks__lock", "companies__lock"}


def test_two_segments_at_once_are_written_one_after_the_other(filled):
    # A second job while one is under way would be a 409.
    filled.sandbox.switches = chosen(segment_second_job="refuse", segment_seconds=(0.3, 0.3))
    filled.only("clicks", "views")
    for model in ("clicks", "views"):
        filled.annotate(model, {"object": "segment", "segment": model, "visitor_id": "id"})
    filled.sync(*SIDE_BY_SIDE)
    members = {found["name"]: set(found["visitors"]) for found in filled.sandbox.segments.values()}
    assert members == {"clicks": {f"k{at}" for at in range(ROWS)}, "views": {f"v{at}" for at in range(ROWS)}}
    assert {request.status for request in filled.sandbox.requests} == {200}


def test_two_syncs_that_delete_at_once_wait_for_each_other(filled):
    filled.only("people", "companies")
    deletes = {"on_removed": "delete", "max_removals": "100%", "mode": "upsert"}
    for model in ("people", "companies"):
        mapping = {**MODELS[model][0], **deletes}
        filled.annotate(model, mapping)
    filled.sync(*SIDE_BY_SIDE)
    assert (len(filled.sandbox.visitors), len(filled.sandbox.accounts)) == (ROWS, ROWS)
    filled.fill("people", [("p0", "free", 1.5)])
    filled.fill("companies", [("c0", "Acme")])
    filled.sandbox.forget_requests()
    results = filled.sync(*SIDE_BY_SIDE)
    assert {sync: one["planned"]["removed"] for sync, one in results.items()} == dict.fromkeys(results, ROWS - 1)
    assert {sync: one["delivered"] for sync, one in results.items()} == dict.fromkeys(results, ROWS - 1)
    assert (set(filled.sandbox.visitors), set(filled.sandbox.accounts)) == ({"p0"}, {"c0"})
    # Pendo takes one call a second: none was refused.
    assert {request.status for request in filled.sandbox.requests} == {200}
