"""Records that left the model: kept ones are recorded, deletions are guarded, and followed to their end."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from harness import PEOPLE, SmallProject, bodies, planned, writes

from dbt_pendo.delivery import writers as deliver
from dbt_pendo.sandbox import Fault, Sandbox, Switches
from dbt_pendo.warehouse.session import Session

DELETING = {**PEOPLE, "on_removed": "delete"}


def people(count: int) -> str:
    return f"select 'p' || i as id, 'pro' as plan from range({count}) r(i)"


@pytest.fixture
def synced(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors([f"p{i}" for i in range(1200)])
    project.model("people", DELETING, people(1200))
    project.sync()
    return project


def test_nobody_is_deleted_unless_a_limit_or_force_allows_it(synced: SmallProject, sandbox: Sandbox) -> None:
    synced.build("people", people(1198))
    result = synced.sync(status=1).result()
    assert result["status"] == "blocked"
    assert "2 visitors would be deleted" in result["message"]
    assert "max_removals" in result["message"]
    assert len(sandbox.visitors) == 1200
    assert synced.sync("--force").result()["planned"] == planned(removed=2, unchanged=1198)
    assert len(sandbox.visitors) == 1198


def test_at_most_500_ids_a_call(synced: SmallProject, sandbox: Sandbox) -> None:
    synced.annotate("people", {**DELETING, "max_removals": "100%"})
    synced.build("people", people(1))
    assert synced.sync().result()["delivered"] == 1199
    sent = [len(body["visitors"]) for body in bodies(sandbox.requests, "/bulkdelete/")]
    assert sum(sent) == 1199
    assert max(sent) <= 500
    assert len(sent) == 3
    starts = [request.at for request in writes(sandbox.requests) if "/bulkdelete/" in request.path]
    assert all(later - earlier >= 0.95 for earlier, later in itertools.pairwise(starts))
    assert list(sandbox.visitors) == ["p0"]


@pytest.mark.parametrize("seconds", [1.0, None])
def test_a_deletion_that_takes_its_time(
    synced: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, seconds: Any
) -> None:
    monkeypatch.setattr(deliver, "DELETION_PATIENCE", 5.0 if seconds else 0.5)
    sandbox.switches = Switches(deletion_seconds=seconds)
    synced.annotate("people", {**DELETING, "max_removals": 5})
    synced.build("people", people(1197))
    result = synced.sync().result()
    assert (result["status"], result["delivered"]) == ("success", 3)
    waited = [request for request in sandbox.requests if request.method == "GET" and "/bulkdelete/" in request.path]
    assert len(waited) >= 2
    if seconds:
        assert result["message"] is None
        assert len(sandbox.visitors) == 1197
    else:
        assert "3 deletions are queued in Pendo, for up to 21 days (jobs: delete-1)" in result["message"]


def test_a_deletion_that_fails_in_the_end(synced: SmallProject, sandbox: Sandbox) -> None:
    synced.annotate("people", {**DELETING, "max_removals": 5})
    synced.build("people", people(1197))
    sandbox.fail(Fault(status=200, body='{"id": "delete-1", "status": "failed"}', method="GET", path="/bulkdelete/"))
    result = synced.sync(status=1).result()
    assert (result["status"], result["rejected"]) == ("partial", 3)
    assert "Pendo's deletion delete-1 ended as failed" in result["message"]


@pytest.mark.parametrize("body", ["", "{}", '{"error": "no"}', "<html>"])
def test_a_deletion_without_a_job_is_none(synced: SmallProject, sandbox: Sandbox, body: str) -> None:
    synced.annotate("people", {**DELETING, "max_removals": 5})
    synced.build("people", people(1199))
    sandbox.fail(Fault(status=200, body=body, method="POST", path="/bulkdelete/", times=None))
    result = synced.sync(status=1).result()
    assert (result["status"], result["delivered"]) == ("error", 0)
    assert "an answer that does not say what was done" in result["message"]
    assert len(sandbox.visitors) == 1200
    sandbox.clear_faults()
    assert synced.sync().result()["delivered"] == 1
    assert len(sandbox.visitors) == 1199


# Deletions that outlive the run that queued them.

QUEUED = "queued in Pendo as deletion delete-1"


@pytest.fixture
def queued(synced: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project of whose 1,200 visitors p1197 to p1199 are queued for deletion."""
    monkeypatch.setattr(deliver, "DELETION_PATIENCE", 0.1)
    sandbox.switches = Switches(deletion_seconds=None)
    synced.annotate("people", {**DELETING, "max_removals": 5})
    synced.build("people", people(1197))
    assert "3 deletions are queued" in synced.sync().result()["message"]
    sandbox.forget_requests()
    return synced


