"""Rows of a page → records, and records → the bytes of requests."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import datetimes, decimals, integers, scalars, texts

from dbt_pendo.mapping.spec import Column, Event, Field, SyncSpec, Value
from dbt_pendo.outcomes import DELIVERED, Outcome
from dbt_pendo.records.batches import Batch, pack, track_body
from dbt_pendo.records.convert import CONVERTERS, InvalidValue, to_epoch_ms, to_identifier, to_string, to_visitor_id
from dbt_pendo.records.render import PendoField, Record, Rendered, render

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
NOW_MS = 1767323045000


def a_sync(*fields: Field, **settings: Any) -> SyncSpec:
    settings = {"object": "visitor", "key": "user_id", **settings}
    return SyncSpec(name="users", unique_id="model.shop.users", file="models/users.yml", fields=fields, **settings)


def some_events(**parts: Any) -> SyncSpec:
    event = Event(**{"name": Value("Paid"), "visitor_id": Column("user_id"), "timestamp": Column("at"), **parts})
    return SyncSpec("events", "model.shop.events", "models/events.yml", "track_event", "event_id", event=event)


def named(name: str, column: str | None = None, **more: Any) -> Field:
    return Field(name, Column(column or name), **more)


def a_row(seq: int, *values: Any, change: str = "added", key: str | None = None) -> tuple[Any, ...]:
    return ("000", seq, change, key or f"k{seq}", *values)


def plain(spec: SyncSpec) -> tuple[PendoField, ...]:
    """The mapped fields as if Pendo's schema had them under the same name."""
    return tuple(PendoField(mapping.name, mapping.type) for mapping in spec.fields)


def bodies_of(rendered: Rendered) -> list[tuple[Any, ...]]:
    return [record.bodies for record in rendered.updates]


# Visitors and accounts.


@pytest.mark.parametrize(
    ("object_", "id_key"), [("visitor", "visitorId"), ("account", "accountId"), ("parent_account", "parentAccountId")]
)
def test_a_row_becomes_its_id_and_the_values_of_its_fields_under_pendos_keys(object_, id_key):
    spec = a_sync(named("Plan", "plan_name"), named("seats"), object=object_)
    rows = [("00a", 3, "added", "Ada", "pro", Decimal(3)), ("00b", 1, "changed", "ada", "free", Decimal(1))]
    rendered = render(spec, rows, [PendoField("plan", "string"), PendoField("seats_n", "integer")])
    assert rendered == Rendered(
        updates=[
            Record(("00a", 3), "Ada", ({id_key: "Ada", "values": {"plan": "pro", "seats_n": 3}},)),
            Record(("00b", 1), "ada", ({id_key: "ada", "values": {"plan": "free", "seats_n": 1}},)),
        ]
    )


def test_custom_and_agent_fields_of_one_sync_go_into_requests_of_their_own():
    spec = a_sync(named("plan"), named("role", group="agent"), named("seats"))
    rendered = render(spec, [a_row(1, "pro", "admin", 3)], plain(spec))
    assert spec.groups == ("custom", "agent")
    assert bodies_of(rendered) == [
        ({"visitorId": "k1", "values": {"plan": "pro", "seats": 3}}, {"visitorId": "k1", "values": {"role": "admin"}})
    ]


def test_the_same_name_in_two_groups_is_two_fields():
    spec = a_sync(named("plan", "a"), named("plan", "b", group="agent"))
    rendered = render(spec, [a_row(1, "x", "y")], plain(spec))
    assert [body["values"] for body in bodies_of(rendered)[0]] == [{"plan": "x"}, {"plan": "y"}]


def test_one_column_may_fill_several_fields():
    spec = a_sync(named("text", "n", type="string"), named("number", "n", type="float"))
    assert spec.columns == ("n",)
    rendered = render(spec, [a_row(1, 7)], plain(spec))
    assert bodies_of(rendered)[0][0]["values"] == {"text": "7", "number": 7.0}


