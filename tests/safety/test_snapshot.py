"""A model that is rebuilt, and a warehouse that fails, while a sync runs."""

from collections import Counter

import pytest
from harness import custom
from harness.postgres import IS_POSTGRES
from lab import Lab, small_pages

ROWS = 60


@pytest.fixture(autouse=True)
def many_pages(lab: Lab) -> None:
    lab.shrink = small_pages(10)


def fill_people(lab: Lab) -> set[str]:
    lab.only("people")
    names = {f"n{number}" for number in range(ROWS)}
    lab.sandbox.add_visitors(names)
    lab.fill("people", [(name, "old", 1.0) for name in sorted(names)])
    return names


@pytest.mark.parametrize("call", [1, 3])
def test_a_model_rebuilt_in_mid_run_does_not_mix_old_rows_with_new(lab, call):
    names = fill_people(lab)
    lab.sabotage(
        "read_page" if IS_POSTGRES else "read_bodies",
        "create table main.others as select id, 'new' as plan, 2.0::float8 as mrr from main.people where id <> 'n7' "
        "union all select 'n999', 'new', 2.0",
        "drop table main.people",
        "alter table main.others rename to people",
        call=call,
    )

    result = lab.sync()["people"]

    assert result["delivered"] == ROWS
    assert custom(lab.sandbox.visitors) == {name: {"plan": "old", "mrr": 1.0} for name in names}
    lab.plots.clear()
    lab.sandbox.add_visitors(["n999"])
    # What is new is the next run's; n7 left the model and is cleared.
    result = lab.sync()["people"]
    assert result["planned"] == {"added": 1, "changed": 59, "removed": 1, "unchanged": 0, "invalid": 0, "held": 0}
    assert custom(lab.sandbox.visitors) == {name: {"plan": "new", "mrr": 2.0} for name in names | {"n999"}} | {"n7": {}}


@pytest.mark.parametrize("method", ["read_page", "commit"])
@pytest.mark.parametrize("trouble", ["close", "drop table main_pendo.clicks__changes"])
@pytest.mark.parametrize("call", [1, 3])
def test_a_warehouse_that_fails_in_mid_run_ends_the_sync_with_the_truth(lab, method, trouble, call):
    lab.only("clicks")
    names = lab.click(ROWS)
    lab.sabotage(method, trouble, call=call)

    result = lab.sync(status=1)["clicks"]

    assert result["status"] == "error"
    assert "The warehouse" in result["message"]
    taken = lab.sandbox_event_ids()
    assert len(taken) < ROWS
    known = lab.statuses("clicks")
    # What the ledger has is what Pendo has; what could not be committed any more, the journal has.
    assert set(known) <= set(taken)
    assert set(known.values()) <= {"delivered"}
    if trouble == "close":
        lab.plots.clear()
        lab.sync()
        assert Counter(lab.sandbox_event_ids()) == Counter(names)
        assert lab.statuses("clicks") == dict.fromkeys(names, "delivered")


def test_a_ledger_that_is_gone_in_mid_run_is_no_delivery(lab):
    names = fill_people(lab)
    lab.sabotage("commit", "drop table main_pendo.people__ledger", call=3)

    result = lab.sync(status=1)["people"]

    assert result["status"] == "error"
    lab.plots.clear()
    # Nobody knows any more what was delivered, so all of it comes again, to the same effect.
    assert lab.sync()["people"]["delivered"] >= ROWS - 20
    assert lab.statuses("people") == dict.fromkeys(names, "delivered")
    assert custom(lab.sandbox.visitors) == {name: {"plan": "old", "mrr": 1.0} for name in names}
