"""`check` of keys and secrets: known, writable, and each for its own app."""

import pytest
from harness import CLICKS, SmallProject, expect_in, writes

from dbt_pendo.sandbox import Fault, Switches

CLICK_ROWS = "select 'e' || i as id, timestamp '2026-05-01' as at from range(3) r(i)"
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
    strict = {"event_arrays": "reject", "context_required": True}
    for switches in ({}, {"track_reply": "json"}, {"error_bodies": "empty"}, strict):
        sandbox.switches = Switches().with_changes(switches)
        sandbox.forget_requests()
        assert set(told(apps).values()) == {"sound"}
        assert [(request.path, request.key, request.body) for request in sandbox.requests] == ASKED
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
    assert sent == {(app, f"e{at}") for app in ("", "web") for at in range(3)}


def test_one_of_several_secrets_is_wrong(apps, sandbox, monkeypatch):
    monkeypatch.setenv("PENDO_TRACK_SECRET_WEB", WRONG)
    messages = told(apps, status=2)
    wrong = messages["web"]
    assert messages == {"plain": "sound", "web": wrong, "web_too": wrong}
    assert len(sandbox.requests) == 2
    refused = f"Pendo at {sandbox.url} refused the Track Event shared secret (HTTP 403)"
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
    assert (messages["plain"], [request.key for request in sandbox.requests]) == ("sound", ["track"])
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


@pytest.mark.parametrize("status", [401, 403])
def test_a_read_only_key_is_found_by_the_first_write_if_pendo_does_not_tell(people, sandbox, monkeypatch, status):
    sandbox.switches = Switches(read_only_write_status=status)
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", sandbox.read_only_key)
    for command in (["check"], ["fields"], ["fields", "--create"]):
        assert "may only read" in people.run(*command).expect(2).stdout
    assert writes(sandbox.requests) == []
    sandbox.fail(Fault("status", status=200, body='{"valid":true}', path="token/verify", times=None))
    result = people.sync(status=1).result()
    assert (result["status"], result["delivered"]) == ("error", 0)
    expect_in(result["message"], f"HTTP {status}", "with write access", "PENDO_API_URL")