@pytest.mark.parametrize(
    ("nulls", "rows"),
    [
        pytest.param(("clear", "clear"), [{"a": None, "b": 1}, {"a": None, "b": None}], id="clear"),
        pytest.param(("skip", "clear"), [{"b": 1}, {"b": None}], id="one skips"),
        pytest.param(("clear", "skip"), [{"a": None, "b": 1}, {"a": None}], id="the other skips"),
    ],
)
def test_a_null_clears_the_field_or_leaves_it_alone(nulls, rows):
    spec = a_sync(named("a", nulls=nulls[0]), named("b", nulls=nulls[1]))
    rendered = render(spec, [a_row(1, None, 1), a_row(2, None, None)], plain(spec))
    assert [bodies[0]["values"] for bodies in bodies_of(rendered)] == rows
    assert rendered.unsendable == {}


@pytest.mark.parametrize("field_type", CONVERTERS, ids=str)
def test_a_column_of_nulls_clears_whatever_its_type(field_type):
    spec = a_sync(named("a", type=field_type))
    rendered = render(spec, [a_row(1, None), a_row(2, None)], plain(spec))
    assert [bodies[0]["values"] for bodies in bodies_of(rendered)] == [{"a": None}, {"a": None}]


def test_an_update_with_nothing_to_say_needs_no_request():
    spec = a_sync(named("a", nulls="skip"), named("b", nulls="skip", group="agent"))
    rows = [a_row(1, None, None), a_row(2, "x", None), a_row(3, None, "y")]
    rendered = render(spec, rows, plain(spec))
    assert rendered.unsendable == {("000", 1): DELIVERED}
    assert bodies_of(rendered) == [
        ({"visitorId": "k2", "values": {"a": "x"}}, None),
        (None, {"visitorId": "k3", "values": {"b": "y"}}),
    ]


def test_an_upsert_with_nothing_to_say_still_creates_the_record_with_one_request():
    spec = a_sync(named("a", nulls="skip"), named("b", nulls="skip", group="agent"), mode="upsert")
    rendered = render(spec, [a_row(1, None, None)], plain(spec))
    assert bodies_of(rendered) == [({"visitorId": "k1", "values": {}}, None)]
    assert rendered.unsendable == {}


def test_an_upsert_without_fields_creates_the_records():
    rendered = render(a_sync(mode="upsert"), [a_row(1), a_row(2)])
    assert bodies_of(rendered) == [({"visitorId": "k1", "values": {}},), ({"visitorId": "k2", "values": {}},)]


@pytest.mark.parametrize(
    ("constant", "field_type", "sent"),
    [
        pytest.param("warehouse", None, "warehouse", id="text"),
        pytest.param(True, None, True, id="boolean"),
        pytest.param(1, "boolean", True, id="converted"),
        pytest.param(7, "string", "7", id="text of a number"),
        pytest.param("2026-01-02", "time", "2026-01-02T00:00:00.000+00:00", id="time"),
        pytest.param(("a", "b"), "list", ["a", "b"], id="list"),
        pytest.param(("a", 1), None, ["a", 1], id="list of no declared type"),
        pytest.param((), "list", [], id="empty list"),
        pytest.param("a", "list", ["a"], id="list of one"),
        pytest.param(None, "string", None, id="null"),
    ],
)
def test_a_constant_is_the_same_for_every_row(constant, field_type, sent):
    spec = a_sync(Field("source", Value(constant), type=field_type), named("n"))
    rendered = render(spec, [a_row(1, 1), a_row(2, 2)], plain(spec))
    assert [body["values"] for (body,) in bodies_of(rendered)] == [{"source": sent, "n": 1}, {"source": sent, "n": 2}]


def test_a_constant_that_does_not_fit_makes_every_row_invalid():
    spec = a_sync(Field("seats", Value("many"), type="integer"))
    rendered = render(spec, [a_row(1), a_row(2)], plain(spec))
    reason = Outcome("invalid", "seats: 'many' is not a whole number")
    assert rendered == Rendered(unsendable={("000", 1): reason, ("000", 2): reason})


def test_a_list_column_arrives_as_a_list():
    spec = a_sync(named("tags", type="list"))
    rendered = render(spec, [a_row(1, ["a", "b"]), a_row(2, []), a_row(3, None), a_row(4, "a")], plain(spec))
    assert [bodies[0]["values"]["tags"] for bodies in bodies_of(rendered)] == [["a", "b"], [], None, ["a"]]


