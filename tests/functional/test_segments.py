"""Segments: Pendo's segment of a name holds exactly the model's visitors, in as few calls as Pendo allows."""

import json
from typing import Any

import pytest
from harness import SmallProject, bodies, chosen, planned, writes
from segments import NAME, PATCH, TRIAL, calls, change_in_pendo, delete_in_pendo, ids, members, names

from dbt_pendo.pendo import segments as api
from dbt_pendo.sandbox import Fault, Sandbox


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "FIRST_WAIT", 0.02)


VARIANTS: list[dict[str, Any]] = [
    {"segment_busy_calls": 2, "multistatus_order": "reversed", "segment_command_case": "lower"},
    {"segment_busy_seconds": 0.2, "segment_busy_reply": "operation", "segment_looks": (2, 1)},
    {"multistatus_order": "shuffled", "segment_command_case": "upper", "segment_status_seconds": 0.0},
    {"max_body_bytes": 1000, "segment_names_unique": True, "undocumented_replies": "json", "error_bodies": "empty"},
]


@pytest.mark.parametrize("switches", VARIANTS, ids=str)
def test_a_segment_is_made_and_kept_exact(project, sandbox, switches):
    sandbox.switches = chosen(**switches)
    project.model("trial", TRIAL, ids(150))
    ended = project.sync()
    assert (ended.outcome, ended.planned) == (("success", 150, 0, 0), planned(added=150))
    assert members(sandbox) == names(150)
    project.build("trial", ids(10, 165))
    ended = project.sync()
    assert (ended.planned, ended.result()["delivered"]) == (planned(added=15, removed=10, unchanged=140), 25)
    assert members(sandbox) == names(10, 165)
    sandbox.forget_requests()
    assert (project.sync().planned, writes(sandbox.requests)) == (planned(unchanged=155), [])


def test_the_fewest_calls(project, sandbox):
    """25,000 members, 3 % of whom change places: one upload, then 1,500 changes in two calls."""
    project.model("trial", TRIAL, ids(25_000))
    project.sync()
    assert calls(sandbox) == ["POST /upload"]
    sandbox.forget_requests()
    project.build("trial", ids(750, 25_750))
    assert project.sync().planned == planned(added=750, removed=750, unchanged=24_250)
    assert calls(sandbox) == ["PATCH /segment-1/visitor"] * 2
    sizes = [[len(operation["value"]) for operation in body["patch"]] for body in bodies(sandbox.requests)]
    assert (sorted(map(sum, sizes)), members(sandbox)) == ([500, 1000], names(750, 25_750))


def test_a_segment_is_known_by_its_id(trial, sandbox):
    with sandbox.pendo.lock:
        sandbox.pendo.segments.overwrite("segment-1", {"name": "Renamed"}, sandbox.switches)
    trial.build("trial", ids(2, 12))
    trial.run("sync").expect(0).says("[2 added, 2 removed in ")
    assert (members(sandbox), len(sandbox.segments)) == (names(2, 12), 1)
    # One that was deleted in Pendo is made anew.
    delete_in_pendo(sandbox)
    trial.build("trial", ids(3, 14))
    assert trial.plan().planned == planned(added=2, changed=9, removed=1)
    trial.sync()
    assert members(sandbox, "segment-2") == names(3, 14)
    assert trial.sync().planned == planned(unchanged=11)
    # Another name is another segment, also on the way back.
    trial.annotate("trial", {**TRIAL, "segment": "New name"})
    trial.build("trial", ids(3, 8))
    trial.sync()
    assert (members(sandbox, "segment-2"), members(sandbox, "segment-3")) == (names(3, 14), names(3, 8))
    trial.annotate("trial", TRIAL)
    trial.sync()
    assert members(sandbox, "segment-2") == members(sandbox, "segment-3") == names(3, 8)
    assert len(sandbox.segments) == 2


