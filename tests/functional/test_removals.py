"""Deletions in Pendo: guarded, and followed to their end."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from harness import PEOPLE, SmallProject, bodies, planned, writes

from dbt_pendo.engine import deliver
from dbt_pendo.sandbox import Fault, Sandbox, Switches

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


def test_an_answer_without_a_job_is_believed(synced: SmallProject, sandbox: Sandbox) -> None:
    synced.annotate("people", {**DELETING, "max_removals": 5})
    synced.build("people", people(1199))
    sandbox.fail(Fault(status=200, body="", method="POST", path="/bulkdelete/"))
    assert synced.sync().result()["delivered"] == 1