def gone(project: SmallProject) -> set[tuple[str, str, str | None]]:
    """What the ledger says at last of the three."""
    latest = {entry["record_key"]: entry for entry in project.ledger("people")}
    return {(key, latest[key]["status"], latest[key]["detail"]) for key in ("p1197", "p1198", "p1199")}


def asked(sandbox: Sandbox) -> list[str]:
    return [request.path for request in sandbox.requests if "/bulkdelete/" in request.path]


def test_later_runs_ask_until_a_deletion_is_done(queued: SmallProject, sandbox: Sandbox) -> None:
    assert gone(queued) == {(key, "removed", QUEUED) for key in ("p1197", "p1198", "p1199")}
    entries = len(queued.ledger("people"))
    result = queued.sync().result()
    assert result["planned"] == planned(unchanged=1197)
    assert "3 deletions are queued in Pendo, for up to 21 days (jobs: delete-1)" in result["message"]
    assert asked(sandbox) == ["/api/v1/bulkdelete/delete-1"]
    assert len(queued.ledger("people")) == entries

    sandbox.switches = Switches()
    result = queued.sync().result()
    assert result["planned"] == planned(unchanged=1197)
    assert result["message"] == "Pendo's deletion delete-1 of 3 rows ended as complete"
    assert gone(queued) == {
        (key, "removed", "Pendo's deletion delete-1 ended as complete") for key in ("p1197", "p1198", "p1199")
    }
    # Then there is nothing left to ask for.
    sandbox.forget_requests()
    entries = len(queued.ledger("people"))
    assert queued.sync().result()["message"] is None
    assert asked(sandbox) == []
    assert len(queued.ledger("people")) == entries


def test_a_deletion_that_fails_days_later_is_tried_again(queued: SmallProject, sandbox: Sandbox) -> None:
    queued.build("people", f"{people(1197)} union all select 'p1199', 'back'")
    sandbox.fail(Fault(status=200, body='{"status": "failed"}', method="GET", path="/bulkdelete/delete-1"))
    sandbox.switches = Switches()
    result = queued.sync().result()
    assert "Pendo's deletion delete-1 of 3 rows ended as failed: they are tried again" in result["message"]
    # Whoever is back in the model by now is no longer to be deleted.
    assert result["planned"] == planned(changed=1, removed=2, unchanged=1197)
    assert [sorted(body["visitors"]) for body in bodies(sandbox.requests, "/bulkdelete/")] == [["p1197", "p1198"]]
    assert not {"p1197", "p1198"} & sandbox.visitors.keys()
    assert {key: status for key, status, _ in gone(queued)}["p1197"] == "removed"
    assert queued.sync().result()["planned"]["removed"] == 0


def test_a_failed_deletion_is_no_way_past_the_guard(queued: SmallProject, sandbox: Sandbox) -> None:
    queued.annotate("people", {**DELETING, "max_removals": 2})
    sandbox.switches = Switches(deletion_end="failed")
    result = queued.sync(status=1).result()
    assert result["message"] == "blocked: 3 removed, max_removals allows 2; --force lets them pass"
    assert len(sandbox.visitors) == 1200
    assert gone(queued) == {
        (key, "delivered", "Pendo's deletion delete-1 ended as failed") for key in ("p1197", "p1198", "p1199")
    }


def test_who_came_back_is_followed_no_further(queued: SmallProject, sandbox: Sandbox) -> None:
    sandbox.switches = Switches(deletion_end="failed")
    queued.annotate("people", PEOPLE)
    queued.build("people", people(1200))
    # Nothing is deleted by this mapping, so it does not ask.
    assert queued.sync().result()["delivered"] == 3
    queued.annotate("people", {**DELETING, "max_removals": 5})
    assert queued.sync().result()["planned"] == planned(unchanged=1200)
    assert asked(sandbox) == []


