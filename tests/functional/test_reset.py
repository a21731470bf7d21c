"""``dbt-pendo reset``: a ledger forgotten, taken over, or made from what Pendo holds."""

from __future__ import annotations

import pytest
from harness import PEOPLE, PEOPLE_ROWS, planned, sent_ids

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
