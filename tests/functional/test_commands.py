"""The command line: what each command prints and takes, and how it ends."""

from __future__ import annotations

import json
import os
import re

import pytest
from harness import (
    CLICK_ROWS,
    CLICKS,
    PEOPLE,
    PEOPLE_ROWS,
    SmallProject,
    bodies,
    expect_in,
    planned,
    run_cli,
    run_process,
    writes,
)

from dbt_pendo import __version__
from dbt_pendo.sandbox import Fault

COMMON_FLAGS = """
    --project-dir --profiles-dir --profile --target -t --target-path --vars --select -s --exclude --selector --json
    --quiet -q --log-format --no-use-colors DBT_PROJECT_DIR DBT_TARGET_PATH DBT_PROFILES_DIR PENDO_REGION PENDO_API_URL
    PENDO_DATA_URL PENDO_CONCURRENCY PENDO_REQUESTS_PER_SECOND PENDO_TIMEOUT DBT_PENDO_SCHEMA"""
FLAGS = {
    "check": f"{COMMON_FLAGS} --offline --warn-error",
    "plan": f"{COMMON_FLAGS} --show --full-refresh --dbt-cloud-run-id --dbt-cloud-job-id",
    "sync": f"{COMMON_FLAGS} --full-refresh --limit --force --fail-fast -x --dry-run --warn-error --dbt-cloud-run-id "
    "--dbt-cloud-job-id",
    "schema": "--json",
    "sandbox": "--json --port --load --switch",
    "demo": "--keep",
}
BAD = {**PEOPLE, "fields": {"plan": "nowhere"}}


def test_help_mentions_every_command_and_flag():
    for flag in ("--help", "-h"):
        output = run_cli(flag).expect(0).stdout
        assert [name for name in FLAGS if not re.search(rf"^  {name} ", output, re.MULTILINE)] == []
    for command, flags in FLAGS.items():
        ended = run_cli(command, "--help").expect(0)
        missing = [flag for flag in flags.split() if not re.search(rf"(?<![\w-]){flag}(?![\w-])", ended.stdout)]
        assert (missing, ended.stderr) == ([], "")
    assert __version__ in run_cli("--version").expect(0).stdout


def test_as_a_process(people):
    ended = run_process("sync", "--json").expect(0)
    assert (ended.stderr, ended.result()["delivered"]) == ("", 2)
    refused = run_process("sync", "--target", "nowhere").expect(2)
    assert refused.stderr.startswith("Error: ")


def test_json_is_one_document_and_nothing_else(people):
    about = {"sync": "people", "unique_id": "model.small.people", "object": "visitor", "status": "success"}
    for command in ("check", "check --offline", "plan", "plan --show 3", "sync --dry-run", "sync"):
        ended = people.run(*command.split(), "--json").expect(0)
        assert (ended.stderr, ended.json["metadata"]["dbt_pendo_version"]) == ("", __version__)
        result = ended.result()
        assert {key: result[key] for key in (*about, "message")} == {**about, "message": None}
    # It wins over other forms of output.
    for more in (("--log-format", "json"), ("--quiet",), ("--use-colors",)):
        assert people.run("sync", "--json", *more).expect(0).json["results"]
    # So it is with an error.
    people.manifest_path.unlink()
    document = people.run("sync", "--json").expect(2).json
    assert set(document) == {"metadata", "error"}
    assert document["error"]["message"].startswith("There is no manifest.json")
    assert document["error"]["hint"].startswith("Run `dbt build`")
    (line,) = people.run("sync", "--log-format", "json").expect(2).output.splitlines()
    logged = json.loads(line)
    assert (logged["info"]["name"], logged["info"]["level"]) == ("CommandFailed", "error")
    assert logged["data"]["message"].startswith("There is no manifest.json")


