"""What cannot be used: one clear message that says what to do, the exit status, and nothing half-done.

Each message of a mapping is in tests/spec, each of a manifest or of run results in tests/unit/test_artifacts.py.
"""

import subprocess
import sys
from typing import Any

from harness import PEOPLE, PEOPLE_ROWS, Project, SmallProject, add_fields, custom, expect_in, planned, sent_ids, writes

from dbt_pendo.sandbox import Sandbox

SECRETS = ("sandbox-integration-key", "sandbox-track-secret", "sandbox-read-only-key")
READING = ("check", "plan", "sync")
FILE = "models/_models.yml"


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
    assert set(error) == {"message", "hint", "link"}
    for text in (ended.stderr, f"{error['message']}\n{error['hint']}"):
        expect_in(text, *parts)
    check_untouched(project, sandbox)


def test_a_project_without_a_mapping_or_a_manifest(project, sandbox, monkeypatch):
    none = ("No model in", "manifest.json", "carries meta.pendo", "dbt build")
    for command in READING:
        plain = project.run(command).expect(2).says(*none)
        assert (plain.stdout, plain.stderr[:7]) == ("", "Error: ")
        refused(project, sandbox, *none, command=command)
    project.manifest_path.unlink()
    for command in READING:
        where = ("There is no manifest.json in", str(project.target), "dbt build", "--target-path")
        refused(project, sandbox, *where, command=command)
    monkeypatch.setenv("DBT_TARGET_PATH", "elsewhere")
    refused(project, sandbox, "There is no manifest.json in", str(project.folder / "elsewhere"))
    assert not (project.folder / "elsewhere").exists()
    assert sandbox.requests == []


def test_a_misspelt_pendo_is_told(project):
    for model, key in (("one", "pendoo"), ("two", "Pendo"), ("three", "vendor")):
        project.model(model, None, PEOPLE_ROWS)
        project.change_node(f"model.small.{model}", lambda node, key=key: node["config"].update(meta={key: PEOPLE}))
    told = [
        f"{FILE}: {at}: nothing reads `meta.{key}`; did you mean `meta.pendo`?"
        for at, key in (("one", "pendoo"), ("two", "Pendo"))
    ]
    ended = project.run("check").expect(2).says("No model in", *told)
    assert "vendor" not in ended.output
    project.model("people", PEOPLE, PEOPLE_ROWS)
    for command in ("check", "sync"):
        project.run(command).says("Found 1 sync", *told)


def test_mistakes_in_mappings_are_told_all_at_once(people, sandbox):
    people.model("one", {"objekt": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}, PEOPLE_ROWS)
    people.model("two", {**PEOPLE, "enabled": False, "mode": "upset", "batchsize": 3}, PEOPLE_ROWS)
    for command in (["check"], ["check", "--offline"], ["plan"], ["sync"]):
        people.run(*command).expect(2).says(
            f"{FILE}: one: meta.pendo.objekt: unknown key; did you mean `object`?",
            f"{FILE}: two: meta.pendo.mode:",
            f"{FILE}: two: meta.pendo.batchsize: unknown key; did you mean `batch_size`?",
            "3 problems in meta.pendo; nothing was sent",
            "dbt-pendo schema",
        )
        assert len(people.run(*command, "--json").expect(2).json["error"]["message"].splitlines()) == 3
        if command == ["check"]:
            # It asks about the mappings that it can read.
            sandbox.forget_requests()
    check_untouched(people, sandbox)
    assert sandbox.requests == []
    # Mistakes outside the selection do not matter.
    people.sync("--select", "people")


# Of each sync what its mapping has, the SQL that breaks its table, and what is said of it.
WITHOUT_BASE = (
    "create table main.base as from main.bad_view; drop table main.bad_view; "
    "create view main.bad_view as from main.base; drop table main.base"
)
BREAKS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "bad_column": (
        {"fields": {"plan": "plam", "team": "nowhere"}},
        "",
        (
            *(f"{FILE}: bad_column:", "has no column `plam`. Did you mean `plan`?", "dbt build --select bad_column"),
            "has no column `nowhere`. Its columns: id, plan.",
        ),
    ),
    "bad_key": ({"visitor_id": "user_id"}, "", (f"{FILE}: bad_key:", "no column `user_id`", "--select bad_key")),
    "bad_type": (
        {"fields": {"seats": "yes"}},
        "alter table main.bad_type add column yes boolean",
        ("column yes is boolean, which the integer field seats cannot hold", "Cast the column"),
    ),
    "bad_unbuilt": (
        {},
        "drop table main.bad_unbuilt",
        ('"small"."main"."bad_unbuilt" is not in the warehouse', "dbt build --select bad_unbuilt"),
    ),
    "bad_view": ({}, WITHOUT_BASE, ("bad_view", "dbt build --select bad_view")),
}


def add_broken(project: SmallProject, name: str) -> None:
    mapping, sql, _ = BREAKS[name]
    project.model(name, {**PEOPLE, **mapping}, PEOPLE_ROWS)
    if sql:
        project.sql(sql)


