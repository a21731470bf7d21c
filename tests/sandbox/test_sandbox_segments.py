"""Segments."""

import pytest

ROOT = "/api/v1/segment"


def upload(pendo, name="S", visitors=("v1", "never seen")):
    return pendo.post(f"{ROOT}/upload", {"name": name, "visitors": list(visitors)})


def patch(pendo, segment_id, *operations):
    operations = [{"op": op, "path": "/visitors", "value": value} for op, value in operations]
    return pendo.call("PATCH", f"{ROOT}/{segment_id}/visitor", {"patch": operations})


def members(sandbox, segment_id):
    return sandbox.segments[segment_id]["visitors"]


@pytest.fixture
def segment(pendo):
    """A segment whose members are there at once."""
    pendo.switch(segment_seconds=(0.0, 0.0))
    return upload(pendo).json()["segmentId"]


def test_upload_get_list(pendo, sandbox, segment):
    assert members(sandbox, segment) == ["v1", "never seen"]
    held = pendo.get(f"{ROOT}/{segment}").json()
    assert (held["id"], held["name"], held["kind"], held["createdByApi"]) == (segment, "S", "Segment", True)
    other = sandbox.add_segment("by hand", ["v2"], created_by_api=False)
    listed = {"": [segment, other], "?createdByApi=true": [segment], "?createdByApi=false": [other]}
    assert {query: [s["id"] for s in pendo.get(ROOT + query).json()] for query in listed} == listed
    # What is made by hand cannot be changed.
    assert patch(pendo, other, ("add", ["a"])).status_code == 403
    assert pendo.call("PUT", f"{ROOT}/{other}", {"name": "x"}).status_code == 403
    assert pendo.call("PUT", f"{ROOT}/{other}/visitor/a").status_code == 403
    assert pendo.call("DELETE", f"{ROOT}/{other}/visitor/v2").status_code == 403
    assert members(sandbox, other) == ["v2"]


def test_members_one_by_one_and_their_export(pendo, sandbox, segment):
    for quoted in ("a%2Fb", "c%2Cd", "e%22f"):
        assert pendo.call("PUT", f"{ROOT}/{segment}/visitor/{quoted}").ok
    assert pendo.call("DELETE", f"{ROOT}/{segment}/visitor/v1").ok
    assert pendo.call("DELETE", f"{ROOT}/{segment}/visitor/nobody").ok
    assert members(sandbox, segment) == ["never seen", "a/b", "c,d", 'e"f']
    job = pendo.post(f"{ROOT}/{segment}/visitors", {}).json()["jobId"]
    assert isinstance(pendo.get(f"{ROOT}/{segment}/visitors/{job}/status").json(), str)
    text = pendo.get(f"{ROOT}/{segment}/visitors/{job}/results/csv").text
    assert text == 'visitorId\n"never seen"\n"a/b"\n"c,d"\n"e""f"\n'


def test_unknown_segments_and_exports_are_404(pendo, segment):
    assert pendo.get(f"{ROOT}/{segment}/visitors/job-9/results/csv").status_code == 404
    add = {"patch": [{"op": "add", "path": "/visitors", "value": ["v"]}]}
    for method, path, body in [
        *(("GET", "", None), ("GET", "/status", None), ("GET", "/visitors/job-9/status", None)),
        *(("PUT", "", {"name": "x"}), ("PUT", "/visitor/v1", None), ("PATCH", "/visitor", add)),
        *(("DELETE", "", None), ("DELETE", "/visitor/v1", None), ("POST", "/visitors", {})),
    ]:
        assert pendo.call(method, f"{ROOT}/nope{path}", body).status_code == 404


def test_overwrite_upload_and_delete(pendo, sandbox, segment):
    assert pendo.call("PUT", f"{ROOT}/{segment}", {"visitors": ["x", "y"]}).ok
    assert pendo.call("PUT", f"{ROOT}/{segment}", {"name": "T"}).ok
    assert (sandbox.segments[segment]["name"], members(sandbox, segment)) == ("T", ["x", "y"])
    for body in ({}, [], {"name": 5}, {"visitors": []}):
        assert pendo.call("PUT", f"{ROOT}/{segment}", body).status_code == 400
    assert pendo.call("DELETE", f"{ROOT}/{segment}").ok
    names = [{"name": "S"}, {"visitors": ["v"]}, {"name": "", "visitors": ["v"]}]
    for body in ({}, [], *names, {"name": "S", "visitors": []}, {"name": "S", "visitors": [1]}):
        assert pendo.post(f"{ROOT}/upload", body).status_code == 400
    assert sandbox.segments == {}
    assert [upload(pendo).status_code for _ in range(2)] == [200, 200]
    pendo.switch(segment_names_unique=True, max_segment_visitors=2)
    assert upload(pendo).status_code == 400
    assert upload(pendo, "T", ["a", "b", "c"]).status_code == 400
    other = upload(pendo, "T", ["a", "b"]).json()["segmentId"]
    assert pendo.call("PUT", f"{ROOT}/{other}/visitor/c").status_code == 400
    assert [patch(pendo, other, ("add", [more, "a"])).status_code for more in (" b", "c")] == [200, 400]
    assert members(sandbox, other) == ["a", "b"]


