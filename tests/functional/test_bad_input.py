"""Bad mappings, models and rows: one clear message that says what to do, the exit status, and nothing half-done.

Each message of a mapping is in tests/spec, each of a manifest or of run results in tests/unit/test_artifacts.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from harness import PEOPLE, PEOPLE_ROWS, Project, SmallProject, add_fields, custom, expect_in, planned, sent_ids, writes

from dbt_pendo.sandbox import Sandbox

SECRETS = ("sandbox-integration-key", "sandbox-track-secret", "sandbox-read-only-key")


def check_untouched(project: Project, sandbox: Sandbox) -> None:
    """Nothing was sent, and nothing was kept that a next run would take for delivered."""
    assert writes(sandbox.requests) == []
    assert not (project.target / "pendo_results.json").exists()
    assert "main_pendo" not in project.schemas()


def refused(project: Project, sandbox: Sandbox, *parts: str, command: str = "sync") -> None:
    """A command that cannot begin says so on stderr, and with --json on stdout as well."""
    ended = project.run(command, "--json").expect(2)
    assert not any(secret in ended.output for secret in SECRETS)
    error = ended.json["error"]
    assert set(error) == {"message", "hint"}
    for text in (ended.stderr, f"{error['message']}\n{error['hint']}"):
        expect_in(text, *parts)
    check_untouched(project, sandbox)


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_an_error_is_shown_with_what_to_do(project, sandbox, command):
    plain = project.run(command).expect(2).says("No model in", "manifest.json", "meta.pendo", "dbt build")
    assert (plain.stdout, plain.stderr[:7]) == ("", "Error: ")
    refused(project, sandbox, "No model in", "manifest.json", "meta.pendo", "dbt build", command=command)
    project.manifest_path.unlink()
    where = ("There is no manifest.json in", str(project.target))
    refused(project, sandbox, *where, "dbt build", "--target-path", command=command)
    assert sandbox.requests == []


def test_no_target_folder(people, sandbox, monkeypatch):
    monkeypatch.setenv("DBT_TARGET_PATH", "elsewhere")
    refused(people, sandbox, "There is no manifest.json in", str(people.folder / "elsewhere"))
    assert not (people.folder / "elsewhere").exists()


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b'{"metadata": {}}', "half of it", "version 11"], ids=repr)
def test_a_manifest_that_is_none(people, sandbox, content):
    text = people.manifest_path.read_bytes()
    if content == "half of it":
        content = text[: len(text) // 2]
    elif content == "version 11":
        content = text.replace(b"manifest/v12.json", b"manifest/v11.json")
    people.manifest_path.write_bytes(content)
    refused(people, sandbox, str(people.manifest_path), "dbt build")


def test_a_manifest_that_is_a_folder(people, sandbox):
    people.manifest_path.unlink()
    people.manifest_path.mkdir()
    refused(people, sandbox, str(people.manifest_path), "cannot be read")


def test_a_manifest_with_nulls_where_dbt_v2_writes_them(people, sandbox):
    columns = {"id": {"name": "id", "config": None, "meta": None}, "plan": {"name": "plan", "config": {}}}
    nulls = {"meta": None, "columns": columns, "patch_path": None, "depends_on": None}
    people.change_node("model.small.people", lambda node: node.update(nulls))
    people.sync()
    assert custom(sandbox.visitors) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}


@pytest.mark.parametrize("command", [["check"], ["check", "--offline"], ["plan"], ["sync"]], ids=" ".join)
def test_mistakes_in_mappings_are_told_all_at_once(people, sandbox, command):
    people.model("one", {"objekt": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}, PEOPLE_ROWS)
    people.model("two", {"object": "visitors", "visitor_id": "id", "fields": {"a b": 3}}, PEOPLE_ROWS)
    people.model("three", {**PEOPLE, "mode": "upset", "batchsize": 3}, PEOPLE_ROWS)
    people.run(*command).expect(2).says(
        "models/_models.yml: one: meta.pendo.objekt: unknown key; did you mean `object`?",
        "models/_models.yml: two: meta.pendo.object:",
        "did you mean `visitor`?",
        "models/_models.yml: three: meta.pendo.mode:",
        "did you mean `upsert`?",
        "models/_models.yml: three: meta.pendo.batchsize: unknown key; did you mean `batch_size`?",
        "models/_models.yml: two: meta.pendo.fields.a b: expected a column's name, found the number 3",
        "5 problems in meta.pendo; nothing was sent",
        "dbt-pendo schema",
    )
    check_untouched(people, sandbox)
    assert sandbox.requests == []
    error = people.run(*command, "--json").expect(2).json["error"]
    assert len(error["message"].splitlines()) == 5


def test_which_mappings_are_checked(people, sandbox):
    people.model("bad", {**PEOPLE, "enabled": False, "mode": "upset"}, PEOPLE_ROWS)
    refused(people, sandbox, "bad: meta.pendo.mode")
    # Mistakes outside the selection do not matter.
    people.sync("--select", "people")


@pytest.mark.parametrize("pendo", ["visitor", False, [], {}, [{}], [PEOPLE, PEOPLE], {"pendo": PEOPLE}], ids=repr)
def test_whatever_stands_in_the_manifest(people, sandbox, pendo):
    people.change_node("model.small.people", lambda node: node["config"].update(meta={"pendo": pendo}))
    refused(people, sandbox, "models/_models.yml: people", "meta.pendo")


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_a_project_of_which_every_model_was_taken_out(people, sandbox, command):
    people.annotate("people", None, {"plan": "plan"})
    people.change_node("model.small.people", lambda node: node["config"].update(meta={"pendo": None}))
    refused(people, sandbox, "No model in", "carries meta.pendo", command=command)


# The model and its table. Each breaks the sync `bad`.

Break = Callable[[SmallProject], None]


def mapped(**more: Any) -> Break:
    return lambda project: project.model("bad", {**PEOPLE, **more}, PEOPLE_ROWS)


def altered(sql: str = "", **node: Any) -> Break:
    def alter(project: SmallProject) -> None:
        project.model("bad", PEOPLE, PEOPLE_ROWS)
        project.sql(sql)
        config = {"materialized": node.pop("materialized", "table")}
        project.change_node("model.small.bad", lambda found: (found.update(node), found["config"].update(config)))

    return alter


def misfit(project: SmallProject) -> None:
    fields = {"seats": "yes", "born": "yes", "plan": "raw"}
    project.model("bad", {**PEOPLE, "fields": fields}, "select 'a' as id, true as yes, 'x'::blob as raw")


WITHOUT_BASE = (
    "create table main.base as from main.bad; drop table main.bad; "
    "create view main.bad as from main.base; drop table main.base"
)
BREAKS: dict[str, tuple[Break, tuple[str, ...]]] = {
    "column": (
        mapped(fields={"plan": "plam", "team": "nowhere"}),
        (
            *("models/_models.yml: bad:", "has no column `plam`. Did you mean `plan`?", "dbt build --select bad"),
            "has no column `nowhere`. Its columns: id, plan.",
        ),
    ),
    "key column": (
        mapped(visitor_id="user_id"),
        ("models/_models.yml: bad:", "no column `user_id`", "dbt build --select bad"),
    ),
    "not built": (
        altered("drop table main.bad"),
        ("bad", '"small"."main"."bad" is not in the warehouse', "dbt build --select bad"),
    ),
    "no schema": (
        altered("select 1", schema="marts", relation_name='"small"."marts"."bad"'),
        ("bad", '"small"."marts"."bad" is not in the warehouse', "dbt build"),
    ),
    "ephemeral": (
        altered("select 1", materialized="ephemeral", relation_name=None),
        ("models/_models.yml: bad is ephemeral", "materialized: table"),
    ),
    "field": (
        mapped(fields={"plam": "plan"}),
        (
            "models/_models.yml: bad: Pendo has no custom visitor field `plam`. Did you mean `plan`?",
            *("create_fields", "Settings > Data mappings"),
        ),
    ),
    "group": (mapped(group="agent"), ("no agent visitor field `plan`", "in the group `custom`")),
    "misfit": (
        misfit,
        (
            "column yes is boolean, which the integer field seats cannot hold",
            "column yes is boolean, which the time field born cannot hold",
            "column raw is blob, which the string field plan cannot hold",
            "Cast the column",
        ),
    ),
    "view": (altered(WITHOUT_BASE), ("bad", "dbt build --select bad")),
}


@pytest.fixture
def fielded(people: SmallProject, sandbox: Sandbox) -> SmallProject:
    add_fields(sandbox, seats="integer", born="time")
    return people


@pytest.mark.parametrize("name", BREAKS)
def test_a_bad_sync_alone_and_beside_another(fielded, sandbox, name):
    break_, parts = BREAKS[name]
    break_(fielded)
    for command in ("check", "plan", "sync"):
        result = fielded.run(command, "--json", "--select", "bad").expect(2).result("bad")
        assert result["status"] == "error"
        expect_in(result["message"], *parts)
    fielded.run("sync", "--select", "bad").expect(2).says(*parts)
    assert writes(sandbox.requests) == []
    assert "bad__ledger" not in fielded.tables() or fielded.statuses("bad") == {}
    # It does not stop the others, though it comes first, by its name.
    ended = fielded.sync(status=1)
    assert list(ended.statuses.items()) == [("bad", "error"), ("people", "success")]
    assert ended.result("bad")["planned"] == planned()
    expect_in(ended.messages["bad"], *parts)
    assert custom(sandbox.visitors) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}
    assert sent_ids(sandbox.requests, "visitor") == ["a", "b"]
    run_id = ended.json["metadata"]["run_id"]
    logged = [row for row in fielded.rows("main_pendo.pendo_runs") if row["run_id"] == run_id]
    assert {row["sync"]: row["status"] for row in logged} == {"bad": "error", "people": "success"}


@pytest.mark.parametrize("flag", ["--fail-fast", "-x"])
def test_unless_the_first_failure_ends_the_run(fielded, sandbox, flag):
    BREAKS["column"][0](fielded)
    ended = fielded.sync(flag, status=1)
    assert list(ended.statuses.items()) == [("bad", "error"), ("people", "skipped")]
    assert "--fail-fast" in ended.messages["people"]
    assert writes(sandbox.requests) == []


def test_fail_fast_lets_good_syncs_through(people, sandbox):
    people.model("zzz", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    assert list(people.sync("--fail-fast", status=1).statuses.values()) == ["success", "error"]
    assert custom(sandbox.visitors)["a"] == {"plan": "pro"}


def test_a_field_of_another_case_is_taken_for_what_it_is(people, sandbox):
    people.annotate("people", {**PEOPLE, "fields": {"PLAN": "PLAN"}})
    people.sync()
    assert custom(sandbox.visitors)["a"] == {"plan": "pro"}


def test_null_and_doubled_keys_are_warnings(people, sandbox):
    people.build("people", "select * from (values ('a', 'x'), ('b', 'y'), ('b', 'z'), (null, 'w')) rows(id, plan)")
    ended = people.run("sync").expect(0)
    expect_in(ended.stdout, "WARN", "2 rows have this key (2, e.g. b)", "the key is null (1)")
    assert sent_ids(sandbox.requests, "visitor") == ["a"]
    people.sync("--warn-error", status=1)
    # Only bad keys.
    sandbox.forget_requests()
    people.sql("delete from main.people where id = 'a'; drop table main_pendo.people__ledger")
    assert people.sync().planned == planned(invalid=3)
    assert writes(sandbox.requests) == []


# What dbt says of its last run.


def test_models_that_dbt_did_not_bring_up_to_date_are_skipped(odd, sandbox):
    ended = odd.sync("--exclude", "passing", "unbuilt")
    sound = ("good", "also_good", "unsound", "a_view", "versioned_v1", "versioned_v2", "a_seed", "a_snapshot")
    assert ended.statuses == {**dict.fromkeys(sound, "success"), "broken": "skipped", "after_broken": "skipped"}
    assert "error" in ended.messages["broken"]
    assert "skipped" in ended.messages["after_broken"]
    assert ended.result("broken")["planned"] == planned()
    assert "main_pendo" in odd.schemas()
    assert "broken__ledger" not in odd.tables()
    # Parents before children.
    order = list(ended.statuses)
    assert order.index("good") < order.index("also_good")
    assert order.index("broken") < order.index("after_broken")
    shown = odd.run("sync", "--select", "broken", "good").expect(0).stdout
    expect_in(shown, "SKIP", "the last dbt run left the model in status")
    odd.sync("--select", "broken", "--warn-error", status=1)


def test_models_without_a_table(odd, sandbox):
    messages = odd.sync("--select", "passing", "unbuilt", status=2).messages
    expect_in(messages["passing"], "ephemeral", "models/_models.yml", "materialized: table")
    assert "dbt build --select unbuilt" in messages["unbuilt"]
    assert writes(sandbox.requests) == []


def change_results(project: Project, status: str, **changes: Any) -> None:
    path = project.target / "run_results.json"
    results = json.loads(path.read_text())
    for result in results["results"]:
        result["status"] = status
    for part, change in changes.items():
        results[part].update(change)
    path.write_text(json.dumps(results))


def test_results_that_are_not_believed(odd):
    """`docs generate` calls a model whose table is not there a success; another invocation says nothing."""
    change_results(odd, "success", args={"which": "generate"})
    ended = odd.sync("--select", "good", "broken", status=1)
    assert ended.statuses == {"good": "success", "broken": "error"}
    change_results(odd, "error", args={"which": "build"}, metadata={"invocation_id": "another"})
    assert odd.sync("--select", "good").statuses == {"good": "success"}


def test_results_that_may_hide_a_failure(people, sandbox):
    path = people.target / "run_results.json"
    path.write_text('{"metadata": {')
    refused(people, sandbox, "run_results.json", "dbt build")
    # These say nothing.
    path.write_text('{"metadata": null, "args": null, "results": null}')
    people.sync()
    path.unlink()
    people.sync()


def test_other_nodes_are_read_too(odd, sandbox):
    """A view with an alias in a schema of its own, seeds, snapshots, each version of a model, the older `meta`."""
    expected = {"a_seed": "seeded", "versioned_v1": "v1", "versioned_v2": "v2"}
    expected |= dict.fromkeys(("a_snapshot", "a_view", "also_good"), "pro")
    for name, plan in expected.items():
        sandbox.add_visitors({"a": {"custom": {"plan": "before"}}})
        result = odd.sync("--select", name.replace("_v", ".v") if name.startswith("versioned") else name).result()
        assert (result["sync"], result["delivered"]) == (name, 1)
        assert sandbox.visitors["a"]["custom"] == {"plan": plan}


def test_results_that_cannot_be_written(people, sandbox):
    (people.target / "pendo_results.json").mkdir()
    ended = people.run("sync").says("pendo_results.json")
    assert ended.status in (1, 2)
    assert "Traceback" not in ended.output
