"""Sound mappings, and the specs they become."""

import pytest

from dbt_pendo.mapping.spec import Column, Event, Field, Limit, SyncSpec, Value

USER_IDS = {"object": "visitor", "visitor_id": "id"}
CREATED = {**USER_IDS, "mode": "upsert"}
WEEK = 604_800
EVENT = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "v", "timestamp": "t"}
SEGMENT = {"object": "segment", "segment": "Trial, at risk", "visitor_id": "user_id"}
USERS = {"name": "users", "unique_id": "model.shop.users", "file": "models/users.yml"}


def only(parsed):
    specs, problems = parsed
    assert [str(problem) for problem in problems] == []
    (spec,) = specs
    return spec


def test_the_contracts_visitor_example(parse):
    mrr = {"column": "mrr_usd", "type": "float", "nulls": "skip"}
    fields = {"plan": "plan_name", "mrr": mrr, "source": {"value": "warehouse"}, "2nd e-mail (work)": "email"}
    meta = {"object": "visitor", "visitor_id": "user_id", "mode": "update", "group": "custom", "fields": fields}
    mapped = (
        *(Field("plan", Column("plan_name")), Field("mrr", Column("mrr_usd"), type="float", nulls="skip")),
        *(Field("source", Value("warehouse")), Field("2nd e-mail (work)", Column("email"))),
        *(Field("admin", Column("is_admin")), Field("city", Column("city"))),
    )
    settings = {"mode": "update", "enabled": True, "on_removed": "keep", "create_fields": False, "batch_size": 500}
    settings["batch_adapts"] = True
    spec = SyncSpec(**USERS, object="visitor", key="user_id", fields=mapped, **settings)
    assert only(parse(meta, {"is_admin": "admin", "city": True})) == spec


def test_the_contracts_event_example(parse):
    context = {"ip": "ip_address", "userAgent": "user_agent", "url": "page_url", "title": "page_title"}
    meta = {
        **{"object": "track_event", "event": "Invoice Paid", "event_id": "payment_id", "visitor_id": "user_id"},
        **{"account_id": "org_id", "timestamp": "paid_at", "context": context, "app": "web", "batch_size": 100},
        "properties": {"amount": "amount_usd", "currency": "currency"},
    }
    properties = {"amount": "amount_usd", "currency": "currency", "channel": "channel"}
    event = Event(
        *(Value("Invoice Paid"), Column("user_id"), Column("paid_at"), Column("org_id")),
        properties=tuple(Field(name, Column(column)) for name, column in properties.items()),
        context=tuple(Field(name, Column(column), nulls="skip") for name, column in context.items()),
        app="web",
    )
    spec = SyncSpec(**USERS, object="track_event", key="payment_id", event=event, batch_size=100, max_age=WEEK)
    assert only(parse(meta, {"channel": True})) == spec


def test_the_smallest_event_and_its_long_forms(parse):
    meta = {
        **{"object": "track_event", "event": {"column": "event_name"}, "event_id": {"column": "id"}, "nulls": "skip"},
        **{"visitor_id": {"value": "system"}, "account_id": {"value": "acme"}, "timestamp": {"column": "at"}},
        "properties": {"amount": {"column": "amount", "type": "number", "nulls": "clear"}, "plan": "plan"},
    }
    amount = Field("amount", Column("amount"), type="float", nulls="clear")
    properties = (amount, Field("plan", Column("plan"), nulls="skip"))
    event = Event(Column("event_name"), Value("system"), Column("at"), Value("acme"), properties=properties)
    spec = SyncSpec(**USERS, object="track_event", key="id", event=event, batch_size=1, max_age=WEEK)
    assert only(parse(meta)) == spec


def test_a_segment_takes_what_is_the_same_for_all_objects(parse):
    spec = SyncSpec(**USERS, object="segment", key="user_id", segment="Trial, at risk", batch_size=1000)
    assert only(parse(SEGMENT)) == spec
    assert only(parse({**SEGMENT, "nulls": "skip", "on_removed": "keep", "create_fields": False})) == spec


