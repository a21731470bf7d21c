"""The metadata schema: reading, creating and deleting fields."""

import pytest

SCHEMA = "/api/v1/metadata/schema/visitor"


def create(pendo, *fields, group="custom"):
    return pendo.post(f"{SCHEMA}/{group}", list(fields))


def test_the_schema_has_pendos_casing_and_groups(pendo):
    schema = pendo.get(SCHEMA).json()
    assert set(schema) == {"auto", "agent", "custom", "pendo"}
    flags = ("Dirty", "isHidden", "isDeleted", "isCalculated", "isPerApp", "neverIndex")
    assert schema["custom"]["seats"] == {
        **{"Type": "integer", "DisplayName": "seats", "ElementType": "", "ElementFormat": ""},
        **dict.fromkeys(flags, False),
    }
    assert schema["auto"]["lastupdated"]["Type"] == "time"
    assert schema["pendo"]["donotprocess"]["Type"] == "boolean"


def test_each_kind_has_its_own_schema(pendo, sandbox):
    kinds = ["visitor", "account", "parentAccount"]
    for kind in kinds:
        sandbox.add_field(kind, "agent", f"of_{kind}", "string")
    for kind in kinds:
        assert list(pendo.get(f"/api/v1/metadata/schema/{kind}").json()["agent"]) == [f"of_{kind.lower()}"]


@pytest.mark.parametrize("group", ["custom", "agent"])
def test_created_fields_can_be_written(pendo, sandbox, group):
    assert create(pendo, {"name": "NewOne", "displayname": "New one", "type": "string"}, group=group).ok
    # What is there stays as it is.
    assert create(pendo, {"name": "NEWONE", "type": "boolean"}, group=group).ok
    field = pendo.get(SCHEMA).json()[group]["newone"]
    assert (field["Type"], field["DisplayName"]) == ("string", "New one")
    assert pendo.write({"v1": {"NEWONE": "x"}}, group=group).json()["updated"] == 1
    # Keys lose underscores if switched so.
    pendo.switch(drop_underscores=True)
    create(pendo, {"name": "SFDC_Profile", "type": "string"}, group=group)
    assert "sfdcprofile" in pendo.get(SCHEMA).json()[group]
    assert pendo.write({"v1": {"SFDC_Profile": "x"}}, group=group).ok
    assert sandbox.visitors["v1"][group] == {"newone": "x", "sfdcprofile": "x"}


def test_documented_types_and_others_if_switched_on(pendo):
    assert create(pendo, *({"name": type_, "type": type_} for type_ in ("string", "boolean", "time", "number"))).ok
    assert create(pendo, {"name": "integer", "type": "integer"}).status_code == 400
    pendo.switch(creatable_types=("integer", "list"))
    assert create(pendo, {"name": "integer", "type": "integer"}).ok
    assert create(pendo, {"name": "g", "type": "string"}).status_code == 400
    pendo.switch(number_becomes="integer", creatable_types=("number",))
    assert create(pendo, {"name": "n", "type": "number"}).ok
    found = pendo.get(SCHEMA).json()["custom"]
    assert {name: found[name]["Type"] for name in found if name not in ("plan", "seats")} == {
        **{"string": "string", "boolean": "boolean", "time": "time", "number": "float", "integer": "integer"},
        "n": "integer",
    }


def test_invalid_names(pendo):
    good, *bad = ({"name": name, "type": "string"} for name in ("_good1", "", "1st", "a b", "a.b", "a-b", "ünï"))
    for one in bad:
        assert create(pendo, good, one).status_code == 400
    assert set(pendo.get(SCHEMA).json()["custom"]) == {"plan", "seats"}
    pendo.switch(invalid_field_name="skip")
    for one in bad:
        assert create(pendo, good, one).status_code == 200
    assert set(pendo.get(SCHEMA).json()["custom"]) == {"plan", "seats", "_good1"}


def test_what_makes_no_field(pendo):
    for group in ("auto", "pendo", "salesforce"):
        assert create(pendo, {"name": "f", "type": "string"}, group=group).status_code == 400
        assert pendo.call("DELETE", f"{SCHEMA}/{group}/id").status_code == 400
    for body in ({}, ["x"], [{"type": "string"}], [{"name": 5, "type": "string"}], [{"name": "x"}]):
        assert pendo.post(f"{SCHEMA}/custom", body).status_code == 400
    assert pendo.get("/api/v1/metadata/dependencies").json() == []
    assert pendo.get("/api/v1/metadata/dependencies/visitor/custom/plan").json() == []


def test_delete_and_undelete(pendo):
    new = {"name": "f", "type": "string"}
    assert create(pendo, new).content == b""
    pendo.switch(existing_field="refuse call", undocumented_replies="json")
    assert create(pendo, new).status_code == 400
    assert pendo.call("DELETE", f"{SCHEMA}/custom/f").json() == {}
    assert pendo.get(SCHEMA).json()["custom"]["f"]["isDeleted"] is True
    assert pendo.write({"v1": {"f": "x"}}).status_code == 400
    assert pendo.call("DELETE", f"{SCHEMA}/custom/f").status_code == 404
    assert create(pendo, new).json()["f"]["Type"] == "string"
    assert pendo.write({"v1": {"f": "x"}}).status_code == 200
