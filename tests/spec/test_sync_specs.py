"""Sound mappings, and the specs they become."""

from __future__ import annotations

import pytest

from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation, Column, Event, Field, Limit, SyncSpec, Value

USERS = {"name": "users", "unique_id": "model.shop.users", "file": "models/users.yml"}


def only(parsed):
    specs, problems = parsed
    assert [str(problem) for problem in problems] == []
    (spec,) = specs
    return spec


def test_the_contracts_visitor_example(parse):
    meta = {
        "object": "visitor",
        "visitor_id": "user_id",
        "mode": "update",
        "group": "custom",
        "fields": {
            "plan": "plan_name",
            "mrr": {"column": "mrr_usd", "type": "float", "nulls": "skip"},
            "source": {"value": "warehouse"},
        },
    }
    assert only(parse(meta, {"is_admin": "admin", "city": True})) == SyncSpec(
        **USERS,
        object="visitor",
        key="user_id",
        fields=(
            Field("plan", Column("plan_name")),
            Field("mrr", Column("mrr_usd"), type="float", nulls="skip"),
            Field("source", Value("warehouse")),
            Field("admin", Column("is_admin")),
            Field("city", Column("city")),
        ),
        mode="update",
        enabled=True,
        on_removed="keep",
        create_fields=False,
        batch_size=500,
    )


def test_the_contracts_event_example(parse):
    meta = {
        "object": "track_event",
        "event": "Invoice Paid",
        "event_id": "payment_id",
        "visitor_id": "user_id",
        "account_id": "org_id",
        "timestamp": "paid_at",
        "properties": {"amount": "amount_usd", "currency": "currency"},
        "context": {"ip": "ip_address", "userAgent": "user_agent", "url": "page_url", "title": "page_title"},
        "app": "web",
        "batch_size": 100,
    }
    assert only(parse(meta, {"channel": True})) == SyncSpec(
        **USERS,
        object="track_event",
        key="payment_id",
        event=Event(
            name=Value("Invoice Paid"),
            visitor_id=Column("user_id"),
            timestamp=Column("paid_at"),
            account_id=Column("org_id"),
            properties=(
                Field("amount", Column("amount_usd")),
                Field("currency", Column("currency")),
                Field("channel", Column("channel")),
            ),
            context=(
                Field("ip", Column("ip_address"), nulls="skip"),
                Field("userAgent", Column("user_agent"), nulls="skip"),
                Field("url", Column("page_url"), nulls="skip"),
                Field("title", Column("page_title"), nulls="skip"),
            ),
            app="web",
        ),
        batch_size=100,
    )


def test_the_smallest_event_and_its_long_forms(parse):
    meta = {
        "object": "track_event",
        "event": {"column": "event_name"},
        "event_id": {"column": "id"},
        "visitor_id": {"value": "system"},
        "account_id": {"value": "acme"},
        "timestamp": {"column": "at"},
        "nulls": "skip",
        "properties": {"amount": {"column": "amount", "type": "number", "nulls": "clear"}, "plan": "plan"},
    }
    assert only(parse(meta)) == SyncSpec(
        **USERS,
        object="track_event",
        key="id",
        event=Event(
            name=Column("event_name"),
            visitor_id=Value("system"),
            timestamp=Column("at"),
            account_id=Value("acme"),
            properties=(
                Field("amount", Column("amount"), type="float", nulls="clear"),
                Field("plan", Column("plan"), nulls="skip"),
            ),
        ),
        batch_size=1,
    )


def test_a_segment(parse):
    meta = {"object": "segment", "segment": "Trial, at risk", "visitor_id": "user_id"}
    assert only(parse(meta)) == SyncSpec(
        **USERS, object="segment", key="user_id", segment="Trial, at risk", batch_size=1000
    )


@pytest.mark.parametrize("kind", ["account", "parent_account"])
def test_every_setting_of_an_account(parse, kind):
    meta = {
        "object": kind,
        f"{kind}_id": "org_id",
        "mode": "upsert",
        "group": "agent",
        "nulls": "skip",
        "enabled": False,
        "on_removed": "clear",
        "create_fields": True,
        "batch_size": 10_000,
        "max_changes": 0,
        "max_removals": "2.5 %",
        "fields": {
            "_Tier2": {"column": "tier", "type": "date"},
            "seats": {"column": "seats", "group": "custom", "nulls": "clear"},
            "Seats": "seats",
        },
    }
    assert only(parse(meta)) == SyncSpec(
        **USERS,
        object=kind,
        key="org_id",
        fields=(
            Field("_Tier2", Column("tier"), type="time", nulls="skip", group="agent"),
            Field("seats", Column("seats"), nulls="clear", group="custom"),
            # Pendo folds case, but this one is in another group.
            Field("Seats", Column("seats"), nulls="skip", group="agent"),
        ),
        mode="upsert",
        enabled=False,
        on_removed="clear",
        create_fields=True,
        batch_size=10_000,
        max_changes=Limit(rows=0),
        max_removals=Limit(percent=2.5),
    )


