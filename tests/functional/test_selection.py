"""Which syncs run, and where commands find and leave things."""

import json
import shlex
import shutil

from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, planned
from test_exposures import told  # noqa: F401 - fixtures


def test_selection_is_dbts_own(people):
    """people → clicks → late, with tags; each a sync."""
    people.model("people", PEOPLE, PEOPLE_ROWS, tags=["daily", "crm"])
    people.model("clicks", CLICKS, CLICK_ROWS, tags=["daily"], parents=["people"])
    people.model("late", CLICKS, CLICK_ROWS, tags=["weekly"], parents=["clicks"])
    selectors = "selectors: [{name: often, definition: {method: tag, value: daily}}]\n"
    (people.folder / "selectors.yml").write_text(selectors)
    for args, expected in {
        "": "people clicks late",
        "-s people late": "people late",
        "--select people --select 'clicks late'": "people clicks late",
        "--select=people": "people",
        "--select 1+late": "clicks late",
        "--select tag:daily,tag:crm": "people",
        "--select l*": "late",
        "--select tag:daily --exclude people": "clicks",
        "--selector often": "people clicks",
        "--select template": "",
    }.items():
        assert people.check("--offline", *shlex.split(args)).statuses.keys() == set(expected.split()), args


def test_kinds_versions_and_paths(told, monkeypatch):
    def selected(*args: str) -> set[str]:
        return set(told.check("--offline", "--select", *args).statuses)

    assert selected("resource_type:snapshot") == {"a_snapshot"}
    assert selected("versioned") == {"versioned_v1", "versioned_v2"}
    assert selected("version:latest") == {"versioned_v2"}
    # Paths are those of the project, as in dbt, which goes there before it selects.
    for _ in range(2):
        assert selected("path:seeds", "marts/clicks.sql") == {"a_seed", "clicks"}
        monkeypatch.chdir(told.folder)


def test_project_profiles_and_target_path(people, monkeypatch, tmp_path):
    monkeypatch.delenv("DBT_PROJECT_DIR")
    monkeypatch.delenv("DBT_PROFILES_DIR")
    here = ["--project-dir", str(people.folder), "--profiles-dir", str(people.folder)]
    people.sync(*here)
    # From the project itself, from a folder below it, and by a path relative to here.
    for folder, flags in ((people.folder, []), (people.target, []), (tmp_path, ["--project-dir", people.folder.name])):
        monkeypatch.chdir(folder)
        people.sync(*flags)
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
    # The project's own.
    monkeypatch.delenv("DBT_TARGET_PATH")
    people.settings("target-path: built")
    elsewhere.rename(people.folder / "built")
    people.run("sync", *here).expect(0)
    assert not elsewhere.exists()


def test_the_flag_wins_over_the_environment_and_that_over_the_project(people, monkeypatch):
    people.settings("vars: {dbt_pendo: {schema: from_project, api_url: 'http://127.0.0.1:1'}}")
    people.sync()
    assert people.tables("from_project") == {"pendo_subscriptions", "pendo_runs", "people__ledger", "people__changes"}
    people.sync("--vars", "{dbt_pendo: {schema: from_vars}}", "--force")
    monkeypatch.setenv("DBT_PENDO_SCHEMA", "from_environment")
    people.sync("--force")
    people.sync("--schema", "from_flag", "--force")
    assert people.schemas() == {"from_project", "from_vars", "from_environment", "from_flag"}


def test_the_newer_prefix_of_dbts_variables_counts_first(people, monkeypatch):
    monkeypatch.setenv("DBT_TARGET", "nowhere")
    people.run("plan").expect(2).says("nowhere")
    monkeypatch.setenv("DBT_ENGINE_TARGET", "other")
    people.sync()
    assert "people__ledger" in people.tables("other_pendo")


def test_jinja_in_the_target_path_is_rendered_as_dbt_does(people, monkeypatch):
    people.settings("target-path: \"{{ env_var('WHERE') }}/{{ target.name }}\"")
    people.run("sync").expect(2).says("target-path of", "cannot be rendered", "WHERE")
    monkeypatch.setenv("WHERE", "built")
    shutil.move(people.target, people.folder / "built" / "dev")
    people.target = people.folder / "built" / "dev"
    assert people.sync().planned == planned(added=2)


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
