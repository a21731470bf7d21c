"""Visitors and accounts: each option of a mapping, what Pendo is sent, and what it holds in the end."""

from __future__ import annotations

import json

import pytest
from harness import PEOPLE, add_fields, bodies, custom, epoch_ms, planned, refuse, select, sent_ids, writes

VALUE = "/api/v1/metadata/{}/{}/value"
SEATS = "select * from (values ('a', 'pro', 3), ('b', 'free', 4)) rows(id, plan, seats)"


def people(*rows: tuple[str | None, str | None]) -> str:
    return select("id, plan", *rows)


def test_update_leaves_out_ids_that_pendo_does_not_know(project, plans):
    plans.add_visitors(["a", "b"])
    project.model("people", PEOPLE, people(("a", "pro"), ("b", None), ("stranger", "pro")))
    ended = project.sync()
    assert (ended.planned, ended.outcome) == (planned(added=3), ("success", 2, 1, 0))
    assert "stranger" in ended.result()["message"]
    assert custom(plans.visitors) == {"a": {"plan": "pro"}, "b": {}}


@pytest.mark.parametrize("kind", ["visitor", "account"])
def test_upsert_creates_them(project, plans, kind):
    mapping = {"object": kind, f"{kind}_id": "id", "mode": "upsert", "fields": {"plan": "plan"}}
    project.model("people", mapping, people(("a", "pro"), ("b", None)))
    ended = project.sync()
    assert (ended.result()["object"], ended.outcome) == (kind, ("success", 2, 0, 0))
    assert custom(getattr(plans, f"{kind}s")) == {"a": {"plan": "pro"}, "b": {}}
    (request,) = writes(plans.requests)
    assert (request.path, request.query) == (VALUE.format(kind, "custom"), "create=true")
    assert sorted(record[f"{kind}Id"] for record in json.loads(request.body)) == ["a", "b"]


def test_upsert_without_fields_creates_records(project, plans):
    mapping = {"object": "visitor", "visitor_id": "id", "mode": "upsert"}
    project.model("people", mapping, people(("a", None), ("b", "x")))
    assert project.sync().outcome == ("success", 2, 0, 0)
    assert custom(plans.visitors) == {"a": {}, "b": {}}


def test_accounts_are_updated(project, plans):
    plans.add_accounts({key: {"custom": {"plan": "free"}} for key in "ab"})
    mapping = {"object": "account", "account_id": "id", "fields": {"plan": "plan"}}
    project.model("orgs", mapping, people(("a", "pro"), ("c", "pro")))
    assert project.sync().outcome == ("success", 1, 1, 0)
    assert custom(plans.accounts) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}


def test_each_group_is_a_request_of_its_own(project, plans):
    plans.add_field("visitor", "agent", "plan", "string")
    plans.add_field("visitor", "agent", "seats", "integer")
    plans.add_visitors(["a", "b"])
    fields = {"plan": {"column": "plan", "group": "custom"}, "seats": "seats"}
    project.model("people", {**PEOPLE, "group": "agent", "fields": fields}, SEATS)
    result = project.sync().result()
    assert (result["delivered"], result["requests"]) == (2, 2)
    paths = sorted(request.path for request in writes(plans.requests))
    assert paths == [VALUE.format("visitor", "agent"), VALUE.format("visitor", "custom")]
    assert custom(plans.visitors) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}
    assert custom(plans.visitors, "agent") == {"a": {"seats": 3}, "b": {"seats": 4}}


def test_a_row_is_delivered_when_all_its_groups_are(project, plans):
    plans.add_field("visitor", "agent", "seats", "")
    plans.add_visitors(["a", "b"])
    fields = {"plan": "plan", "seats": {"column": "seats", "group": "agent"}}
    project.model("people", {**PEOPLE, "fields": fields}, SEATS)
    refuse(plans, "b", path="/agent/")
    assert project.sync(status=1).outcome == ("partial", 1, 0, 1)
    assert project.statuses("people") == {"a": "delivered", "b": "rejected"}
    plans.clear_faults()
    plans.forget_requests()
    # Both groups again: it is the row that was not delivered.
    assert project.sync().outcome == ("success", 1, 0, 0)
    assert sent_ids(plans.requests, "visitor") == ["b", "b"]
    assert custom(plans.visitors, "agent") == {"a": {"seats": 3}, "b": {"seats": 4}}


