"""Events that Pendo takes and makes nothing of: counted before they are sent, or left out by ``max_age``."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from harness import SmallProject, expect_in, planned, sent_events

from dbt_pendo.sandbox import Sandbox, Switches
from dbt_pendo.warehouse import ledger

CLICKS = {
    **{"object": "track_event", "event": "Clicked", "event_id": "id", "visitor_id": "visitor", "timestamp": "done_at"},
    **{"properties": {"id": "id"}, "batch_size": 1000},
}
DAY = 24 * 3600
LATE = "older than 7 days: Pendo answers 200 and drops"
FUTURE = "in the future: what Pendo makes of"
LARGE = "properties of more than about 512 bytes: Pendo answers 200 and shows that"
NAMES = "event names: Pendo answers 200 and keeps 5,000 an app"


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


TYPES = [("timestamp", 60), ("timestamptz", 60), ("timestamp_ms", 60), ("date", DAY + 1)]


@pytest.mark.parametrize(("type_", "unit"), TYPES)
def test_late_and_future_events(project, sandbox, monkeypatch, type_, unit):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        fine = {"edge": 7 * DAY - unit, "now": 0 if unit == 60 else DAY, "clock": -240}
        late = {"past": 7 * DAY + unit, "month": 30 * DAY}
        future = {"soon": -6 * unit, "year": -365 * DAY}
        project.model("clicks", CLICKS, events({**fine, **late, **future}, type_))
        warnings = told(project, sandbox)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert (len(warnings), counted(warnings, LATE), counted(warnings, FUTURE)) == (2, 2, 2)
    assert {receipt.body["properties"]["id"] for receipt in sandbox.receipts if receipt.late} == set(late)
    assert {receipt.body["properties"]["id"] for receipt in sandbox.receipts if receipt.future} == set(future)
    # Only what would be sent is counted, and a text is not judged.
    assert project.check().result()["warnings"] == project.plan().result()["warnings"] == []
    assert counted(project.plan("--full-refresh").result()["warnings"], LATE) == 2
    project.build("clicks", "select 'old' as id, 'v1' as visitor, '2001-02-03' as done_at")
    assert project.check().result()["warnings"] == []


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_a_pendo_that_refuses_them(project, sandbox, batch_size):
    sandbox.switches = Switches(refuse_late_events=True, refuse_future_events=True)
    rows = events({"old": 8 * DAY, "a": 0, "b": 60, "next": -DAY})
    project.model("clicks", {**CLICKS, "batch_size": batch_size}, rows)
    ended = project.sync(status=1)
    assert ended.outcome == ("partial", 2, 0, 2)
    assert "1 event is older than 7 days" in ended.result()["message"]
    assert project.statuses("clicks") == {"old": "rejected", "a": "delivered", "b": "delivered", "next": "rejected"}


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


def test_names_of_properties(project, sandbox):
    properties = {"p" * 32: "id", "p" * 33: "id", "2fa": "id", "a b": "id", "__x__": "id"}
    project.model("clicks", {**CLICKS, "properties": properties}, events({"a": 0}))
    warnings = project.check("--offline").result()["warnings"]
    assert len(warnings) == 4
    assert told(project, sandbox) == warnings
    (receipt,) = sandbox.receipts
    assert len(receipt.warnings) == 4
    for name in set(properties) - {"p" * 32}:
        assert any(f"`{name}`" in warning for warning in warnings)
        assert any(f"'{name}'" in warning for warning in receipt.warnings)
    assert project.check("--offline", "--warn-error", status=1).result()["status"] == "success"


@pytest.mark.parametrize("names", [5000, 5001])
def test_names_of_events(project, sandbox, names):
    project.model(
        "clicks",
        {**CLICKS, "event": {"column": "name"}, "properties": {}},
        "select i as id, 'v1' as visitor, now() as done_at, "
        f"'E' || least(i, {names - 1}) as name from range(5003) r(i)",
    )
    warnings = project.check().result()["warnings"]
    assert project.plan().result()["warnings"] == warnings
    project.sync()
    dropped = {receipt.body["event"] for receipt in sandbox.receipts if receipt.warnings}
    assert (len(dropped), len(warnings)) == (names - 5000, len(dropped))
    assert counted(warnings, NAMES) == (names if dropped else 0)
    # They are the model's, not the next change set's.
    assert project.plan().result()["warnings"] == warnings


def test_old_events_are_left_out(project, sandbox):
    ages = {"month": 30 * DAY, "past": 7 * DAY + 60, "edge": 7 * DAY - 60, "now": 0, "next": -DAY, "null": None}
    limited = {**CLICKS, "max_age": "7 days"}
    project.model("clicks", limited, events(ages))
    for result in (project.check().result(), project.plan().result()):
        assert result["left_out"] == 2
        assert (len(result["warnings"]), counted(result["warnings"], FUTURE)) == (1, 1)
    assert project.plan().planned == planned(added=4)
    # One that does not say when it happened is not taken for old.
    assert project.sync().planned == planned(added=3, invalid=1)
    assert sorted(one["properties"]["id"] for one in sandbox.events) == ["edge", "next", "now"]
    assert not any(receipt.late for receipt in sandbox.receipts)
    assert project.statuses("clicks") == {**dict.fromkeys(["edge", "next", "now"], "delivered"), "null": "invalid"}
    assert project.sync().planned == planned(unchanged=3, added=0, invalid=1)
    # What was left out comes when it is wanted, and nothing twice; an age makes no event another.
    project.annotate("clicks", CLICKS)
    assert project.sync().planned == planned(added=2, unchanged=3, invalid=1)
    assert project.plan().result()["left_out"] == 0
    for max_age, unchanged in (("7 days", 3), ("2 weeks", 4)):
        project.annotate("clicks", {**CLICKS, "max_age": max_age})
        assert project.sync().planned == planned(unchanged=unchanged, invalid=1)
    assert Counter(one["properties"]["id"] for one in sandbox.events).most_common(1)[0][1] == 1


@pytest.mark.parametrize(("at", "type_"), [("'2026-01-02'", "character varying"), ("1767323045000", "bigint")])
def test_an_age_needs_a_moment(project, sandbox, at, type_):
    rows = f"select 'a' as id, 'v1' as visitor, cast({at} as {type_}) as done_at"
    project.model("clicks", {**CLICKS, "max_age": "7 days"}, rows)
    for command in ("check", "plan", "sync"):
        result = project.run(command, "--json").expect(2).result()
        assert result["status"] == "error"
        told = f"clicks: `max_age` needs a date or timestamp, but column done_at is {type_}"
        expect_in(result["message"], told, "Cast the column in the model")
    assert sent_events(sandbox.requests) == []


def test_what_people_see(project, sandbox):
    project.model("clicks", {**CLICKS, "max_age": "30 days"}, events({"a": 40 * DAY, "b": 9 * DAY, "c": 0}))
    for command in ("check", "plan"):
        output = project.run(command).expect(0).output
        assert "    1 event is older than 7 days: Pendo answers 200 and drops it; `max_age: 7 days`" in output
        assert "    1 event left out: older than max_age" in output
    assert "[WARN]" in project.run("check").output
    output = project.run("sync").expect(0).output
    expect_in(output, "1 event is older than 7 days", "Completed successfully")


def test_the_ledger_stays_bounded(project, sandbox, monkeypatch):
    """A model that keeps all its events, six days a run: not the clock is moved, but what the ledger has logged."""
    monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 10)
    runs, step, each = 7, 6 * DAY, 20
    sizes = []
    # Known for longer than any other: its time is yet to come.
    ages = {"next": -60.0 * DAY}
    for run in range(runs):
        ages = {key: age + step for key, age in ages.items()}
        ages |= {f"run {run} event {number}": number * step / each for number in range(each)}
        if run:
            project.sql(f"update main_pendo.clicks__ledger set logged_at = logged_at - to_seconds({step})")
            project.build("clicks", events(ages))
        else:
            project.model("clicks", {**CLICKS, "max_age": "7 days"}, events(ages))
        assert project.sync().planned["added"] == each + (run == 0)
        sizes.append(len(project.ledger("clicks")))
    assert Counter(one["properties"]["id"] for one in sandbox.events) == Counter(ages.keys())
    assert project.sync().planned["added"] == 0
    # Twice what was logged within the age before the run before, and what came with the run that found it so.
    assert max(sizes) < 7 * each
    assert any(later < earlier for earlier, later in itertools.pairwise(sizes))
    # Without an age it forgets nothing.
    project.annotate("clicks", CLICKS)
    project.sync()
    entries = len(project.ledger("clicks"))
    for _ in range(2):
        project.sql(f"update main_pendo.clicks__ledger set logged_at = logged_at - to_seconds({30 * DAY})")
        assert project.sync().planned == planned(unchanged=len(ages))
    assert len(project.ledger("clicks")) == entries
