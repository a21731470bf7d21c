"""dbt Cloud from inside: dbt publishes what it has built, and a sync takes it without a manifest, each build once."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import (
    PEOPLE,
    REPOSITORY,
    SMALL_PROFILE,
    Project,
    build_once,
    check_document,
    enter,
    expect_in,
    project_yaml,
    refuse,
    run_cli,
    write_files,
    writes,
)

from dbt_pendo.sandbox import Sandbox
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.session import Connection, open_session

PROJECT = project_yaml(
    "published",
    """\
models: {published: {+materialized: table}}
seeds: {published: {+column_types: {id: varchar, plan: varchar}}}
on-run-end: "{{ dbt_pendo.publish(results) }}\"""",
)
PACKAGES = f"packages: [{{local: {json.dumps(str(REPOSITORY))}}}]\n"
MODELS = {
    "sound": "select 'sound' as id, 'new' as plan",
    "untested": "select 'untested' as id, 'new' as plan",
    "failed_test": "select 'failed_test' as id, 'new' as plan, cast(null as int) as age",
    "broken": "select {{ \"'broken'\" if var('mended', false) else \"error('no luck')\" }} as id, 'new' as plan",
    "after_broken": "select 'after_broken' as id, plan from {{ ref('broken') }}",
    "by_column": "select 'by_column' as id, 'new' as tariff",
    "versioned_v2": "select 'versioned' as id, 'new' as plan",
    "plain": "select 'plain' as id, 'new' as plan",
    "clicks": "select 'e1' as id, 'sound' as person, current_date as at",
    "passing": "{{ config(materialized='ephemeral') }} select 'passing' as id, 'new' as plan",
}
CLICKS = {"object": "track_event", "event": "Click", "event_id": "id", "visitor_id": "person", "timestamp": "at"}
MAPPED: dict[str, Any] = {"config": {"meta": {"pendo": PEOPLE}}}
YAML: dict[str, Any] = {
    "seeds": [{"name": "seeded", **MAPPED}],
    "models": [
        {"name": "sound", **MAPPED, "columns": [{"name": "id", "data_tests": ["unique", "not_null"]}]},
        {"name": "untested", "meta": {"pendo": PEOPLE}},
        {"name": "failed_test", **MAPPED, "columns": [{"name": "age", "data_tests": ["not_null"]}]},
        *({"name": name, **MAPPED} for name in ("broken", "after_broken", "passing")),
        {
            "name": "by_column",
            "config": {"meta": {"pendo": {"object": "visitor", "visitor_id": "id"}}},
            "columns": [{"name": "id"}, {"name": "tariff", "meta": {"pendo": "plan"}}],
        },
        {"name": "versioned", **MAPPED, "versions": [{"v": 2}]},
        {"name": "clicks", "config": {"meta": {"pendo": CLICKS}}},
        # Takes itself and its columns out of what it inherits.
        {
            "name": "plain",
            "config": {"meta": {"pendo": None}},
            "columns": [{"name": "plan", "meta": {"pendo": "plan"}}],
        },
    ],
    "unit_tests": [
        {"name": "plans", "model": "sound", "given": [], "expect": {"rows": [{"id": "sound", "plan": "new"}]}}
    ],
}
SNAPSHOT = """\
{% snapshot snapped %}
{{ config(target_schema='main', unique_key='id', strategy='check', check_cols='all',
          meta={'pendo': {'object': 'visitor', 'visitor_id': 'id', 'fields': {'plan': 'plan'}}}) }}
select 'snapped' as id, 'new' as plan
{% endsnapshot %}
"""
SOUND = {"sound", "untested", "failed_test", "by_column", "versioned_v2", "seeded", "snapped", "clicks"}
FAILED = {"broken", "after_broken"}
VISITORS = {"sound", "untested", "failed_test", "by_column", "versioned", "seeded", "snapped"}


