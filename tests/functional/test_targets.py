"""The two ends of a sync: which of dbt's targets it reads, which Pendo it writes, and that no other can be meant."""

import json

import pytest
from endpoint import Endpoint
from harness import CLICKS, PEOPLE, PEOPLE_ROWS, chosen, custom, environment_of, expect_in, planned, writes
from harness.warm import at_terminal

from dbt_pendo.sandbox import Sandbox

EVENTS = "select 'e' || i as id, now()::timestamp as at from range(3) r(i)"


@pytest.fixture
def other_pendo():
    """Another Pendo, which knows the same visitors."""
    with Sandbox(switches=chosen()) as running:
        running.add_field("visitor", "custom", "plan", "string")
        running.add_visitors(["a", "b"])
        yield running


def go_to(monkeypatch, pendo: Sandbox, **more: str) -> None:
    for name, value in {**environment_of(pendo), **more}.items():
        monkeypatch.setenv(name, value)


def settings(people, **targets) -> None:
    path = people.folder / "dbt_project.yml"
    path.write_text(f"{path.read_text().partition('vars:')[0]}vars: {json.dumps({'dbt_pendo': targets})}\n")


# Point 1: who reads or hears of a run knows its two ends.


def test_both_ends_are_named_wherever_a_run_is_told_of(people, sandbox, receiver: Endpoint, monkeypatch, tmp_path):
    settings(people, alerts=[{"url": "PENDO_ALERT_URL"}])
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    for sandboxed, schema in (("false", "main_pendo"), ("true", "main_pendo_sandbox")):
        monkeypatch.setenv("PENDO_SANDBOX", sandboxed)
        pendo = f"{sandbox.url} (sandbox)" if sandboxed == "true" else sandbox.url
        told = people.run("sync").expect(0).stdout
        expect_in(told, f"Concurrency: 4 requests (target='dev', schema='{schema}')", f"Pendo: {pendo}\n")
        ends = {"target": "dev", "schema": schema}
        ends["pendo"] = {"host": sandbox.url, "region": None, "sandbox": sandboxed == "true"}
        assert people.results()["metadata"].items() >= ends.items()
        for command in ("sync", "plan", "check", "verify"):
            assert people.run(command, "--json").expect(0).json["metadata"].items() >= ends.items()
        runs = people.rows(f"{schema}.pendo_runs")
        assert {(run["target"], run["pendo_host"]) for run in runs} == {("dev", sandbox.url)}
        shown = people.run("show", "--json").expect(0).json["results"][0]
        assert {sync["pendo_host"] for sync in shown["syncs"]} == {sandbox.url}
        expect_in((tmp_path / "summary.md").read_text(), "Target dev", "Pendo http")
        people.run("report").expect(0)
        page = (people.target / "pendo_report.html").read_text()
        expect_in(page, '<p id="ends" class="muted">Target ', schema, sandbox.url)
        # The next run fails, and its alert says where.
        people.sql("create or replace table main.people as select 'a' as id")
        people.sync(status=2)
        expect_in(receiver.told(), f"target `dev`, schema `{schema}`, Pendo `{pendo}`")
        people.build("people", PEOPLE_ROWS)
    monkeypatch.delenv("PENDO_API_URL")
    monkeypatch.setenv("PENDO_REGION", "eu")
    for command in (["runs"], ["show"], ["row", "people", "a"]):
        assert people.run(*command, "--json").expect(0).json["metadata"]["pendo"]["region"] == "eu"


# Points 2 and 3: a ledger belongs to one Pendo.


def test_a_ledger_of_another_pendo_is_refused_until_it_is_reset(people, sandbox, other_pendo, monkeypatch):
    people.sync()
    people.model("others", {**PEOPLE, "fields": {"plan": "plan", "tier": "plan"}, "create_fields": True}, PEOPLE_ROWS)
    go_to(monkeypatch, other_pendo)
    asked = [["sync"], ["sync", "--full-refresh"], ["verify", "--repair"], ["fields", "--create"], ["plan"], ["check"]]
    for command in asked:
        ended = people.run(*command).expect(2)
        ended.says("people: its ledger", sandbox.url.removeprefix("http://"), other_pendo.url.removeprefix("http://"))
        ended.says("dbt-pendo reset --select people")
    # A new sync, and its new field, would be of the wrong Pendo as well.
    assert [one for one in writes(other_pendo.requests) if "/aggregation" not in one.path] == []
    with monkeypatch.context() as patch:
        patch.delenv("PENDO_INTEGRATION_KEY")
        people.run("plan", "--select", "people").expect(2).says("its ledger")
    # Who looks into it may look at a row.
    people.run("row", "people", "a").expect(0)
    assert "others__ledger" not in people.tables()
    people.run("reset", "--select", "people").expect(0)
    assert people.sync().statuses == {"people": "success", "others": "success"}
    assert other_pendo.visitors["a"]["custom"] == {"plan": "pro", "tier": "pro"}
    go_to(monkeypatch, sandbox)
    people.run("sync").expect(2)
    # So are rows taken for delivered there.
    people.run("reset", "--select", "people", "--adopt").expect(0)
    go_to(monkeypatch, other_pendo)
    people.run("sync").expect(2)


