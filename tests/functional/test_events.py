"""Track events: each is sent once; those that Pendo drops or hides are counted before, or left out by ``max_age``.

What an event says of a row is in tests/unit/test_render.py.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from harness import PEOPLE, PEOPLE_ROWS, SmallProject, bodies, canonical, chosen, expect_in, planned, sent_events

from dbt_pendo.sandbox import Fault, Sandbox

CLICKS = {
    **{"object": "track_event", "event": "Clicked", "event_id": "id", "visitor_id": "visitor", "timestamp": "done_at"},
    **{"properties": {"id": "id"}, "batch_size": 1000, "max_age": "none"},
}
DAY = 24 * 3600
LATE = "older than 7 days: Pendo answers 200 and drops"
FUTURE = "in the future: what Pendo does with"
LARGE = "properties of more than about 512 bytes: Pendo answers 200 and shows that"


def events(ages: Mapping[str, float | None], type_: str = "timestamp") -> str:
    """The select of events by id that happened so many seconds ago."""
    rows = ", ".join(f"('{key}', {'null' if age is None else age})" for key, age in ages.items())
    # A timestamp with zone is an instant, whatever clock shows it; others are UTC.
    now = "now()" if type_ == "timestamptz" else "now() at time zone 'UTC'"
    return (
        f"select id, 'v1' as visitor, cast({now} - to_seconds(age) as {type_}) as done_at "
        f"from (values {rows}) rows(id, age)"
    )


def told(project: SmallProject, sandbox: Sandbox) -> list[str]:
    """The warnings of check, plan and sync, which have to be the same; the first two send nothing."""
    warnings = project.check().result()["warnings"]
    assert project.check("--warn-error", status=int(bool(warnings))).result()["status"] == "success"
    assert project.plan().result()["warnings"] == warnings
    assert sent_events(sandbox.requests) == []
    assert "main_pendo" not in project.schemas()
    result = project.sync("--warn-error").result()
    assert (result["status"], result["message"]) == ("success", "\n".join(warnings) or None)
    # Whatever Pendo makes of it, it is delivered; and then there is nothing more to say.
    assert project.sync().result()["message"] is None
    return list(warnings)


def counted(warnings: list[str], words: str) -> int:
    """How many events a warning is about; 0 when there is none."""
    found = [warning for warning in warnings if words in warning]
    assert len(found) <= 1
    return int(re.findall("[0-9,]+", found[0])[0].replace(",", "")) if found else 0


def test_an_event_is_sent_once(project, sandbox):
    project.model("clicks", CLICKS, events({"e1": DAY, "e2": 60, "e3": 0}))
    project.sql("create table main.before as from main.clicks")
    project.sync()
    sent = canonical(sandbox.events)
    assert len(sent) == 3
    # Neither when its row changes, nor when the mapping does.
    project.sql("update main.clicks set visitor = 'other', done_at = timestamp '2026-06-01'")
    assert project.sync().planned == planned(unchanged=3)
    project.annotate("clicks", {**CLICKS, "event": "Pressed", "properties": {"who": "visitor"}})
    assert project.sync().planned == planned(unchanged=3)
    # Nor after its id was doubled for a while.
    project.sql("insert into main.clicks select * from main.clicks where id = 'e1'")
    assert project.sync().planned == planned(unchanged=2, invalid=2)
    project.build("clicks", "from main.before")
    assert project.sync().planned == planned(unchanged=3)
    assert canonical(sandbox.events) == sent
    # But when all are to be sent again.
    project.annotate("clicks", CLICKS)
    assert project.sync("--full-refresh").planned == planned(changed=3)
    assert canonical(sandbox.events) == sorted([*sent, *sent])
    assert project.sync().planned == planned(unchanged=3)


def test_one_event_a_call_unless_the_mapping_says_otherwise(project, sandbox):
    sandbox.switches = chosen(event_arrays="reject")
    one_by_one = {key: value for key, value in CLICKS.items() if key != "batch_size"}
    project.model("clicks", one_by_one, events({"e1": DAY, "e2": 60}))
    assert project.sync().outcome == ("success", 2, 0, 0)
    assert canonical(sandbox.events) == canonical(bodies(sandbox.requests, "/data/track"))
    assert len(sandbox.events) == 2


def test_a_sync_that_changes_its_object_delivers_all(people, sandbox):
    """What its ledger knows is in tests/warehouse/contract/ledger.py."""
    people.build("people", f"select *, id as visitor, now()::timestamp as done_at from ({PEOPLE_ROWS})")
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


@pytest.mark.parametrize("type_", ["timestamp", "timestamptz"])
def test_late_and_future_events(project, sandbox, monkeypatch, type_):
    fine = {"edge": 7 * DAY - 60, "now": 0, "clock": -240}
    late = {"past": 7 * DAY + 60, "month": 30 * DAY}
    future = {"soon": -360, "year": -365 * DAY}
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        project.model("clicks", CLICKS, events({**fine, **late, **future}, type_))
        warnings = told(project, sandbox)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert (len(warnings), counted(warnings, LATE), counted(warnings, FUTURE)) == (2, 2, 2)
    assert {receipt.body["properties"]["id"] for receipt in sandbox.receipts if receipt.late} == set(late)
    assert {receipt.body["properties"]["id"] for receipt in sandbox.receipts if receipt.future} == set(future)
    project.sql("insert into main.clicks select i, v, '2001-02-03' from (values ('no', null), ('who', ' ')) r(i, v)")
    project.sql("insert into main.clicks values ('guest', '_PENDO_T_abc', '2001-02-03')")
    # Only what would be sent is counted as old.
    for result in (project.check().result(), project.plan().result()):
        assert [warning.partition(" would be ")[2][:8] for warning in result["warnings"]] == ["invalid:"]


SIZED: list[tuple[dict[str, Any], str]] = [
    (
        {
            **{"x": {"value": "größe"}, "on": {"value": True}, "tags": {"value": ["a", "b"]}, "no": {"value": None}},
            **{"n": {"value": 5, "type": "string"}, "f": {"value": 5, "type": "float"}, "größe": {"value": 1}},
        },
        "",
    ),
    (
        {
            **{name: name for name in ("n", "no", "day", "gone", "m", "bucket", "seq")},
            **{"text": {"column": "n", "type": "string"}, "on": "flag", "off": {"column": "flag", "type": "string"}},
            **{"at": "done_at", "then": {"column": "day", "type": "time"}, "told": {"column": "said", "type": "time"}},
        },
        "12345 as n, true as flag, false as no, current_date as day, '2026-01-02' as said, 'b' as bucket, 7 as seq, "
        "cast(null as varchar) as gone, 12.34::decimal(10, 2) as m,",
    ),
]


@pytest.mark.parametrize(("properties", "columns"), SIZED)
def test_the_size_of_properties(project, sandbox, properties, columns):
    """Notes of all lengths around the limit: as many are warned of as Pendo does not show."""
    project.model(
        "clicks",
        {**CLICKS, "properties": {**properties, "note": "note"}},
        f"""
        select i as id, 'v1' as visitor, now() as done_at, {columns}
            case when i % 3 = 0 then repeat('ö', i // 2) || repeat('x', i % 2) else repeat('x', i) end as note
        from range(200, 520) r(i)
        """,
    )
    warnings = told(project, sandbox)
    sizes = [len(orjson.dumps(one["properties"])) for one in sandbox.events]
    assert {512, 513} <= set(sizes)
    large = [receipt for receipt in sandbox.receipts if "event properties JSON too large" in receipt.warnings]
    assert counted(warnings, LARGE) == len(large) == sum(size > 512 for size in sizes)


def test_an_age_needs_a_moment(project, sandbox):
    clicks = "select 'a' as id, 'v1' as visitor, 1767323045000 as done_at"
    fault = "`max_age` needs a date or timestamp, but column done_at is bigint"
    # Pendo itself drops what is older than that.
    project.model("clicks", {**CLICKS, "max_age": "7 days"}, clicks)
    (warning,) = told(project, sandbox)
    assert warning == f"{fault}: events of any age are sent; cast it in the model, or write `max_age: none`"
    project.annotate("clicks", {**CLICKS, "max_age": "6 days"})
    for command in ("check", "plan", "sync"):
        result = project.run(command, "--json").expect(2).result()
        expect_in(result["message"], f"clicks: {fault}", "Cast the column in the model")
    assert len(sandbox.events) == 1


def test_a_limited_sync_tells_of_the_old_events_that_it_sends(project):
    project.model("clicks", CLICKS, events({"a": 8 * DAY, "b": 9 * DAY, "c": 10 * DAY}))
    assert project.sync("--limit", "0").result()["message"] == "3 more rows wait (--limit)"
    assert counted(project.sync("--limit", "2").result()["message"].split("\n"), LATE) == 2


def test_what_people_see(project, sandbox):
    mapping = {**CLICKS, "properties": {"2fa": "id"}, "max_age": "30 days"}
    project.model("clicks", mapping, events({"a": 40 * DAY, "b": 9 * DAY, "c": 0}))
    name = "    Pendo accepts the event property `2fa` but cannot show it: its name starts with a digit"
    late = "    1 event older than 7 days: Pendo answers 200 and drops such events; `max_age: 7 days`"
    old = "    1 event older than 30 days is left out (max_age)"
    for command in ("check", "plan"):
        expect_in(project.run(command).expect(0).output, name, late, old)
        assert project.run(command, "--json").expect(0).result()["left_out"] == 1
    expect_in(project.run("check", "--offline").expect(0).output, name, "[WARN]")
    project.run("sync").expect(0).says(
        "OK synced track_event clicks", "1 event older than 7 days", old.strip(), "Completed successfully"
    )
    assert project.keys("clicks", "delivered") == {"b", "c"}


def test_names_that_pendo_does_not_know_yet(project, sandbox, monkeypatch):
    rows = "(1, 'Known'), (2, 'Next'), (3, 'Next'), (4, null), (5, ' ')"
    columns = "i as id, 'v1' as visitor, now() as done_at, cast(name as varchar) as name"
    project.model(
        "clicks", {**CLICKS, "event": {"column": "name"}}, f"select {columns} from (values {rows}) r(i, name)"
    )
    known = {"type": "track", "event": "Known", "visitorId": "v1", "timestamp": int(time.time() * 1000)}
    with sandbox.pendo.lock:
        # In another app than the default one.
        sandbox.pendo.receive_events(known, "web", sandbox.switches)

    def new_names(*args: str) -> list[str]:
        # They are no mistake, nor a warning.
        names: list[str] = project.check(*args).result()["new_event_names"]
        return names

    note = "    Pendo does not know 1 event name yet (Next): it does not process events from before the first of a name"
    assert new_names() == ["Next"]
    project.sql("delete from main.clicks where trim(coalesce(name, '')) = ''")
    expect_in(project.run("check", "--warn-error").expect(0).output, note, "All mappings are sound")
    # A Pendo that does not tell, or is not asked.
    for fault in (Fault(status=403), Fault(status=200, body="{}")):
        sandbox.fail(replace(fault, path="/tracktype", times=None))
        assert new_names() == []
        sandbox.clear_faults()
    sandbox.forget_requests()
    assert new_names("--offline") == []
    with monkeypatch.context() as without:
        without.delenv("PENDO_INTEGRATION_KEY")
        assert new_names() == []
    assert not [request for request in sandbox.requests if "tracktype" in request.path]
    project.sync()
    assert new_names() == []
    project.annotate("clicks", {**CLICKS, "event": "Pressed"})
    assert new_names() == ["Pressed"]
    # One statement and one call, whatever the model has.
    project.annotate("clicks", {**CLICKS, "event": {"column": "name"}})
    project.sql("insert into main.clicks select i, 'v1', now(), 'E' || i from range(1500) r(i)")
    sandbox.forget_requests()
    assert len(new_names()) == 1000
    assert sum("tracktype" in request.path for request in sandbox.requests) == 1
    assert "does not know 1,000 event names yet (e.g. E0): " in project.run("check").expect(0).output
