"""Segments that Pendo loads by jobs: followed to their end, proven, and never emptied unless the mapping allows it."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Ended, SmallProject, bodies, chosen, environment_of, planned, refuse, start
from segments import NAME, PATCH, TRIAL, UPLOAD, calls, change_in_pendo, ids, members, names

from dbt_pendo.pendo import segments as api
from dbt_pendo.sandbox import Fault, Request, Sandbox

FOR_EVER = 10**9
AT_ONCE = {"segment_seconds": (0.0, 0.0), "segment_looks": (0, 0)}
STATUS = "/segment-1/status"
EXPORT = "/segment-1/visitors$"


class Watched(Sandbox):
    """A sandbox that notes how many members the segment holds after each request."""

    def __init__(self) -> None:
        super().__init__(switches=chosen(**AT_ONCE), on_request=self._look)
        self.sizes: list[int] = []

    def _look(self, _: Request) -> None:
        self.sizes += [len(segment["visitors"]) for segment in self.segments.values()]

    def set(self, **switches: Any) -> None:
        self.switches = self.switches.with_changes(switches)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "FIRST_WAIT", 0.02)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    with Watched() as running:
        for name, value in environment_of(running).items():
            monkeypatch.setenv(name, value)
        yield running


def messages(ended: Ended) -> str:
    return str(ended.result()["message"])


def bring_into_doubt(project: SmallProject) -> None:
    project.run("reset", "--all", "--yes").expect(0)


@pytest.mark.parametrize("state", ["Pending", "Progress", "Finish", "Error"])
def test_a_run_that_is_killed_in_each_state_of_the_job(project, sandbox, state):
    looks = {"Pending": (FOR_EVER, 0), "Progress": (0, FOR_EVER)}.get(state, (0, 0))
    sandbox.set(segment_looks=looks, segment_invalid_ids=["v3"] if state == "Error" else [])
    project.model("trial", TRIAL, ids(10))
    sandbox.fail(Fault("hang", when="after", path=STATUS, seconds=60))
    run = start("dbt-pendo", "sync", cwd=project.folder, env=os.environ)
    deadline = time.monotonic() + 60
    while sandbox.faults and time.monotonic() < deadline:
        time.sleep(0.02)
    with sandbox.pendo.lock:
        assert sandbox.pendo.segments.status("segment-1", sandbox.switches)["command"] == state
    run.send(signal.SIGKILL)
    assert run.wait().status == -signal.SIGKILL
    project.build("trial", ids(3, 14))
    sandbox.forget_requests()
    # The job is still under way for some looks.
    sandbox.set(segment_looks=[0 if wanted == 0 else 3 for wanted in looks], segment_invalid_ids=[])
    assert project.sync().result()["status"] == "success"
    assert (members(sandbox), len(sandbox.segments)) == (names(3, 14), 1)
    assert set(calls(sandbox)) == {PATCH}
    # It was asked about before anything was written.
    paths = [request.path.partition("/segment-1")[2] for request in sandbox.requests if "segment-1" in request.path]
    assert paths.index("/status") < paths.index("/visitor")
    assert project.sync().planned == planned(unchanged=11)


def test_a_job_of_a_dead_run_of_which_pendo_says_nothing(project, sandbox):
    """Only the 409s tell that Pendo is still loading what the dead run has sent."""
    sandbox.set(segment_looks=(0, FOR_EVER))
    project.model("trial", TRIAL, ids(10))
    project.sync("--segment-timeout", "0.01", status=1)
    sandbox.set(segment_looks=(0, 3))
    sandbox.fail(Fault(status=404, path=STATUS, times=None))
    project.build("trial", ids(3, 14))
    assert project.sync().result()["status"] == "success"
    assert members(sandbox) == names(3, 14)


def test_an_overwrite_that_is_killed_while_the_segment_is_empty(project, sandbox):
    project.model("trial", {**TRIAL, "replace": True, "batch_size": 2}, ids(10))
    project.sync()
    bring_into_doubt(project)
    project.build("trial", ids(5, 15))
    sandbox.set(segment_looks=(0, FOR_EVER))
    sandbox.fail(Fault("hang", when="after", path=STATUS, seconds=60))
    # The first look is that before the write.
    sandbox.clear_faults()
    run = start("dbt-pendo", "sync", cwd=project.folder, env=os.environ)
    deadline = time.monotonic() + 60
    while members(sandbox) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send(signal.SIGKILL)
    assert (run.wait().status, members(sandbox)) == (-signal.SIGKILL, [])
    sandbox.set(segment_looks=(0, 2))
    project.build("trial", ids(6, 16))
    assert project.sync().result()["status"] == "success"
    assert members(sandbox) == names(6, 16)


def test_forty_wrong_members_of_many_in_doubt_are_patched(project, sandbox):
    project.model("trial", TRIAL, ids(25_000))
    project.sync()
    sandbox.fail(Fault(status=503, when="after", method="PATCH", times=None))
    project.build("trial", ids(25_001))
    project.sync("--retries", "0", status=1)
    sandbox.clear_faults()
    change_in_pendo(sandbox, *(f"stranger{i}" for i in range(20)), without=[f"v{i}" for i in range(20)])
    sandbox.forget_requests()
    sandbox.sizes.clear()
    assert project.sync().result()["status"] == "success"
    assert (members(sandbox), calls(sandbox)) == (names(25_001), [PATCH])
    assert min(sandbox.sizes) >= 25_000
    assert project.sync().planned == planned(unchanged=25_001)


def test_a_job_that_fails_delivers_nothing(project, sandbox):
    sandbox.set(segment_invalid_ids=["v3"], segment_looks=(1, 1))
    project.model("trial", TRIAL, ids(10))
    ended = project.sync(status=1)
    assert ended.outcome[:2] == ("error", 0)
    assert "visitor id 'v3' is not valid" in messages(ended)
    assert (project.statuses("trial"), members(sandbox)) == ({}, [])
    # The next run finds the one at fault.
    ended = project.sync(status=1)
    assert (ended.outcome, members(sandbox)) == (("partial", 9, 0, 1), sorted({*names(10)} - {"v3"}))
    assert project.statuses("trial")["v3"] == "rejected"


@pytest.mark.parametrize("looks", [(FOR_EVER, 0), (0, FOR_EVER)], ids=["waiting", "loading"])
def test_a_job_that_takes_too_long(project, sandbox, looks):
    sandbox.set(segment_looks=looks)
    project.model("trial", TRIAL, ids(10))
    for _ in range(2):
        ended = project.sync("--segment-timeout", "0.2", status=1)
        assert ended.outcome[:2] == ("error", 0)
        assert "has not loaded the members of the segment Trial, at risk (segment-1) within 0.2 sec" in messages(ended)
    # The second run only asked.
    assert calls(sandbox) == ["POST /upload"]
    sandbox.set(segment_looks=(0, 0))
    project.build("trial", ids(2, 10))
    assert project.sync().result()["status"] == "success"
    assert (members(sandbox), calls(sandbox)) == (names(2, 10), ["POST /upload", PATCH])


def test_an_upload_waits_for_another_segment(project, sandbox):
    sandbox.set(segment_second_job="refuse", segment_looks=(2, 2))
    project.model("other", {**TRIAL, "segment": "Other"}, ids(5))
    project.sync("--segment-timeout", "0.01", status=1)
    project.annotate("other", None)
    project.model("trial", TRIAL, ids(10))
    assert project.sync().result()["status"] == "success"
    statuses = [request.status for request in sandbox.requests if request.path.endswith(UPLOAD)]
    assert statuses[:2] == [200, 409]
    # Nobody is to blame for a 409.
    assert {len(body["visitors"]) for body in bodies(sandbox.requests, UPLOAD)} == {5, 10}
    assert (statuses[-1], members(sandbox, "segment-2")) == (200, names(10))


def test_a_status_that_proves_nothing_makes_the_members_be_read(project, sandbox):
    for count, answer in enumerate(
        [
            Fault(status=404, path=STATUS, times=None),
            Fault(status=403, path=STATUS, times=None),
            Fault(status=200, body='{"command": "finish", "totalTagged": 9}', path=STATUS, times=None),
        ]
    ):
        sandbox.reset()
        project.model("trial", TRIAL, ids(10 + count))
        bring_into_doubt(project)
        sandbox.fail(answer)
        assert project.sync().result()["delivered"] == 10 + count
        assert members(sandbox) == names(10 + count)
        assert any(request.path.endswith("/segment-1/visitors") for request in sandbox.requests)


def test_the_end_of_an_earlier_job_proves_nothing(trial, sandbox):
    trial.annotate("trial", {**TRIAL, "batch_size": 2, "replace": True})
    bring_into_doubt(trial)
    trial.build("trial", ids(10, 20))
    told = '{"command": "Finish", "totalTagged": 10, "requestId": "request-1"}'
    sandbox.fail(Fault(status=200, body=told, path=STATUS, times=None))
    # Pendo takes the call, and has done nothing.
    sandbox.fail(Fault(status=200, method="PUT"))
    sandbox.forget_requests()
    assert trial.sync().result()["status"] == "success"
    assert members(sandbox) == names(10, 20)
    assert calls(sandbox)[:2] == ["PUT /segment-1", PATCH]


def test_members_that_nobody_can_read_are_replaced_only_if_the_mapping_says_so(trial, sandbox):
    bring_into_doubt(trial)
    trial.build("trial", ids(3, 12))
    for status in (403, 404, 500):
        sandbox.fail(Fault(status=status, path=EXPORT, times=None))
        ended = trial.sync("--retries", "0", status=1)
        assert "the members of Pendo's segment Trial, at risk (segment-1) cannot be read" in messages(ended)
        assert (members(sandbox), trial.statuses("trial")) == (names(10), {})
        sandbox.clear_faults()
    sandbox.fail(Fault(status=403, path=EXPORT, times=None))
    trial.annotate("trial", {**TRIAL, "replace": True})
    assert trial.sync().result()["status"] == "success"
    assert (members(sandbox), calls(sandbox)) == (names(3, 12), ["PUT /segment-1"])


@pytest.mark.parametrize("path", [EXPORT, "/segment-1/visitors/.*/status$", "/csv$"])
def test_an_export_that_has_to_wait_for_another_write(trial, sandbox, path):
    trial.annotate("trial", {**TRIAL, "replace": True})
    bring_into_doubt(trial)
    trial.build("trial", ids(3, 12))
    sandbox.fail(Fault(status=409, body="Operation in progress", path=path, times=None))
    told = messages(trial.sync("--segment-timeout", "0.1", status=1))
    assert "still busy with another write of segments after 0.1 seconds (PENDO_SEGMENT_TIMEOUT)" in told
    assert (members(sandbox), calls(sandbox)) == (names(10), [])
    assert "still busy" in verify(trial, "--segment-timeout", "0.1", status=1)["message"]
    # A write that ends is waited for.
    sandbox.clear_faults()
    sandbox.fail(Fault(status=409, path=path, times=3))
    assert trial.sync().result()["status"] == "success"
    assert (members(sandbox), calls(sandbox)) == (names(3, 12), [PATCH])


def test_all_are_replaced_only_where_that_takes_fewer_calls(trial, sandbox):
    trial.annotate("trial", {**TRIAL, "batch_size": 5, "replace": True})
    for numbers, expected in (((2, 10), PATCH), ((20,), "PUT /segment-1")):
        bring_into_doubt(trial)
        trial.build("trial", ids(*numbers))
        sandbox.forget_requests()
        assert trial.sync().result()["status"] == "success"
        assert (members(sandbox), calls(sandbox)) == (names(*numbers), [expected])
    trial.annotate("trial", {**TRIAL, "batch_size": 5})
    bring_into_doubt(trial)
    trial.build("trial", ids(10, 30))
    sandbox.forget_requests()
    sandbox.sizes.clear()
    trial.sync()
    assert (members(sandbox), set(calls(sandbox))) == (names(10, 30), {PATCH})
    assert min(sandbox.sizes) >= 5


def test_one_id_that_makes_pendo_refuse_whole_calls_costs_itself_alone(trial, sandbox):
    change_in_pendo(sandbox, "stranger", without=["v2"])
    bring_into_doubt(trial)
    trial.build("trial", ids(1, 15))
    refuse(sandbox, "v12")
    assert trial.sync(status=1).outcome == ("partial", 13, 0, 1)
    assert (members(sandbox), trial.statuses("trial")["v12"]) == (sorted({*names(1, 15)} - {"v12"}), "rejected")


FOLDED = "select unnest(['Ann', 'bob', ' Carl ', 'dora']) as id"


def test_ids_that_pendo_makes_lower_case_stay_members(project, sandbox):
    sandbox.set(segment_ids="lower case")
    project.model("trial", TRIAL, FOLDED)
    project.sync()
    for _ in range(2):
        bring_into_doubt(project)
        assert project.sync().result()["delivered"] == 4
        assert members(sandbox) == ["ann", "bob", "carl", "dora"]
    assert project.run("verify", "--json").expect(0).result()["equal"] == 4
    # One of two spellings leaves; the other one stays.
    project.build("trial", "select unnest(['Ann', 'ann', 'bob']) as id")
    project.sync()
    assert members(sandbox) == ["ann", "bob"]
    project.build("trial", "select unnest(['ann', 'Bob']) as id")
    assert project.sync().result()["status"] == "success"
    assert members(sandbox) == ["ann", "bob"]
    # Many of them are no accident, and nothing is sent.
    project.build("trial", "select 'V' || i as id from range(1500) r(i)")
    project.sync()
    bring_into_doubt(project)
    sandbox.forget_requests()
    assert project.sync().result()["delivered"] == 1500
    assert calls(sandbox) == []


def test_a_stranger_whose_id_differs_by_capitals_is_another_member(project, sandbox):
    project.model("trial", TRIAL, FOLDED)
    project.sync()
    change_in_pendo(sandbox, "ann", "carl", without=["Ann", "Carl"])
    bring_into_doubt(project)
    project.sync()
    assert members(sandbox) == ["Ann", "Carl", "bob", "dora"]


@pytest.mark.parametrize("fold", ["as they are", "lower case"])
def test_keys_that_become_one_member_are_told(project, sandbox, fold):
    sandbox.set(segment_ids=fold)
    project.model("trial", TRIAL, "select unnest(['a', ' a', 'b', 'B', 'c']) as id")
    told = "1 key of the model is one member" if fold == "as they are" else "2 keys of the model are one member"
    for _ in range(2):
        ended = project.sync()
        assert (ended.result()["delivered"], told in messages(ended)) == (5, True)
        bring_into_doubt(project)


def test_a_segment_that_the_api_did_not_make_is_not_the_keys_fault(trial, sandbox):
    sandbox.pendo.segments._segments["segment-1"].created_by_api = False
    trial.build("trial", ids(12))
    message = messages(trial.sync(status=1))
    assert "Pendo's segment Trial, at risk (segment-1) was not made by the API" in message
    assert "key" not in message


def verify(project: SmallProject, *args: str, status: int = 0) -> dict[str, Any]:
    result: dict[str, Any] = project.run("verify", "--json", *args).expect(status).result()
    return result


def test_members_are_verified_and_repaired(trial, sandbox):
    result = verify(trial)
    assert (result["status"], result["equal"], result["missing"], result["only_in_pendo"]) == ("success", 10, 0, 0)
    change_in_pendo(sandbox, "stranger", without=["v2", "v7"])
    result = verify(trial, status=1)
    assert (result["status"], result["equal"], result["missing"], result["only_in_pendo"]) == ("drifted", 8, 2, 1)
    assert result["members"] == {"missing": ["v2", "v7"], "only_in_pendo": ["stranger"]}
    shown = trial.run("verify").expect(1).output
    assert "[8 equal, 2 missing, 1 only in Pendo]" in shown
    assert "missing (e.g. v2)" in shown
    assert "only in Pendo, e.g. stranger" in shown
    sandbox.forget_requests()
    sandbox.sizes.clear()
    # Nor does a mapping that allows a replacement make a repair one.
    trial.annotate("trial", {**TRIAL, "replace": True, "batch_size": 1})
    assert verify(trial, "--repair")["repaired"]["status"] == "success"
    assert (members(sandbox), set(calls(sandbox))) == (names(10), {PATCH})
    assert min(sandbox.sizes) >= 8
    assert verify(trial)["equal"] == 10
    assert trial.sync().planned == planned(unchanged=10)


def test_what_cannot_be_verified(trial, sandbox):
    sandbox.fail(Fault(status=403, path=EXPORT))
    assert "cannot be read" in verify(trial, status=1)["message"]
    # Members whom no run has put there are not taken out by a repair.
    trial.annotate("trial", {**TRIAL, "segment": "Theirs"})
    sandbox.add_segment("Theirs", ["stranger"])
    assert verify(trial, status=1)["only_in_pendo"] == 1
    assert "that no run of dbt-pendo has put there" in verify(trial, "--repair", status=1)["message"]
    # Nor by another target, which would begin a second ledger of the sync.
    trial.annotate("trial", {**TRIAL, "segment": "Theirs", "take_over": True})
    ended = trial.run("verify", "--repair", "--json", "--target", "other").expect(2)
    ended.says("main_pendo has a ledger of this sync", "`dbt-pendo sync --force` passes")
    assert members(sandbox, "segment-2") == ["stranger"]
    # One that is not there yet lacks all.
    trial.annotate("trial", {**TRIAL, "segment": "New"})
    assert verify(trial, status=1)["missing"] == 10
    assert verify(trial, "--repair")["repaired"]["delivered"] == 10
    assert [one["name"] for one in sandbox.segments.values()] == [NAME, "Theirs", "New"]
