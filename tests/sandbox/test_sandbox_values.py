"""Writing metadata: bulk calls, single values, types, and what is wrong with them."""

import base64
import json

import pytest

PATH = "/api/v1/metadata/visitor/custom/value"


def test_a_bulk_write_reports_missing_ids_inside_a_200(pendo, sandbox):
    answer = pendo.write({"v1": {"plan": "pro"}, "V1": {"plan": "x"}, "v2": {"plan": "free", "seats": 3}})
    assert answer.status_code == 200
    assert answer.json() == {"total": 3, "updated": 2, "failed": 1, "missing": ["V1"], "kind": "visitor"}
    # Fields that are not sent keep their values.
    for values in ({"plan": "other"}, {}):
        assert set(pendo.write({"v2": values}).json()) == {"total", "updated", "failed", "kind"}
    assert (pendo.custom(), pendo.custom("v2")) == ({"plan": "pro"}, {"plan": "other", "seats": 3})
    assert set(sandbox.visitors) == {"v1", "v2"}
    pendo.switch(omit_empty_lists=False)
    answer = pendo.write({"v1": {}}).json()
    assert (answer["missing"], answer["errors"]) == ([], [])


def test_a_bulk_write_of_more_than_five_minutes_is_a_408(pendo, sandbox):
    pendo.switch(bulk_write_seconds=0.02, latency_ms=(60_000.0, 60_000.0))
    answer = pendo.write({"v1": {"plan": "pro"}})
    assert (answer.status_code, answer.json()) == (408, {"error": "the call took too long"})
    # Pendo may have gone on with it.
    assert pendo.custom() == {"plan": "pro"}
    pendo.switch(latency_ms=(30.0, 30.0))
    assert [pendo.call("PUT", f"{PATH}/v1/plan", "x").status_code, pendo.verify()] == [200, 200]


def test_create_makes_missing_records(pendo, sandbox):
    answer = pendo.write({"v1": {"plan": "a"}, "new": {"plan": "b"}}, create=True).json()
    assert answer == {"total": 2, "updated": 2, "failed": 0, "kind": "visitor"}
    assert (pendo.custom("new"), sandbox.visitors["new"]["auto"]["id"]) == ({"plan": "b"}, "new")
    pendo.switch(created_counts_as_updated=False)
    answer = pendo.write({"v1": {"plan": "a"}, "newer": {"plan": "b"}}, create=True).json()
    assert answer == {"total": 2, "updated": 1, "failed": 0, "kind": "visitor"}


def test_accounts_and_parent_accounts(pendo, sandbox):
    for kind, record_id in (("account", "a1"), ("parentAccount", "p1")):
        answer = pendo.write({record_id: {"plan": "x"}, "no": {}}, kind=kind).json()
        assert answer == {"total": 2, "updated": 1, "failed": 1, "missing": ["no"], "kind": kind}
        assert {**sandbox.accounts, **sandbox.parent_accounts}[record_id]["custom"] == {"plan": "x"}
    items = [{"accountId": "p1", "values": {"plan": "x"}}]
    assert pendo.write(items, kind="parentAccount").status_code == 400
    pendo.switch(parent_account_id_key="accountId")
    assert pendo.write(items, kind="parentAccount").json()["updated"] == 1


@pytest.mark.parametrize(
    "body",
    [
        *({}, "text", None, ["x"], [{"values": {}}], [{"visitorId": "v1"}], [{"visitorId": 5, "values": {}}]),
        *([{"visitorId": "", "values": {}}], [{"visitorId": "v1", "values": []}]),
        [{"visitorId": "v1", "values": {"plan": "x"}}, {"accountId": "v2", "values": {}}],
        *(b"[{", b"", b'[{"visitorId":"v1","values":{"seats":NaN}}]', b"\xff"),
    ],
    ids=str,
)
def test_unacceptable_bodies_write_nothing(pendo, body):
    data = body if isinstance(body, bytes) else json.dumps(body)
    answer = pendo.call("POST", PATH, headers={"Content-Type": "application/json"}, data=data)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (400, "application/json")
    assert "malformed JSON" in answer.text or ("unacceptable" in answer.text and not isinstance(body, bytes))
    assert pendo.custom() == {}
    for group in ("auto", "salesforce"):
        statuses = [pendo.write({"v1": {"id": "x"}}, group=group), pendo.call("PUT", one("v1", "id", group), "x")]
        assert [answer.status_code for answer in statuses] == [400, 400]


