"""What dbt publishes of its builds, and how it gets along with the package."""

import json
import shutil
import subprocess

from harness import PEOPLE, REPOSITORY, expect_in, run_cli
from published import FAILED, SOUND, elsewhere, project, write_project  # noqa: F401 - fixtures


def test_a_build_publishes_its_mapped_models_and_docs_nothing(project):
    published = {row["model"]: row for row in project.published()}
    assert (len(project.published()), published.keys()) == (len(published), SOUND | FAILED)
    assert {row["invocation_id"] for row in published.values()} == {published["sound"]["invocation_id"]}
    assert {row["command"] for row in published.values()} == {"build"}
    statuses = {name: row["status"] for name, row in published.items()}
    assert statuses == {**dict.fromkeys(SOUND, "success"), "broken": "error", "after_broken": "skipped"}
    tests = json.loads(published["sound"]["tests"])
    named = {name.split(".", 2)[2].rpartition(".")[0]: status for name, status in tests.items()}
    assert named == dict.fromkeys(("unique_sound_id", "not_null_sound_id", "sound"), "pass")
    assert list(json.loads(published["failed_test"]["tests"]).values()) == ["fail"]
    assert published["versioned_v2"]["unique_id"] == "model.published.versioned.v2"
    assert json.loads(published["by_column"]["column_mappings"]) == {"tariff": "plan"}
    about = {"relation_name": '"small"."main"."snapped"', "materialized": "snapshot", "partial": None, "run_id": None}
    assert {name: published["snapped"][name] for name in about} == about


def test_a_manifest_and_what_was_published_are_the_same_syncs(project):
    # As `dbt build` left it; `dbt docs generate` came later.
    shutil.copytree(project.folder / "of_the_build", project.target, dirs_exist_ok=True)
    published = {result["sync"]: result for result in project.plan("--published").json["results"]}
    # A manifest has the ephemeral model as well, which dbt does not build.
    by_manifest = {result["sync"]: result for result in project.plan(status=2).json["results"]}
    expect_in(by_manifest.pop("passing")["message"], "models/_models.yml", "is ephemeral", "materialized: table")
    assert published == by_manifest


def test_what_a_command_has_built_and_no_more_in_one_statement(project):
    before = project.published()
    project.dbt("build --select plain unique_sound_id")
    assert project.published() == before
    # dbt names it as a source; no statement does.
    assert '"pendo_builds"' not in project.log
    run = "run --select sound untested plain --log-path"
    project.dbt(f"{run} with", "build --select untested sound --empty", "seed")
    added = project.published()[len(before) :]
    assert [(row["command"], row["model"], row["partial"], row["status"]) for row in added] == [
        *(("run", "sound", None, "success"), ("run", "untested", None, "success")),
        *(("build", "sound", "--empty", "success"), ("build", "untested", "--empty", "success")),
        ("seed", "seeded", None, "success"),
    ]
    settings = (project.folder / "dbt_project.yml").read_text()
    (project.folder / "dbt_project.yml").write_text(settings.replace("on-run-end", "on-run-start"))
    project.dbt(f"{run} without")
    logs = ((project.folder / name / "dbt.log").read_text(encoding="utf-8") for name in ("with", "without"))
    with_it, without = (log.count("SQL status: ") for log in logs)
    assert with_it == without + 1


def test_a_retry_publishes_what_it_has_mended(project):
    before = len(project.published())
    # A test that has failed before fails again.
    project.dbt("retry --state of_the_build --vars 'mended: true'", status=1)
    added = [(row["command"], row["model"], row["status"]) for row in project.published()[before:]]
    # dbt gives the command that it runs again.
    assert added == [("build", "broken", "success"), ("build", "after_broken", "success")]


def test_as_a_job_step_all_models_are_published_as_they_are(project):
    before = len(project.published())
    project.dbt("run-operation dbt_pendo.publish --no-partial-parse")
    assert "nothing was published" not in project.log
    added = {row["model"]: row for row in project.published()[before:]}
    assert added.keys() == SOUND | FAILED | {"passing"}
    assert {(row["command"], row["status"], row["tests"]) for row in added.values()} == {("run-operation", None, None)}
    assert added["passing"]["relation_name"] is None


