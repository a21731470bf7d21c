"""Parent accounts, and accounts whose ids are of the form ``Parent::Child`` (pendo-api.md 3 and 8.7)."""

from __future__ import annotations

import pytest
from harness import CLICKS, custom, expect_in, sent_events

from dbt_pendo.sandbox import Sandbox, Switches

PARENTS = {"object": "parent_account", "parent_account_id": "id", "fields": {"plan": "plan"}}
ROWS = "select * from (values ('acme', 'pro'), ('zeta', 'free')) rows(id, plan)"
CHILDREN = {"object": "account", "account_id": {"parent": "org", "child": "id"}, "fields": {"plan": "plan"}}


@pytest.fixture
def plans(sandbox: Sandbox) -> Sandbox:
    for kind in ("account", "parentAccount"):
        sandbox.add_field(kind, "custom", "plan", "string")
    return sandbox


def children(*rows: tuple[str | None, str | None, str]) -> str:
    texts = (f"({', '.join('null' if value is None else repr(value) for value in row)})" for row in rows)
    return f"select * from (values {', '.join(texts)}) rows(org, id, plan)"


@pytest.mark.parametrize(("id_key", "batch_size"), [("parentAccountId", 500), ("accountId", 1)])
def test_parent_accounts_whatever_their_id_is_called(project, plans, id_key, batch_size):
    plans.switches = Switches(parent_account_id_key=id_key)
    plans.add_parent_accounts(["acme", "zeta"])
    project.model("parents", {**PARENTS, "batch_size": batch_size}, ROWS)
    assert project.sync("--concurrency", "1").outcome == ("success", 2, 0, 0)
    assert custom(plans.parent_accounts) == {"acme": {"plan": "pro"}, "zeta": {"plan": "free"}}
    refused = [request for request in plans.requests if request.status == 400]
    # Once known, it is not asked for again.
    assert len(refused) == (1 if id_key == "accountId" else 0)
    assert project.sync().planned["unchanged"] == 2


def test_parent_accounts_are_created_missed_and_cleared(project, plans):
    plans.add_parent_accounts(["acme"])
    project.model("parents", {**PARENTS, "on_removed": "clear"}, ROWS)
    result = project.sync().result()
    assert (result["delivered"], result["missing"]) == (1, 1)
    project.annotate("parents", {**PARENTS, "on_removed": "clear", "mode": "upsert"})
    assert project.sync("--retry-held").result()["delivered"] == 1
    assert custom(plans.parent_accounts) == {"acme": {"plan": "pro"}, "zeta": {"plan": "free"}}
    project.build("parents", f"select * from ({ROWS}) where id = 'acme'")
    assert project.sync().planned["removed"] == 1
    assert custom(plans.parent_accounts) == {"acme": {"plan": "pro"}, "zeta": {}}


def test_a_refusal_that_is_not_about_the_id_is_told_as_it_is(project, plans):
    plans.switches = Switches(type_mismatch="refuse call")
    plans.add_field("parentAccount", "custom", "seats", "integer")
    plans.add_parent_accounts(["acme", "zeta"])
    project.model(
        "parents",
        {**PARENTS, "fields": {"seats": {"column": "seats", "type": "string"}}},
        "select * from (values ('acme', 'many'), ('zeta', 'few')) rows(id, seats)",
    )
    result = project.sync(status=1).result()
    assert "seats" in result["message"]
    assert result["delivered"] == 0


def test_accounts_of_a_parent(project, plans):
    plans.add_accounts(["acme::sales", "acme", "sales", "a::b::c", "zeta::sales"])
    rows = [("acme", "sales", "pro"), (None, "sales", "a"), ("acme", None, "b"), ("", "x", "c"), ("acme", " ", "d")]
    # Two ways to one id are a duplicate.
    rows += [("a::b", "c", "one"), ("a", "b::c", "two")]
    project.model("orgs", {**CHILDREN, "on_removed": "clear"}, children(*rows))
    result = project.sync().result()
    assert (result["delivered"], result["missing"], result["planned"]["invalid"]) == (1, 0, 6)
    untouched = {"acme": {}, "sales": {}, "a::b::c": {}}
    assert custom(plans.accounts) == {"acme::sales": {"plan": "pro"}, "zeta::sales": {}, **untouched}
    expect_in(result["message"], "the key is null (2)", "the key is empty (2)")
    assert project.statuses("orgs")["acme::sales"] == "delivered"
    # An account that left its parent is another one.
    project.build("orgs", children(("zeta", "sales", "pro")))
    planned = project.sync().planned
    assert (planned["added"], planned["removed"]) == (1, 1)
    assert custom(plans.accounts) == {"acme::sales": {}, "zeta::sales": {"plan": "pro"}, **untouched}


def test_events_of_an_account_with_a_parent(project, sandbox):
    project.model(
        "clicks",
        {**CLICKS, "event": "Click", "visitor_id": "who", "account_id": {"parent": "org", "child": "team"}},
        "select id, 'v' as who, timestamp '2026-11-23 10:00:00' as at, org, team from (values"
        " ('1', 'acme', 'sales'), ('2', 'acme', null), ('3', null, null), ('4', null, 'sales')) rows(id, org, team)",
    )
    result = project.sync().result()
    assert (result["delivered"], result["planned"]["invalid"]) == (3, 1)
    accounts = sorted(str(event.get("accountId")) for event in sent_events(sandbox.requests))
    assert accounts == ["None", "None", "acme::sales"]
    (invalid,) = [entry for entry in project.ledger("clicks") if entry["status"] == "invalid"]
    assert invalid["record_key"] == "4"
    assert invalid["detail"] == "account_id.parent: is null, though sales is given"
