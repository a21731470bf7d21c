"""The command line: what each command prints and takes, and how it ends.

What people see is in docs/reference/output.md and other pages, which test_doc_pages.py holds.
"""

import json
import re
import sys

from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, bodies, expect_in, run_cli, writes
from harness.warm import warm_python

from dbt_pendo import __version__
from dbt_pendo.mapping.keys import json_schema


def test_help_tells_of_flags_and_variables():
    expect_in(
        run_cli("sync", "-h").expect(0).stdout, "--project-dir", "-s, --select", "-x, --fail-fast", "PENDO_REGION"
    )


def test_json_is_one_document_and_nothing_else(people):
    about = {"sync": "people", "unique_id": "model.small.people", "object": "visitor"}
    about |= {"status": "success", "message": None}
    for command in ("check", "check --offline", "plan --show 3", "sync --dry-run", "sync"):
        ended = people.run(*command.split(), "--json").expect(0)
        assert (ended.stderr, ended.json["metadata"]["dbt_pendo_version"]) == ("", __version__)
        assert about.items() <= ended.result().items()
    assert run_cli("schema").expect(0).json == run_cli("schema", "--json").expect(0).json == json_schema()
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
        assert [result["requests"] for result in people.plan().json["results"]] == [[], []]
        people.plan("--show", "1")
    assert sandbox.requests == []
    people.sync("--concurrency", "1")
    assert sandbox.peak_concurrency == 1
    sent = [json.dumps(body, sort_keys=True) for body in bodies(sandbox.requests)]
    assert sorted(json.dumps(request["body"], sort_keys=True) for request in shown) == sorted(sent)
    people.build("people", "select 'a' as id, 'pro' as plan")
    (request,) = people.plan("--show", "5").result("people")["requests"]
    assert request == {"method": "POST", "path": "/api/v1/bulkdelete/visitor", "body": {"visitors": ["b"]}}


def test_colours_when_asked_for_and_only_errors_where_it_is_quiet(people, monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    for flags, coloured in ((), False), (("--use-colors",), True), (("--no-use-colors",), False):
        assert ("\x1b[" in people.run("sync", *flags).expect(0).stdout) == coloured
    for command in ("check", "plan", "fields", "sync"):
        assert people.run(command, "--quiet").expect(0).output == ""
    people.model("bad", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    for command, status in (("check", 2), ("plan", 2), ("fields", 2), ("sync", 1)):
        shown = people.run(command, "-q").expect(status).says("no column `nowhere`").output
        assert "people" not in shown.replace("model.small", "")
        logged = people.run(command, "--log-format", "json").expect(status).stdout
        infos = [json.loads(line)["info"] for line in logged.splitlines()]
        assert any(info["level"] == "error" and "no column `nowhere`" in info["msg"] for info in infos)


def test_the_sandbox_lists_its_switches_and_refuses_what_it_does_not_understand():
    expect_in(run_cli("sandbox", "--switches").expect(0).stdout, "error_items", "event_arrays")
    for args, part in {
        "--switch nosuch=1": "nosuch",
        "--switch null": "NAME=VALUE",
        "--switch null=sometimes": "sometimes",
        "--switch segment_looks=3": "a list of 2 int",
        "--switch segment_looks=[3": "no YAML",
        "--load nowhere.json": "nowhere.json",
    }.items():
        assert part in run_cli("sandbox", "--port", "0", *args.split()).expect(2).stderr


def test_the_demo(tmp_path, monkeypatch):
    # Each of its commands is a process of its own, of a Python that has dbt imported already.
    monkeypatch.setattr(sys, "executable", warm_python())
    # What is set for another project does not reach this one.
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PENDO_REGION", "nowhere")
    kept = tmp_path / "kept"
    told = run_cli("demo", "--keep", str(kept)).expect(0).says("105 visitors", "16 accounts", "602 track events")
    # No event is too old; what each warning means is said, and where to look next.
    assert "older than" not in told.output
    told.says("OK: Pendo has every row of pendo_payments and pendo_accounts.", "invalid (8 of pendo_usage and 4 of ")
    told.says("missing (14 of pendo_visitors)", "held (14 of pendo_visitors)")
    assert told.stdout.count("Look next at: ") == 2
    *_, next_step = told.stdout.strip().splitlines()
    folder, schema = re.fullmatch(r"  cd (\S+) && DBT_PENDO_SCHEMA=(\S+) dbt-pendo show --rows", next_step).groups()
    with monkeypatch.context() as user:
        user.chdir(folder)
        user.delenv("DBT_TARGET_PATH")
        user.delenv("PENDO_REGION")
        user.setenv("DBT_PENDO_SCHEMA", schema)
        run_cli("show", "--rows").expect(0).says("usr-119", "evt-0225", "timestamp: is null")
    assert (kept / "sample.duckdb").exists()
    results = json.loads((kept / "target" / "pendo_results.json").read_text())["results"]
    delivered = {result["sync"].removeprefix("pendo_"): result["delivered"] for result in results}
    assert delivered == {"visitors": 15, "accounts": 7, "payments": 11, "usage": 25}
    # Not into a folder that is in use.
    assert "not empty" in run_cli("demo", "--keep", str(kept)).expect(2).stderr
