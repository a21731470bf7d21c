"""The same project against every Pendo there may be: where nobody knows how Pendo answers, all answers must do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness import PEOPLE, SmallProject, canonical, custom, epoch_ms, planned

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
