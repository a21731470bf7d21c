"""The sample project's two days, field by field; what is said and counted of them is in docs/reference/output.md."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from harness import REPOSITORY, Project, canonical, custom, enter, epoch_ms, held_fields, sent_events, sent_ids, writes

from dbt_pendo.sandbox import Sandbox, load_subscription

VISITOR_FIELDS = {
    **{"name": "full_name", "plan": "plan_name", "mrr": "mrr_usd", "signedup": "signed_up_on"},
    **{"lastlogin": "last_login_at", "logins": "login_count", "role": "role", "admin": "is_admin"},
}
ACCOUNT_FIELDS = {
    **{"name": "org_name", "industry": "industry", "country": "country", "plan": "plan"},
    **{"seats": "seats", "arr": "arr_usd", "paying": "is_paying", "renewal": "renewal_on"},
}
PAYMENT_PROPERTIES = {"amount": "amount_usd", "currency": "billed_in", "seats": "seats"}
PAYMENT_CONTEXT = {"ip": "ip_address", "userAgent": "user_agent", "url": "page_url"}
USAGE_PROPERTIES = {"feature": "feature", "duration": "duration_seconds"}
ANONYMOUS_USERS = {"_PENDO_T_4fQbGkW2m9c", "VISITOR-UNIQUE-ID"}


@pytest.fixture
def sample(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The sample project on its first day, beside a sandbox that holds its subscription."""
    source, folder = REPOSITORY / "sample_project", tmp_path / "sample_project"
    built = ("target", "logs", ".user.yml", "*.duckdb*")
    sample = enter(source, folder, monkeypatch, Project, "sample.duckdb", "SAMPLE_DUCKDB_PATH", without=built)
    sample.dbt("build --vars 'demo_day: 1'")
    load_subscription(sandbox, folder / "pendo_subscription.json")
    monkeypatch.delenv("PENDO_MISSING_RETRY")
    return sample


class Expected:
    """What Pendo has to hold of the models as they are, by the rules of the sample project's README."""

    def __init__(self, sample: Project) -> None:
        visitors, accounts, payments, usage = (
            by_id(sample.rows(f"main.pendo_{model}"), key)
            for model, key in (
                *(("visitors", "user_id"), ("accounts", "org_id")),
                *(("payments", "invoice_id"), ("usage", "event_id")),
            )
        )
        self.visitors = {
            user: {**held_fields(row, VISITOR_FIELDS), "source": "warehouse"} for user, row in visitors.items()
        }
        self.accounts = {org: held_fields(row, ACCOUNT_FIELDS) for org, row in accounts.items()}
        self.events = {
            invoice: {
                **event("Invoice Paid", row, row["paid_at"], PAYMENT_PROPERTIES),
                "context": {**held_fields(row, PAYMENT_CONTEXT), "title": "Checkout"},
            }
            for invoice, row in payments.items()
            if row["user_id"] and row["paid_at"]
        }
        self.events |= {
            event_id: event(row["event_name"], row, row["occurred_at"], USAGE_PROPERTIES)
            for event_id, row in usage.items()
            if row["user_id"] and row["user_id"] not in ANONYMOUS_USERS and row["occurred_at"]
            if not row["user_id"].startswith("_PENDO_T_")
        }


