"""The command line: what each command prints and takes, and how it ends.

What people see is in docs/output.md, which test_output_page.py holds.
"""

import json
import re
import sys

import pytest
import yaml
from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, REPOSITORY, bodies, expect_in, planned, run_cli, writes
from harness.warm import warm_python

from dbt_pendo import __version__
from dbt_pendo.cli import COMMANDS
from dbt_pendo.sandbox import Fault


def test_help_tells_of_flags_and_variables():
    assert run_cli("-h").expect(0).stdout == run_cli("--help").expect(0).stdout
    shown = {command: run_cli(command, "--help").expect(0) for command in COMMANDS}
    assert {command: ended.stderr for command, ended in shown.items()} == dict.fromkeys(COMMANDS, "")
    wanted = "--project-dir --select -s --json --fail-fast -x --dry-run DBT_PROJECT_DIR PENDO_REGION DBT_PENDO_SCHEMA"
    assert [flag for flag in wanted.split() if not re.search(rf"(?<![\w-]){flag}(?![\w-])", shown["sync"].stdout)] == []


def test_json_is_one_document_and_nothing_else(people):
    about = {"sync": "people", "unique_id": "model.small.people", "object": "visitor"}
    about |= {"status": "success", "message": None}
    for command in ("check", "check --offline", "plan --show 3", "sync --dry-run", "sync"):
        ended = people.run(*command.split(), "--json").expect(0)
        assert (ended.stderr, ended.json["metadata"]["dbt_pendo_version"]) == ("", __version__)
        assert about.items() <= ended.result().items()
    # It wins over other forms of output.
    assert people.run("sync", "--json", "--log-format", "json", "--quiet", "--use-colors").expect(0).json["results"]
    # So it is with an error.
    people.manifest_path.unlink()
    document = people.run("sync", "--json").expect(2).json
    assert (set(document), document["error"]["hint"][:15]) == ({"metadata", "error"}, "Run `dbt build`")
    (line,) = people.run("sync", "--log-format", "json").expect(2).output.splitlines()
    logged = json.loads(line)
    assert (logged["info"]["name"], logged["info"]["level"]) == ("CommandFailed", "error")
    assert logged["data"]["message"] == document["error"]["message"]


def test_the_schema_takes_the_sample_project():
    jsonschema = pytest.importorskip("jsonschema")
    schema = run_cli("schema").expect(0).json
    assert run_cli("schema", "--json").expect(0).json == schema
    files = (REPOSITORY / "sample_project" / "models").rglob("*.yml")
    models = [model for file in files for model in yaml.safe_load(file.read_text()).get("models", [])]
    mappings = [model["config"]["meta"]["pendo"] for model in models if model.get("config", {}).get("meta")]
    assert len(mappings) == 4
    for mapping in mappings:
        jsonschema.validate(mapping, schema)


def test_show_prints_the_requests_a_sync_sends(people, sandbox, monkeypatch):
    people.model("clicks", {**CLICKS, "batch_size": 5}, CLICK_ROWS)
    people.annotate("people", {**PEOPLE, "mode": "upsert", "on_removed": "delete", "max_removals": 1})
    document = people.plan("--show", "100").json
    assert writes(sandbox.requests) == []
    shown = [request for result in document["results"] for request in result["requests"]]
    upsert = "/api/v1/metadata/visitor/custom/value?create=true"
    assert {(one["method"], one["path"]) for one in shown} == {("POST", "/data/track"), ("POST", upsert)}
    (request,) = people.plan("--show", "2", "--select", "clicks").result()["requests"]
    assert len(request["body"]) == 2
    people.run("plan", "--show", "1").expect(0).says("POST /data/track", '"event": "Clicked"')
    # It takes no key, nor does a plan that shows none.
    sandbox.forget_requests()
    with monkeypatch.context() as environment:
        environment.delenv("PENDO_INTEGRATION_KEY")
        environment.delenv("PENDO_TRACK_SECRET")
        results = people.plan().json["results"]
        assert [(one["planned"], one["requests"]) for one in results] == [
            (planned(added=12), []),
            (planned(added=2), []),
        ]
        people.plan("--show", "1")
    assert sandbox.requests == []
    people.sync("--concurrency", "1")
    assert sandbox.peak_concurrency == 1
    sent = [json.dumps(body, sort_keys=True) for body in bodies(sandbox.requests)]
    assert sorted(json.dumps(request["body"], sort_keys=True) for request in shown) == sorted(sent)
    people.build("people", "select 'a' as id, 'pro' as plan")
    (request,) = people.plan("--show", "5").result("people")["requests"]
    assert request == {"method": "POST", "path": "/api/v1/bulkdelete/visitor", "body": {"visitors": ["b"]}}


