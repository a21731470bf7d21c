"""A ledger knows what was delivered as what, whatever the mapping, the clock and earlier versions say."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from harness import CLICKS, PEOPLE, SmallProject, custom, planned, sent_events, writes

from dbt_pendo.sandbox import Sandbox

MODEL = "xs"
ROWS = "select 'x' || range as id, 'p' as plan, now()::timestamp - to_seconds(range) as ts from range(50)"
EVENT: dict[str, Any] = {**CLICKS, "timestamp": "ts"}
NEW_COLUMNS = ("destination", "commit_number")


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
    visitors.annotate(MODEL, PEOPLE)
    assert visitors.sync().planned == planned(unchanged=50)
    visitors.annotate(MODEL, EVENT)
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


def test_a_clock_that_was_fast_for_one_run_hides_no_change(visitors, sandbox):
    visitors.sql("update main_pendo.xs__ledger set logged_at = logged_at + interval 30 days")
    visitors.sql("update main_pendo.pendo_runs set logged_at = logged_at + interval 30 days")
    for plan in ("q", "p"):
        visitors.sql(f"update main.xs set plan = '{plan}' where id = 'x7'")
        assert visitors.sync().planned == planned(changed=1, unchanged=49)
        assert custom(sandbox.visitors)["x7"]["plan"] == plan
    story = visitors.run("row", MODEL, "x7", "--json").expect(0).result()
    assert [entry["run_id"] for entry in story["ledger"]] == sorted(
        (entry["run_id"] for entry in story["ledger"]), reverse=True
    )


def test_ledgers_of_an_earlier_version_are_carried_on(visitors, sandbox):
    objects = {MODEL: "visitor", "events": "track_event"}
    visitors.model("events", EVENT, ROWS)
    visitors.sync("--select", "events")
    before = {}
    for name in objects:
        for column in NEW_COLUMNS:
            visitors.sql(f"alter table main_pendo.{name}__ledger drop column {column}")
        before[name] = visitors.rows(f"main_pendo.{name}__ledger order by all")
    sandbox.forget_requests()
    for command in (("check",), ("runs",), ("show", "last"), ("row", "events", "x7"), ("report",)):
        visitors.run(*command).expect(0)
    for ended in (visitors.plan(), visitors.sync()):
        assert [ended.result(name)["planned"] for name in objects] == [planned(unchanged=50)] * 2
    assert not [request for request in writes(sandbox.requests) if not re.search(rb"^(\{\}|\[\])?$", request.body)]
    for name, object_ in objects.items():
        after = visitors.rows(f"main_pendo.{name}__ledger order by all")
        assert [{key: row[key] for key in row if key not in NEW_COLUMNS} for row in after] == before[name]
        assert {(row["destination"], row["commit_number"]) for row in after} == {(object_, 1)}
