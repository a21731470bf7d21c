"""Visitors and accounts: each option of a mapping, what Pendo is sent, and what it holds in the end."""

import json

import pytest
from harness import PEOPLE, add_fields, bodies, custom, planned, select, writes

VALUE = "/api/v1/metadata/{}/{}/value"


@pytest.mark.parametrize("kind", ["visitor", "account"])
def test_unknown_ids_are_left_out_by_update_and_created_by_upsert_and_those_who_left_are_deleted(project, plans, kind):
    def held() -> dict[str, dict[str, object]]:
        return custom(getattr(plans, f"{kind}s"))

    getattr(plans, f"add_{kind}s")({"a": {}, "b": {"custom": {"plan": "old"}}, "other": {"custom": {"plan": "theirs"}}})
    mapping = {"object": kind, f"{kind}_id": "id", "fields": {"plan": "plan"}}
    project.model("people", mapping, select("id, plan", ("a", "pro"), ("b", None), ("stranger", "pro")))
    ended = project.sync()
    assert (ended.planned, ended.outcome) == (planned(added=3), ("warn", 2, 1, 0))
    assert "stranger" in ended.result()["message"]
    known = {"a": {"plan": "pro"}, "b": {}, "other": {"plan": "theirs"}}
    assert held() == known
    plans.forget_requests()
    project.annotate("people", {**mapping, "mode": "upsert"})
    ended = project.sync("--full-refresh")
    assert (ended.result()["object"], ended.outcome) == (kind, ("success", 3, 0, 0))
    assert held() == {**known, "stranger": {"plan": "pro"}}
    (request,) = writes(plans.requests)
    assert (request.path, request.query) == (VALUE.format(kind, "custom"), "create=true")
    assert sorted(record[f"{kind}Id"] for record in json.loads(request.body)) == ["a", "b", "stranger"]
    # Nothing but an id is enough to create a record; that of an account may look like an anonymous visitor's.
    new = "new" if kind == "visitor" else "_PENDO_T_new"
    project.annotate("people", {"object": kind, f"{kind}_id": "id", "mode": "upsert", "on_removed": "delete"})
    project.build("people", select("id, plan", (new, None), ("b", None)))
    plans.forget_requests()
    assert project.sync("--force").outcome == ("success", 4, 0, 0)
    (deleted,) = bodies(plans.requests, "/bulkdelete/")
    assert {name: sorted(ids) for name, ids in deleted.items()} == {f"{kind}s": ["a", "stranger"]}
    assert held() == {"b": {}, "other": {"plan": "theirs"}, new: {}}
    removed = dict.fromkeys(("a", "stranger"), "removed")
    assert project.statuses("people") == {"b": "delivered", new: "delivered", **removed}


def test_a_value_that_cannot_be_sent_costs_its_row_or_its_field(project, plans):
    """Here DuckDB would write the bodies."""
    add_fields(plans, mrr="float", score="float")
    plans.add_visitors({name: {"custom": {"mrr": 1.0, "score": 1.0, "plan": "old"}} for name in "abc"})
    mapping = {**PEOPLE, "fields": {"plan": "plan", "mrr": "mrr", "score": {"column": "score", "on_invalid": "skip"}}}
    rows = "('a', 'nan'::double, 2.0::double), ('b', 3, 'inf'), ('c', 4, 5), ('d', 6, 'inf')"
    project.model("people", mapping, f"select *, 'pro' as plan from (values {rows}) rows(id, mrr, score)")
    ended = project.sync()
    assert (ended.planned, ended.outcome) == (planned(added=3, invalid=1), ("warn", 2, 1, 0))
    # Only what was delivered is counted: Pendo does not know `d`.
    assert "\n1 value of score could not be sent (on_invalid: skip), e.g. infinite (b)" in ended.result()["message"]
    full = {"plan": "pro", "mrr": 4.0, "score": 5.0}
    held = {"a": {"plan": "old", "mrr": 1.0, "score": 1.0}, "b": {**full, "mrr": 3.0, "score": 1.0}, "c": full}
    assert custom(plans.visitors) == held
    # What was invalid is sent now, and null clears a field.
    project.annotate("people", {**mapping, "on_invalid": None})
    ended = project.sync()
    assert (ended.planned, ended.outcome) == (planned(added=2, changed=2), ("warn", 3, 1, 0))
    assert "1 value of mrr could not be sent (on_invalid: null), e.g. not a number (NaN)" in ended.result()["message"]
    assert custom(plans.visitors) == {**held, "a": {"plan": "pro", "score": 2.0}}
    assert project.run("verify").expect(0).says("3 equal")


def test_a_model_has_several_syncs(project, plans):
    plans.add_visitors(["a", "b"])
    plans.add_field("visitor", "agent", "plan", "string")
    syncs = [
        {**PEOPLE, "name": "ours"},
        {**PEOPLE, "name": "agents", "group": "agent"},
        {"name": "orgs", "object": "account", "account_id": "id", "mode": "upsert", "fields": {"plan": "plan"}},
        {**PEOPLE, "name": "off", "enabled": False},
    ]
    project.model("people", syncs, select("id, plan", ("a", "pro"), ("b", "free")))
    results = project.sync().json["results"]
    found = [(result["sync"], result["object"]) for result in results]
    assert found == [("people.ours", "visitor"), ("people.agents", "visitor"), ("people.orgs", "account")]
    expected = {"a": {"plan": "pro"}, "b": {"plan": "free"}}
    assert custom(plans.visitors) == custom(plans.visitors, "agent") == custom(plans.accounts) == expected
    kept = {f"people__{name}__{suffix}" for name in ("ours", "agents", "orgs") for suffix in ("changes", "ledger")}
    assert project.tables() == {"pendo_subscriptions", "pendo_runs", *kept}
    # Each has its own ledger: a change of one mapping resends that sync alone.
    plans.add_field("visitor", "custom", "source", "string")
    syncs[0] = {**syncs[0], "fields": {"plan": "plan", "source": {"value": "dbt"}}}
    project.annotate("people", syncs)
    plans.forget_requests()
    project.sync()
    assert [request.path for request in writes(plans.requests)] == [VALUE.format("visitor", "custom")]


def test_a_key_that_is_a_number(project, plans):
    keys = {"1": "x", "9007199254740993": "y", "12": "z"}
    plans.add_visitors(list(keys))
    rows = " union all ".join(f"select {key}::bigint as id, '{plan}' as plan" for key, plan in keys.items())
    project.model("people", PEOPLE, rows)
    project.sync()
    assert custom(plans.visitors) == {key: {"plan": plan} for key, plan in keys.items()}
