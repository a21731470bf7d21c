"""What Pendo refuses, and a Pendo that cannot be reached: one clear message, and nothing half-done.

Each answer of a host that is not Pendo is in tests/unit/test_client_refusals.py.
"""

import json

import pytest
from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, SmallProject, chosen, expect_in, writes

from dbt_pendo.sandbox import Fault


@pytest.mark.parametrize("is_known", [False, True])
def test_a_refusal_is_told_by_every_command_and_asked_for_once(people, sandbox, monkeypatch, is_known):
    key = sandbox.read_only_key if is_known else "not-the-key-at-all"
    why = ("may only read",) if is_known else ("refused the integration key", "HTTP 403", "PENDO_REGION")
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", key)
    for command in ("check", "plan", "sync", "fields --create"):
        ended = people.run(*command.split()).expect(2).says(*why, "PENDO_INTEGRATION_KEY", "write access")
        assert key not in ended.output
    # A 403 is final: nobody asks again. With a key that may read, `check` goes on to the fields.
    assert [request.method for request in sandbox.requests] == ["GET"] * (5 if is_known else 4)
    # However many syncs, it is asked for once; those of the other API go on.
    sandbox.forget_requests()
    people.model("more", PEOPLE, PEOPLE_ROWS)
    people.model("clicks", CLICKS, CLICK_ROWS)
    assert people.sync(status=1).statuses == {"people": "error", "more": "error", "clicks": "success"}
    assert len([request for request in sandbox.requests if "/token/" in request.path]) == 1
    assert len(sandbox.events) == 12


def test_a_host_that_is_not_there_is_told_of_and_only_a_sync_that_has_begun_goes_on(people, monkeypatch, closed_port):
    url = f"http://127.0.0.1:{closed_port}"
    for name, value in {"PENDO_API_URL": url, "PENDO_DATA_URL": url, "PENDO_RETRIES": "3"}.items():
        monkeypatch.setenv(name, value)
    # The second attempt comes after 0.1 seconds at most, the fourth after 0.35 seconds at least.
    monkeypatch.setattr("dbt_pendo.pendo.client.UNREACHED_TIME", 0.3)
    told = [f"Pendo at {url} cannot be reached (attempt {at}): ConnectionRefusedError" for at in range(1, 5)]
    people.model("new", None, PEOPLE_ROWS)
    for command in ("check", "plan", "sync", "fields", "verify", "init new --object visitor"):
        ended = people.run(*command.split(), "--json").expect(1)
        expect_in(ended.stderr, *told[:2])
        assert told[3] not in ended.stderr
        expect_in(str(ended.json), "did not take", "PENDO_API_URL", "network")
    people.model("clicks", CLICKS, CLICK_ROWS)
    expect_in(people.run("sync", "--quiet", "--select", "clicks").expect(1).stderr, *told)


def test_each_api_needs_its_own_key_only(people, sandbox, monkeypatch):
    people.model("clicks", CLICKS, CLICK_ROWS)
    for variable, needs_it, other, told in (
        ("PENDO_INTEGRATION_KEY", "people", "clicks", ("No Pendo integration key is set", "Settings > Integrations")),
        ("PENDO_TRACK_SECRET", "clicks", "people", ("No Track Event shared secret is set", "App Details")),
    ):
        sandbox.forget_requests()
        with monkeypatch.context() as environment:
            environment.setenv(variable, "  ")
            for command in ("check", "sync"):
                people.run(command, "--select", needs_it).expect(2).says(*told, variable)
            assert sandbox.requests == []
            assert people.sync("--select", other).statuses == {other: "success"}


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


# `check` of secrets: known, and each for its own app.

WRONG = "the-secret-of-another-place"
ASKED = [("/data/track", "track", b"{}"), ("/data/track", "track:web", b"{}")]


@pytest.fixture
def apps(project: SmallProject) -> SmallProject:
    """Syncs of events: one for the nameless app, two for the app web."""
    for name, app in (("plain", {}), ("web", {"app": "web"}), ("web_too", {"app": "WEB"})):
        project.model(name, CLICKS | app, CLICK_ROWS)
    return project


