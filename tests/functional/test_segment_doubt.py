"""Segments whose members are in doubt: after lost answers, dead runs, parts sent, other names. All end up exact."""

import os
import signal
import time
from dataclasses import replace

import pytest
from harness import SmallProject, bodies, planned, start, writes
from segments import PATCH, TRIAL, UPLOAD, calls, delete_in_pendo, ids, members, names

from dbt_pendo.pendo import client
from dbt_pendo.pendo import segments as api
from dbt_pendo.sandbox import Fault, Sandbox


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.02)


def interrupt_a_sync(project: SmallProject, sandbox: Sandbox, how: signal.Signals) -> int:
    """Starts a sync in a process of its own, and sends it a signal while a request is under way."""
    run = start("dbt-pendo", "sync", cwd=project.folder, env=os.environ)
    deadline = time.monotonic() + 60
    while sandbox.faults:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    run.send(how)
    return run.wait().status


def test_who_was_added_without_an_answer_and_left_the_model_is_no_member(trial, sandbox):
    for fault in (Fault(status=503), Fault("reset"), Fault("garbage")):
        trial.build("trial", ids(5, 20))
        sandbox.fail(replace(fault, when="after", method="PATCH", times=None))
        trial.sync(status=1)
        # Pendo did it, and the ledger does not know.
        assert members(sandbox) == names(5, 20)
        assert set(trial.statuses("trial").values()) <= {"delivered", "rejected", "removed"}
        sandbox.clear_faults()
        trial.build("trial", ids(5, 12))
        assert trial.sync().result()["status"] == "success"
        assert members(sandbox) == names(5, 12)
        assert trial.sync().planned == planned(unchanged=7)


def test_a_run_that_died_in_mid_call(trial, sandbox):
    trial.build("trial", ids(5, 20))
    sandbox.fail(Fault("hang", when="after", method="PATCH", seconds=30))
    assert interrupt_a_sync(trial, sandbox, signal.SIGKILL) == -signal.SIGKILL
    trial.build("trial", ids(7, 15))
    sandbox.forget_requests()
    assert trial.sync().result()["status"] == "success"
    # Whatever happened, one call puts it right.
    assert (members(sandbox), calls(sandbox)) == (names(7, 15), [PATCH])
    assert trial.sync().planned == planned(unchanged=8)


def test_a_run_that_was_asked_to_end_leaves_no_doubt(trial, sandbox):
    trial.annotate("trial", {**TRIAL, "batch_size": 5})
    trial.build("trial", ids(10, 20))
    sandbox.fail(Fault("hang", when="after", method="PATCH", seconds=1))
    assert (interrupt_a_sync(trial, sandbox, signal.SIGTERM), len(writes(sandbox.requests))) == (1, 1)
    sandbox.forget_requests()
    trial.sync()
    assert (calls(sandbox), members(sandbox)) == (["PATCH /segment-1/visitor"] * 3, names(10, 20))


def test_members_of_whom_a_part_was_sent_are_in_doubt(trial, sandbox):
    """Pendo answers a patch as a whole, so that each operation is sent alone; the second finds no segment."""
    trial.build("trial", ids(5, 15))
    untold = '{"multistatus": [{"status": 200}, {"status": 200}]}'
    sandbox.fail(Fault(status=200, body=untold, when="after", method="PATCH"))
    sandbox.fail(Fault(status=404, method="PATCH", body_contains='"add"'))
    assert "is gone" in trial.sync(status=1).result()["message"]
    # Pendo did it, and the ledger does not know.
    assert members(sandbox) == names(5, 15)
    trial.build("trial", ids(10))
    assert trial.sync().result()["status"] == "success"
    assert members(sandbox) == names(10)
    assert trial.sync().planned == planned(unchanged=10)


def test_an_upload_of_a_dead_run_is_no_segment_of_others(project, sandbox):
    project.model("trial", TRIAL, ids(10))
    sandbox.fail(Fault("hang", when="after", method="POST", path=UPLOAD, seconds=30))
    assert interrupt_a_sync(project, sandbox, signal.SIGKILL) == -signal.SIGKILL
    assert members(sandbox) == names(10)
    project.build("trial", ids(3, 12))
    assert project.check().result()["warnings"] == []
    project.sync()
    assert (len(sandbox.segments), members(sandbox)) == (1, names(3, 12))


@pytest.mark.parametrize(("unique", "times"), [(False, 1), (False, 2), (True, 2)])
def test_an_upload_without_an_answer_is_not_made_twice(project, sandbox, unique, times, monkeypatch):
    monkeypatch.setenv("PENDO_RETRIES", "3")
    sandbox.switches = sandbox.switches.with_changes({"segment_names_unique": unique})
    sandbox.fail(Fault("reset", when="before", method="POST", path=UPLOAD))
    sandbox.fail(Fault(status=502, when="after", method="POST", path=UPLOAD, times=times))
    project.model("trial", TRIAL, ids(10))
    assert project.sync().result()["delivered"] == 10
    assert (len(sandbox.segments), members(sandbox)) == (1, names(10))
    assert [call for call in calls(sandbox) if call.startswith("DELETE")] == []