def test_a_row_that_left_the_model_has_its_fields_cleared_in_every_group_also_those_that_skip_nulls():
    spec = a_sync(
        named("a"), named("b", nulls="skip"), Field("c", Value("warehouse"), group="agent"), on_removed="clear"
    )
    rows = [a_row(1, "x", None), a_row(2, None, None, change="removed")]
    rendered = render(spec, rows, plain(spec))
    assert bodies_of(rendered) == [
        ({"visitorId": "k1", "values": {"a": "x"}}, {"visitorId": "k1", "values": {"c": "warehouse"}})
    ]
    cleared = ({"visitorId": "k2", "values": {"a": None, "b": None}}, {"visitorId": "k2", "values": {"c": None}})
    assert rendered.clearings == [Record(("000", 2), "k2", cleared)]
    assert rendered.deletions == []


def test_a_row_that_left_the_model_is_deleted_whatever_its_columns_hold():
    spec = a_sync(named("a", type="integer"), Field("c", Value("many"), type="integer"), on_removed="delete")
    rows = [a_row(1, 1), a_row(2, None, change="removed"), a_row(3, 3, change="changed")]
    rendered = render(spec, rows, plain(spec))
    assert rendered.deletions == [Record(("000", 2), "k2", ())]
    assert list(rendered.unsendable) == [("000", 1), ("000", 3)]
    assert rendered.updates == rendered.clearings == []


def test_a_row_that_left_the_model_is_never_created_anew():
    spec = a_sync(mode="upsert", on_removed="clear")
    rendered = render(spec, [a_row(1), a_row(2, change="removed")])
    assert [record.key for record in rendered.updates] == ["k1"]
    assert rendered.clearings == []
    assert rendered.unsendable == {("000", 2): DELIVERED}


@pytest.mark.parametrize(
    ("value", "field_type", "reason"),
    [
        pytest.param(math.nan, None, "f: not a number (NaN)", id="NaN"),
        pytest.param(math.inf, "float", "f: infinite", id="infinity"),
        pytest.param(b"x", None, "f: bytes cannot be sent", id="bytes"),
        pytest.param({"a": 1}, "string", "f: a nested value cannot be sent as text", id="structure"),
        pytest.param(2**63, "integer", "f: 9223372036854775808 does not fit into 64 bits", id="64 bits"),
        pytest.param(2**63, None, "f: 9223372036854775808 does not fit into 64 bits", id="64 bits, undeclared"),
        pytest.param("x", "boolean", "f: 'x' is not a boolean", id="boolean"),
    ],
)
@pytest.mark.parametrize("others", [[], ["good"], [None]], ids=["alone", "among good rows", "among nulls"])
def test_an_invalid_row_carries_the_field_and_the_reason_and_spoils_no_other(value, field_type, reason, others):
    good = {"float": 1.5, "integer": 7, "boolean": True, None: 7 if isinstance(value, int) else 1.5, "string": "x"}
    neighbours = [good[field_type] if other == "good" else other for other in others]
    spec = a_sync(named("f", type=field_type))
    rows = [a_row(1, value), *(a_row(seq, other) for seq, other in enumerate(neighbours, start=2))]
    rendered = render(spec, rows, plain(spec))
    assert rendered.unsendable == {("000", 1): Outcome("invalid", reason)}
    assert [body["values"]["f"] for (body,) in bodies_of(rendered)] == neighbours


def test_of_several_invalid_fields_the_first_is_told():
    spec = a_sync(named("a", type="integer"), named("b", type="integer"))
    rendered = render(spec, [a_row(1, "x", "y"), a_row(2, 1, "y")], plain(spec))
    assert [outcome.detail for outcome in rendered.unsendable.values()] == [
        "a: 'x' is not a whole number",
        "b: 'y' is not a whole number",
    ]


@pytest.mark.parametrize(
    "spec", [a_sync(named("a")), a_sync(mode="upsert"), some_events()], ids=["fields", "ids", "events"]
)
def test_an_empty_page_renders_to_nothing(spec):
    assert render(spec, [], plain(spec)) == Rendered()


# Events.