def told(project: SmallProject, *args: str, status: int = 0) -> dict[str, str]:
    """What `check` says of each sync."""
    results = project.check(*args, status=status).json["results"]
    assert all((result["status"] == "error") == (result["message"] is not None) for result in results)
    return {result["sync"]: result["message"] or "sound" for result in results}


def test_each_secret_is_verified_once_and_without_an_event(apps, sandbox):
    for switches in ({}, {"track_reply": "json"}, {"error_bodies": "empty"}, {"event_arrays": "reject"}):
        sandbox.switches = chosen(**switches)
        sandbox.forget_requests()
        assert set(told(apps).values()) == {"sound"}
        assert [(request.path, request.key, request.body) for request in writes(sandbox.requests)] == ASKED
    # Whoever judges the body has taken the secret.
    for status in (200, 204, 400, 413, 422):
        sandbox.clear_faults()
        sandbox.fail(Fault("status", status=status, path="/data/track", times=None))
        assert set(told(apps).values()) == {"sound"}
    assert (sandbox.events, sandbox.receipts, sandbox.visitors) == ([], [], {})
    # By `check` alone, and only where it may ask.
    sandbox.clear_faults()
    sandbox.forget_requests()
    apps.plan()
    apps.check("--offline")
    assert sandbox.requests == []
    apps.sync()
    assert b"{}" not in [request.body for request in sandbox.requests]
    sent = {(receipt.app, receipt.body["visitorId"]) for receipt in sandbox.receipts}
    assert sent == {(app, f"e{at}") for app in ("", "web") for at in range(12)}


def test_one_of_several_secrets_is_wrong(apps, sandbox, monkeypatch):
    monkeypatch.setenv("PENDO_TRACK_SECRET_WEB", WRONG)
    messages = told(apps, status=2)
    wrong = messages["web"]
    assert messages == {"plain": "sound", "web": wrong, "web_too": wrong}
    assert len(writes(sandbox.requests)) == 2
    refused = f"Pendo at {sandbox.url} refused the Track Event shared secret (HTTP 403"
    names = ("PENDO_TRACK_SECRET_WEB", "PENDO_API_URL", "PENDO_REGION")
    expect_in(wrong, refused, *names, "App Details", "not the integration key")
    assert WRONG not in apps.run("check").expect(2).output
    monkeypatch.setenv("PENDO_TRACK_SECRET", sandbox.integration_key)
    message = told(apps, status=2)["plain"]
    assert ("not the integration key" in message, sandbox.integration_key in message) == (True, False)
    # Nor is that of one app taken in place of another's.
    monkeypatch.setenv("PENDO_TRACK_SECRET", sandbox.track_secrets[""])
    monkeypatch.delenv("PENDO_TRACK_SECRET_WEB")
    sandbox.forget_requests()
    messages = told(apps, status=2)
    expect_in(messages["web"], "No Track Event shared secret is set for the app web.", "PENDO_TRACK_SECRET_WEB")
    assert (messages["plain"], [request.key for request in writes(sandbox.requests)]) == ("sound", ["track"])
    assert sandbox.events == []


NONE = [
    (Fault("status", status=404, body="nothing here", times=None), "takes no track events (HTTP 404"),
    (Fault("status", status=302, headers={"Location": "https://elsewhere.example/"}, times=None), "redirect"),
    (Fault("status", status=503, times=None), "did not take POST /data/track in 2 attempts"),
]


def test_a_data_host_that_is_none(apps, sandbox, monkeypatch):
    monkeypatch.setenv("PENDO_DATA_URL", sandbox.url.replace("127.0.0.1", "localhost"))
    for fault, part in NONE:
        sandbox.clear_faults()
        sandbox.forget_requests()
        sandbox.fail(fault)
        for message in told(apps, status=1).values():
            expect_in(message, part, "PENDO_DATA_URL")
    # A host that is down is waited for once, not once an app.
    assert len(sandbox.requests) == 2
