"""The same project against every Pendo there may be: where nobody knows how Pendo answers, all answers must do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness import SmallProject, canonical, custom, epoch_ms, planned, writes

from dbt_pendo.delivery import writers as deliver
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
VISITOR_SYNC = {
    "object": "visitor",
    "visitor_id": "id",
    "fields": {"plan_name": "plan", "seats": "seats", "since": "since"},
}
ACCOUNT_SYNC = {
    "object": "account",
    "account_id": "id",
    "mode": "upsert",
    "fields": {"plan": "plan", "source": {"value": "dbt"}},
}
EVENT_SYNC = {
    "object": "track_event",
    "event": "Done",
    "event_id": "id",
    "visitor_id": "visitor",
    "timestamp": "done_at",
    "properties": {"number": "number"},
    "batch_size": 4,
}
EXPECTED_EVENTS = [
    {
        "type": "track",
        "event": "Done",
        "visitorId": f"v{1 + at % 2}",
        "timestamp": epoch_ms(f"2026-05-01T00:{at:02}:00"),
        "properties": {"number": at},
        "context": {},
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
def test_everything_arrives(
    project: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, switches: dict[str, Any]
) -> None:
    monkeypatch.setenv("PENDO_RETRIES", "5")
    keys = prepare(project, sandbox, switches)
    for _ in range(2):
        results = {result["sync"]: result for result in project.sync().json["results"]}
        assert {result["status"] for result in results.values()} == {"success"}
        assert results["visitors"]["missing"] == 1
        assert custom(sandbox.visitors) == {
            "v1": {keys["plan_name"]: "pro", "seats": 3, "since": epoch_ms("2026-01-02")},
            "v2": {"seats": 4, "since": epoch_ms("2026-01-03")},
            "V1": {keys["plan_name"]: "free"},
        }
        assert custom(sandbox.accounts) == {
            "a1": {"plan": "pro", "source": "dbt"},
            "a2": {"plan": "free", "source": "dbt"},
            "a3": {"source": "dbt"},
        }
        assert canonical(sandbox.events) == canonical(EXPECTED_EVENTS)
    assert results["accounts"]["planned"] == planned(unchanged=3)
    assert results["visitors"]["planned"] == planned(added=1, unchanged=3)
    assert results["events"]["planned"] == planned(unchanged=10)


def test_arrays_of_events_are_refused(project: SmallProject, sandbox: Sandbox) -> None:
    """A Pendo that takes one event a request: batches are halved down to single events, each delivered once."""
    prepare(project, sandbox, {"event_arrays": "reject"})
    result = project.sync("--select", "events").result()
    assert (result["status"], result["delivered"]) == ("success", 10)
    assert canonical(sandbox.events) == canonical(EXPECTED_EVENTS)


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
def test_rows_whose_value_pendo_does_not_take(
    project: SmallProject, sandbox: Sandbox, switches: dict[str, Any]
) -> None:
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
    result = project.sync(status=1).result()
    assert result["status"] == "partial"
    assert (result["delivered"], result["missing"], result["rejected"]) == (15, 2, 3)
    assert {key for key, status in project.statuses("visitors").items() if status == "rejected"} == bad
    assert {key for key, status in project.statuses("visitors").items() if status == "missing"} == {"v5", "v18"}
    # Once mended they arrive, and only they are sent, with those Pendo does not know.
    project.sql("update main.visitors set seats = null where seats is not null")
    sandbox.forget_requests()
    assert project.sync().result()["delivered"] == 3


@pytest.mark.parametrize("items", ["named", "unnamed", "object"])
def test_a_pendo_that_dislikes_nulls(project: SmallProject, sandbox: Sandbox, items: str) -> None:
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
    results = {result["sync"]: result for result in project.sync().json["results"]}
    assert {result["status"] for result in results.values()} == {"success"}
    assert set(custom(sandbox.accounts)) == {"a1", "a2", "a3"}
    assert custom(sandbox.visitors)["v2"] == {"seats": 4, "since": epoch_ms("2026-01-03")}


@pytest.mark.parametrize("bodies_", ["text", "json", "empty"])
@pytest.mark.parametrize("arrays", ["atomic", "accept", "reject"])
def test_events_pendo_does_not_take(project: SmallProject, sandbox: Sandbox, arrays: Any, bodies_: Any) -> None:
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
        assert {key for key, status in project.statuses("events").items() if status == "rejected"} == {"e2", "e3", "e9"}


@pytest.mark.parametrize("status", [413, 400])
@pytest.mark.parametrize("limit", [1, 3])
def test_a_pendo_that_takes_few_records_a_call(
    project: SmallProject, sandbox: Sandbox, status: Any, limit: int
) -> None:
    keys = prepare(project, sandbox, {"max_records_per_call": limit, "too_many_records_status": status})
    results = {result["sync"]: result for result in project.sync().json["results"]}
    assert {result["status"] for result in results.values()} == {"success"}
    assert custom(sandbox.visitors)["v1"][keys["plan_name"]] == "pro"
    assert set(custom(sandbox.accounts)) == {"a1", "a2", "a3"}
    assert canonical(sandbox.events) == canonical(EXPECTED_EVENTS)


def test_a_pendo_that_takes_small_bodies(project: SmallProject, sandbox: Sandbox) -> None:
    prepare(project, sandbox, {})
    sandbox.switches = Switches(max_body_bytes=300)
    results = {result["sync"]: result for result in project.sync().json["results"]}
    assert {result["status"] for result in results.values()} == {"success"}
    assert canonical(sandbox.events) == canonical(EXPECTED_EVENTS)


@pytest.mark.parametrize("status", [401, 403])
def test_keys_that_are_refused_one_way_or_the_other(
    project: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    prepare(project, sandbox, {"wrong_key_status": status, "wrong_track_secret_status": status})
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "wrong")
    monkeypatch.setenv("PENDO_TRACK_SECRET", "wrong")
    document = project.sync(status=1).json
    assert {result["status"] for result in document["results"]} == {"error"}
    assert all(f"HTTP {status}" in result["message"] for result in document["results"])
    assert custom(sandbox.visitors) == {"v1": {}, "v2": {}, "V1": {}}
    assert sandbox.events == []


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"number_becomes": "integer"},
        {"undocumented_replies": "json"},
        {"drop_underscores": True},
        {"existing_field": "refuse call"},
    ],
    ids=json.dumps,
)
def test_fields_are_created(project: SmallProject, sandbox: Sandbox, switches: dict[str, Any]) -> None:
    sandbox.switches = Switches().with_changes(switches)
    sandbox.add_visitors(["a"])
    known = sandbox.add_field("visitor", "custom", "known", "string")
    mapping = {
        "object": "visitor",
        "visitor_id": "id",
        "create_fields": True,
        "fields": {"Known": "known", "Seat_Count": "seats", "plan": "plan"},
    }
    project.model("visitors", mapping, "select 'a' as id, 'x' as known, 3 as seats, 'pro' as plan")
    project.sync()
    seats = "seatcount" if switches.get("drop_underscores") else "seat_count"
    assert custom(sandbox.visitors) == {"a": {known: "x", seats: 3, "plan": "pro"}}
    assert len([request for request in writes(sandbox.requests) if "/schema/" in request.path]) == 1


@pytest.mark.parametrize("policy", ["refuse call", "record error", "create", "discard"])
def test_agent_fields_pendo_lacks(project: SmallProject, sandbox: Sandbox, policy: str) -> None:
    """What Pendo does with an agent field it does not know is not put to the test: it is created first, or not sent."""
    sandbox.switches = Switches().with_changes({"unknown_agent_field": policy})
    sandbox.add_visitors(["a"])
    sandbox.add_field("visitor", "custom", "plan", "string")
    mapping = {
        "object": "visitor",
        "visitor_id": "id",
        "fields": {"plan": "plan", "Role": {"column": "role", "group": "agent"}},
    }
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
def test_a_field_that_cannot_be_created(project: SmallProject, sandbox: Sandbox, switches: dict[str, Any]) -> None:
    sandbox.switches = Switches().with_changes(switches)
    sandbox.add_visitors(["a"])
    mapping = {"object": "visitor", "visitor_id": "id", "create_fields": True, "fields": {"seats": "seats"}}
    project.model("visitors", mapping, "select 'a' as id, 3 as seats")
    project.model("accounts", {"object": "account", "account_id": "id", "mode": "upsert"}, ACCOUNTS)
    results = {result["sync"]: result for result in project.sync(status=1).json["results"]}
    assert results["visitors"]["status"] == "error"
    assert "seats" in results["visitors"]["message"]
    assert "HTTP 400" in results["visitors"]["message"]
    assert "Settings > Data mappings" in results["visitors"]["message"]
    assert results["accounts"]["status"] == "success"
    assert custom(sandbox.visitors) == {"a": {}}


@pytest.mark.parametrize("never", [True, False])
def test_deletions_take_their_time(
    project: SmallProject, sandbox: Sandbox, never: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "DELETION_PATIENCE", 0.2)
    sandbox.switches = Switches(deletion_seconds=None if never else 0)
    mapping = {"object": "visitor", "visitor_id": "id", "mode": "upsert", "on_removed": "delete", "max_removals": 1}
    project.model("visitors", mapping, "select * from (values ('a'), ('b')) rows(id)")
    project.sync()
    project.build("visitors", "select 'a' as id")
    result = project.sync().result()
    assert (result["planned"], result["delivered"]) == (planned(removed=1, unchanged=1), 1)
    assert set(sandbox.visitors) == ({"a", "b"} if never else {"a"})
    assert project.sync().result()["planned"] == planned(unchanged=1)
