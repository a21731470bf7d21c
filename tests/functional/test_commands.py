"""The command line: what each command prints and takes, and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from harness import (
    PEOPLE,
    PEOPLE_ROWS,
    Ended,
    SmallProject,
    bodies,
    custom,
    expect_in,
    planned,
    run_cli,
    run_process,
    writes,
)

from dbt_pendo import __version__
from dbt_pendo.sandbox import Fault, Sandbox

CLICKS = {
    "object": "track_event",
    "event": "Clicked",
    "event_id": "id",
    "visitor_id": "visitor",
    "timestamp": "done_at",
}
CLICK_ROWS = "select 'e' || i as id, 'v' as visitor, timestamp '2026-05-01' as done_at from range(12) r(i)"
COMMON_FLAGS = [
    "--project-dir",
    "--profiles-dir",
    "--profile",
    "--target",
    "-t",
    "--target-path",
    "--vars",
    "--select",
    "-s",
    "--exclude",
    "--selector",
    "--json",
    "--quiet",
    "-q",
    "--log-format",
    "--no-use-colors",
    "DBT_PROJECT_DIR",
    "DBT_TARGET_PATH",
    "DBT_PROFILES_DIR",
    "PENDO_REGION",
    "PENDO_API_URL",
    "PENDO_DATA_URL",
    "PENDO_CONCURRENCY",
    "PENDO_REQUESTS_PER_SECOND",
    "PENDO_TIMEOUT",
    "DBT_PENDO_SCHEMA",
]
FLAGS = {
    "check": [*COMMON_FLAGS, "--offline", "--warn-error"],
    "plan": [*COMMON_FLAGS, "--show", "--full-refresh", "--dbt-cloud-run-id", "--dbt-cloud-job-id"],
    "sync": [
        *COMMON_FLAGS,
        *("--full-refresh", "--limit", "--force", "--fail-fast", "-x", "--dry-run", "--warn-error"),
        *("--dbt-cloud-run-id", "--dbt-cloud-job-id"),
    ],
    "schema": ["--json"],
    "sandbox": ["--json", "--port", "--load", "--switch"],
    "demo": ["--keep"],
}


def selected(ended: Ended) -> set[str]:
    return {result["sync"] for result in ended.json["results"]}


@pytest.mark.parametrize("command", FLAGS)
def test_help_mentions_every_flag(command):
    ended = run_cli(command, "--help").expect(0)
    assert ended.stderr == ""
    missing = [flag for flag in FLAGS[command] if not re.search(rf"(?<![\w-]){flag}(?![\w-])", ended.stdout)]
    assert missing == []


def test_the_group_lists_its_commands():
    for flag in ("--help", "-h"):
        output = run_cli(flag).expect(0).stdout
        for command in FLAGS:
            assert re.search(rf"^  {command} ", output, re.MULTILINE)
    assert __version__ in run_cli("--version").expect(0).stdout


def test_as_a_process(sample, sandbox):
    assert __version__ in run_process("--version").expect(0).stdout
    ended = run_process("sync", "--json", "--select", "pendo_visitors").expect(0)
    assert (ended.stderr, ended.result()["delivered"]) == ("", 102)
    plain = run_process("sync").expect(0)
    assert plain.stderr == ""
    assert "\x1b" not in plain.stdout
    assert "OK synced track_event pendo_usage" in plain.stdout or "WARN synced track_event pendo_usage" in plain.stdout
    refused = run_process("sync", "--select", "pendo_visitors", "--target", "nowhere").expect(2)
    assert refused.stderr.startswith("Error: ")
    assert len(sandbox.events) == 172 + 392


@pytest.mark.parametrize(
    "args",
    [["check"], ["check", "--offline"], ["plan"], ["plan", "--show", "3"], ["sync"], ["sync", "--dry-run"]],
    ids=" ".join,
)
def test_json_is_one_document_and_nothing_else(people, args):
    ended = people.run(*args, "--json").expect(0)
    assert ended.stderr == ""
    document = ended.json
    assert document["metadata"]["dbt_pendo_version"] == __version__
    (result,) = document["results"]
    assert (result["sync"], result["unique_id"]) == ("people", "model.small.people")
    assert (result["object"], result["status"], result["message"]) == ("visitor", "success", None)


@pytest.mark.parametrize("args", [["check"], ["plan"], ["sync"]], ids=" ".join)
@pytest.mark.parametrize("more", [["--log-format", "json"], ["--quiet"], ["--use-colors"]], ids=" ".join)
def test_json_wins_over_other_forms_of_output(people, args, more):
    assert people.run(*args, "--json", *more).expect(0).json["results"]


def test_json_of_a_run_that_fails_in_places(people):
    people.model("bad", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    for command in ("check", "plan", "sync"):
        ended = people.run(command, "--json")
        assert ended.status == (1 if command == "sync" else 2)
        assert ended.statuses == {"bad": "error", "people": "success"}


def test_json_of_an_error(people):
    people.manifest_path.unlink()
    for command in ("check", "plan", "sync"):
        ended = people.run(command, "--json").expect(2)
        assert set(ended.json) == {"metadata", "error"}
        assert ended.json["error"]["message"].startswith("There is no manifest.json")
        assert ended.json["error"]["hint"].startswith("Run `dbt build`")


def test_the_schema_is_json():
    for args in (["schema"], ["schema", "--json"]):
        document = run_cli(*args).expect(0).json
        assert document["$schema"].startswith("https://json-schema.org/")
        assert set(document["$defs"]) >= {"visitor", "account", "track_event", "column"}


def test_the_json_schema_takes_the_sample_project(built_sample):
    jsonschema = pytest.importorskip("jsonschema")
    schema = run_cli("schema").expect(0).json
    manifest = json.loads((built_sample[1] / "target" / "manifest.json").read_text())
    mappings = [node["config"]["meta"]["pendo"] for node in manifest["nodes"].values() if node["config"].get("meta")]
    assert len(mappings) == 4
    for mapping in mappings:
        jsonschema.validate(mapping, schema)


def test_show_prints_the_requests_a_sync_sends(people, sandbox):
    people.model("clicks", {**CLICKS, "batch_size": 5}, CLICK_ROWS)
    people.annotate("people", {**PEOPLE, "mode": "upsert"})
    document = people.plan("--show", "100").json
    assert writes(sandbox.requests) == []
    shown = [request for result in document["results"] for request in result["requests"]]
    assert {(request["method"], request["path"]) for request in shown} == {
        ("POST", "/data/track"),
        ("POST", "/api/v1/metadata/visitor/custom/value?create=true"),
    }
    people.sync()
    sent = [json.dumps(body, sort_keys=True) for body in bodies(sandbox.requests)]
    assert sorted(json.dumps(request["body"], sort_keys=True) for request in shown) == sorted(sent)


def test_show_prints_no_more_than_asked_for(people):
    people.model("clicks", CLICKS, CLICK_ROWS)
    document = people.plan("--show", "3", "--select", "clicks").json
    assert len(document["results"][0]["requests"]) == 3
    assert document["results"][0]["planned"] == planned(added=12)
    plain = people.run("plan", "--show", "1").expect(0).stdout
    assert "POST /data/track" in plain
    assert '"event": "Clicked"' in plain
    assert people.plan().result("people")["requests"] == []


def test_show_prints_deletions(people, sandbox):
    people.annotate("people", {**PEOPLE, "on_removed": "delete", "max_removals": 1})
    people.sync()
    people.build("people", "select 'a' as id, 'pro' as plan")
    (request,) = people.plan("--show", "5").result()["requests"]
    assert request == {"method": "POST", "path": "/api/v1/bulkdelete/visitor", "body": {"visitors": ["b"]}}
    assert set(sandbox.visitors) == {"a", "b"}


def test_a_plan_without_a_key(people, monkeypatch, sandbox):
    monkeypatch.delenv("PENDO_INTEGRATION_KEY")
    monkeypatch.delenv("PENDO_TRACK_SECRET")
    people.model("clicks", CLICKS, CLICK_ROWS)
    document = people.plan("--show", "1").json
    assert {result["sync"]: result["planned"] for result in document["results"]} == {
        "people": planned(added=2),
        "clicks": planned(added=12),
    }
    assert sandbox.requests == []


@pytest.fixture
def family(people: SmallProject, sandbox: Sandbox) -> SmallProject:
    """people → clicks → late, with tags; each a sync."""
    people.model("people", PEOPLE, PEOPLE_ROWS, tags=["daily", "crm"])
    people.model("clicks", CLICKS, CLICK_ROWS, tags=["daily"], parents=["people"])
    people.model("late", CLICKS, CLICK_ROWS, tags=["weekly"], parents=["clicks"])
    (people.folder / "selectors.yml").write_text(
        "selectors:\n  - name: often\n    definition: {method: tag, value: daily}\n"
    )
    return people


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], {"people", "clicks", "late"}),
        (["--select", "people"], {"people"}),
        (["-s", "people", "late"], {"people", "late"}),
        (["--select", "people", "--select", "late"], {"people", "late"}),
        (["--select", "people late"], {"people", "late"}),
        (["--select=people"], {"people"}),
        (["--select", "tag:daily"], {"people", "clicks"}),
        (["--select", "+clicks"], {"people", "clicks"}),
        (["--select", "clicks+"], {"clicks", "late"}),
        (["--select", "1+late"], {"clicks", "late"}),
        (["--select", "@clicks"], {"people", "clicks", "late"}),
        (["--select", "tag:daily,tag:crm"], {"people"}),
        (["--select", "tag:crm", "tag:weekly"], {"people", "late"}),
        (["--select", "l*"], {"late"}),
        (["--select", "config.materialized:table"], {"people", "clicks", "late"}),
        (["--select", "small"], {"people", "clicks", "late"}),
        (["--exclude", "people"], {"clicks", "late"}),
        (["--exclude", "people", "late"], {"clicks"}),
        (["--select", "tag:daily", "--exclude", "people"], {"clicks"}),
        (["--selector", "often"], {"people", "clicks"}),
        (["--select", "template"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_selection_is_dbts_own(family, args, expected):
    assert selected(family.check("--offline", *args)) == expected


def test_a_sync_of_a_selection_leaves_the_rest_alone(family, sandbox):
    family.sync("-s", "clicks", "late", "--json", "-x")
    assert (custom(sandbox.visitors), len(sandbox.events)) == ({"a": {}, "b": {}, "v": {}}, 24)
    assert family.tables() >= {"clicks__ledger", "late__ledger"}
    assert "people__ledger" not in family.tables()


def test_a_selector_in_the_project(odd):
    assert selected(odd.sync("--selector", "the_good")) == {"good", "also_good"}
    assert selected(odd.sync("--select", "resource_type:snapshot")) == {"a_snapshot"}
    assert selected(odd.check("--offline", "--select", "versioned")) == {"versioned_v1", "versioned_v2"}
    assert selected(odd.check("--offline", "--select", "version:latest")) == {"versioned_v2"}


def test_paths_are_those_of_the_project(odd, monkeypatch):
    """As in dbt, which goes to the project before it selects."""
    for _ in range(2):
        assert selected(odd.check("--offline", "--select", "path:seeds")) == {"a_seed"}
        assert selected(odd.check("--offline", "--select", "models/also_good.sql")) == {"also_good"}
        monkeypatch.chdir(odd.folder)


def test_project_profiles_and_target_path(people, monkeypatch, tmp_path):
    monkeypatch.delenv("DBT_PROJECT_DIR")
    monkeypatch.delenv("DBT_PROFILES_DIR")
    here = ["--project-dir", str(people.folder), "--profiles-dir", str(people.folder)]
    people.sync(*here)
    # From the project itself, and from a folder below it.
    monkeypatch.chdir(people.folder)
    people.sync()
    monkeypatch.chdir(people.target)
    people.sync()
    # By a path relative to here.
    monkeypatch.chdir(tmp_path)
    people.sync("--project-dir", people.folder.name)
    # Another target folder, by flag and environment; a relative one is relative to the project, as dbt has it.
    elsewhere = people.folder / "elsewhere"
    people.target.rename(elsewhere)
    (elsewhere / "pendo_results.json").unlink()
    people.run("sync", *here, "--target-path", "elsewhere").expect(0)
    assert json.loads((elsewhere / "pendo_results.json").read_text())["results"]
    (elsewhere / "pendo_results.json").unlink()
    people.run("sync", *here, "--target-path", str(elsewhere)).expect(0)
    monkeypatch.setenv("DBT_TARGET_PATH", str(elsewhere))
    people.run("sync", *here).expect(0)
    assert (elsewhere / "pendo_results.json").exists()
    assert not people.target.exists()


def test_the_projects_own_target_path(people):
    with (people.folder / "dbt_project.yml").open("a") as project_file:
        project_file.write("target-path: built\n")
    people.target.rename(people.folder / "built")
    people.run("sync").expect(0)
    assert (people.folder / "built" / "pendo_results.json").exists()


def test_the_flag_wins_over_the_environment_and_that_over_the_project(people, sandbox, monkeypatch):
    people.settings("vars: {dbt_pendo: {schema: from_project, api_url: 'http://127.0.0.1:1'}}")
    people.sync()
    assert people.schemas() == {"from_project"}
    monkeypatch.setenv("DBT_PENDO_SCHEMA", "from_environment")
    people.sync()
    people.sync("--schema", "from_flag")
    assert people.schemas() == {"from_project", "from_environment", "from_flag"}
    monkeypatch.delenv("DBT_PENDO_SCHEMA")
    people.sync("--vars", "{dbt_pendo: {schema: from_vars}}")
    assert "from_vars" in people.schemas()


def test_the_warehouse_is_let_go_of(people):
    """DuckDB's lock is the process's: a program that runs dbt-pendo and then dbt must find the file free."""
    people.sync()
    program = f"import duckdb; print(duckdb.connect({str(people.database)!r}).sql('select 1').fetchall())"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stdout == "[(1,)]\n", ended.stderr


def test_nothing_is_left_in_the_current_folder(people, monkeypatch, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = {path.name for path in people.folder.iterdir()}
    people.sync()
    assert list(here.iterdir()) == []
    assert {path.name for path in people.folder.iterdir()} - {"small.duckdb.wal"} == before
    assert {path.name for path in people.target.iterdir()} >= {"manifest.json", "pendo_results.json"}
    assert not list(people.target.glob("*.tmp"))


def test_a_line_a_sync_and_a_summary(people):
    people.model("clicks", CLICKS, CLICK_ROWS)
    ended = people.run("sync").expect(0)
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout
    lines = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in ended.stdout.splitlines()]
    assert (lines[0], lines[1]) == (f"Running with dbt-pendo={__version__}", "Found 2 syncs in manifest.json")
    reason = "its table as it is, not built by `dbt build`"
    assert re.fullmatch(rf"1 of 2 START sync track_event clicks \.+ \[RUN, {reason}\]", lines[3])
    assert re.fullmatch(r"1 of 2 OK synced track_event clicks \.+ \[12 delivered in \d+\.\d\ds\]", lines[4])
    # Events of long ago are a note below their sync, and no more.
    assert "are older than 7 days" in lines[5]
    assert re.fullmatch(r"2 of 2 OK synced visitor people \.+ \[2 delivered in \d+\.\d\ds\]", lines[7])
    assert "Completed successfully" in lines
    assert "Done. OK=2 WARN=0 ERROR=0 SKIP=0 TOTAL=2" in lines
    assert re.search(r"Delivered 14 rows in 13 requests", ended.stdout)


def test_what_went_wrong_is_told_with_what_to_do(people, sandbox):
    people.build("people", "select * from (values ('a', 'x'), ('stranger', 'x'), (null, 'x')) rows(id, plan)")
    ended = people.run("sync").expect(0)
    assert re.search(r"WARN synced visitor people \.+ \[1 delivered, 1 missing, 1 invalid in", ended.stdout)
    expect_in(ended.stdout, "Pendo does not know this id (1, e.g. stranger)", "Completed with warnings.")
    sandbox.fail(Fault("status", status=400, body="no", path="/value", times=None))
    ended = people.run("sync", "--full-refresh").expect(1)
    assert re.search(r"ERROR syncing visitor people", ended.stdout)
    assert "Completed with errors" in ended.stdout
    # Where to look the rows up.
    assert "`dbt-pendo show` has the rows" in ended.stdout


@pytest.mark.parametrize("flag", ["--quiet", "-q"])
def test_quiet_prints_errors_only(people, flag):
    for command in ("check", "plan", "sync"):
        ended = people.run(command, flag).expect(0)
        assert ended.output == ""
    people.model("bad", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    ended = people.run("sync", flag).expect(1)
    assert "no column `nowhere`" in ended.output
    assert "people" not in ended.output.replace("model.small", "")
    assert "Running with" not in ended.output


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_log_lines_are_json_like_dbts(people, command):
    people.model("bad", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    ended = people.run(command, "--log-format", "json")
    assert (ended.status, ended.stderr) == (1 if command == "sync" else 2, "")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    for line in lines:
        assert set(line) == {"data", "info"}
        assert set(line["info"]) >= {"ts", "level", "msg", "name"}
        assert line["info"]["level"] in ("debug", "info", "warn", "error")
        assert line["info"]["msg"].strip()
    assert any("no column `nowhere`" in line["info"]["msg"] and line["info"]["level"] == "error" for line in lines)
    if command == "sync":
        results = [line["data"]["result"] for line in lines if "result" in line["data"]]
        assert results == people.results()["results"]


def test_errors_are_log_lines_too(people):
    people.manifest_path.unlink()
    ended = people.run("sync", "--log-format", "json").expect(2)
    (line,) = ended.output.splitlines()
    assert json.loads(line)["info"]["level"] == "error"


def test_colours_when_asked_for(people, monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b[" not in people.run("sync").expect(0).stdout
    assert "\x1b[" in people.run("sync", "--full-refresh", "--use-colors").expect(0).stdout
    assert "\x1b[" not in people.run("sync", "--full-refresh", "--no-use-colors").expect(0).stdout


def test_no_secret_is_ever_shown_or_stored(people, sandbox, monkeypatch):
    people.model("clicks", CLICKS, CLICK_ROWS)
    secrets = {
        "PENDO_INTEGRATION_KEY": "Zq1-integration-0123456789",
        "PENDO_TRACK_SECRET": "Zq2-track-0123456789",
        "DBT_ENV_SECRET_PENDO_TRACK_SECRET_WEB": "Zq3-web-0123456789",
    }
    outputs = []
    for right in (True, False):
        for variable, secret in secrets.items():
            monkeypatch.setenv(variable, secret)
        if right:
            sandbox._api._keys.__dict__.update(
                integration=secrets["PENDO_INTEGRATION_KEY"], track={"": secrets["PENDO_TRACK_SECRET"]}
            )
        else:
            sandbox._api._keys.__dict__.update(integration="another", track={"": "another"})
        for args in (["check"], ["plan", "--show", "5", "--json"], ["sync", "--full-refresh"], ["sync", "--json"]):
            outputs.append(people.run(*args))
    assert {ended.status for ended in outputs} >= {0, 1}
    everything = "".join(ended.output for ended in outputs)
    kept = [*people.target.rglob("*"), people.database, *people.folder.glob("*.wal")]
    everything += "".join(path.read_bytes().decode("latin-1") for path in kept if path.is_file())
    for secret in secrets.values():
        assert secret not in everything
        assert secret[:7] not in everything
        assert secret[-10:] not in everything


@pytest.mark.parametrize("status", [200, 302, 400, 403, 500])
def test_a_secret_that_comes_back_from_pendo_is_kept_nowhere(people, sandbox, monkeypatch, status):
    """A proxy that shows what it was sent, to a user who wants to see everything."""
    people.model("clicks", CLICKS, CLICK_ROWS)
    secrets = (sandbox.integration_key, sandbox.track_secrets[""])
    monkeypatch.setenv("PENDO_RETRIES", "0")
    for name, value in {"DBT_DEBUG": "1", "DBT_LOG_LEVEL": "debug", "DBT_LOG_LEVEL_FILE": "debug"}.items():
        monkeypatch.setenv(name, value)
    for path, secret in zip(("/value", "/data/track"), secrets, strict=True):
        spelt = "".join(f"\\u{ord(letter):04x}" for letter in secret)
        body = f'{{"errors": ["x-pendo-integration-key: {secret}", "{spelt}"], "key": "{secret}"}}'
        headers = {"Location": f"{sandbox.url}/elsewhere?key={secret}", "X-Key": secret}
        sandbox.fail(Fault(status=status, body=body, headers=headers, times=None, path=path))

    outputs = [people.run("sync", *args) for args in ([], ["--json"], ["--log-format", "json"])]

    assert not [request for request in sandbox.requests if "/elsewhere" in request.path]
    everything = "".join(ended.output for ended in outputs)
    kept = [*people.folder.rglob("*"), people.database]
    everything += "".join(path.read_bytes().decode("latin-1") for path in kept if path.is_file())
    assert not [secret for secret in secrets if secret in everything]
    assert "\\u0073\\u0061\\u006e\\u0064\\u0062\\u006f\\u0078" not in everything


def test_dbt_clouds_names_of_secrets(people, sandbox, monkeypatch):
    for variable in ("PENDO_INTEGRATION_KEY", "PENDO_TRACK_SECRET"):
        monkeypatch.setenv(f"DBT_ENV_SECRET_{variable}", os.environ[variable])
        monkeypatch.delenv(variable)
    people.model("clicks", CLICKS, CLICK_ROWS)
    people.sync()
    assert len(sandbox.events) == 12


def test_events_follow_the_api_url(people, sandbox, monkeypatch):
    monkeypatch.delenv("PENDO_DATA_URL")
    people.model("clicks", CLICKS, CLICK_ROWS)
    people.sync()
    assert len(sandbox.events) == 12


def test_concurrency(people, sandbox):
    people.model("clicks", CLICKS, CLICK_ROWS)
    people.sync("--concurrency", "1", "--select", "clicks")
    assert (sandbox.peak_concurrency, len(sandbox.events)) == (1, 12)


def test_faults_that_pass_are_retried_and_counted(people, sandbox, monkeypatch):
    monkeypatch.setenv("PENDO_RETRIES", "3")
    for fault in (
        Fault("status", status=408, path="/value"),
        Fault("status", status=429, headers={"Retry-After": "0"}, path="/value"),
        Fault("status", status=500, path="/value", when="after"),
    ):
        sandbox.fail(fault)
    result = people.sync().result()
    assert (result["status"], result["delivered"]) == ("success", 2)
    assert (result["requests"], result["retries"]) == (4, 3)
    assert custom(sandbox.visitors) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}
    sent = writes(sandbox.requests)
    assert len({request.body for request in sent}) == 1
    assert result["bytes"] == sum(request.size for request in sent)


def test_the_sandbox_lists_its_switches():
    output = run_cli("sandbox", "--switches").expect(0).stdout
    expect_in(output, "error_items", "event_arrays")


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--switch", "nosuch=1"], "nosuch"),
        (["--switch", "null"], "NAME=VALUE"),
        (["--switch", "null=sometimes"], "sometimes"),
        (["--load", "nowhere.json"], "nowhere.json"),
    ],
    ids=str,
)
def test_the_sandbox_refuses_what_it_does_not_understand(args, part):
    ended = run_cli("sandbox", "--port", "0", *args).expect(2)
    assert part in ended.stderr


def test_the_demo(tmp_path):
    ended = run_process("demo", "--keep", str(tmp_path / "kept")).expect(0)
    assert (tmp_path / "kept" / "sample.duckdb").exists()
    results = json.loads((tmp_path / "kept" / "target" / "pendo_results.json").read_text())["results"]
    assert {result["sync"]: result["delivered"] for result in results} == {
        "pendo_visitors": 15,
        "pendo_accounts": 7,
        "pendo_payments": 11,
        "pendo_usage": 25,
    }
    expect_in(ended.stdout, "105 visitors", "16 accounts", "600 track events")
    # Not into a folder that is in use.
    assert "not empty" in run_cli("demo", "--keep", str(tmp_path / "kept")).expect(2).stderr
