"""The same project against every Pendo there may be: where nobody knows how Pendo answers, all answers must do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness import PEOPLE, SmallProject, canonical, custom, epoch_ms, expect_in, planned

from dbt_pendo.sandbox import Sandbox, Switches

VISITORS = """
    select * from (values
        ('v1', 'pro', 3, date '2026-01-02'),
        ('v2', null, 4, date '2026-01-03'),
        ('V1', 'free', null, null),
        ('stranger', 'pro', 5, date '2026-01-04')
    ) rows(id, plan, seats, since)"""
ACCOUNTS = "select * from (values ('a1', 'pro'), ('a2', 'free'), ('a3', null)) rows(id, plan)"
EVENTS = """
    select 'e' || i as id, 'v' || (1 + i % 2) as visitor, timestamp '2026-05-01' + interval (i) minute as done_at,
        i as number from range(10) r(i)"""
VISITOR_SYNC = {**PEOPLE, "fields": {"plan_name": "plan", "seats": "seats", "since": "since"}}
ACCOUNT_FIELDS = {"plan": "plan", "source": {"value": "dbt"}}
ACCOUNT_SYNC = {"object": "account", "account_id": "id", "mode": "upsert", "fields": ACCOUNT_FIELDS}
EVENT_SYNC = {
    **{"object": "track_event", "event": "Done", "event_id": "id", "visitor_id": "visitor", "timestamp": "done_at"},
    **{"properties": {"number": "number"}, "batch_size": 4},
}
EXPECTED_EVENTS = [
    {
        **{"type": "track", "event": "Done", "visitorId": f"v{1 + at % 2}", "properties": {"number": at}},
        **{"timestamp": epoch_ms(f"2026-05-01T00:{at:02}:00"), "context": {}},
    }
    for at in range(10)
]

# Each sets several switches, of which none bears on another.
HARMLESS: list[dict[str, Any]] = [
    {},
    {
        "omit_empty_lists": False,
        "undocumented_replies": "json",
        "drop_underscores": True,
        "type_mismatch": "refuse call",
    },
    {"created_counts_as_updated": False, "unknown_field": "create", "null": "ignore"},
    {"track_reply": "json", "context_required": True, "unknown_field": "record error", "error_items": "unnamed"},
    {"error_bodies": "empty", "duplicate_id": "first wins", "event_arrays": "accept", "events_create_accounts": True},
    {"unknown_field": "discard", "error_items": "object", "duplicate_id": "refuse call", "latency_ms": (0, 5)},
    {"accept_date_only": True, "accept_epoch": True, "retry_after": 0, "requests_per_second": 40.0, "burst": 5},
]


def prepare(project: SmallProject, sandbox: Sandbox, switches: dict[str, Any]) -> dict[str, str]:
    """Gives project and Pendo their content; returns the keys Pendo made of the visitors' fields."""
    sandbox.switches = Switches().with_changes(switches)
    keys = {
        name: sandbox.add_field("visitor", "custom", name, type_)
        for name, type_ in {"plan_name": "string", "seats": "integer", "since": "time"}.items()
    }
    for name in ("plan", "source"):
        sandbox.add_field("account", "custom", name, "string")
    sandbox.add_visitors(["v1", "v2", "V1"])
    sandbox.add_accounts(["a1"])
    project.model("visitors", VISITOR_SYNC, VISITORS)
    project.model("accounts", ACCOUNT_SYNC, ACCOUNTS)
    project.model("events", EVENT_SYNC, EVENTS)
    return keys


@pytest.mark.parametrize("switches", HARMLESS, ids=json.dumps)
def test_everything_arrives(project, sandbox, monkeypatch, switches):
    monkeypatch.setenv("PENDO_RETRIES", "5")
    keys = prepare(project, sandbox, switches)
    for _ in range(2):
        ended = project.sync()
        assert set(ended.statuses.values()) == {"success"}
        assert ended.result("visitors")["missing"] == 1
        assert custom(sandbox.visitors) == {
            "v1": {keys["plan_name"]: "pro", "seats": 3, "since": epoch_ms("2026-01-02")},
            "v2": {"seats": 4, "since": epoch_ms("2026-01-03")},
            "V1": {keys["plan_name"]: "free"},
        }
        source = {"source": "dbt"}
        accounts = {"a1": {"plan": "pro", **source}, "a2": {"plan": "free", **source}, "a3": source}
        assert custom(sandbox.accounts) == accounts
        assert canonical(sandbox.events) == canonical(EXPECTED_EVENTS)
    counts = {result["sync"]: result["planned"] for result in ended.json["results"]}
    assert counts == {
        "accounts": planned(unchanged=3),
        "visitors": planned(added=1, unchanged=3),
        "events": planned(unchanged=10),
    }


