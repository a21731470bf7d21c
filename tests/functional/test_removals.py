"""Records that left the model: kept ones are recorded, deletions are guarded, and followed to their end."""

import itertools
import os
import signal
import time
from dataclasses import replace
from typing import Any

import pytest
from harness import PEOPLE, SmallProject, bodies, chosen, expect_in, planned, sent_ids, start, writes

from dbt_pendo.delivery import deletions as deliver
from dbt_pendo.sandbox import Fault, Sandbox
from dbt_pendo.warehouse.session import Session

DELETING = {**PEOPLE, "on_removed": "delete", "max_removals": 5}
GONE = ("p17", "p18", "p19")
QUEUED = "queued in Pendo as deletion delete-1"
# The rows of each sync that wait for one job.
JOBS = (("people", 4), ("others", 1))
IN_QUEUE = "3 deletions are queued in Pendo, for up to 21 days (jobs: delete-1)"


def people(count: int) -> str:
    return f"select 'p' || i as id, 'pro' as plan from range({count}) r(i)"


@pytest.fixture
def synced(project: SmallProject, plans: Sandbox) -> SmallProject:
    plans.switches = chosen(deletion_seconds=0.0)
    plans.add_visitors([f"p{i}" for i in range(20)])
    project.model("people", DELETING, people(20))
    project.sync()
    return project


def test_nobody_is_deleted_unless_a_limit_or_force_allows_it(synced, sandbox):
    synced.build("people", people(18))
    synced.annotate("people", {**PEOPLE, "on_removed": "delete"})
    ended = synced.sync(status=1)
    assert (ended.outcome, len(sandbox.visitors)) == (("blocked", 0, 0, 0), 20)
    expect_in(ended.result()["message"], "2 visitors would be deleted", "max_removals")
    assert synced.sync("--force").planned == planned(removed=2, unchanged=18)
    assert len(sandbox.visitors) == 18


def test_at_most_500_ids_a_call(synced, sandbox):
    sandbox.add_visitors([f"p{i}" for i in range(600)])
    synced.build("people", people(600))
    synced.sync()
    synced.annotate("people", {**DELETING, "max_removals": "100%"})
    synced.build("people", people(1))
    assert synced.sync().outcome == ("success", 599, 0, 0)
    sent = [len(body["visitors"]) for body in bodies(sandbox.requests, "/bulkdelete/")]
    assert (len(sent), sum(sent), max(sent) <= 500) == (2, 599, True)
    starts = [request.at for request in writes(sandbox.requests) if "/bulkdelete/" in request.path]
    assert all(later - earlier >= 0.95 for earlier, later in itertools.pairwise(starts))
    assert list(sandbox.visitors) == ["p0"]


def test_a_deletion_that_takes_its_time(synced, sandbox, monkeypatch):
    sandbox.switches = chosen(deletion_seconds=1.0)
    synced.build("people", people(17))
    ended = synced.sync()
    assert (ended.outcome, ended.result()["message"]) == (("success", 3, 0, 0), None)
    assert (len(asked(sandbox)) >= 3, len(sandbox.visitors)) == (True, 17)
    # One that Pendo took counts, whatever it says of the job.
    monkeypatch.setattr(deliver, "DELETION_PATIENCE", 0.1)
    synced.build("people", people(16))
    sandbox.fail(Fault(status=403, method="GET", path="/bulkdelete/"))
    assert synced.sync().outcome == ("success", 1, 0, 0)
    assert synced.keys("people", "removed") == {"p16", *GONE}


def test_a_deletion_that_fails_in_the_end(synced, sandbox):
    synced.build("people", people(19))
    sandbox.fail(Fault(status=200, body='{"id": "delete-1", "status": "failed"}', method="GET", path="/bulkdelete/"))
    ended = synced.sync(status=1)
    assert ended.outcome == ("partial", 0, 0, 1)
    assert "Pendo's deletion delete-1 ended as failed" in ended.result()["message"]


# Deletions that outlive the run that queued them.