def test_an_event_says_who_did_what_when_and_where():
    spec = some_events(
        account_id=Column("org_id"),
        properties=(named("amount", "amount_usd", type="float"), Field("source", Value("warehouse"))),
        context=(named("ip", "ip_address"), Field("url", Value("https://shop.example"))),
    )
    assert spec.columns == ("user_id", "at", "org_id", "amount_usd", "ip_address")
    rendered = render(spec, [("0ff", 9, "added", "evt-1", "Ada", NOW, "Acme", Decimal("9.50"), "10.0.0.1")])
    assert rendered == Rendered(
        updates=[
            Record(
                ("0ff", 9),
                "evt-1",
                (
                    {
                        "type": "track",
                        "event": "Paid",
                        "visitorId": "Ada",
                        "accountId": "Acme",
                        "timestamp": NOW_MS,
                        "properties": {"amount": 9.5, "source": "warehouse"},
                        "context": {"ip": "10.0.0.1", "url": "https://shop.example"},
                    },
                ),
            )
        ]
    )


def test_a_plain_event_has_empty_properties_and_context_and_no_account():
    (record,) = render(some_events(), [a_row(1, "Ada", NOW)]).updates
    assert record.bodies == (
        {"type": "track", "event": "Paid", "visitorId": "Ada", "timestamp": NOW_MS, "properties": {}, "context": {}},
    )


def test_the_events_own_id_is_never_sent():
    (record,) = render(some_events(), [a_row(1, "Ada", NOW, key="secret-event-id")]).updates
    assert b"secret-event-id" not in track_body([record])


def test_nulls_of_an_event_are_left_out():
    spec = some_events(
        account_id=Column("org_id"), properties=(named("amount"), named("tip")), context=(named("ip"), named("url"))
    )
    rows = [a_row(1, "Ada", NOW, None, None, 1, None, "/x"), a_row(2, "Bob", NOW, "Acme", 5, None, "10.0.0.1", None)]
    first, second = (record.bodies[0] for record in render(spec, rows).updates)
    assert "accountId" not in first
    assert second["accountId"] == "Acme"
    assert (first["properties"], first["context"]) == ({"tip": 1}, {"url": "/x"})
    assert (second["properties"], second["context"]) == ({"amount": 5}, {"ip": "10.0.0.1"})


def test_an_events_name_may_come_from_a_column():
    spec = some_events(name=Column("what"))
    assert spec.columns == ("what", "user_id", "at")
    rows = [
        a_row(1, " Paid ", "Ada", NOW),
        a_row(2, 7, "Ada", NOW),
        a_row(3, None, "Ada", NOW),
        a_row(4, " ", "Ada", NOW),
    ]
    rendered = render(spec, rows)
    assert [record.bodies[0]["event"] for record in rendered.updates] == [" Paid ", "7"]
    assert rendered.unsendable == {
        ("000", 3): Outcome("invalid", "event: is null"),
        ("000", 4): Outcome("invalid", "event: is empty"),
    }


def test_visitor_and_account_may_be_constants():
    spec = some_events(visitor_id=Value("system"), account_id=Value("Acme"))
    (record,) = render(spec, [a_row(1, NOW)]).updates
    assert (record.bodies[0]["visitorId"], record.bodies[0]["accountId"]) == ("system", "Acme")


@pytest.mark.parametrize(
    ("visitor", "moment", "account", "reason"),
    [
        pytest.param(None, NOW, None, "visitor_id: is null", id="no visitor"),
        pytest.param("", NOW, None, "visitor_id: is empty", id="empty visitor"),
        pytest.param("_PENDO_T_1", NOW, None, "visitor_id: an anonymous visitor id", id="anonymous visitor"),
        pytest.param(1.0, NOW, None, "visitor_id: 1.0 is not an id", id="float visitor"),
        pytest.param("Ada", None, None, "timestamp: is null", id="no time"),
        pytest.param("Ada", "soon", None, "timestamp: 'soon' is not an ISO 8601 time", id="no real time"),
        pytest.param(
            "Ada",
            1680373680,
            None,
            "timestamp: 1680373680 looks like epoch seconds; Pendo wants milliseconds",
            id="seconds",
        ),
        pytest.param("Ada", NOW, " ", "account_id: is empty", id="empty account"),
        pytest.param("Ada", NOW, True, "account_id: true is not an id", id="boolean account"),
        pytest.param(None, None, "", "visitor_id: is null", id="everything: the first is told"),
    ],
)
def test_an_event_without_its_essentials_is_invalid(visitor, moment, account, reason):
    spec = some_events(account_id=Column("org_id"))
    rendered = render(spec, [a_row(1, visitor, moment, account), a_row(2, "Bob", NOW, "Acme")])
    assert rendered.unsendable == {("000", 1): Outcome("invalid", reason)}
    assert [record.key for record in rendered.updates] == ["k2"]


