"""Alerts: what a receiver is told over several runs, and that no receiver can harm a run."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from typing import Any

import pytest
from endpoint import TOKEN, Endpoint, dripping
from harness import PEOPLE, SmallProject, expect_in, run_cli

from dbt_pendo.alerts import post as webhooks
from dbt_pendo.sandbox import Fault, Sandbox
from dbt_pendo.sandbox.exchange import Reply

ROWS = "select 'v' || i as id, 'plan {}' as plan from range({}) r(i)"
DOWN = Fault(status=500, body="no", path="/custom/", times=None)
# Of one record only.
DISLIKED = Fault(status=400, body="no such plan", path="/custom/", body_contains='"v3"', times=None)


@pytest.fixture
def endpoint(receiver: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setattr(webhooks, "RETRY_AFTER", 0.0)
    return receiver


@pytest.fixture
def people(project: SmallProject, sandbox: Sandbox, endpoint: Endpoint) -> SmallProject:
    """A project with one sync, `people`, of ten visitors, and a receiver that is told of everything."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors([f"v{at}" for at in range(1000)])
    project.model("people", PEOPLE, ROWS.format("a", 10))
    alert(project, {"url": "PENDO_ALERT_URL"})
    return project


def alert(project: SmallProject, *channels: dict[str, Any]) -> None:
    path = project.folder / "dbt_project.yml"
    settings = json.dumps({"dbt_pendo": {"alerts": channels}})
    path.write_text(f"{path.read_text().partition('vars:')[0]}vars: {settings}\n")


def after(project: SmallProject, endpoint: Endpoint, *args: str, status: int = 0) -> str:
    """What the receiver is told by a sync."""
    project.sync(*args, status=status)
    return endpoint.told()


def run_id(project: SmallProject) -> str:
    return str(project.results()["metadata"]["run_id"])


def test_a_failure_is_told_once_and_so_is_the_recovery(people, sandbox, endpoint):
    assert after(people, endpoint) == ""
    people.build("people", ROWS.format("b", 10))
    sandbox.fail(DOWN)
    people.sync(status=1)
    (call,) = endpoint.calls
    assert (call.method, call.headers["content-type"]) == ("POST", "application/json")
    text = endpoint.told()
    assert text.splitlines()[:2] == ["*dbt-pendo*: 1 sync failed", "Project `small`, target `dev`, schema `main`"]
    assert "• `people` (visitor): failed; the run before was a success. 0 delivered" in text
    assert "did not take POST /api/v1/metadata/visitor/custom/value" in text
    assert text.endswith(f"\nLook further: `dbt-pendo show {run_id(people)}`")
    # It is the command that looks further.
    assert "did not take POST" in people.run("show", run_id(people)).expect(0).stdout
    assert after(people, endpoint, status=1) == ""
    sandbox.clear_faults()
    text = after(people, endpoint)
    assert text.startswith("*dbt-pendo*: 1 sync recovered\n")
    assert "• `people` (visitor): recovered; the run before was an error. 10 delivered\n" in text
    assert after(people, endpoint) == ""


def test_partial_then_blocked(people, sandbox, endpoint):
    sandbox.fail(DISLIKED)
    text = after(people, endpoint, status=1)
    assert text.startswith("*dbt-pendo*: 1 sync had rows rejected\n")
    assert "• `people` (visitor): Pendo rejected rows. 9 delivered, 1 rejected\n" in text
    assert after(people, endpoint, status=1) == ""
    people.build("people", ROWS.format("b", 10))
    people.annotate("people", {**PEOPLE, "max_changes": 5})
    text = after(people, endpoint, status=1)
    assert text.startswith("*dbt-pendo*: 1 sync blocked\n")
    assert "blocked; the run before was partial. 0 delivered\n    `blocked: 10 added or changed, max_changes" in text
    assert after(people, endpoint, status=1) == ""
    sandbox.clear_faults()
    assert "recovered; the run before was blocked. 10 delivered" in after(people, endpoint, "--force")