@pytest.mark.parametrize(
    ("nulls", "sent", "held"),
    [
        ("clear", [[{"visitorId": "a", "values": {"plan": None}}]], {"a": {}}),
        # A record without a value has nothing to say, and Pendo refuses a call without values.
        ("skip", [], {"a": {"plan": "old"}}),
    ],
)
def test_a_null_clears_the_field_or_is_left_out(project, plans, nulls, sent, held):
    plans.add_visitors({"a": {"custom": {"plan": "old"}}})
    project.model("people", {**PEOPLE, "nulls": nulls}, people(("a", None)))
    assert project.sync().outcome == ("success", 1, 0, 0)
    assert (bodies(plans.requests), custom(plans.visitors)) == (sent, held)


def test_nulls_of_one_field_differ_from_the_syncs(project, plans):
    plans.add_field("visitor", "custom", "team", "string")
    plans.add_visitors({"a": {"custom": {"plan": "old", "team": "old"}}})
    fields = {"plan": "plan", "team": {"column": "team", "nulls": "clear"}}
    project.model("people", {**PEOPLE, "nulls": "skip", "fields": fields}, select("id, plan, team", ("a", None, None)))
    project.sync()
    assert custom(plans.visitors) == {"a": {"plan": "old"}}


@pytest.mark.parametrize("policy", ["keep", "clear"])
def test_on_removed_keep_and_clear(project, plans, policy):
    """Who left the model is dealt with once; whoever comes back is sent."""
    plans.add_field("visitor", "custom", "team", "string")
    plans.add_visitors({"a": {}, "b": {"custom": {"team": "x"}}})
    both, one = people(("a", "pro"), ("b", "pro")), people(("a", "pro"))
    project.model("people", {**PEOPLE, "on_removed": policy}, both)
    project.sync()
    plans.forget_requests()
    project.build("people", one)
    assert project.plan().planned == planned(removed=1, unchanged=1)
    ended = project.sync()
    assert (ended.planned, ended.outcome) == (planned(removed=1, unchanged=1), ("success", 1, 0, 0))
    if policy == "keep":
        assert ended.result()["message"] == "1 left the model: noted in the ledger, kept in Pendo"
    cleared = [[{"visitorId": "b", "values": {"plan": None}}]]
    assert bodies(plans.requests) == ([] if policy == "keep" else cleared)
    assert custom(plans.visitors)["b"] == {"team": "x", **({"plan": "pro"} if policy == "keep" else {})}
    assert project.statuses("people") == {"a": "delivered", "b": "removed"}
    # Once is enough.
    plans.forget_requests()
    entries = len(project.ledger("people"))
    assert project.sync().planned == planned(unchanged=1)
    assert (len(project.ledger("people")), writes(plans.requests)) == (entries, [])
    # And back again.
    project.build("people", both)
    assert project.sync().planned == planned(added=1, unchanged=1)
    assert sent_ids(plans.requests, "visitor") == ["b"]
    assert custom(plans.visitors) == {"a": {"plan": "pro"}, "b": {"team": "x", "plan": "pro"}}
    assert project.sync().planned == planned(unchanged=2)


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


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        # A row that was never delivered is not removed.
        ([("a", "pro"), ("stranger", "pro")], [("a", "pro")], {"unchanged": 1}),
        # A doubled row has not left the model.
        ([("a", "pro"), ("b", "pro")], [("a", "pro"), ("b", "pro"), ("b", "pro")], {"unchanged": 1, "invalid": 2}),
    ],
)
def test_who_has_not_left(project, plans, before, after, counts):
    plans.add_visitors(["a", "b"])
    project.model("people", {**PEOPLE, "on_removed": "delete"}, people(*before))
    project.sync()
    project.build("people", people(*after))
    assert project.sync().planned == planned(**counts)
    assert sorted(plans.visitors) == ["a", "b"]