def test_an_undeclared_agent_field_refuses_the_call_fails_its_records_is_discarded_or_created(pendo, sandbox):
    sandbox.add_field("visitor", "agent", "plan", "string")

    def write(items):
        return pendo.write(items, group="agent")

    def held(visitor="v1"):
        return sandbox.visitors[visitor]["agent"]

    items = {"v1": {"plan": "x"}, "v2": {"nope": 1, "plan": "y"}}
    pendo.switch(unknown_agent_field="refuse call")
    answer = write(items)
    assert (answer.status_code, "nope" in answer.text) == (400, True)
    assert (held(), held("v2")) == ({}, {})
    pendo.switch(unknown_agent_field="record error")
    answer = write(items).json()
    assert (answer["updated"], answer["failed"], len(answer["errors"])) == (1, 1, 1)
    assert (held(), held("v2")) == ({"plan": "x"}, {})
    pendo.switch(unknown_agent_field="discard")
    assert write(items).json()["updated"] == 2
    assert held("v2") == {"plan": "y"}
    pendo.switch(unknown_agent_field="create")
    assert write({"v1": {"nope": 1}}).ok
    assert held() == {"plan": "x", "nope": 1}


@pytest.mark.parametrize("value", ["x", 1, 1.5, True, ["a"], None])
def test_an_undeclared_custom_field_is_created_without_a_type(pendo, value):
    assert pendo.write({"v1": {"Nope": value}}).json()["updated"] == 1
    assert pendo.get("/api/v1/metadata/schema/visitor").json()["custom"]["nope"]["Type"] == ""
    assert pendo.custom().get("nope") == value
    assert pendo.write({"v1": {"not valid": 1}}).status_code == 400


SAME = {
    **{"string": ["é😀", ""], "boolean": [False], "integer": [-5, 2**63 - 1], "float": [1.5, 2]},
    **{"list": [["a", 1, True, 1.5], []], "": [{"any": ["thing"]}]},
}
GOOD = [
    *((name, value, value) for name, values in SAME.items() for value in values),
    ("time", "2011-12-03T00:00:05Z", 1_322_870_405_000),
    ("time", "2006-01-02T15:04:05.999-05:00", 1_136_232_245_999),
    ("time", "2006-01-02T15:04:05.123456789+0530", 1_136_194_445_123),
    ("time", "1969-12-31T23:59:59.500Z", -500),
    ("date", "2011-12-03T00:00:05Z", 1_322_870_405_000),
    *(
        ("time", f"2011-12-03{mark}00:00:05{fraction}{zone}", 1_322_870_405_000 + extra - hours * 3_600_000)
        for mark in "T "
        for fraction, extra in (("", 0), (".250", 250))
        for zone, hours in (("-0700", -7), ("+02:00", 2), ("Z", 0), ("", 0))
    ),
    ("time", "12/03/2011 00:00:05", 1_322_870_405_000),
    ("time", "12/3/11 1:00 PM", 1_322_917_200_000),
    ("time", 1_322_870_405, 1_322_870_405_000),
    ("time", 1_322_870_405_000, 1_322_870_405_000),
]

