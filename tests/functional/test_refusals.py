"""What Pendo refuses, and a Pendo that cannot be reached: one clear message, and nothing half-done."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, expect_in, writes

from dbt_pendo.sandbox import Fault

COMMANDS = ("check", "plan", "sync")
ONE_KEY = {"people": "error", "more": "error", "clicks": "success"}


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("not-the-key-at-all", ("refused the integration key", "HTTP 403", "PENDO_REGION")),
        ("read-only", ("may only read", "Settings > Integrations")),
    ],
)
def test_an_integration_key_that_will_not_do(people, sandbox, monkeypatch, key, parts):
    key = sandbox.read_only_key if key == "read-only" else key
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", key)
    for command in COMMANDS:
        ended = people.run(command).expect(2).says(*parts, "PENDO_INTEGRATION_KEY", "write access")
        assert key not in ended.output
        # A 403 is final: nobody asks again.
        assert [request.method for request in sandbox.requests] == ["GET"]
        sandbox.forget_requests()


@pytest.mark.parametrize("cause", ["key", "host"])
def test_a_refusal_is_asked_for_once_however_many_syncs(people, sandbox, monkeypatch, closed_port, cause):
    people.model("more", PEOPLE, PEOPLE_ROWS)
    people.model("clicks", CLICKS, CLICK_ROWS)
    wrong = {"key": ("INTEGRATION_KEY", "not-the-key-at-all"), "host": ("API_URL", f"http://127.0.0.1:{closed_port}")}
    monkeypatch.setenv(f"PENDO_{wrong[cause][0]}", wrong[cause][1])
    assert people.sync(status=1).statuses == ONE_KEY
    refused = [request.path for request in sandbox.requests if request.status == 403]
    assert (refused, len(sandbox.events)) == (["/api/v1/token/verify"] * (cause == "key"), 12)


def test_each_api_needs_its_own_key_only(people, sandbox, monkeypatch):
    people.model("clicks", CLICKS, CLICK_ROWS)
    key = sandbox.integration_key
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "  ")
    people.sync("--select", "clicks")
    assert len(sandbox.events) == 12
    sandbox.forget_requests()
    parts = ("No Pendo integration key is set", "PENDO_INTEGRATION_KEY", "Settings > Integrations")
    for command in ("check", "sync"):
        people.run(command, "--select", "people").expect(2).says(*parts)
    monkeypatch.delenv("PENDO_TRACK_SECRET")
    for command in ("check", "sync"):
        ended = people.run(command, "--select", "clicks").expect(2)
        ended.says("No Track Event shared secret is set", "PENDO_TRACK_SECRET", "App Details")
    assert sandbox.requests == []
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", key)
    people.sync("--select", "people")


def test_a_wrong_track_secret_stops_the_sync_at_once(people, sandbox, monkeypatch):
    monkeypatch.setenv("PENDO_TRACK_SECRET", "the-integration-key-by-mistake")
    monkeypatch.setenv("PENDO_CONCURRENCY", "1")
    people.model("clicks", CLICKS, CLICK_ROWS.replace("12", "50"))
    ended = people.sync(status=1)
    clicks = ended.result("clicks")
    assert (ended.statuses, clicks["delivered"]) == ({"clicks": "error", "people": "success"}, 0)
    parts = ("Track Event shared secret", "HTTP 403", "PENDO_TRACK_SECRET", "App Details", "PENDO_REGION")
    expect_in(clicks["message"], *parts)
    assert "by-mistake" not in json.dumps(ended.json)
    assert len([request for request in sandbox.requests if request.path == "/data/track"]) <= 2
    assert people.ledger("clicks") == []
    # Nothing is lost.
    monkeypatch.setenv("PENDO_TRACK_SECRET", sandbox.track_secrets[""])
    people.sync()
    assert len(sandbox.events) == 50


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_an_unreachable_host(people, monkeypatch, closed_port):
    monkeypatch.setenv("PENDO_API_URL", f"http://127.0.0.1:{closed_port}")
    parts = (f"127.0.0.1:{closed_port}", "did not take", "2 attempts", "refused", "PENDO_API_URL", "network")
    for command in COMMANDS:
        people.run(command).expect(1).says(*parts)
    assert people.tables() <= {"pendo_runs"}
    monkeypatch.setenv("PENDO_API_URL", "https://pendo.invalid")
    people.run("sync").expect(1).says("https://pendo.invalid", "PENDO_API_URL")


def test_an_unreachable_data_host(people, monkeypatch, closed_port):
    people.model("clicks", CLICKS, CLICK_ROWS)
    monkeypatch.setenv("PENDO_DATA_URL", f"http://127.0.0.1:{closed_port}")
    ended = people.sync(status=1)
    assert (ended.statuses, ended.result("clicks")["delivered"]) == ({"clicks": "error", "people": "success"}, 0)
    assert "PENDO_DATA_URL" in ended.messages["clicks"]
    assert people.ledger("clicks") == []


def test_a_host_that_is_not_pendo(people, sandbox, monkeypatch):
    monkeypatch.setenv("PENDO_RETRIES", "0")
    for fault, told in (
        (Fault(status=500, body="oops"), "HTTP 500: oops"),
        (Fault(status=429, headers={"Retry-After": "0"}), "HTTP 429"),
        (Fault(status=302, headers={"Location": "https://elsewhere.example/"}), "redirect"),
        (Fault(status=404, body="not found"), "404"),
        (Fault("garbage"), ""),
        (Fault("close"), "did not take"),
        (Fault("truncate", when="after"), "did not take"),
    ):
        sandbox.fail(replace(fault, times=None))
        for command in ("check", "sync"):
            people.run(command).expect(1).says(told, "PENDO_API_URL")
        sandbox.clear_faults()
    assert writes(sandbox.requests) == []
