"""dbt Cloud from inside: a sync takes what dbt has published without a manifest, each build once."""

import json
import shlex
import shutil

from harness import PEOPLE, check_document, refuse, run_cli, writes
from published import FAILED, SOUND, VISITORS, Published, elsewhere, project  # noqa: F401 - fixtures

from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.session import open_session


def test_each_build_is_taken_once_with_neither_project_nor_manifest(project, elsewhere, sandbox, written, monkeypatch):
    shutil.rmtree(project.target)
    # A profile is all that is left of the project.
    (project.folder / "dbt_project.yml").unlink()
    # Neither a plan nor a sandbox takes anything.
    with monkeypatch.context() as patch:
        patch.setenv("PENDO_SANDBOX", "true")
        assert len(run_cli("sync", "--published", "--json", "--select", "sound").expect(0).json["results"]) == 1
    assert project.taken() == {}
    sandbox.forget_requests()
    sandbox.add_visitors({"sound": {"custom": {"plan": "old"}}})
    for command in (["plan"], ["sync", "--dry-run"]):
        assert len(run_cli(*command, "--published", "--json").json["results"]) == 10
    assert (project.taken(), writes(sandbox.requests)) == ({}, [])
    # What was built is let through by this gate.
    ended = run_cli("sync", "--published", "--only-built").expect(0)
    ended.says(
        "Found 10 syncs in main_pendo.pendo_builds",
        "    built by `dbt build`, 3 tests passed\n",
        "skipped: 1 of its tests failed: not_null_failed_test_age (--no-require-tests syncs it)",
        "skipped: the last dbt run left the model in status 'error'",
    )
    assert (written(), [event["visitorId"] for event in sandbox.events]) == (VISITORS - {"failed_test"}, ["sound"])
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


def left(project: Published) -> set[str]:
    return {name for name in (*SOUND, *FAILED) if name.removesuffix("_v2") not in project.taken()}


def test_a_new_build_and_one_whose_sync_failed_are_taken_by_the_next_sync(project, elsewhere, written):
    project.sql("drop table main.untested")
    assert "untested is not in the warehouse" in run_cli("sync", "--published").expect(1).output.replace('"', "")
    assert left(project) == {"untested"}
    for name in ("untested", "broken"):
        project.build(name, f"select '{name}' as id, 'new' as plan")
    project.publish_again("broken", "after_broken", status="error")
    project.publish_again("broken", status="success")
    # Of the two builds of each model the latest counts, and what it says of another model's older one.
    ended = run_cli("sync", "--published", "--json").expect(0)
    assert ended.statuses == {"untested": "success", "broken": "success", "after_broken": "skipped"}
    assert (left(project), written()) == (set(), VISITORS - {"failed_test"} | {"broken"})
    assert run_cli("sync", "--published", "--json").json["results"] == []


def test_models_are_selected_by_name(project, elsewhere, sandbox):
    for flags, syncs in (
        ("--select sound untested", {"sound", "untested"}),
        ("--select 'sound untested' --exclude untested", {"sound"}),
        ("--select versioned", {"versioned_v2"}),
        ("--exclude broken after_broken", SOUND),
        ("--select nobody", set()),
    ):
        planned = run_cli("plan", "--published", "--json", *shlex.split(flags)).expect(0)
        assert planned.statuses.keys() == syncs, flags
    assert run_cli("sync", "--published", "--json", "--select", "versioned_v2").statuses.keys() == {"versioned_v2"}
    assert project.taken().keys() == {"versioned"}
    # What needs dbt's graph is refused.
    sandbox.forget_requests()
    for flag, value in (
        *(("--select", value) for value in ("tag:daily", "sound+", "s*")),
        *(("--exclude", "sound,broken"), ("--selector", "daily")),
    ):
        ended = run_cli("sync", "--published", flag, value).expect(2)
        ended.says(f"{value}: what was published does not say how models hang together", "name models alone")
    assert writes(sandbox.requests) == []