@pytest.mark.parametrize("kind", ["account", "parent_account"])
def test_every_setting_of_an_account(parse, kind):
    settings = {"mode": "upsert", "enabled": False, "on_removed": "clear", "create_fields": True, "batch_size": 10_000}
    meta = {
        **{"object": kind, f"{kind}_id": "org_id", "group": "agent", "nulls": "skip", **settings},
        **{"max_changes": 0, "max_removals": "2.5 %", "max_invalid": "1%"},
        "fields": {
            "_Tier2": {"column": "tier", "type": "date"},
            "seats": {"column": "seats", "group": "custom", "nulls": "clear"},
            "Seats": "seats",
        },
    }
    fields = (
        Field("_Tier2", Column("tier"), type="time", nulls="skip", group="agent"),
        Field("seats", Column("seats"), nulls="clear", group="custom"),
        # Pendo folds case, but this one is in another group.
        Field("Seats", Column("seats"), nulls="skip", group="agent"),
    )
    limits = {"max_changes": Limit(rows=0), "max_removals": Limit(percent=2.5), "max_invalid": Limit(percent=1)}
    assert only(parse(meta)) == SyncSpec(**USERS, object=kind, key="org_id", fields=fields, **limits, **settings)


def test_constants_types_guards_and_ages(parse):
    for value in ("x", "", 3, 2.5, True, None, [], ["a", 1, False]):
        spec = only(parse({**USER_IDS, "fields": {"tags": {"value": value}}}))
        assert spec.fields == (Field("tags", Value(tuple(value) if isinstance(value, list) else value)),)
    meanings = {"number": "float", "date": "time"}
    for word in ("string", "boolean", "integer", "float", "number", "time", "date", "list"):
        spec = only(parse({**USER_IDS, "fields": {"f": {"column": "c", "type": word}}}))
        assert spec.fields == (Field("f", Column("c"), type=meanings.get(word, word)),)
    limits = {1000: Limit(rows=1000), "20%": Limit(percent=20), "0.5%": Limit(percent=0.5)}
    assert {written: only(parse({**SEGMENT, "max_changes": written})).max_changes for written in limits} == limits
    ages = {
        **{"7 days": WEEK, "1 day": 86_400, "36 hours": 129_600, "30 minutes": 1_800, "2weeks": 1_209_600},
        **{"9999 days": 863_913_600, "999 weeks": 604_195_200, "none": None},
    }
    events = {written: only(parse({**EVENT, "max_age": written})) for written in ages}
    assert {written: spec.max_age for written, spec in events.items()} == ages
    # What is sent for a row is the same.
    assert {spec.fingerprint for spec in events.values()} == {only(parse(EVENT)).fingerprint}


def test_a_mapping_that_earlier_versions_knew_keeps_its_fingerprint(parse):
    """Or an upgrade would send every record again."""
    fields = {"plan": "plan", "mrr": {"column": "m", "type": "float", "nulls": "skip"}}
    of_visitors = only(parse({"object": "visitor", "visitor_id": "id", "fields": fields}))
    assert of_visitors.fingerprint == "38958a44ac766176159f074e6253e3cd"
    fields["mrr"]["on_invalid"] = "skip"
    assert only(parse({"object": "visitor", "visitor_id": "id", "fields": fields})) != of_visitors


def test_columns_alone_can_fill_the_fields(parse):
    columns = {"plan": True, "secret": False, "odd": None}
    assert only(parse({**USER_IDS, "group": "agent", "nulls": "skip"}, columns)).fields == (
        Field("plan", Column("plan"), nulls="skip", group="agent"),
    )
    # Those that map nothing ask for nothing.
    assert parse(None, {"secret": False, "odd": None}) == ([], [])
    # Property names may differ in case only.
    spec = only(parse({**EVENT, "properties": {"a": "x", "A": "y"}}))
    assert [mapping.name for mapping in spec.event.properties] == ["a", "A"]


def test_a_name_always_follows_the_model(parse):
    specs, _ = parse([{**CREATED, "name": "eu-2"}, {**CREATED, "name": "us"}])
    found = [(spec.name, spec.mode, spec.fields) for spec in specs]
    assert found == [("users.eu-2", "upsert", ()), ("users.us", "upsert", ())]
    assert only(parse({**CREATED, "name": "eu-2"})).name == "users.eu-2"


def test_an_account_id_of_two_columns(parse, complain):
    meta = {"object": "account", "fields": {"plan": "plan"}}
    spec = only(parse({**meta, "account_id": {"parent": "org", "child": "id"}}))
    assert (spec.parent_key, spec.key, spec.columns) == ("org", "id", ("plan",))
    halves = {
        "child: missing; `Parent::Child` is made of two columns": {"parent": "org"},
        "parent: missing": {"child": "id"},
        "child: expected a column's name, found an empty text": {"parent": "org", "child": ""},
        "column: unknown key": {"parent": "org", "child": "id", "column": "x"},
        "chld: unknown key; did you mean `child`?": {"parent": "org", "chld": "id"},
    }
    for told, half in halves.items():
        assert f"account_id.{told}" in "\n".join(complain({**meta, "account_id": half}))
