"""Events that Pendo takes and makes nothing of: counted before they are sent, or left out by ``max_age``."""

import re
import time
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from harness import SmallProject, expect_in, planned, sent_events

from dbt_pendo.sandbox import Sandbox

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
    # Only what would be sent is counted as old, and a text is not judged.
    for result in (project.check().result(), project.plan().result()):
        assert [warning.partition(" would be ")[2][:8] for warning in result["warnings"]] == ["invalid:"]
    assert counted(project.plan("--full-refresh").result()["warnings"], LATE) == 2
    project.build("clicks", "select 'old' as id, 'v1' as visitor, '2001-02-03' as done_at")
    assert project.check().result()["warnings"] == []


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


def test_old_events_are_left_out(project, sandbox):
    """What a ledger remembers of them is in tests/warehouse/contract/events.py."""
    ages = {"month": 30 * DAY, "past": 7 * DAY + 60, "edge": 7 * DAY - 60, "now": 0, "next": -DAY, "null": None}
    limited = {key: value for key, value in CLICKS.items() if key != "max_age"}
    note = "2 events older than 7 days are left out (max_age)"
    project.model("clicks", limited, events(ages))
    project.sql("insert into main.clicks values ('never', 'v1', timestamp '-infinity')")
    for result in (project.check().result(), project.plan().result()):
        # The other warning is about those without a time.
        assert (result["left_out"], len(result["warnings"]), counted(result["warnings"], FUTURE)) == (2, 2, 1)
    assert project.plan().planned == planned(added=5)
    # One that does not say when it happened is not taken for old.
    ended = project.sync()
    assert (ended.planned, note in ended.result()["message"]) == (planned(added=3, invalid=2), True)
    invalid = dict.fromkeys(["null", "never"], "invalid")
    assert project.statuses("clicks") == {**dict.fromkeys(["edge", "next", "now"], "delivered"), **invalid}
    # What was left out comes when it is wanted, and nothing twice; an age makes no event another.
    for mapping, counts in ((limited, {}), (CLICKS, {"added": 2}), (limited, {})):
        project.annotate("clicks", mapping)
        ended = project.sync()
        assert ended.planned == planned(unchanged=3, invalid=2, **counts)
        assert (note in ended.result()["message"]) == (mapping is limited)
    assert sorted(one["properties"]["id"] for one in sandbox.events) == ["edge", "month", "next", "now", "past"]


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
    expect_in(project.run("check", "--offline").expect(0).output, name, "[WARN]")
    project.run("sync").expect(0).says("1 event older than 7 days", "Completed successfully")