def test_a_run_that_fails_in_places(people):
    people.model("bad", BAD, PEOPLE_ROWS)
    for command, status in (("check", 2), ("plan", 2), ("sync", 1)):
        assert people.run(command, "--json").expect(status).statuses == {"bad": "error", "people": "success"}
        logged = people.run(command, "--log-format", "json").expect(status)
        assert logged.stderr == ""
        lines = [json.loads(line) for line in logged.stdout.splitlines()]
        for line in lines:
            assert set(line) == {"data", "info"}
            assert set(line["info"]) >= {"ts", "level", "msg", "name"}
            assert line["info"]["level"] in ("debug", "info", "warn", "error")
            assert line["info"]["msg"].strip()
        errors = [line["info"]["msg"] for line in lines if line["info"]["level"] == "error"]
        assert any("no column `nowhere`" in message for message in errors)
    results = [line["data"]["result"] for line in lines if "result" in line["data"]]
    assert results == people.results()["results"]


def test_the_schema_is_json_and_takes_the_sample_project(built_sample):
    jsonschema = pytest.importorskip("jsonschema")
    schema = run_cli("schema").expect(0).json
    assert run_cli("schema", "--json").expect(0).json == schema
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["$defs"]) >= {"visitor", "account", "track_event", "column"}
    manifest = json.loads((built_sample[1] / "target" / "manifest.json").read_text())
    mappings = [node["config"]["meta"]["pendo"] for node in manifest["nodes"].values() if node["config"].get("meta")]
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
        results = {one["sync"]: (one["planned"], len(one["requests"])) for one in people.plan().json["results"]}
        assert results == {"people": (planned(added=2), 0), "clicks": (planned(added=12), 0)}
        people.plan("--show", "1")
    assert sandbox.requests == []
    people.sync()
    sent = [json.dumps(body, sort_keys=True) for body in bodies(sandbox.requests)]
    assert sorted(json.dumps(request["body"], sort_keys=True) for request in shown) == sorted(sent)
    people.build("people", "select 'a' as id, 'pro' as plan")
    (request,) = people.plan("--show", "5").result("people")["requests"]
    assert request == {"method": "POST", "path": "/api/v1/bulkdelete/visitor", "body": {"visitors": ["b"]}}
    assert {"a", "b"} <= set(sandbox.visitors)


def test_a_line_a_sync_and_a_summary(people):
    people.model("clicks", CLICKS, CLICK_ROWS)
    ended = people.run("sync").expect(0)
    assert (ended.stderr, "\x1b" in ended.stdout) == ("", False)
    lines = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in ended.stdout.splitlines()]
    assert lines[:2] == [f"Running with dbt-pendo={__version__}", "Found 2 syncs in manifest.json"]
    reason = "its table as it is, not built by `dbt build`"
    assert re.fullmatch(rf"1 of 2 START sync track_event clicks \.+ \[RUN, {reason}\]", lines[3])
    assert re.fullmatch(r"1 of 2 OK synced track_event clicks \.+ \[12 delivered in \d+\.\d\ds\]", lines[4])
    # Events of long ago are a note below their sync, and no more.
    assert "are older than 7 days" in lines[5]
    assert re.fullmatch(r"2 of 2 OK synced visitor people \.+ \[2 delivered in \d+\.\d\ds\]", lines[7])
    assert {"Completed successfully", "Done. OK=2 WARN=0 ERROR=0 SKIP=0 TOTAL=2"} <= set(lines)
    assert "Delivered 14 rows in 13 requests" in ended.stdout


def test_what_went_wrong_is_told_with_what_to_do(people, sandbox):
    people.build("people", "select * from (values ('a', 'x'), ('stranger', 'x'), (null, 'x')) rows(id, plan)")
    shown = people.run("sync").expect(0).stdout
    assert re.search(r"WARN synced visitor people \.+ \[1 delivered, 1 missing, 1 invalid in", shown)
    expect_in(shown, "Pendo does not know this id (1, e.g. stranger)", "Completed with warnings.")
    sandbox.fail(Fault(status=400, body="no", path="/value", times=None))
    shown = people.run("sync", "--full-refresh").expect(1).stdout
    # And where to look the rows up.
    expect_in(shown, "ERROR syncing visitor people", "Completed with errors", "`dbt-pendo show` has the rows")


def test_quiet_prints_errors_only(people):
    for command in ("check", "plan", "sync"):
        assert people.run(command, "--quiet").expect(0).output == ""
    people.model("bad", BAD, PEOPLE_ROWS)
    shown = people.run("sync", "-q").expect(1).says("no column `nowhere`").output
    assert "people" not in shown.replace("model.small", "")
    assert "Running with" not in shown


