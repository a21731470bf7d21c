"""Alerts: what a receiver is told over several runs, and that no receiver can harm a run."""

import json
import threading
import time
from typing import Any

import pytest
from endpoint import TOKEN, Endpoint
from harness import PEOPLE, SmallProject, expect_in, run_cli
from raw_server import RawServer, drip

from dbt_pendo.alerts import post as webhooks
from dbt_pendo.sandbox import Fault, Sandbox
from dbt_pendo.sandbox.exchange import Reply

ROWS = "select 'v' || i as id, 'plan {}' as plan from range({}) r(i)"
DOWN = Fault(status=500, body="no", path="/custom/", times=None)
# Of one record only.
DISLIKED = Fault(status=400, body="no such plan", path="/custom/", body_contains='"v3"', times=None)


@pytest.fixture
def people(
    project: SmallProject, sandbox: Sandbox, receiver: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> SmallProject:
    """A project with one sync, `people`, of ten visitors, and a receiver that is told of everything."""
    monkeypatch.setattr(webhooks, "RETRY_AFTER", 0.0)
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors([f"v{at}" for at in range(200)])
    project.model("people", PEOPLE, ROWS.format("a", 10))
    alert(project, {"url": "PENDO_ALERT_URL"})
    return project


def alert(project: SmallProject, *channels: dict[str, Any]) -> None:
    path = project.folder / "dbt_project.yml"
    settings = json.dumps({"dbt_pendo": {"alerts": channels}})
    path.write_text(f"{path.read_text().partition('vars:')[0]}vars: {settings}\n")


def after(project: SmallProject, receiver: Endpoint, *args: str, status: int = 0) -> str:
    """What the receiver is told by a sync."""
    project.sync(*args, status=status)
    return receiver.told()


def run_id(project: SmallProject) -> str:
    return str(project.results()["metadata"]["run_id"])


def forget(project: SmallProject) -> None:
    """Makes the next run the first one."""
    project.sql("drop schema if exists main_pendo cascade")


def test_each_change_of_state_is_told_once(people, sandbox, receiver):
    assert after(people, receiver) == ""
    people.build("people", ROWS.format("b", 10))
    sandbox.fail(DOWN)
    people.sync(status=1)
    (call,) = receiver.calls
    assert (call.method, call.headers["content-type"]) == ("POST", "application/json")
    text = receiver.told()
    assert text.splitlines()[:2] == [
        "*dbt-pendo*: 1 sync failed",
        f"Project `small`, target `dev`, schema `main_pendo`, Pendo `{sandbox.url}`",
    ]
    expect_in(text, "failed; the run before was a success. 0 delivered", "did not take POST /api/v1/metadata/visitor/")
    assert text.endswith(f"\nLook further: `dbt-pendo show {run_id(people)}`")
    # It is the command that looks further.
    assert "did not take POST" in people.run("show", run_id(people)).expect(0).stdout
    assert after(people, receiver, status=1) == ""
    sandbox.clear_faults()
    text = after(people, receiver)
    expect_in(text, "1 sync recovered\n", "`people` (visitor): recovered; the run before was an error. 10 delivered\n")
    assert after(people, receiver) == ""


def test_a_run_is_compared_with_those_before(people, receiver):
    """What is told at which numbers is in tests/unit/test_alert_changes.py."""
    people.build("people", ROWS.format("a", 200))
    assert after(people, receiver) == ""
    text = after(people, receiver, "--full-refresh")
    assert "`people` (visitor): everything is sent again, 200 rows. 200 delivered\n" in text
    assert [after(people, receiver) for _ in range(3)] == [""] * 3
    # Rows of one key are invalid, and strangers are missing.
    alert(people, {"url": "PENDO_ALERT_URL", "share": "25%"})
    rows = (
        f"{ROWS.format('a', '{}')} union all select 'same', 'x' from range({{}}) "
        "union all select 's' || i, 'x' from range({}) r(i)"
    )
    people.build("people", rows.format(40, 30, 20))
    text = after(people, receiver)
    expect_in(text, "1 sync with many invalid rows", "30 of 90 rows are invalid", "90 rows, usually about 200")
    assert "held back" not in text
    people.build("people", rows.format(20, 30, 60))
    expect_in(after(people, receiver), "1 sync with many rows held back\n", "60 of 110 rows are held back or missing. ")
    assert after(people, receiver) == ""


def test_channels_are_told_what_they_want_to_hear_in_their_own_form(people, sandbox, receiver, monkeypatch):
    other = Endpoint()
    # As a job of dbt Cloud has to name it.
    monkeypatch.setenv("DBT_ENV_SECRET_PAGER_URL", other.url)
    alert(
        people,
        {"url": "PENDO_ALERT_URL", "events": ["recovery"]},
        {"url": "PAGER_URL", "format": "json", "events": ["failure", "partial"]},
    )
    sandbox.fail(DOWN)
    assert after(people, receiver, status=1) == ""
    (document,) = other.messages
    (entry,) = document["syncs"]
    assert (document["run_id"], document["events"], entry["rows"]) == (run_id(people), ["failure"], 10)
    sandbox.clear_faults()
    assert "recovered" in after(people, receiver)
    assert len(other.calls) == 1
    other.close()
    # One message a run for all syncs.
    alert(people, {"url": "PENDO_ALERT_URL"})
    forget(people)
    for name in ("accounts", "organisations"):
        people.model(name, {**PEOPLE, "max_changes": 1}, ROWS.format("a", 10))
    sandbox.fail(DISLIKED)
    text = after(people, receiver, status=1)
    assert text.startswith("*dbt-pendo*: 2 syncs blocked, 1 sync had rows rejected\n")
    # Ids of rows are not told.
    assert ("v3" in people.results()["results"][2]["message"], "v3" in text) == (True, False)
    told = [line.split("`")[1] for line in text.splitlines() if line.startswith("•")]
    assert told == ["accounts", "organisations", "people"]


def test_masked_columns_are_not_told(people, sandbox, receiver, monkeypatch):
    monkeypatch.setenv("DBT_PENDO_MASK", "Plan")
    sandbox.fail(DOWN)
    assert "did not take POST" in people.sync(status=1).result()["message"]
    text = receiver.told()
    assert "• `people` (visitor): failed. 0 delivered\nLook further" in text
    # What holds a sync back is about no row.
    people.annotate("people", {**PEOPLE, "max_changes": 5})
    assert "max_changes allows 5" in after(people, receiver, status=1)


# What a receiver answers, and what is said of it; nothing where it is told once more and takes it.
ANSWERS: list[tuple[list[Reply], str | None]] = [
    ([Reply(500, b"no")] * 2, "it answers HTTP 500"),
    ([Reply(404, b"no_service")], "it answers HTTP 404"),
    ([Reply(302, headers={"Location": f"http://127.0.0.1:9/{TOKEN}"})], "it answers with a redirect"),
    ([Reply(200, ending="close")], "the connection broke"),
    ([Reply(429)], None),
    ([Reply(500, b"rollup_error")], None),
]


def test_a_receiver_that_does_not_take_it_changes_nothing(people, sandbox, receiver, tmp_path):
    def result() -> dict[str, Any]:
        return {**people.results()["results"][0], "duration": None}

    alert(people)
    sandbox.fail(DISLIKED)
    said = run_cli("sync").expect(1).output
    without_alerts = result()
    alert(people, {"url": "PENDO_ALERT_URL"})
    for replies, complaint in ANSWERS:
        forget(people)
        receiver.calls.clear()
        receiver.replies = list(replies)
        ended = run_cli("sync").expect(1).says("9 delivered, 1 rejected")
        said += ended.output
        told = [line.partition("No alert to ")[2] for line in ended.stdout.splitlines() if "No alert" in line]
        assert [line.startswith(f"PENDO_ALERT_URL: {complaint}") for line in told] == [True] * (complaint is not None)
        assert len(receiver.calls) == len(replies) + (complaint is None)
        assert len({call.body for call in receiver.calls}) == 1
        assert result() == without_alerts
    # It has had its chance.
    receiver.calls.clear()
    for args in (("sync", "--log-format", "json"), ("check",), ("show", "--requests")):
        said += run_cli(*args).output
    assert receiver.told() == ""
    # Its URL shows nowhere.
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for part in TOKEN.split("/"):
        assert part not in said
        assert part.encode() not in kept
    # A run log that cannot be read is no reason to be silent.
    forget(people)
    people.sql("create schema main_pendo; create table main_pendo.pendo_runs as select 1 as nothing")
    assert "Pendo rejected rows. 9 delivered, 1 rejected" in after(people, receiver, status=1)


def test_a_receiver_that_hangs_or_drips_is_not_waited_for(people, sandbox, receiver, monkeypatch):
    sandbox.fail(DISLIKED)
    late = "No alert to PENDO_ALERT_URL: it does not answer in time."
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.2)
    receiver.hangs = True
    run_cli("sync").expect(1).says(late)
    # It may have taken it for all we know: never more than one a run.
    assert len(receiver.calls) == 1
    with RawServer(lambda _: drip(b"HTTP/1.1 200 OK\r\n", b"X-Drip: drop\r\n")) as server:
        monkeypatch.setenv("PENDO_ALERT_URL", server.url)
        forget(people)
        started = time.monotonic()
        run_cli("sync").expect(1).says(late)
        assert time.monotonic() - started < webhooks.DEADLINE
        # Nobody goes on listening to it.
        assert not [thread for thread in threading.enumerate() if thread.name.endswith("(post)")]
        monkeypatch.setattr(webhooks, "TIMEOUT", 10)
        monkeypatch.setattr(webhooks, "DEADLINE", 0.5)
        forget(people)
        run_cli("sync").expect(1).says(late)