BAD = {
    "string": [1, True, ["a"]],
    "boolean": ["true", 1],
    "integer": [True, 1.5, 1.0, "1", 2**63, 2**70],
    "float": ["1.5", True],
    "time": ["2011-02-30T00:00:05Z", "2011-02-30 00:00:05", "2011-12-03", "03.12.2011", "soon", 1.5, True, 2**70],
    "list": ["a", [["a"]], [{"a": 1}], [None]],
}


@pytest.mark.parametrize(("type_name", "value", "stored"), GOOD)
def test_values_that_fit(pendo, sandbox, type_name, value, stored):
    sandbox.add_field("visitor", "custom", "f", type_name)
    assert pendo.write({"v1": {"f": value}}).json()["updated"] == 1
    assert pendo.custom() == {"f": stored}
    assert type(pendo.custom()["f"]) is type(stored)
    assert pendo.get("/api/v1/visitor/v1").json()["metadata"]["custom"] == {"f": stored}


@pytest.mark.parametrize(("type_name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_values_that_do_not_fit(pendo, sandbox, type_name, value):
    sandbox.add_field("visitor", "custom", "f", type_name)
    document = pendo.write({"v1": {"plan": "x", "f": value}, "v2": {"plan": "y"}, "v3": {"f": value}}).json()
    assert len(document.pop("errors")) == 1
    assert document == {"total": 3, "updated": 1, "failed": 2, "missing": ["v3"], "kind": "visitor"}
    assert (pendo.custom(), pendo.custom("v2")) == ({}, {"plan": "y"})
    # Nor is a bad record created.
    assert pendo.write({"new": {"f": value}}, create=True).json()["failed"] == 1
    assert "new" not in sandbox.visitors
    pendo.switch(type_mismatch="refuse call")
    assert pendo.write({"v1": {"f": value}, "v2": {"plan": "z"}}).status_code == 400
    assert pendo.custom("v2") == {"plan": "y"}


def test_switches_of_times_lists_and_errors(pendo, sandbox):
    sandbox.add_field("visitor", "custom", "f", "time")
    pendo.switch(accept_date_only=True)
    assert pendo.write({"v1": {"f": "1970-01-02"}}).json()["updated"] == 1
    assert pendo.custom() == {"f": 86_400_000}
    assert pendo.write({"v1": {"f": True}}).json()["failed"] == 1
    sandbox.add_field("visitor", "custom", "texts", "list", element_type="string")
    assert pendo.write({"v1": {"texts": ["a"]}, "v2": {"texts": ["a", 1]}}).json()["failed"] == 1
    for form, names in (("named", True), ("unnamed", False), ("object", True)):
        pendo.switch(error_items=form)
        (error,) = pendo.write({"v1": {"seats": "x"}, "v2": {}}).json()["errors"]
        assert (isinstance(error, dict), "v1" in str(error), "seats" in str(error)) == (form == "object", names, True)
    assert error["visitorId"] == "v1"


def test_switches_of_nulls_and_of_ids_that_come_twice(pendo):
    for null, failed, left in (("error", 1, {"seats": 1}), ("ignore", 0, {"seats": 1}), ("clear", 0, {})):
        pendo.switch(null=null)
        pendo.write({"v1": {"plan": "x", "seats": 1}})
        assert pendo.write({"v1": {"plan": "y", "seats": None}}).json()["failed"] == failed
        assert pendo.custom() == {"plan": "x" if failed else "y", **left}
    for policy, left in (("last wins", "b"), ("first wins", "a")):
        pendo.switch(duplicate_id=policy)
        answer = pendo.write([{"visitorId": "v1", "values": {"plan": plan}} for plan in "ab"])
        assert answer.json() == {"total": 2, "updated": 2, "failed": 0, "kind": "visitor"}
        assert pendo.custom() == {"plan": left}
    pendo.switch(duplicate_id="refuse call")
    assert pendo.write([{"visitorId": "v1", "values": {"plan": "z"}}] * 2).status_code == 400
    assert pendo.custom() == {"plan": "a"}


def one(record_id, field="plan", group="custom"):
    return f"/api/v1/metadata/visitor/{group}/value/{record_id}/{field}"


def test_a_single_value(pendo, sandbox):
    assert pendo.call("PUT", one("v1"), "pro").content == b""
    assert pendo.get(one("v1", "PLAN")).json() == "pro"
    assert pendo.call("PUT", one("v1"), data=b"null").status_code == 200
    assert (pendo.custom(), pendo.get(one("v1")).json()) == ({}, None)
    pendo.switch(undocumented_replies="json")
    assert pendo.call("PUT", one("v1"), "pro").json() == "pro"
    wrong = {one("nobody"): 404, one("v1", "nope"): 404, one("v1", "seats"): 400}
    assert {path: pendo.call("PUT", path, "x").status_code for path in wrong} == wrong
    assert [pendo.get(path).status_code for path in wrong] == [404, 404, 200]
    # A visitor's events may be ignored.
    for marked in (True, False):
        assert pendo.call("PUT", one("v1", "donotprocess", "pendo"), marked).status_code == 200
        assert pendo.track({"type": "track", "event": "E", "visitorId": "v1", "timestamp": 1}).status_code == 200
        assert sandbox.receipts[-1].ignored is marked


@pytest.mark.parametrize("record_id", ["a/b c", "ü😀", "100%", "?#"])
def test_odd_ids_in_paths(pendo, sandbox, record_id):
    sandbox.add_visitors([record_id])
    encoded = "".join(f"%{byte:02X}" for byte in record_id.encode())
    assert pendo.call("PUT", one(encoded), "x").status_code == 200
    assert pendo.custom(record_id) == {"plan": "x"}
    coded = "b64_" + base64.urlsafe_b64encode(record_id.encode()).decode().rstrip("=")
    base64_ids = {"x-pendo-base64-encoded-params": "true"}
    assert pendo.get(one(coded), headers=base64_ids).json() == "x"
    answer = pendo.get(f"/api/v1/visitor/{coded}", headers=base64_ids).json()
    assert answer["metadata"]["auto"]["id"] == record_id
    assert pendo.get(one(coded)).status_code == 404
    assert pendo.get(one("b64_%21%21"), headers=base64_ids).status_code == 400


def test_a_guide_exclude_list_that_pendo_has_not_enabled(pendo, sandbox):
    path = one("v1", "blacklistguides", "pendo")
    for state, status in (("off", 404), ("off, 403", 403), ("on", 200)):
        pendo.switch(guide_exclusion=state)
        assert pendo.call("PUT", path, True).status_code == status
    assert sandbox.visitors["v1"]["pendo"] == {"blacklistguides": True}


def test_a_record_that_comes_back_after_its_deletion(pendo, sandbox):
    pendo.post("/api/v1/bulkdelete/visitor", {"visitors": ["v1"]})
    assert "v1" not in sandbox.visitors
    pendo.switch(deleted_records="missing")
    assert pendo.write({"v1": {"plan": "x"}}, create=True).json()["missing"] == ["v1"]
    pendo.switch(deleted_records="written")
    assert pendo.write({"v1": {"plan": "x"}}, create=True).json()["updated"] == 1
    assert sandbox.visitors["v1"]["pendo"] == {"donotprocess": True}
    assert pendo.get(one("v1", "donotprocess", "pendo")).json() is True
    assert pendo.call("PUT", one("v1", "donotprocess", "pendo"), False).status_code == 200
    assert sandbox.visitors["v1"]["pendo"] == {"donotprocess": False}


def test_a_value_of_the_wrong_type_may_be_dropped_in_silence(pendo):
    pendo.switch(type_mismatch="discard")
    answer = pendo.write({"v1": {"plan": "x", "seats": "many"}, "v2": {"seats": 1.5}}).json()
    assert (answer["updated"], answer["failed"]) == (2, 0)
    assert (pendo.custom("v1"), pendo.custom("v2")) == ({"plan": "x"}, {})