def test_many_models_are_published_in_parts_and_a_snapshot_is_there_before_what_it_is_of(tmp_path):
    project = write_project(tmp_path / "project")
    names = [f"many_{at}" for at in range(120)]
    for name in names:
        (project.folder / "models" / f"{name}.sql").write_text("select 'sound' as id, 'new' as plan")
    mapped = [{"name": name, "config": {"meta": {"pendo": PEOPLE}}} for name in names]
    (project.folder / "models" / "many.yml").write_text(json.dumps({"models": mapped}))
    project.dbt("deps", "run-operation dbt_pendo.publish")
    published = project.published()
    assert {row["model"] for row in published} == {*names, *SOUND, *FAILED, "passing"}
    assert [row["build_order"] for row in published] == sorted(row["build_order"] for row in published)
    assert len({row["logged_at"] for row in published}) == 3
    rows = project.rows("main_pendo.pendo_builds order by rowid")
    assert [row["action"] for row in rows if row["unique_id"] == "snapshot.published.snapped"] == [
        "snapshot",
        "published",
    ]


def test_the_package_from_git_parses_without_a_warning_and_publishes_hostile_text(tmp_path):
    source, folder = tmp_path / "dbt-pendo", tmp_path / "project"
    source.mkdir()
    shutil.copy(REPOSITORY / "dbt_project.yml", source)
    shutil.copytree(REPOSITORY / "macros", source / "macros")
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "x"], ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    project = write_project(folder)
    project.settings("flags: {validate_macro_args: true}")
    (folder / "packages.yml").write_text(f"packages: [{{git: {json.dumps(source.as_uri())}, revision: v1}}]\n")
    text = "it's \"quoted\" back\\slash\n{{ jinja }} {% raw %} {# no #} $1 %s größe 🚀 \\' ; --"
    # dbt renders YAML once; what looks like Jinja comes by a variable.
    mapping = {**PEOPLE, "fields": {"plan": {"value": "{{ env_var('HOSTILE') }}"}}}
    declared = {"models": [{"name": "hostile", "config": {"meta": {"pendo": mapping}}}]}
    (folder / "models" / "hostile.yml").write_text(json.dumps(declared))
    (folder / "models" / "hostile.sql").write_text("select 'sound' as id")
    project.dbt("deps", "run --select hostile --warn-error --no-partial-parse", HOSTILE=text)
    (row,) = project.published()
    assert (row["model"], json.loads(row["mapping"])) == ("hostile", {**PEOPLE, "fields": {"plan": {"value": text}}})


def test_where_the_schema_is_named_both_find_it(project, elsewhere, monkeypatch):
    # How the project quotes its own names is nothing to dbt-pendo's.
    own = "targets: {dev: {schema: of_the_target}, other: null}"
    project.settings(f"vars: {{dbt_pendo: {{schema: of_the_project, {own}}}}}\nquoting: {{identifier: false}}")
    project.dbt("run --select sound")
    assert len(project.published("of_the_target")) == 1
    plan = ("plan", "--published", "--project-dir", str(project.folder))
    assert "in of_the_target.pendo_builds" in run_cli(*plan).expect(0).stdout
    path = project.folder / "dbt_project.yml"
    path.write_text(path.read_text().replace("schema: of_the_target", ""))
    project.dbt("run --select sound")
    assert '"of_the_project"."pendo_builds"' in project.log
    # The environment wins.
    project.dbt("run --select sound", DBT_PENDO_SCHEMA="of_the_environment")
    assert len(project.published("of_the_project")) == len(project.published("of_the_environment")) == 1
    assert "in of_the_project.pendo_builds" in run_cli(*plan).expect(0).stdout
    monkeypatch.setenv("DBT_PENDO_SCHEMA", "of_the_environment")
    assert "in of_the_environment.pendo_builds" in run_cli(*plan).expect(0).stdout


def test_dbts_run_goes_on_where_the_macro_finds_no_settings(project):
    """Where the warehouse refuses what is published: tests/warehouse/test_postgres.py."""
    project.dbt("run --select sound --vars 'dbt_pendo: [no, mapping]'")
    told = "dbt_pendo: nothing was published to pendo_builds; if the warehouse refused it, dbt's log says why."
    assert project.log.count(told) == 1
