"""Track events: what each option of a mapping sends, each event once, and what becomes of bad ones."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from harness import PEOPLE, PEOPLE_ROWS, canonical, epoch_ms, planned

from dbt_pendo.sandbox import Fault, Switches

CLICKS = {
    **{"object": "track_event", "event": "Clicked", "event_id": "id", "visitor_id": "visitor", "timestamp": "done_at"},
    "properties": {"button": "button"},
}
CLICK_ROWS = """
    select * from (values
        ('e1', 'v1', timestamp '2026-05-01 10:00:00.123', 'save'),
        ('e2', 'v2', timestamp '2026-05-01 11:00:00', null),
        ('e3', 'v1', timestamp '2026-05-02 00:00:00', 'open')
    ) rows(id, visitor, done_at, button)"""


def event(name: str, visitor: str, at: Any, properties: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    about = {"type": "track", "event": name, "visitorId": visitor, "timestamp": epoch_ms(at)}
    return {**about, "properties": properties or {}, "context": {}, **more}


CLICK_EVENTS = [
    event("Clicked", "v1", "2026-05-01T10:00:00.123", {"button": "save"}),
    event("Clicked", "v2", "2026-05-01T11:00:00"),
    event("Clicked", "v1", "2026-05-02", {"button": "open"}),
]


def test_an_event_names_everything_by_a_column_or_a_value(project, sandbox):
    mapping = {
        **{**CLICKS, "event": {"column": "name"}, "account_id": "account"},
        "properties": {"amount": "amount", "count": {"column": "n", "type": "string"}, "source": {"value": "dbt"}},
        "context": {"ip": "ip", "userAgent": "agent", "url": "url", "title": {"value": "Cart"}},
    }
    rows = """
        select 1 as id, 'Bought' as name, 7 as visitor, 'acme' as account,
            timestamptz '2026-05-01 10:00:00+02' as done_at, 12.30::decimal(10, 2) as amount, 3 as n,
            '127.0.0.1' as ip, 'curl' as agent, 'https://x.example/?a=b' as url
        union all
        select 2, 'Looked', 8, null, timestamptz '2026-05-02 00:00:00Z', null, null, null, null, null"""
    project.model("orders", mapping, rows)
    project.sync()
    properties = {"amount": 12.3, "count": "3", "source": "dbt"}
    context = {"ip": "127.0.0.1", "userAgent": "curl", "url": "https://x.example/?a=b", "title": "Cart"}
    bought = event("Bought", "7", "2026-05-01T08:00:00", properties, accountId="acme", context=context)
    looked = event("Looked", "8", "2026-05-02", {"source": "dbt"}, context={"title": "Cart"})
    assert canonical(sandbox.events) == canonical([bought, looked])
    constant = {**CLICKS, "visitor_id": {"value": "system"}, "account_id": {"value": "us"}, "properties": {}}
    project.model("clicks", constant, CLICK_ROWS)
    project.sync("--select", "clicks")
    assert [(body["visitorId"], body["accountId"]) for body in sandbox.events[2:]] == [("system", "us")] * 3


def test_an_event_is_sent_once(project, sandbox):
    project.model("clicks", CLICKS, CLICK_ROWS)
    project.sync()
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
    assert canonical(sandbox.events) == canonical(CLICK_EVENTS)
    # But when all are to be sent again.
    project.annotate("clicks", CLICKS)
    assert project.sync("--full-refresh").planned == planned(changed=3)
    assert canonical(sandbox.events) == canonical([*CLICK_EVENTS, *CLICK_EVENTS])
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


def test_bad_events_are_invalid_with_a_reason(project, sandbox):
    project.model(
        "clicks",
        {**CLICKS, "event": {"column": "name"}, "account_id": {"value": "a1"}, "batch_size": 10},
        """
        select id, name, visitor, moment::timestamp as done_at, 'x' as button from (values
            ('ok', 'Clicked', 'v1', '2026-05-01'),
            ('nobody', 'Clicked', null, '2026-05-01'),
            ('blank', 'Clicked', ' ', '2026-05-01'),
            ('anonymous', 'Clicked', '_PENDO_T_1', '2026-05-01'),
            ('never', 'Clicked', 'v1', null),
            ('nameless', null, 'v1', '2026-05-01'),
            ('empty', '', 'v1', '2026-05-01'),
            (null, 'Clicked', 'v1', '2026-05-01')
        ) rows(id, name, visitor, moment)""",
    )
    assert project.sync().planned == planned(added=1, invalid=7)
    (taken,) = sandbox.events
    assert taken == event("Clicked", "v1", "2026-05-01", {"button": "x"}, accountId="a1")
    assert {entry["record_key"]: entry["detail"] for entry in project.ledger("clicks")} == {
        "ok": None,
        "nobody": "visitor_id: is null",
        "blank": "visitor_id: is empty",
        "anonymous": "visitor_id: an anonymous visitor id",
        "never": "timestamp: is null",
        "nameless": "event: is null",
        "empty": "event: is empty",
    }


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
    assert result["delivered"] == len(taken) == len(set(taken)) > 0
    sandbox.clear_faults()
    project.sync(status=1)
    assert sorted(event["visitorId"] for event in sandbox.events) == sorted({*keys} - {keys[10]})
