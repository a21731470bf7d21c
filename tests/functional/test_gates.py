"""Which syncs run, by what dbt did before.

The artifacts are those of a real `dbt build`; what other commands leave is written into them. That real dbt leaves it
so is held by test_build.py and test_dbt_cloud.py.
"""

import json
import re
from collections.abc import Callable

import pytest
from harness import Ended, Project, dbt_build, expect_in, project_yaml, writes

from dbt_pendo.sandbox import Sandbox

PROJECT = project_yaml(
    "gated",
    """\
models:
  gated:
    +materialized: table
    marts: {+meta: {pendo: {object: visitor, visitor_id: id, fields: {plan: plan}}}}""",
)
MODELS = {
    "marts/sound": "select 'sound' as id, 'new' as plan",
    "marts/untested": "select 'untested' as id, 'new' as plan",
    "marts/warned": "{{ config(materialized='view', alias='renamed_view', schema='marts') }} "
    "select 'warned' as id, 'new' as plan, cast(null as int) as age",
    "marts/failed_test": "select 'failed_test' as id, 'new' as plan, cast(null as int) as age",
    # Its test reads `sound` as well, which is not to blame.
    "marts/related": "select 'related' as id, 'new' as plan, 'nobody' as friend",
    "marts/unit_tested": "select id, plan from {{ ref('numbers') }}",
    "marts/made_of_numbers": "select id, plan from {{ ref('numbers') }}",
    "marts/broken": "select {{ \"error('no luck')\" if var('broken', true) else \"'broken'\" }} as id, 'new' as plan",
    "marts/after_broken": "select 'after_broken' as id, plan from {{ ref('broken') }}",
    "numbers": "select {{ \"error('no luck')\" if var('no_numbers', false) else \"'made_of_numbers'\" }} as id, "
    "'new' as plan",
}
YAML = """\
models:
  - name: sound
    columns: [{name: id, data_tests: [unique, not_null]}]
  - name: warned
    columns: [{name: age, data_tests: [{not_null: {config: {severity: warn}}}]}]
  - name: failed_test
    columns: [{name: age, data_tests: [not_null]}]
  - name: related
    columns: [{name: friend, data_tests: [is_sound]}]
unit_tests:
  - name: plans_are_kept
    model: unit_tested
    given: [{input: ref('numbers'), rows: [{id: a, plan: pro}]}]
    expect: {rows: [{id: a, plan: free}]}
"""
# In place of `relationships`: dbt before 1.10 knows no `arguments`, and later ones warn where they are missing.
IS_SOUND = """\
{% test is_sound(model, column_name) %}
select {{ column_name }} from {{ model }} where {{ column_name }} not in (select id from {{ ref('sound') }})
{% endtest %}
"""
SYNCS = tuple(name.removeprefix("marts/") for name in MODELS if name.startswith("marts/"))
UNTOUCHED_BY_TESTS = {"sound", "untested", "warned", "made_of_numbers"}


class Gated(Project):
    def leave(self, command: str, statuses: dict[str, str]) -> None:
        """Writes run results as a dbt command leaves them: the status of each node it had to do with."""
        path = self.target / "run_results.json"
        document = json.loads(path.read_text())
        document["args"]["which"] = command
        about = document["results"][0]
        nodes = {name if "." in name else f"model.gated.{name}": status for name, status in statuses.items()}
        document["results"] = [{**about, "unique_id": node, "status": status} for node, status in nodes.items()]
        path.write_text(json.dumps(document))


@pytest.fixture
def gated(copy_of: Callable[..., Gated], plans: Sandbox) -> Gated:
    """The project after a `dbt build` of which a model, three tests and a unit test failed."""
    plans.add_visitors({name: {"custom": {"plan": "old"}} for name in SYNCS})
    files = {f"models/{name}.sql": sql for name, sql in MODELS.items()}
    files |= {"dbt_project.yml": PROJECT, "models/_models.yml": YAML, "tests/generic/is_sound.sql": IS_SOUND}
    return copy_of(Gated, "gated", dbt_build("gated", files, status=1), without=["logs"])


def skipped(ended: Ended) -> set[str]:
    assert set(ended.statuses.values()) <= {"success", "skipped"}
    return {sync for sync, status in ended.statuses.items() if status == "skipped"}


