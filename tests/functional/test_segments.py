"""Segments: Pendo's segment of a name holds exactly the model's visitors, in as few calls as Pendo allows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness import SmallProject, bodies, planned, writes

from dbt_pendo.delivery import segments as engine_segment
from dbt_pendo.sandbox import Fault, Sandbox, Switches

TRIAL = {"object": "segment", "segment": "Trial, at risk", "visitor_id": "id"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_segment, "FIRST_WAIT", 0.02)


def ids(*numbers: int) -> str:
    return f"select 'v' || i as id from range({', '.join(map(str, numbers))}) r(i)"


def ids_of(*numbers: int) -> list[str]:
    return sorted(f"v{number}" for number in range(*numbers))


def members(sandbox: Sandbox, name: str = "Trial, at risk") -> list[str]:
    (found,) = [one for one in sandbox.segments.values() if one["name"] == name]
    assert len(set(found["visitors"])) == len(found["visitors"])
    return sorted(found["visitors"])


def expected(project: SmallProject) -> list[str]:
    return sorted(key for (key,) in project.sql("select distinct id from main.trial where trim(id) <> ''"))


def calls(sandbox: Sandbox) -> list[str]:
    return [f"{request.method} {request.path.partition('/segment')[2]}" for request in writes(sandbox.requests)]


VARIANTS: list[dict[str, Any]] = [
    {},
    {"segment_busy_calls": 2},
    {"segment_busy_calls": 2, "segment_busy_reply": "operation"},
    {"segment_busy_seconds": 0.2},
    {"segment_names_unique": True, "undocumented_replies": "json", "error_bodies": "empty"},
    {"max_segment_visitors": 700, "error_bodies": "json"},
]


@pytest.mark.parametrize("switches", VARIANTS, ids=str)
def test_a_segment_is_made_and_kept_exact(
    project: SmallProject, sandbox: Sandbox, switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.switches = Switches(**switches)
    project.model("trial", TRIAL, ids(1500))
    result = project.sync().result()
    assert (result["object"], result["delivered"], result["planned"]) == ("segment", 1500, planned(added=1500))
    assert members(sandbox) == expected(project)

    project.build("trial", ids(100, 1650))
    result = project.sync().result()
    assert result["planned"] == planned(added=150, removed=100, unchanged=1400)
    assert result["delivered"] == 250
    assert members(sandbox) == expected(project)

    sandbox.forget_requests()
    assert project.sync().result()["planned"] == planned(unchanged=1550)
    assert writes(sandbox.requests) == []


def test_the_fewest_calls(project: SmallProject, sandbox: Sandbox) -> None:
    """25,000 members, 3 % of whom change places: one upload, then 1,500 changes in two calls."""
    project.model("trial", TRIAL, ids(25_000))
    project.sync()
    assert calls(sandbox) == ["POST /upload"]
    sandbox.forget_requests()
    project.build("trial", ids(750, 25_750))
    assert project.sync().result()["planned"] == planned(added=750, removed=750, unchanged=24_250)
    assert calls(sandbox) == ["PATCH /segment-1/visitor"] * 2
    sizes = [[len(operation["value"]) for operation in body["patch"]] for body in bodies(sandbox.requests)]
    assert sorted(map(sum, sizes)) == [500, 1000]
    assert members(sandbox) == expected(project)


def test_a_segment_renamed_in_pendo_is_found_by_its_id(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(5))
    project.sync()
    with sandbox.pendo.lock:
        sandbox.pendo.segments.overwrite("segment-1", {"name": "Renamed"}, sandbox.switches)
    project.build("trial", ids(2, 9))
    project.sync()
    assert members(sandbox, "Renamed") == expected(project)
    assert len(sandbox.segments) == 1


def test_a_segment_deleted_in_pendo_is_made_anew(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(5))
    project.sync()
    with sandbox.pendo.lock:
        sandbox.pendo.segments.delete("segment-1")
    project.build("trial", ids(1, 7))
    assert project.plan().result()["planned"] == planned(added=2, changed=4, removed=1)
    assert project.sync().result()["status"] == "success"
    assert members(sandbox) == expected(project)
    assert project.sync().result()["planned"] == planned(unchanged=6)


def test_another_name_is_another_segment(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(5))
    project.sync()
    project.annotate("trial", {**TRIAL, "segment": "New name"})
    project.sync()
    assert members(sandbox) == members(sandbox, "New name") == expected(project)


@pytest.mark.parametrize("limit", [False, True])
def test_one_that_the_api_made_is_taken_over(project: SmallProject, sandbox: Sandbox, limit: bool) -> None:
    sandbox.add_segment("Trial, at risk", ["v1", "stranger"])
    sandbox.add_segment("Trial, at risk", ["theirs"], created_by_api=False)
    project.model("trial", TRIAL, ids(5))
    if limit:
        # A part of the members says nothing of the others.
        assert project.sync("--limit", "3").result()["delivered"] == 3
        assert "stranger" in sandbox.segments["segment-1"]["visitors"]
        assert len(sandbox.segments["segment-1"]["visitors"]) >= 4
    project.sync()
    assert sorted(sandbox.segments["segment-1"]["visitors"]) == expected(project)
    assert sandbox.segments["segment-2"]["visitors"] == ["theirs"]


def test_one_made_by_hand_is_left_alone(project: SmallProject, sandbox: Sandbox) -> None:
    sandbox.add_segment("Trial, at risk", ["theirs"], created_by_api=False)
    project.model("trial", TRIAL, ids(5))
    for command in ("check", "sync", "plan"):
        ended = project.run(command).expect(1)
        assert "Pendo's segment Trial, at risk was made by hand" in ended.output
    assert sandbox.segments["segment-1"]["visitors"] == ["theirs"]
    assert writes(sandbox.requests) == []


def test_two_of_one_name(project: SmallProject, sandbox: Sandbox) -> None:
    for _ in range(2):
        sandbox.add_segment("Trial, at risk", ["x"])
    project.model("trial", TRIAL, ids(5))
    assert "2 segments named Trial, at risk: segment-1, segment-2" in project.run("sync").expect(1).output
    assert writes(sandbox.requests) == []


def test_an_empty_model(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(0))
    result = project.sync().result()
    assert (result["status"], result["requests"] > 0) == ("success", True)
    assert sandbox.segments == {}
    project.build("trial", ids(3))
    project.sync()
    assert members(sandbox) == ["v0", "v1", "v2"]
    project.build("trial", ids(0))
    assert project.sync().result()["planned"] == planned(removed=3)
    assert members(sandbox) == []
    project.build("trial", ids(2))
    project.sync()
    assert members(sandbox) == ["v0", "v1"]


def test_a_visitor_twice_is_one_member_and_a_bad_one_none(project: SmallProject, sandbox: Sandbox) -> None:
    rows = "select * from (values ('a', 1), ('a', 2), ('b', 1), (null, 1), (' ', 1), ('_PENDO_T_x', 1)) r(id, n)"
    project.model("trial", TRIAL, rows)
    result = project.sync().result()
    assert (result["delivered"], result["planned"]) == (2, planned(added=2, invalid=3))
    assert members(sandbox) == ["a", "b"]


def test_guards_hold(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", {**TRIAL, "max_removals": 2}, ids(10))
    project.sync()
    project.build("trial", ids(3, 10))
    assert project.sync(status=1).result()["status"] == "blocked"
    assert len(members(sandbox)) == 10
    project.sync("--force")
    assert members(sandbox) == expected(project)


def test_full_refresh_is_one_call_and_drops_strangers(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(10))
    project.sync()
    with sandbox.pendo.lock:
        sandbox.pendo.segments.put_visitor("segment-1", "stranger", sandbox.switches)
    sandbox.forget_requests()
    assert project.sync("--full-refresh").result()["delivered"] == 10
    assert calls(sandbox) == ["PUT /segment-1"]
    assert members(sandbox) == expected(project)


def test_reset_makes_the_next_sync_replace_the_members(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(10))
    project.sync()
    project.run("reset").expect(0)
    project.build("trial", ids(5, 12))
    project.sync()
    assert members(sandbox) == expected(project)
    assert len(sandbox.segments) == 1


@pytest.mark.parametrize("status", [400, 500])
def test_one_bad_operation_does_not_sink_the_other(project: SmallProject, sandbox: Sandbox, status: int) -> None:
    project.model("trial", TRIAL, ids(10))
    project.sync()
    project.build("trial", ids(2, 13))
    body = (
        f'{{"multistatus": [{{"status": {status}, "message": "cannot add", "operation": "add"}},'
        ' {"status": 202, "message": "success", "operation": "remove"}]}'
    )
    sandbox.fail(
        Fault(status=200, body=body, method="PATCH", body_contains='"add","path":"/visitors","value":["v', times=1)
    )
    result = project.sync().result()
    assert (result["status"], result["rejected"]) == ("success", 0)
    assert {"v10", "v11", "v12"} <= set(members(sandbox))


ADD = {"op": "add", "path": "/visitors", "value": ["v3"]}
REMOVE = {"op": "remove", "path": "/visitors", "value": ["v2"]}


@pytest.mark.parametrize(
    ("add", "remove"),
    [
        pytest.param({"operation": "add"}, {"operation": "remove"}, id="words"),
        pytest.param({"operation": "Add"}, {"operation": "Remove"}, id="words in another case"),
        pytest.param({"operation": ADD}, {"operation": REMOVE}, id="objects"),
    ],
)
@pytest.mark.parametrize("first", ["add", "remove"])
def test_entries_of_a_patch_are_matched_by_their_operation(
    project: SmallProject, sandbox: Sandbox, add: dict[str, Any], remove: dict[str, Any], first: str
) -> None:
    project.model("trial", TRIAL, "select unnest(['v1', 'v2']) as id")
    project.sync()
    project.build("trial", "select unnest(['v1', 'v3']) as id")
    entries = [{**add, "status": 400, "message": "no"}, {**remove, "status": 202}]
    body = json.dumps({"multistatus": entries if first == "add" else entries[::-1]})
    sandbox.fail(Fault(status=200, body=body, method="PATCH", times=None))
    result = project.sync(status=1).result()
    assert (result["status"], result["delivered"], result["rejected"]) == ("partial", 1, 1)
    assert project.statuses("trial") == {"v1": "delivered", "v2": "removed", "v3": "rejected"}
    sandbox.clear_faults()
    assert project.sync().result()["delivered"] == 1
    assert "v3" in members(sandbox)


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([{"status": 200}, {"status": 202}], id="no operations"),
        pytest.param(
            [{"status": 400, "operation": "add"}, {"status": 202, "operation": "add"}], id="one of them twice"
        ),
        pytest.param([{"status": 200, "operation": "add"}, {"status": 202, "operation": "swap"}], id="another one"),
        pytest.param([{"status": 202, "operation": "remove"}], id="one of them"),
    ],
)
def test_a_patch_whose_entries_cannot_be_told_apart_is_repeated_an_operation_a_call(
    project: SmallProject, sandbox: Sandbox, entries: list[dict[str, Any]]
) -> None:
    project.model("trial", TRIAL, "select unnest(['v1', 'v2']) as id")
    project.sync()
    project.build("trial", "select unnest(['v1', 'v3']) as id")
    sandbox.fail(Fault(status=200, body=json.dumps({"multistatus": entries}), method="PATCH"))
    sandbox.forget_requests()
    assert project.sync().result()["delivered"] == 2
    assert members(sandbox) == ["v1", "v3"]
    sent = [[one["op"] for one in body["patch"]] for body in bodies(sandbox.requests, "/visitor")]
    assert [len(operations) for operations in sent] == [2, 1, 1]


@pytest.mark.parametrize("word", ["", ', "operation": "added"', ', "operation": 1'])
def test_the_entry_of_a_single_operation_needs_no_name_that_we_know(
    project: SmallProject, sandbox: Sandbox, word: str
) -> None:
    project.model("trial", TRIAL, ids(10))
    project.sync()
    project.build("trial", ids(11))
    sandbox.fail(Fault(status=200, body=f'{{"multistatus": [{{"status": 200{word}}}]}}', method="PATCH", times=None))
    assert project.sync().result()["delivered"] == 1


def test_a_single_operation_is_not_judged_by_an_answer_about_another(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(10))
    project.sync()
    project.build("trial", ids(11))
    body = '{"multistatus": [{"status": 202, "operation": "remove"}]}'
    sandbox.fail(Fault(status=200, body=body, method="PATCH", times=None))
    result = project.sync(status=1).result()
    assert (result["status"], result["delivered"]) == ("error", 0)
    assert "an answer that does not say what was done" in result["message"]
    sandbox.clear_faults()
    project.sync()
    assert members(sandbox) == expected(project)


def test_a_visitor_that_pendo_refuses_is_rejected_alone(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(10))
    project.sync()
    project.build("trial", f"{ids(10)} union all select 'v2' || i from range(6) r(i) union all select 'odd'")
    sandbox.fail(Fault(status=400, body="odd is no visitor", method="PATCH", body_contains='"odd"', times=None))
    result = project.sync(status=1).result()
    assert (result["status"], result["delivered"], result["rejected"]) == ("partial", 6, 1)
    assert members(sandbox) == [key for key in expected(project) if key != "odd"]
    assert project.statuses("trial")["odd"] == "rejected"


def test_a_lost_answer_to_an_upload_leaves_one_segment(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(10))
    sandbox.fail(Fault(action="reset", when="after", method="POST", path="/segment/upload"))
    project.sync()
    assert members(sandbox) == expected(project)
    assert len(sandbox.segments) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_faults_that_pass(project: SmallProject, sandbox: Sandbox, when: Any) -> None:
    project.model("trial", TRIAL, ids(10))
    project.sync()
    project.build("trial", ids(5, 20))
    sandbox.fail(Fault(status=503, when=when, method="PATCH"))
    assert project.sync().result()["retries"] == 1
    assert members(sandbox) == expected(project)


def test_a_segment_that_stays_busy(project: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    project.model("trial", TRIAL, ids(10))
    project.sync()
    project.build("trial", ids(5, 20))
    sandbox.fail(Fault(status=409, body="Operation in progress", method="PATCH", times=None))
    result = project.sync("--retry-time", "0.3", status=1).result()
    assert "still busy with another write of the segment" in result["message"]
    sandbox.clear_faults()
    project.sync()
    assert members(sandbox) == expected(project)


def test_a_plan_shows_the_requests(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("trial", TRIAL, ids(3))
    (request,) = project.plan("--show", "5").result()["requests"]
    assert (request["method"], request["path"]) == ("POST", "/api/v1/segment/upload")
    assert sorted(request["body"]["visitors"]) == ["v0", "v1", "v2"]
    project.sync()
    project.build("trial", ids(1, 4))
    (request,) = project.plan("--show", "5").result()["requests"]
    assert (request["method"], request["path"]) == ("PATCH", "/api/v1/segment/segment-1/visitor")
    assert sorted(operation["value"] for operation in request["body"]["patch"]) == [["v0"], ["v3"]]


def test_two_syncs_of_one_segment_are_refused_even_one_by_one(project: SmallProject, sandbox: Sandbox) -> None:
    for name in ("one", "two"):
        project.model(name, {"object": "segment", "segment": "Shared", "visitor_id": "id"}, "select 'a' as id")
    # A mapping that cannot be read is for the runs that select it.
    project.model("wrong", {"object": "nonsense"}, "select 1 as id")
    project.model("else", {"object": "segment", "segment": "Other", "visitor_id": "id"}, "select 'a' as id")
    for command in ("sync", "check"):
        assert "both fill the segment Shared" in project.run(command, "--select", "two").expect(2).output
    assert writes(sandbox.requests) == []
    assert project.sync("--select", "else").result()["delivered"] == 1


def test_two_projects_with_one_schema_fill_no_segment_together(project: SmallProject, sandbox: Sandbox) -> None:
    """Neither manifest tells of the other's sync, but the table of segments does."""
    project.model("ours", TRIAL, ids(5))
    project.sync()
    ours = project.manifest()
    project.annotate("ours", None)
    project.model("theirs", TRIAL, ids(3, 9))
    theirs = project.manifest()
    sandbox.forget_requests()
    for command in (["check"], ["plan"], ["sync"]):
        output = project.run(*command).expect(1).output
        assert "Pendo's segment Trial, at risk (segment-1) is filled by the sync ours" in output
        assert "`dbt-pendo reset --select theirs`" in output
    assert writes(sandbox.requests) == []
    assert members(sandbox) == ["v0", "v1", "v2", "v3", "v4"]
    project.write_manifest(ours)
    assert project.sync().result()["planned"] == planned(unchanged=5)

    # The model was renamed, say.
    project.write_manifest(theirs)
    project.run("reset").expect(0)
    assert project.sync().result()["planned"] == planned(added=6)
    assert calls(sandbox) == ["PUT /segment-1"]
    assert members(sandbox) == ids_of(3, 9)
    assert project.sync().result()["planned"] == planned(unchanged=6)
    project.write_manifest(ours)
    assert "is filled by the sync theirs" in project.sync(status=1).result()["message"]
    assert members(sandbox) == ids_of(3, 9)


