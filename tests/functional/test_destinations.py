"""A ledger knows what was delivered as what, whatever the mapping and earlier versions say.

All cases are in tests/warehouse/contract/ledger.py."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from harness import CLICKS, PEOPLE, SmallProject, bodies, planned, sent_events

from dbt_pendo.sandbox import Sandbox

MODEL = "xs"
ROWS = "select 'x' || range as id, 'p' as plan, now()::timestamp - to_seconds(range) as ts from range(50)"
EVENT: dict[str, Any] = {**CLICKS, "timestamp": "ts"}


@pytest.fixture
def visitors(project: SmallProject, plans: Sandbox) -> SmallProject:
    """Fifty rows, delivered as visitors."""
    plans.add_visitors([f"x{number}" for number in range(50)])
    project.model(MODEL, PEOPLE, ROWS)
    assert project.sync().result()["delivered"] == 50
    return project


def times_sent(sandbox: Sandbox) -> set[int]:
    """How often events were sent."""
    return set(Counter(event["visitorId"] for event in sent_events(sandbox.requests)).values())


def test_a_sync_that_changes_its_object_delivers_all(visitors, sandbox):
    visitors.annotate(MODEL, EVENT)
    told = "last delivered as visitor, now as track_event: only what was delivered as track_event counts as delivered"
    plan = visitors.plan().result()
    assert (plan["planned"], plan["warnings"]) == (planned(added=50), [told])
    assert told in visitors.run("plan").expect(0).output
    result = visitors.sync().result()
    assert (result["planned"], result["delivered"]) == (planned(added=50), 50)
    assert told in result["message"]
    assert len(sandbox.events) == 50
    again = visitors.sync().result()
    assert (again["planned"], again["message"]) == (planned(unchanged=50), None)
    # A mistake: back, and to events once more. None is sent twice, and visitors are known as well.
    for mapping in (PEOPLE, EVENT):
        visitors.annotate(MODEL, mapping)
        assert visitors.sync().planned == planned(unchanged=50)
    assert times_sent(sandbox) == {1}


def test_events_of_another_app_go_to_that_app(project, sandbox):
    project.model(MODEL, EVENT, ROWS)
    project.sync()
    for mapping, added, times in (({**EVENT, "app": "web"}, 50, 2), (EVENT, 0, 2)):
        project.annotate(MODEL, mapping)
        assert project.sync().planned == planned(added=added, unchanged=50 - added)
        assert times_sent(sandbox) == {times}
        assert project.sync().planned == planned(unchanged=50)


def test_ledgers_of_an_earlier_version_are_carried_on(visitors, sandbox):
    for column in ("destination", "commit_number"):
        visitors.sql(f"alter table main_pendo.xs__ledger drop column {column}")
    before = visitors.rows("main_pendo.xs__ledger order by all")
    sandbox.forget_requests()
    for command in (("check",), ("runs",), ("show", "last"), ("row", MODEL, "x7"), ("report",)):
        visitors.run(*command).expect(0)
    for ended in (visitors.plan(), visitors.sync()):
        assert ended.planned == planned(unchanged=50)
    assert bodies(sandbox.requests) == []
    carried = {"destination": "visitor", "commit_number": 1}
    assert visitors.rows("main_pendo.xs__ledger order by all") == [{**row, **carried} for row in before]