def test_what_failed_or_was_skipped_is_not_synced(gated, written):
    ended = gated.sync("--no-require-tests")
    assert skipped(ended) == {"broken", "after_broken", "unit_tested"}
    assert written() == UNTOUCHED_BY_TESTS | {"failed_test", "related"}
    for sync, status in (("broken", "error"), ("after_broken", "skipped")):
        assert f"the last dbt run left the model in status '{status}'" in ended.messages[sync]
    # Parents before children.
    order = list(ended.statuses)
    assert order.index("broken") < order.index("after_broken")
    gated.sync("--select", "broken", "--warn-error", status=1)


def test_a_failed_test_holds_its_own_model_back(gated, written):
    ended = gated.sync()
    assert (skipped(ended), written()) == (set(SYNCS) - UNTOUCHED_BY_TESTS, UNTOUCHED_BY_TESTS)
    why = "skipped: 1 of its tests failed: not_null_failed_test_age (--no-require-tests syncs it)"
    assert ended.messages["failed_test"] == why
    # Not so where the project says so; the flag has the last word.
    gated.settings("vars: {dbt_pendo: {require_tests: false}}")
    plans = {one["sync"]: one["note"] or "" for one in gated.plan("--require-tests").json["results"]}
    assert {sync for sync, note in plans.items() if "tests failed" in note} == {"failed_test", "related"}
    told = gated.run("sync").expect(0).stdout
    for sync, tests in (
        *(("sound", "2 tests passed"), ("warned", "1 test warned"), ("failed_test", "1 of 1 tests failed")),
        # What dbt has just built needs no words.
        ("untested", None),
    ):
        below = rf"    built by `dbt build`, {tests}" if tests else "1?[0-9] of"
        assert re.search(rf"START sync visitor {sync} \.+ \[RUN\]\n\S+  {below}", told), sync
    assert written() == UNTOUCHED_BY_TESTS | {"failed_test", "related"}
    # What is held back does not start.
    assert "START sync visitor broken" not in told


def test_docs_generate_hides_what_was_built(gated, sandbox, written):
    gated.leave("generate", {"broken": "success", "sound": "success"})
    for gate in ("--only-built", "--require-tests"):
        ended = gated.run("sync", gate).expect(2)
        assert f"{gate}: run_results.json was written by `dbt docs generate`" in ended.output
    assert writes(sandbox.requests) == []
    ended = gated.run("sync", "--exclude", "broken+", "unit_tested").expect(0)
    assert ended.stdout.count("run_results.json was written by `dbt docs generate`") == 1
    assert "Tables are taken as they are: " in ended.stdout
    assert written() == set(SYNCS) - {"broken", "after_broken", "unit_tested"}
    # Another invocation, which has written the manifest, says nothing.
    manifest = gated.manifest()
    manifest["metadata"]["invocation_id"] = "of dbt parse"
    gated.write_manifest(manifest)
    gated.leave("build", {"sound": "error"})
    assert "is of another dbt invocation" in gated.run("sync", "--only-built").expect(2).output
    ended = gated.run("sync", "--select", "sound").expect(0)
    expect_in(
        ended.stdout,
        "Tables are taken as they are: run_results.json is of another dbt invocation than manifest.json.",
        "Failed models and tests hold nothing back now. Run `dbt build` right before dbt-pendo.",
    )
    # A log has a name for it.
    logged = gated.run("plan", "--select", "sound", "--log-format", "json").expect(0).stdout.splitlines()
    (off,) = [one for one in map(json.loads, logged) if one["info"]["name"] == "ProtectionOff"]
    assert (off["info"]["level"], "another dbt invocation" in off["data"]["reason"]) == ("warn", True)


def test_tests_of_their_own_command_count_as_well(gated, written):
    results = json.loads((gated.target / "run_results.json").read_text())["results"]
    statuses = {one["unique_id"]: one["status"] for one in results}
    tests = {node: status for node, status in statuses.items() if node.startswith("test.")}
    # dbt v2 does not run a test again whose data are the same.
    gated.leave("test", tests | {next(node for node in tests if "unique_sound_id" in node): "reused"})
    told = "the last dbt command was `dbt test`, which builds nothing"
    assert told in gated.run("sync", "--only-built").expect(2).output
    told = "    its table as it is, not built by `dbt test`, 2 tests passed\n"
    assert told in gated.run("sync", "--select", "sound").expect(0).stdout
    ended = gated.sync("--require-tests", "--select", "sound", "failed_test")
    assert (skipped(ended), written()) == ({"failed_test"}, {"sound"})