WRONG_PROXY = "http://user:hunter2%E2%82%AC@127.0.0.1:1"
UNREACHABLE = [
    (f"https://hooks.invalid/{TOKEN}", WRONG_PROXY, "proxy in HTTPS_PROXY: what it holds is no proxy's URL"),
    (f"https://hooks {TOKEN}", "", "No alert to PENDO_ALERT_URL: it cannot be posted to (InvalidURL)."),
    (None, "", "No alert to PENDO_ALERT_URL: it cannot be reached."),
]


def test_a_receiver_that_cannot_be_reached(people, sandbox, monkeypatch, closed_port):
    sandbox.fail(DISLIKED)
    for url, proxy, told in UNREACHABLE:
        forget(people)
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setenv("PENDO_ALERT_URL", url or f"http://127.0.0.1:{closed_port}/{TOKEN}")
        ended = run_cli("sync").expect(1).says(told)
        for secret in ("hunter2", TOKEN, TOKEN.split("/")[0]):
            assert secret.lower() not in ended.output.lower()


UNUSABLE = [
    ("", "the environment variable is not set"),
    (f"hooks.example/{TOKEN}", "what it holds is no URL"),
    (f"http://hooks.example/{TOKEN}", "its URL would travel over plain http; use https, or set PENDO_ALLOW_HTTP="),
]


def test_a_url_that_cannot_be_used_is_said_before_it_is_needed(people, monkeypatch):
    for url, complaint in UNUSABLE:
        monkeypatch.setenv("PENDO_ALERT_URL", url)
        for command in ("sync", "check"):
            ended = run_cli(command).expect(0)
            assert f"No alert to PENDO_ALERT_URL: {complaint}" in ended.stdout
            assert TOKEN not in ended.output
    assert "PENDO_ALERT_URL" not in run_cli("check", "--offline").expect(0).stdout
