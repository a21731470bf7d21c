"""The same project against every Pendo there may be: where nobody knows how Pendo answers, all answers must do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness import PEOPLE, SmallProject, canonical, custom, epoch_ms, expect_in, planned, writes

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

HARMLESS: list[dict[str, Any]] = [
    {},
    {"omit_empty_lists": False},
    {"created_counts_as_updated": False},
    {"drop_underscores": True},
    {"undocumented_replies": "json"},
    {"track_reply": "json"},
    {"error_bodies": "json"},
    {"error_bodies": "empty"},
    {"unknown_field": "create"},
    {"unknown_field": "record error"},
    {"unknown_field": "discard"},
    {"type_mismatch": "refuse call"},
    {"error_items": "unnamed"},
    {"error_items": "object"},
    {"null": "ignore"},
    {"duplicate_id": "first wins"},
    {"duplicate_id": "refuse call"},
    {"accept_date_only": True, "accept_epoch": True},
    {"event_arrays": "accept"},
    {"context_required": True},
    {"events_create_accounts": True},
    {"latency_ms": (0, 5)},
    {"retry_after": 0, "requests_per_second": 40.0, "burst": 5},
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
    {"type_mismatch": mismatch, "error_items": items, "error_bodies": bodies_, "omit_empty_lists": omit}
    for mismatch, items in (
        ("record error", "named"),
        ("record error", "unnamed"),
        ("record error", "object"),
        ("refuse call", "named"),
    )
    for bodies_, omit in (("text", True), ("json", False), ("empty", True))
]


@pytest.mark.parametrize("switches", REFUSALS, ids=lambda switches: "-".join(map(str, switches.values())))
def test_rows_whose_value_pendo_does_not_take(project, sandbox, switches):
    """The mapping insists on text where Pendo wants whole numbers: the rows that have one are rejected, no other."""
    sandbox.switches = Switches().with_changes(switches)
    sandbox.add_field("visitor", "custom", "seats", "integer")
    ids = [f"v{at}" for at in range(20)]
    bad = {"v3", "v4", "v17"}
    sandbox.add_visitors(set(ids) - {"v5", "v18"})
    project.model(
        "visitors",
        {"object": "visitor", "visitor_id": "id", "fields": {"seats": {"column": "seats", "type": "string"}}},
        "select 'v' || i as id, case when i in (3, 4, 17) then 'many' end as seats from range(20) r(i)",
    )
    assert project.sync(status=1).outcome == ("partial", 15, 2, 3)
    assert project.keys("visitors", "rejected") == bad
    assert project.keys("visitors", "missing") == {"v5", "v18"}
    # Once mended they arrive, and only they are sent, with those Pendo does not know.
    project.sql("update main.visitors set seats = null where seats is not null")
    sandbox.forget_requests()
    assert project.sync().result()["delivered"] == 3


@pytest.mark.parametrize("items", ["named", "unnamed", "object"])
def test_a_pendo_that_dislikes_nulls(project, sandbox, items):
    prepare(project, sandbox, {"null": "error", "error_items": items})
    results = {result["sync"]: result for result in project.sync(status=1).json["results"]}
    assert (results["visitors"]["delivered"], results["visitors"]["rejected"]) == (1, 2)
    assert project.statuses("visitors") == {
        "v1": "delivered",
        "v2": "rejected",
        "V1": "rejected",
        "stranger": "missing",
    }
    assert (results["accounts"]["delivered"], results["accounts"]["rejected"]) == (2, 1)
    assert results["events"]["delivered"] == 10
    # `nulls: skip` is the way out.
    for name, sync in (("visitors", VISITOR_SYNC), ("accounts", ACCOUNT_SYNC)):
        project.annotate(name, {**sync, "nulls": "skip"})
    assert set(project.sync().statuses.values()) == {"success"}
    assert set(custom(sandbox.accounts)) == {"a1", "a2", "a3"}
    assert custom(sandbox.visitors)["v2"] == {"seats": 4, "since": epoch_ms("2026-01-03")}


@pytest.mark.parametrize("bodies_", ["text", "json", "empty"])
@pytest.mark.parametrize("arrays", ["atomic", "accept", "reject"])
def test_events_pendo_does_not_take(project, sandbox, arrays, bodies_):
    """Late events are refused: with arrays all or none, the good ones still arrive once."""
    sandbox.switches = Switches(refuse_late_events=True, event_arrays=arrays, error_bodies=bodies_)
    project.model(
        "events",
        EVENT_SYNC,
        "select 'e' || i as id, 'v' || i as visitor, i as number, "
        "case when i in (2, 3, 9) then timestamp '2020-01-01' else (now() at time zone 'UTC')::timestamp end "
        "as done_at "
        "from range(12) r(i)",
    )
    status = 0 if arrays == "accept" else 1
    result = project.sync(status=status).result()
    assert sorted(body["visitorId"] for body in sandbox.events) == sorted(
        f"v{at}" for at in range(12) if at not in (2, 3, 9)
    )
    if arrays == "accept":
        # A Pendo that drops the bad ones silently, with a 200, cannot be seen through.
        assert result["delivered"] == 12
    else:
        assert (result["delivered"], result["rejected"]) == (9, 3)
        assert project.keys("events", "rejected") == {"e2", "e3", "e9"}


@pytest.mark.parametrize("status", [401, 403])
def test_keys_that_are_refused_one_way_or_the_other(project, sandbox, monkeypatch, status):
    prepare(project, sandbox, {"wrong_key_status": status, "wrong_track_secret_status": status})
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "wrong")
    monkeypatch.setenv("PENDO_TRACK_SECRET", "wrong")
    ended = project.sync(status=1)
    assert set(ended.statuses.values()) == {"error"}
    assert all(f"HTTP {status}" in message for message in ended.messages.values())
    assert (custom(sandbox.visitors), sandbox.events) == ({"v1": {}, "v2": {}, "V1": {}}, [])


@pytest.mark.parametrize("policy", ["refuse call", "record error", "create", "discard"])
def test_agent_fields_pendo_lacks(project, sandbox, policy):
    """What Pendo does with an agent field it does not know is not put to the test: it is created first, or not sent."""
    sandbox.switches = Switches().with_changes({"unknown_agent_field": policy})
    sandbox.add_visitors(["a"])
    sandbox.add_field("visitor", "custom", "plan", "string")
    mapping = {**PEOPLE, "fields": {"plan": "plan", "Role": {"column": "role", "group": "agent"}}}
    project.model("visitors", mapping, "select 'a' as id, 'pro' as plan, 'admin' as role")
    result = project.sync(status=2).result()
    assert (result["status"], result["delivered"]) == ("error", 0)
    assert "no agent visitor field `Role`" in result["message"]
    assert writes(sandbox.requests) == []
    project.annotate("visitors", mapping | {"create_fields": True})
    assert project.sync().result()["delivered"] == 1
    metadata = sandbox.visitors["a"]
    assert (metadata["custom"], metadata["agent"]) == ({"plan": "pro"}, {"role": "admin"})


@pytest.mark.parametrize(
    "switches", [{"creatable_types": ["string"]}, {"error_bodies": "empty", "creatable_types": []}]
)
def test_a_field_that_cannot_be_created(project, sandbox, switches):
    sandbox.switches = Switches().with_changes(switches)
    sandbox.add_visitors(["a"])
    mapping = {**PEOPLE, "create_fields": True, "fields": {"seats": "seats"}}
    project.model("visitors", mapping, "select 'a' as id, 3 as seats")
    project.model("accounts", {"object": "account", "account_id": "id", "mode": "upsert"}, ACCOUNTS)
    ended = project.sync(status=1)
    assert ended.statuses == {"visitors": "error", "accounts": "success"}
    expect_in(ended.messages["visitors"], "seats", "HTTP 400", "Settings > Data mappings")
    assert custom(sandbox.visitors) == {"a": {}}