@pytest.fixture
def queued(synced: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project of whose twenty visitors p17 to p19 are queued for deletion."""
    monkeypatch.setattr(deliver, "DELETION_PATIENCE", 0.1)
    sandbox.switches = chosen(deletion_seconds=None, deletion_calls_per_job=3)
    synced.build("people", people(17))
    assert IN_QUEUE in synced.sync().result()["message"]
    sandbox.forget_requests()
    return synced


def gone(project: SmallProject, status: str, detail: str) -> bool:
    """Whether the ledger says so at last of each of the three."""
    latest = {entry["record_key"]: (entry["status"], entry["detail"]) for entry in project.ledger("people")}
    return {latest[key] for key in GONE} == {(status, detail)}


def asked(sandbox: Sandbox, method: str = "") -> list[str]:
    return [request.path for request in sandbox.requests if "/bulkdelete/" in request.path and method in request.method]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_has_to_end_while_it_follows_a_deletion_keeps_it_as_queued(synced, sandbox, number):
    sandbox.switches = chosen(deletion_seconds=None)
    synced.build("people", people(17))
    run = start("dbt-pendo", "sync", cwd=synced.folder, env=os.environ)
    while not asked(sandbox, "GET") and not run.has_ended():
        time.sleep(0.005)
    run.send(number)
    run.wait()
    assert gone(synced, "removed", QUEUED)
    # The next run goes on with the same job, and deletes nobody twice.
    sandbox.switches = chosen(deletion_seconds=0.0)
    ended = synced.sync()
    told = "Pendo's deletion delete-1 of 3 rows ended as complete"
    assert (ended.planned, ended.result()["message"]) == (planned(unchanged=17), told)
    assert len(asked(sandbox, "POST")) == 1
    assert len(sandbox.visitors) == 17


@pytest.mark.parametrize(("fault", "end"), [(None, "ended as complete"), (404, "is not known there any more")])
def test_later_runs_ask_until_a_deletion_is_done_or_forgotten(queued, sandbox, fault, end):
    assert gone(queued, "removed", QUEUED)
    entries = len(queued.ledger("people"))
    ended = queued.sync()
    assert (ended.planned, IN_QUEUE in ended.result()["message"]) == (planned(unchanged=17), True)
    assert (asked(sandbox), len(queued.ledger("people"))) == (["/api/v1/bulkdelete/delete-1"], entries)
    sandbox.switches = chosen(deletion_seconds=0.0)
    if fault:
        sandbox.fail(Fault(status=fault, method="GET", path="/bulkdelete/"))
    ended = queued.sync()
    told = f"Pendo's deletion delete-1 of 3 rows {end}"
    assert (ended.planned, ended.result()["message"]) == (planned(unchanged=17), told)
    assert gone(queued, "removed", f"Pendo's deletion delete-1 {end}")
    # It is followed no further.
    sandbox.forget_requests()
    entries = len(queued.ledger("people"))
    assert queued.sync().result()["message"] is None
    assert (asked(sandbox), len(queued.ledger("people"))) == ([], entries)


def test_a_deletion_that_fails_days_later_is_tried_again(queued, sandbox):
    queued.build("people", f"{people(17)} union all select 'p19', 'back'")
    sandbox.fail(Fault(status=200, body='{"status": "failed"}', method="GET", path="/bulkdelete/delete-1"))
    sandbox.switches = chosen(deletion_seconds=0.0)
    result = queued.sync().result()
    assert "Pendo's deletion delete-1 of 3 rows ended as failed: they are tried again" in result["message"]
    # Whoever is back in the model by now is no longer to be deleted.
    assert result["planned"] == planned(changed=1, removed=2, unchanged=17)
    assert [sorted(body["visitors"]) for body in bodies(sandbox.requests, "/bulkdelete/")] == [["p17", "p18"]]
    assert not {"p17", "p18"} & sandbox.visitors.keys()
    assert queued.sync().planned["removed"] == 0


def test_a_failed_deletion_is_no_way_past_the_guard(queued, sandbox):
    queued.annotate("people", {**DELETING, "max_removals": 2})
    sandbox.switches = chosen(deletion_seconds=0.0, deletion_end="failed")
    message = queued.sync(status=1).result()["message"]
    assert message.splitlines() == [
        "blocked: 3 removed, max_removals allows 2; --force lets them pass",
        "Pendo's deletion delete-1 of 3 rows ended as failed: they are tried again",
    ]
    assert len(sandbox.visitors) == 20
    assert gone(queued, "delivered", "Pendo's deletion delete-1 ended as failed")


def test_a_sync_goes_on_when_pendo_does_not_tell_of_a_deletion(queued, sandbox):
    for turn, status in enumerate((403, 500)):
        queued.build("people", f"select id, if(id = 'p1', 'team {turn}', plan) as plan from ({people(17)})")
        sandbox.fail(Fault(status=status, method="GET", path="/bulkdelete/", times=None))
        ended = queued.sync()
        assert (ended.outcome, ended.planned) == (("success", 1, 0, 0), planned(changed=1, unchanged=16))
        assert "3 deletions are queued" in ended.result()["message"]
        assert gone(queued, "removed", QUEUED)
        sandbox.clear_faults()


@pytest.mark.parametrize(("end", "status"), [("complete", "removed"), ("failed", "delivered")])
def test_one_job_may_stand_for_calls_of_several_runs_and_syncs(queued, sandbox, end, status):
    sandbox.add_visitors(["q1", "q2"])
    queued.model("others", DELETING, "select 'q' || i as id, 'pro' as plan from range(1, 3) r(i)")
    queued.sync()
    queued.build("people", people(16))
    queued.build("others", "select 'q1' as id, 'pro' as plan")
    ended = queued.sync()
    told = {name: f"{rows} deletions are queued in Pendo, for up to 21 days (jobs: delete-1)" for name, rows in JOBS}
    assert {name: ended.result(name)["message"] for name, _ in JOBS} == told
    # Nothing is sent of those that wait.
    sandbox.forget_requests()
    assert {result["planned"]["removed"] for result in queued.sync("--full-refresh").json["results"]} == {0}
    assert bodies(sandbox.requests, "/bulkdelete/") == []
    sandbox.switches = replace(sandbox.switches, deletion_seconds=0.0, deletion_end=end)
    for name in ("people", "others"):
        queued.annotate(name, {**DELETING, "max_removals": 0})
    ended = queued.sync(status=1 if end == "failed" else 0)
    for name, rows in JOBS:
        assert f"Pendo's deletion delete-1 of {rows} rows ended as {end}" in ended.result(name)["message"]
    assert queued.keys("people", status) >= {"p16", *GONE}
    assert "q2" in queued.keys("others", status)
    assert {"p16", "q2", *GONE}.isdisjoint(sandbox.visitors) == (end == "complete")


def test_a_record_that_comes_back_while_its_deletion_waits_is_not_sent_and_said_so(queued, sandbox):
    """Pendo deletes it all the same, and processes nothing of it: a write would be lost while it looks delivered."""
    for rows in (people(18), f"select id, 'team' as plan from ({people(18)})"):
        queued.build("people", rows)
        sandbox.forget_requests()
        ended = queued.sync()
        assert (ended.result()["status"], ended.result()["missing"]) == ("warn", 1)
        told = "1 missing: Pendo still has to delete it (deletion delete-1)"
        expect_in(ended.result()["message"], told, "e.g. p17", IN_QUEUE)
        assert "p17" not in sent_ids(sandbox.requests, "visitor")
    assert sandbox.visitors["p17"]["custom"] == {"plan": "pro"}
    # Afterwards it is an id that Pendo does not know.
    sandbox.switches = chosen(deletion_seconds=0.0)
    message = queued.sync().result()["message"]
    expect_in(message, "deletion delete-1 of 3 rows ended as complete", "1 missing: Pendo does not know this id")
    assert queued.statuses("people")["p17"] == "missing"
    assert queued.keys("people", "removed") == {"p18", "p19"}


def test_a_record_whose_deletion_failed_is_sent_when_it_is_back(queued, sandbox):
    queued.build("people", people(18))
    assert queued.sync().result()["missing"] == 1
    sandbox.switches = chosen(deletion_seconds=0.0, deletion_end="failed")
    assert queued.sync(status=1).planned == planned(changed=1, removed=2, unchanged=17)
    assert queued.statuses("people")["p17"] == "delivered"
    assert sandbox.visitors["p17"]["custom"] == {"plan": "pro"}


def test_a_deletion_whose_job_is_not_known_ends_after_21_days(synced, sandbox, monkeypatch):
    """Pendo takes the call without an answer, and does not list its deletions."""
    monkeypatch.setattr(deliver, "DELETION_PATIENCE", 0.0)
    sandbox.switches = chosen(deletion_seconds=None)
    sandbox.fail(Fault("close", when="after", method="POST", path="/bulkdelete/"))
    sandbox.fail(Fault(status=403, method="GET", path="/bulkdelete$", times=None))
    synced.build("people", people(17))
    assert IN_QUEUE.replace("delete-1", "unknown") in synced.sync().result()["message"]
    sandbox.switches = chosen(deletion_seconds=0.0, deleted_records="written")
    synced.annotate("people", {**DELETING, "mode": "upsert"})
    synced.build("people", people(18))
    for days, outcome in ((20, ("warn", 0, 1, 0)), (2, ("success", 1, 0, 0))):
        synced.sql(f"update main_pendo.people__ledger set logged_at = logged_at - interval {days} day")
        ended = synced.sync()
        assert (ended.outcome, IN_QUEUE[2:20] in ended.result()["message"]) == (outcome, days == 20)
    assert (len(sandbox.visitors), synced.statuses("people")["p17"]) == (18, "delivered")


# on_removed: keep.


def kept(project: SmallProject, sandbox: Sandbox, rows: str, **more: Any) -> None:
    sandbox.add_field("visitor", "custom", "plan", "string")
    project.model("people", {**PEOPLE, "mode": "upsert", **more}, rows)
    project.sync()
    sandbox.forget_requests()


def test_guards_limits_and_full_refreshes_of_those_who_left(project, sandbox):
    # Nothing is taken from Pendo, but a model that lost too many rows is a wrong one, and all would be sent again.
    kept(project, sandbox, people(20), max_removals=9)
    project.build("people", people(10))
    message = project.sync(status=1).result()["message"]
    assert message == "blocked: 10 removed, max_removals allows 9; --force lets them pass"
    assert set(project.statuses("people").values()) == {"delivered"}
    project.annotate("people", {**PEOPLE, "mode": "upsert", "max_removals": "50%"})
    result = project.sync("--limit", "4").result()
    assert (result["planned"], result["delivered"]) == (planned(removed=4, unchanged=10), 4)
    assert "6 more rows wait (--limit)" in result["message"]
    assert writes(sandbox.requests) == []
    # A full refresh sends nothing of them.
    assert project.sync("--full-refresh").planned == planned(changed=10, removed=6)
    assert sent_ids(sandbox.requests, "visitor") == [f"p{i}" for i in range(10)]
    assert project.sync("--full-refresh").planned == planned(changed=10)
    assert len(project.keys("people", "removed")) == 10


def test_those_who_left_are_noted_and_another_word_later_leaves_them_alone(project, sandbox):
    kept(project, sandbox, people(4))
    project.build("people", "select 'p0' as id, 'team' as plan union all select 'p1', 'pro'")
    out = project.run("plan", "--show", "1").expect(0).stdout
    note = "2 left the model: to be noted in the ledger, kept in Pendo (on_removed: keep)"
    # The first request is of the first row that makes one.
    expect_in(out, "[1 changed, 2 removed, 1 unchanged]", note, '"visitorId": "p0"')
    assert "2 left the model: noted in the ledger, kept in Pendo" in project.run("sync").expect(0).stdout
    assert (sent_ids(sandbox.requests, "visitor"), project.keys("people", "removed")) == (["p0"], {"p2", "p3"})
    project.annotate("people", DELETING)
    project.build("people", "select 'p0' as id, 'team' as plan")
    assert project.sync().planned["removed"] == 1
    assert set(sandbox.visitors) == {"p0", "p2", "p3"}


def test_a_ledger_of_many_who_left_is_not_copied_in_vain(project, sandbox, monkeypatch):
    """A rolling window: far more keys have left than are there, and none of their entries is dead."""
    kept(project, sandbox, people(3))
    table = "main_pendo.people__ledger"
    project.sql(
        f"insert into {table} (record_key, row_hash, status, run_id, destination, commit_number) "
        "select 'old' || i, 'hash', 'removed', 'old run', 'visitor', 0 from range(2000) r(i)"
    )
    created: list[str] = []
    create = Session.create

    def noted(session: Session, schema: str, identifier: str, *sql: str) -> None:
        created.append(identifier)
        create(session, schema, identifier, *sql)

    monkeypatch.setattr(Session, "create", noted)
    project.build("people", people(4))
    project.sync()
    assert (created, len(project.ledger("people"))) == (["people__changes"], 2004)
    # Dead ones are dropped even so.
    for _ in range(2):
        project.sql(f"insert into {table} select * from {table}")
    project.build("people", people(5))
    project.sync()
    assert len(project.ledger("people")) < 4000
    assert len(project.keys("people", "removed")) == 2000