def test_what_another_sync_filled_can_be_adopted(project: SmallProject, sandbox: Sandbox) -> None:
    project.model("ours", TRIAL, ids(5))
    project.sync()
    project.annotate("ours", None)
    project.model("renamed", TRIAL, ids(5))
    sandbox.forget_requests()
    project.run("reset", "--adopt").expect(0)
    assert project.sync().result()["planned"] == planned(unchanged=5)
    assert writes(sandbox.requests) == []


def test_an_adopted_segment_is_known(project: SmallProject, sandbox: Sandbox) -> None:
    mapping = {"object": "segment", "segment": "Trials", "visitor_id": "id"}
    rows = "select 'v' || i as id from range(5) r(i)"
    project.model("first", mapping, rows)
    assert "Pendo has no segment Trials" in project.run("reset", "--adopt").expect(2).output
    project.sync()
    project.run("reset").expect(0)
    assert project.run("reset", "--adopt", "--json").expect(0).result()["adopted"] == 5
    assert project.plan().result()["planned"] == planned(unchanged=5)
    sent = len(writes(sandbox.requests))
    project.build("first", "select 'v' || i as id from range(1, 6) r(i)")
    assert project.sync().result()["delivered"] == 2
    (request,) = writes(sandbox.requests)[sent:]
    assert request.method == "PATCH"
