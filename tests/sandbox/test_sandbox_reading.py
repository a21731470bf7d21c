"""Reading back and deleting."""

from __future__ import annotations

import time

import pytest

AGGREGATION = "/api/v1/aggregation"


def run(pendo, *stages, source="visitors", options=None):
    pipeline = [{"source": {source: options}}, *stages]
    body = {"response": {"mimeType": "application/json"}, "request": {"requestId": "r", "pipeline": pipeline}}
    return pendo.post(AGGREGATION, body)


def ids(pendo, *stages, key="visitorId", **more):
    answer = run(pendo, *stages, **more)
    assert answer.status_code == 200, answer.text
    return [row[key] for row in answer.json()["results"]]


def test_one_record(pendo, sandbox):
    pendo.write({"v1": {"plan": "pro"}})
    metadata = pendo.get("/api/v1/visitor/v1").json()["metadata"]
    assert metadata["custom"] == {"plan": "pro"}
    assert metadata["agent"] == {}
    assert metadata["auto"]["id"] == "v1"
    assert metadata["auto"]["lastupdated"] <= time.time() * 1000
    assert pendo.get("/api/v1/account/a1").status_code == 200
    assert pendo.get("/api/v1/visitor/V1").status_code == 404
    assert pendo.get("/api/v1/account/v1").status_code == 404


def test_rows_have_metadata(pendo):
    pendo.write({"v1": {"plan": "pro"}})
    answer = run(pendo).json()
    assert isinstance(answer["startTime"], int)
    row = next(row for row in answer["results"] if row["visitorId"] == "v1")
    assert row["metadata"]["custom"] == {"plan": "pro"}
    assert ids(pendo, source="accounts", key="accountId") == ["a1"]


def test_anonymous_visitors_are_left_out_when_asked(pendo, sandbox):
    sandbox.add_visitors(["_PENDO_T_abc", "VISITOR-UNIQUE-ID"])
    assert len(ids(pendo)) == 4
    assert set(ids(pendo, options={"identified": True})) == {"v1", "v2"}


def test_pages_by_key(pendo, sandbox):
    expected = [*"Zaé😀", 'q"uote', "back\\slash", "&& and", "v1", "v2"]
    sandbox.add_visitors(reversed(expected))
    found, last = [], ""
    while True:
        literal = '"' + last.replace("\\", "\\\\").replace('"', '\\"') + '"'
        page = ids(pendo, {"sort": ["visitorId"]}, {"filter": f"visitorId>{literal}"}, {"limit": 2})
        if not page:
            break
        found += page
        last = page[-1]
    assert found == sorted(expected)


def test_nothing_is_sorted_unless_asked(pendo, sandbox):
    sandbox.add_visitors(["b", "a"])
    assert ids(pendo) == ["v1", "v2", "b", "a"]
    assert ids(pendo, {"sort": ["visitorId"]}) == ["a", "b", "v1", "v2"]
    assert ids(pendo, {"sort": ["-visitorId"]}) == ["v2", "v1", "b", "a"]


def test_what_comes_and_goes_between_two_pages_is_sorted_in(pendo):
    in_order = {"sort": ["visitorId"]}
    assert ids(pendo, in_order) == ["v1", "v2"]
    pendo.write({"v11": {}}, create=True)
    assert ids(pendo, in_order) == ["v1", "v11", "v2"]
    pendo.post("/api/v1/bulkdelete/visitor", {"visitors": ["v1"]})
    assert ids(pendo, in_order) == ["v11", "v2"]


def test_sort_and_filter_by_values(pendo, sandbox):
    sandbox.reset()
    sandbox.add_visitors({k: {"custom": {"seats": n, "plan": "x"}} for k, n in {"a": 3, "b": 1, "c": 2}.items()})
    sandbox.add_visitors(["d"])
    path = "metadata.custom.seats"
    assert ids(pendo, {"sort": [path]}) == ["d", "b", "c", "a"]
    assert ids(pendo, {"sort": ["metadata.custom.plan", f"-{path}"]}) == ["d", "a", "c", "b"]
    cases = {">= 2": "ac", "<2": "b", "== 2": "c", "!=2": "abd", "<= 2.5": "bc", "> 9": "", "== null": "d"}
    for condition, expected in cases.items():
        assert ids(pendo, {"filter": f"{path} {condition}"}) == list(expected)
    both = f'{path}>=2 && visitorId != "a"'
    assert ids(pendo, {"filter": both}) == ["c"]


def test_an_incremental_filter(pendo, sandbox):
    sandbox.add_visitors({"old": {"auto": {"lastupdated": 1000}}, "new": {"auto": {"lastupdated": 2000}}})
    assert "old" not in ids(pendo, {"filter": "metadata.auto.lastupdated >= 2000"})
    assert "new" in ids(pendo, {"filter": "metadata.auto.lastupdated >= 2000"})


def test_count_select_segment(pendo, sandbox):
    pendo.write({"v1": {"plan": "pro"}})
    segment = sandbox.add_segment("S", ["v1", "nobody"])
    assert run(pendo, {"count": None}).json()["results"] == [{"count": 2}]
    assert ids(pendo, {"segment": {"id": segment}}) == ["v1"]
    select = {"select": {"who": "visitorId", "plan": "metadata.custom.plan"}}
    assert run(pendo, {"limit": 1}, select).json()["results"] == [{"who": "v1", "plan": "pro"}]


