"""Whatever is wrong: one clear message that says what to do, the exit status, and nothing half-done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from harness import PEOPLE, PEOPLE_ROWS, Ended, Project, SmallProject, custom, planned, run_cli, sent_ids, writes

from dbt_pendo.sandbox import Sandbox

CLICKS = {"object": "track_event", "event": "Clicked", "event_id": "id", "visitor_id": "id", "timestamp": "done_at"}
CLICK_ROWS = "select 'e' || i as id, timestamp '2026-05-01' as done_at from range(12) r(i)"
SECRETS = ("sandbox-integration-key", "sandbox-track-secret", "sandbox-read-only-key")


def check_untouched(project: Project, sandbox: Sandbox) -> None:
    """Nothing was sent, and nothing was kept that a next run would take for delivered."""
    assert writes(sandbox.requests) == []
    assert not (project.target / "pendo_results.json").exists()
    assert "main_pendo" not in project.schemas()


def check_message(ended: Ended, status: int, *parts: str) -> None:
    """A failed command says so on stderr, and with --json on stdout as well."""
    ended.expect(status)
    for part in parts:
        assert part in ended.output, ended.output
    assert not any(secret in ended.output for secret in SECRETS)


def refused(command: str, status: int, *parts: str) -> Ended:
    """Runs a command that cannot begin, plainly and with --json."""
    ended = run_cli(command)
    check_message(ended, status, *parts)
    assert ended.stderr
    as_json = run_cli(command, "--json")
    check_message(as_json, status)
    error = as_json.json["error"]
    assert set(error) == {"message", "hint"}
    for part in parts:
        assert part in f"{error['message']}\n{error['hint']}"
    return ended


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_nothing_tagged(project, sandbox, command):
    refused(command, 2, "No model in", "manifest.json", "meta.pendo", "dbt build")
    check_untouched(project, sandbox)
    assert sandbox.requests == []


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_no_manifest(people, sandbox, command):
    people.manifest_path.unlink()
    refused(command, 2, "There is no manifest.json in", str(people.target), "dbt build", "--target-path")
    check_untouched(people, sandbox)


def test_no_target_folder(people, sandbox, monkeypatch):
    monkeypatch.setenv("DBT_TARGET_PATH", "elsewhere")
    refused("sync", 2, "There is no manifest.json in", str(people.folder / "elsewhere"))
    assert not (people.folder / "elsewhere").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"{}", b'{"metadata": [], "nodes": {}}', b'{"metadata": {}}'],
    ids=repr,
)
def test_a_broken_manifest(people, sandbox, content):
    people.manifest_path.write_bytes(content)
    refused("sync", 2, str(people.manifest_path), "dbt build")
    check_untouched(people, sandbox)


def test_a_manifest_cut_short(people, sandbox):
    content = people.manifest_path.read_bytes()
    people.manifest_path.write_bytes(content[: len(content) // 2])
    refused("sync", 2, str(people.manifest_path), "not JSON", "dbt build")
    check_untouched(people, sandbox)


def test_a_manifest_that_is_a_folder(people):
    people.manifest_path.unlink()
    people.manifest_path.mkdir()
    refused("sync", 2, str(people.manifest_path), "cannot be read")


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("https://schemas.getdbt.com/dbt/manifest/v11.json", "version 11"),
        ("https://schemas.getdbt.com/dbt/manifest/v99.json", "version 99"),
        ("https://schemas.getdbt.com/dbt/run-results/v6.json", "unknown version"),
        (None, "unknown version"),
    ],
)
def test_a_manifest_of_an_unknown_version(people, sandbox, version, told):
    manifest = people.manifest()
    manifest["metadata"]["dbt_schema_version"] = version
    people.write_manifest(manifest)
    refused("sync", 2, str(people.manifest_path), told, "version 12", "dbt build")
    check_untouched(people, sandbox)


def test_a_manifest_with_nulls_where_dbt_v2_writes_them(people, sandbox):
    def nullify(node: dict[str, Any]) -> None:
        node["meta"] = None
        node["columns"] = {"id": {"name": "id", "config": None, "meta": None}, "plan": {"name": "plan", "config": {}}}
        node["patch_path"] = node["depends_on"] = None

    people.change_node("model.small.people", nullify)
    people.sync()
    assert custom(sandbox.visitors) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}


@pytest.mark.parametrize("command", [["check"], ["check", "--offline"], ["plan"], ["sync"]], ids=" ".join)
def test_mistakes_in_mappings_are_told_all_at_once(people, sandbox, command):
    people.model("one", {"objekt": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}, PEOPLE_ROWS)
    people.model("two", {"object": "visitors", "visitor_id": "id", "fields": {"a b": 3}}, PEOPLE_ROWS)
    people.model("three", {**PEOPLE, "mode": "upset", "batchsize": 3}, PEOPLE_ROWS)
    ended = people.run(*command).expect(2)
    for part in (
        "models/_models.yml: one: meta.pendo.objekt: unknown key; did you mean `object`?",
        "models/_models.yml: two: meta.pendo.object:",
        "did you mean `visitor`?",
        "models/_models.yml: three: meta.pendo.mode:",
        "did you mean `upsert`?",
        "models/_models.yml: three: meta.pendo.batchsize: unknown key; did you mean `batch_size`?",
        "models/_models.yml: two: meta.pendo.fields.a b: expected a column's name, found the number 3",
        "5 problems in meta.pendo; nothing was sent",
        "dbt-pendo schema",
    ):
        assert part in ended.output, ended.output
    check_untouched(people, sandbox)
    assert sandbox.requests == []
    error = people.run(*command, "--json").expect(2).json["error"]
    assert len(error["message"].splitlines()) == 5


def test_mistakes_outside_the_selection_do_not_matter(people):
    people.model("bad", {"object": "visitor"}, PEOPLE_ROWS)
    people.sync("--select", "people")


def test_a_disabled_mapping_is_still_checked(people, sandbox):
    people.model("bad", {**PEOPLE, "enabled": False, "mode": "upset"}, PEOPLE_ROWS)
    refused("sync", 2, "bad: meta.pendo.mode")
    check_untouched(people, sandbox)


@pytest.mark.parametrize(
    "pendo", ["visitor", False, [], 3, True, {}, [{}], [PEOPLE, PEOPLE], {"pendo": PEOPLE}], ids=repr
)
def test_whatever_stands_in_the_manifest(people, sandbox, pendo):
    def put(node: dict[str, Any]) -> None:
        node["config"]["meta"] = {"pendo": pendo}

    people.change_node("model.small.people", put)
    refused("sync", 2, "models/_models.yml: people", "meta.pendo")
    check_untouched(people, sandbox)


def test_a_project_of_which_every_model_was_taken_out(people, sandbox):
    people.annotate("people", None, {"plan": "plan"})
    people.change_node("model.small.people", lambda node: node["config"].update(meta={"pendo": None}))
    for command in ("check", "plan", "sync"):
        refused(command, 2, "No model in", "carries meta.pendo")
    check_untouched(people, sandbox)


# The model and its table.


Break = Callable[[SmallProject], None]


def _no_column(project: SmallProject) -> None:
    project.model("bad", {**PEOPLE, "fields": {"plan": "plam", "team": "nowhere"}}, PEOPLE_ROWS)


def _no_key_column(project: SmallProject) -> None:
    project.model("bad", {**PEOPLE, "visitor_id": "user_id"}, PEOPLE_ROWS)


def _not_built(project: SmallProject) -> None:
    project.model("bad", PEOPLE, PEOPLE_ROWS)
    project.sql("drop table main.bad")


def _not_even_a_schema(project: SmallProject) -> None:
    project.model("bad", PEOPLE, PEOPLE_ROWS)

    def move(node: dict[str, Any]) -> None:
        node["schema"], node["relation_name"] = "marts", '"small"."marts"."bad"'

    project.change_node("model.small.bad", move)


def _ephemeral(project: SmallProject) -> None:
    project.model("bad", PEOPLE, PEOPLE_ROWS)

    def change(node: dict[str, Any]) -> None:
        node["config"]["materialized"], node["relation_name"] = "ephemeral", None

    project.change_node("model.small.bad", change)


def _no_field(project: SmallProject) -> None:
    project.model("bad", {**PEOPLE, "fields": {"plam": "plan"}}, PEOPLE_ROWS)


def _field_of_another_group(project: SmallProject) -> None:
    project.model("bad", {**PEOPLE, "group": "agent"}, PEOPLE_ROWS)


def _misfit(project: SmallProject) -> None:
    project.model(
        "bad",
        {**PEOPLE, "fields": {"seats": "yes", "born": "yes", "plan": "raw"}},
        "select 'a' as id, true as yes, 'x'::blob as raw",
    )


def _no_view_under_it(project: SmallProject) -> None:
    project.model("bad", PEOPLE, PEOPLE_ROWS)
    project.sql(
        "create table main.base as from main.bad; drop table main.bad; "
        "create view main.bad as from main.base; drop table main.base"
    )


BREAKS: dict[str, tuple[Break, int, tuple[str, ...]]] = {
    "column": (
        _no_column,
        2,
        (
            "models/_models.yml: bad:",
            "has no column `plam`. Did you mean `plan`?",
            "has no column `nowhere`. Its columns: id, plan.",
            "dbt build --select bad",
        ),
    ),
    "key column": (_no_key_column, 2, ("models/_models.yml: bad:", "no column `user_id`", "dbt build --select bad")),
    "not built": (_not_built, 2, ("bad", '"small"."main"."bad" is not in the warehouse', "dbt build --select bad")),
    "no schema": (_not_even_a_schema, 2, ("bad", '"small"."marts"."bad" is not in the warehouse', "dbt build")),
    "ephemeral": (_ephemeral, 2, ("models/_models.yml: bad is ephemeral", "materialized: table")),
    "field": (
        _no_field,
        2,
        (
            "models/_models.yml: bad: Pendo has no custom visitor field `plam`. Did you mean `plan`?",
            "create_fields",
            "Settings > Data mappings",
        ),
    ),
    "group": (_field_of_another_group, 2, ("no agent visitor field `plan`", "in the group `custom`")),
    "misfit": (
        _misfit,
        2,
        (
            "column yes is boolean, which the integer field seats cannot hold",
            "column yes is boolean, which the time field born cannot hold",
            "column raw is blob, which the string field plan cannot hold",
            "Cast the column",
        ),
    ),
    "view": (_no_view_under_it, 2, ("bad", "dbt build --select bad")),
}


@pytest.fixture
def fielded(people: SmallProject, sandbox: Sandbox) -> SmallProject:
    sandbox.add_field("visitor", "custom", "seats", "integer")
    sandbox.add_field("visitor", "custom", "born", "time")
    return people


@pytest.mark.parametrize("name", BREAKS)
def test_a_bad_sync_alone(fielded, sandbox, name):
    break_, status, parts = BREAKS[name]
    break_(fielded)
    ended = fielded.run("sync", "--select", "bad").expect(status)
    for part in parts:
        assert part in ended.output, ended.output
    for command in ("check", "plan", "sync"):
        result = fielded.run(command, "--json", "--select", "bad").expect(status).result("bad")
        assert result["status"] == "error"
        for part in parts:
            assert part in result["message"]
    assert writes(sandbox.requests) == []
    assert fielded.statuses("bad") == {} if "bad__ledger" in fielded.tables() else True


@pytest.mark.parametrize("name", BREAKS)
def test_a_bad_sync_does_not_stop_the_others(fielded, sandbox, name):
    break_, _, parts = BREAKS[name]
    break_(fielded)
    document = fielded.sync(status=1).json
    # `bad` comes first: it is by its name.
    assert [(result["sync"], result["status"]) for result in document["results"]] == [
        ("bad", "error"),
        ("people", "success"),
    ]
    message = document["results"][0]["message"]
    assert all(part in message for part in parts)
    assert document["results"][0]["planned"] == planned()
    assert custom(sandbox.visitors) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}
    assert sent_ids(sandbox.requests, "visitor") == ["a", "b"]
    assert {row["sync"]: row["status"] for row in fielded.rows("main_pendo.pendo_runs")} == {
        "bad": "error",
        "people": "success",
    }


@pytest.mark.parametrize("flag", ["--fail-fast", "-x"])
def test_unless_the_first_failure_ends_the_run(fielded, sandbox, flag):
    _no_column(fielded)
    document = fielded.sync(flag, status=1).json
    assert [(result["sync"], result["status"]) for result in document["results"]] == [
        ("bad", "error"),
        ("people", "skipped"),
    ]
    assert "--fail-fast" in document["results"][1]["message"]
    assert writes(sandbox.requests) == []


def test_fail_fast_lets_good_syncs_through(people, sandbox):
    people.model("zzz", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    document = people.sync("--fail-fast", status=1).json
    assert [result["status"] for result in document["results"]] == ["success", "error"]
    assert custom(sandbox.visitors)["a"] == {"plan": "pro"}


def test_a_field_of_another_case_is_taken_for_what_it_is(people, sandbox):
    people.annotate("people", {**PEOPLE, "fields": {"PLAN": "PLAN"}})
    people.sync()
    assert custom(sandbox.visitors)["a"] == {"plan": "pro"}


def test_null_and_doubled_keys_are_warnings(people, sandbox):
    people.build("people", "select * from (values ('a', 'x'), ('b', 'y'), ('b', 'z'), (null, 'w')) rows(id, plan)")
    ended = people.run("sync").expect(0)
    assert "WARN" in ended.stdout
    assert "2 rows have this key (2, e.g. b)" in ended.stdout
    assert "the key is null (1)" in ended.stdout
    assert sent_ids(sandbox.requests, "visitor") == ["a"]
    people.sync("--warn-error", status=1)


def test_only_bad_keys(people, sandbox):
    people.build("people", "select * from (values ('b', 'y'), ('b', 'z'), (null, 'w')) rows(id, plan)")
    assert people.sync().result()["planned"] == planned(invalid=3)
    assert writes(sandbox.requests) == []


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("PENDO_REGION", "mars", ("'mars' is not a Pendo region", "us, us1, eu, jpn, au")),
        ("PENDO_API_URL", "app.pendo.io", ("PENDO_API_URL", "'app.pendo.io'", "https://")),
        ("PENDO_API_URL", "ftp://app.pendo.io", ("PENDO_API_URL", "'ftp://app.pendo.io'")),
        ("PENDO_API_URL", "http://[::1", ("PENDO_API_URL",)),
        ("PENDO_API_URL", "http://127.0.0.1:notaport", ("PENDO_API_URL",)),
        ("PENDO_API_URL", "https://user:sandbox-integration-key@app.pendo.io", ("PENDO_API_URL", "password")),
        ("PENDO_CONCURRENCY", "many", ("PENDO_CONCURRENCY", "'many' is not a whole number")),
        ("PENDO_CONCURRENCY", "0", ("PENDO_CONCURRENCY", "above zero")),
        ("PENDO_TIMEOUT", "-1", ("PENDO_TIMEOUT", "above zero")),
        ("PENDO_TIMEOUT", "nan", ("PENDO_TIMEOUT",)),
        ("PENDO_REQUESTS_PER_SECOND", "inf", ("PENDO_REQUESTS_PER_SECOND",)),
    ],
)
def test_settings_that_make_no_sense(people, sandbox, monkeypatch, name, value, parts):
    monkeypatch.setenv(name, value)
    refused("sync", 2, *parts)
    check_untouched(people, sandbox)


def test_a_flag_that_makes_no_sense(people):
    check_message(people.run("sync", "--concurrency", "many"), 2, "--concurrency", "'many'")
    check_message(people.run("sync", "--limit", "many"), 2, "--limit")
    check_message(people.run("sync", "--nonsense"), 2, "--nonsense")
    check_message(people.run("sink"), 2, "sink")
    check_message(people.run("sync", "--vars", "[1]"), 2, "--vars")
    check_message(people.run("sync", "--vars", "{a: "), 2, "--vars")


def test_an_unknown_setting_of_the_project(people):
    with (people.folder / "dbt_project.yml").open("a") as project_file:
        project_file.write("vars:\n  dbt_pendo: {regoin: eu}\n")
    refused("sync", 2, "dbt_project.yml", "vars.dbt_pendo.regoin", "Did you mean `region`?")


def test_a_setting_whose_name_is_no_text(people):
    with (people.folder / "dbt_project.yml").open("a") as project_file:
        project_file.write("vars:\n  dbt_pendo: {3: eu}\n")
    refused("sync", 2, "dbt_project.yml", "vars.dbt_pendo.3: unknown setting")


def test_a_secret_in_the_project_is_refused_and_not_repeated(people):
    with (people.folder / "dbt_project.yml").open("a") as project_file:
        project_file.write("vars:\n  dbt_pendo: {integration_key: sandbox-integration-key}\n")
    refused("sync", 2, "vars.dbt_pendo.integration_key")


def test_no_project(people, monkeypatch, tmp_path):
    monkeypatch.setenv("DBT_PROJECT_DIR", str(tmp_path / "nowhere"))
    refused("sync", 2, "There is no dbt_project.yml in", str(tmp_path / "nowhere"), "--project-dir")


@pytest.mark.parametrize("content", ["name: [", "- a list", "", "name: \x00"])
def test_a_broken_project_file(people, content):
    (people.folder / "dbt_project.yml").write_text(content)
    refused("sync", 2, "dbt_project.yml")


PROFILES = {
    "no file": None,
    "broken": "small: [",
    "another profile": "large: {target: dev, outputs: {dev: {type: duckdb, path: x.duckdb}}}",
    "no target": "small: {target: gone, outputs: {dev: {type: duckdb, path: x.duckdb}}}",
    "no type": "small: {target: dev, outputs: {dev: {path: x.duckdb}}}",
    "another adapter": "small: {target: dev, outputs: {dev: {type: nosuchadapter}}}",
    "a missing variable": "small: {target: dev, outputs: {dev: {type: duckdb, path: \"{{ env_var('NOWHERE') }}\"}}}",
}


@pytest.mark.parametrize("content", PROFILES.values(), ids=PROFILES)
def test_a_profile_that_cannot_be_used(people, sandbox, content):
    profiles = people.folder / "profiles.yml"
    profiles.unlink()
    if content is not None:
        profiles.write_text(content)
    refused("sync", 2, "rofile")
    check_untouched(people, sandbox)


def test_an_unknown_target(people):
    check_message(people.run("sync", "--target", "prod"), 2, "prod", "dev")


def test_a_warehouse_that_cannot_be_opened(people, sandbox):
    people.database.write_bytes(b"this is no DuckDB file" * 1000)
    ended = people.run("sync").expect(1)
    assert "warehouse" in ended.output
    assert writes(sandbox.requests) == []


def test_a_warehouse_that_another_process_holds(people, sandbox):
    program = (
        f"import duckdb, sys; held = duckdb.connect({str(people.database)!r}); "
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        ended = people.run("sync").expect(1)
    finally:
        holder.communicate()
    assert "warehouse" in ended.output
    assert "lock" in ended.output
    assert writes(sandbox.requests) == []
    people.sync()


def test_a_selection_dbt_does_not_understand(people, sandbox):
    check_message(people.run("sync", "--select", "nosuchmethod:x"), 2, "selection", "nosuchmethod")
    check_message(people.run("sync", "--selector", "nosuch"), 2, "nosuch", "selectors.yml")
    check_untouched(people, sandbox)


@pytest.mark.parametrize("damage", ["null", "a list of columns", "no checksum"])
def test_a_manifest_that_dbt_cannot_select_from(people, sandbox, damage):
    manifest = people.manifest()
    if damage == "null":
        manifest["nodes"]["model.small.odd"] = None
    elif damage == "a list of columns":
        manifest["nodes"]["model.small.template"]["columns"] = ["id"]
    else:
        manifest["nodes"]["model.small.template"].pop("checksum")
    people.write_manifest(manifest)
    ended = people.run("sync", "--select", "people").expect(2)
    assert "manifest.json: dbt " in ended.output
    assert "cannot select from it" in ended.output
    assert len(ended.output) < 600
    check_untouched(people, sandbox)


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_a_selection_without_a_sync(people, sandbox, command):
    ended = people.run(command, "--select", "template").expect(0)
    assert "Nothing to do" in ended.output
    assert people.run(command, "--select", "template", "--json").expect(0).json["results"] == []
    assert sandbox.requests == []


def test_results_that_cannot_be_written(people, sandbox):
    (people.target / "pendo_results.json").mkdir()
    ended = people.run("sync")
    assert "Traceback" not in ended.output
    assert ended.status in (1, 2)
    assert "pendo_results.json" in ended.output


def test_models_that_dbt_did_not_bring_up_to_date_are_skipped(odd, sandbox):
    document = odd.sync("--exclude", "passing", "unbuilt").json
    results = {result["sync"]: result for result in document["results"]}
    assert {sync: result["status"] for sync, result in results.items()} == {
        "good": "success",
        "also_good": "success",
        "broken": "skipped",
        "after_broken": "skipped",
        "unsound": "success",
        "a_view": "success",
        "versioned_v1": "success",
        "versioned_v2": "success",
        "a_seed": "success",
        "a_snapshot": "success",
    }
    assert "error" in results["broken"]["message"]
    assert "skipped" in results["after_broken"]["message"]
    assert results["broken"]["planned"] == planned()
    assert "main_pendo" in odd.schemas()
    assert "broken__ledger" not in odd.tables()
    # Parents before children.
    order = [result["sync"] for result in document["results"]]
    assert order.index("good") < order.index("also_good")
    assert order.index("broken") < order.index("after_broken")
    ended = odd.run("sync", "--select", "broken", "good").expect(0)
    assert "SKIP" in ended.stdout
    assert "the last dbt run left the model in status" in ended.stdout
    odd.sync("--select", "broken", "--warn-error", status=1)


def test_models_without_a_table(odd, sandbox):
    document = odd.sync("--select", "passing", "unbuilt", status=2).json
    messages = {result["sync"]: result["message"] for result in document["results"]}
    assert "ephemeral" in messages["passing"]
    assert "models/_models.yml" in messages["passing"]
    assert "materialized: table" in messages["passing"]
    assert "dbt build --select unbuilt" in messages["unbuilt"]
    assert writes(sandbox.requests) == []


def test_results_of_a_command_that_builds_nothing_are_not_believed(odd):
    path = odd.target / "run_results.json"
    results = json.loads(path.read_text())
    for result in results["results"]:
        result["status"] = "success"
    results["args"]["which"] = "generate"
    path.write_text(json.dumps(results))
    # `docs generate` says that all is well with a model whose table is not there: that is found all the same.
    document = odd.sync("--select", "good", "broken", status=1).json
    assert {result["sync"]: result["status"] for result in document["results"]} == {
        "good": "success",
        "broken": "error",
    }


def test_results_of_another_invocation_are_not_believed(odd):
    path = odd.target / "run_results.json"
    results = json.loads(path.read_text())
    results["metadata"]["invocation_id"] = "another"
    for result in results["results"]:
        result["status"] = "error"
    path.write_text(json.dumps(results))
    assert odd.sync("--select", "good").result()["status"] == "success"


@pytest.mark.parametrize("content", ["", '{"metadata": {', "[]"])
def test_results_that_may_hide_a_failure(people, sandbox, content):
    (people.target / "run_results.json").write_text(content)
    refused("sync", 2, "run_results.json", "dbt build")
    check_untouched(people, sandbox)


@pytest.mark.parametrize("content", [None, "{}", '{"metadata": null, "args": null, "results": null}'])
def test_results_that_say_nothing_are_ignored(people, content):
    path = people.target / "run_results.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert people.sync().result()["status"] == "success"


def test_other_nodes_are_read_too(odd, sandbox):
    """A view with an alias in a schema of its own, seeds, snapshots, each version of a model, the older `meta`."""
    expected = {
        "a_seed": "seeded",
        "versioned_v1": "v1",
        "versioned_v2": "v2",
        "a_snapshot": "pro",
        "a_view": "pro",
        "also_good": "pro",
    }
    for name, plan in expected.items():
        sandbox.add_visitors({"a": {"custom": {"plan": "before"}}})
        select = name.replace("_v", ".v") if name.startswith("versioned") else name
        result = odd.sync("--select", select).result()
        assert (result["sync"], result["delivered"]) == (name, 1)
        assert sandbox.visitors["a"]["custom"] == {"plan": plan}
