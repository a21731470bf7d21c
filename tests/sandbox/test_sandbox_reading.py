"""Reading back."""

import time

AGGREGATION = "/api/v1/aggregation"
DELETION = "/api/v1/bulkdelete/visitor"


def run(pendo, *stages, source="visitors", options=None):
    pipeline = [{"source": {source: options}}, *stages]
    return pendo.post(AGGREGATION, {"response": {"mimeType": "application/json"}, "request": {"pipeline": pipeline}})


def results(pendo, *stages, **more):
    answer = run(pendo, *stages, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def ids(pendo, *stages, **more):
    return [row["visitorId"] for row in results(pendo, *stages, **more)]


def custom_of(pendo, visitor):
    return pendo.get(f"/api/v1/visitor/{visitor}").json()["metadata"]["custom"]


def test_one_record_alone_and_among_others(pendo):
    before = time.time() * 1000
    pendo.write({"v1": {"plan": "pro"}})
    metadata = pendo.get("/api/v1/visitor/v1").json()["metadata"]
    assert (metadata["custom"], metadata["agent"], metadata["auto"]["id"]) == ({"plan": "pro"}, {}, "v1")
    assert before - 1 <= metadata["auto"]["lastupdated"] <= time.time() * 1000
    paths = ("account/a1", "visitor/V1", "account/v1")
    assert [pendo.get(f"/api/v1/{path}").status_code for path in paths] == [200, 404, 404]
    answer = run(pendo).json()
    assert isinstance(answer["startTime"], int)
    assert next(row for row in answer["results"] if row["visitorId"] == "v1")["metadata"]["custom"] == {"plan": "pro"}
    assert [row["accountId"] for row in results(pendo, source="accounts")] == ["a1"]


def test_pages_by_key(pendo, sandbox):
    sandbox.add_visitors(["_PENDO_T_abc", "VISITOR-UNIQUE-ID"])
    assert (len(ids(pendo)), set(ids(pendo, options={"identified": True}))) == (4, {"v1", "v2"})
    sandbox.reset()
    expected = [*"Zaé😀", 'q"uote', "back\\slash", "&& and", "v1", "v2"]
    sandbox.add_visitors(reversed(expected))
    found, page = [], [""]
    while page:
        literal = '"' + page[-1].replace("\\", "\\\\").replace('"', '\\"') + '"'
        page = ids(pendo, {"sort": ["visitorId"]}, {"filter": f"visitorId>{literal}"}, {"limit": 2})
        found += page
    assert found == sorted(expected)


def test_sort_and_filter(pendo, sandbox):
    # What comes and goes between two pages is sorted in if asked.
    pendo.write({"v11": {}, "a": {}}, create=True)
    assert ids(pendo) == ["v1", "v2", "v11", "a"]
    assert ids(pendo, {"sort": ["-visitorId"]}) == ["v2", "v11", "v1", "a"]
    pendo.post(DELETION, {"visitors": ["v1"]})
    assert ids(pendo, {"sort": ["visitorId"]}) == ["a", "v11", "v2"]
    # And by values.
    sandbox.reset()
    sandbox.add_visitors({k: {"custom": {"seats": n, "plan": "x"}} for k, n in {"a": 3, "b": 1, "c": 2}.items()})
    sandbox.add_visitors({"d": {"auto": {"lastupdated": 1000}}})
    path = "metadata.custom.seats"
    assert ids(pendo, {"sort": [path]}) == ["d", "b", "c", "a"]
    assert ids(pendo, {"sort": ["metadata.custom.plan", f"-{path}"]}) == ["d", "a", "c", "b"]
    cases = {">= 2": "ac", "<2": "b", "== 2": "c", "!=2": "abd", "<= 2.5": "bc", "> 9": "", "== null": "d"}
    found = {condition: "".join(ids(pendo, {"filter": f"{path} {condition}"})) for condition in cases}
    assert found == cases
    assert ids(pendo, {"filter": f'{path}>=2 && visitorId != "a"'}) == ["c"]
    assert ids(pendo, {"filter": "metadata.auto.lastupdated >= 2000"}) == ["a", "b", "c"]


def test_count_select_segment(pendo, sandbox):
    pendo.write({"v1": {"plan": "pro"}})
    segment = sandbox.add_segment("S", ["v1", "nobody"])
    assert results(pendo, {"count": None}) == [{"count": 2}]
    assert ids(pendo, {"segment": {"id": segment}}) == ["v1"]
    select = {"select": {"who": "visitorId", "plan": "metadata.custom.plan"}}
    assert results(pendo, {"limit": 1}, select) == [{"who": "v1", "plan": "pro"}]


def test_what_is_no_pipeline_is_400(pendo):
    for stage in [
        *({"group": {}}, {"limit": "10"}, {"sort": "visitorId"}, {"limit": 1, "sort": ["visitorId"]}, "limit"),
        *({"filter": "visitorId >"}, {"filter": 'visitorId > "x" &&'}, {"filter": 'visitorId > "x" and more'}),
        {"filter": 'contains(visitorId, "x")'},
    ]:
        answer = run(pendo, stage)
        assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (400, "text/plain")
    for body in ({}, [], {"request": {}}, {"request": {"pipeline": []}}):
        assert pendo.post(AGGREGATION, body).status_code == 400
    for source in ({"source": "events"}, {"options": {"blacklist": "apply"}}):
        assert run(pendo, **source).status_code == 400


def test_reading_may_lag_behind(pendo, sandbox):
    pendo.switch(read_lag_seconds=0.1)
    pendo.write({"v1": {"plan": "old"}})
    pendo.until(lambda: custom_of(pendo, "v1") == {"plan": "old"})
    pendo.switch(read_lag_seconds=60)
    pendo.write({"v1": {"plan": "new"}, "v3": {"plan": "new"}}, create=True)
    pendo.post(DELETION, {"visitors": ["v2"]})
    assert set(sandbox.visitors) == {"v1", "v3"}
    assert custom_of(pendo, "v1") == {"plan": "old"}
    assert pendo.get("/api/v1/visitor/v3").status_code == 404
    assert ids(pendo, {"sort": ["visitorId"]}) == ["v1", "v2"]
