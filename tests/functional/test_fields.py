"""``dbt-pendo fields``: the mapped fields beside Pendo's, created on request; and names as Pendo has them."""

from __future__ import annotations

from typing import Any

import pytest
from harness import SmallProject, bodies, custom, writes

from dbt_pendo.sandbox import Sandbox, Switches

ROWS = "select 'a' as id, 'pro' as plan, 3 as seats, true as admin, timestamp '2026-01-01 10:00:00' as at"


def visitors(**fields: Any) -> dict[str, Any]:
    return {"object": "visitor", "visitor_id": "id", "fields": fields}


def states(result: dict[str, Any]) -> dict[str, str]:
    return {field["mapped"] or field["key"]: field["state"] for field in result["fields"]}


def display(sandbox: Sandbox, kind: str, name: str, display_name: str) -> None:
    """Gives a field the name that people see in Pendo."""
    with sandbox.pendo.lock:
        schema = sandbox.pendo.records[kind].schema
        schema.put("custom", schema.new_field(name, "string", sandbox.switches, display_name=display_name))


def test_each_state(project: SmallProject, sandbox: Sandbox) -> None:
    for name, type_name in (("plan", "string"), ("seats", "boolean"), ("loose", "string")):
        sandbox.add_field("visitor", "custom", name, type_name)
    sandbox.add_field("visitor", "agent", "level", "integer")
    sandbox.add_field("visitor", "salesforce", "owner", "string")
    project.model(
        "people",
        visitors(
            plan="plan",
            seats="at",
            levl={"column": "seats", "group": "agent"},
            admin="admin",
            level="seats",
            owner="plan",
        ),
        ROWS,
    )
    result = project.run("fields", "--json").expect(2).result()
    assert [(field["mapped"], field["state"]) for field in result["fields"]] == [
        ("plan", "ok"),
        ("seats", "mismatch"),
        ("levl", "missing"),
        ("admin", "missing"),
        ("level", "missing"),
        ("owner", "missing"),
        (None, "unmapped"),
        (None, "unmapped"),
    ]
    notes = {field["mapped"]: field["note"] for field in result["fields"] if field["note"]}
    assert notes["seats"] == "TIMESTAMP can never be boolean"
    assert notes["levl"] == "Did you mean `level`?"
    assert notes["level"] == "There is one in the group `agent`."
    assert notes["owner"] == "There is one in the group `salesforce`, which is Pendo's own and cannot be written."
    assert "snippet overwrites agent fields" in result["warnings"][0]
    assert writes(sandbox.requests) == []
    unmapped = [field for field in result["fields"] if field["state"] == "unmapped"]
    assert [(field["group"], field["key"]) for field in unmapped] == [("custom", "loose"), ("agent", "level")]


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"undocumented_replies": "json"},
        {"drop_underscores": True},
        {"number_becomes": "integer"},
        {"existing_field": "refuse call"},
    ],
    ids=str,
)
def test_create_makes_what_a_sync_needs(project: SmallProject, sandbox: Sandbox, switches: dict[str, Any]) -> None:
    sandbox.switches = Switches(**switches)
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a"])
    names = {"plan": "plan", "SFDC_Seats": "seats", "is_admin": "admin", "signed_up": "at"}
    project.model("people", visitors(**names, level={"column": "seats", "group": "agent"}), ROWS)
    assert project.run("check").status == 2
    result = project.run("fields", "--create", "--json").expect(0).result()
    assert states(result) == {
        "plan": "ok",
        "SFDC_Seats": "created",
        "is_admin": "created",
        "signed_up": "created",
        "level": "created",
    }
    types = {field["mapped"]: field["type"] for field in result["fields"]}
    number = switches.get("number_becomes", "float")
    assert (types["SFDC_Seats"], types["is_admin"], types["signed_up"]) == (number, "boolean", "time")
    assert project.sync().result()["delivered"] == 1
    key = "sfdcseats" if "drop_underscores" in switches else "sfdc_seats"
    assert custom(sandbox.visitors)["a"][key] == 3
    # Sent under the keys that the schema has.
    sent = {name for body in bodies(sandbox.requests, "custom/value") for name in body[0]["values"]}
    assert key in sent
    assert "SFDC_Seats" not in sent
    assert states(project.run("fields", "--json").expect(0).result())["SFDC_Seats"] == "ok"


