"""Writing metadata: bulk calls, single values, types, and what is wrong with them."""

from __future__ import annotations

import base64

import pytest

PATH = "/api/v1/metadata/visitor/custom/value"


def custom(sandbox, record_id="v1"):
    return sandbox.visitors[record_id]["custom"]


def test_a_bulk_write_reports_missing_ids_inside_a_200(pendo, sandbox):
    answer = pendo.write({"v1": {"plan": "pro"}, "V1": {"plan": "x"}, "v2": {"plan": "free", "seats": 3}})
    assert answer.status_code == 200
    assert answer.json() == {"total": 3, "updated": 2, "failed": 1, "missing": ["V1"], "kind": "visitor"}
    assert custom(sandbox) == {"plan": "pro"}
    assert custom(sandbox, "v2") == {"plan": "free", "seats": 3}
    assert set(sandbox.visitors) == {"v1", "v2"}


def test_fields_not_sent_keep_their_values(pendo, sandbox):
    pendo.write({"v1": {"plan": "pro", "seats": 1}})
    pendo.write({"v1": {"plan": "free"}})
    pendo.write({"v1": {}})
    assert custom(sandbox) == {"plan": "free", "seats": 1}


def test_create_makes_missing_records(pendo, sandbox):
    answer = pendo.write({"v1": {"plan": "a"}, "new": {"plan": "b"}}, create=True).json()
    assert answer == {"total": 2, "updated": 2, "failed": 0, "kind": "visitor"}
    assert custom(sandbox, "new") == {"plan": "b"}
    assert sandbox.visitors["new"]["auto"]["id"] == "new"
    pendo.switch(created_counts_as_updated=False)
    answer = pendo.write({"v1": {"plan": "a"}, "newer": {"plan": "b"}}, create=True).json()
    assert (answer["total"], answer["updated"], answer["failed"]) == (2, 1, 0)


@pytest.mark.parametrize(("kind", "record_id"), [("account", "a1"), ("parentAccount", "p1")])
def test_accounts_and_parent_accounts(pendo, sandbox, kind, record_id):
    assert pendo.write({record_id: {"plan": "x"}, "no": {}}, kind=kind).json() == {
        "total": 2,
        "updated": 1,
        "failed": 1,
        "missing": ["no"],
        "kind": kind,
    }
    held = sandbox.accounts if kind == "account" else sandbox.parent_accounts
    assert held[record_id]["custom"] == {"plan": "x"}


def test_the_key_of_parent_accounts_is_a_switch(pendo):
    items = [{"accountId": "p1", "values": {"plan": "x"}}]
    assert pendo.write(items, kind="parentAccount").status_code == 400
    pendo.switch(parent_account_id_key="accountId")
    assert pendo.write(items, kind="parentAccount").json()["updated"] == 1


def test_empty_lists_are_left_out_or_not(pendo):
    assert set(pendo.write({"v1": {}}).json()) == {"total", "updated", "failed", "kind"}
    pendo.switch(omit_empty_lists=False)
    answer = pendo.write({"v1": {}}).json()
    assert (answer["missing"], answer["errors"]) == ([], [])