@pytest.mark.parametrize("status", [403, 500])
def test_a_sync_goes_on_when_pendo_does_not_tell_of_a_deletion(
    queued: SmallProject, sandbox: Sandbox, status: int
) -> None:
    queued.build("people", f"select id, if(id = 'p1', 'team', plan) as plan from ({people(1197)})")
    sandbox.fail(Fault(status=status, method="GET", path="/bulkdelete/", times=None))
    result = queued.sync().result()
    assert (result["status"], result["planned"]) == ("success", planned(changed=1, unchanged=1196))
    assert "3 deletions are queued" in result["message"]
    assert gone(queued) == {(key, "removed", QUEUED) for key in ("p1197", "p1198", "p1199")}


def test_a_deletion_that_pendo_took_counts_whatever_it_says_of_the_job(
    synced: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "DELETION_PATIENCE", 0.1)
    synced.annotate("people", {**DELETING, "max_removals": 5})
    synced.build("people", people(1197))
    sandbox.fail(Fault(status=403, method="GET", path="/bulkdelete/"))
    result = synced.sync().result()
    assert (result["status"], result["delivered"]) == ("success", 3)
    assert gone(synced) == {(key, "removed", QUEUED) for key in ("p1197", "p1198", "p1199")}


def test_a_deletion_that_pendo_has_forgotten(queued: SmallProject, sandbox: Sandbox) -> None:
    sandbox.fail(Fault(status=404, method="GET", path="/bulkdelete/"))
    result = queued.sync().result()
    assert result["message"] == "Pendo's deletion delete-1 of 3 rows is not known there any more"
    assert gone(queued) == {
        (key, "removed", "Pendo's deletion delete-1 is not known there any more") for key in ("p1197", "p1198", "p1199")
    }
    sandbox.forget_requests()
    queued.sync()
    assert asked(sandbox) == []


# on_removed: keep.


def kept(project: SmallProject, sandbox: Sandbox, rows: str, **more: Any) -> None:
    sandbox.add_field("visitor", "custom", "plan", "string")
    project.model("people", {**PEOPLE, "mode": "upsert", **more}, rows)
    project.sync()
    sandbox.forget_requests()


def test_what_is_sent_and_what_is_only_recorded_go_together(project: SmallProject, sandbox: Sandbox) -> None:
    kept(project, sandbox, people(100))
    project.build("people", f"select id, if(id < 'p3', 'team', plan) as plan from ({people(120)}) where id > 'p15'")
    result = project.sync().result()
    gone = {f"p{i}" for i in range(100)} - {key for (key,) in project.sql("select id from main.people")}
    assert 0 < result["planned"]["removed"] == len(gone)
    assert result["requests"] == len(writes(sandbox.requests)) == 1
    assert {key for key, status in project.statuses("people").items() if status == "removed"} == gone
    assert gone < set(sandbox.visitors)
    (there,) = project.sql("select count(*) from main.people")
    assert project.sync().result()["planned"] == planned(unchanged=there[0])


def test_whom_earlier_versions_did_not_record_is_recorded_once(project: SmallProject, sandbox: Sandbox) -> None:
    """Their ledgers know of delivered keys that no model has any more."""
    kept(project, sandbox, people(3))
    project.sql(
        "insert into main_pendo.people__ledger (record_key, row_hash, status, run_id, destination, commit_number) "
        "select 'old' || i, 'hash', 'delivered', 'old run', 'visitor', 0 from range(4) r(i)"
    )
    assert project.sync().result()["planned"] == planned(removed=4, unchanged=3)
    assert project.sync().result()["planned"] == planned(unchanged=3)
    assert writes(sandbox.requests) == []


@pytest.mark.parametrize(("limit", "blocked"), [(4, True), (5, False), ("4%", True), ("5%", False)])
def test_max_removals_holds_for_kept_ones_too(
    project: SmallProject, sandbox: Sandbox, limit: Any, blocked: bool
) -> None:
    """Nothing is taken from Pendo, but a model that lost too many rows is a wrong one, and all would be sent again."""
    kept(project, sandbox, people(100), max_removals=limit)
    project.build("people", people(95))
    result = project.sync(status=int(blocked)).result()
    if blocked:
        assert result["message"] == "blocked: 5 removed, max_removals allows 4; --force lets them pass"
        assert set(project.statuses("people").values()) == {"delivered"}
        assert project.sync("--force").result()["delivered"] == 5
    assert list(project.statuses("people").values()).count("removed") == 5