def test_a_failed_test_holds_back_what_is_made_of_its_model(gated, written):
    """As `dbt build` skips what is downstream; here dbt has run and tested one after the other."""
    test = "test.gated.not_null_numbers_id.1f2e"
    manifest = gated.manifest()
    manifest["nodes"][test] = {
        **next(node for name, node in manifest["nodes"].items() if name.startswith("test.gated.not_null")),
        **{"unique_id": test, "attached_node": "model.gated.numbers"},
        "depends_on": {"macros": [], "nodes": ["model.gated.numbers"]},
    }
    gated.write_manifest(manifest)
    gated.leave("test", {test: "fail"})
    ended = gated.sync("--select", "made_of_numbers", "sound")
    assert (skipped(ended), written()) == ({"made_of_numbers"}, {"sound"})
    expect_in(ended.messages["made_of_numbers"], "1 of the tests of what it is made of failed", "not_null_numbers_id")
    gated.leave("test", {test: "warn"})
    assert skipped(gated.sync("--select", "made_of_numbers")) == set()


def test_only_what_was_built(gated, written):
    gated.leave("run", {"sound": "success", "warned": "success"})
    ended = gated.sync("--only-built")
    assert skipped(ended) == set(SYNCS) - {"sound", "warned"}
    assert written() == {"sound", "warned"}
    assert ended.messages["untested"] == "skipped: the last `dbt run` did not build it (--only-built)"
    # Without the flag their tables are good as they are; what has no table is still an error.
    assert skipped(gated.sync("--select", "untested", "related")) == set()
    # What is made of a model that failed is stale.
    gated.leave("run", {"numbers": "error"})
    ended = gated.sync("--select", "made_of_numbers", "sound")
    assert (skipped(ended), ended.messages["made_of_numbers"]) == (
        {"made_of_numbers"},
        "skipped: stale: `dbt run` left numbers, which it is made of, in status 'error'",
    )
    assert "made_of_numbers" not in written()
    # A retry that succeeds opens the gate.
    gated.build("broken", MODELS["marts/sound"].replace("sound", "broken"))
    gated.leave("retry", {"broken": "success", "after_broken": "error"})
    assert skipped(gated.sync("--only-built", "--select", "broken", "sound")) == {"sound"}
    assert "broken" in written()


def test_slim_ci_is_told_of_the_flag_that_leaves_out_what_it_did_not_build(gated, written):
    """With --defer dbt builds what was selected, and reads the rest where another target has it."""
    text = gated.manifest_path.read_text(encoding="utf-8")
    text = text.replace('"schema": "main"', '"schema": "other"').replace('\\"main\\"', '\\"other\\"')
    gated.manifest_path.write_text(text, encoding="utf-8")
    gated.leave("build", {"untested": "success"})
    gated.sql("create schema other; create table other.untested as from main.untested")
    statuses = gated.sync("--target", "other", "--select", "untested", "sound", status=1).statuses
    assert statuses == {"untested": "success", "sound": "error"}
    for command in ("sync", "plan", "check", "verify", "fields"):
        message = gated.run(command, "--target", "other", "--select", "sound", "--json").expect(2).output
        assert message.count("is not in the warehouse") >= 1, command
        expect_in(message, "The last `dbt build` did not build it", "`--only-built`", "`dbt build --select sound`")
    assert skipped(gated.sync("--target", "other", "--only-built")) == set(SYNCS) - {"untested"}
    assert written() == {"untested"}
    # What dbt says it has built was there: to build it once more is all that can be advised.
    gated.sql("drop table other.untested")
    message = gated.run("sync", "--json", "--select", "untested", "--target", "other").messages["untested"]
    assert message.endswith("Run `dbt build --select untested`.")
    assert "--only-built" not in message


def test_verify_and_adoption_leave_alone_what_dbt_left_undone(gated, sandbox):
    # A table of an earlier build, which the last one has failed to bring up to date.
    gated.sql("create table main.broken as select 'broken' as id, 'half' as plan")
    ended = gated.run("verify", "--repair", "--select", "broken").expect(0)
    assert "the last dbt run left the model in status 'error'" in ended.stdout
    assert writes(sandbox.requests) == []
    for how in ("--adopt", "--from-pendo"):
        ended = gated.run("reset", how, "--select", "broken").expect(2)
        assert "its rows are not taken for delivered" in ended.output
    assert gated.run("reset", "--select", "sound").expect(0)


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
