"""``dbt-pendo reset``: a ledger forgotten, taken over, or made from what Pendo holds."""

from __future__ import annotations

import pytest
from harness import CLICKS, PEOPLE, PEOPLE_ROWS, planned, sent_ids, writes

from dbt_pendo.sandbox import Sandbox


@pytest.fixture
def plans(sandbox: Sandbox) -> Sandbox:
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a", "b", "c"])
    return sandbox


def test_all_of_a_selection_is_sent_again(project, plans):
    for name in ("people", "others"):
        project.model(name, PEOPLE, PEOPLE_ROWS)
    project.sync()
    assert "[forgotten]" in project.run("reset", "--select", "others").expect(0).output
    assert "others__ledger" not in project.tables()
    counts = {result["sync"]: result["planned"] for result in project.sync().json["results"]}
    assert counts == {"people": planned(unchanged=2), "others": planned(added=2)}
    assert "[2 rows adopted]" in project.run("reset", "--adopt").expect(0).output
    assert "exclude each other" in project.run("reset", "--adopt", "--from-pendo").expect(2).output


def test_adopt_takes_all_for_delivered(project, plans):
    project.model("people", PEOPLE, f"{PEOPLE_ROWS} union all select null, 'x' union all select 'b', 'twice'")
    assert project.run("reset", "--adopt", "--json").expect(0).result()["adopted"] == 1
    assert writes(plans.requests) == []
    assert project.plan().planned == planned(unchanged=1, invalid=3)
    project.build("people", "select 'a' as id, 'changed' as plan")
    assert project.sync().planned == planned(changed=1)


def test_adopted_events_are_never_sent(project, sandbox):
    project.model("clicks", CLICKS, "select cast(i as varchar) as id, now() as at from range(5) r(i)")
    project.run("reset", "--adopt").expect(0)
    project.build("clicks", "select cast(i as varchar) as id, now() as at from range(7) r(i)")
    assert project.sync().result()["delivered"] == 2
    assert sorted(event["visitorId"] for event in sandbox.events) == ["5", "6"]


def test_from_pendo_sends_only_real_differences(project, plans):
    plans.add_visitors({"a": {"custom": {"plan": "pro"}}, "b": {"custom": {"plan": "old"}}, "z": {"custom": {}}})
    project.model(
        "people", {**PEOPLE, "mode": "upsert", "on_removed": "clear"}, f"{PEOPLE_ROWS} union all select 'new', 'free'"
    )
    result = project.run("reset", "--from-pendo", "--json").expect(0).result()
    assert result["adopted"] == 1
    assert project.plan().planned == planned(added=1, changed=1, unchanged=1)
    plans.forget_requests()
    project.sync()
    # Nobody whom only Pendo has is taken for one that left the model.
    assert sent_ids(plans.requests, "visitor") == ["b", "new"]
    assert not {name for name in project.tables() if name.endswith(("__compared", "__drift"))}


def test_from_pendo_keeps_the_ledger_when_pendo_cannot_be_read(project, plans, monkeypatch):
    project.model("people", PEOPLE, PEOPLE_ROWS)
    project.sync()
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "garbage")
    project.run("reset", "--from-pendo", "--json").expect(2)
    assert project.statuses("people") == {"a": "delivered", "b": "delivered"}


@pytest.mark.parametrize("way", ["--adopt", "--from-pendo"])
def test_a_reset_that_comes_to_no_end_forgets_nothing(project, plans, way):
    """The new ledger is made beside the old one, which goes only then."""
    plans.add_visitors(["gone"])
    project.model("people", PEOPLE, f"{PEOPLE_ROWS} union all select 'gone', 'x'")
    project.sync()
    project.sql(
        "drop table main.people; create view main.people as "
        "select if(plan = 'y', error('no luck today')::varchar, id) as id, plan from (values ('a', 'y')) r(id, plan)"
    )
    assert "no luck today" in project.run("reset", way).expect(1).output
    assert set(project.statuses("people").values()) == {"delivered"}
    # And one that does takes who left the model for nobody.
    project.sql("drop view main.people")
    project.build("people", PEOPLE_ROWS)
    assert project.run("reset", way, "--json").expect(0).result()["adopted"] == 2
    assert project.statuses("people") == {"a": "delivered", "b": "delivered"}
    assert project.plan().planned == planned(unchanged=2)
    assert project.tables() == {"pendo_runs", "people__ledger", "people__changes"}
