"""`dbt-pendo probe` as a command, and a sandbox like the Pendo that it has asked."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import requests
from harness import chosen, expect_in, run_cli, start, writes
from harness.warm import at_terminal

from dbt_pendo.sandbox import Fault
from dbt_pendo.settings import INTEGRATION_KEY, READ_ONLY_KEY

FILE = Path("pendo_probe.json")


@pytest.fixture(autouse=True)
def keys(sandbox, monkeypatch):
    monkeypatch.setenv(READ_ONLY_KEY, sandbox.read_only_key)


def test_a_probe_says_what_it_will_do_and_does_nothing_unless_told_so(sandbox):
    ended = run_cli("probe").expect(2)
    ended.says("dbt-pendo-probe-", "dbt_pendo_probe_", "_b", sandbox.url, "Nothing was sent", "Give --yes")
    assert (sandbox.requests, FILE.exists()) == ([], False)


def test_a_file_that_cannot_be_written_is_found_before_anything_is_asked(sandbox, tmp_path):
    for file in (tmp_path, tmp_path / "no folder" / "answers.json"):
        run_cli("probe", "--yes", "--output", str(file)).expect(2).says(f"{file} cannot be written", "--output")
    assert sandbox.requests == []


def test_at_a_terminal_it_asks_and_goes_on_only_after_a_yes(sandbox):
    for answer in ("n", "", "no", "yess"):
        ended = at_terminal("probe", answer=answer).expect(2).says("The probe creates there", "Nothing was sent")
        assert ended.stdout.count(f"Probe {sandbox.url}? [y/N] ") == 1
        assert (sandbox.requests, FILE.exists()) == ([], False)
    ended = at_terminal("probe", answer="y").expect(0).says("Wrote 27 answers to")
    asked = ended.stdout.index(f"Probe {sandbox.url}? [y/N] ")
    assert ended.stdout.index("The probe creates there") < asked < ended.stdout.index("Wrote 27 answers to")
    assert json.loads(FILE.read_text())["answers"]["null"] == sandbox.switches.null
    assert (sandbox.visitors, sandbox.accounts) == ({}, {})


def test_it_needs_no_project_and_writes_answers_alone(sandbox, tmp_path):
    sandbox.switches = chosen(null="ignore", number_becomes="integer", event_arrays="accept")
    ended = run_cli("probe", "--yes").expect(0).says("Wrote 27 answers to", "number_becomes")
    assert ended.stdout.index("The probe creates") < ended.stdout.index("Wrote")
    answers = json.loads(FILE.read_text())["answers"]
    assert (answers["null"], answers["number_becomes"], answers["event_arrays"]) == ("ignore", "integer", "accept")
    ended = run_cli("probe", "--yes", "--json", "--output", "other.json").expect(0)
    assert ended.json == json.loads(Path("other.json").read_text())
    assert ended.json["answers"] == answers
    for text in (FILE.read_text(), ended.stdout, ended.stderr):
        for part in (sandbox.url, "127.0.0.1", sandbox.integration_key, sandbox.read_only_key, "dbt-pendo-probe"):
            assert part not in text
    assert (sandbox.visitors, sandbox.accounts) == ({}, {})
    # Without a project there is no folder for its calls.
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_in_a_project_settings_and_targets_count_and_its_calls_are_kept(project, sandbox, monkeypatch):
    run_cli("probe", "--yes").expect(0)
    (folder,) = (project.target / "dbt_pendo/runs").iterdir()
    calls = (folder / "requests.jsonl").read_text()
    assert len(calls.splitlines()) == len(sandbox.requests)
    assert sandbox.integration_key not in calls
    sandbox.forget_requests()
    targets = "--vars={{dbt_pendo: {{targets: [{}]}}}}"
    run_cli("probe", "--yes", targets.format("prod")).expect(2).says("The target dev may not write to Pendo")
    monkeypatch.setenv(INTEGRATION_KEY, sandbox.read_only_key)
    run_cli("probe", "--yes", targets.format("dev")).expect(2).says(
        "PENDO_INTEGRATION_KEY may not write", "Create one with write access"
    )
    monkeypatch.delenv(INTEGRATION_KEY)
    run_cli("probe", "--yes").expect(2).says("No Pendo integration key is set")
    assert writes(sandbox.requests) == []


def test_what_could_not_be_removed_is_an_error(sandbox):
    sandbox.fail(Fault(status=403, path="/bulkdelete/account", times=None, body=f"not with {sandbox.read_only_key}"))
    ended = run_cli("probe", "--yes").expect(1)
    (left,) = sandbox.accounts
    expect_in(ended.stderr, f"The account {left} is left in Pendo", "POST /api/v1/bulkdelete/account", "not with ***")
    assert sandbox.read_only_key not in ended.output
    # What to do about a refused key is no part of it, and was shown with an escaped newline.
    assert "\\n" not in ended.stderr
    assert sandbox.visitors == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_probe_and_removes_what_it_has_made(sandbox, tmp_path, monkeypatch, number):
    sandbox.switches = chosen(latency_ms=(20, 20))
    run = start("dbt-pendo", "probe", "--yes", cwd=tmp_path, env=os.environ)
    while not sandbox.visitors and not run.has_ended():
        time.sleep(0.005)
    run.send(number)
    ended = run.wait().expect(1)
    expect_in(ended.output, f"Interrupted by {number.name}", "its answers are not written")
    assert (sandbox.visitors, sandbox.accounts, FILE.exists()) == ({}, {}, False)
    schema = sandbox.pendo.records["visitor"].schema.as_json()["custom"]
    assert len(schema) == 2
    assert all(field["isDeleted"] for field in schema.values())


def test_a_sandbox_like_a_pendo_takes_its_answers_and_tells_of_the_others(sandbox, tmp_path):
    switches = {"null": "error", "event_arrays": "accept", "error_items": "object"}
    sandbox.switches = chosen(**switches)
    run_cli("probe", "--yes").expect(0)
    document = json.loads(FILE.read_text())
    document["answers"] |= {"duplicate_id": "other 418", "drop_underscores": "unknown"}
    FILE.write_text(json.dumps(document))
    run = start(
        "dbt-pendo",
        "sandbox",
        "--port",
        "0",
        "--json",
        "--like",
        str(FILE),
        "--switch",
        "error_items=named",
        cwd=tmp_path,
        env=os.environ,
        stdout="said.json",
    )
    said = tmp_path / "said.json"
    while not said.read_text().endswith("\n") and not run.has_ended():
        time.sleep(0.01)
    url = json.loads(said.read_text())["url"]
    like = requests.get(f"{url}/_sandbox/switches", timeout=20).json()
    run.send(signal.SIGINT)
    ended = run.wait()
    assert {name: like[name] for name in switches} == {**switches, "error_items": "named"}
    expect_in(ended.stderr, "duplicate_id (other 418)", "drop_underscores (unknown)", "unknown_id_status (no switch)")


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"answers": 1}'])
def test_a_file_that_is_no_probes_is_refused(text):
    if text is not None:
        FILE.write_text(text)
    run_cli("sandbox", "--port", "0", "--like", str(FILE)).expect(2).says(str(FILE))
