"""The metadata schema: reading, creating and deleting fields."""

from __future__ import annotations

import pytest

SCHEMA = "/api/v1/metadata/schema/visitor"


def create(pendo, *fields, group="custom"):
    return pendo.post(f"{SCHEMA}/{group}", list(fields))


def test_the_schema_has_pendos_casing_and_groups(pendo):
    schema = pendo.get(SCHEMA).json()
    assert set(schema) == {"auto", "agent", "custom", "pendo"}
    assert schema["custom"]["seats"] == {
        "Type": "integer",
        "DisplayName": "seats",
        "ElementType": "",
        "ElementFormat": "",
        "Dirty": False,
        "isHidden": False,
        "isDeleted": False,
        "isCalculated": False,
        "isPerApp": False,
        "neverIndex": False,
    }
    assert schema["auto"]["lastupdated"]["Type"] == "time"
    assert schema["pendo"]["donotprocess"]["Type"] == "boolean"


@pytest.mark.parametrize("kind", ["visitor", "account", "parentAccount"])
def test_each_kind_has_its_own_schema(pendo, sandbox, kind):
    sandbox.add_field(kind, "agent", "only_here", "string")
    found = [
        k
        for k in ("visitor", "account", "parentAccount")
        if "only_here" in pendo.get(f"/api/v1/metadata/schema/{k}").json()["agent"]
    ]
    assert found == [kind]


@pytest.mark.parametrize("group", ["custom", "agent"])
def test_created_fields_can_be_written(pendo, sandbox, group):
    assert create(pendo, {"name": "NewOne", "displayname": "New one", "type": "string"}, group=group).ok
    field = pendo.get(SCHEMA).json()[group]["newone"]
    assert (field["Type"], field["DisplayName"]) == ("string", "New one")
    assert pendo.write({"v1": {"NEWONE": "x"}}, group=group).json()["updated"] == 1
    assert sandbox.visitors["v1"][group] == {"newone": "x"}


@pytest.mark.parametrize(
    ("asked", "stored"), [("string", "string"), ("boolean", "boolean"), ("time", "time"), ("number", "float")]
)
def test_documented_types(pendo, asked, stored):
    assert create(pendo, {"name": "f", "type": asked}).ok
    assert pendo.get(SCHEMA).json()["custom"]["f"]["Type"] == stored


def test_number_becomes_switch(pendo):
    pendo.switch(number_becomes="integer")
    create(pendo, {"name": "f", "type": "number"})
    assert pendo.get(SCHEMA).json()["custom"]["f"]["Type"] == "integer"


def test_other_types_are_refused_unless_switched_on(pendo):
    assert create(pendo, {"name": "f", "type": "integer"}).status_code == 400
    pendo.switch(creatable_types=("integer", "list"))
    assert create(pendo, {"name": "f", "type": "integer"}).ok
    assert create(pendo, {"name": "g", "type": "string"}).status_code == 400


@pytest.mark.parametrize("name", ["", "1st", "with space", "dot.ted", "dash-ed", "ünï"])
def test_invalid_names(pendo, name):
    good = {"name": "_good1", "type": "string"}
    bad = {"name": name, "type": "string"}
    assert create(pendo, good, bad).status_code == 400
    assert "_good1" not in pendo.get(SCHEMA).json()["custom"]
    pendo.switch(invalid_field_name="skip")
    assert create(pendo, good, bad).status_code == 200
    assert set(pendo.get(SCHEMA).json()["custom"]) == {"plan", "seats", "_good1"}


@pytest.mark.parametrize("body", [{}, ["x"], [{"type": "string"}], [{"name": 5, "type": "string"}], [{"name": "x"}]])
def test_malformed_requests_for_fields(pendo, body):
    assert pendo.post(f"{SCHEMA}/custom", body).status_code == 400


@pytest.mark.parametrize("group", ["auto", "pendo", "salesforce"])
def test_groups_of_others_take_no_fields(pendo, group):
    assert create(pendo, {"name": "f", "type": "string"}, group=group).status_code == 400
    assert pendo.call("DELETE", f"{SCHEMA}/{group}/id").status_code == 400


def test_keys_lose_underscores_if_switched_so(pendo, sandbox):
    pendo.switch(drop_underscores=True)
    create(pendo, {"name": "SFDC_Profile", "type": "string"})
    assert "sfdcprofile" in pendo.get(SCHEMA).json()["custom"]
    assert pendo.write({"v1": {"SFDC_Profile": "x"}}).ok
    assert sandbox.visitors["v1"]["custom"] == {"sfdcprofile": "x"}


def test_creating_what_exists(pendo):
    assert create(pendo, {"name": "PLAN", "type": "boolean"}).status_code == 200
    assert pendo.get(SCHEMA).json()["custom"]["plan"]["Type"] == "string"
    pendo.switch(existing_field="refuse call")
    assert create(pendo, {"name": "plan", "type": "string"}).status_code == 400


def test_delete_and_undelete(pendo):
    pendo.switch(existing_field="refuse call")
    assert pendo.call("DELETE", f"{SCHEMA}/custom/plan").status_code == 200
    assert pendo.get(SCHEMA).json()["custom"]["plan"]["isDeleted"] is True
    assert pendo.write({"v1": {"plan": "x"}}).status_code == 400
    assert pendo.call("DELETE", f"{SCHEMA}/custom/plan").status_code == 404
    assert create(pendo, {"name": "plan", "type": "string"}).status_code == 200
    assert pendo.write({"v1": {"plan": "x"}}).status_code == 200


def test_undocumented_replies_switch(pendo):
    new = {"name": "f", "type": "string"}
    assert create(pendo, new).content == b""
    pendo.switch(undocumented_replies="json")
    assert create(pendo, new).json()["f"]["Type"] == "string"
    assert pendo.call("DELETE", f"{SCHEMA}/custom/f").json() == {}


def test_dependencies_are_none(pendo):
    assert pendo.get("/api/v1/metadata/dependencies").json() == []
    assert pendo.get("/api/v1/metadata/dependencies/visitor/custom/plan").json() == []
