"""Reading back."""

import time

import pytest

EVENT = {"type": "track", "event": "E", "visitorId": "v1", "timestamp": 1}
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
    sandbox.add_visitors(["_PENDO_T_abc", "PENDO_Tabc", "VISITOR-UNIQUE-ID", "VISITOR-UNIQUE-IDS"])
    known = {"v1", "v2", "VISITOR-UNIQUE-IDS"}
    assert (len(ids(pendo)), set(ids(pendo, options={"identified": True}))) == (6, known)
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


def test_stages_run_in_their_order(pendo, sandbox):
    pendo.write({"v1": {"plan": "pro"}})
    segment = sandbox.add_segment("S", ["v1", "nobody"])
    assert results(pendo, {"count": None}) == [{"count": 2}]
    assert ids(pendo, {"segment": {"id": segment}}) == ["v1"]
    select = {"select": {"who": "visitorId", "plan": "metadata.custom.plan"}}
    assert results(pendo, {"limit": 1}, select) == [{"who": "v1", "plan": "pro"}]
    # Each sees the rows that the one before has made.
    more = [{"sort": ["-who"]}, {"filter": "isNull(plan)"}, {"select": {"length": "len(who)", "who": "who"}}]
    assert results(pendo, select, *more) == [{"length": 2, "who": "v2"}]
    assert results(pendo, select, {"filter": 'plan == "pro"'}, {"count": None}) == [{"count": 1}]
    assert results(pendo, {"count": None}, {"select": {"n": "count"}}, {"filter": "n > 1"}) == [{"n": 2}]
    assert results(pendo, {"limit": 1}, {"count": None}, {"count": None}) == [{"count": 1}]
    assert results(pendo, {"filter": 'visitorId > "v1"'}, {"limit": 0}, {"count": None}) == [{"count": 0}]
    # What is limited before it is sorted is another row than what is sorted before it is limited.
    assert ids(pendo, {"limit": 1}, {"sort": ["-visitorId"]}) == ["v1"]
    assert ids(pendo, {"sort": ["-visitorId"]}, {"limit": 1}) == ["v2"]
    assert results(pendo, {"select": {"visitorId": "visitorId"}}, {"segment": {"id": segment}}) == [{"visitorId": "v1"}]