def by_id(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """The rows that may be sent: every row of a doubled key is bad."""
    keys = [row[key] for row in rows]
    return {
        row[key]: row
        for row in rows
        if row[key] and row[key].strip() and keys.count(row[key]) == 1 and row[key] not in ANONYMOUS_USERS
    }


def event(name: str, row: dict[str, Any], moment: Any, properties: dict[str, str]) -> dict[str, Any]:
    return {
        **{"type": "track", "event": name, "visitorId": row["user_id"], "timestamp": epoch_ms(moment)},
        **({"accountId": row["org_id"]} if row["org_id"] else {}),
        **{"properties": held_fields(row, properties), "context": {}},
    }


def test_both_days(sample, sandbox):
    known, first = set(sandbox.visitors), Expected(sample)
    results = sample.sync().json["results"]
    # Pendo knows people the warehouse has not heard of; it holds nothing of the warehouse for them.
    assert custom(sandbox.visitors) == {user: first.visitors.get(user, {}) for user in known}
    assert custom(sandbox.accounts) == first.accounts
    assert canonical(sandbox.events) == canonical(first.events.values())
    # Some odd rows, spelt out.
    assert first.visitors["usr-031"] != first.visitors["USR-031"]
    assert ("usr-057" in first.visitors, first.visitors["usr-040"]["mrr"]) == (False, 16.3333333333)
    sent = writes(sandbox.requests)
    assert sent_ids(sent, "visitor") == sorted(first.visitors)
    totals = {name: sum(result[name] for result in results) for name in ("retries", "bytes", "requests")}
    assert totals == {"retries": 0, "bytes": sum(request.size for request in sent), "requests": len(sent)}

    # A second sync of the same data writes nothing: rows that Pendo does not know are held for a day.
    sandbox.forget_requests()
    held = {result["sync"]: result["planned"]["held"] for result in sample.sync().json["results"]}
    assert held == {result["sync"]: result["missing"] for result in results}
    assert (held["pendo_visitors"], writes(sandbox.requests)) == (14, [])

    # Pendo equals the model. The one whose plan ended keeps the amount last sent (`nulls: skip`); the one who left
    # the model keeps everything.
    sample.dbt("build --vars 'demo_day: 2'")
    second = Expected(sample)
    sample.sync()
    changed = {user for user, values in second.visitors.items() if values != first.visitors.get(user)}
    assert "mrr" not in second.visitors["usr-063"]
    second.visitors["usr-063"]["mrr"] = first.visitors["usr-063"]["mrr"]
    assert "usr-088" not in second.visitors
    second.visitors["usr-088"] = first.visitors["usr-088"]
    assert custom(sandbox.visitors) == {user: second.visitors.get(user, {}) for user in known}
    assert custom(sandbox.accounts) == second.accounts
    assert canonical(sandbox.events) == canonical(second.events.values())

    # Exactly the rows that changed were sent.
    assert changed == {
        *("usr-002", "usr-018", "usr-032", "usr-046", "usr-063", "usr-071", "USR-031"),
        *("usr-001", "usr-003", "usr-004", "usr-005", "usr-006", "usr-117", "usr-118", "usr-119"),
    }
    assert sent_ids(sandbox.requests, "visitor") == sorted(changed)
    changed = {org for org, fields in second.accounts.items() if fields != first.accounts.get(org)}
    assert changed == {"org-01", "org-02", "org-03", "org-04", "org-09", "org-13", "org-16"}
    assert sent_ids(sandbox.requests, "account") == sorted(changed)
    new = [told for key, told in second.events.items() if key not in first.events]
    assert len(new) == 11 + 25
    assert canonical(sent_events(sandbox.requests)) == canonical(new)


EVENT_TIMES = "select paid_at as moment from main.pendo_payments union all select occurred_at from main.pendo_usage"


def test_events_are_young_and_no_later_build_moves_a_date(sample, sandbox):
    sample.dbt("build --vars 'demo_day: 2'")
    [row] = sample.rows(f"(select min(moment) as oldest, max(moment) as latest from ({EVENT_TIMES}))")
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    assert now - timedelta(days=6, hours=1) < row["oldest"] < row["latest"] < now
    # As if the first build had been yesterday's.
    sample.sql("update main.demo_start set moved_by = moved_by - 1")
    sample.dbt("run --select pendo --vars 'demo_day: 2'")
    ended = sample.sync()
    statuses = {result["sync"]: result["status"] for result in ended.json["results"]}
    clean = {"pendo_payments": "success", "pendo_accounts": "success"}
    assert statuses == {**clean, "pendo_usage": "warn", "pendo_visitors": "warn"}
    assert "older than" not in ended.stdout
    sample.dbt("build --vars 'demo_day: 2'")
    assert {result["delivered"] for result in sample.sync().json["results"]} == {0}
    # Unless somebody wants that: then all has changed but the events that Pendo has.
    sample.dbt("build --full-refresh --vars 'demo_day: 2'")
    delivered = {result["sync"]: result["delivered"] for result in sample.sync("--force").json["results"]}
    assert delivered == {"pendo_payments": 0, "pendo_usage": 0, "pendo_accounts": 14, "pendo_visitors": 103}