def test_one_that_the_api_made_is_taken_over(project, sandbox):
    sandbox.add_segment(NAME, ["v1", "stranger"])
    sandbox.add_segment(NAME, ["theirs"], created_by_api=False)
    project.model("trial", TRIAL, ids(5))
    # Nobody put them there by mistake: taking them out has to be asked for.
    told = f"Pendo's segment {NAME} (segment-1) holds 2 members that no run of dbt-pendo has put there"
    assert told in project.check().result()["warnings"][0]
    assert project.plan().result()["note"].startswith(f"blocked: {told}")
    result = project.sync(status=1).result()
    assert (result["status"], result["message"].startswith(f"blocked: {told}")) == ("blocked", True)
    # To count them needs a right that a key may lack.
    sandbox.fail(Fault(status=403, path="/visitors", times=None))
    assert "holds an unknown number of members" in project.sync(status=1).result()["message"]
    sandbox.clear_faults()
    assert members(sandbox) == ["stranger", "v1"]
    project.annotate("trial", {**TRIAL, "take_over": True})
    for found in (project.check().result(), project.plan().result()):
        assert [told in warning and "blocked" not in warning for warning in found["warnings"]] == [True]
    # A part of the members says nothing of the others.
    result = project.sync("--limit", "3").result()
    assert (result["delivered"], f"took over the segment {NAME}" in result["message"]) == (3, True)
    assert "stranger" in sandbox.segments["segment-1"]["visitors"]
    assert len(sandbox.segments["segment-1"]["visitors"]) >= 4
    # From now on it is ours, also when the ledger is forgotten.
    project.annotate("trial", TRIAL)
    assert (project.check().result()["warnings"], project.plan().result()["note"]) == ([], None)
    project.sync()
    assert (members(sandbox), members(sandbox, "segment-2")) == (names(5), ["theirs"])
    project.run("reset", "--all").expect(0)
    assert project.sync().result()["delivered"] == 5


def test_one_that_somebody_made_after_a_refused_upload_is_not_ours(project, sandbox):
    project.model("trial", TRIAL, ids(5))
    sandbox.fail(Fault(status=400, path="/upload", body="no", times=None))
    project.sync(status=1)
    sandbox.clear_faults()
    sandbox.add_segment(NAME, ["theirs"])
    assert "holds 1 member that no run" in project.sync(status=1).result()["message"]
    assert members(sandbox) == ["theirs"]


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        ([{"created_by_api": False}], "Pendo's segment Trial, at risk was made by hand"),
        ([{}, {}], "2 segments named Trial, at risk: segment-1, segment-2"),
    ],
    ids=["made by hand", "two of one name"],
)
def test_one_that_cannot_be_filled_is_left_alone(project, sandbox, segments, told):
    for segment in segments:
        sandbox.add_segment(NAME, ["theirs"], **segment)
    project.model("trial", TRIAL, ids(5))
    for command in ("check", "sync", "plan"):
        assert told in project.run(command).expect(1).output
    assert (members(sandbox), writes(sandbox.requests)) == (["theirs"], [])


@pytest.mark.parametrize("others", [[], ["stranger"]], ids=["no segment", "one of others"])
def test_an_empty_model(project, sandbox, others):
    if others:
        sandbox.add_segment(NAME, others)
    project.model("trial", TRIAL, ids(0))
    result = project.sync("--force").result()
    assert (result["status"], result["requests"] > 0) == ("success", True)
    assert [segment["visitors"] for segment in sandbox.segments.values()] == [[] for _ in others]
    sandbox.forget_requests()
    project.sync()
    assert calls(sandbox) == []
    for count in (3, 0, 2):
        project.build("trial", ids(count))
        ended = project.sync()
        assert members(sandbox) == names(count)
        assert count or ended.planned == planned(removed=3)
    # Nor is one that is gone from Pendo made anew for nobody.
    delete_in_pendo(sandbox, max(sandbox.segments))
    project.build("trial", ids(0))
    result = project.sync().result()
    assert (result["planned"], sandbox.segments) == (planned(removed=2), {})
    assert "a segment needs a visitor" in result["message"]
    project.build("trial", ids(2))
    project.sync()
    assert [sorted(segment["visitors"]) for segment in sandbox.segments.values()] == [names(2)]