class Published(Project):
    """The project, and what dbt has published of it."""

    def published(self, schema: str = "main_pendo") -> list[dict[str, Any]]:
        """What dbt has published, oldest first."""
        return self.rows(f"{schema}.pendo_builds where action = 'published' order by logged_at, build_order")

    def taken(self) -> dict[str, str]:
        """The run that took each model's latest build."""
        rows = self.rows("main_pendo.pendo_builds where action = 'taken' order by logged_at")
        return {row["unique_id"].split(".")[2]: row["run_id"] for row in rows}

    def publish_again(self, *models: str, **changes: Any) -> None:
        """Publishes models once more, as another dbt invocation that left them so."""
        columns = [column for column in self.published()[0] if column != "logged_at"]
        invocation = f"{changes.pop('invocation_id', 'again')}-{len(self.published())}"
        values = {"invocation_id": invocation, **changes}
        listed = ", ".join("?" if column in values else column for column in columns)
        for model in models:
            self.sql(
                f"insert into main_pendo.pendo_builds ({', '.join(columns)}, logged_at) "
                f"select {listed}, now()::timestamp from main_pendo.pendo_builds "
                f"where action = 'published' and unique_id like ? order by logged_at desc limit 1",
                [*(values[column] for column in columns if column in values), f"%.published.{model}%"],
            )

    @property
    def log(self) -> str:
        """What dbt has logged, but for what it logs of its own parts."""
        return (self.folder / "logs" / "dbt.log").read_text(encoding="utf-8")


def write_project(folder: Path) -> Published:
    files = {f"models/{name}.sql": sql for name, sql in MODELS.items()}
    files |= {"dbt_project.yml": PROJECT, "profiles.yml": SMALL_PROFILE, "packages.yml": PACKAGES}
    files |= {"models/_models.yml": json.dumps(YAML), "snapshots/snapped.sql": SNAPSHOT}
    write_files(folder, {**files, "seeds/seeded.csv": "id,plan\nseeded,new\n"})
    return Published(folder, folder / "small.duckdb")


@pytest.fixture(scope="session")
def built_published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        project = write_project(folder)
        inherited = {"+materialized": "table", "plain": {"+meta": {"pendo": PEOPLE}}}
        declared = PROJECT.replace("{+materialized: table}", json.dumps(inherited), 1)
        (folder / "dbt_project.yml").write_text(declared)
        project.dbt("deps")
        project.dbt("build", status=1)
        project.dbt("docs generate")

    return build_once(tmp_path_factory, "published", build)