EXPRESSIONS = {
    'plan == "pro" || seats == 2': "ac",
    'plan == "pro" && seats == 3 || seats == 2': "ac",
    'plan == "pro" && (seats == 1 || seats == 2)': "",
    '!(plan == "pro")': "bcd",
    "!isNull(seats) && seats != 1": "ac",
    "isNull(plan)": "d",
    "len(plan) == 4": "b",
    "len(tags) > 0": "b",
    'contains(plan, "re")': "b",
    'contains(tags, "x y")': "b",
    'contains(seats, "1")': "",
    "active": "a",
    "active == false": "b",
    "seats == true": "",
    "seats > -1.5e0 && seats < 2": "b",
    'seats < "x"': "",
    '"pro" == plan': "a",
    "tags != null": "b",
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions(pendo, sandbox, expression):
    sandbox.reset()
    rows = {"a": {"plan": "pro", "seats": 3, "active": True}, "c": {"plan": "x", "seats": 2}, "d": {}}
    rows["b"] = {"plan": "free", "seats": 1, "active": False, "tags": ["x y"]}
    sandbox.add_visitors({key: {"custom": values} for key, values in rows.items()})
    columns = {name: f"metadata.custom.{name}" for name in ("plan", "seats", "active", "tags")}
    select = {"select": {"visitorId": "visitorId", **columns}}
    found = ids(pendo, {"sort": ["visitorId"]}, select, {"filter": expression})
    assert "".join(found) == EXPRESSIONS[expression]


def test_what_is_no_pipeline_is_400(pendo):
    for stage in [
        *({"group": {}}, {"limit": "10"}, {"sort": "visitorId"}, {"limit": 1, "sort": ["visitorId"]}, "limit"),
        *({"filter": "visitorId >"}, {"filter": 'visitorId > "x" &&'}, {"filter": 'visitorId > "x" and more'}),
        *({"filter": 'lower(visitorId) == "x"'}, {"filter": "len()"}, {"filter": "len(a, b)"}, {"filter": "(a == 1"}),
        *({"filter": "visitorId ~ 1"}, {"filter": '"unended'}, {"filter": '"\\q" == a'}, {"select": {"a": "b +"}}),
        *(
            {"filter": ""},
            {"filter": "a == 1)"},
            {"filter": "a + 1 == 2"},
            {"select": {}},
            {"source": {"visitors": None}},
        ),
    ]:
        answer = run(pendo, stage)
        assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (400, "application/json"), stage
    for body in ({}, [], {"request": {}}, {"request": {"pipeline": []}}, {"request": {"pipeline": [{"source": 1}]}}):
        assert pendo.post(AGGREGATION, body).status_code == 400
    for source in ({"visitors": None, "timeSeries": {"period": "dayRange"}}, {"visitors": None, "accounts": None}, {}):
        assert pendo.post(AGGREGATION, {"request": {"pipeline": [{"source": source}]}}).status_code == 400
    assert run(pendo, source="events").status_code == 400
    wrong = [
        *({"blacklist": "yes"}, {"blacklist": []}, {"identified": "true"}, {"since": "2d"}, {"timeSeries": {}}),
        *({"appId": "all"}, {"appId": []}, {"appId": None}, {"appId": "expandAppIds(x)"}, {"appId": [1.5]}, []),
    ]
    for options in wrong:
        assert run(pendo, options=options).status_code == 400, options


def test_the_exclude_list_hides(pendo, sandbox):
    pendo.switch(exclude_list_option="taken")
    sandbox.exclude_visitors(["v2", "nobody"])
    pendo.call("POST", "/_sandbox/seed", {"excludedAccounts": ["a1"]})
    assert (ids(pendo), ids(pendo, options={"blacklist": "apply"})) == (["v1"], ["v1"])
    assert ids(pendo, options={"blacklist": "ignore"}) == ["v1", "v2"]
    assert ids(pendo, options={"blacklist": "only", "identified": True}) == ["v2"]
    assert (results(pendo, source="accounts"), results(pendo, {"count": None})) == ([], [{"count": 1}])
    assert len(results(pendo, source="accounts", options={"blacklist": "only"})) == 1
    pendo.switch(exclude_list_option="ignored")
    assert [ids(pendo, options={"blacklist": word}) for word in ("ignore", "only")] == [["v1"], ["v1"]]
    pendo.switch(exclude_list_option="refused")
    assert [run(pendo, options={"blacklist": word}).status_code for word in ("apply", "only")] == [400, 400]
    assert ids(pendo) == ["v1"]


def test_who_is_not_processed_is_in_a_source_of_its_own(pendo, sandbox):
    pendo.switch(deletion_seconds=None)
    sandbox.add_visitors({"v3": {"pendo": {"donotprocess": True}, "custom": {"plan": "pro"}}, "v4": {}})
    pendo.post(DELETION, {"visitors": ["v4"]})
    assert (ids(pendo), ids(pendo, options={"blacklist": "ignore"})) == (["v1", "v2"], ["v1", "v2"])
    hidden = results(pendo, {"sort": ["visitorId"]}, source="doNotProcessVisitors")
    assert [row["visitorId"] for row in hidden] == ["v3", "v4"]
    assert hidden[0]["metadata"]["custom"] == {"plan": "pro"}
    pendo.switch(deletion_seconds=0)
    # The mark outlives the record.
    assert sandbox.visitors.keys() == {"v1", "v2", "v3"}
    assert ids(pendo, {"sort": ["visitorId"]}, source="doNotProcessVisitors") == ["v3", "v4"]
    assert results(pendo, source="doNotProcessAccounts") == []
    pendo.post("/api/v1/bulkdelete/account", {"accounts": ["a1"]})
    assert [row["accountId"] for row in results(pendo, source="doNotProcessAccounts")] == ["a1"]


def test_only_what_was_updated_since(pendo, sandbox):
    sandbox.add_visitors({"old": {"auto": {"lastupdated": 1000}}, "new": {"auto": {"lastupdated": 2000}}})
    assert set(ids(pendo, options={"since": 2000})) == {"v1", "v2", "new"}
    sandbox.add_accounts({"a1": {"auto": {"lastupdated": 1000}}})
    assert results(pendo, source="accounts", options={"since": 1001}) == []


def test_records_of_several_apps(pendo, sandbox):
    default, web = sandbox.app_ids[""], sandbox.app_ids["web"]
    sandbox.add_accounts(["both", "far", "unseen"])
    for account, app in (("a1", ""), ("both", ""), ("both", "web"), ("far", "web")):
        event = {**EVENT, "accountId": account, "visitorId": f"of-{account}", "timestamp": int(time.time() * 1000)}
        assert pendo.track(event, key=sandbox.track_secrets[app]).ok

    def accounts(options=None):
        return {row["accountId"]: row["metadata"] for row in results(pendo, source="accounts", options=options)}

    everywhere = {"appId": 'expandAppIds("*")'}
    seen = accounts(everywhere)
    assert {key: {g for g in held if g.startswith("auto__")} for key, held in seen.items()} == {
        **{"a1": {f"auto__{default}"}, "both": {f"auto__{default}", f"auto__{web}"}},
        **{"far": {f"auto__{web}"}, "unseen": set()},
    }
    assert seen["far"]["auto"]["lastvisit"] == seen["far"][f"auto__{web}"]["lastvisit"]
    assert accounts({"appId": web}).keys() == accounts({"appId": [web]}).keys() == {"both", "far"}
    assert accounts({"appId": str(web)}).keys() == {"both", "far"}
    assert accounts({"appId": [default, web]}).keys() == accounts({"appId": f"expandAppIds([{default},{web}])"}).keys()
    filtered = run(pendo, {"filter": f"metadata.auto__{default}.lastvisit > 1"}, source="accounts", options=everywhere)
    assert {row["accountId"] for row in filtered.json()["results"]} == {"a1", "both"}
    pendo.switch(accounts_without_app_id="all apps")
    assert accounts().keys() == {"a1", "both", "far", "unseen"}
    pendo.switch(accounts_without_app_id="default app")
    assert accounts().keys() == {"a1", "both", "unseen"}
    assert accounts(everywhere).keys() == seen.keys()
    # Visitors are of the whole subscription.
    assert "of-far" in ids(pendo)


def test_parent_accounts_are_left_out(pendo, sandbox):
    sandbox.add_accounts(["p::a"])
    for switched, found in ((False, {"a1", "p::a"}), (True, {"p::a"})):
        pendo.switch(child_accounts_only=switched)
        assert {row["accountId"] for row in results(pendo, source="accounts")} == found


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
