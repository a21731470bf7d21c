"""The sample project's two days, field by field: what `make demo` shows."""

from collections import Counter
from typing import Any

from harness import canonical, custom, epoch_ms, held_fields, planned, sent_events, sent_ids, writes

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

DAY_1 = {
    "pendo_visitors": (planned(added=116, invalid=4), 102, 14),
    "pendo_accounts": (planned(added=15, invalid=1), 15, 0),
    "pendo_payments": (planned(added=172, invalid=2), 172, 0),
    "pendo_usage": (planned(added=392, invalid=8), 392, 0),
}
DAY_2 = {
    "pendo_visitors": (planned(added=3, changed=12, removed=1, unchanged=89, invalid=4, held=14), 15, 1),
    "pendo_accounts": (planned(added=1, changed=6, unchanged=9, invalid=1), 7, 0),
    "pendo_payments": (planned(added=11, unchanged=172, invalid=2), 11, 0),
    "pendo_usage": (planned(added=25, unchanged=392, invalid=8), 25, 0),
}


def by_id(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """The rows that may be sent, by the rules of the sample project's README: every row of a doubled key is bad."""
    keys = [row[key] for row in rows]
    return {
        row[key]: row
        for row in rows
        if row[key] and row[key].strip() and keys.count(row[key]) == 1 and row[key] not in ANONYMOUS_USERS
    }


def counts(document: dict[str, Any]) -> dict[str, Any]:
    return {
        result["sync"]: (result["planned"], result["delivered"], result["missing"]) for result in document["results"]
    }


def expected_visitors(sample: Any) -> dict[str, dict[str, Any]]:
    rows = by_id(sample.rows("main.pendo_visitors"), "user_id")
    return {user: {**held_fields(row, VISITOR_FIELDS), "source": "warehouse"} for user, row in rows.items()}


def expected_accounts(sample: Any) -> dict[str, dict[str, Any]]:
    rows = by_id(sample.rows("main.pendo_accounts"), "org_id")
    return {org: held_fields(row, ACCOUNT_FIELDS) for org, row in rows.items()}


def expected_payments(sample: Any) -> dict[str, dict[str, Any]]:
    return {
        invoice: {
            "type": "track",
            "event": "Invoice Paid",
            "visitorId": row["user_id"],
            "accountId": row["org_id"],
            "timestamp": epoch_ms(row["paid_at"]),
            "properties": held_fields(row, PAYMENT_PROPERTIES),
            "context": {**held_fields(row, PAYMENT_CONTEXT), "title": "Checkout"},
        }
        for invoice, row in by_id(sample.rows("main.pendo_payments"), "invoice_id").items()
        if row["user_id"] and row["paid_at"]
    }


def expected_usage(sample: Any) -> dict[str, dict[str, Any]]:
    events = {}
    for event_id, row in by_id(sample.rows("main.pendo_usage"), "event_id").items():
        user = row["user_id"]
        if not user or user.startswith("_PENDO_T_") or user in ANONYMOUS_USERS or row["occurred_at"] is None:
            continue
        events[event_id] = {
            "type": "track",
            "event": row["event_name"],
            "visitorId": user,
            **({"accountId": row["org_id"]} if row["org_id"] else {}),
            "timestamp": epoch_ms(row["occurred_at"]),
            "properties": held_fields(row, USAGE_PROPERTIES),
            "context": {},
        }
    return events


def check_day_1(sample: Any, sandbox: Any) -> None:
    known = set(sandbox.visitors)
    assert "org-15" not in sandbox.accounts
    document = sample.sync().json
    assert counts(document) == DAY_1
    assert {(result["status"], result["rejected"]) for result in document["results"]} == {("warn", 0)}
    # Pendo knows people the warehouse has not heard of; it holds nothing of the warehouse for them.
    expected, visitors = expected_visitors(sample), custom(sandbox.visitors)
    assert visitors == {user: expected.get(user, {}) for user in known}
    # Some odd rows, spelt out.
    assert visitors["usr-031"] != visitors["USR-031"]
    assert (visitors["usr-057"], visitors["usr-040"]["mrr"]) == ({}, 16.3333333333)
    assert visitors["usr-020"].keys().isdisjoint({"role", "admin"})
    assert "josé.núñez@example.com" in visitors
    assert custom(sandbox.accounts) == expected_accounts(sample)
    assert "org-15" in sandbox.accounts
    events = [*expected_payments(sample).values(), *expected_usage(sample).values()]
    assert len(events) == 172 + 392
    assert canonical(sandbox.events) == canonical(events)

    sent = writes(sandbox.requests)
    assert all(request.status == 200 for request in sent)
    # One event a request by default, 100 where the model says so.
    assert Counter(f"{request.path}?{request.query}".rstrip("?") for request in sent) == {
        "/api/v1/metadata/visitor/custom/value": 1,
        "/api/v1/metadata/account/custom/value?create=true": 1,
        "/data/track": 172 + 4,
    }
    assert sent_ids(sandbox.requests, "visitor") == sorted(expected)
    totals = {name: sum(result[name] for result in document["results"]) for name in ("retries", "bytes", "requests")}
    assert totals == {"retries": 0, "bytes": sum(request.size for request in sent), "requests": len(sent)}

    # A second sync of the same data writes nothing: rows that Pendo does not know are held for a day.
    before = custom(sandbox.visitors), custom(sandbox.accounts), canonical(sandbox.events)
    sandbox.forget_requests()
    assert counts(sample.sync().json) == {
        name: (planned(unchanged=delivered, invalid=plan["invalid"], held=missing), 0, 0)
        for name, (plan, delivered, missing) in DAY_1.items()
    }
    assert writes(sandbox.requests) == []
    assert (custom(sandbox.visitors), custom(sandbox.accounts), canonical(sandbox.events)) == before


def test_both_days(sample, sandbox):
    known = set(sandbox.visitors)
    check_day_1(sample, sandbox)
    visitors_1 = expected_visitors(sample)
    accounts_1, payments_1, usage_1 = expected_accounts(sample), expected_payments(sample), expected_usage(sample)
    sandbox.forget_requests()
    sample.move_to_day_2()
    # Rows found bad only once rendered are not found by a plan: it counts them as added.
    late = {"pendo_payments": 2, "pendo_usage": 5}
    for result in sample.plan().json["results"]:
        expected, _, _ = DAY_2[result["sync"]]
        more = late.get(result["sync"], 0)
        moved = {"added": expected["added"] + more, "invalid": expected["invalid"] - more}
        assert result["planned"] == {**expected, **moved}
    assert counts(sample.sync().json) == DAY_2

    # Pendo equals the model. The one whose plan ended keeps the amount last sent (`nulls: skip`); the one who left
    # the model keeps everything.
    visitors = expected_visitors(sample)
    changed = {user for user, values in visitors.items() if values != visitors_1.get(user)}
    assert "mrr" not in visitors["usr-063"]
    visitors["usr-063"]["mrr"] = visitors_1["usr-063"]["mrr"]
    assert "usr-088" not in visitors
    visitors["usr-088"] = visitors_1["usr-088"]
    assert custom(sandbox.visitors) == {user: visitors.get(user, {}) for user in known}
    accounts, payments, usage = expected_accounts(sample), expected_payments(sample), expected_usage(sample)
    assert custom(sandbox.accounts) == accounts
    assert canonical(sandbox.events) == canonical([*payments.values(), *usage.values()])

    # Exactly the rows that changed were sent.
    assert changed == {
        *("usr-002", "usr-018", "usr-032", "usr-046", "usr-063", "usr-071", "USR-031"),
        *("usr-001", "usr-003", "usr-004", "usr-005", "usr-006", "usr-117", "usr-118", "usr-119"),
    }
    assert sent_ids(sandbox.requests, "visitor") == sorted(changed)
    changed = {org for org, fields in accounts.items() if fields != accounts_1.get(org)}
    assert changed == {"org-01", "org-02", "org-03", "org-04", "org-09", "org-13", "org-16"}
    assert sent_ids(sandbox.requests, "account") == sorted(changed)
    new = [event for key, event in payments.items() if key not in payments_1]
    new += [event for key, event in usage.items() if key not in usage_1]
    assert len(new) == 11 + 25
    assert canonical(sent_events(sandbox.requests)) == canonical(new)