def test_what_went_to_a_sandbox_does_not_keep_the_real_pendo_from_getting_everything(
    people, sandbox, other_pendo, monkeypatch
):
    monkeypatch.delenv("PENDO_SANDBOX")
    first = people.sync()
    assert first.json["metadata"]["pendo"]["sandbox"] is True
    assert "main_pendo_sandbox" in people.schemas()
    assert "main_pendo" not in people.schemas()
    go_to(monkeypatch, other_pendo)
    second = people.sync()
    assert second.json["metadata"]["schema"] == "main_pendo"
    assert first.outcome == second.outcome == ("success", 2, 0, 0)
    assert custom(other_pendo.visitors) == custom(sandbox.visitors)
    go_to(monkeypatch, sandbox, PENDO_SANDBOX="true", DBT_PENDO_SCHEMA="named")
    assert people.sync().json["metadata"]["schema"] == "named"


def test_another_key_is_a_rotated_one_if_pendo_knows_what_was_delivered(people, sandbox, monkeypatch):
    people.model("clicks", CLICKS, EVENTS)
    people.sync()
    sandbox.replace_integration_key("the-key-of-today")
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "the-key-of-today")
    ended = people.sync("--select", "people")
    assert "it is the same subscription" in ended.messages["people"]
    assert people.sync("--select", "people").messages["people"] is None
    # Of events nothing can be looked up: it is said once.
    monkeypatch.setenv("PENDO_TRACK_SECRET", sandbox.track_secrets["web"])
    assert "nothing tells whether" in people.sync("--select", "clicks").messages["clicks"]
    assert people.sync("--select", "clicks").messages["clicks"] is None
    # A subscription that knows none of them is another one.
    sandbox.reset()
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.replace_integration_key("the-key-of-others")
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "the-key-of-others")
    people.run("sync").expect(2).says("people: its ledger", "another subscription", "none of 2 records")
    assert writes(sandbox.requests) == []


def test_no_part_of_a_key_is_noted(people, sandbox):
    people.sync()
    (subscription,) = people.rows("main_pendo.pendo_subscriptions")
    assert subscription["host"] == sandbox.url.removeprefix("http://")
    assert len(subscription["fingerprint"]) == 32
    key = sandbox.integration_key
    stored = people.database.read_bytes()
    assert subscription["host"].encode() in stored
    assert not any(key[at : at + 8].encode() in stored for at in range(len(key) - 8))


# Point 4: targets.


def test_a_target_that_is_not_listed_may_not_write(people, sandbox, monkeypatch):
    settings(people, targets=["prod"])
    refused = ("The target dev may not write to Pendo", "`targets`", "prod")
    for command in (["sync"], ["build"], ["verify", "--repair"], ["fields", "--create"], ["reset", "--all"]):
        people.run(*command).expect(2).says(*refused)
    assert writes(sandbox.requests) == []
    for command in ("check", "plan", "fields", "runs"):
        people.run(command).expect(0)
    # Only a Pendo on this machine is open to every target.
    with monkeypatch.context() as environment:
        environment.setenv("PENDO_SANDBOX", "true")
        people.sync()
        environment.setenv("PENDO_API_URL", "https://pendo.invalid")
        people.run("sync").expect(2).says("The target dev may not write")
    settings(people, targets=["prod", "dev"])
    people.sync()