def test_a_field_that_pendo_leaves_out_is_told(project: SmallProject, sandbox: Sandbox) -> None:
    sandbox.add_visitors(["a"])
    project.model("people", visitors(**{"Plan Name": "plan"}), ROWS)
    for command in (["fields", "--create"], ["sync", "--json"]):
        project.annotate("people", {**visitors(**{"Plan Name": "plan"}), "create_fields": True})
        assert "no field can be created under the name 'Plan Name'" in project.run(*command).expect(2).output
    assert writes(sandbox.requests) == []


def test_a_mapping_by_display_name_writes_to_the_key(project: SmallProject, sandbox: Sandbox) -> None:
    for name, shown in (("sfdcprofile", "SFDC_Profile"), ("plan_1", "Plan Name (neu)"), ("x9", "Größe, m²")):
        display(sandbox, "visitor", name, shown)
    sandbox.add_visitors(["a"])
    names = {"SFDC_Profile": "plan", "Plan Name (neu)": "plan", "Größe, m²": {"column": "seats", "type": "string"}}
    project.model("people", visitors(**names), ROWS)
    assert project.check().result()["status"] == "success"
    assert project.sync().result()["delivered"] == 1
    assert custom(sandbox.visitors) == {"a": {"sfdcprofile": "pro", "plan_1": "pro", "x9": "3"}}


def test_one_field_under_two_names(project: SmallProject, sandbox: Sandbox) -> None:
    display(sandbox, "visitor", "plan_1", "Plan Name")
    sandbox.add_visitors(["a"])
    project.model("people", visitors(**{"Plan Name": "plan", "plan_1": "plan"}), ROWS)
    ended = project.run("sync").expect(2)
    assert "`Plan Name` and `plan_1` are one custom field of Pendo's, `plan_1`" in ended.output
    assert writes(sandbox.requests) == []


def test_two_fields_of_one_display_name(project: SmallProject, sandbox: Sandbox) -> None:
    display(sandbox, "visitor", "plan_1", "Plan Name")
    display(sandbox, "visitor", "plan_2", "Plan Name")
    project.model("people", visitors(**{"Plan Name": "plan"}), ROWS)
    ended = project.run("check").expect(2)
    assert "Several have this display name; map one by its key: plan_1, plan_2." in ended.output


def test_of_all_syncs_of_an_object(project: SmallProject, sandbox: Sandbox) -> None:
    for name in ("plan", "seats", "spare"):
        sandbox.add_field("visitor", "custom", name, "string")
    project.model("people", visitors(plan="plan"), ROWS)
    project.model("others", visitors(seats="plan"), ROWS)
    document = project.run("fields", "--json").expect(0).json
    unmapped = [field["key"] for one in document["results"] for field in one["fields"] if field["state"] == "unmapped"]
    assert unmapped == ["spare"]


def test_in_the_terminal(project: SmallProject, sandbox: Sandbox) -> None:
    sandbox.add_field("visitor", "custom", "plan", "string")
    project.model("people", visitors(plan="plan", sets="seats"), ROWS)
    ended = project.run("fields").expect(2)
    assert "state    mapped  column" in ended.output
    lines = [" ".join(line.split()[1:]) for line in ended.output.splitlines()]
    assert "ok plan plan (character varying(256)) custom plan string plan" in lines
    assert "missing sets seats (integer) custom" in lines
    assert "`dbt-pendo fields --create` creates them" in ended.output