def test_models_published_as_they_are_or_without_all_their_rows(project, elsewhere, sandbox, written):
    def sync(*flags: str, ends: int = 0, **published: object) -> str:
        project.publish_again("sound", **published)
        ended = run_cli("sync", "--published", "--select", "sound", "--json", *flags).expect(ends)
        return str(ended.result()["message"])

    assert sync(partial="--empty", command="run") == "skipped: `dbt run --empty` built it without all its rows"
    assert writes(sandbox.requests) == []
    as_it_is = {"command": "run-operation", "status": None, "tests": None}
    project.publish_again("sound", **as_it_is)
    ended = run_cli("sync", "--published", "--select", "sound").expect(0)
    ended.says("[RUN]\n", "    its table as it is, published by `dbt run-operation`\n")
    assert written() == {"sound"}
    for gate, does_not_say, status in (
        ("--only-built", "whether it was built", 0),
        # That one asks for tests and there are none to tell of, is worth a warning.
        ("--require-tests", "what its tests said", 1),
    ):
        message = f"skipped: published by `dbt run-operation`, which does not say {does_not_say} ({gate})"
        assert sync("--warn-error", gate, ends=status, **as_it_is) == message


# What is not taken.


def test_rejected_rows_a_limit_and_fail_fast(project, elsewhere, sandbox):
    run_cli("sync", "--published", "--limit", "0").expect(0)
    assert project.taken() == {}
    # A build of which rows were rejected is taken.
    project.sql("insert into main.sound values ('odd', 'new')")
    refuse(sandbox, "odd")
    ended = run_cli("sync", "--published", "--select", "sound", "--json").expect(1)
    assert (ended.statuses, project.taken().keys()) == ({"sound": "partial"}, {"sound"})
    project.sql("drop table main.snapped")
    ended = run_cli("sync", "--published", "--fail-fast", "--json").expect(1)
    never_tried = {sync for sync, status in ended.statuses.items() if status == "skipped"} - FAILED - {"failed_test"}
    assert left(project) == never_tried | {"snapped"}


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
    # Somebody may have changed a row.
    for column in ("mapping", "column_mappings", "tests"):
        project.publish_again("sound", **{column: "{'object': 'visitor'}"})
        ended = run_cli("sync", "--published").expect(2)
        ended.says("pendo_builds: model.published.sound in dbt invocation again-")
        ended.says("holds what is no JSON: {'object': 'visitor'}")


def test_columns_that_are_marked_as_personal_data(project, elsewhere, sandbox, written, monkeypatch):
    sync = ("sync", "--published", "--select", "sound")
    project.mark("sound", "PLAN", meta={"pii": True}, tags=["gdpr", "fine"])
    by_meta = "models/_models.yml: sound: meta.pendo.fields.plan: `plan` is personal data by `meta.pii`; leave it out"
    assert by_meta in run_cli(*sync).expect(2).output
    assert writes(sandbox.requests) == []
    # Nobody but the build that is marked.
    run_cli("sync", "--published", "--select", "untested").expect(0)
    project.mark("sound", "PLAN", {**PEOPLE, "allow_pii": True}, meta={"pii": True})
    run_cli(*sync).expect(0)
    assert written() == {"sound", "untested"}

    project.mark("sound", "id", meta={"pii": False}, tags=["gdpr"])
    with monkeypatch.context() as patch:
        patch.setenv("DBT_PENDO_REFUSE_TAGS", "pii,gdpr")
        assert "`id` is personal data by the tag `gdpr`" in run_cli(*sync).expect(2).output
    run_cli(*sync).expect(0)
    # Somebody may have changed a row.
    project.mark("sound", "id", tags=["gdpr"])
    project.sql("update main_pendo.pendo_builds set mapping = '[' where action = 'marks'")
    assert "holds what is no JSON: [" in run_cli(*sync).expect(2).output


def test_what_makes_no_sense(project, elsewhere, monkeypatch):
    for flag in ("--dbt-cloud-run-id=1", "--dbt-cloud-job-id=1"):
        assert "--published" in run_cli("sync", "--published", flag).expect(2).output
    project.sql("drop table main_pendo.pendo_builds")
    ended = run_cli("sync", "--published").expect(2)
    ended.says("There is no table main_pendo.pendo_builds: dbt has published nothing there.", "on-run-end")
    monkeypatch.delenv("DBT_PROFILE")
    ended = run_cli("sync", "--published", "--project-dir", ".").expect(2)
    ended.says("There is no dbt_project.yml", "Or name the profile, with --profile.")
    # Without the flag it takes a manifest, and so a project.
    assert "There is no dbt_project.yml" in run_cli("sync", "--profile", "small", "--project-dir", ".").expect(2).output
