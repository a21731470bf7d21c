"""Parent accounts, and accounts whose ids are of the form ``Parent::Child`` (pendo-api.md 3 and 8.7)."""

import pytest
from harness import chosen, custom, expect_in, planned, select

from dbt_pendo.sandbox import Sandbox

PARENTS = {"object": "parent_account", "parent_account_id": "id", "fields": {"plan": "plan"}}
ROWS = "select * from (values ('acme', 'pro'), ('zeta', 'free')) rows(id, plan)"
CHILDREN = {"object": "account", "account_id": {"parent": "org", "child": "id"}, "fields": {"plan": "plan"}}


@pytest.fixture
def plans(plans: Sandbox) -> Sandbox:
    plans.add_field("parentAccount", "custom", "plan", "string")
    return plans


@pytest.mark.parametrize(("id_key", "batch_size"), [("parentAccountId", 500), ("accountId", 1)])
def test_parent_accounts_are_created_missed_and_cleared_whatever_their_id_is_called(project, plans, id_key, batch_size):
    plans.switches = chosen(parent_account_id_key=id_key)
    plans.add_parent_accounts(["acme"])
    mapping = {**PARENTS, "on_removed": "clear", "batch_size": batch_size}
    project.model("parents", mapping, ROWS)
    assert project.sync("--concurrency", "1").outcome == ("warn", 1, 1, 0)
    # Once known, the name is not asked for again.
    refused = [request for request in plans.requests if request.status == 400]
    assert len(refused) == (1 if id_key == "accountId" else 0)
    project.annotate("parents", {**mapping, "mode": "upsert"})
    assert project.sync("--retry-held").result()["delivered"] == 1
    assert custom(plans.parent_accounts) == {"acme": {"plan": "pro"}, "zeta": {"plan": "free"}}
    project.build("parents", f"select * from ({ROWS}) where id = 'acme'")
    assert project.sync().planned == planned(removed=1, unchanged=1)
    assert custom(plans.parent_accounts) == {"acme": {"plan": "pro"}, "zeta": {}}


def test_a_refusal_that_is_not_about_the_id_is_told_as_it_is(project, plans):
    plans.switches = chosen(type_mismatch="refuse call")
    plans.add_field("parentAccount", "custom", "seats", "integer")
    plans.add_parent_accounts(["acme", "zeta"])
    project.model(
        "parents",
        {**PARENTS, "fields": {"seats": {"column": "seats", "type": "float"}}},
        "select * from (values ('acme', 1.5), ('zeta', 2.5)) rows(id, seats)",
    )
    ended = project.sync(status=1)
    assert ("seats" in ended.result()["message"], ended.outcome[1]) == (True, 0)


def test_accounts_of_a_parent(project, plans):
    plans.add_accounts(["acme::sales", "acme", "sales", "a::b::c", "zeta::sales"])
    rows = [("acme", "sales", "pro"), (None, "sales", "a"), ("acme", None, "b"), ("", "x", "c"), ("acme", " ", "d")]
    # Two ways to one id are a duplicate.
    rows += [("a::b", "c", "one"), ("a", "b::c", "two")]
    project.model("orgs", {**CHILDREN, "on_removed": "clear"}, select("org, id, plan", *rows))
    ended = project.sync()
    assert (ended.planned, ended.outcome) == (planned(added=1, invalid=6), ("warn", 1, 0, 0))
    expect_in(ended.result()["message"], "the key is null (2)", "the key is empty (2)")
    untouched = {"acme": {}, "sales": {}, "a::b::c": {}}
    assert custom(plans.accounts) == {"acme::sales": {"plan": "pro"}, "zeta::sales": {}, **untouched}
    assert project.keys("orgs", "delivered") == {"acme::sales"}
    # An account that left its parent is another one.
    project.build("orgs", select("org, id, plan", ("zeta", "sales", "pro")))
    assert project.sync().planned == planned(added=1, removed=1)
    assert custom(plans.accounts) == {"acme::sales": {}, "zeta::sales": {"plan": "pro"}, **untouched}
