"""The sample project's two days, field by field: what `make demo` shows."""

from __future__ import annotations

import json
from typing import Any

from harness import bodies, canonical, custom, epoch_ms, held_fields, planned, sent_events, sent_ids, writes

VISITOR_FIELDS = {
    "name": "full_name",
    "plan": "plan_name",
    "mrr": "mrr_usd",
    "signedup": "signed_up_on",
    "lastlogin": "last_login_at",
    "logins": "login_count",
    "role": "role",
    "admin": "is_admin",
}
ACCOUNT_FIELDS = {
    "name": "org_name",
    "industry": "industry",
    "country": "country",
    "plan": "plan",
    "seats": "seats",
    "arr": "arr_usd",
    "paying": "is_paying",
    "renewal": "renewal_on",
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


def test_day_1_counts_are_those_of_the_readme(sample):
    document = sample.sync().json
    assert (counts(document), [result["status"] for result in document["results"]]) == (DAY_1, ["success"] * 4)
    assert [result["rejected"] for result in document["results"]] == [0] * 4


def test_day_1_visitors_equal_the_model(sample, sandbox):
    known = set(sandbox.visitors)
    sample.sync("--select", "pendo_visitors")
    expected = expected_visitors(sample)
    # Pendo knows people the warehouse has not heard of; it holds nothing of the warehouse for them.
    assert custom(sandbox.visitors) == {user: expected.get(user, {}) for user in known}
    # The odd rows, spelt out.
    visitors = custom(sandbox.visitors)
    assert visitors["usr-031"] != visitors["USR-031"]
    assert (visitors["usr-057"], visitors["usr-040"]["mrr"]) == ({}, 16.3333333333)
    assert "plan" not in visitors["usr-050"]
    assert visitors["usr-020"].keys().isdisjoint({"role", "admin"})
    assert "signedup" not in visitors["usr-033"]
    assert "josé.núñez@example.com" in visitors
    assert {group: values for group, values in sandbox.visitors["usr-001"].items() if values and group != "auto"} == {
        "custom": visitors["usr-001"]
    }


def test_day_1_accounts_equal_the_model(sample, sandbox):
    assert "org-15" not in sandbox.accounts
    sample.sync("--select", "pendo_accounts")
    assert custom(sandbox.accounts) == expected_accounts(sample)
    assert "org-15" in sandbox.accounts


def test_day_1_events_are_sent_once_each(sample, sandbox):
    sample.sync("--select", "pendo_payments", "pendo_usage")
    expected = [*expected_payments(sample).values(), *expected_usage(sample).values()]
    assert (len(expected), canonical(sandbox.events)) == (172 + 392, canonical(expected))
    assert {receipt.app for receipt in sandbox.receipts} == {""}


def test_day_1_requests(sample, sandbox):
    document = sample.sync().json
    sent = writes(sandbox.requests)
    assert all(request.status == 200 for request in sent)
    paths = [f"{request.path}?{request.query}".rstrip("?") for request in sent]
    assert paths.count("/api/v1/metadata/visitor/custom/value") == 1
    assert paths.count("/api/v1/metadata/account/custom/value?create=true") == 1
    # One event a request by default, 100 where the model says so.
    assert (paths.count("/data/track"), len(paths)) == (172 + 4, 172 + 4 + 2)
    assert sent_ids(sandbox.requests, "visitor") == sorted(expected_visitors(sample))
    assert {request.key for request in sent if request.path == "/data/track"} == {"track"}
    for result in document["results"]:
        assert result["retries"] == 0
    assert sum(result["bytes"] for result in document["results"]) == sum(request.size for request in sent)
    assert sum(result["requests"] for result in document["results"]) == len(sent)


def test_nulls_are_sent_to_clear_and_skipped_where_the_mapping_says_so(sample, sandbox):
    sample.sync("--select", "pendo_visitors")
    values = {record["visitorId"]: record["values"] for body in bodies(sandbox.requests) for record in body}
    assert values["usr-050"]["plan"] is None
    assert "mrr" not in values["usr-050"]
    assert values["usr-020"]["role"] is None
    assert values["usr-020"]["admin"] is None


def test_a_second_sync_of_the_same_data_writes_nothing(sample, sandbox):
    sample.sync()
    before = custom(sandbox.visitors), custom(sandbox.accounts), canonical(sandbox.events)
    sandbox.forget_requests()
    document = sample.sync().json
    # Rows that Pendo does not know are held for a day.
    assert writes(sandbox.requests) == []
    assert counts(document) == {
        "pendo_visitors": (planned(unchanged=102, invalid=4, held=14), 0, 0),
        "pendo_accounts": (planned(unchanged=15, invalid=1), 0, 0),
        "pendo_payments": (planned(unchanged=172, invalid=2), 0, 0),
        "pendo_usage": (planned(unchanged=392, invalid=8), 0, 0),
    }
    assert (custom(sandbox.visitors), custom(sandbox.accounts), canonical(sandbox.events)) == before


def test_once_pendo_knows_everyone_a_second_sync_sends_no_write_request(sample, sandbox):
    sandbox.add_visitors(list(expected_visitors(sample)))
    sample.sync()
    sandbox.forget_requests()
    document = sample.sync().json
    assert writes(sandbox.requests) == []
    assert [result["requests"] for result in document["results"]] == [0, 0, 0, 0]
    assert {result["sync"]: result["planned"]["unchanged"] for result in document["results"]} == {
        "pendo_accounts": 15,
        "pendo_payments": 172,
        "pendo_usage": 392,
        "pendo_visitors": 116,
    }


def test_day_2_counts_are_those_of_the_readme(sample, sandbox):
    sample.sync()
    sample.move_to_day_2()
    plan = sample.plan().json
    # Rows found bad only once rendered are not found by a plan: it counts them as added.
    late = {"pendo_payments": 2, "pendo_usage": 5}
    for result in plan["results"]:
        expected, _, _ = DAY_2[result["sync"]]
        more = late.get(result["sync"], 0)
        assert result["planned"] == {
            **expected,
            "added": expected["added"] + more,
            "invalid": expected["invalid"] - more,
        }
    document = sample.sync().json
    assert (counts(document), len(sandbox.visitors), len(sandbox.accounts)) == (DAY_2, 105, 16)
    assert sum(event["event"] == "Invoice Paid" for event in sandbox.events) == 183
    assert len(sandbox.events) == 183 + 417


def test_day_2_pendo_equals_the_model(sample, sandbox):
    known = set(sandbox.visitors)
    sample.sync()
    day_1 = expected_visitors(sample)
    sample.move_to_day_2()
    sample.sync()
    day_2 = expected_visitors(sample)
    # The one whose plan ended keeps the amount last sent (`nulls: skip`); the one who left the model keeps everything.
    assert "mrr" not in day_2["usr-063"]
    day_2["usr-063"]["mrr"] = day_1["usr-063"]["mrr"]
    assert "usr-088" not in day_2
    day_2["usr-088"] = day_1["usr-088"]
    assert custom(sandbox.visitors) == {user: day_2.get(user, {}) for user in known}
    assert custom(sandbox.accounts) == expected_accounts(sample)
    assert canonical(sandbox.events) == canonical(
        [*expected_payments(sample).values(), *expected_usage(sample).values()]
    )


def test_day_2_sends_exactly_the_rows_that_changed(sample, sandbox):
    sample.sync()
    day_1 = {
        "visitors": by_id(sample.rows("main.pendo_visitors"), "user_id"),
        "accounts": expected_accounts(sample),
        "payments": expected_payments(sample),
        "usage": expected_usage(sample),
    }
    sandbox.forget_requests()
    sample.move_to_day_2()
    sample.sync()

    def mapped(row: dict[str, Any] | None) -> Any:
        return None if row is None else [row[column] for column in VISITOR_FIELDS.values()]

    visitors = by_id(sample.rows("main.pendo_visitors"), "user_id")
    changed = {user for user, row in visitors.items() if mapped(row) != mapped(day_1["visitors"].get(user))}
    assert changed == {
        *("usr-002", "usr-018", "usr-032", "usr-046", "usr-063", "usr-071", "USR-031"),
        *("usr-001", "usr-003", "usr-004", "usr-005", "usr-006", "usr-117", "usr-118", "usr-119"),
    }
    assert sent_ids(sandbox.requests, "visitor") == sorted(changed)

    accounts = expected_accounts(sample)
    changed = {org for org, fields in accounts.items() if fields != day_1["accounts"].get(org)}
    assert changed == {"org-01", "org-02", "org-03", "org-04", "org-09", "org-13", "org-16"}
    assert sent_ids(sandbox.requests, "account") == sorted(changed)

    new = [event for key, event in expected_payments(sample).items() if key not in day_1["payments"]]
    new += [event for key, event in expected_usage(sample).items() if key not in day_1["usage"]]
    assert (len(new), canonical(sent_events(sandbox.requests))) == (11 + 25, canonical(new))

    # The bodies themselves: every mapped field of each row, nothing more.
    sent = {record["visitorId"]: record["values"] for body in bodies(sandbox.requests, "visitor") for record in body}
    assert sent["usr-063"]["plan"] is None
    assert "mrr" not in sent["usr-063"]
    assert sorted(sent["usr-002"]) == sorted([*VISITOR_FIELDS, "source"])


def test_the_manifest_of_day_2_is_named_in_the_results(sample):
    first = sample.sync("--select", "pendo_accounts").json
    sample.move_to_day_2()
    second = sample.sync("--select", "pendo_accounts").json
    manifest = json.loads((sample.target / "manifest.json").read_text())
    assert second["metadata"]["manifest_invocation_id"] == manifest["metadata"]["invocation_id"]
    assert first["metadata"]["manifest_invocation_id"] != second["metadata"]["manifest_invocation_id"]
    assert first["metadata"]["run_id"] < second["metadata"]["run_id"]
