"""`check` of keys and secrets: known, writable, of this region, and each for its own app."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import CLICKS, PEOPLE, PEOPLE_ROWS, SmallProject, environment_of, expect_in, writes

from dbt_pendo.sandbox import Fault, Sandbox, Switches

CLICK_ROWS = "select 'e' || i as id, timestamp '2026-05-01' as at from range(3) r(i)"
WRONG = "the-secret-of-another-place"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A Pendo with three apps: the nameless one, web and mobile."""
    with Sandbox(apps=["web", "mobile"]) as running:
        for name, value in environment_of(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def apps(project: SmallProject) -> SmallProject:
    """Three syncs of events, one an app."""
    for name, app in (("plain", {}), ("web", {"app": "web"}), ("mobile", {"app": "mobile"})):
        project.model(name, CLICKS | app, CLICK_ROWS)
    return project


def told(project: SmallProject, *args: str, status: int = 0) -> dict[str, str | None]:
    """What `check` says of each sync; None is nothing."""
    results = project.check(*args, status=status).json["results"]
    assert all((result["status"] == "error") == (result["message"] is not None) for result in results)
    return {result["sync"]: result["message"] for result in results}


SWITCHES = [
    {},
    {"track_reply": "json"},
    {"error_bodies": "empty"},
    {"event_arrays": "reject", "context_required": True},
]


def test_secrets_are_verified_without_an_event(apps, sandbox):
    asked = [("/data/track", f"track{app}", b"{}") for app in (":mobile", "", ":web")]
    for switches in SWITCHES:
        sandbox.switches = Switches().with_changes(switches)
        sandbox.forget_requests()
        assert told(apps) == {"plain": None, "web": None, "mobile": None}
        assert [(request.path, request.key, request.body) for request in sandbox.requests] == asked
    # Whoever judges the body has taken the secret.
    for status in (200, 204, 400, 413, 422):
        sandbox.clear_faults()
        sandbox.fail(Fault("status", status=status, path="/data/track", times=None))
        assert set(told(apps).values()) == {None}
    assert (sandbox.events, sandbox.receipts, sandbox.visitors) == ([], [], {})


@pytest.mark.parametrize("status", [401, 403])
def test_one_of_several_secrets_is_wrong(apps, sandbox, monkeypatch, status):
    sandbox.switches = Switches(wrong_track_secret_status=status)
    apps.model("more", CLICKS | {"app": "web"}, CLICK_ROWS)
    monkeypatch.setenv("PENDO_TRACK_SECRET_WEB", WRONG)
    messages = told(apps, status=2)
    # It is asked for once.
    assert len(sandbox.requests) == 3
    wrong = messages.pop("web") or ""
    assert messages == {"plain": None, "mobile": None, "more": wrong}
    refused = f"Pendo at {sandbox.url} refused the Track Event shared secret (HTTP {status})"
    names = ("PENDO_TRACK_SECRET_WEB", "PENDO_API_URL", "PENDO_REGION")
    expect_in(wrong, refused, *names, "App Details", "not the integration key")
    assert WRONG not in apps.run("check").expect(2).output
    monkeypatch.setenv("PENDO_TRACK_SECRET", sandbox.integration_key)
    message = told(apps, status=2)["plain"] or ""
    assert "not the integration key" in message
    assert sandbox.integration_key not in message
    assert sandbox.events == []


def test_the_secret_of_one_app_is_no_other_ones(apps, sandbox, monkeypatch):
    """Neither in its stead when that is missing, nor in its place."""
    monkeypatch.delenv("PENDO_TRACK_SECRET_WEB")
    messages = told(apps, status=2)
    assert (messages["plain"], messages["mobile"]) == (None, None)
    expect_in(messages["web"], "No Track Event shared secret is set for the app web.", "PENDO_TRACK_SECRET_WEB")
    assert [request.key for request in sandbox.requests] == ["track:mobile", "track"]
    # Nor do the events of one app go to another.
    monkeypatch.setenv("PENDO_TRACK_SECRET_WEB", sandbox.track_secrets["web"])
    apps.sync()
    assert sorted((receipt.app, receipt.body["visitorId"]) for receipt in sandbox.receipts) == [
        (app, f"e{at}") for app in ("", "mobile", "web") for at in range(3)
    ]


def test_each_app_is_asked_for_once_and_by_check_alone(apps, sandbox):
    for name in ("more", "most"):
        apps.model(name, CLICKS | {"app": "WEB"}, CLICK_ROWS)
    told(apps)
    assert len(sandbox.requests) == 3
    sandbox.forget_requests()
    apps.plan()
    assert sandbox.requests == []
    apps.sync()
    assert b"{}" not in [request.body for request in sandbox.requests]
    assert apps.check("--offline").status == 0


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
            expect_in(message or "", part, "PENDO_DATA_URL")
    # A host that is down is waited for once, not once an app.
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_or_read_only_key_says_which_host_refused_it(project, sandbox, monkeypatch, status):
    """That a key may only read is found by `check` if Pendo tells, else by the first write."""
    sandbox.switches = Switches(wrong_key_status=status, read_only_write_status=status)
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a", "b"])
    project.model("people", PEOPLE, PEOPLE_ROWS)
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", WRONG)
    message = told(project, status=2)["people"] or ""
    assert f"Pendo at {sandbox.url} refused the integration key (HTTP {status})" in message
    assert "PENDO_API_URL, which names the host in place of PENDO_REGION" in message
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", sandbox.read_only_key)
    assert "may only read" in (told(project, status=2)["people"] or "")
    for command in (["fields"], ["fields", "--create"]):
        assert "may only read" in project.run(*command).expect(2).stdout
    assert writes(sandbox.requests) == []
    sandbox.fail(Fault("status", status=200, body='{"valid":true}', path="token/verify", times=None))
    result = project.sync(status=1).result()
    assert (result["status"], result["delivered"]) == ("error", 0)
    expect_in(result["message"], f"HTTP {status}", "with write access", "PENDO_API_URL")