def test_an_invalid_property_or_context_names_its_part():
    spec = some_events(properties=(named("amount", type="float"),), context=(named("ip"),))
    rendered = render(spec, [a_row(1, "Ada", NOW, "much", "x"), a_row(2, "Ada", NOW, 1.0, b"x")])
    assert [outcome.detail for outcome in rendered.unsendable.values()] == [
        "properties.amount: 'much' is not a number",
        "context.ip: bytes cannot be sent",
    ]


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(NOW, id="naive"),
        pytest.param(NOW.replace(tzinfo=datetime.timezone.utc), id="UTC"),
        pytest.param(
            datetime.datetime(2026, 1, 2, 8, 34, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=5.5))), id="zone"
        ),
        pytest.param("2026-01-02T03:04:05Z", id="text"),
        pytest.param(NOW_MS, id="milliseconds"),
        pytest.param(Decimal(NOW_MS), id="milliseconds as a decimal"),
    ],
)
def test_an_events_time_becomes_epoch_milliseconds(moment):
    (record,) = render(some_events(), [a_row(1, "Ada", moment)]).updates
    assert record.bodies[0]["timestamp"] == NOW_MS


# The shortcuts for whole columns give what value by value gives.

COLUMNS: list[st.SearchStrategy[Any]] = [
    texts,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    integers,
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
    decimals,
    st.datetimes(),
    datetimes,
    st.dates(),
    st.times(),
    st.uuids(),
    st.binary(),
    st.lists(scalars, max_size=3),
    st.dictionaries(st.text(), scalars, max_size=1),
    scalars,
    st.sampled_from(["Ada", "Bob", "_PENDO_T_1", "", 7, Decimal(7)]),
    st.just(None),
]
CONSTANTS = st.one_of(st.none(), texts, st.booleans(), st.integers(), st.just(("a", 1)), st.just(()))
TYPES = st.sampled_from(list(CONVERTERS))


@st.composite
def pages(draw: st.DrawFn, columns: tuple[str, ...], may_remove: bool) -> list[tuple[Any, ...]]:
    """Rows whose columns mostly hold one type, as a table's do, and nulls."""
    size = draw(st.integers(1, 5))
    held = []
    for _ in columns:
        values = draw(st.sampled_from(COLUMNS))
        held.append(draw(st.lists(st.none() | values if draw(st.booleans()) else values, min_size=size, max_size=size)))
    rows = []
    for seq, values in enumerate(zip(*held, strict=True) if held else [()] * size, start=1):
        removed = may_remove and draw(st.booleans())
        change = "removed" if removed else draw(st.sampled_from(["added", "changed"]))
        rows.append(a_row(seq, *([None] * len(columns) if removed else values), change=change))
    return rows


def sources() -> st.SearchStrategy[Column | Value]:
    return st.sampled_from("abc").map(Column) | CONSTANTS.map(Value)


@st.composite
def metadata_pages(draw: st.DrawFn) -> tuple[SyncSpec, list[PendoField], list[tuple[Any, ...]]]:
    fields = [
        Field(
            name,
            draw(sources()),
            nulls=draw(st.sampled_from(["clear", "skip"])),
            group=draw(st.sampled_from(["custom", "agent"])),
        )
        for name in draw(st.lists(st.sampled_from("PQRS"), min_size=1, unique=True))
    ]
    spec = a_sync(
        *fields,
        object=draw(st.sampled_from(["visitor", "account"])),
        mode=draw(st.sampled_from(["update", "upsert"])),
        on_removed=draw(st.sampled_from(["keep", "clear", "delete"])),
    )
    known = [PendoField(field.name.lower(), draw(TYPES)) for field in fields]
    return spec, known, draw(pages(spec.columns, may_remove=True))