def test_bad_syncs_alone_and_beside_another(people, sandbox):
    add_fields(sandbox, seats="integer")
    for name in BREAKS:
        add_broken(people, name)
    for command in READING:
        ended = people.run(command, "--json", "--exclude", "people").expect(2)
        assert ended.statuses == dict.fromkeys(BREAKS, "error")
        for name, (*_, parts) in BREAKS.items():
            expect_in(ended.messages[name], *parts)
    shown = people.run("sync", "--exclude", "people").expect(2)
    for *_, parts in BREAKS.values():
        shown.says(*parts)
    assert writes(sandbox.requests) == []
    ledgers = {name for name in people.tables() if name.endswith("__ledger")}
    assert [people.rows(f"main_pendo.{ledger}") for ledger in ledgers] == [[]] * len(ledgers)
    # They do not stop the others, though they come first, by their names.
    ended = people.sync(status=1)
    assert list(ended.statuses.items()) == [*((name, "error") for name in sorted(BREAKS)), ("people", "success")]
    assert [ended.result(name)["planned"] for name in BREAKS] == [planned()] * len(BREAKS)
    assert custom(sandbox.visitors) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}
    assert sent_ids(sandbox.requests, "visitor") == ["a", "b"]
    run_id = ended.json["metadata"]["run_id"]
    logged = people.rows(f"main_pendo.pendo_runs where run_id = '{run_id}'")
    assert {row["sync"]: row["status"] for row in logged} == ended.statuses


def test_unless_the_first_failure_ends_the_run(people, sandbox):
    add_broken(people, "bad_column")
    ended = people.sync("-x", status=1)
    assert list(ended.statuses.items()) == [("bad_column", "error"), ("people", "skipped")]
    assert "--fail-fast" in ended.messages["people"]
    assert writes(sandbox.requests) == []
    # A good sync that comes first is let through. In a mapping, names are of any case.
    people.annotate("bad_column", None)
    people.model("zzz", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    people.annotate("people", {**PEOPLE, "fields": {"PLAN": "PLAN"}})
    assert list(people.sync("--fail-fast", status=1).statuses.values()) == ["success", "error"]
    assert custom(sandbox.visitors)["a"] == {"plan": "pro"}


# Profiles, projects, warehouses and selections. Each message of a setting is in tests/unit/test_settings.py.


FLAGS = [
    ("sync --concurrency many", ("--concurrency", "'many'")),
    ("sink", ("sink",)),
    ("sync --vars {a:", ("--vars",)),
    ("sync --vars [1]", ("--vars",)),
    ("sync --target prod", ("prod", "dev")),
    ("sync --select nosuchmethod:x", ("selection", "nosuchmethod")),
    ("sync --selector nosuch", ("nosuch", "selectors.yml")),
]


def test_flags_that_make_no_sense_and_a_selection_without_a_sync(people, sandbox):
    for args, parts in FLAGS:
        people.run(*args.split()).expect(2).says(*parts)
        check_untouched(people, sandbox)
    # What Pendo knows was asked while dbt looked for the profile.
    assert {request.method for request in sandbox.requests} <= {"GET"}
    sandbox.forget_requests()
    for command in READING:
        people.run(command, "--select", "template").expect(0).says("Nothing to do")
        assert people.run(command, "--select", "template", "--json").expect(0).json["results"] == []
    assert sandbox.requests == []


# By file: what cannot be used of it.
UNUSABLE = {
    "dbt_project.yml": ("name: [", "- a list", "", "name: \x00"),
    "profiles.yml": (
        "small: [",
        "large: {target: dev, outputs: {dev: {type: duckdb, path: x.duckdb}}}",
        "small: {target: gone, outputs: {dev: {type: duckdb, path: x.duckdb}}}",
        "small: {target: dev, outputs: {dev: {path: x.duckdb}}}",
        "small: {target: dev, outputs: {dev: {type: nosuchadapter}}}",
        "small: {target: dev, outputs: {dev: {type: duckdb, path: \"{{ env_var('NOWHERE') }}\"}}}",
    ),
}


def test_a_project_and_profiles_that_cannot_be_used(people, sandbox, monkeypatch):
    for name, contents in UNUSABLE.items():
        path = people.folder / name
        sound = path.read_text()
        for content in contents:
            path.write_text(content)
            refused(people, sandbox, "dbt_project.yml" if name == "dbt_project.yml" else "rofile")
        path.write_text(sound)
    path.unlink()
    refused(people, sandbox, "rofile")
    nowhere = str(people.folder / "nowhere")
    monkeypatch.setenv("DBT_PROJECT_DIR", nowhere)
    refused(people, sandbox, "There is no dbt_project.yml in", nowhere, "--project-dir")


def test_a_warehouse_that_cannot_be_opened(people, sandbox):
    sound = people.database.read_bytes()
    people.database.write_bytes(b"this is no DuckDB file" * 1000)
    people.run("sync").expect(1).says("warehouse")
    people.database.write_bytes(sound)
    # Another process holds it.
    program = (
        f"import duckdb, sys; held = duckdb.connect({str(people.database)!r}); print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        people.run("sync").expect(1).says("warehouse", "lock")
    finally:
        holder.communicate()
    assert writes(sandbox.requests) == []
    people.sync()


def test_a_manifest_that_dbt_cannot_select_from(people, sandbox):
    template = people.manifest()["nodes"]["model.small.template"]
    without = {key: value for key, value in template.items() if key != "checksum"}
    for node in (None, {**template, "columns": ["id"]}, without):
        manifest = people.manifest()
        manifest["nodes"]["model.small.template"] = node
        people.write_manifest(manifest)
        ended = people.run("sync", "--select", "people").expect(2).says("manifest.json: dbt ", "cannot select from it")
        assert len(ended.output) < 600
        check_untouched(people, sandbox)