def test_a_full_refresh_or_a_reset_patches_what_differs(trial, sandbox):
    for numbers, command in (((10,), ("sync", "--full-refresh")), ((5, 12), ("reset", "--all"))):
        change_in_pendo(sandbox, "stranger", without=["v7"])
        trial.build("trial", ids(*numbers))
        sandbox.forget_requests()
        trial.run(*command).expect(0)
        assert trial.sync().result()["status"] == "success"
        assert (calls(sandbox), members(sandbox)) == ([PATCH], names(*numbers))
    assert len(sandbox.segments) == 1


ADD = {"op": "add", "path": "/visitors", "value": ["v3"]}
REMOVE = {"op": "remove", "path": "/visitors", "value": ["v2"]}


def answer_patches(sandbox: Sandbox, *entries: Any, times: int | None = None) -> None:
    """Lets Pendo do nothing for a patch, and answer with some entries."""
    body = json.dumps({"multistatus": entries})
    sandbox.fail(Fault(status=200, body=body, method="PATCH", times=times))


def test_one_bad_operation_does_not_sink_the_other(trial, sandbox):
    trial.build("trial", ids(2, 13))
    refused = {"status": 500, "message": "cannot add", "operation": "add"}
    answer_patches(sandbox, refused, {"status": 202, "operation": "remove"}, times=1)
    assert trial.sync().outcome == ("success", 5, 0, 0)
    assert {"v10", "v11", "v12"} <= set(members(sandbox))