@st.composite
def event_pages(draw: st.DrawFn) -> tuple[SyncSpec, list[tuple[Any, ...]]]:
    def mapped(names: list[str]) -> tuple[Field, ...]:
        chosen = draw(st.lists(st.sampled_from(names), unique=True))
        return tuple(Field(name, draw(sources()), type=draw(TYPES)) for name in chosen)

    spec = some_events(
        name=draw(sources()),
        visitor_id=draw(sources()),
        timestamp=Column(draw(st.sampled_from("abc"))),
        account_id=draw(st.none() | sources()),
        properties=mapped(["p", "q"]),
        context=mapped(["ip", "url"]),
    )
    return spec, draw(pages(spec.columns, may_remove=False))


def value_of(spec: SyncSpec, row: tuple[Any, ...], source: Column | Value) -> Any:
    if isinstance(source, Column):
        return row[4 + spec.columns.index(source.name)]
    return list(source.value) if isinstance(source.value, tuple) else source.value


def metadata_row(spec: SyncSpec, known: list[PendoField], row: tuple[Any, ...]) -> Any:
    """What the contract says of one row: its outcome, "deletion", or its bodies by group."""
    id_key = f"{spec.object}Id"
    removed = row[2] == "removed"
    if removed and spec.on_removed == "delete":
        return "deletion"
    if removed and spec.on_removed == "keep":
        return DELIVERED
    bodies: list[Any] = []
    for group in dict.fromkeys(field.group for field in spec.fields):
        values = {}
        for field, pendo_field in zip(spec.fields, known, strict=True):
            if field.group != group:
                continue
            value = None if removed else value_of(spec, row, field.source)
            if value is not None:
                try:
                    value = CONVERTERS[pendo_field.type](value)
                except InvalidValue as reason:
                    return Outcome("invalid", f"{field.name}: {reason}")
            if value is not None or removed or field.nulls == "clear":
                values[pendo_field.key] = value
        bodies.append({id_key: row[3], "values": values} if values else None)
    if any(bodies):
        return tuple(bodies)
    if spec.mode == "update":
        return DELIVERED
    return ({id_key: row[3], "values": {}}, *bodies[1:])


def event_row(spec: SyncSpec, row: tuple[Any, ...]) -> Any:
    event = spec.event
    assert event is not None
    body: dict[str, Any] = {"type": "track"}
    reasons = []

    def put(key: str, label: str, source: Any, convert: Any, required: bool, into: dict[str, Any]) -> None:
        value = None if source is None else value_of(spec, row, source)
        try:
            if value is not None:
                into[key] = convert(value)
                if key == "event" and not into[key].strip():
                    raise InvalidValue("is empty")
            elif required:
                raise InvalidValue("is null")
        except InvalidValue as reason:
            reasons.append(f"{label}: {reason}")

    put("event", "event", event.name, to_string, True, body)
    put("visitorId", "visitor_id", event.visitor_id, to_visitor_id, True, body)
    put("timestamp", "timestamp", event.timestamp, to_epoch_ms, True, body)
    put("accountId", "account_id", event.account_id, to_identifier, False, body)
    for part, mappings in (("properties", event.properties), ("context", event.context)):
        body[part] = {}
        for mapping in mappings:
            put(mapping.name, f"{part}.{mapping.name}", mapping.source, CONVERTERS[mapping.type], False, body[part])
    return Outcome("invalid", reasons[0]) if reasons else (body,)