REFUSALS = [
    ("record error", "named", "text", True),
    ("record error", "unnamed", "json", False),
    ("record error", "object", "empty", True),
    *(("refuse call", "named", body, body == "text") for body in ("text", "json", "empty")),
]


@pytest.mark.parametrize("switches", REFUSALS, ids=lambda switches: "-".join(map(str, switches)))
def test_rows_whose_value_pendo_does_not_take(project, sandbox, switches):
    """The mapping insists on text where Pendo wants whole numbers: the rows that have one are rejected, no other."""
    names = ("type_mismatch", "error_items", "error_bodies", "omit_empty_lists")
    sandbox.switches = Switches().with_changes(dict(zip(names, switches, strict=True)))
    sandbox.add_field("visitor", "custom", "seats", "integer")
    sandbox.add_visitors({f"v{at}" for at in range(20)} - {"v5", "v18"})
    project.model(
        "visitors",
        {**PEOPLE, "fields": {"seats": {"column": "seats", "type": "string"}}},
        "select 'v' || i as id, case when i in (3, 4, 17) then 'many' end as seats from range(20) r(i)",
    )
    assert project.sync(status=1).outcome == ("partial", 15, 2, 3)
    assert project.keys("visitors", "rejected") == {"v3", "v4", "v17"}
    assert project.keys("visitors", "missing") == {"v5", "v18"}
    # Once mended they arrive, and only they are sent, with those Pendo does not know.
    project.sql("update main.visitors set seats = null where seats is not null")
    assert project.sync().result()["delivered"] == 3


def test_a_pendo_that_dislikes_nulls(project, sandbox):
    prepare(project, sandbox, {"null": "error", "error_items": "unnamed"})
    ended = project.sync(status=1)
    counts = {result["sync"]: (result["delivered"], result["rejected"]) for result in ended.json["results"]}
    assert counts == {"visitors": (1, 2), "accounts": (2, 1), "events": (10, 0)}
    outcomes = {"v1": "delivered", "v2": "rejected", "V1": "rejected", "stranger": "missing"}
    assert project.statuses("visitors") == outcomes
    # `nulls: skip` is the way out.
    for name, sync in (("visitors", VISITOR_SYNC), ("accounts", ACCOUNT_SYNC)):
        project.annotate(name, {**sync, "nulls": "skip"})
    assert set(project.sync().statuses.values()) == {"success"}
    assert set(custom(sandbox.accounts)) == {"a1", "a2", "a3"}
    assert custom(sandbox.visitors)["v2"] == {"seats": 4, "since": epoch_ms("2026-01-03")}


@pytest.mark.parametrize(
    ("arrays", "error_bodies"), [("atomic", "text"), ("atomic", "empty"), ("reject", "json"), ("accept", "text")]
)
def test_events_pendo_does_not_take(project, sandbox, arrays, error_bodies):
    """Late events are refused: with arrays all or none, the good ones still arrive once."""
    sandbox.switches = Switches(refuse_late_events=True, event_arrays=arrays, error_bodies=error_bodies)
    late = {2, 3, 9}
    project.model(
        "events",
        EVENT_SYNC,
        "select 'e' || i as id, 'v' || i as visitor, i as number, case when i in (2, 3, 9) "
        "then timestamp '2020-01-01' else (now() at time zone 'UTC')::timestamp end as done_at from range(12) r(i)",
    )
    # A Pendo that drops the bad ones silently, with a 200, cannot be seen through.
    silent = arrays == "accept"
    ended = project.sync(status=0 if silent else 1)
    assert ended.outcome == (("success", 12, 0, 0) if silent else ("partial", 9, 0, 3))
    assert {event["visitorId"] for event in sandbox.events} == {f"v{at}" for at in range(12) if at not in late}
    assert len(sandbox.events) == 9
    assert project.keys("events", "rejected") == (set() if silent else {f"e{at}" for at in late})


def test_a_field_that_cannot_be_created(project, sandbox):
    sandbox.switches = Switches().with_changes({"error_bodies": "empty", "creatable_types": []})
    sandbox.add_visitors(["a"])
    mapping = {**PEOPLE, "create_fields": True, "fields": {"seats": "seats"}}
    project.model("visitors", mapping, "select 'a' as id, 3 as seats")
    project.model("accounts", {"object": "account", "account_id": "id", "mode": "upsert"}, ACCOUNTS)
    ended = project.sync(status=1)
    assert ended.statuses == {"visitors": "error", "accounts": "success"}
    expect_in(ended.messages["visitors"], "seats", "HTTP 400", "Settings > Data mappings")
    assert custom(sandbox.visitors) == {"a": {}}