def test_colours_when_asked_for(people, monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    for flags, coloured in ((), False), (("--use-colors",), True), (("--no-use-colors",), False):
        shown = people.run("sync", "--full-refresh", *flags).expect(0).stdout
        assert ("\x1b[" in shown) == coloured


def everything_kept(project: SmallProject) -> str:
    files = [*project.folder.rglob("*"), project.database]
    return "".join(path.read_bytes().decode("latin-1") for path in files if path.is_file())


def test_a_secret_that_comes_back_from_pendo_is_kept_nowhere(people, sandbox, monkeypatch):
    """A proxy that shows what it was sent, to a user who wants to see everything."""
    people.model("clicks", CLICKS, CLICK_ROWS)
    secrets = (sandbox.integration_key, sandbox.track_secrets[""])
    debug = {"DBT_DEBUG": "1", "DBT_LOG_LEVEL": "debug", "DBT_LOG_LEVEL_FILE": "debug"}
    for name, value in {"PENDO_RETRIES": "0", **debug}.items():
        monkeypatch.setenv(name, value)
    everything = ""
    for status, args in ((200, []), (302, ["--json"]), (400, ["--log-format", "json"]), (403, []), (500, [])):
        sandbox.clear_faults()
        for path, secret in zip(("/value", "/data/track"), secrets, strict=True):
            spelt = "".join(f"\\u{ord(letter):04x}" for letter in secret)
            body = f'{{"errors": ["x-pendo-integration-key: {secret}", "{spelt}"], "key": "{secret}"}}'
            headers = {"Location": f"{sandbox.url}/elsewhere?key={secret}", "X-Key": secret}
            sandbox.fail(Fault(status=status, body=body, headers=headers, times=None, path=path))
        everything += people.run("sync", "--full-refresh", *args).output
    assert {request.status for request in writes(sandbox.requests)} == {200, 302, 400, 403, 500}
    assert not [request for request in sandbox.requests if "/elsewhere" in request.path]
    everything += everything_kept(people)
    assert not [secret for secret in (*secrets, r"\u0073\u0061\u006e\u0064\u0062\u006f\u0078") if secret in everything]


def test_settings_on_the_way_to_pendo(people, sandbox, monkeypatch):
    people.model("clicks", CLICKS, CLICK_ROWS)
    # As in dbt Cloud, and by the API's host.
    for variable in ("PENDO_INTEGRATION_KEY", "PENDO_TRACK_SECRET"):
        monkeypatch.setenv(f"DBT_ENV_SECRET_{variable}", os.environ[variable])
        monkeypatch.delenv(variable)
    monkeypatch.delenv("PENDO_DATA_URL")
    people.sync("--concurrency", "1")
    assert (sandbox.peak_concurrency, len(sandbox.events)) == (1, 12)


def test_the_sandbox_lists_its_switches_and_refuses_what_it_does_not_understand():
    expect_in(run_cli("sandbox", "--switches").expect(0).stdout, "error_items", "event_arrays")
    for args, part in {
        "--switch nosuch=1": "nosuch",
        "--switch null": "NAME=VALUE",
        "--switch null=sometimes": "sometimes",
        "--load nowhere.json": "nowhere.json",
    }.items():
        assert part in run_cli("sandbox", "--port", "0", *args.split()).expect(2).stderr


def test_the_demo(tmp_path):
    kept = tmp_path / "kept"
    ended = run_process("demo", "--keep", str(kept)).expect(0).says("105 visitors", "16 accounts", "600 track events")
    assert (kept / "sample.duckdb").exists(), ended.output
    results = json.loads((kept / "target" / "pendo_results.json").read_text())["results"]
    delivered = {result["sync"].removeprefix("pendo_"): result["delivered"] for result in results}
    assert delivered == {"visitors": 15, "accounts": 7, "payments": 11, "usage": 25}
    # Not into a folder that is in use.
    assert "not empty" in run_cli("demo", "--keep", str(kept)).expect(2).stderr