def test_a_patch_has_limits_and_a_status_for_each_operation(pendo, sandbox, segment):
    answer = patch(pendo, segment, ("add", ["a", "b", "a"]), ("remove", ["v1", "x"]), ("swap", ["c"]))
    assert answer.status_code == 200
    assert [(item["operation"], item["status"], item["message"]) for item in answer.json()["multistatus"]] == [
        *(("add", 200, "success"), ("remove", 202, "success"), ("swap", 400, "invalid operation"))
    ]
    before = members(sandbox, segment)
    assert before == ["never seen", "a", "b"]
    thousand = [str(i) for i in range(1000)]
    assert patch(pendo, segment, ("add", thousand), ("add", ["one more"])).status_code == 413
    assert patch(pendo, segment, *[("add", ["a"])] * 11).status_code == 413
    assert patch(pendo, segment).status_code == 400
    assert pendo.call("PATCH", f"{ROOT}/{segment}/visitor", []).status_code == 400
    assert members(sandbox, segment) == before
    assert patch(pendo, segment, ("add", thousand)).ok
    assert patch(pendo, segment, *[("remove", thousand[i::10]) for i in range(10)]).ok
    assert members(sandbox, segment) == before


def status(pendo, segment_id):
    return pendo.get(f"{ROOT}/{segment_id}/status").json()


def test_an_upload_and_an_overwrite_begin_a_job(pendo, sandbox):
    pendo.switch(segment_seconds=(0.0, 0.0), segment_looks=(2, 1))
    segment = upload(pendo, visitors=["a", "b", " b "]).json()["segmentId"]
    seen = []
    for visitors, at_first in ((None, []), (["c"], ["a", "b"])):
        if visitors:
            assert pendo.call("PUT", f"{ROOT}/{segment}", {"visitors": visitors}).ok
        seen.append(status(pendo, segment))
        # The old members still serve.
        assert (seen[-1]["command"], members(sandbox, segment)) == ("Pending", at_first)
        assert pendo.call("PUT", f"{ROOT}/{segment}", {"visitors": ["x"]}).status_code == 409
        assert (status(pendo, segment)["command"], members(sandbox, segment)) == ("Progress", [])
        seen.append(status(pendo, segment))
        assert (seen[-1]["command"], seen[-1]["totalTagged"]) == ("Finish", len(visitors or "ab"))
    assert members(sandbox, segment) == ["c"]
    assert seen[1]["requestId"] == seen[0]["requestId"] != seen[3]["requestId"] == seen[2]["requestId"]
    assert {"command", "status", "totalTagged", "lastUpdatedAt", "entityTagId", "requestId"} <= set(seen[0])
    pendo.switch(segment_command_case="lower")
    assert status(pendo, segment)["command"] == "finish"
    pendo.switch(segment_status_seconds=0.0)
    assert pendo.get(f"{ROOT}/{segment}/status").status_code == 404
    by_hand = sandbox.add_segment("by hand", ["v1"])
    assert pendo.get(f"{ROOT}/{by_hand}/status").status_code == 404


def test_a_job_takes_its_seconds(pendo, sandbox):
    pendo.switch(segment_seconds=(0.1, 0.1), segment_looks=(0, 0))
    segment = upload(pendo, visitors=["a"]).json()["segmentId"]
    seen = []
    pendo.until(lambda: seen.append(status(pendo, segment)["command"]) or seen[-1] == "Finish")
    assert list(dict.fromkeys(seen)) == ["Pending", "Progress", "Finish"]
    assert members(sandbox, segment) == ["a"]


def test_one_segment_is_loaded_at_a_time(pendo, sandbox):
    pendo.switch(segment_seconds=(0.0, 0.0), segment_looks=(1, 1))
    first, second = (upload(pendo, name, [name]).json()["segmentId"] for name in "ab")
    # However often somebody looks at the second.
    assert {status(pendo, second)["command"] for _ in range(5)} == {"Pending"}
    seen = [(status(pendo, first)["command"], status(pendo, second)["command"]) for _ in range(3)]
    assert seen == [("Pending", "Pending"), ("Progress", "Pending"), ("Finish", "Progress")]
    assert (status(pendo, second)["command"], members(sandbox, second)) == ("Finish", ["b"])
    pendo.switch(segment_second_job="refuse", segment_looks=(9, 9))
    assert upload(pendo, "c").ok
    assert upload(pendo, "d").status_code == 409
    assert pendo.call("PUT", f"{ROOT}/{first}", {"visitors": ["x"]}).status_code == 409
    # Only loads are queued.
    assert patch(pendo, first, ("add", ["x"])).ok
    assert members(sandbox, first) == ["a", "x"]