@pytest.mark.parametrize(
    "stage",
    [
        {"group": {}},
        {"filter": 'contains(visitorId, "x")'},
        {"filter": "visitorId >"},
        {"filter": 'visitorId > "x" &&'},
        {"filter": 'visitorId > "x" and more'},
        {"limit": "10"},
        {"sort": "visitorId"},
        {"limit": 1, "sort": ["visitorId"]},
        "limit",
    ],
)
def test_stages_not_understood_are_400(pendo, stage):
    answer = run(pendo, stage)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (400, "text/plain")


@pytest.mark.parametrize(
    "body",
    [{}, [], {"request": {}}, {"request": {"pipeline": []}}, {"request": {"pipeline": [{"source": {"events": None}}]}}],
)
def test_no_pipeline_is_400(pendo, body):
    assert pendo.post(AGGREGATION, body).status_code == 400
    assert run(pendo, options={"blacklist": "apply"}).status_code == 400


def test_reading_may_lag_behind(pendo, sandbox):
    pendo.write({"v1": {"plan": "old"}})
    pendo.switch(read_lag_seconds=60)
    pendo.write({"v1": {"plan": "new"}, "v3": {"plan": "new"}}, create=True)
    pendo.post("/api/v1/bulkdelete/visitor", {"visitors": ["v2"]})
    assert set(sandbox.visitors) == {"v1", "v3"}
    assert pendo.get("/api/v1/visitor/v1").json()["metadata"]["custom"] == {"plan": "old"}
    assert pendo.get("/api/v1/visitor/v3").status_code == 404
    assert ids(pendo, {"sort": ["visitorId"]}) == ["v1", "v2"]


def test_the_lag_ends(pendo):
    pendo.switch(read_lag_seconds=0.1)
    pendo.write({"v1": {"plan": "new"}})
    deadline = time.monotonic() + 20
    while pendo.get("/api/v1/visitor/v1").json()["metadata"]["custom"] != {"plan": "new"}:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Deletion.


@pytest.mark.parametrize(("kind", "record_id"), [("visitor", "v1"), ("account", "a1")])
def test_bulk_delete(pendo, sandbox, kind, record_id):
    answer = pendo.post(f"/api/v1/bulkdelete/{kind}", {f"{kind}s": [record_id, "nobody"]}).json()
    assert pendo.get(f"/api/v1/{kind}/{record_id}").status_code == 404
    assert pendo.get(f"/api/v1/bulkdelete/{answer['id']}").json()["status"] == "complete"
    assert [d["id"] for d in pendo.get("/api/v1/bulkdelete").json()] == [answer["id"]]
    # Marked Do Not Process: not even create brings it back.
    assert pendo.write({record_id: {}}, kind=kind, create=True).json()["missing"] == [record_id]


def test_events_of_the_deleted_are_taken_and_dropped(pendo, sandbox):
    pendo.post("/api/v1/bulkdelete/visitor", {"visitors": ["v1"]})
    event = {"type": "track", "event": "E", "visitorId": "v1", "timestamp": 1}
    assert pendo.track(event).status_code == 200
    assert (sandbox.receipts[0].ignored, "v1" in sandbox.visitors) == (True, False)
    assert pendo.get("/api/v1/tracktype").json() == []


def test_deletion_may_take_for_ever(pendo, sandbox):
    pendo.switch(deletion_seconds=None)
    answer = pendo.post("/api/v1/bulkdelete/visitor", {"visitors": ["v1"]}).json()
    assert answer["status"] == "queued"
    assert pendo.get("/api/v1/visitor/v1").status_code == 200
    assert "v1" in sandbox.visitors


def test_deletion_may_take_a_while(pendo, sandbox):
    pendo.switch(deletion_seconds=0.1)
    answer = pendo.post("/api/v1/bulkdelete/visitor", {"visitors": ["v1"]}).json()
    assert answer["status"] == "queued"
    deadline = time.monotonic() + 20
    while pendo.get("/api/v1/visitor/v1").status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert pendo.get(f"/api/v1/bulkdelete/{answer['id']}").json()["status"] == "complete"


def test_deletion_may_fail_in_the_end(pendo, sandbox):
    pendo.switch(deletion_seconds=None, deletion_end="failed")
    job = pendo.post("/api/v1/bulkdelete/visitor", {"visitors": ["v1"]}).json()["id"]
    event = {"type": "track", "event": "E", "visitorId": "v1", "timestamp": 1}
    pendo.track(event)
    pendo.switch(deletion_seconds=0)
    assert pendo.get(f"/api/v1/bulkdelete/{job}").json()["status"] == "failed"
    assert "v1" in sandbox.visitors
    # And the mark is off.
    pendo.track(event)
    assert [receipt.ignored for receipt in sandbox.receipts] == [True, False]


@pytest.mark.parametrize(
    "body", [{}, [], {"visitors": []}, {"visitors": [1]}, {"accounts": ["a1"]}, {"visitors": ["x"] * 501}]
)
def test_bad_deletions(pendo, sandbox, body):
    assert pendo.post("/api/v1/bulkdelete/visitor", body).status_code == 400
    assert pendo.get("/api/v1/bulkdelete/none").status_code == 404


def test_500_ids_can_be_deleted_at_once(pendo):
    assert pendo.post("/api/v1/bulkdelete/visitor", {"visitors": [str(i) for i in range(500)]}).ok
