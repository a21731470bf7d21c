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
    return upload(pendo).json()["segmentId"]


def test_upload_get_list(pendo, sandbox, segment):
    assert members(sandbox, segment) == ["v1", "never seen"]
    held = pendo.get(f"{ROOT}/{segment}").json()
    assert (held["id"], held["name"], held["kind"], held["createdByApi"]) == (segment, "S", "Segment", True)
    other = sandbox.add_segment("by hand", ["v2"], created_by_api=False)
    listed = {"": [segment, other], "?createdByApi=true": [segment], "?createdByApi=false": [other]}
    assert {query: [s["id"] for s in pendo.get(ROOT + query).json()] for query in listed} == listed
    status = pendo.get(f"{ROOT}/{segment}/status").json()
    assert (status["command"], status["updatePending"]) == ("finish", False)
    # What is made by hand cannot be changed.
    assert patch(pendo, other, ("add", ["a"])).status_code == 400
    assert pendo.call("PUT", f"{ROOT}/{other}", {"name": "x"}).status_code == 400
    assert pendo.call("PUT", f"{ROOT}/{other}/visitor/a").status_code == 400
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


def test_unknown_segments_are_404(pendo):
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
    assert upload(pendo, "T", ["a", "b", "c"]).status_code == 413
    assert upload(pendo, "T", ["a", "b"]).ok


def test_a_patch_has_limits_and_a_status_for_each_operation(pendo, sandbox, segment):
    answer = patch(pendo, segment, ("add", ["a", "b", "a"]), ("remove", ["v1", "x"]), ("swap", ["c"]))
    assert answer.status_code == 200
    assert [(item["operation"], item["status"], item["message"]) for item in answer.json()["multistatus"]] == [
        *(("add", 200, "success"), ("remove", 202, "success"), ("swap", 400, "invalid operation"))
    ]
    before = members(sandbox, segment)
    assert before == ["never seen", "a", "b"]
    thousand = [str(i) for i in range(1000)]
    assert patch(pendo, segment, ("add", thousand), ("add", ["one more"])).status_code == 400
    assert patch(pendo, segment, *[("add", ["a"])] * 11).status_code == 400
    assert patch(pendo, segment).status_code == 400
    assert pendo.call("PATCH", f"{ROOT}/{segment}/visitor", []).status_code == 400
    assert members(sandbox, segment) == before
    assert patch(pendo, segment, ("add", thousand)).ok
    assert patch(pendo, segment, *[("remove", thousand[i::10]) for i in range(10)]).ok
    assert members(sandbox, segment) == before


def test_busy_for_some_calls_or_seconds(pendo, sandbox):
    def uploaded(**switches):
        pendo.switch(**switches)
        return upload(pendo).json()["segmentId"]

    segment = uploaded(segment_busy_calls=2)
    busy = patch(pendo, segment, ("add", ["a"]))
    assert (busy.status_code, busy.json()) == (409, {"error": "Operation in progress"})
    assert [pendo.get(f"{ROOT}/{segment}/status").json()["updatePending"] for _ in range(2)] == [True, False]
    assert members(sandbox, segment) == ["v1", "never seen"]
    assert patch(pendo, segment, ("add", ["a"])).status_code == 200
    assert pendo.call("DELETE", f"{ROOT}/{segment}").status_code == 409
    segment = uploaded(segment_busy_calls=1, segment_busy_reply="operation")
    answer = patch(pendo, segment, ("add", ["a"]), ("remove", ["v1"]))
    assert (answer.status_code, [item["status"] for item in answer.json()["multistatus"]]) == (200, [409, 409])
    assert members(sandbox, segment) == ["v1", "never seen"]
    segment = uploaded(segment_busy_calls=0, segment_busy_reply="call", segment_busy_seconds=60)
    assert patch(pendo, segment, ("add", ["a"])).status_code == 409
    segment = uploaded(segment_busy_seconds=0.2)
    pendo.until(lambda: patch(pendo, segment, ("add", ["a"])).status_code == 200)


def test_unknown_visitors_can_be_refused(pendo, sandbox):
    sandbox.add_visitors(["v1", "v2"])
    segment = upload(pendo, visitors=["v1"]).json()["segmentId"]
    pendo.switch(segment_unknown_visitors="refuse")
    assert upload(pendo, "T", ["v1", "nobody"]).status_code == 400
    assert pendo.call("PUT", f"{ROOT}/{segment}", {"visitors": ["nobody"]}).status_code == 400
    assert pendo.call("PUT", f"{ROOT}/{segment}/visitor/nobody").status_code == 400
    answer = patch(pendo, segment, ("add", ["v2", "nobody"]), ("remove", ["nobody", "v1"]))
    assert [s["status"] for s in answer.json()["multistatus"]] == [400, 202]
    assert members(sandbox, segment) == []
    assert patch(pendo, segment, ("add", ["v2"])).json()["multistatus"][0]["status"] == 200
