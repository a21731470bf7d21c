"""Track events: each is sent once, whatever becomes of others.

What an event says of a row is in tests/unit/test_render.py.
"""

import hashlib

import pytest
from harness import PEOPLE, PEOPLE_ROWS, canonical, planned

from dbt_pendo.sandbox import Fault, Switches

CLICKS = {
    **{"object": "track_event", "event": "Clicked", "event_id": "id", "visitor_id": "visitor", "timestamp": "done_at"},
    **{"properties": {"button": "button"}, "max_age": "none"},
}
CLICK_ROWS = """
    select * from (values
        ('e1', 'v1', timestamp '2026-05-01 10:00:00.123', 'save'),
        ('e2', 'v2', timestamp '2026-05-01 11:00:00', null),
        ('e3', 'v1', timestamp '2026-05-02 00:00:00', 'open')
    ) rows(id, visitor, done_at, button)"""


def test_an_event_is_sent_once(project, sandbox):
    project.model("clicks", CLICKS, CLICK_ROWS)
    project.sync()
    sent = canonical(sandbox.events)
    assert len(sent) == 3
    # Neither when its row changes, nor when the mapping does.
    project.sql("update main.clicks set button = 'other', done_at = timestamp '2026-06-01'")
    assert project.sync().planned == planned(unchanged=3)
    project.annotate("clicks", {**CLICKS, "event": "Pressed", "properties": {"key": "button"}})
    assert project.sync().planned == planned(unchanged=3)
    # Nor after its id was doubled for a while.
    project.sql("insert into main.clicks select * from main.clicks where id = 'e1'")
    assert project.sync().planned == planned(unchanged=2, invalid=2)
    project.build("clicks", CLICK_ROWS)
    assert project.sync().planned == planned(unchanged=3)
    assert canonical(sandbox.events) == sent
    # But when all are to be sent again.
    project.annotate("clicks", CLICKS)
    assert project.sync("--full-refresh").planned == planned(changed=3)
    assert canonical(sandbox.events) == sorted([*sent, *sent])
    assert project.sync().planned == planned(unchanged=3)


def test_a_sync_that_changes_its_object_delivers_all(people, sandbox):
    """What its ledger knows is in tests/warehouse/contract/ledger.py."""
    people.build("people", f"select *, id as visitor, plan as button, now()::timestamp as done_at from ({PEOPLE_ROWS})")
    people.sync()
    people.annotate("people", CLICKS)
    told = "last delivered as visitor, now as track_event: only what was delivered as track_event counts as delivered"
    plan = people.plan().result()
    assert (plan["planned"], plan["warnings"]) == (planned(added=2), [told])
    result = people.sync().result()
    assert (result["planned"], told in result["message"], len(sandbox.events)) == (planned(added=2), True, 2)
    # A mistake: back, and to events once more. None is sent twice, and visitors are known as well.
    for mapping in (PEOPLE, CLICKS):
        people.annotate("people", mapping)
        result = people.sync().result()
        assert (result["planned"], len(sandbox.events)) == (planned(unchanged=2), 2)


def in_sending_order(keys: list[str]) -> list[str]:
    """Keys in the order of their buckets, the first three hex digits of their hash."""
    return sorted(keys, key=lambda key: (hashlib.md5(key.encode()).hexdigest()[:3], key))


def clicks(count: int, late: list[str]) -> str:
    """The select of events of now, of which some happened years ago."""
    moment = f"if(id in ({str(late)[1:-1]}), timestamp '2020-01-01', (now() at time zone 'UTC')::timestamp)"
    return f"select 'e' || i as id, id as visitor, i as button, {moment} as done_at from range({count}) r(i)"


@pytest.mark.parametrize("batch_size", [1, 20])
def test_bad_events_at_the_front_do_not_sink_the_others(project, sandbox, monkeypatch, batch_size):
    """Ten rows refused for one reason, before any other had its turn."""
    monkeypatch.setenv("PENDO_CONCURRENCY", "1")
    late = in_sending_order([f"e{at}" for at in range(40)])[:10]
    sandbox.switches = Switches(refuse_late_events=True)
    project.model("clicks", {**CLICKS, "batch_size": batch_size}, clicks(40, late))
    assert project.sync(status=1).outcome == ("partial", 30, 0, 10)
    assert len(sandbox.events) == 30


def test_events_delivered_before_a_batch_failed_are_not_sent_again(project, sandbox, monkeypatch):
    """A batch is halved for one bad event; its first half is taken, then Pendo is gone."""
    monkeypatch.setenv("PENDO_CONCURRENCY", "1")
    keys = in_sending_order([f"e{at}" for at in range(20)])
    sandbox.switches = Switches(refuse_late_events=True)
    project.model("clicks", {**CLICKS, "batch_size": 20}, clicks(20, [keys[10]]))
    sandbox.fail(Fault("status", status=400, body="the request holds an invalid event", body_contains=f'"{keys[0]}"'))
    sandbox.fail(Fault("status", status=503, body_contains=f'"{keys[19]}"', times=None))
    result = project.sync(status=1).result()
    taken = [event["visitorId"] for event in sandbox.events]
    assert result["status"] == "error"
    assert result["delivered"] == len(taken) == len(set(taken)) > 0
    sandbox.clear_faults()
    project.sync(status=1)
    assert sorted(event["visitorId"] for event in sandbox.events) == sorted({*keys} - {keys[10]})