def test_one_id_that_fails_validation_ends_a_job(pendo, sandbox, segment):
    pendo.switch(segment_invalid_ids=("bad",))
    assert pendo.call("PUT", f"{ROOT}/{segment}", {"visitors": ["a", "bad"]}).ok
    told = status(pendo, segment)
    assert (told["command"], "bad" in told["message"], members(sandbox, segment)) == ("Error", True, [])
    entries = patch(pendo, segment, ("add", ["a", "bad"]), ("add", ["b"])).json()["multistatus"]
    assert ([entry["status"] for entry in entries], members(sandbox, segment)) == ([400, 200], ["b"])
    assert pendo.call("PUT", f"{ROOT}/{segment}/visitor/bad").status_code == 400


def test_ids_are_trimmed_and_may_be_made_lower_case(pendo, sandbox, segment):
    assert patch(pendo, segment, ("add", [" A "]), ("remove", [" v1"])).ok
    assert members(sandbox, segment) == ["never seen", "A"]
    pendo.switch(segment_ids="lower case")
    assert pendo.call("PUT", f"{ROOT}/{segment}", {"visitors": ["Ann", "ann", "B"]}).ok
    assert (status(pendo, segment)["totalTagged"], members(sandbox, segment)) == (2, ["ann", "b"])
    assert patch(pendo, segment, ("remove", ["ANN"]), ("add", ["C "])).ok
    assert pendo.call("PUT", f"{ROOT}/{segment}/visitor/D").ok
    assert pendo.call("DELETE", f"{ROOT}/{segment}/visitor/B").ok
    assert members(sandbox, segment) == ["c", "d"]


def test_the_entries_of_a_patch_in_any_order(pendo, segment):
    for order in ("reversed", "shuffled"):
        pendo.switch(multistatus_order=order)
        entries = patch(pendo, segment, ("add", ["a"]), ("remove", ["a"]), ("swap", ["a"])).json()["multistatus"]
        if order == "reversed":
            assert [entry["operation"] for entry in entries] == ["swap", "remove", "add"]
        assert {entry["operation"]: entry["status"] for entry in entries} == {"add": 200, "remove": 202, "swap": 400}


def test_busy_for_some_calls_or_seconds(pendo, sandbox, segment):
    pendo.switch(segment_busy_calls=2)
    assert patch(pendo, segment, ("add", ["a"])).ok
    busy = patch(pendo, segment, ("add", ["b"]))
    assert (busy.status_code, busy.json()) == (409, {"error": "Operation in progress"})
    assert pendo.call("DELETE", f"{ROOT}/{segment}").status_code == 409
    pendo.switch(segment_busy_calls=1, segment_busy_reply="operation")
    assert patch(pendo, segment, ("add", ["c"])).json()["multistatus"][0]["status"] == 200
    answer = patch(pendo, segment, ("add", ["d"]), ("remove", ["v1"]))
    assert (answer.status_code, [item["status"] for item in answer.json()["multistatus"]]) == (200, [409, 409])
    assert members(sandbox, segment) == ["v1", "never seen", "a", "c"]
    pendo.switch(segment_busy_calls=0, segment_busy_reply="call", segment_busy_seconds=0.2)
    assert patch(pendo, segment, ("add", ["e"])).ok
    assert patch(pendo, segment, ("add", ["f"])).status_code == 409
    pendo.until(lambda: patch(pendo, segment, ("add", ["f"])).status_code == 200)


def test_unknown_visitors_can_be_refused(pendo, sandbox):
    sandbox.add_visitors(["v1", "v2"])
    pendo.switch(segment_seconds=(0.0, 0.0))
    segment = upload(pendo, visitors=["v1"]).json()["segmentId"]
    pendo.switch(segment_unknown_visitors="refuse")
    assert upload(pendo, "T", ["v1", "nobody"]).status_code == 400
    assert pendo.call("PUT", f"{ROOT}/{segment}", {"visitors": ["nobody"]}).status_code == 400
    assert pendo.call("PUT", f"{ROOT}/{segment}/visitor/nobody").status_code == 400
    answer = patch(pendo, segment, ("add", ["v2", "nobody"]), ("remove", ["nobody", "v1"]))
    assert [s["status"] for s in answer.json()["multistatus"]] == [400, 202]
    assert members(sandbox, segment) == []
    assert patch(pendo, segment, ("add", ["v2"])).json()["multistatus"][0]["status"] == 200
