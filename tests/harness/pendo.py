"""What Pendo got and holds, and what it has to hold: told without the code under test."""

import datetime
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from dbt_pendo.sandbox import Fault, Request, Sandbox, Switches

UTC = datetime.timezone.utc

# What no source says of Pendo, the tests choose, whatever the sandbox's defaults are.
CHOSEN: dict[str, Any] = {
    "read_only_write_status": 403,
    "aggregation_needs_write": False,
    "wrong_track_secret_status": 403,
    "unknown_agent_field": "refuse call",
    "type_mismatch": "record error",
    "error_items": "named",
    "null": "clear",
    "duplicate_id": "last wins",
    "created_counts_as_updated": True,
    "parent_account_id_key": "parentAccountId",
    "accept_date_only": False,
    "drop_underscores": False,
    "number_becomes": "float",
    "invalid_field": "refuse call",
    "event_arrays": "atomic",
    "incomplete_events": "refuse",
    "refuse_late_events": False,
    "refuse_future_events": False,
    "events_create_accounts": False,
    "exclude_list_option": "taken",
    "accounts_without_app_id": "all apps",
    "child_accounts_only": False,
    "field_reply": "object",
    "dependencies_reply": "nested",
    "guide_exclusion": "on",
    "deleted_records": "missing",
    "segment_seconds": (0.1, 0.1),
    "segment_looks": (0, 0),
    "segment_ids": "as they are",
    "segment_invalid_ids": (),
    "multistatus_order": "as sent",
    "segment_busy_seconds": 0.0,
    "segment_busy_calls": 0,
    "segment_busy_reply": "call",
    "segment_names_unique": False,
    "segment_unknown_visitors": "accept",
    "deletion_seconds": 0.0,
    "deletion_end": "complete",
    "deletion_calls_per_job": 3,
    "deletion_states": ("queued", "complete", "failed"),
    "deletion_list": "array",
    "deletion_list_names_ids": False,
    "read_lag_seconds": 0.0,
    "max_body_bytes": None,
    "max_records_per_call": None,
    "too_many_records_status": 413,
    "requests_per_second": None,
    "burst": None,
    "retry_after": None,
    "latency_ms": (0.0, 0.0),
}


def chosen(**changes: Any) -> Switches:
    """A Pendo that is known in all that no source says; a test changes what it is about."""
    return Switches().with_changes({**CHOSEN, **changes})


def environment_of(sandbox: Sandbox) -> dict[str, str]:
    """What a user exports to reach a sandbox, and to have it treated as a Pendo of its own."""
    apps = {f"_{app.upper()}" if app else "": secret for app, secret in sandbox.track_secrets.items()}
    return {
        "PENDO_API_URL": sandbox.url,
        "PENDO_DATA_URL": sandbox.url,
        "PENDO_SANDBOX": "false",
        "PENDO_INTEGRATION_KEY": sandbox.integration_key,
        **{f"PENDO_TRACK_SECRET{app}": secret for app, secret in apps.items()},
    }


def add_fields(sandbox: Sandbox, **types: str) -> None:
    """Gives visitors custom fields, by name and Pendo's type."""
    for name, type_ in types.items():
        sandbox.add_field("visitor", "custom", name, type_)


def refuse(sandbox: Sandbox, record: str, body: str = "no", **more: Any) -> None:
    """Lets Pendo refuse every call that holds a record, in words that need not name it."""
    sandbox.fail(Fault(**{"status": 400, "body": body, "body_contains": f'"{record}"', "times": None, **more}))


def writes(requests: Iterable[Request]) -> list[Request]:
    """The requests that write, in the order they were answered."""
    return [request for request in requests if request.method != "GET"]


def bodies(requests: Iterable[Request], path: str = "") -> list[Any]:
    """The bodies of the writing requests whose path holds a text."""
    return [json.loads(request.body) for request in writes(requests) if path in request.path]


def sent_ids(requests: Iterable[Request], kind: str) -> list[str]:
    """The ids of all records of one kind in bulk writes, sorted; an id sent twice is here twice."""
    return sorted(record[f"{kind}Id"] for body in bodies(requests, f"/api/v1/metadata/{kind}/") for record in body)


def sent_events(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """All events sent, in or out of arrays."""
    found: list[dict[str, Any]] = []
    for body in bodies(requests, "/data/track"):
        found += body if isinstance(body, list) else [body]
    # An empty object is no event: with it `check` asks whether Pendo knows the secret.
    return [event for event in found if event]


def custom(records: Mapping[str, Mapping[str, Any]], group: str = "custom") -> dict[str, dict[str, Any]]:
    """What each record holds in one group."""
    return {record_id: dict(record[group]) for record_id, record in records.items()}


def canonical(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Events in an order of their own, for they may be sent in any."""
    return sorted(json.dumps(event, sort_keys=True, ensure_ascii=False) for event in events)


def epoch_ms(value: datetime.date | str) -> int:
    """Epoch milliseconds; a date is its midnight, a time without a zone is UTC."""
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return int(value.replace(microsecond=0).timestamp()) * 1000 + value.microsecond // 1000


def held(value: Any) -> Any:
    """What Pendo holds for a value of the warehouse."""
    if isinstance(value, Decimal):
        return float(value)
    return epoch_ms(value) if isinstance(value, datetime.date) else value


def held_fields(row: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """The fields Pendo holds for a row: a null is no value."""
    return {name: held(row[column]) for name, column in mapping.items() if row[column] is not None}