def test_what_went_right_and_wrong_is_told_with_what_to_do(people, sandbox):
    reason = "[RUN, its table as it is, not built by `dbt build`]"
    people.run("sync").expect(0).says(
        reason, "OK synced visitor people", "Completed successfully", "Done. OK=1 WARN=0 "
    )
    people.sql("update main.people set plan = 'x' where id = 'a'")
    people.sql("insert into main.people values ('stranger', 'x'), (null, 'x')")
    shown = people.run("sync").expect(0).stdout
    assert re.search(r"WARN synced visitor people \.+ \[1 delivered, 1 missing, 1 invalid in", shown)
    sandbox.fail(Fault(status=400, body="no", path="/value", times=None))
    shown = people.run("sync", "--full-refresh").expect(1).stdout
    # And where to look the rows up.
    expect_in(shown, "ERROR syncing visitor people", "Completed with errors", "--rows` lists the rows that were not")


def test_colours_when_asked_for_and_only_errors_where_it_is_quiet(people, monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    for flags, coloured in ((), False), (("--use-colors",), True), (("--no-use-colors",), False):
        assert ("\x1b[" in people.run("sync", *flags).expect(0).stdout) == coloured
    for command in ("check", "plan", "sync"):
        assert people.run(command, "--quiet").expect(0).output == ""
    people.model("bad", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    for command, status in (("check", 2), ("plan", 2), ("sync", 1)):
        shown = people.run(command, "-q").expect(status).says("no column `nowhere`").output
        assert "people" not in shown.replace("model.small", "")
        logged = people.run(command, "--log-format", "json").expect(status).stdout
        infos = [json.loads(line)["info"] for line in logged.splitlines()]
        assert any(info["level"] == "error" and "no column `nowhere`" in info["msg"] for info in infos)


def test_a_secret_that_comes_back_from_pendo_is_in_no_log(people, sandbox, monkeypatch):
    """A proxy that shows what it was sent, to a user who wants to see everything. More is in test_secrets.py."""
    people.model("clicks", CLICKS, CLICK_ROWS)
    secrets = (sandbox.integration_key, sandbox.track_secrets[""])
    for name in ("DBT_DEBUG=1", "DBT_LOG_LEVEL=debug", "DBT_LOG_LEVEL_FILE=debug", "PENDO_RETRIES=0"):
        monkeypatch.setenv(*name.split("="))
    for path, secret in zip(("/value", "/data/track"), secrets, strict=True):
        body = f'{{"errors": ["x-pendo-integration-key: {secret}"], "key": "{secret}"}}'
        sandbox.fail(Fault(status=200, body=body, headers={"X-Key": secret}, times=None, path=path))
    shown = people.run("sync").output
    assert all(request.fault for request in writes(sandbox.requests))
    shown += "".join(path.read_bytes().decode("latin-1") for path in people.folder.rglob("*") if path.is_file())
    assert not [secret for secret in secrets if secret in shown]


def test_the_sandbox_lists_its_switches_and_refuses_what_it_does_not_understand():
    expect_in(run_cli("sandbox", "--switches").expect(0).stdout, "error_items", "event_arrays")
    for args, part in {
        "--switch nosuch=1": "nosuch",
        "--switch null": "NAME=VALUE",
        "--switch null=sometimes": "sometimes",
        "--load nowhere.json": "nowhere.json",
    }.items():
        assert part in run_cli("sandbox", "--port", "0", *args.split()).expect(2).stderr


def test_the_demo(tmp_path, monkeypatch):
    # Each of its commands is a process of its own, of a Python that has dbt imported already.
    monkeypatch.setattr(sys, "executable", warm_python())
    kept = tmp_path / "kept"
    run_cli("demo", "--keep", str(kept)).expect(0).says("105 visitors", "16 accounts", "600 track events")
    assert (kept / "sample.duckdb").exists()
    results = json.loads((kept / "target" / "pendo_results.json").read_text())["results"]
    delivered = {result["sync"].removeprefix("pendo_"): result["delivered"] for result in results}
    assert delivered == {"visitors": 15, "accounts": 7, "payments": 11, "usage": 25}
    # Not into a folder that is in use.
    assert "not empty" in run_cli("demo", "--keep", str(kept)).expect(2).stderr
