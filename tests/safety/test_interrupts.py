"""SIGINT and SIGTERM to a run in its middle: it ends in order; a second signal ends it at once."""

import json
import re
import signal
import time
from collections import Counter

import pytest
from harness import Started, chosen, writes
from lab import Lab, small_pages, wait_until
from raw_server import RawServer, drip, head

from dbt_pendo.sandbox import Fault

EVENTS = 120
SIGNALS = [signal.SIGINT, signal.SIGTERM]


def wait_for_writes(lab: Lab, run: Started, count: int) -> None:
    wait_until(run, lambda: len(writes(lab.sandbox.requests)) >= count)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("page", [20, 1_000])
def test_what_is_in_flight_ends_and_the_next_run_delivers_exactly_the_rest(lab, number, page):
    names = lab.click(EVENTS)
    lab.shrink = small_pages(page)
    lab.sandbox.switches = chosen(latency_ms=(20, 40))
    run = lab.start("sync", "--json", "--threads", "1")
    wait_for_writes(lab, run, 15)
    run.send(number)
    ended = run.wait().expect(1)

    # So are the syncs that had not begun.
    assert ended.statuses == dict.fromkeys(("clicks", "companies", "people", "views"), "interrupted")
    assert ended.json == lab.results()
    assert lab.sandbox.accounts == {}
    result = ended.result("clicks")
    assert number.name in result["message"]
    taken = lab.sandbox_event_ids()
    assert 15 <= len(taken) < EVENTS
    assert result["delivered"] == len(taken)
    assert lab.statuses("clicks") == dict.fromkeys(taken, "delivered")
    assert not any(table.endswith("__lock") for table in lab.tables())
    assert not list((lab.target / "dbt_pendo").glob("*.journal"))
    logged = lab.sql("select status, delivered from main_pendo.pendo_runs where sync = 'clicks'")
    assert logged == [("interrupted", len(taken))]

    lab.only("clicks")
    again = lab.sync()["clicks"]
    assert again["planned"]["added"] == again["delivered"] == EVENTS - len(taken)
    assert Counter(lab.sandbox_event_ids()) == Counter(names)


def test_a_wait_for_pendo_is_cut_short(lab):
    lab.only("clicks")
    names = lab.click(EVENTS)
    lab.sandbox.fail(Fault(status=429, headers={"Retry-After": "200"}, times=None, path="/data/track"))
    run = lab.start("sync", "--json")
    wait_for_writes(lab, run, 1)
    run.send(signal.SIGINT)
    (result,) = run.wait().expect(1).json["results"]
    assert result["status"] == "interrupted"
    lab.sandbox.clear_faults()
    lab.sync()
    assert Counter(lab.sandbox_event_ids()) == Counter(names)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_at_once(lab, second, when):
    lab.only("clicks")
    names = lab.click(EVENTS)
    # One request hangs for longer than any test may take.
    lab.sandbox.fail(Fault("hang", when=when, seconds=600.0, path="/data/track", body_contains='"k5"'))
    run = lab.start("sync", "--json", PENDO_TIMEOUT="500", PENDO_CONCURRENCY="2")
    wait_until(run, lambda: any(request.fault for request in lab.sandbox.requests))
    run.send(signal.SIGINT)
    # The first is heard: nothing new is sent, and the one that hangs is waited for.
    assert not run.has_ended()
    # Two signals at one moment are one to the kernel, so the second is sent until it is heard as one.
    while not run.has_ended():
        run.send(second)
        time.sleep(0.05)
    ended = run.wait().expect(1)
    # It was answered before the end.
    assert re.search(r"Interrupted by SIG\w+: waiting for [12] requests? in flight, 20 .* again to stop", ended.stderr)

    assert lab.sync()["clicks"]["status"] == "success"
    sent = Counter(lab.sandbox_event_ids())
    assert set(sent) == names
    # What hung had been taken or not, which nobody could know; the same goes for the other request in flight.
    assert (sent - Counter(names)).total() <= 2
    assert sent["k5"] == (2 if when == "after" else 1)


def test_a_run_without_a_terminal_tells_how_far_it_is(lab):
    lab.only("clicks")
    lab.shrink = {**small_pages(20), "dbt_pendo.output.sync.PROGRESS_EVERY": 0.05}
    lab.sandbox.switches = chosen(latency_ms=(20, 40))

    def told(*flags: str) -> list[str]:
        lab.click(EVENTS)
        ended = lab.run("sync", "--full-refresh", *flags).expect(0)
        assert ended.stderr == ""
        return ended.stdout.splitlines()

    assert any(re.search(r"1 of 1 RUN sync track_event clicks \.+ \[\d+ of 120 rows, \d+s\]", line) for line in told())
    assert told("--quiet") == []
    assert json.loads("".join(told("--json")))["results"]
    events = [json.loads(line) for line in told("--log-format", "json")]
    progress = [one["data"] for one in events if one["info"]["name"] == "SyncProgressed"]
    assert {one["to_send"] for one in progress} <= {None, EVENTS}
    assert any(0 < one["judged"] < EVENTS for one in progress)


@pytest.mark.parametrize("answer", [drip(head(), b" "), drip(b"HTTP/1.1 200 OK\r\nX: ", b"x")], ids=["body", "header"])
def test_an_answer_that_never_ends_does_not_hold_up_the_end(lab, answer):
    lab.only("clicks")
    names = lab.click(EVENTS)
    lab.shrink = {"dbt_pendo.delivery.signals.PATIENCE": 0.5}
    with RawServer(lambda request: answer) as server:
        run = lab.start("sync", "--json", PENDO_DATA_URL=server.url, PENDO_TIMEOUT="500", PENDO_CONCURRENCY="1")
        wait_until(run, lambda: bool(server.requests))
        run.send(signal.SIGTERM)
        (result,) = run.wait().expect(1).json["results"]
    assert result["status"] == "interrupted"
    assert "SIGTERM" in result["message"]
    assert len(server.requests) == 1
    # What was cut short is open, so the next run sends it.
    assert lab.sync()["clicks"]["delivered"] == len(names)
    assert Counter(lab.sandbox_event_ids()) == Counter(names)
