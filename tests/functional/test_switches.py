"""The same project against every Pendo there may be: where nobody knows how Pendo answers, all answers must do.

How rows at fault are told of is in tests/delivery/test_splitting.py.
"""

import json
from typing import Any

import pytest
from harness import PEOPLE, canonical, chosen, custom, epoch_ms, planned

VISITORS = """
    select * from (values ('v1', 'pro', 3, date '2026-01-02'), ('v2', null, 4, date '2026-01-03'),
        ('V1', 'free', null, null), ('stranger', 'pro', 5, null)) rows(id, plan, seats, since)"""
VISITOR_SYNC = {**PEOPLE, "fields": {"plan_name": "plan", "seats": "seats", "since": "since"}}
ACCOUNTS = "select * from (values ('a1', 'pro'), ('a2', 'free'), ('a3', null)) rows(id, plan)"
ACCOUNT_SYNC = {"object": "account", "account_id": "id", "mode": "upsert", "fields": {"plan": "plan"}}
EVENTS = "select 'v' || i as id, timestamp '2026-05-01' + interval (i) minute as at, i as number from range(10) r(i)"
EVENT_SYNC = {
    **{"object": "track_event", "event": "Done", "event_id": "id", "visitor_id": "id", "timestamp": "at"},
    **{"properties": {"number": "number"}, "batch_size": 4, "max_age": "none"},
}
EXPECTED_EVENTS = [
    {
        **{"type": "track", "event": "Done", "visitorId": f"v{at}", "properties": {"number": at}},
        **{"timestamp": epoch_ms(f"2026-05-01T00:{at:02}:00"), "context": {}},
    }
    for at in range(10)
]
# Each sets several switches, of which none bears on another.
HARMLESS: list[dict[str, Any]] = [
    {},
    {
        **{"omit_empty_lists": False, "undocumented_replies": "json", "drop_underscores": True},
        **{"type_mismatch": "refuse call"},
    },
    {"created_counts_as_updated": False, "unknown_agent_field": "create", "null": "ignore"},
    {"track_reply": "json", "unknown_agent_field": "record error", "error_items": "unnamed"},
    {"error_bodies": "empty", "duplicate_id": "first wins", "event_arrays": "accept", "events_create_accounts": True},
    {"unknown_agent_field": "discard", "error_items": "object", "duplicate_id": "refuse call", "latency_ms": (0, 5)},
    {"accept_date_only": True, "retry_after": 0, "requests_per_second": 40.0, "burst": 5},
]


@pytest.mark.parametrize("switches", HARMLESS, ids=json.dumps)
def test_everything_arrives(project, sandbox, monkeypatch, switches):
    monkeypatch.setenv("PENDO_RETRIES", "5")
    sandbox.switches = chosen(**switches)
    plan = sandbox.add_field("visitor", "custom", "plan_name", "string")
    for kind, name, type_ in (("visitor", "seats", "integer"), ("visitor", "since", "time"), ("account", "plan", "")):
        sandbox.add_field(kind, "custom", name, type_)
    sandbox.add_visitors(["v1", "v2", "V1"])
    sandbox.add_accounts(["a1"])
    project.model("visitors", VISITOR_SYNC, VISITORS)
    project.model("accounts", ACCOUNT_SYNC, ACCOUNTS)
    for _ in range(2):
        ended = project.sync()
        assert ended.statuses == {"accounts": "success", "visitors": "warn"}
        assert ended.result("visitors")["missing"] == 1
        assert custom(sandbox.visitors) == {
            "v1": {plan: "pro", "seats": 3, "since": epoch_ms("2026-01-02")},
            "v2": {"seats": 4, "since": epoch_ms("2026-01-03")},
            "V1": {plan: "free"},
        }
        assert custom(sandbox.accounts) == {"a1": {"plan": "pro"}, "a2": {"plan": "free"}, "a3": {}}
    counts = {result["sync"]: result["planned"] for result in ended.json["results"]}
    assert counts == {"accounts": planned(unchanged=3), "visitors": planned(added=1, unchanged=3)}
    project.model("events", EVENT_SYNC, EVENTS)
    project.sync("--select", "events")
    assert canonical(sandbox.events) == canonical(EXPECTED_EVENTS)
    assert project.sync("--select", "events").planned == planned(unchanged=10)