def test_a_limit_counts_what_is_only_recorded(project: SmallProject, sandbox: Sandbox) -> None:
    kept(project, sandbox, people(20))
    project.build("people", people(10))
    result = project.sync("--limit", "4").result()
    assert (result["planned"], result["delivered"]) == (planned(removed=4, unchanged=10), 4)
    assert "6 more rows wait (--limit)" in result["message"]
    assert project.sync().result()["planned"] == planned(removed=6, unchanged=10)
    assert writes(sandbox.requests) == []


def test_a_full_refresh_sends_nothing_of_those_who_left(project: SmallProject, sandbox: Sandbox) -> None:
    kept(project, sandbox, people(5))
    project.build("people", people(3))
    assert project.sync("--full-refresh").result()["planned"] == planned(changed=3, removed=2)
    assert sorted(record["visitorId"] for body in bodies(sandbox.requests) for record in body) == ["p0", "p1", "p2"]
    assert project.sync("--full-refresh").result()["planned"] == planned(changed=3)


def test_a_plan_says_what_becomes_of_those_who_left(project: SmallProject, sandbox: Sandbox) -> None:
    kept(project, sandbox, people(4))
    project.build("people", "select 'p0' as id, 'team' as plan")
    out = project.run("plan", "--show", "1").expect(0).stdout
    assert "[1 changed, 3 removed]" in out
    assert "3 left the model: to be noted in the ledger, kept in Pendo (on_removed: keep)" in out
    # The first request is of the first row that makes one.
    assert '"visitorId": "p0"' in out
    out = project.run("sync").expect(0).stdout
    assert "3 left the model: noted in the ledger, kept in Pendo" in out


def test_another_word_later_leaves_those_alone_who_were_recorded(project: SmallProject, sandbox: Sandbox) -> None:
    kept(project, sandbox, people(4))
    project.build("people", people(3))
    project.sync()
    project.annotate("people", {**DELETING, "max_removals": 10})
    project.build("people", people(2))
    assert project.sync().result()["planned"] == planned(removed=1, unchanged=2)
    assert set(sandbox.visitors) == {"p0", "p1", "p3"}


def test_a_repair_records_nobody_as_removed(project: SmallProject, sandbox: Sandbox) -> None:
    kept(project, sandbox, people(4))
    with sandbox.pendo.lock:
        sandbox.pendo.records["visitor"].add("p1", {"custom": {"plan": "theirs"}})
    repaired = project.run("verify", "--repair", "--json").expect(0).result()["repaired"]
    assert repaired["planned"] == planned(changed=1)
    assert project.sync().result()["planned"] == planned(unchanged=4)


def test_events_that_left_the_model_are_history(project: SmallProject, sandbox: Sandbox) -> None:
    clicks = {"object": "track_event", "event": "Click", "event_id": "id", "visitor_id": "id", "timestamp": "at"}
    project.model("clicks", clicks, "select 'e' || i as id, now() as at from range(5) r(i)")
    project.sync()
    project.build("clicks", "select 'e' || i as id, now() as at from range(3, 6) r(i)")
    assert project.sync().result()["planned"] == planned(added=1, unchanged=2)
    assert set(project.statuses("clicks").values()) == {"delivered"}


def test_a_ledger_of_many_who_left_is_not_copied_in_vain(
    project: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rolling window: far more keys have left than are there, and none of their entries is dead."""
    kept(project, sandbox, people(3))
    project.sql(
        "insert into main_pendo.people__ledger (record_key, row_hash, status, run_id, destination, commit_number) "
        "select 'old' || i, 'removed', 'removed', 'old run', 'visitor', 0 from range(5000) r(i)"
    )
    created: list[str] = []
    create = Session.create

    def noted(session: Session, schema: str, identifier: str, sql: str) -> None:
        created.append(identifier)
        create(session, schema, identifier, sql)

    monkeypatch.setattr(Session, "create", noted)
    project.build("people", people(4))
    project.sync()
    assert created == ["people__changes"]
    assert len(project.ledger("people")) == 5004
    # Dead ones are dropped even so, and those who left are still known to have left.
    project.sql("insert into main_pendo.people__ledger select * from main_pendo.people__ledger")
    project.sql(
        "insert into main_pendo.people__ledger by name select * replace (commit_number - 100 as commit_number) "
        "from main_pendo.people__ledger"
    )
    project.build("people", people(5))
    project.sync()
    ledger = project.ledger("people")
    assert len(ledger) == len({entry["record_key"] for entry in ledger}) == 5005
    assert [entry["status"] for entry in ledger].count("removed") == 5000
    assert project.sync().result()["planned"] == planned(unchanged=5)