def test_a_run_that_says_nothing_of_a_sync_changes_nothing(people, sandbox, endpoint):
    sandbox.fail(DOWN)
    assert "failed" in after(people, endpoint, status=1)
    # dbt could not build the model.
    built = json.loads((people.target / "run_results.json").read_text())
    built["results"] = [{**built["results"][0], "unique_id": "model.small.people", "status": "error"}]
    (people.target / "run_results.json").write_text(json.dumps(built))
    assert people.sync().result()["status"] == "skipped"
    assert endpoint.told() == ""
    # Nor does a run of another sync.
    (people.target / "run_results.json").unlink()
    people.model("others", PEOPLE, ROWS.format("a", 1))
    sandbox.clear_faults()
    assert after(people, endpoint, "--select", "others") == ""
    sandbox.fail(DOWN)
    assert after(people, endpoint, "--select", "people", status=1) == ""


def test_a_key_that_is_refused_is_a_failure(people, endpoint, monkeypatch):
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "k3y-of-nobody")
    text = after(people, endpoint, status=2)
    assert "• `people` (visitor): failed. 0 delivered\n    `Pendo at http://127.0.0.1" in text
    assert "refused the integration key" in text
    assert "k3y-of-nobody" not in text


def test_a_full_resync(people, endpoint):
    people.build("people", ROWS.format("a", 150))
    assert after(people, endpoint) == ""
    text = after(people, endpoint, "--full-refresh")
    assert text.startswith("*dbt-pendo*: 1 sync sent in full again\n")
    assert "• `people` (visitor): everything is sent again, 150 rows. 150 delivered\n" in text
    assert after(people, endpoint, "--full-refresh") == ""
    assert after(people, endpoint) == ""
    # Another mapping is another row.
    people.annotate("people", {**PEOPLE, "nulls": "skip", "fields": {"plan": {"column": "plan", "type": "string"}}})
    assert people.sync().planned["changed"] == 150
    assert "everything is sent again, 150 rows" in endpoint.told()
    people.sync()
    # Somebody has dropped the ledger.
    people.sql("drop table main_pendo.people__ledger")
    assert "everything is sent again, 150 rows" in after(people, endpoint)


def test_a_row_count_far_off_its_history(people, endpoint):
    people.build("people", ROWS.format("a", 200))
    for _ in range(5):
        assert after(people, endpoint) == ""
    people.build("people", ROWS.format("a", 90))
    text = after(people, endpoint)
    assert text.startswith("*dbt-pendo*: 1 sync with an unusual row count\n")
    assert "• `people` (visitor): 90 rows, usually about 200. 110 delivered\n" in text
    assert after(people, endpoint) == ""


def test_one_message_a_run_for_all_syncs(people, sandbox, endpoint):
    for name in ("accounts", "organisations"):
        people.model(name, {**PEOPLE, "max_changes": 1}, ROWS.format("a", 10))
    sandbox.fail(DISLIKED)
    text = after(people, endpoint, status=1)
    assert text.startswith("*dbt-pendo*: 2 syncs blocked, 1 sync had rows rejected\n")
    told = [line.split("`")[1] for line in text.splitlines() if line.startswith("•")]
    assert told == ["accounts", "organisations", "people"]


def test_channels_are_told_what_they_want_to_hear_in_their_own_form(people, sandbox, endpoint, monkeypatch):
    other = Endpoint()
    # As a job of dbt Cloud has to name it.
    monkeypatch.setenv("DBT_ENV_SECRET_PAGER_URL", other.url)
    alert(
        people,
        {"url": "PENDO_ALERT_URL", "events": ["recovery"]},
        {"url": "PAGER_URL", "format": "json", "events": ["failure", "partial"]},
    )
    sandbox.fail(DOWN)
    assert after(people, endpoint, status=1) == ""
    (document,) = other.messages
    assert (document["run_id"], document["command"]) == (run_id(people), f"dbt-pendo show {run_id(people)}")
    assert (document["project"], document["target"], document["schema"]) == ("small", "dev", "main")
    assert document["events"] == ["failure"]
    (entry,) = document["syncs"]
    result = people.results()["results"][0]
    shared = ("sync", "unique_id", "object", "status", "planned", "delivered", "missing", "rejected")
    assert {name: entry[name] for name in shared} == {name: result[name] for name in shared}
    assert (entry["events"], entry["status_before"], entry["rows"]) == (["failure"], None, 10)
    sandbox.clear_faults()
    assert "recovered" in after(people, endpoint)
    assert len(other.calls) == 1
    other.close()


