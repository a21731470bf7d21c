"""`dbt-pendo fields`, and names of fields: whatever a user calls a field, its key is what is sent."""

from typing import Any

import pytest
from harness import CLICKS, PEOPLE, PEOPLE_ROWS, Ended, SmallProject, add_fields, chosen, custom, expect_in, writes

from dbt_pendo.sandbox import Fault, Sandbox

ROWS = "select 'a' as id, 'pro' as plan, 3 as seats, 1.5::double as mrr, true as active, date '2026-01-02' as since"


def mapped(**fields: Any) -> dict[str, Any]:
    return {**PEOPLE, "fields": fields}


def fields(project: SmallProject, *args: str, status: int = 0) -> Ended:
    return project.run("fields", "--json", *args).expect(status)


def states(ended: Ended, sync: str = "people") -> dict[str, str]:
    """The state of each mapped field of a sync."""
    return {field["name"]: field["state"] for field in ended.result(sync)["fields"]}


def notes(ended: Ended) -> dict[str, Any]:
    return {field["name"]: field["note"] for field in ended.result("people")["fields"]}


@pytest.fixture
def named(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """A project whose sync maps fields by key and by display name."""
    sandbox.add_visitors(["a"])
    sandbox.add_field("visitor", "custom", "Plan_Name", "string", display_name="Plan Name")
    sandbox.add_field("visitor", "custom", "groesse", "integer", display_name="Größe, ca. (m²)")
    sandbox.add_field("visitor", "custom", "SFDC_Profile", "string")
    sandbox.add_field("visitor", "agent", "f7", "boolean", display_name="is.active")
    names = {"Plan Name": "plan", "Größe, ca. (m²)": "seats", "sfdc_profile": {"value": "admin"}}
    names["is.active"] = {"column": "active", "group": "agent"}
    project.model("people", mapped(**names), ROWS)
    return project


def test_mapped_fields_beside_those_of_pendo(named, sandbox):
    sandbox.add_field("visitor", "custom", "age", "integer", display_name="Age")
    sandbox.add_field("visitor", "agent", "role", "string")
    sandbox.add_field("visitor", "salesforce", "owner", "string")
    sandbox.add_field("account", "custom", "tier", "string")
    document = fields(named).json
    about = {"sync": "people", "unique_id": "model.small.people", "object": "visitor", "status": "success"}
    (result,) = document["results"]
    assert about.items() <= result.items()
    rest = ["column_type", "group", "key", "display_name", "type", "state", "note"]
    assert [list(field) for field in result["fields"]] == [
        ["name", "value" if field["name"] == "sfdc_profile" else "column", *rest] for field in result["fields"]
    ]
    assert {tuple(field.values()) for field in result["fields"]} == {
        ("Plan Name", "plan", "character varying(256)", "custom", "plan_name", "Plan Name", "string", "ok", None),
        ("Größe, ca. (m²)", "seats", "INTEGER", "custom", "groesse", "Größe, ca. (m²)", "integer", "ok", None),
        ("sfdc_profile", "admin", None, "custom", "sfdc_profile", "SFDC_Profile", "string", "ok", None),
        ("is.active", "active", "BOOLEAN", "agent", "f7", "is.active", "boolean", "ok", None),
    }
    assert document["unmapped"] == [
        {"object": "visitor", "group": group, "key": key, "display_name": shown, "type": type_, "state": "unmapped"}
        for group, key, shown, type_ in (("custom", "age", "Age", "integer"), ("agent", "role", "role", "string"))
    ]
    # It looks, and touches nothing.
    assert writes(sandbox.requests) == []
    assert "main_pendo" not in named.schemas()


def test_in_the_terminal(named, sandbox):
    sandbox.add_field("visitor", "custom", "age", "integer", display_name="Age")
    shown = named.run("fields").expect(0).stdout
    lines = (
        "  Größe, ca. (m²)  seats integer      custom.groesse                      integer  ok\n",
        '  sfdc_profile     "admin"            custom.sfdc_profile (SFDC_Profile)  string   ok\n',
        "  custom.age (Age)  integer  unmapped\n",
    )
    expect_in(shown, *lines, "1 of 1 WARN visitor people ...", "[4 ok]\n", "All mapped fields can be written.")
    # Agent fields carry a warning once a sync.
    assert shown.count("snippet overwrites") == 1
    (warning,) = fields(named).result()["warnings"]
    for flags in ((), ("--offline",)):
        assert warning in named.check(*flags).result()["warnings"]
    named.annotate("people", mapped(**{"Plan Name": "plan"}))
    assert fields(named).result()["warnings"] == named.check().result()["warnings"] == []


def test_fields_no_sync_maps(people, sandbox, monkeypatch):
    """Mapped by any sync of the object is mapped; each object has fields of its own, and events have none."""
    add_fields(sandbox, seats="integer", mrr="integer")
    sandbox.add_field("account", "custom", "plan", "string")
    people.model("more", mapped(SEATS="plan"), PEOPLE_ROWS)
    people.model("accounts", {"object": "account", "account_id": "id", "mode": "upsert"}, PEOPLE_ROWS)
    people.model("clicks", CLICKS, "select 'a' as id, timestamp '2026-01-01' as at")
    monkeypatch.delenv("PENDO_TRACK_SECRET")
    ended = fields(people)
    assert {(one["object"], one["key"]) for one in ended.json["unmapped"]} == {("visitor", "mrr"), ("account", "plan")}
    assert ended.result("clicks")["fields"] == []
    sandbox.forget_requests()
    ended = fields(people, "--select", "clicks")
    assert (ended.statuses, ended.json["unmapped"], sandbox.requests) == ({"clicks": "success"}, [], [])
    # A sync that cannot be looked at does not hide the others.
    people.sql("drop table main.more")
    ended = fields(people, status=2)
    assert "dbt build --select more" in ended.messages["more"]
    assert states(ended) == {"plan": "ok"}


def test_missing_fields_and_what_may_have_been_meant(people, sandbox):
    sandbox.add_field("visitor", "custom", "f9", "string", display_name="Customer Segment")
    sandbox.add_field("visitor", "agent", "role", "string")
    sandbox.add_field("visitor", "salesforce", "owner", "string")
    hints = {
        "plam": " Did you mean `plan`?",
        "Customer Segmnt": " Did you mean `Customer Segment`?",
        "role": " There is one in the group `agent`.",
        "owner": " There is one in the group `salesforce`, which no sync can write.",
        "firstvisit": " There is one in the group `auto`, which no sync can write.",
        "zzz": "",
    }
    people.annotate("people", mapped(**dict.fromkeys(("plan", *hints), "plan")))
    ended = fields(people, status=2)
    assert states(ended) == {"plan": "ok", **dict.fromkeys(hints, "missing")}
    expected = {name: f"Pendo has no custom visitor field `{name}`.{hint}" for name, hint in hints.items()}
    assert notes(ended) == {"plan": None, **expected}
    # Others say the same.
    for command in ("fields", "check", "plan", "sync"):
        shown = people.run(command).expect(2).stdout
        assert [note for note in expected.values() if shown.count(f"people: {note}") != 1] == [], shown
        assert "dbt-pendo fields --create" in shown


def test_columns_that_never_fit(people, sandbox):
    add_fields(sandbox, seats="integer", anything="")
    people.build("people", "select 'a' as id, true as plan, 1.5::double as mrr")
    people.annotate("people", mapped(seats="plan", anything="plan", plan="plan"))
    ended = fields(people, status=2)
    assert states(ended) == {"seats": "mismatch", "anything": "ok", "plan": "ok"}
    assert notes(ended)["seats"] == "column plan is boolean, which the integer field seats cannot hold."
    # What fits in part is usable, with a word of warning.
    people.annotate("people", mapped(seats="mrr"))
    for text in (notes(fields(people))["seats"], people.run("fields").expect(0).stdout):
        assert "a row with decimals is invalid" in text


def test_names_that_do_not_mean_one_field_each(people, sandbox):
    for key, shown in (("f7", "Customer Tier"), ("f8", "Tier"), ("f9", "Tier")):
        sandbox.add_field("visitor", "custom", key, "string", display_name=shown)
    sandbox.add_field("visitor", "agent", "f7", "string", display_name="Customer Tier")
    in_agent = {"column": "plan", "group": "agent"}
    names = {"f7": "plan", "Customer Tier": "plan", "Tier": "plan"}
    people.annotate("people", mapped(**names) | {"create_fields": True})
    assert states(fields(people, status=2)) == {"f7": "ok", "Customer Tier": "duplicate", "Tier": "ambiguous"}
    same = ("people: `Customer Tier` and `f7` are the same custom field, `f7`.", "Map each field once.")
    several = ("Pendo has 2 custom fields that `Tier` may mean: `f8` or `f9`.", "by its key")
    for command in (["fields"], ["fields", "--create"], ["check"], ["sync"]):
        people.run(*command).expect(2).says(*same, *several)
    assert writes(sandbox.requests) == []
    # The same name in another group is another field.
    people.annotate("people", mapped(**{"f7": "plan", "Customer Tier": in_agent, "f8": "plan"}))
    people.sync()
    assert custom(sandbox.visitors)["a"] == {"f7": "pro", "f8": "pro"}
    assert custom(sandbox.visitors, "agent")["a"] == {"f7": "pro"}


def test_a_mapping_by_display_name_writes_to_the_key(named, sandbox):
    assert named.check().result()["status"] == "success"
    assert named.sync().outcome == ("success", 1, 0, 0)
    assert custom(sandbox.visitors) == {"a": {"plan_name": "pro", "groesse": 3, "sfdc_profile": "admin"}}
    assert custom(sandbox.visitors, "agent") == {"a": {"f7": True}}
    # So it is read back.
    assert named.run("verify", "--json").expect(0).result()["equal"] == 1
    sandbox.add_visitors({"a": {"custom": {"plan_name": "changed"}}})
    assert named.run("verify", "--json").expect(1).result()["fields"] == {"Plan Name": 1}
    named.run("verify", "--repair", "--json").expect(0)
    assert custom(sandbox.visitors)["a"]["plan_name"] == "pro"
    # Again, by bodies the warehouse writes, and a field cleared.
    named.build("people", ROWS.replace("'pro'", "null"))
    assert named.sync().outcome == ("success", 1, 0, 0)
    assert custom(sandbox.visitors) == {"a": {"groesse": 3, "sfdc_profile": "admin"}}
    # A column's own mapping takes a display name as well.
    named.annotate("people", {"object": "visitor", "visitor_id": "id"}, columns={"since": "Plan Name"})
    named.sync()
    assert custom(sandbox.visitors)["a"]["plan_name"] == "2026-01-02"


@pytest.fixture
def used(people: SmallProject, sandbox: Sandbox) -> SmallProject:
    """Beside the field that `people` writes others, of which a guide and a segment use one."""
    add_fields(sandbox, seats="integer", Old_Tier="string")
    sandbox.add_field("visitor", "agent", "seats", "string")
    sandbox.add_field("account", "custom", "tier", "string", display_name="Tier of Old")
    sandbox.add_field("visitor", "salesforce", "owner", "string")
    sandbox.use_field("visitor", "custom", "seats", guides=["Welcome"], segments=["Trial"])
    return people


def unused(project: SmallProject, *args: str) -> dict[tuple[str, str, str], Any]:
    """What uses each field that no mapping writes."""
    found = project.run("fields", "--unused", "--json", *args).expect(0).json["results"]
    assert {one["state"] for one in found} <= {"unused"}
    return {(one["object"], one["group"], one["key"]): one["used_by"] for one in found}


@pytest.mark.parametrize("reply", ["nested", "list", "one field"])
def test_fields_that_no_mapping_writes_and_what_uses_them(used, sandbox, reply):
    sandbox.switches = chosen(dependencies_reply=reply)
    left = {
        ("visitor", "custom", "seats"): ["guide Welcome", "segment Trial"],
        ("visitor", "custom", "old_tier"): [],
        ("visitor", "agent", "seats"): [],
        ("account", "custom", "tier"): [],
    }
    assert unused(used) == left
    asked = [one for one in sandbox.requests if "/dependencies" in one.path]
    assert len(asked) == (5 if reply == "one field" else 1)
    # A mapping that is not selected, or is disabled, writes a field as well.
    used.model("more", {**mapped(OLD_TIER="plan"), "enabled": False}, PEOPLE_ROWS)
    used.model("orgs", {"object": "account", "account_id": "id", "fields": {"Tier of Old": "plan"}}, PEOPLE_ROWS)
    assert unused(used, "--select", "people") == {where: left[where] for where in list(left)[::2]}
    shown = used.run("fields", "--unused").expect(0).stdout
    expect_in(
        shown, "2 fields of Pendo that no mapping", "custom.seats  integer  used by guide Welcome and segment Trial"
    )
    table = used.run("fields", "--unused", "--output", "csv").expect(0).stdout.splitlines()
    assert (len(table), table[0].split(",")[:3]) == (3, ["object", "group", "key"])
    # What a wrong mapping writes nobody knows.
    used.model("odd", {**PEOPLE, "mode": "no"}, PEOPLE_ROWS)
    used.run("fields", "--unused", "--select", "people").expect(2).says("odd: meta.pendo.mode")
    assert writes(sandbox.requests) == []


@pytest.mark.parametrize(
    "body",
    [
        '{"status": "ok", "n": [[1]]}',
        "[]",
        "{}",
        "nope",
        '{"Guides": [{"Name": "G"}]}',
        '{"result": [{"type": "GUIDE", "name": "G"}]}',
    ],
)
def test_an_answer_of_another_form_about_uses(used, sandbox, body):
    """Where Pendo does not tell fields apart, it is asked for each; where it says nothing clear, nothing is deleted."""
    sandbox.fail(Fault("status", status=200, body=body, path="/metadata/dependencies", times=None))
    found = unused(used).values()
    names_guide = "G" in body
    assert all(uses == (None if body == "nope" else ["guide G"] if names_guide else []) for uses in found), found
    ended = used.run("fields", "--delete", "old_tier", "--json")
    assert ended.status == (2 if body == "nope" or names_guide else 0)
    if ended.status:
        ended.says("Pendo does not say what uses it" if body == "nope" else "in Pendo it is used by guide G")
    assert ("old_tier" in live(sandbox)) == bool(ended.status)


def live(sandbox: Sandbox, kind: str = "visitor", group: str = "custom") -> set[str]:
    """The fields of a kind that are not deleted."""
    described = sandbox.pendo.records[kind].schema.as_json()[group]
    return {key for key, one in described.items() if not one["isDeleted"]}


def delete(project: SmallProject, *args: str, status: int = 0) -> Ended:
    return project.run("fields", "--json", "--delete", *args).expect(status)


def test_a_field_is_deleted_if_nothing_uses_it(used, sandbox):
    (entry,) = delete(used, "Old_Tier").json["results"]
    assert (entry["key"], entry["group"], entry["object"], entry["state"]) == (
        "old_tier",
        "custom",
        "visitor",
        "deleted",
    )
    assert live(sandbox) == {"plan", "seats"}
    delete(used, "Old_Tier", status=2).says(
        "Pendo has no custom or agent field of visitors and accounts named `Old_Tier`."
    )
    delete(used, "unlike_any", status=2).says("named `unlike_any`.", "`dbt-pendo fields` lists")
    # One that a mapping writes, or that something uses, is kept.
    delete(used, "plan", status=2).says("models/_models.yml: people writes it", "--force deletes it")
    delete(used, "seats", status=2).says(
        "seats means several fields: custom.seats of visitors and agent.seats of visitors"
    )
    delete(used, "seats", "--group", "custom", status=2).says("in Pendo it is used by guide Welcome and segment Trial")
    assert live(sandbox) == {"plan", "seats"}
    delete(used, "seats", "--group", "agent")
    assert live(sandbox, group="agent") == set()
    delete(used, "seats", "--force")
    delete(used, "tier", "--object", "visitor", status=2)
    delete(used, "Tier of Old", "--object", "account")
    delete(used, "plan", "--force")
    assert (live(sandbox), live(sandbox, "account")) == (set(), set())
    assert len(writes(sandbox.requests)) == 5


def test_what_does_not_go_together(used, sandbox):
    for args in (["--unused", "--create"], ["--delete", "seats", "--unused"], ["--force"], ["--group", "agent"]):
        used.run("fields", *args).expect(2)
    used.settings("vars: {dbt_pendo: {targets: [prod]}}")
    delete(used, "old_tier", status=2)
    assert writes(sandbox.requests) == []


def test_a_deletion_is_proven_by_the_schema(used, sandbox):
    sandbox.fail(Fault("status", status=200, method="DELETE"))
    delete(used, "old_tier", status=1).says("Pendo took the request to delete old_tier, and still has the field.")
    # An answer that was lost: by then it is deleted already (202).
    sandbox.fail(Fault("close", when="after", method="DELETE"))
    delete(used, "old_tier")
    assert live(sandbox) == {"plan", "seats"}