def test_a_target_may_have_settings_and_a_key_of_its_own(people, sandbox, other_pendo, monkeypatch):
    other_pendo.replace_integration_key("a-key-that-only-other-has")
    own = {"api_url": other_pendo.url, "concurrency": 2, "integration_key": "KEY_OF_OTHER"}
    settings(people, targets={"dev": None, "other": own})
    monkeypatch.delenv("PENDO_API_URL")
    people.sql("create schema other; create table other.people as from main.people")
    people.change_node(
        "model.small.people", lambda node: node.update(schema="other", relation_name='"small"."other"."people"')
    )
    people.run("sync", "--target", "other").expect(2).says("put it in KEY_OF_OTHER")
    monkeypatch.setenv("KEY_OF_OTHER", "a-key-that-only-other-has")
    ended = people.run("sync", "--target", "other").expect(0)
    ended.says("Concurrency: 2 requests (target='other', schema='other_pendo')", other_pendo.url)
    assert other_pendo.visitors["a"]["custom"] == {"plan": "pro"}
    # The key is hidden though it stands in no variable of ours.
    people.sql(
        "drop table other.people; create view other.people as "
        "select error('a-key-that-only-other-has')::varchar as id, 'x' as plan"
    )
    # So it is from another target's run, whose own key is another one.
    for target in ("other", "dev"):
        ended = people.run("sync", "--target", target, "--force")
        assert ended.status == 1, ended.output
        assert "that-only-other" not in ended.output + json.dumps(people.results())
    # A variable of the environment counts more.
    monkeypatch.setenv("PENDO_CONCURRENCY", "3")
    people.run("plan", "--target", "other").says("Concurrency: 3 requests")


def test_targets_that_make_no_sense(people):
    for targets, told in [
        ("prod", "neither a list of targets nor a mapping"),
        ([["prod"]], "neither a list of targets nor a mapping"),
        ({"prod": ["eu"]}, "targets.prod is not a mapping of settings"),
        ({"prod": {"regoin": "eu"}}, "Did you mean `region`?"),
        ({"dev": {"integration_key": "not a name"}}, "takes the name of an environment variable"),
    ]:
        settings(people, targets=targets)
        people.run("sync").expect(2).says(told)


def test_a_second_targets_first_run_is_blocked(people, sandbox, monkeypatch):
    monkeypatch.setenv("PENDO_SANDBOX", "true")
    people.sync()
    # What went to a sandbox holds nobody back.
    monkeypatch.setenv("PENDO_SANDBOX", "false")
    people.sync()
    sandbox.forget_requests()
    ended = people.sync("--target", "other", status=1)
    assert ended.outcome == ("blocked", 0, 0, 0)
    expect_in(ended.messages["people"], "main_pendo", "other_pendo", "--force")
    assert "other_pendo" in people.run("plan", "--target", "other").expect(0).output
    assert writes(sandbox.requests) == []
    monkeypatch.setenv("PENDO_SANDBOX", "true")
    people.sync("--target", "other")
    monkeypatch.setenv("PENDO_SANDBOX", "false")
    # Nothing else writes, or creates a field, either.
    people.annotate("people", {**PEOPLE, "fields": {"plan": "plan", "tier": "plan"}, "create_fields": True})
    people.run("verify", "--repair", "--target", "other").expect(2).says("main_pendo", "dbt-pendo sync --force")
    people.sync("--target", "other", status=1)
    assert [one for one in writes(sandbox.requests) if "/schema/" in one.path] == []
    people.annotate("people", PEOPLE)
    assert people.sync("--target", "other", "--force").outcome == ("success", 2, 0, 0)
    assert people.sync("--target", "other").planned == planned(unchanged=2)


def test_targets_that_share_one_ledger_are_two_all_the_same(people, sandbox):
    people.settings("vars: {dbt_pendo: {schema: meta}}")
    people.sync()
    people.build("people", PEOPLE_ROWS.replace("free", "dev"))
    ended = people.sync("--target", "other", status=1)
    expect_in(ended.messages["people"], "its ledger is of the target schema main, and this one is other", "--force")
    assert people.sync("--target", "other", "--force").planned == planned(changed=1, unchanged=1)
    settings(people, schema="meta", targets=["dev", "other"])
    assert people.sync().planned == planned(unchanged=2)


def test_the_ledger_of_another_target_for_another_pendo_holds_nobody_back(people, other_pendo, monkeypatch):
    people.sync()
    go_to(monkeypatch, other_pendo)
    assert people.sync("--target", "other").outcome == ("success", 2, 0, 0)
    # Nor does a ledger of the same Pendo, once the user has reset this one.
    people.run("reset", "--all", "--target", "dev").expect(0)
    assert people.sync("--target", "dev").outcome == ("success", 2, 0, 0)