def test_hostile_names_are_text(project, plans, sandbox, endpoint):
    name = "<!channel> & *all*"
    project.model(name, PEOPLE, ROWS.format("a", 10))
    alert(project, {"url": "PENDO_ALERT_URL"})
    sandbox.fail(Fault(status=400, body="<https://evil.example|click> `x`", path="/custom/", times=None))
    text = after(project, endpoint, status=1)
    expect_in(text, "• `&lt;!channel&gt; &amp; *all*` (visitor): failed", "&lt;https://evil.example|click&gt; 'x'")
    assert not re.search(r"<|>|&(?!amp;|lt;|gt;)", text)


def test_ids_of_rows_are_not_told(people, sandbox, endpoint):
    sandbox.fail(DISLIKED)
    assert "v3" in people.sync(status=1).result()["message"]
    assert "v3" not in endpoint.told()


def test_of_masked_columns_pendos_words_are_not_told(people, sandbox, endpoint, monkeypatch):
    monkeypatch.setenv("DBT_PENDO_MASK", "Plan")
    sandbox.fail(DOWN)
    assert "did not take POST" in people.sync(status=1).result()["message"]
    text = endpoint.told()
    assert "• `people` (visitor): failed. 0 delivered\nLook further" in text
    # What holds a sync back is about no row.
    people.annotate("people", {**PEOPLE, "max_changes": 5})
    assert "max_changes allows 5" in after(people, endpoint, status=1)


# Whatever a receiver does, the run is as it would be.


def outcome(project: SmallProject, status: int) -> dict[str, Any]:
    """What a run leaves, without what differs from run to run."""
    result = project.sync(status=status).result()
    assert result.pop("duration") >= 0
    return result


FAULTS = {
    "500": ([Reply(500, b"no")] * 2, "it answers HTTP 500"),
    "404": ([Reply(404, b"no_service")], "it answers HTTP 404"),
    "redirect": ([Reply(302, headers={"Location": "http://127.0.0.1:9/elsewhere"})], "it answers with a redirect"),
    "close": ([Reply(200, ending="close")], "the connection broke"),
    "reset": ([Reply(200, ending="reset")], "the connection broke"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_receiver_that_does_not_take_it_changes_nothing(people, sandbox, endpoint, fault):
    replies, complaint = FAULTS[fault]
    sandbox.fail(DISLIKED)
    endpoint.replies = list(replies)
    ended = run_cli("sync").expect(1)
    expect_in(ended.stdout, f"No alert to PENDO_ALERT_URL: {complaint}", "9 delivered, 1 rejected")
    assert len(endpoint.calls) == len(replies)
    # It has had its chance.
    endpoint.calls.clear()
    run_cli("sync").expect(1)
    assert endpoint.told() == ""


@pytest.mark.parametrize("reply", [Reply(429), Reply(503, b"later"), Reply(500, b"rollup_error")])
def test_what_was_surely_not_taken_is_sent_once_more(people, sandbox, endpoint, reply):
    sandbox.fail(DISLIKED)
    endpoint.replies = [reply]
    ended = run_cli("sync").expect(1)
    assert "No alert" not in ended.stdout
    first, second = endpoint.messages
    assert first == second


def test_a_receiver_that_hangs_is_not_waited_for(people, sandbox, endpoint, monkeypatch):
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.2)
    sandbox.fail(DISLIKED)
    endpoint.hangs = True
    run_cli("sync").expect(1).says("No alert to PENDO_ALERT_URL: it does not answer in time.")
    # It may have taken it for all we know: never more than one a run.
    assert len(endpoint.calls) == 1


@pytest.mark.parametrize(("limit", "seconds"), [("DEADLINE", 0.5), ("TIMEOUT", 0.3)])
def test_an_answer_that_drips_is_not_waited_for(people, sandbox, monkeypatch, limit, seconds):
    monkeypatch.setattr(webhooks, limit, seconds)
    sandbox.fail(DISLIKED)
    with dripping() as url:
        monkeypatch.setenv("PENDO_ALERT_URL", url)
        started = time.monotonic()
        ended = run_cli("sync").expect(1)
        if limit == "TIMEOUT":
            assert time.monotonic() - started < webhooks.DEADLINE
            # Nobody goes on listening to it.
            assert not [thread for thread in threading.enumerate() if thread.name.endswith("(_tell)")]
    ended.says("No alert to PENDO_ALERT_URL: it does not answer in time.")


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/{TOKEN}"


WRONG_PROXY = "http://user:hunter2%E2%82%AC@127.0.0.1:1"


@pytest.mark.parametrize(
    ("url", "proxy", "told"),
    [
        (f"https://hooks.invalid/{TOKEN}", WRONG_PROXY, "proxy in HTTPS_PROXY: what it holds is no proxy's URL"),
        (f"https://hooks.invalid/{TOKEN}", "http://user:hunter2@127.0.0.1:1", "the connection broke"),
        (f"https://hooks {TOKEN}", None, "No alert to PENDO_ALERT_URL: it cannot be posted to (InvalidURL)."),
        (None, None, "No alert to PENDO_ALERT_URL: it cannot be reached."),
    ],
)
def test_a_receiver_that_cannot_be_reached(people, sandbox, monkeypatch, nobody, url, proxy, told):
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("PENDO_ALERT_URL", url or nobody)
    sandbox.fail(DISLIKED)
    ended = run_cli("sync").expect(1).says(told)
    for secret in ("hunter2", TOKEN, TOKEN.split("/")[0]):
        assert secret.lower() not in ended.output.lower()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "the environment variable is not set"),
        (f"hooks.example/{TOKEN}", "what it holds is no URL"),
        (f"ftp://hooks.example/{TOKEN}", "what it holds is no URL"),
        (f"https://[{TOKEN}", "what it holds is no URL"),
        (f"http://hooks.example/{TOKEN}", "its URL would travel over plain http; use https, or set PENDO_ALLOW_HTTP="),
    ],
)
def test_a_url_that_cannot_be_used_is_said_before_it_is_needed(people, monkeypatch, url, complaint):
    monkeypatch.setenv("PENDO_ALERT_URL", url)
    for command in ("sync", "check"):
        ended = run_cli(command).expect(0)
        assert f"No alert to PENDO_ALERT_URL: {complaint}" in ended.stdout
        assert TOKEN not in ended.output
    assert "PENDO_ALERT_URL" not in run_cli("check", "--offline").expect(0).stdout