@pytest.fixture
def project(built_published: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Published:
    """The project after a `dbt build` that failed in places and a `dbt docs generate`."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    names = {*MODELS, "seeded", "snapped", "versioned"}
    sandbox.add_visitors({name: {"custom": {"plan": "old"}} for name in names})
    return enter(built_published, tmp_path / "published", monkeypatch, Published, without=["logs"])


@pytest.fixture
def elsewhere(project: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, that knows of the project no more than a profile does."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DBT_PROJECT_DIR")
    monkeypatch.setenv("DBT_PROFILE", "small")
    return folder


def test_a_build_publishes_its_mapped_models_and_docs_nothing(project):
    published = {row["model"]: row for row in project.published()}
    assert (len(project.published()), published.keys()) == (len(published), SOUND | FAILED)
    assert {row["invocation_id"] for row in published.values()} == {published["sound"]["invocation_id"]}
    assert {row["command"] for row in published.values()} == {"build"}
    assert {name: row["status"] for name, row in published.items()} == {
        **dict.fromkeys(SOUND, "success"),
        "broken": "error",
        "after_broken": "skipped",
    }
    tests = json.loads(published["sound"]["tests"])
    assert {name.split(".", 2)[2].rpartition(".")[0]: status for name, status in tests.items()} == {
        "unique_sound_id": "pass",
        "not_null_sound_id": "pass",
        "sound": "pass",
    }
    assert list(json.loads(published["failed_test"]["tests"]).values()) == ["fail"]
    assert published["versioned_v2"]["unique_id"] == "model.published.versioned.v2"
    assert json.loads(published["by_column"]["column_mappings"]) == {"tariff": "plan"}
    about = published["snapped"]
    assert (about["relation_name"], about["materialized"], about["partial"], about["run_id"]) == (
        '"small"."main"."snapped"',
        "snapshot",
        None,
        None,
    )


def test_a_manifest_and_what_was_published_are_the_same_syncs(project):
    project.dbt("build", status=1)
    published = {result["sync"]: result for result in project.plan("--published").json["results"]}
    # A manifest has the ephemeral model as well, which dbt does not build.
    by_manifest = {result["sync"]: result for result in project.plan(status=2).json["results"]}
    assert "is ephemeral" in by_manifest.pop("passing")["message"]
    assert published == by_manifest


def test_only_commands_that_build_publish(project):
    before = project.published()
    project.dbt(
        "parse --no-partial-parse",
        "compile",
        "show --select sound",
        "list",
        "test --select sound",
        "docs generate",
        "run --select plain",
        "build --select sound --exclude-resource-type model",
    )
    assert project.published() == before
    # dbt names it as a source; no statement does.
    assert '"pendo_builds"' not in project.log


def test_what_a_command_has_built(project):
    before = len(project.published())
    project.dbt("run --select sound plain", "build --select untested sound --empty", "seed", "snapshot")
    assert [(row["command"], row["model"], row["partial"]) for row in project.published()[before:]] == [
        ("run", "sound", None),
        ("build", "sound", "--empty"),
        ("build", "untested", "--empty"),
        ("seed", "seeded", None),
        ("snapshot", "snapped", None),
    ]
    assert {row["status"] for row in project.published()[before:]} == {"success"}


def test_a_retry_publishes_what_it_has_mended(project):
    before = len(project.published())
    project.dbt("build --select broken+", status=1)
    project.dbt("retry --vars 'mended: true'")
    added = [(row["command"], row["model"], row["status"]) for row in project.published()[before:]]
    assert added[:2] == [("build", "broken", "error"), ("build", "after_broken", "skipped")]
    # dbt gives the command that it runs again.
    assert added[2:] == [("build", "broken", "success"), ("build", "after_broken", "success")]


def test_as_a_job_step_all_models_are_published_as_they_are(project):
    before = len(project.published())
    project.dbt("run-operation dbt_pendo.publish --no-partial-parse")
    assert "nothing was published" not in project.log
    added = {row["model"]: row for row in project.published()[before:]}
    assert added.keys() == SOUND | FAILED | {"passing"}
    assert {(row["command"], row["status"], row["tests"]) for row in added.values()} == {("run-operation", None, None)}
    assert added["passing"]["relation_name"] is None


def test_hostile_text_arrives_as_it_was_written(project):
    text = "it's \"quoted\" back\\slash\n{{ jinja }} {% raw %} {# no #} $1 %s größe 🚀 \\' ; --"
    # dbt renders YAML once; what looks like Jinja comes by a variable.
    mapping = {**PEOPLE, "fields": {"plan": {"value": "{{ env_var('HOSTILE') }}"}}}
    declared = {"models": [{"name": "hostile", "config": {"meta": {"pendo": mapping}}}]}
    (project.folder / "models" / "hostile.yml").write_text(json.dumps(declared))
    (project.folder / "models" / "hostile.sql").write_text("select 'sound' as id")
    project.dbt("run --select hostile", HOSTILE=text)
    (row,) = [row for row in project.published() if row["model"] == "hostile"]
    assert json.loads(row["mapping"]) == {**PEOPLE, "fields": {"plan": {"value": text}}}


def test_each_build_is_taken_once_with_neither_project_nor_manifest(project, elsewhere, sandbox, written):
    shutil.rmtree(project.target)
    # A profile is all that is left of the project.
    (project.folder / "dbt_project.yml").unlink()
    ended = run_cli("sync", "--published").expect(0)
    assert "Found 10 syncs in main_pendo.pendo_builds" in ended.stdout
    lines = [line.split("  ", 1)[1] for line in ended.stdout.splitlines()]
    starts = {line.split()[6]: line.partition("[")[2].rstrip("]") for line in lines if " START sync " in line}
    assert starts["sound"] == "RUN, built by `dbt build`, 3 tests passed"
    assert starts["failed_test"] == "RUN, built by `dbt build`, 1 of 1 tests failed"
    assert "skipped: the last dbt run left the model in status 'error'" in ended.stdout
    assert (written(), [event["visitorId"] for event in sandbox.events]) == (VISITORS, ["sound"])
    results = json.loads((elsewhere / "target" / "pendo_results.json").read_text())
    check_document(results)
    assert results["metadata"]["manifest_invocation_id"] == project.published()[0]["invocation_id"]
    # All of them by one run; also those that dbt failed to build, of which nothing more will come.
    assert project.taken() == dict.fromkeys(
        {*SOUND, *FAILED, "versioned"} - {"versioned_v2"}, results["metadata"]["run_id"]
    )
    sent = len(writes(sandbox.requests))
    shutil.rmtree(elsewhere / "target")
    for command in ("sync", "plan"):
        ended = run_cli(command, "--published").expect(0)
        (line,) = ended.stdout.strip().splitlines()
        assert line.endswith("Nothing to do: no build in main_pendo.pendo_builds waits to be synced.")
        assert run_cli(command, "--published", "--json").json["results"] == []
    run_cli("sync", "--published", "--warn-error").expect(0)
    assert len(writes(sandbox.requests)) == sent


def test_a_new_build_is_taken_by_the_next_sync(project, elsewhere, written):
    run_cli("sync", "--published").expect(0)
    project.sql("create or replace table main.broken as select 'broken' as id, 'new' as plan")
    project.publish_again("broken", "after_broken", status="error")
    project.publish_again("broken", status="success")
    # Of the two builds of each model the latest counts, and what it says of another model's older one.
    assert run_cli("sync", "--published", "--json").statuses == {"broken": "success", "after_broken": "skipped"}
    assert written() == VISITORS | {"broken"}
    assert run_cli("sync", "--published", "--json").json["results"] == []


def test_a_plan_takes_nothing(project, elsewhere, sandbox):
    for command in (["plan"], ["sync", "--dry-run"]):
        assert len(run_cli(*command, "--published", "--json").json["results"]) == 10
    assert (project.taken(), writes(sandbox.requests)) == ({}, [])


@pytest.mark.parametrize(
    ("flags", "syncs"),
    [
        (["--select", "sound", "untested"], {"sound", "untested"}),
        (["--select", "sound untested", "--exclude", "untested"], {"sound"}),
        (["--select", "versioned"], {"versioned_v2"}),
        (["--select", "versioned_v2"], {"versioned_v2"}),
        (["--exclude", "broken", "after_broken"], SOUND),
        (["--select", "nobody"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_models_are_selected_by_name(project, elsewhere, flags, syncs):
    assert run_cli("sync", "--published", "--json", *flags).expect(0).statuses.keys() == syncs
    assert len(project.taken()) == len(syncs)


@pytest.mark.parametrize(
    "selection",
    [
        ["--select", "tag:daily"],
        ["--select", "sound+"],
        ["--select", "path:models"],
        ["--select", "s*"],
        ["--exclude", "sound,broken"],
        ["--selector", "daily"],
    ],
    ids=" ".join,
)
def test_what_needs_dbts_graph_is_refused(project, elsewhere, sandbox, selection):
    ended = run_cli("sync", "--published", *selection).expect(2)
    assert f"{selection[1]}: what was published does not say how models hang together" in ended.output
    assert "name models alone" in ended.output
    assert writes(sandbox.requests) == []


def test_dbt_cloud_is_another_way(project, elsewhere):
    for flag in ("--dbt-cloud-run-id=1", "--dbt-cloud-job-id=1"):
        for command in ("sync", "plan"):
            assert "--published" in run_cli(command, "--published", flag).expect(2).output


def test_failed_tests_hold_a_build_back_where_tests_are_required(project, elsewhere, written):
    ended = run_cli("sync", "--published", "--require-tests", "--json").expect(0)
    messages = {result["sync"]: result["message"] for result in ended.json["results"] if result["status"] == "skipped"}
    assert messages.keys() == FAILED | {"failed_test"}
    assert messages["failed_test"] == "skipped: 1 of its tests failed (--require-tests): not_null_failed_test_age"
    assert written() == VISITORS - {"failed_test"}
    # Each build is judged once.
    assert run_cli("sync", "--published", "--json").json["results"] == []


def test_a_build_without_all_its_rows_is_not_synced(project, elsewhere, sandbox):
    project.publish_again("sound", partial="--empty", command="run")
    ended = run_cli("sync", "--published", "--select", "sound", "--json").expect(0)
    assert ended.result()["message"] == "skipped: `dbt run --empty` built it without all its rows"
    assert writes(sandbox.requests) == []


def test_models_published_as_they_are(project, elsewhere, written):
    def publish() -> None:
        project.publish_again("sound", command="run-operation", status=None, tests=None)

    publish()
    ended = run_cli("sync", "--published", "--select", "sound").expect(0)
    assert "[RUN, its table as it is, published by `dbt run-operation`]" in ended.stdout
    assert written() == {"sound"}
    for gate, does_not_say, status in (
        ("--only-built", "whether it was built", 0),
        # That one asks for tests and there are none to tell of, is worth a warning.
        ("--require-tests", "what its tests said", 1),
    ):
        publish()
        ended = run_cli("sync", "--published", "--select", "sound", "--json", "--warn-error", gate).expect(status)
        message = f"skipped: published by `dbt run-operation`, which does not say {does_not_say} ({gate})"
        assert ended.result()["message"] == message


def test_what_dbt_built_passes_only_built(project, elsewhere, written):
    run_cli("sync", "--published", "--only-built").expect(0)
    assert written() == VISITORS


# What is not taken.


def left(project: Published) -> set[str]:
    return {name for name in (*SOUND, *FAILED) if name.removesuffix("_v2") not in project.taken()}


def test_a_sync_that_failed_leaves_its_build(project, elsewhere, sandbox, written):
    project.sql("drop table main.untested")
    assert "untested is not in the warehouse" in str(run_cli("sync", "--published").expect(1).output).replace('"', "")
    assert left(project) == {"untested"}
    project.sql("create table main.untested as select 'untested' as id, 'new' as plan")
    assert run_cli("sync", "--published", "--json").expect(0).statuses == {"untested": "success"}
    assert (left(project), written()) == (set(), VISITORS)


def test_a_build_of_which_rows_were_rejected_is_taken(project, elsewhere, sandbox):
    project.sql("insert into main.sound values ('odd', 'new')")
    refuse(sandbox, "odd")
    ended = run_cli("sync", "--published", "--select", "sound", "--json").expect(1)
    assert (ended.statuses, project.taken().keys()) == ({"sound": "partial"}, {"sound"})


def test_fail_fast_and_limits_leave_the_rest(project, elsewhere, sandbox):
    run_cli("sync", "--published", "--limit", "0").expect(0)
    assert project.taken() == {}
    project.sql("drop table main.sound")
    ended = run_cli("sync", "--published", "--fail-fast", "--json").expect(1)
    never_tried = {sync for sync, status in ended.statuses.items() if status == "skipped"} - FAILED
    assert left(project) == never_tried | {"sound"}


def test_a_sync_that_another_run_is_at_leaves_its_build(project, elsewhere):
    with open_session(Connection(project.folder, project.folder)) as session:
        session.ensure_schema("main_pendo")
        lock = SyncLock(session, "main_pendo", "sound")
        lock.acquire("another run")
    ended = run_cli("sync", "--published", "--select", "sound", "untested", "--json").expect(1)
    assert ended.statuses == {"sound": "blocked", "untested": "success"}
    assert project.taken().keys() == {"untested"}


def test_a_mapping_that_is_wrong(project, elsewhere, sandbox):
    project.publish_again("sound", mapping=json.dumps({**PEOPLE, "feilds": {}}))
    ended = run_cli("sync", "--published").expect(2)
    assert "models/_models.yml: sound: meta.pendo.feilds: unknown key; did you mean `fields`?" in ended.output
    assert writes(sandbox.requests) == []
    run_cli("sync", "--published", "--exclude", "sound").expect(0)
    assert left(project) == {"sound"}


@pytest.mark.parametrize("column", ["mapping", "column_mappings", "tests"])
def test_a_row_that_somebody_has_changed(project, elsewhere, column):
    project.publish_again("sound", **{column: "{'object': 'visitor'}"})
    ended = run_cli("sync", "--published").expect(2)
    assert "pendo_builds: model.published.sound in dbt invocation again-" in ended.output
    assert "holds what is no JSON: {'object': 'visitor'}" in ended.output


def test_nothing_was_ever_published(project, elsewhere):
    project.sql("drop table main_pendo.pendo_builds")
    ended = run_cli("sync", "--published").expect(2)
    expect_in(ended.output, "There is no table main_pendo.pendo_builds: dbt has published nothing there.", "on-run-end")


def test_without_a_project_the_profile_has_to_be_named(project, elsewhere, monkeypatch):
    monkeypatch.delenv("DBT_PROFILE")
    ended = run_cli("sync", "--published", "--project-dir", ".").expect(2)
    expect_in(ended.output, "There is no dbt_project.yml", "Or name the profile, with --profile.")
    # Without the flag it takes a manifest, and so a project.
    assert "There is no dbt_project.yml" in run_cli("sync", "--profile", "small", "--project-dir", ".").expect(2).output


def test_the_package_is_installed_from_git_and_parses_without_a_warning(tmp_path):
    source, bare, folder = tmp_path / "source", tmp_path / "dbt-pendo.git", tmp_path / "project"
    source.mkdir()
    shutil.copy(REPOSITORY / "dbt_project.yml", source)
    shutil.copytree(REPOSITORY / "macros", source / "macros")
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "x"], ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", source, bare], check=True)
    project = write_project(folder)
    project.settings("flags: {validate_macro_args: true}")
    (folder / "packages.yml").write_text(f"packages: [{{git: {json.dumps(bare.as_uri())}, revision: v1}}]\n")
    project.dbt("deps", "parse --warn-error --no-partial-parse", "run --select sound")
    assert [row["model"] for row in project.published()] == ["sound"]


def test_where_the_schema_is_named_both_find_it(project, elsewhere, monkeypatch):
    # How the project quotes its own names is nothing to dbt-pendo's.
    project.settings("vars: {dbt_pendo: {schema: of_the_project}}\nquoting: {identifier: false}")
    project.dbt("run --select sound")
    assert '"of_the_project"."pendo_builds"' in project.log
    # The environment wins.
    project.dbt("run --select sound", DBT_PENDO_SCHEMA="of_the_environment")
    assert len(project.published("of_the_project")) == len(project.published("of_the_environment")) == 1
    plan = ("plan", "--published", "--project-dir", str(project.folder))
    assert "in of_the_project.pendo_builds" in run_cli(*plan).expect(0).stdout
    monkeypatch.setenv("DBT_PENDO_SCHEMA", "of_the_environment")
    assert "in of_the_environment.pendo_builds" in run_cli(*plan).expect(0).stdout


def test_dbts_run_goes_on_whatever_happens(project):
    """Nothing can be published, a line says so, and what the user's own hooks have done is done."""
    write_hooks(project, "create table if not exists hooks (x varchar)", "insert into hooks values ('before')")
    told = "dbt_pendo: nothing was published to pendo_builds; if the warehouse refused it, dbt's log says why."
    project.sql("drop table main_pendo.pendo_builds; create table main_pendo.pendo_builds as select 1 as x")
    # What is wrong may be in the macro as well as in the warehouse.
    no_settings = "--vars 'dbt_pendo: [no, mapping]'"
    project.dbt("build --select sound", f"run --select sound {no_settings}", "run-operation dbt_pendo.publish")
    assert project.log.count(told) == 3
    assert "does not have a column with name" in project.log
    project.sql("drop schema main_pendo cascade")
    project.dbt("build --select sound")
    assert ([row["model"] for row in project.published()], project.log.count(told)) == (["sound"], 3)
    assert project.sql("select x from hooks") == [("before",), ("after",)] * 3


def test_what_the_hook_leaves_out_is_not_published(project):
    path = project.folder / "dbt_project.yml"
    path.write_text(path.read_text().replace("publish(results) }}", "publish(results) if target.name == 'other' }}"))
    before = len(project.published())
    project.dbt("run --select sound", "run --select sound --target other")
    assert len(project.published()) == before
    assert [row["model"] for row in project.published("other_pendo")] == ["sound"]


def test_publishing_costs_one_statement(project):
    run = "run --select sound untested --log-path"
    project.dbt(f"{run} with")
    settings = (project.folder / "dbt_project.yml").read_text()
    (project.folder / "dbt_project.yml").write_text(settings.replace("on-run-end", "on-run-start"))
    project.dbt(f"{run} without")
    with_it, without = (
        (project.folder / name / "dbt.log").read_text(encoding="utf-8").count("SQL status: ")
        for name in ("with", "without")
    )
    assert with_it == without + 1


def write_hooks(project: Project, *before: str) -> None:
    """Puts hooks of the user's around ours."""
    path = project.folder / "dbt_project.yml"
    publish = "{{ dbt_pendo.publish(results) }}"
    hooks = json.dumps([*before, publish, "insert into hooks values ('after')"])
    path.write_text(path.read_text().replace(f'on-run-end: "{publish}"', f"on-run-end: {hooks}"))