def test_the_ledger_of_an_earlier_version_is_looked_up(people, sandbox, other_pendo, monkeypatch):
    people.model("clicks", CLICKS, EVENTS)
    people.sync()
    people.sql("drop table main_pendo.pendo_subscriptions")
    other_pendo.reset()
    go_to(monkeypatch, other_pendo)
    people.run("sync", "--select", "people").expect(2).says("another subscription", "does not say", "none of 2 records")
    people.run("check").expect(2)
    # An empty body asks whether the Track secret is good.
    assert [one for one in writes(other_pendo.requests) if one.body != b"{}"] == []
    go_to(monkeypatch, sandbox)
    messages = people.sync().messages
    expect_in(messages["people"], "does not say", "it is the same subscription")
    expect_in(messages["clicks"], "does not say", "nothing tells")
    assert people.sync().messages == {"people": None, "clicks": None}


def test_a_target_may_have_track_secrets_of_its_own(people, sandbox, monkeypatch):
    people.model("clicks", {**CLICKS, "app": "web"}, EVENTS)
    settings(people, targets={"dev": {"track_secret": "SECRET_OF_DEV"}, "prod": None})
    monkeypatch.setenv("PENDO_TRACK_SECRET_WEB", "that-of-another-app")
    people.run("sync", "--select", "clicks").expect(2).says("SECRET_OF_DEV_WEB")
    monkeypatch.setenv("SECRET_OF_DEV_WEB", sandbox.track_secrets["web"])
    assert people.sync("--select", "clicks").outcome == ("success", 3, 0, 0)
    assert len(sandbox.events) == 3


# Point 5: doubts about the target.


def test_signs_of_another_target_are_told(people):
    people.run("plan", "--target", "other").says(
        "dbt has built people in small.main, and the target other is small.other."
    )
    people.run("sync", "--target", "other", "--warn-error").expect(1)
    # Not of a model that names its schema, nor of a snapshot that names where it is.
    for named in ({"schema": "main"}, {"schema": None, "target_schema": "main"}):
        people.change_node("model.small.people", lambda node, named=named: node["config"].update(named))
        assert "dbt has built" not in people.run("plan", "--target", "other").output
    manifest = people.manifest()
    manifest["metadata"]["adapter_type"] = "snowflake"
    people.write_manifest(manifest)
    people.run("plan").expect(0).says("dbt has built for snowflake, and the profile's target dev is for duckdb.")


# Point 6: other manifests.


def test_state_modified_needs_the_other_manifest(people, tmp_path):
    people.run("plan", "--select", "state:modified").expect(2).says("--state")
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "manifest.json").write_text(json.dumps(people.manifest()))
    people.model("others", PEOPLE, PEOPLE_ROWS)
    ended = people.plan("--select", "state:modified", "--state", str(tmp_path / "before"))
    assert list(ended.statuses) == ["others"]
    # A relative folder counts from the project, for --defer as well.
    (tmp_path / "before").rename(people.folder / "before")
    for more in (["--select", "state:modified"], ["--defer"]):
        people.plan(*more, "--state", "before")


def test_a_deferred_model_is_synced_from_where_dbt_found_it(people, tmp_path):
    elsewhere = tmp_path / "prod"
    elsewhere.mkdir()
    people.model("others", PEOPLE, PEOPLE_ROWS)
    people.sql("create schema prod; create table prod.people as select 'a' as id, 'from prod' as plan")
    mine = people.manifest()
    people.change_node(
        "model.small.people", lambda node: node.update(schema="prod", relation_name='"small"."prod"."people"')
    )
    (elsewhere / "manifest.json").write_text(people.manifest_path.read_text())
    people.write_manifest(mine)
    results = {
        "metadata": {"invocation_id": mine["metadata"]["invocation_id"]},
        "args": {"which": "build", "defer": True},
        "results": [{"unique_id": "model.small.others", "status": "success"}],
    }
    (people.target / "run_results.json").write_text(json.dumps(results))
    ended = people.sync()
    assert ended.statuses == {"people": "skipped", "others": "success"}
    expect_in(ended.messages["people"], "deferred it", "--state")
    # As dbt does, its own table counts first.
    assert people.plan("--defer", "--state", str(elsewhere), "-s", "people").planned == planned(added=2)
    people.sql("drop table main.people")
    assert people.sync("--defer", "--state", str(elsewhere)).statuses["people"] == "success"
    assert people.statuses("people") == {"a": "delivered"}
    people.run("plan", "--defer").expect(2).says("--defer needs --state")


# Points 8 and 10: words and guards.