def test_the_results_are_those_of_a_run_without_alerts(people, sandbox, endpoint):
    sandbox.fail(DISLIKED)
    endpoint.replies = [Reply(500)] * 2
    with_alerts = outcome(people, 1)
    assert len(endpoint.calls) == 2
    alert(people)
    people.run("reset").expect(0)
    assert (outcome(people, 1), len(endpoint.calls)) == (with_alerts, 2)


def test_a_run_log_that_cannot_be_read_is_no_reason_to_be_silent(people, sandbox, endpoint):
    people.sync()
    people.sql("drop table main_pendo.pendo_runs; create table main_pendo.pendo_runs as select 1 as nothing")
    people.build("people", ROWS.format("b", 10))
    sandbox.fail(DISLIKED)
    assert "Pendo rejected rows. 9 delivered, 1 rejected" in after(people, endpoint, status=1)


def test_a_mistake_in_the_project_is_one_of_configuration(people, endpoint):
    alert(people, {"url": "PENDO_ALERT_URL", "event": ["failure"]})
    ended = run_cli("sync").expect(2)
    expect_in(ended.stderr, "vars.dbt_pendo.alerts[0]: unknown key `event`.", "Did you mean `events`?")


def test_the_url_shows_nowhere(people, sandbox, endpoint, tmp_path):
    sandbox.fail(DISLIKED)
    said = ""
    for replies in (
        [],
        [Reply(302, headers={"Location": f"http://127.0.0.1:9/{TOKEN}"})],
        [Reply(200, ending="close")],
    ):
        endpoint.replies = list(replies)
        people.run("reset").expect(0)
        people.sql("drop table if exists main_pendo.pendo_runs")
        for args in (("sync",), ("sync", "--log-format", "json"), ("check",), ("show", "--requests")):
            said += run_cli(*args).output
    assert len(endpoint.calls) == 3
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for part in TOKEN.split("/"):
        assert part not in said
        assert part.encode() not in kept