@pytest.fixture
def pair(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """A project of whose two members one has changed."""
    project.model("trial", TRIAL, "select unnest(['v1', 'v2']) as id")
    project.sync()
    project.build("trial", "select unnest(['v1', 'v3']) as id")
    sandbox.forget_requests()
    return project


@pytest.mark.parametrize(
    ("add", "remove", "first"), [("Add", "Remove", "add"), ("add", "remove", "remove"), (ADD, REMOVE, "remove")]
)
def test_entries_of_a_patch_are_matched_by_their_operation(pair, sandbox, add, remove, first):
    entries = [{"operation": add, "status": 400, "message": "no"}, {"operation": remove, "status": 202}]
    answer_patches(sandbox, *(entries if first == "add" else entries[::-1]))
    assert pair.sync(status=1).outcome == ("partial", 1, 0, 1)
    assert pair.statuses("trial") == {"v1": "delivered", "v2": "removed", "v3": "rejected"}
    sandbox.clear_faults()
    assert pair.sync().outcome == ("success", 1, 0, 0)
    assert "v3" in members(sandbox)


@pytest.mark.parametrize(
    "entries",
    [
        [{"status": 200}, {"status": 202}],
        [{"status": 400, "operation": "add"}, {"status": 202, "operation": "add"}],
        [{"status": 200, "operation": "add"}, {"status": 202, "operation": "swap"}],
        [{"status": 202, "operation": "remove"}],
    ],
    ids=["no operations", "one of them twice", "another one", "one of them"],
)
def test_a_patch_whose_entries_cannot_be_told_apart_is_repeated_an_operation_a_call(pair, sandbox, entries):
    answer_patches(sandbox, *entries, times=1)
    assert (pair.sync().outcome, members(sandbox)) == (("success", 2, 0, 0), ["v1", "v3"])
    assert [len(body["patch"]) for body in bodies(sandbox.requests, "/visitor")] == [2, 1, 1]


def test_the_entry_of_a_single_operation(trial, sandbox):
    """It needs no name that we know, but may not be about another operation."""
    for count, operation in enumerate([{}, {"operation": "added"}, {"operation": 1}], start=11):
        trial.build("trial", ids(count))
        answer_patches(sandbox, {"status": 200, **operation})
        assert trial.sync().result()["delivered"] == 1
        sandbox.clear_faults()
    trial.build("trial", ids(14))
    answer_patches(sandbox, {"status": 202, "operation": "remove"})
    ended = trial.sync(status=1)
    assert ended.outcome[:2] == ("error", 0)
    assert "an answer that does not say what was done" in ended.result()["message"]
    sandbox.clear_faults()
    trial.sync()
    assert "v13" in members(sandbox)


def test_a_segment_that_stays_busy(trial, sandbox, monkeypatch):
    trial.build("trial", ids(5, 20))
    sandbox.fail(Fault(status=409, body="Operation in progress", method="PATCH", times=None))
    result = trial.sync("--segment-timeout", "0.3", status=1).result()
    assert "still busy with another write of segments after 0.3 seconds (PENDO_SEGMENT_TIMEOUT)" in result["message"]
    sandbox.clear_faults()
    trial.sync()
    assert members(sandbox) == names(5, 20)


def test_a_plan_shows_the_requests(project, sandbox):
    project.model("trial", TRIAL, ids(3))
    (request,) = project.plan("--show", "5").result()["requests"]
    assert (request["method"], request["path"]) == ("POST", "/api/v1/segment/upload")
    assert sorted(request["body"]["visitors"]) == ["v0", "v1", "v2"]
    project.sync()
    project.build("trial", ids(1, 4))
    (request,) = project.plan("--show", "5").result()["requests"]
    assert (request["method"], request["path"]) == ("PATCH", "/api/v1/segment/segment-1/visitor")
    assert sorted(operation["value"] for operation in request["body"]["patch"]) == [["v0"], ["v3"]]


def test_two_syncs_of_one_segment_are_refused_even_one_by_one(project, sandbox):
    for name in ("one", "two"):
        project.model(name, {"object": "segment", "segment": "Shared", "visitor_id": "id"}, "select 'a' as id")
    # A mapping that cannot be read is for the runs that select it.
    project.model("wrong", {"object": "nonsense"}, "select 1 as id")
    project.model("else", {"object": "segment", "segment": "Other", "visitor_id": "id"}, "select 'a' as id")
    for command in ("sync", "plan", "check"):
        project.run(command, "--select", "two").expect(2).says("one", "two", "both fill the segment Shared")
    assert writes(sandbox.requests) == []
    assert project.sync("--select", "else").result()["delivered"] == 1


def test_two_projects_with_one_schema_fill_no_segment_together(project, sandbox):
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
    assert (writes(sandbox.requests), members(sandbox)) == ([], ["v0", "v1", "v2", "v3", "v4"])
    project.write_manifest(ours)
    assert project.sync().planned == planned(unchanged=5)
    # The model was renamed, say.
    project.write_manifest(theirs)
    project.run("reset", "--all").expect(0)
    assert project.sync().planned == planned(added=6)
    assert (calls(sandbox), members(sandbox)) == ([PATCH], names(3, 9))
    assert project.sync().planned == planned(unchanged=6)


def test_a_segment_can_be_adopted(project, sandbox):
    project.model("ours", TRIAL, ids(5))
    assert "Pendo has no segment Trial, at risk" in project.run("reset", "--all", "--adopt").expect(2).output
    project.sync()
    project.run("reset", "--all").expect(0)
    assert project.run("reset", "--all", "--adopt", "--json").expect(0).result()["adopted"] == 5
    assert project.plan().planned == planned(unchanged=5)
    sandbox.forget_requests()
    project.build("ours", ids(1, 6))
    assert (project.sync().result()["delivered"], calls(sandbox)) == (2, ["PATCH /segment-1/visitor"])
    # So can what another sync has filled.
    project.annotate("ours", None)
    project.model("renamed", TRIAL, ids(1, 6))
    sandbox.forget_requests()
    project.run("reset", "--all", "--adopt").expect(0)
    assert (project.sync().planned, writes(sandbox.requests)) == (planned(unchanged=5), [])