def test_more_invalid_rows_than_allowed_block(people, sandbox):
    people.annotate("people", {**PEOPLE, "max_invalid": "30%"})
    bad = f"{PEOPLE_ROWS} union all select null, 'x'"
    people.build("people", bad)
    ended = people.sync(status=1)
    assert ended.outcome == ("blocked", 0, 0, 0)
    guard, reason = ended.messages["people"].splitlines()
    assert (guard, reason) == (
        "blocked: 1 invalid, max_invalid allows 0; --force lets them pass",
        "1 invalid: the key is null (1)",
    )
    people.annotate("people", {**PEOPLE, "max_invalid": 1})
    assert people.sync().outcome == ("warn", 2, 0, 0)
    people.build("people", f"{bad} union all select null, 'x'")
    people.sync(status=1)
    assert people.sync("--force").planned == planned(unchanged=2, invalid=2)


def test_values_that_cannot_be_converted_count_for_the_guard_and_are_foreseen(people, sandbox):
    sandbox.add_field("visitor", "custom", "seats", "integer")
    people.build("people", "select * from (values ('a', '1'), ('b', 'many')) rows(id, seats)")
    mapping = {**PEOPLE, "fields": {"seats": "seats"}, "max_invalid": "1%"}
    people.annotate("people", mapping)
    ended = people.sync(status=1)
    assert ended.outcome == ("blocked", 0, 0, 0)
    expect_in(ended.messages["people"], "blocked: more rows are invalid than max_invalid allows", "seats: ", "e.g. b")
    assert sandbox.visitors["a"]["custom"] == {}
    assert people.sync("--force").outcome == ("warn", 1, 0, 0)
    people.annotate("people", {**mapping, "on_invalid": "skip"})
    for found in (people.check().result(), people.plan().result()):
        assert "1 value of seats would not be sent (on_invalid: skip), e.g. " in found["warnings"][0]
    assert people.sync().result()["status"] == "success"


@pytest.mark.parametrize(("on_removed", "kind"), [("delete", "deleted"), ("clear", "cleared")])
def test_what_was_deleted_or_cleared_is_said_so(people, sandbox, on_removed, kind):
    people.annotate("people", {**PEOPLE, "on_removed": on_removed, "max_removals": 5})
    people.sync()
    people.build("people", "select 'a' as id, 'new' as plan")
    people.run("plan").expect(0).says(f"would be {kind} in Pendo")
    people.run("sync").expect(0).says(f"[1 delivered, 1 {kind} in ")
    (result,) = people.results()["results"]
    assert result["delivered_by"] == {"added": 0, "changed": 1, "removed": 1, "deleted": 0, "cleared": 0, kind: 1}
    last = people.rows("main_pendo.pendo_runs order by logged_at desc")[0]
    assert (last[kind], last["deleted"] + last["cleared"]) == (1, 1)
    people.run("show").expect(0).says(f"1 delivered, 1 {kind} in")
    people.run("report").expect(0)
    assert f"1 {kind}" in (people.target / "pendo_report.html").read_text()


def test_a_field_that_is_created_is_named_before_and_after(people, sandbox):
    people.annotate("people", {**PEOPLE, "fields": {"tier": "plan"}, "create_fields": True})
    field = {"name": "tier", "group": "custom", "type": "string"}
    for command in ("check", "plan"):
        people.run(command).expect(0).says("tier would be created, a custom field of type string")
        assert people.run(command, "--json").expect(0).result()["new_fields"] == [field]
    result = people.sync().result()
    assert (result["created_fields"], result["message"]) == ([field], "created the custom field tier (string) in Pendo")
    assert people.sync().result()["created_fields"] == []


def test_reset_wants_to_know_of_which_and_asks_at_a_terminal(people, sandbox):
    people.model("clicks", CLICKS, EVENTS)
    people.sync()
    people.run("reset").expect(2).says("Nothing is selected", "--all")
    people.run("reset", "--all", "--select", "people").expect(2).says("exclude each other")
    assert people.tables() >= {"people__ledger", "clicks__ledger"}
    twice = "The next sync sends every event of clicks again: Pendo would have it twice."
    for answer, status in (("n", 1), ("y", 0), ("--yes", 0)):
        more = [answer] if answer == "--yes" else []
        seen = at_terminal("reset", "--all", *more, answer=answer).expect(status).stdout
        # It is said before.
        assert seen.index(twice) < seen.index("OK reset" if more else "Reset 2 syncs? [y/N]"), seen
        assert ("people__ledger" in people.tables()) == (status == 1)
        people.sync()
