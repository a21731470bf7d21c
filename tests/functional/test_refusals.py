"""What Pendo refuses, and a Pendo that cannot be reached: one clear message, and nothing half-done."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, expect_in, writes

from dbt_pendo.sandbox import Fault

ONE_KEY = {"people": "error", "more": "error", "clicks": "success"}


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_a_wrong_integration_key(people, sandbox, monkeypatch, command):
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "not-the-key-at-all")
    parts = ("refused the integration key", "HTTP 403", "PENDO_INTEGRATION_KEY", "PENDO_REGION", "write access")
    ended = people.run(command).expect(2).says(*parts)
    assert "not-the-key" not in ended.output
    assert writes(sandbox.requests) == []
    # A 403 is final: nobody asks again.
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_a_read_only_key(people, sandbox, monkeypatch, command):
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", sandbox.read_only_key)
    parts = ("may only read", "write access", "Settings > Integrations", "PENDO_INTEGRATION_KEY")
    assert sandbox.read_only_key not in people.run(command).expect(2).says(*parts).output
    assert writes(sandbox.requests) == []


@pytest.mark.parametrize("cause", ["key", "host"])
def test_a_refusal_is_asked_for_once_however_many_syncs(people, sandbox, monkeypatch, closed_port, cause):
    people.model("more", PEOPLE, PEOPLE_ROWS)
    people.model("clicks", CLICKS, CLICK_ROWS)
    wrong = {"key": ("INTEGRATION_KEY", "not-the-key-at-all"), "host": ("API_URL", f"http://127.0.0.1:{closed_port}")}
    monkeypatch.setenv(f"PENDO_{wrong[cause][0]}", wrong[cause][1])
    assert people.sync(status=1).statuses == ONE_KEY
    refused = [request.path for request in sandbox.requests if request.status == 403]
    assert (refused, len(sandbox.events)) == (["/api/v1/token/verify"] * (cause == "key"), 12)


@pytest.mark.parametrize("value", [None, "", "  "])
@pytest.mark.parametrize("command", ["check", "sync"])
def test_no_integration_key(people, sandbox, monkeypatch, value, command):
    monkeypatch.delenv("PENDO_INTEGRATION_KEY")
    if value is not None:
        monkeypatch.setenv("PENDO_INTEGRATION_KEY", value)
    parts = ("No Pendo integration key is set", "PENDO_INTEGRATION_KEY", "Settings > Integrations")
    people.run(command).expect(2).says(*parts)
    assert sandbox.requests == []


def test_a_key_that_can_be_no_header(people, monkeypatch, sandbox):
    for key in ("kéy-with-accents", "key\nwith a line", "ключ"):
        monkeypatch.setenv("PENDO_INTEGRATION_KEY", key)
        ended = people.run("sync").says("PENDO_INTEGRATION_KEY")
        assert ended.status in (1, 2), ended.output
        assert "Traceback" not in ended.output
        assert key not in ended.output
    assert writes(sandbox.requests) == []


def test_each_api_needs_its_own_key_only(people, sandbox, monkeypatch):
    people.model("clicks", CLICKS, CLICK_ROWS)
    key = sandbox.integration_key
    monkeypatch.delenv("PENDO_INTEGRATION_KEY")
    people.sync("--select", "clicks")
    assert len(sandbox.events) == 12
    monkeypatch.delenv("PENDO_TRACK_SECRET")
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", key)
    people.sync("--select", "people")


@pytest.mark.parametrize(("app", "variable"), [(None, "PENDO_TRACK_SECRET"), ("mobile", "PENDO_TRACK_SECRET_MOBILE")])
@pytest.mark.parametrize("command", ["check", "sync"])
def test_no_track_secret(people, sandbox, monkeypatch, app, variable, command):
    monkeypatch.delenv("PENDO_TRACK_SECRET")
    people.model("clicks", {**CLICKS, **({"app": app} if app else {})}, CLICK_ROWS)
    ended = people.run(command, "--select", "clicks").expect(2)
    ended.says("No Track Event shared secret is set", variable, "App Details")
    assert sandbox.requests == []


def test_a_wrong_track_secret_stops_the_sync_at_once(people, sandbox, monkeypatch):
    monkeypatch.setenv("PENDO_TRACK_SECRET", "the-integration-key-by-mistake")
    monkeypatch.setenv("PENDO_CONCURRENCY", "1")
    people.model("clicks", CLICKS, CLICK_ROWS.replace("12", "500"))
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
    assert len(sandbox.events) == 500


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_an_unreachable_host(people, monkeypatch, closed_port, command):
    monkeypatch.setenv("PENDO_API_URL", f"http://127.0.0.1:{closed_port}")
    parts = (f"127.0.0.1:{closed_port}", "did not take", "2 attempts", "refused", "PENDO_API_URL", "network")
    people.run(command).expect(1).says(*parts)
    assert people.tables() <= {"pendo_runs"}


def test_an_unreachable_data_host(people, monkeypatch, closed_port):
    people.model("clicks", CLICKS, CLICK_ROWS)
    monkeypatch.setenv("PENDO_DATA_URL", f"http://127.0.0.1:{closed_port}")
    ended = people.sync(status=1)
    assert (ended.statuses, ended.result("clicks")["delivered"]) == ({"clicks": "error", "people": "success"}, 0)
    assert "PENDO_DATA_URL" in ended.messages["clicks"]
    assert people.ledger("clicks") == []


def test_a_host_without_a_name(people, monkeypatch):
    monkeypatch.setenv("PENDO_API_URL", "https://pendo.invalid")
    people.run("sync").expect(1).says("https://pendo.invalid", "PENDO_API_URL")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("status", status=500, body="oops", times=None), "HTTP 500: oops"),
        (Fault("status", status=503, times=None), "HTTP 503"),
        (Fault("status", status=429, headers={"Retry-After": "0"}, times=None), "HTTP 429"),
        (Fault("status", status=302, headers={"Location": "https://elsewhere.example/"}, times=None), "redirect"),
        (Fault("status", status=404, body="not found", times=None), "404"),
        (Fault("garbage", times=None), ""),
        (Fault("reset", times=None), "did not take"),
        (Fault("close", times=None), "did not take"),
        (Fault("truncate", when="after", times=None), "did not take"),
    ],
    ids=str,
)
def test_a_host_that_is_not_pendo(people, sandbox, fault, told):
    sandbox.fail(fault)
    for command in ("check", "sync"):
        people.run(command).expect(1).says(told, "PENDO_API_URL")
    assert writes(sandbox.requests) == []


def test_a_proxy_that_cannot_be_used(people, monkeypatch):
    monkeypatch.setenv("PENDO_API_URL", "https://pendo.invalid")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2%E2%82%AC@127.0.0.1:1")
    for command in ("check", "plan", "sync"):
        ended = people.run(command).expect(2).says("by way of the proxy in HTTPS_PROXY")
        assert "hunter2" not in ended.output
