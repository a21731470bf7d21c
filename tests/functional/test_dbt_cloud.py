"""Syncs of what dbt Cloud built: the right steps of the right run, and every way in which it can go wrong."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cloud_server import ACCOUNT, COMMANDS, TOKEN, DbtCloud, Run, Step
from harness import Project, custom, expect_in, run_cli, writes
from raw_server import Answer, RawServer, drip, flood, head, ok

from dbt_pendo.project import cloud
from dbt_pendo.sandbox import Sandbox
from dbt_pendo.sandbox.exchange import Reply

RUN, JOB = "--dbt-cloud-run-id=123", "--dbt-cloud-job-id=1"
PLANS = {"a": {"plan": "pro"}, "b": {"plan": "free"}, "c": {}, "d": {"plan": "pro"}}


@pytest.fixture
def steps(built_in_cloud: Path) -> dict[str, Step]:
    """Steps as a job has them, with what real dbt left after each."""
    commands = {name: f"Invoke dbt with `dbt {command}`" for name, _, command in COMMANDS}
    return {name: Step(told, built_in_cloud / "steps" / name) for name, told in commands.items()}


@pytest.fixture
def make_run(dbt_cloud: DbtCloud, steps: dict[str, Step]) -> Callable[..., Run]:
    def make(*names: str, run_id: int = 123, status: int = 10, **about: object) -> Run:
        run = Run(run_id, [steps[name] for name in names], status, **about)  # type: ignore[arg-type]
        dbt_cloud.runs.append(run)
        return run

    return make


def invocation(step: Path) -> str:
    return str(json.loads((step / "manifest.json").read_text())["metadata"]["invocation_id"])


def refused(project: Project, sandbox: Sandbox, status: int, *parts: str, flag: str = RUN) -> None:
    """A sync says what is wrong, sends nothing and keeps nothing; the token shows nowhere."""
    ended = run_cli("sync", "--json", flag).expect(status)
    expect_in(ended.stderr, *parts)
    assert parts[0] in ended.json["error"]["message"]
    assert TOKEN[:8] not in ended.output
    assert writes(sandbox.requests) == []
    assert not (project.target / "pendo_results.json").exists()
    assert "main_pendo" not in project.schemas()


def test_a_failed_run_syncs_what_it_built_although_docs_came_last(in_cloud, dbt_cloud, make_run, sandbox):
    make_run("build", "docs", status=20)
    run_cli("sync", RUN, "--no-require-tests").expect(0).says(
        "Found 3 syncs in run 123 of dbt Cloud, which failed (step 4: dbt build)"
    )
    assert custom(sandbox.visitors) == {**PLANS, "d": {}}
    fetched = in_cloud.target / "dbt_pendo" / "dbt_cloud" / "123"
    assert fetched.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in fetched.iterdir()} == {0o600}
    document = in_cloud.results()
    messages = {result["sync"]: result["message"] for result in document["results"] if result["status"] == "skipped"}
    assert messages == {"broken": "skipped: the last dbt run left the model in status 'error'"}
    assert document["metadata"]["manifest_invocation_id"] == invocation(dbt_cloud.runs[0].steps[0].artifacts)
    # Only what changed since is sent again.
    sent = len(writes(sandbox.requests))
    make_run("seed", "run", run_id=124)
    ended = in_cloud.sync("--dbt-cloud-run-id", "124")
    assert ended.statuses == dict.fromkeys(("people", "tested", "broken"), "success")
    assert (custom(sandbox.visitors), len(writes(sandbox.requests))) == (PLANS, sent + 1)


def test_steps_of_one_run_count_together(in_cloud, make_run, sandbox, built_in_cloud):
    make_run("people", "not_people", "test", "docs")
    ended = run_cli("sync", RUN, "--only-built", "--require-tests").expect(0)
    steps = "step 4: dbt run --select people, step 5: dbt run --exclude people, step 6: dbt test"
    assert f"in run 123 of dbt Cloud ({steps})" in ended.stdout
    # People was built by an earlier step than the manifest's; the test that failed ran in a later one.
    results = {result["sync"]: result["status"] for result in in_cloud.results()["results"]}
    assert results == {"people": "success", "tested": "skipped", "broken": "success"}
    assert custom(sandbox.visitors) == PLANS
    last = invocation(built_in_cloud / "steps" / "not_people")
    assert in_cloud.results()["metadata"]["manifest_invocation_id"] == last
    # The latest result of a node counts.
    make_run("build", "run", run_id=1)
    make_run("run", "build", run_id=2)
    for run_id, status in (("2", "skipped"), ("1", "success")):
        assert in_cloud.sync("--dbt-cloud-run-id", run_id).statuses["broken"] == status


def test_what_a_step_has_left_counts_once(in_cloud, dbt_cloud, steps, tmp_path, sandbox):
    """`dbt parse` writes a manifest of its own, beside the run results of the command before."""
    mixed = tmp_path / "mixed"
    shutil.copytree(steps["build"].artifacts, mixed)
    shutil.copy(steps["docs"].artifacts / "manifest.json", mixed)
    # Run results of another invocation are not believed.
    dbt_cloud.runs.append(Run(123, [Step("Invoke dbt with `dbt build`", mixed)]))
    refused(in_cloud, sandbox, 2, "no step that built models")
    dbt_cloud.runs[0] = Run(123, [steps["build"], Step("Invoke dbt with `dbt parse`", mixed)])
    run_cli("plan", RUN).expect(0).says("Found 3 syncs in run 123 of dbt Cloud (step 4: dbt build)\n")


def test_steps_that_are_not_listed_are_found_by_number(in_cloud, dbt_cloud, make_run, sandbox):
    make_run("seed", "run", "docs")
    for lists_steps in ("no", "refused"):
        dbt_cloud.lists_steps = lists_steps
        dbt_cloud.calls.clear()
        run_cli("sync", RUN).expect(0).says("in run 123 of dbt Cloud (step 4: dbt seed, step 5: dbt run)")
        assert custom(sandbox.visitors) == PLANS
        assert len(dbt_cloud.calls) < 20
    # Selection is by the manifest of the run.
    ended = in_cloud.sync(RUN, "--select", "plans+", "--target-path", "target")
    assert ended.statuses.keys() == {"people"}


def test_the_artifacts_are_kept_for_a_day(in_cloud, make_run):
    make_run("run", run_id=1)
    make_run("run", run_id=2)
    in_cloud.plan("--dbt-cloud-run-id", "1")
    folder = in_cloud.target / "dbt_pendo" / "dbt_cloud"
    in_cloud.plan("--dbt-cloud-run-id", "2")
    assert {path.name for path in folder.iterdir()} == {"1", "2"}
    assert {path.name for path in (folder / "1").iterdir()} == {"manifest.json", "run_results.json"}
    long_ago = time.time() - 25 * 3600
    os.utime(folder / "1", (long_ago, long_ago))
    in_cloud.plan("--dbt-cloud-run-id", "2")
    assert {path.name for path in folder.iterdir()} == {"2"}


def test_of_a_job_the_latest_good_run(in_cloud, dbt_cloud, make_run, sandbox):
    run_cli("sync", "--dbt-cloud-run-id", "1", "--dbt-cloud-job-id", "2").expect(2).says("Give one of them")
    assert dbt_cloud.calls == []
    make_run("build", run_id=6, status=20, finished_at="2026-11-24 11:00:00+00:00")
    none = ("No run of job 1 has succeeded", "--dbt-cloud-run-id")
    refused(in_cloud, sandbox, 2, *none, flag=JOB)
    make_run("build", run_id=5, finished_at="2026-11-24 09:00:00+00:00")
    make_run("run", "docs", run_id=4, finished_at="2026-11-24 10:00:00+00:00")
    make_run("build", run_id=7, job_id=2, finished_at="2026-11-24 12:00:00+00:00")
    make_run("build", run_id=8, status=3, finished_at="")
    run_cli("sync", JOB).expect(0).says("in run 4 of dbt Cloud (step 4: dbt run)")
    assert custom(sandbox.visitors) == PLANS


UNBUILT = [
    ("build", 3, 1, ("Run 123 of dbt Cloud has not ended (", "Sync it when it has")),
    ("", 30, 2, ("Run 123 of dbt Cloud, which was cancelled, has no step that built models",)),
    ("test docs", 10, 2, ("Run 123 of dbt Cloud has no step that built models", "`dbt build`")),
]


def test_a_run_without_a_build_and_none(in_cloud, dbt_cloud, make_run, sandbox):
    missing = (f"There is no run 123 in account {ACCOUNT}", dbt_cloud.url, "DBT_CLOUD_HOST")
    refused(in_cloud, sandbox, 2, *missing)
    for names, status, ended, parts in UNBUILT:
        dbt_cloud.runs.clear()
        make_run(*names.split(), status=status)
        refused(in_cloud, sandbox, ended, *parts)


WRONG = [
    ("API_TOKEN", "", ["No dbt Cloud token is set: DBT_CLOUD_API_TOKEN", "service token"]),
    ("API_TOKEN", "tok\nen", ["DBT_CLOUD_API_TOKEN holds a character"]),
    ("API_TOKEN", "wrong", ["refused the token", "Invalid token.", "DBT_CLOUD_API_TOKEN", "Access URL"]),
    ("ACCOUNT_ID", "", ["DBT_CLOUD_ACCOUNT_ID is empty"]),
    ("ACCOUNT_ID", "acme", ["DBT_CLOUD_ACCOUNT_ID: 'acme' is not a whole number"]),
    ("ACCOUNT_ID", "99", ["There is no run 123 in account 99"]),
    ("HOST", "http://cloud.getdbt.com", ["DBT_CLOUD_HOST", "the token over plain http", "Use https."]),
    ("HOST", "https://cloud.getdbt.com/api/v2", ["DBT_CLOUD_HOST", "more than a host"]),
    ("HOST", "cloud getdbt", ["DBT_CLOUD_HOST", "Write it like cloud.getdbt.com"]),
    ("HOST", "https://me:pw@cloud.getdbt.com", ["DBT_CLOUD_HOST carries a user name"]),
]


def test_a_way_in_that_is_wrong(in_cloud, dbt_cloud, make_run, sandbox, monkeypatch):
    make_run("build")
    for variable, value, parts in WRONG:
        with monkeypatch.context() as environment:
            environment.setenv(f"DBT_CLOUD_{variable}", value)
            refused(in_cloud, sandbox, 2, *parts)
    told = json.dumps({"status": {"user_message": f"{TOKEN} may not read runs"}}).encode()
    dbt_cloud.faults = [Reply(403, told)]
    refused(in_cloud, sandbox, 2, "refused the token", "(HTTP 403: *** may not read runs)")
    monkeypatch.setenv("DBT_CLOUD_HOST", "cloud.invalid")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2%E2%82%AC@127.0.0.1:1")
    ended = run_cli("sync", RUN).expect(2)
    assert "by way of the proxy in HTTPS_PROXY" in ended.output
    assert "hunter2" not in ended.output
    # Nothing is needed of dbt Cloud without its flags.
    monkeypatch.setenv("DBT_CLOUD_HOST", "not a host")
    run_cli("sync").expect(2).says("There is no manifest.json")


def test_netrc_has_no_token_and_another_host_gets_none(in_cloud, dbt_cloud, make_run, sandbox, tmp_path):
    make_run("run")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password pw\n")
    in_cloud.plan(RUN)
    # It follows no redirect to another host.
    with DbtCloud(dbt_cloud.runs) as other:
        dbt_cloud.faults = [Reply(301, headers={"Location": f"{other.url}/api/v2/accounts/{ACCOUNT}/runs/123/"})]
        refused(in_cloud, sandbox, 2, "answers with a redirect to 127.0.0.1", "set DBT_CLOUD_HOST")
        assert [call.headers.get("authorization") for call in other.calls] == [None]


PASSING = [
    Reply(503),
    Reply(429, headers={"Retry-After": "0"}),
    Reply(200, b"<html>Sign in</html>", "text/html"),
    Reply(200, b'{"data": {"id": 123, "st', ending="truncate"),
    Reply(200, ending="reset"),
]
STAYING = [
    (Reply(500, b"oh no"), "HTTP 500: oh no"),
    (Reply(200, b"<html>"), "HTTP 200: an answer that is no JSON object"),
]


def test_faults_that_pass_and_that_stay(in_cloud, dbt_cloud, make_run, sandbox, monkeypatch, closed_port):
    monkeypatch.setattr(cloud, "FIRST_WAIT", 0.01)
    for stays, told in STAYING:
        dbt_cloud.faults = [stays] * 4
        refused(in_cloud, sandbox, 1, f"dbt Cloud at {dbt_cloud.url} did not answer", "in 4 attempts", told)
    assert len(dbt_cloud.calls) == 4 * len(STAYING)
    make_run("run", "docs")
    for passes in PASSING:
        dbt_cloud.faults = [passes]
        assert len(in_cloud.plan(RUN).json["results"]) == 3
    monkeypatch.setenv("DBT_CLOUD_HOST", f"http://127.0.0.1:{closed_port}")
    refused(in_cloud, sandbox, 1, "did not answer", "Connection refused")


ODD: list[tuple[Answer, str]] = [
    (lambda _: drip(head("Content-Length: 1000"), b" "), "no answer in time"),
    (lambda _: flood(head(), bytes(2**20)), "the answer is larger than 1 MiB"),
    (lambda _: [b"x" * 290 + TOKEN.encode() + b"\r\n\r\n"], "xxx***)"),
    (lambda _: [ok(b" " * 1190 + TOKEN.encode(), status="400 No")], "(HTTP 400: ***)"),
    (lambda _: [ok(b"", status="407 No")], "wants a log-in (HTTP 407)"),
    (lambda _: [ok(b"", "Location: https://[half/", status="302 No")], "did not answer"),
]


def test_odd_answers(in_cloud, dbt_cloud, sandbox, monkeypatch):
    monkeypatch.setattr(cloud, "TIMEOUT", 0.3)
    monkeypatch.setattr(cloud, "LARGEST_ANSWER", 2**20)
    monkeypatch.setattr(cloud, "ATTEMPTS", 1)
    for answer, told in ODD:
        with RawServer(answer) as server:
            monkeypatch.setenv("DBT_CLOUD_HOST", server.url)
            ended = run_cli("sync", RUN)
        assert ended.status in (1, 2)
        assert told in ended.output
        assert TOKEN[:8] not in ended.output
    assert writes(sandbox.requests) == []