def exactly(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def assert_rendered(rendered: Rendered, rows: list[tuple[Any, ...]], expected: list[Any]) -> None:
    by_row = list(zip(rows, expected, strict=True))
    assert rendered.deletions == [Record((row[0], row[1]), row[3], ()) for row, what in by_row if what == "deletion"]
    assert rendered.unsendable == {(row[0], row[1]): what for row, what in by_row if isinstance(what, Outcome)}
    for records, removed in ((rendered.updates, False), (rendered.clearings, True)):
        sent = [
            ((row[0], row[1]), row[3], what)
            for row, what in by_row
            if isinstance(what, tuple) and (row[2] == "removed") == removed
        ]
        assert [(record.position, record.key) for record in records] == [(at, key) for at, key, _ in sent]
        # As JSON: 1, 1.0 and True are three values there.
        assert [exactly(record.bodies) for record in records] == [exactly(bodies) for _, _, bodies in sent]


@given(metadata_pages())
def test_a_page_of_records_renders_as_its_rows_one_by_one(page):
    spec, known, rows = page
    assert_rendered(render(spec, rows, known), rows, [metadata_row(spec, known, row) for row in rows])


@given(event_pages())
def test_a_page_of_events_renders_as_its_rows_one_by_one(page):
    spec, rows = page
    assert_rendered(render(spec, rows), rows, [event_row(spec, row) for row in rows])


@pytest.mark.parametrize("field_type", CONVERTERS, ids=str)
@given(st.data())
def test_a_column_of_one_type_is_converted_as_its_values_are(field_type, data):
    values = data.draw(st.lists(st.none() | data.draw(st.sampled_from(COLUMNS)), min_size=1, max_size=6))
    spec, known = a_sync(named("f")), [PendoField("f", field_type)]
    rows = [a_row(seq, value) for seq, value in enumerate(values, start=1)]
    assert_rendered(render(spec, rows, known), rows, [metadata_row(spec, known, row) for row in rows])


# Batches.

ODD_IDS = [
    "o'brien",
    'say "hi"',
    "back\\slash",
    "new\nline\r\ttab",
    "nul\0",
    "semi;colon--",
    "{{ jinja }}{% raw %}",
    "Zoë 🚀 \U0010ffff",
    "line\u2028and\u2029paragraph",
    " blanks ",
    "%s %(x)s",
    "</script>",
    "ﬁ",
]


@pytest.mark.parametrize("text", ODD_IDS)
def test_ids_and_values_travel_unharmed(text):
    spec = a_sync(named("f"))
    body = Batch(render(spec, [a_row(1, text, key=text)], plain(spec)).updates).request(0)
    assert orjson.loads(body) == [{"visitorId": text, "values": {"f": text}}]

    spec = some_events(name=Column("what"), account_id=Column("org"), properties=(named("p"),))
    body = track_body(render(spec, [a_row(1, text, text, NOW, text, text)]).updates)
    event = orjson.loads(body)
    assert [event["event"], event["visitorId"], event["accountId"], event["properties"]["p"]] == [text] * 4


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_any_id_travels_unharmed(keys):
    spec = a_sync(named("f"))
    rows = [a_row(seq, key, key=key) for seq, key in enumerate(keys)]
    body = Batch(render(spec, rows, plain(spec)).updates).request(0)
    assert [(item["visitorId"], item["values"]["f"]) for item in orjson.loads(body)] == [(key, key) for key in keys]


def test_one_event_is_a_bare_object_and_several_are_an_array():
    records = render(some_events(), [a_row(1, "Ada", NOW), a_row(2, "Bob", NOW)]).updates
    assert orjson.loads(track_body(records[:1]))["visitorId"] == "Ada"
    assert [event["visitorId"] for event in orjson.loads(track_body(records))] == ["Ada", "Bob"]


def test_one_record_is_an_array_too():
    spec = a_sync(named("f"))
    assert orjson.loads(Batch(render(spec, [a_row(1, "x")], plain(spec)).updates).request(0)) == [
        {"visitorId": "k1", "values": {"f": "x"}}
    ]


def test_a_body_holds_the_records_that_have_something_to_say_to_its_group():
    spec = a_sync(named("a", nulls="skip"), named("b", nulls="skip", group="agent"))
    records = render(spec, [a_row(1, "x", None), a_row(2, None, "y"), a_row(3, "x", "y")], plain(spec)).updates
    told = [[item["visitorId"] for item in orjson.loads(Batch(records).request(group))] for group in (0, 1)]
    assert told == [["k1", "k3"], ["k2", "k3"]]


@given(st.integers(0, 50), st.integers(1, 60))
def test_packing_keeps_every_record_once_in_order_in_the_fewest_batches(count, size):
    records = [Record(("000", seq), str(seq), ()) for seq in range(count)]
    batches = list(pack(records, size))
    assert [record for batch in batches for record in batch] == records
    assert len(batches) == math.ceil(count / size)
    assert all(0 < len(batch) <= size for batch in batches)