@pytest.mark.parametrize(
    ("value", "constant"),
    [
        ("x", "x"),
        ("", ""),
        (3, 3),
        (2.5, 2.5),
        (True, True),
        (None, None),
        ([], ()),
        (["a", 1, False], ("a", 1, False)),
    ],
)
def test_constants(parse, value, constant):
    spec = only(parse({"object": "visitor", "visitor_id": "id", "fields": {"tags": {"value": value}}}))
    assert spec.fields == (Field("tags", Value(constant)),)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("string", "string"),
        ("boolean", "boolean"),
        ("integer", "integer"),
        ("float", "float"),
        ("number", "float"),
        ("time", "time"),
        ("date", "time"),
        ("list", "list"),
    ],
)
def test_types(parse, word, meaning):
    field = {"column": "c", "type": word}
    spec = only(parse({"object": "visitor", "visitor_id": "id", "fields": {"f": field}}))
    assert spec.fields == (Field("f", Column("c"), type=meaning),)


@pytest.mark.parametrize(
    ("written", "limit"), [(1000, Limit(rows=1000)), ("20%", Limit(percent=20)), ("0.5%", Limit(percent=0.5))]
)
def test_guards(parse, written, limit):
    meta = {"object": "segment", "segment": "S", "visitor_id": "id", "max_changes": written}
    assert only(parse(meta)).max_changes == limit


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("7 days", 604_800),
        ("1 day", 86_400),
        ("36 hours", 129_600),
        ("30 minutes", 1_800),
        ("2weeks", 1_209_600),
        ("9999 days", 863_913_600),
        ("999 weeks", 604_195_200),
    ],
)
def test_ages(parse, written, seconds):
    meta = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "v", "timestamp": "t"}
    spec = only(parse({**meta, "max_age": written}))
    assert spec.max_age == seconds
    # What is sent for a row is the same.
    assert spec.fingerprint == only(parse(meta)).fingerprint


def test_upsert_needs_no_fields(parse):
    spec = only(parse({"object": "visitor", "visitor_id": "id", "mode": "upsert"}))
    assert (spec.mode, spec.fields) == ("upsert", ())


def test_columns_alone_can_fill_the_fields(parse):
    meta = {"object": "visitor", "visitor_id": "id", "group": "agent", "nulls": "skip"}
    assert only(parse(meta, {"plan": True, "secret": False, "odd": None})).fields == (
        Field("plan", Column("plan"), nulls="skip", group="agent"),
    )


def test_harmless_settings_are_taken_on_every_object(parse):
    meta = {
        "object": "segment",
        "segment": "S",
        "visitor_id": "id",
        "nulls": "skip",
        "on_removed": "keep",
        "create_fields": False,
    }
    assert only(parse(meta)).object == "segment"


def test_property_names_may_differ_in_case_only(parse):
    meta = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "v", "timestamp": "t"}
    spec = only(parse({**meta, "properties": {"a": "x", "A": "y"}}))
    assert [mapping.name for mapping in spec.event.properties] == ["a", "A"]


def test_a_name_always_follows_the_model(parse):
    meta = {"name": "eu-2", "object": "visitor", "visitor_id": "id", "mode": "upsert"}
    specs, _ = parse([meta, {**meta, "name": "us"}])
    assert [spec.name for spec in specs] == ["users.eu-2", "users.us"]
    assert only(parse(meta)).name == "users.eu-2"


def test_columns_that_map_nothing_ask_for_nothing(parse):
    assert parse(None, {"secret": False, "odd": None}) == ([], [])


def test_a_model_with_a_problem_does_not_spoil_the_others():
    good = {"object": "visitor", "visitor_id": "id", "mode": "upsert"}
    specs, problems = parse_syncs(
        [
            Annotation("model.shop.a", "a", "a.yml", good),
            Annotation("model.shop.b", "b", "b.yml", [{**good, "name": "x"}, {**good, "name": "y", "mode": 1}]),
            Annotation("model.shop.c", "c", "c.yml", good),
        ]
    )
    assert [spec.name for spec in specs] == ["a", "c"]
    assert [str(problem) for problem in problems] == [
        "b.yml: b.y: meta.pendo.mode: expected `update` or `upsert`, found the number 1"
    ]


def test_an_account_id_of_two_columns() -> None:
    meta = {"object": "account", "account_id": {"parent": "org", "child": "id"}, "fields": {"plan": "plan"}}
    annotation = Annotation("model.shop.orgs", "orgs", "models/orgs.yml", meta)
    (spec,), problems = parse_syncs([annotation])
    assert not problems
    assert (spec.parent_key, spec.key) == ("org", "id")
    assert spec.columns == ("plan",)


@pytest.mark.parametrize(
    ("account_id", "told"),
    [
        ({"parent": "org"}, "meta.pendo.account_id.child: expected a column's name, found nothing (null)"),
        ({"child": "id"}, "meta.pendo.account_id.parent: expected a column's name, found nothing (null)"),
        ({"parent": "org", "child": ""}, "meta.pendo.account_id.child: expected a column's name, found an empty text"),
        ({"parent": "org", "child": "id", "column": "x"}, "meta.pendo.account_id.column: unknown key"),
        ({"parent": "org", "chld": "id"}, "meta.pendo.account_id.chld: unknown key; did you mean `child`?"),
    ],
)
def test_half_an_account_id(account_id: dict[str, str], told: str) -> None:
    meta = {"object": "account", "account_id": account_id, "fields": {"plan": "plan"}}
    specs, problems = parse_syncs([Annotation("model.shop.orgs", "orgs", "models/orgs.yml", meta)])
    assert not specs
    assert any(told in str(problem) for problem in problems), problems