def test_fields_are_created_on_request(project, sandbox):
    sandbox.add_visitors(["a"])
    fields = {"Plan": "plan", **{name: name for name in ("seats", "mrr", "active", "since")}}
    fields["seen"] = {"column": "seen", "group": "agent"}
    project.model(
        "people",
        {**PEOPLE, "create_fields": True, "fields": fields},
        "select 'a' as id, 'pro' as plan, 3 as seats, 1.5::decimal(10, 2) as mrr, true as active, "
        "date '2026-01-02' as since, timestamptz '2026-01-02 03:04:05+02' as seen",
    )
    assert project.check().result()["status"] == "success"
    assert project.plan("--show", "1").planned == planned(added=1)
    assert writes(sandbox.requests) == []
    assert project.sync().outcome == ("success", 1, 0, 0)
    created = {
        request.path: {field["name"]: field["type"] for field in json.loads(request.body)}
        for request in writes(sandbox.requests)
        if "/schema/" in request.path
    }
    types = {"Plan": "string", "seats": "number", "mrr": "number", "active": "boolean", "since": "time"}
    schema = "/api/v1/metadata/schema/visitor"
    assert created == {f"{schema}/custom": types, f"{schema}/agent": {"seen": "time"}}
    held = {"plan": "pro", "seats": 3, "mrr": 1.5, "active": True, "since": epoch_ms("2026-01-02")}
    assert custom(sandbox.visitors) == {"a": held}
    assert custom(sandbox.visitors, "agent") == {"a": {"seen": epoch_ms("2026-01-02T01:04:05")}}
    # They are there now; nobody creates them again.
    sandbox.forget_requests()
    project.sync()
    assert writes(sandbox.requests) == []


def test_constants(project, sandbox):
    types = {"text": "string", "seats": "integer", "share": "float", "on": "boolean", "tags": "list", "gone": "string"}
    for name, type_ in types.items():
        sandbox.add_field("visitor", "custom", name, type_)
    sandbox.add_visitors({"a": {"custom": {"gone": "old"}}})
    constants = {"text": "it's", "seats": 3, "share": 0.5, "on": False, "tags": ["x", "y"]}
    fields = {name: {"value": value} for name, value in {**constants, "gone": None}.items()}
    project.model("people", {**PEOPLE, "fields": fields}, people(("a", None)))
    project.sync()
    assert custom(sandbox.visitors) == {"a": constants}


def test_columns_are_mapped_at_the_column(project, plans):
    add_fields(plans, admin="boolean", seats="integer")
    plans.add_visitors(["a"])
    rows = "select 'a' as id, 'pro' as plan, true as is_admin, 3 as seats, 'x' as team"
    project.model("people", PEOPLE, rows, columns={"is_admin": "admin", "seats": True, "team": False})
    project.sync()
    assert custom(plans.visitors) == {"a": {"plan": "pro", "admin": True, "seats": 3}}


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


@pytest.mark.parametrize(
    ("more", "rows", "sizes"),
    [({"batch_size": 4}, 10, [2, 4, 4]), ({}, 1200, [200, 500, 500])],
    ids=["four", "the default"],
)
def test_batches_of_records(project, plans, more, rows, sizes):
    mapping = {**PEOPLE, "mode": "upsert", **more}
    project.model("people", mapping, f"select 'v' || i as id, 'x' as plan from range({rows}) r(i)")
    project.sync()
    assert sorted(len(body) for body in bodies(plans.requests)) == sizes
    assert custom(plans.visitors) == {f"v{at}": {"plan": "x"} for at in range(rows)}


def test_an_empty_model(project, plans):
    project.model("people", PEOPLE, f"{people(('a', 'x'))} where false")
    ended = project.sync()
    assert (ended.outcome, ended.planned, writes(plans.requests)) == (("success", 0, 0, 0), planned(), [])


def test_a_view_is_read(project, plans):
    plans.add_visitors(["a"])
    project.model("people", PEOPLE, people(("a", "x")))
    project.sql(f"drop table main.people; create view main.people as {people(('a', 'viewed'))}")
    project.sync()
    assert custom(plans.visitors) == {"a": {"plan": "viewed"}}


def test_a_row_changes_and_changes_back(project, plans):
    plans.add_visitors(["a", "b"])
    project.model("people", PEOPLE, people(("a", "x"), ("b", "x")))
    for plan in ("x", "y", "x", "x"):
        project.build("people", people(("a", plan), ("b", "x")))
        project.sync()
        assert custom(plans.visitors) == {"a": {"plan": plan}, "b": {"plan": "x"}}
    assert len(writes(plans.requests)) == 3
