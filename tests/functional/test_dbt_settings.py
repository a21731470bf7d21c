"""dbt's own settings mean here what they mean to dbt; what dbt has built for another target is refused."""

import json
import shutil

import pytest
from harness import planned, writes


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


@pytest.mark.parametrize(("command", "which"), [("check", "build"), ("plan", "test"), ("sync", "generate")])
def test_what_dbt_built_for_another_target_is_refused(people, sandbox, command, which):
    invocation = people.manifest()["metadata"]["invocation_id"]
    document = {"metadata": {"invocation_id": invocation}, "args": {"which": which, "target": "other"}, "results": []}
    (people.target / "run_results.json").write_text(json.dumps(document), "utf-8")
    told = "dbt has built for the target other, and this is the target dev"
    people.run(command).expect(2).says(told, "--target other")
    assert writes(sandbox.requests) == []
    people.run(command, "--target", "other").expect(0)
    people.run("reset", "--all", "--target", "other")
    # That of another manifest says nothing about this one.
    document["metadata"] = {"invocation_id": "another"}
    (people.target / "run_results.json").write_text(json.dumps(document), "utf-8")
    people.run(command).expect(0)