def test_limits_on_a_first_run_a_full_refresh_and_a_segment_made_anew(project, sandbox):
    project.model("trial", TRIAL, ids(10))
    assert project.sync("--limit", "4").result()["delivered"] == len(members(sandbox)) == 4
    project.sync("--limit", "4")
    project.sync()
    assert members(sandbox) == names(10)
    sandbox.forget_requests()
    project.sync("--full-refresh", "--limit", "2")
    assert (calls(sandbox), members(sandbox)) == (["PATCH /segment-1/visitor"], names(10))
    # The ledger still tells of the members of the segment that is gone.
    delete_in_pendo(sandbox)
    assert project.sync("--limit", "3").result()["delivered"] == len(members(sandbox, "segment-2")) == 3
    project.sync()
    assert members(sandbox, "segment-2") == names(10)
    assert project.sync().planned == planned(unchanged=10)


def test_max_changes_counts_new_members_only(trial, sandbox):
    """A replacement sends all members again, which changes nothing for them."""
    trial.annotate("trial", {**TRIAL, "max_changes": "20%"})
    delete_in_pendo(sandbox, "segment-1")
    trial.build("trial", ids(12))
    assert trial.sync().result()["status"] == "success"
    assert members(sandbox, "segment-2") == names(12)
    trial.build("trial", ids(15))
    assert "blocked: 3 added" in trial.sync(status=1).result()["message"]


def test_a_segment_deleted_in_mid_run_ends_it(trial, sandbox):
    trial.build("trial", ids(4000))
    sandbox.fail(Fault(status=404, method="PATCH", times=None))
    assert "is gone" in trial.sync(status=1).result()["message"]
    # Nothing is sent in halves to a segment that is not there.
    assert len(writes(sandbox.requests)) <= 4
    sandbox.clear_faults()
    trial.sync()
    assert members(sandbox) == names(4000)


@pytest.mark.parametrize("error_bodies", ["text", "empty"])
def test_visitors_that_pendo_does_not_know_may_be_refused(project, sandbox, error_bodies):
    """One stranger makes Pendo refuse an upload as a whole, and the operation of a patch."""
    switches = {"segment_unknown_visitors": "refuse", "error_bodies": error_bodies}
    sandbox.switches = sandbox.switches.with_changes(switches)
    sandbox.add_visitors(names(40))
    project.model("trial", TRIAL, f"{ids(20)} union all select 'stranger'")
    assert project.sync(status=1).outcome == ("partial", 20, 0, 1)
    assert (members(sandbox), project.statuses("trial")["stranger"]) == (names(20), "rejected")
    project.build("trial", f"{ids(5, 30)} union all select 'stranger' union all select 'another'")
    assert project.sync(status=1).outcome == ("partial", 15, 0, 2)
    assert members(sandbox) == names(5, 30)
    sandbox.add_visitors(["stranger", "another"])
    project.sync()
    assert members(sandbox) == sorted([*names(5, 30), "another", "stranger"])


def test_an_upload_that_is_refused_whatever_it_holds_ends_soon(project, sandbox):
    project.model("trial", TRIAL, ids(4000))
    sandbox.fail(Fault(status=400, body="no segments in this plan", method="POST", path=UPLOAD, times=None))
    assert "no segments in this plan" in project.sync(status=1).result()["message"]
    assert len(writes(sandbox.requests)) < 25


@pytest.mark.parametrize("error_bodies", ["json", "empty"])
def test_a_segment_of_the_most_members_takes_no_more(trial, sandbox, error_bodies):
    """Those beyond are refused alone, and come once there is room."""
    sandbox.switches = sandbox.switches.with_changes({"max_segment_visitors": 12, "error_bodies": error_bodies})
    trial.build("trial", ids(14))
    assert trial.sync(status=1).outcome == ("partial", 2, 0, 2)
    found = members(sandbox)
    assert (len(found), set(found) > set(names(10))) == (12, True)
    trial.build("trial", ids(2, 14))
    trial.sync("--retry-held")
    assert members(sandbox) == names(2, 14)


def test_too_many_for_one_call_are_sent_once_each(project, sandbox):
    """Half of them with the upload, the rest in patches; nobody twice."""
    sandbox.switches = sandbox.switches.with_changes({"max_body_bytes": 15_000})
    project.model("trial", TRIAL, ids(3000))
    assert project.sync().result()["delivered"] == 3000
    assert calls(sandbox) == ["POST /upload"] * 2 + ["PATCH /segment-1/visitor"] * 2
    uploaded, *_ = [body["visitors"] for body in bodies(sandbox.requests, UPLOAD)][1:]
    patched = [
        key
        for body in bodies(sandbox.requests, "/visitor")
        for operation in body["patch"]
        for key in operation["value"]
    ]
    assert sorted(uploaded + patched) == members(sandbox) == names(3000)
