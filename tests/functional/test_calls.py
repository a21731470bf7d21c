"""Every call of a run can be looked at afterwards: what is kept, what is hidden, and how it is found again."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from harness import CLICKS, PEOPLE, SmallProject, add_fields, refuse, sent_ids

from dbt_pendo.history import calls as call_log
from dbt_pendo.sandbox import Fault, Sandbox

PEOPLE_ROWS = """
    select 'u-' || range as id, 'plan ' || range as plan, 'user' || range || '@example.org' as email
    from range(12)
"""
MAPPED = {**PEOPLE, "fields": {"plan": "plan", "contact": "email"}, "batch_size": 4}


@pytest.fixture
def people(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """Twelve visitors in three requests; Pendo does not know one of them."""
    add_fields(sandbox, plan="string", contact="string")
    sandbox.add_visitors([f"u-{number}" for number in range(11)])
    project.model("people", MAPPED, PEOPLE_ROWS)
    return project


def log_of(project: SmallProject) -> Path:
    """The calls of the latest run."""
    return max((project.target / "dbt_pendo" / "runs").iterdir()) / "requests.jsonl"


def lines_of(project: SmallProject) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log_of(project).read_text().splitlines()]


def test_the_log_has_each_request_that_pendo_got(people, sandbox):
    sandbox.fail(Fault(status=503, body="busy", path="value", times=1))
    for key in ("u-3", "u-7"):
        refuse(sandbox, key, f"{key}: plan is not to our liking")
    people.sync(status=1)
    lines = lines_of(people)
    assert sorted((line["method"], line["path"], line["status"]) for line in lines) == sorted(
        (request.method, request.path, request.status) for request in sandbox.requests
    )
    for line in lines:
        if line["failed"]:
            sent = [json.loads(request.body) for request in sandbox.requests if request.status == line["status"]]
            assert line["request"] in sent
    assert [(line["attempt"], line["answer"]) for line in lines if line["status"] == 503] == [(1, "busy")]
    assert sorted(key for line in lines if line["status"] == 200 for key in line["keys"]) == sent_ids(
        [request for request in sandbox.requests if request.status == 200], "visitor"
    )
    # Each row that was not delivered comes with Pendo's words and the request that carried it.
    shown = people.run("show", "--json").expect(0).json
    *refused, missing = shown["undelivered"]
    assert {(row["key"], row["status"], row["detail"]) for row in refused} == {
        (key, "rejected", f"HTTP 400: {key}: plan is not to our liking") for key in ("u-3", "u-7")
    }
    assert (missing["key"], missing["status"], lines[missing["call"] - 1]["status"]) == ("u-11", "missing", 200)
    assert all(lines[row["call"] - 1]["answer"].startswith(row["key"]) for row in refused)
    # Failed calls, and those of a row.
    everything = people.run("show", "last", "--requests", "--json").expect(0).json["results"]
    assert len(everything) == len(sandbox.requests)
    failed = people.run("show", "--requests", "--failed", "--json").expect(0).json["results"]
    assert failed == [call for call in everything if call["failed"]]
    of_row = people.run("show", "--row", "u-9", "--json").expect(0).json["results"]
    assert of_row == [call for call in everything if call["keys"] and "u-9" in call["keys"]] != []
    assert "No such call was kept." in people.run("show", "--row", "nobody").expect(0).stdout


def test_masked_columns_are_nowhere_in_the_log(people, sandbox, monkeypatch):
    refuse(sandbox, "u-3", "user3@example.org is no address of u-3")
    told = people.run("sync", "--mask", "emial,EMAIL").expect(1).stdout
    assert "mask: no sync of this run has a column `emial`" in told
    assert "`EMAIL`" not in told
    text = log_of(people).read_text()
    assert "@example.org" not in text
    assert "*** is no address of u-3" in text
    record = people.run("show", "--failed", "--json").expect(0).json["results"][-1]["request"][0]
    assert record == {"visitorId": "u-3", "values": {"plan": "plan 3", "contact": "***"}}
    # Masked ids can still be asked for.
    monkeypatch.setenv("DBT_PENDO_MASK", "id, plan")
    people.sync(status=1)
    text = log_of(people).read_text().replace("pendo-", "")
    assert ("u-" in text, "plan 3" in text) == (False, False)
    assert people.run("show", "--row", "u-11", "--json").expect(0).json["results"] != []
    rejected, missing = people.run("show", "--json").expect(0).json["undelivered"]
    assert [(row["key"], row["call"] is None) for row in (rejected, missing)] == [("u-3", False), ("u-11", False)]


def test_events_and_their_ids(project, sandbox):
    mapping = {**CLICKS, "visitor_id": "who", "properties": {"plan": "plan"}}
    rows = "select 'e-' || range as id, 'u-' || range as who, now() as at, 'pro' as plan from range(5)"
    project.model("paid", mapping, rows)
    refuse(sandbox, "u-2", "no such visitor")
    project.sync("--mask", "who", status=1)
    (call,) = project.run("show", "--row", "e-2", "--json").expect(0).json["results"]
    assert call["keys"] == ["e-2"]
    assert (call["status"], call["answer"], call["request"]["visitorId"]) == (400, "no such visitor", "***")
    story = project.run("row", "paid", "e-2", "--json").expect(0).result()
    assert [entry["status"] for entry in story["ledger"]] == ["rejected"]
    assert story["values"] == [{"name": "plan", "column": "plan", "warehouse": "pro", "pendo": None}]
    assert story["is_held"] is None


def test_the_story_of_a_row(people, sandbox, monkeypatch):
    def story_of(key: str) -> Any:
        return people.run("row", "people", key, "--json").expect(0).result()

    story = story_of("u-1")
    assert (story["ledger"], story["calls"], story["rows"], story["is_held"]) == ([], [], 1, True)
    assert "There is no sync persons." in people.run("row", "persons", "u-1").expect(2).stderr
    assert "has a row U-1" in people.run("row", "people", "U-1").expect(2).stderr
    people.sync()
    people.build("people", PEOPLE_ROWS.replace("'plan '", "'newer plan '"))
    refuse(sandbox, "u-3", "not this plan")
    second = people.sync(status=1).json["metadata"]["run_id"]
    # A key that may only read will do to look.
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", sandbox.read_only_key)
    story = story_of("u-3")
    assert [(entry["status"], entry["detail"]) for entry in story["ledger"]] == [
        ("rejected", "HTTP 400: not this plan"),
        ("delivered", None),
    ]
    assert story["ledger"][0]["run_id"] == story["run_id"] == second
    assert story["values"][0] == {"name": "plan", "column": "plan", "warehouse": "newer plan 3", "pendo": "plan 3"}
    assert story["calls"][-1]["answer"] == "not this plan"
    printed = people.run("row", "people", "u-3").expect(0).stdout
    # Of the request only what is about the row.
    assert '"visitorId": "u-3"' in printed
    assert '"visitorId": "u-2"' not in printed
    # But for a row, looking needs no manifest.
    people.manifest_path.unlink()
    people.run("runs").expect(0)
    people.run("show").expect(0)
    assert "There is no manifest.json" in people.run("row", "people", "u-1").expect(2).stderr


def test_runs_are_those_of_the_warehouse(people, sandbox):
    assert "No run is logged yet." in people.run("runs").expect(0).stdout
    assert "No run is logged yet." in people.run("show").expect(2).stderr
    ids = [people.sync().json["metadata"]["run_id"] for _ in range(3)]
    logged = people.run("runs", "--json", "--limit", "2").expect(0).json["results"]
    assert [run["run_id"] for run in logged] == ids[:0:-1]
    assert people.run("show", ids[0][:-2], "--json").expect(0).json["results"][0]["run_id"] == ids[0]
    assert "Several runs are called 20" in people.run("show", "20").expect(2).stderr
    assert "No run nonsense is logged." in people.run("show", "nonsense").expect(2).stderr
    # Of `verify` the log keeps the calls without the records that it read.
    people.run("verify").expect(0)
    lines = [line for line in lines_of(people) if line["path"] == "/api/v1/aggregation"]
    assert [line for line in lines if "answer" in line] == [] != lines


def test_so_many_runs_keep_their_calls(people, sandbox, monkeypatch):
    monkeypatch.setenv("DBT_PENDO_KEEP_RUNS", "2")
    ids = [people.sync("--full-refresh").json["metadata"]["run_id"] for _ in range(3)]
    runs = people.target / "dbt_pendo" / "runs"
    assert sorted(folder.name for folder in runs.iterdir()) == ids[1:]
    people.run("show", ids[0]).expect(0).says("This machine has not kept the calls of this run.")
    assert "are not kept on this machine" in people.run("show", ids[0], "--requests").expect(2).stderr
    # Nothing else in there is anybody's to remove.
    (runs / "notes").mkdir()
    people.sync()
    assert (runs / "notes").is_dir()


def test_a_log_that_cannot_be_read_or_written_fails_nothing(people, sandbox):
    sandbox.fail(Fault("hang", when="after", seconds=0.3, path="custom/value"))
    people.sync()
    (slowest,) = re.findall(r"slowest: #\d+ (\d+) ms, ", people.run("show").expect(0).output)
    assert int(slowest) >= 300
    text = log_of(people).read_text()
    # A crash has cut off the last line.
    log_of(people).write_text(text[:-20])
    calls = people.run("show", "--requests", "--json").expect(0).json["results"]
    assert len(calls) == len(text.splitlines()) - 1
    shutil.rmtree(people.target / "dbt_pendo" / "runs")
    (people.target / "dbt_pendo" / "runs").write_text("in the way")
    sandbox.forget_requests()
    people.run("sync", "--full-refresh").expect(0).says("the calls of this run are not kept")
    assert sent_ids(sandbox.requests, "visitor") == sorted(f"u-{number}" for number in range(12))


def test_a_large_log_keeps_lines_and_then_only_failures(people, sandbox, monkeypatch):
    people.annotate("people", {**MAPPED, "batch_size": 1})
    people.sync()
    written = [line for line in lines_of(people) if line["path"].endswith("/value")]
    kept = [line for line in written if "request" in line]
    # Of what worked a sample of bodies, and the one whose id Pendo does not know.
    assert (len(written), len(kept)) == (12, call_log.SAMPLES + 1)
    assert sum(line["answer"].get("missing") == ["u-11"] for line in kept) == 1
    refuse(sandbox, "u-9", "no")
    sandbox.forget_requests()
    monkeypatch.setattr(call_log, "FULL_LINES", 2_000)
    monkeypatch.setattr(call_log, "ALL_LINES", 4_000)
    monkeypatch.setenv("PENDO_CONCURRENCY", "1")
    people.sync("--full-refresh", status=1)
    lines = lines_of(people)
    assert sum("keys" in line for line in lines) < len(lines) < len(sandbox.requests)
    assert any(line["status"] == 400 for line in lines)
