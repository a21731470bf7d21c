"""What Pendo refuses, and a Pendo that cannot be reached: one clear message, and nothing half-done.

Each answer of a host that is not Pendo is in tests/unit/test_client_refusals.py, `check` of keys in test_check_keys.py.
"""

import json
import socket
from collections.abc import Iterator

import pytest
from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, expect_in


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("cause", ["wrong key", "read-only key", "host"])
def test_a_refusal_is_told_by_every_command_and_asked_for_once(people, sandbox, monkeypatch, closed_port, cause):
    keys = {"wrong key": "not-the-key-at-all", "read-only key": sandbox.read_only_key}
    url = f"http://127.0.0.1:{closed_port}"
    if cause == "host":
        monkeypatch.setenv("PENDO_API_URL", url)
        parts = (url.removeprefix("http://"), "did not take", "2 attempts", "refused", "PENDO_API_URL", "network")
    else:
        monkeypatch.setenv("PENDO_INTEGRATION_KEY", keys[cause])
        why = (
            ("refused the integration key", "HTTP 403", "PENDO_REGION") if cause == "wrong key" else ("may only read",)
        )
        parts = (*why, "PENDO_INTEGRATION_KEY", "write access")
    for command in ("check", "plan", "sync"):
        ended = people.run(command).expect(1 if cause == "host" else 2).says(*parts)
        assert not [key for key in keys.values() if key in ended.output]
    # A 403 is final: nobody asks again.
    assert [request.method for request in sandbox.requests] == ["GET"] * (0 if cause == "host" else 3)
    # However many syncs, it is asked for once; those of the other API go on.
    sandbox.forget_requests()
    people.model("more", PEOPLE, PEOPLE_ROWS)
    people.model("clicks", CLICKS, CLICK_ROWS)
    assert people.sync(status=1).statuses == {"people": "error", "more": "error", "clicks": "success"}
    assert len([request for request in sandbox.requests if "/token/" in request.path]) == (0 if cause == "host" else 1)
    assert len(sandbox.events) == 12


def test_a_host_that_is_not_there_is_told_of_and_only_a_sync_that_has_begun_goes_on(people, monkeypatch, closed_port):
    url = f"http://127.0.0.1:{closed_port}"
    for name, value in {"PENDO_API_URL": url, "PENDO_DATA_URL": url, "PENDO_RETRIES": "3"}.items():
        monkeypatch.setenv(name, value)
    # The second attempt comes after half a second at most, the fourth after 1.75 seconds at least.
    monkeypatch.setattr("dbt_pendo.pendo.client.UNREACHED_TIME", 1.5)
    told = [f"Pendo at {url} cannot be reached (attempt {at}): ConnectionRefusedError" for at in range(1, 5)]
    people.model("new", None, PEOPLE_ROWS)
    for command in ("check", "plan", "fields", "verify", "init new --object visitor"):
        ended = people.run(*command.split(), "--json").expect(1)
        expect_in(ended.stderr, *told[:2])
        assert told[3] not in ended.stderr
        assert "did not take" in str(ended.json)
    people.model("clicks", CLICKS, CLICK_ROWS)
    expect_in(people.run("sync", "--quiet", "--select", "clicks").expect(1).stderr, *told)


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


def test_a_wrong_track_secret_or_data_host_stops_the_sync_at_once(people, sandbox, monkeypatch, closed_port):
    monkeypatch.setenv("PENDO_CONCURRENCY", "1")
    people.model("clicks", CLICKS, CLICK_ROWS.replace("12", "50"))
    parts = ("Track Event shared secret", "HTTP 403", "PENDO_TRACK_SECRET", "App Details", "PENDO_REGION")
    for variable, wrong, told in (
        ("PENDO_TRACK_SECRET", "the-integration-key-by-mistake", parts),
        ("PENDO_DATA_URL", f"http://127.0.0.1:{closed_port}", ["PENDO_DATA_URL"]),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, wrong)
            ended = people.sync(status=1)
        clicks = ended.result("clicks")
        assert (ended.statuses, clicks["delivered"]) == ({"clicks": "error", "people": "success"}, 0)
        expect_in(clicks["message"], *told)
        assert "by-mistake" not in json.dumps(ended.json)
        assert people.ledger("clicks") == []
    assert len([request for request in sandbox.requests if request.path == "/data/track"]) <= 2
    # Nothing is lost.
    people.sync()
    assert len(sandbox.events) == 50
