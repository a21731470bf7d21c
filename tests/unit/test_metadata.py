"""Which of Pendo's fields a name means, how its schema is read, and what its answer says of a key."""

import orjson
import pytest
from harness.pendo import chosen
from hypothesis import given
from hypothesis import strategies as st

from dbt_pendo.pendo.client import KeyRefusedError, PendoError
from dbt_pendo.pendo.fields import create_fields
from dbt_pendo.pendo.metadata import Schema, SchemaField, read_schema, verify_key
from dbt_pendo.sandbox import Fault


def a_schema(*keys: str, **displayed: str) -> Schema:
    named = {**{key: key for key in keys}, **displayed}
    return Schema({"custom": {key: SchemaField(key, name, "string") for key, name in named.items()}})


def test_a_name_means_one_field_or_none():
    for schema, name, key in [
        (a_schema("plan"), "plan", "plan"),  # the key
        (a_schema("plan"), "Plan", "plan"),  # another case
        (a_schema("sfdcprofile"), "SFDC_Profile", "sfdcprofile"),  # Pendo's own example
        (a_schema("first_name"), "firstname", "first_name"),  # underscores of Pendo's
        (a_schema("Plan", "plan"), "plan", "plan"),  # the key before another case
        (a_schema("plan", "pl_an"), "PLAN", "plan"),  # case before underscores
        (a_schema(f7="Plan name"), "Plan name", "f7"),  # the display name
        (a_schema("plan", f7="Plan"), "plan", "plan"),  # a key before a display name
        (a_schema("PLAN", "Plan"), "plan", None),  # two that differ in case
        (a_schema("a_b", "ab_"), "ab", None),  # two that differ in underscores
        (a_schema(f7="Plan", f8="Plan"), "Plan", None),  # two of one display name
        (a_schema(f7="Plan"), "plan", None),  # a display name in another case
        (a_schema("plan"), "plans", None),  # another name
        (a_schema(f7="Größe (m²), ca."), "Größe (m²), ca.", "f7"),  # a display name of any letters
        (a_schema(f7="Gro\u0308\u00dfe"), "Gr\u00f6\u00dfe", "f7"),  # an accent spelt otherwise
        (a_schema(f7="Plan name "), "Plan name", "f7"),  # a blank nobody sees
        (a_schema("ab", f7="a_b"), "a_b", "f7"),  # a display name before underscores
        (a_schema(), "plan", None),  # no fields
    ]:
        found = schema.find("custom", name)
        assert (found and found.key) == key
        # Of another group it means another field.
        assert schema.find("agent", name) is None
    # A name of several fields names them all.
    schema = a_schema("plan", f7="Tier", f8="Tier")
    assert [one.key for one in schema.candidates("custom", "Tier")] == ["f7", "f8"]
    assert [one.key for one in schema.candidates("custom", "plan")] == ["plan"]
    assert schema.candidates("custom", "Rank") == schema.candidates("agent", "plan") == ()


@given(st.lists(st.from_regex(r"[A-Za-z_]{1,4}", fullmatch=True), unique=True))
def test_every_key_finds_itself(keys):
    assert [found and found.key for found in (a_schema(*keys).find("custom", key) for key in keys)] == keys


def test_the_schema_is_read_as_pendo_tells_it(sandbox, client):
    sandbox.add_field("account", "custom", "MRR", "float")
    for name, type_ in (("tags", "list"), ("seen", "date"), ("odd", "")):
        sandbox.add_field("account", "agent", name, type_)
    schema = read_schema(client, "account")
    types = {group: {key: one.type for key, one in schema.groups[group].items()} for group in ("custom", "agent")}
    assert types == {"custom": {"mrr": "float"}, "agent": {"tags": "list", "seen": "time", "odd": None}}
    assert schema.find("custom", "MRR") == SchemaField("mrr", "MRR", "float")
    assert schema.find("agent", "MRR") is None

    # Other spellings are read too.
    for custom, *fields in [
        ({"a": {"displayName": "A", "type": "number"}}, SchemaField("a", "A", "float")),
        ({"a": {"Type": "STRING"}}, SchemaField("a", "a", "string")),
        *(({"a": {"Type": odd}}, SchemaField("a", "a", None)) for odd in (None, "blob")),
        *(({"a": {"Type": "string", "isDeleted": True}},), ({"a": None, "b": "x"},), (None,)),
    ]:
        document = {"auto": {}, "custom": custom, "other": []}
        sandbox.fail(Fault("status", status=200, body=orjson.dumps(document).decode()))
        groups = read_schema(client, "visitor").groups
        assert [field for group in groups.values() for field in group.values()] == fields


def test_fields_are_created_and_found_again_or_refused(sandbox, client):
    types = {"First_Name": "string", "mrr": "float", "Since": "time", "ok": "boolean"}
    create_fields(client, "visitor", "custom", types)
    schema = read_schema(client, "visitor")
    assert {name: schema.find("custom", name).type for name in types} == types
    sandbox.switches = chosen(error_bodies="text", field_reply="object")
    assert create_fields(client, "visitor", "custom", types).refused.keys() == types.keys()
    created = create_fields(client, "visitor", "custom", {"1st": "string"})
    assert "invalid field name '1st'" in created.refused["1st"]
    # Bodies that lack parts, or say the same otherwise; a 2xx without a word is taken for creation.
    for status, body, refused in [
        (207, '{"results": [{"schema": {"name": "f"}, "status": "failed"}]}', "HTTP 207"),
        (207, '[{"name": "F", "status": "FAILED", "message": "why"}, 5, {}]', "why"),
        (422, '{"fields": [{"schema": "f", "status": "Failed", "error": "why"}]}', "why"),
        (422, "why", "HTTP 422: why"),
        (400, '{"summary": {"failed": 1}}', "HTTP 400"),
        (201, "", None),
        (207, "{}", None),
    ]:
        sandbox.fail(Fault("status", status=status, body=body))
        said = create_fields(client, "visitor", "custom", {"f": "string"}).refused.get("f")
        assert (said is None) == (refused is None), body
        assert (said or "").startswith(refused or ""), body


def test_only_a_key_that_is_told_to_be_invalid_or_read_only_is(sandbox, client):
    writable = {',"writeAccess":true': True, ',"writeAccess":false': False, "": True}
    for told, may_write in writable.items():
        sandbox.fail(Fault("status", status=200, body=f'{{"valid":true{told}}}'))
        assert verify_key(client) is may_write
    sandbox.fail(Fault("status", status=200, body='{"valid":false}'))
    with pytest.raises(KeyRefusedError, match="refused the integration key"):
        verify_key(client)
    # A host that knows no keys is not Pendo.
    sandbox.fail(Fault("status", status=404, body="not found"))
    with pytest.raises(PendoError, match=r"does not say whether the integration key is good \(HTTP 404: not found\)"):
        verify_key(client)