@pytest.mark.parametrize(
    "body",
    [
        {},
        "text",
        None,
        ["x"],
        [{"values": {}}],
        [{"visitorId": "v1"}],
        [{"visitorId": 5, "values": {}}],
        [{"visitorId": "", "values": {}}],
        [{"visitorId": "v1", "values": []}],
        [{"visitorId": "v1", "values": {"plan": "x"}}, {"accountId": "v2", "values": {}}],
    ],
)
def test_unacceptable_bodies_write_nothing(pendo, sandbox, body):
    answer = pendo.call("POST", PATH, headers={"Content-Type": "application/json"}, json=body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "unacceptable" in answer.text or "malformed" in answer.text
    assert custom(sandbox) == {}


@pytest.mark.parametrize("data", [b"[{", b"", b'[{"visitorId":"v1","values":{"seats":NaN}}]', b"\xff"])
def test_malformed_json(pendo, data):
    answer = pendo.call("POST", PATH, data=data)
    assert (answer.status_code, "malformed JSON" in answer.text) == (400, True)


@pytest.mark.parametrize("group", ["auto", "salesforce"])
def test_other_groups_cannot_be_written(pendo, group):
    assert pendo.write({"v1": {"id": "x"}}, group=group).status_code == 400
    assert pendo.call("PUT", f"/api/v1/metadata/visitor/{group}/value/v1/id", "x").status_code == 400


# Unknown fields.


def test_an_unknown_field_refuses_the_call(pendo, sandbox):
    answer = pendo.write({"v1": {"plan": "x"}, "v2": {"nope": 1}})
    assert (answer.status_code, "nope" in answer.text) == (400, True)
    assert custom(sandbox) == {}


def test_an_unknown_field_fails_its_records(pendo, sandbox):
    pendo.switch(unknown_field="record error")
    answer = pendo.write({"v1": {"plan": "x"}, "v2": {"nope": 1, "plan": "y"}}).json()
    assert (answer["updated"], answer["failed"], len(answer["errors"])) == (1, 1, 1)
    assert (custom(sandbox), custom(sandbox, "v2")) == ({"plan": "x"}, {})


@pytest.mark.parametrize(
    ("value", "type_name"),
    [("x", "string"), (1, "integer"), (1.5, "float"), (True, "boolean"), (["a"], "list"), (None, "")],
)
def test_an_unknown_field_is_created(pendo, sandbox, value, type_name):
    pendo.switch(unknown_field="create")
    assert pendo.write({"v1": {"Nope": value}}).json()["updated"] == 1
    assert pendo.get("/api/v1/metadata/schema/visitor").json()["custom"]["nope"]["Type"] == type_name
    assert custom(sandbox).get("nope") == value


def test_a_field_created_from_a_call_takes_the_first_value_for_its_type(pendo, sandbox):
    pendo.switch(unknown_field="create")
    assert pendo.write({"v1": {"nope": None}, "v2": {"nope": 5}}).json()["updated"] == 2
    assert pendo.get("/api/v1/metadata/schema/visitor").json()["custom"]["nope"]["Type"] == "integer"
    assert pendo.write({"v1": {"not valid": 1}}).status_code == 400


def test_an_unknown_field_is_discarded(pendo, sandbox):
    pendo.switch(unknown_field="discard")
    assert pendo.write({"v1": {"nope": 1, "plan": "x"}}).json()["updated"] == 1
    assert custom(sandbox) == {"plan": "x"}


def test_agent_fields_may_go_another_way(pendo, sandbox):
    pendo.switch(unknown_agent_field="create")
    assert pendo.write({"v1": {"nope": 1}}, group="agent").ok
    assert sandbox.visitors["v1"]["agent"] == {"nope": 1}
    assert pendo.write({"v1": {"nope": 1}}, group="custom").status_code == 400


# Types.

GOOD = [
    ("string", "é😀", "é😀"),
    ("string", "", ""),
    ("boolean", False, False),
    ("integer", -5, -5),
    ("integer", 2**63 - 1, 2**63 - 1),
    ("float", 1.5, 1.5),
    ("float", 2, 2),
    ("time", "2011-12-03T00:00:05Z", 1_322_870_405_000),
    ("time", "2006-01-02T15:04:05.999-05:00", 1_136_232_245_999),
    ("time", "2006-01-02T15:04:05.123456789+0530", 1_136_194_445_123),
    ("time", "1969-12-31T23:59:59.500Z", -500),
    ("date", "2011-12-03T00:00:05Z", 1_322_870_405_000),
    ("list", ["a", 1, True, 1.5], ["a", 1, True, 1.5]),
    ("list", [], []),
    ("", {"any": ["thing"]}, {"any": ["thing"]}),
]

BAD = [
    ("string", 1),
    ("string", True),
    ("string", ["a"]),
    ("boolean", "true"),
    ("boolean", 1),
    ("integer", True),
    ("integer", 1.5),
    ("integer", 1.0),
    ("integer", "1"),
    ("integer", 2**63),
    ("integer", 2**70),
    ("float", "1.5"),
    ("float", True),
    ("time", "2011-12-03T00:00:05"),
    ("time", "2011-12-03 00:00:05Z"),
    ("time", "2011-02-30T00:00:05Z"),
    ("time", "2011-12-03"),
    ("time", 1_322_870_405_000),
    ("time", "soon"),
    ("list", "a"),
    ("list", [["a"]]),
    ("list", [{"a": 1}]),
    ("list", [None]),
]


@pytest.mark.parametrize(("type_name", "value", "stored"), GOOD)
def test_values_that_fit(pendo, sandbox, type_name, value, stored):
    sandbox.add_field("visitor", "custom", "f", type_name)
    assert pendo.write({"v1": {"f": value}}).json()["updated"] == 1
    assert custom(sandbox) == {"f": stored}
    assert type(custom(sandbox)["f"]) is type(stored)
    assert pendo.get("/api/v1/visitor/v1").json()["metadata"]["custom"] == {"f": stored}


@pytest.mark.parametrize(("type_name", "value"), BAD)
def test_values_that_do_not_fit(pendo, sandbox, type_name, value):
    sandbox.add_field("visitor", "custom", "f", type_name)
    body = {"v1": {"plan": "x", "f": value}, "v2": {"plan": "y"}, "v3": {"f": value}}
    answer = pendo.write(body)
    assert answer.status_code == 200
    answer = answer.json()
    assert (answer["total"], answer["updated"], answer["failed"]) == (3, 1, 2)
    assert answer["missing"] == ["v3"]
    assert len(answer["errors"]) == 1
    assert (custom(sandbox), custom(sandbox, "v2")) == ({}, {"plan": "y"})
    pendo.switch(type_mismatch="refuse call")
    assert pendo.write({"v1": {"f": value}, "v2": {"plan": "z"}}).status_code == 400
    assert custom(sandbox, "v2") == {"plan": "y"}


def test_a_bad_record_is_not_created(pendo, sandbox):
    assert pendo.write({"new": {"seats": "x"}}, create=True).json()["failed"] == 1
    assert "new" not in sandbox.visitors


def test_time_switches(pendo, sandbox):
    sandbox.add_field("visitor", "custom", "f", "time")
    pendo.switch(accept_date_only=True)
    assert pendo.write({"v1": {"f": "1970-01-02"}}).json()["updated"] == 1
    assert custom(sandbox) == {"f": 86_400_000}
    pendo.switch(accept_epoch=True)
    assert pendo.write({"v1": {"f": 5}}).json()["updated"] == 1
    assert custom(sandbox) == {"f": 5}
    assert pendo.write({"v1": {"f": True}}).json()["failed"] == 1


def test_typed_lists(pendo, sandbox):
    sandbox.add_field("visitor", "custom", "f", "list", element_type="string")
    assert pendo.write({"v1": {"f": ["a"]}, "v2": {"f": ["a", 1]}}).json()["failed"] == 1


@pytest.mark.parametrize("form", ["named", "unnamed", "object"])
def test_error_items_switch(pendo, form):
    pendo.switch(error_items=form)
    (item,) = pendo.write({"v1": {"seats": "x"}, "v2": {}}).json()["errors"]
    if form == "object":
        assert item["visitorId"] == "v1"
    else:
        assert ("v1" in item, "seats" in item) == (form == "named", True)


@pytest.mark.parametrize(
    ("null", "failed", "left"),
    [("clear", 0, {"plan": "y"}), ("ignore", 0, {"plan": "y", "seats": 1}), ("error", 1, {"plan": "x", "seats": 1})],
)
def test_null_switch(pendo, sandbox, null, failed, left):
    pendo.write({"v1": {"plan": "x", "seats": 1}})
    pendo.switch(null=null)
    assert pendo.write({"v1": {"plan": "y", "seats": None}}).json()["failed"] == failed
    assert custom(sandbox) == left


@pytest.mark.parametrize(("policy", "left"), [("last wins", "b"), ("first wins", "a")])
def test_duplicate_ids(pendo, sandbox, policy, left):
    pendo.switch(duplicate_id=policy)
    items = [{"visitorId": "v1", "values": {"plan": plan}} for plan in "ab"]
    answer = pendo.write(items).json()
    assert (answer["total"], answer["updated"], answer["failed"]) == (2, 2, 0)
    assert custom(sandbox) == {"plan": left}


def test_duplicate_ids_can_refuse_the_call(pendo, sandbox):
    pendo.switch(duplicate_id="refuse call")
    assert pendo.write([{"visitorId": "v1", "values": {"plan": "x"}}] * 2).status_code == 400
    assert custom(sandbox) == {}


# Single values.


def one(record_id, field="plan", group="custom"):
    return f"/api/v1/metadata/visitor/{group}/value/{record_id}/{field}"


def test_a_single_value(pendo, sandbox):
    assert pendo.call("PUT", one("v1"), "pro").content == b""
    assert pendo.get(one("v1", "PLAN")).json() == "pro"
    assert pendo.call("PUT", one("v1"), data=b"null").status_code == 200
    assert custom(sandbox) == {}
    assert pendo.get(one("v1")).json() is None
    pendo.switch(undocumented_replies="json")
    assert pendo.call("PUT", one("v1"), "pro").json() == "pro"


def test_single_values_that_cannot_be(pendo):
    assert pendo.call("PUT", one("nobody"), "x").status_code == 404
    assert pendo.call("PUT", one("v1", "nope"), "x").status_code == 404
    assert pendo.call("PUT", one("v1", "seats"), "x").status_code == 400
    assert pendo.get(one("nobody")).status_code == 404
    assert pendo.get(one("v1", "nope")).status_code == 404


@pytest.mark.parametrize("record_id", ["a/b c", "ü😀", "100%", "?#"])
def test_odd_ids_in_paths(pendo, sandbox, record_id):
    sandbox.add_visitors([record_id])
    encoded = "".join(f"%{byte:02X}" for byte in record_id.encode())
    assert pendo.call("PUT", one(encoded), "x").status_code == 200
    assert custom(sandbox, record_id) == {"plan": "x"}
    coded = base64.urlsafe_b64encode(record_id.encode()).decode().rstrip("=")
    base64_ids = {"x-pendo-base64-encoded-params": "true"}
    assert pendo.get(one(coded), headers=base64_ids).json() == "x"
    answer = pendo.get(f"/api/v1/visitor/{coded}", headers=base64_ids).json()
    assert answer["metadata"]["auto"]["id"] == record_id
    assert pendo.get(one(coded)).status_code == 404
    assert pendo.get(one("%21%21"), headers=base64_ids).status_code == 400


def test_do_not_process(pendo, sandbox):
    event = {"type": "track", "event": "E", "visitorId": "v1", "timestamp": 1}
    assert pendo.call("PUT", one("v1", "donotprocess", "pendo"), True).status_code == 200
    assert pendo.track(event).status_code == 200
    assert sandbox.receipts[-1].ignored
    assert pendo.call("PUT", one("v1", "donotprocess", "pendo"), False).status_code == 200
    assert pendo.track(event).status_code == 200
    assert not sandbox.receipts[-1].ignored
