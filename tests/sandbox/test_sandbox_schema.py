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
    assert create(pendo, {"name": "NEWONE", "type": "boolean"}, group=group).status_code == 409
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
    assert create(pendo, {"name": "integer", "type": "integer"}).status_code == 422
    pendo.switch(creatable_types=("integer", "list"))
    assert create(pendo, {"name": "integer", "type": "integer"}).ok
    assert create(pendo, {"name": "g", "type": "string"}).status_code == 422
    pendo.switch(number_becomes="integer", creatable_types=("number",))
    assert create(pendo, {"name": "n", "type": "number"}).ok
    found = pendo.get(SCHEMA).json()["custom"]
    assert {name: found[name]["Type"] for name in found if name not in ("plan", "seats")} == {
        **{"string": "string", "boolean": "boolean", "time": "time", "number": "float", "integer": "integer"},
        "n": "integer",
    }


def results(answer) -> list[tuple[str, str]]:
    """The name and the status of each field that an answer to a creation is about."""
    return [(one["schema"]["name"], one["status"]) for one in answer.json()["results"]]


def test_invalid_names(pendo):
    good, *bad = ({"name": name, "type": "string"} for name in ("_good1", "", "1st", "a b", "a.b", "a-b", "ünï"))
    pendo.switch(invalid_field="refuse call")
    for one in bad:
        answer = create(pendo, good, one)
        assert (answer.status_code, results(answer)) == (422, [("_good1", "failed"), (one["name"], "failed")])
    assert set(pendo.get(SCHEMA).json()["custom"]) == {"plan", "seats"}
    pendo.switch(invalid_field="create others")
    for one, status in zip(bad, ("created", *["failed"] * 5), strict=True):
        answer = create(pendo, good, one)
        assert (answer.status_code, results(answer)) == (422, [("_good1", status), (one["name"], "failed")])
    assert set(pendo.get(SCHEMA).json()["custom"]) == {"plan", "seats", "_good1"}


def test_the_answer_to_a_creation(pendo):
    """pendo-api.md 3: 201 all, 207 some, 409 all exist, 400 more than 24; what became of each field."""
    one, two = ({"name": name, "displayname": name, "type": "string"} for name in ("one", "two"))
    answer = create(pendo, one)
    assert (answer.status_code, answer.json()) == (
        201,
        {
            "results": [{"schema": one, "status": "created"}],
            "summary": {"created": 1, "failed": 0, "undeleted": 0, "total": 1},
        },
    )
    answer = create(pendo, one, two)
    assert (answer.status_code, results(answer)) == (207, [("one", "failed"), ("two", "created")])
    assert answer.json()["results"][0]["error"]["message"] == "field 'one' exists"
    assert create(pendo, one, two).status_code == 409
    many = [{"name": f"f{number}", "type": "string"} for number in range(25)]
    assert create(pendo, *many).status_code == 400
    assert create(pendo, *many[:24]).status_code == 201
    pendo.switch(field_reply="list")
    assert create(pendo, one).json()[0]["status"] == "failed"
    pendo.switch(field_reply="empty")
    assert create(pendo, many[24]).content == b""


def test_what_makes_no_field(pendo):
    for group in ("auto", "pendo", "salesforce"):
        assert create(pendo, {"name": "f", "type": "string"}, group=group).status_code == 400
        assert pendo.call("DELETE", f"{SCHEMA}/{group}/id").status_code == 400
    for body in ({}, [], ["x"], [{"type": "string"}], [{"name": 5, "type": "string"}]):
        assert pendo.post(f"{SCHEMA}/custom", body).status_code == 400


def test_delete_and_undelete(pendo, sandbox):
    """Undeleting brings the old values back."""
    new = {"name": "f", "type": "string"}
    create(pendo, new)
    assert pendo.write({"v1": {"f": "x"}}).status_code == 200
    pendo.switch(undocumented_replies="json")
    answer = pendo.call("DELETE", f"{SCHEMA}/custom/f")
    assert (answer.status_code, answer.json()) == (200, {})
    assert pendo.get(SCHEMA).json()["custom"]["f"]["isDeleted"] is True
    assert "f" not in pendo.custom()
    assert pendo.get("/api/v1/visitor/v1").json()["metadata"]["custom"] == {}
    assert [pendo.call("DELETE", f"{SCHEMA}/custom/{name}").status_code for name in ("f", "g")] == [202, 404]
    answer = create(pendo, new)
    assert (answer.status_code, results(answer)) == (201, [("f", "undeleted")])
    assert answer.json()["summary"] == {"created": 0, "failed": 0, "undeleted": 1, "total": 1}
    assert pendo.custom() == {"f": "x"}
    assert pendo.write({"v1": {"f": "y"}}).status_code == 200


def test_what_uses_a_field(pendo, sandbox):
    path = "/api/v1/metadata/dependencies"
    sandbox.use_field("visitor", "custom", "plan", guides=["Welcome"], segments=["Trial"])
    uses = {
        "guides": [{"id": "Welcome", "name": "Welcome"}],
        "reports": [],
        "segments": [{"id": "Trial", "name": "Trial"}],
    }
    pendo.switch(dependencies_reply="nested")
    assert pendo.get(path).json() == {"visitor": {"custom": {"plan": uses}}}
    assert pendo.get(f"{path}/visitor/custom/plan").json() == uses
    assert pendo.get(f"{path}/visitor/custom/seats").json() == {"guides": [], "reports": [], "segments": []}
    assert pendo.get(f"{path}/visitor/custom/nope").status_code == 404
    pendo.switch(dependencies_reply="list")
    assert pendo.get(path).json() == [{"kind": "visitor", "group": "custom", "field": "plan", **uses}]
    pendo.switch(dependencies_reply="one field")
    assert pendo.get(path).status_code == 404
    assert pendo.get(f"{path}/visitor/custom/plan").json() == uses
