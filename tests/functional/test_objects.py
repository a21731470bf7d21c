"""Visitors and accounts: each option of a mapping, what Pendo is sent, and what it holds in the end."""

from __future__ import annotations

import json

import pytest
from harness import PEOPLE, bodies, custom, planned, refuse, select, sent_ids, writes

VALUE = "/api/v1/metadata/{}/{}/value"
def people(*rows: tuple[str | None, str | None]) -> str:
    return select("id, plan", *rows)


@pytest.mark.parametrize("kind", ["visitor", "account"])
def test_update_leaves_out_ids_that_pendo_does_not_know_and_upsert_creates_them(project, plans, kind):
    records = {"a": {}, "b": {"custom": {"plan": "old"}}, "other": {"custom": {"plan": "theirs"}}}
    getattr(plans, f"add_{kind}s")(records)
    mapping = {"object": kind, f"{kind}_id": "id", "fields": {"plan": "plan"}}
    project.model("people", mapping, people(("a", "pro"), ("b", None), ("stranger", "pro")))
    ended = project.sync()
    assert (ended.planned, ended.outcome) == (planned(added=3), ("success", 2, 1, 0))
    assert "stranger" in ended.result()["message"]
    held = {"a": {"plan": "pro"}, "b": {}, "other": {"plan": "theirs"}}
    assert custom(getattr(plans, f"{kind}s")) == held
    plans.forget_requests()
    project.annotate("people", {**mapping, "mode": "upsert"})
    ended = project.sync("--full-refresh")
    assert (ended.result()["object"], ended.outcome) == (kind, ("success", 3, 0, 0))
    assert custom(getattr(plans, f"{kind}s")) == {**held, "stranger": {"plan": "pro"}}
    (request,) = writes(plans.requests)
    assert (request.path, request.query) == (VALUE.format(kind, "custom"), "create=true")
    assert sorted(record[f"{kind}Id"] for record in json.loads(request.body)) == ["a", "b", "stranger"]
    # Nothing but an id is enough to create a record.
    project.annotate("people", {"object": kind, f"{kind}_id": "id", "mode": "upsert"})
    project.build("people", people(("new", None)))
    # The three others have left the model, of which the ledger takes note.
    assert project.sync().outcome == ("success", 4, 0, 0)
    assert getattr(plans, f"{kind}s")["new"]["custom"] == {}


def test_a_null_is_left_out_where_the_mapping_says_so(project, plans):
    plans.add_visitors({"a": {"custom": {"plan": "old"}}})
    project.model("people", {**PEOPLE, "nulls": "skip"}, people(("a", None)))
    # A record without a value has nothing to say, and Pendo refuses a call without values.
    assert project.sync().outcome == ("success", 1, 0, 0)
    assert (bodies(plans.requests), custom(plans.visitors)) == ([], {"a": {"plan": "old"}})


@pytest.mark.parametrize("kind", ["visitor", "account"])
def test_on_removed_delete(project, plans, kind):
    mapping = {"object": kind, f"{kind}_id": "id", "mode": "upsert", "fields": {"plan": "plan"}}
    mapping |= {"on_removed": "delete", "max_removals": 2}
    project.model("people", mapping, people(("a", "pro"), ("b", "pro"), ("c", "pro")))
    project.sync()
    plans.forget_requests()
    project.build("people", people(("a", "pro"), ("d", "new")))
    ended = project.sync()
    assert (ended.planned, ended.outcome) == (planned(added=1, removed=2, unchanged=1), ("success", 3, 0, 0))
    (deleted,) = bodies(plans.requests, "/bulkdelete/")
    assert {name: sorted(ids) for name, ids in deleted.items()} == {f"{kind}s": ["b", "c"]}
    assert sorted(getattr(plans, f"{kind}s")) == ["a", "d"]
    assert project.statuses("people") == {"a": "delivered", "b": "removed", "c": "removed", "d": "delivered"}
    plans.forget_requests()
    assert project.sync().planned == planned(unchanged=2)
    assert writes(plans.requests) == []


def test_a_model_has_several_syncs(project, plans):
    plans.add_visitors(["a", "b"])
    plans.add_field("visitor", "agent", "plan", "string")
    syncs = [
        {**PEOPLE, "name": "ours"},
        {**PEOPLE, "name": "agents", "group": "agent"},
        {"name": "orgs", "object": "account", "account_id": "id", "mode": "upsert", "fields": {"plan": "plan"}},
        {**PEOPLE, "name": "off", "enabled": False},
    ]
    project.model("people", syncs, people(("a", "pro"), ("b", "free")))
    results = project.sync().json["results"]
    found = [(result["sync"], result["object"]) for result in results]
    assert found == [("people.ours", "visitor"), ("people.agents", "visitor"), ("people.orgs", "account")]
    expected = {"a": {"plan": "pro"}, "b": {"plan": "free"}}
    assert custom(plans.visitors) == custom(plans.visitors, "agent") == custom(plans.accounts) == expected
    kept = {f"people__{name}__{suffix}" for name in ("ours", "agents", "orgs") for suffix in ("changes", "ledger")}
    assert project.tables() == {"pendo_runs", *kept}
    # Each has its own ledger: a change of one mapping resends that sync alone.
    plans.add_field("visitor", "custom", "source", "string")
    syncs[0] = {**syncs[0], "fields": {"plan": "plan", "source": {"value": "dbt"}}}
    project.annotate("people", syncs)
    plans.forget_requests()
    project.sync()
    assert [request.path for request in writes(plans.requests)] == [VALUE.format("visitor", "custom")]


def test_a_row_changes_and_changes_back(project, plans):
    plans.add_visitors(["a", "b"])
    project.model("people", PEOPLE, people(("a", "x"), ("b", "x")))
    project.sql("drop table main.people")
    # A view is read as a table is.
    for plan in ("x", "y", "x", "x"):
        project.sql(f"create or replace view main.people as {people(('a', plan), ('b', 'x'))}")
        project.sync()
        assert custom(plans.visitors) == {"a": {"plan": plan}, "b": {"plan": "x"}}
    assert len(writes(plans.requests)) == 3
