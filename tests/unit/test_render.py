"""Rows of a page → records, and records → the bytes of requests."""

import datetime
import math
from decimal import Decimal
from typing import Any, get_args

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import datetimes, decimals, integers, scalars, texts

from dbt_pendo.delivery.send import Batch
from dbt_pendo.delivery.writers import pack, track_body
from dbt_pendo.mapping.spec import Column, Event, Field, OnInvalid, ParentChild, SyncSpec, Value
from dbt_pendo.outcomes import DELIVERED, Outcome
from dbt_pendo.records.convert import CONVERTERS, InvalidValue, to_epoch_ms, to_identifier, to_string, to_visitor_id
from dbt_pendo.records.render import PendoField, Record, Rendered, Replaced, render

NOW, NOW_MS = datetime.datetime(2026, 1, 2, 3, 4, 5), 1767323045000


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


# Visitors and accounts. What each null, constant, group and removal means stands in `metadata_row` below.


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


def test_a_value_that_costs_its_field_is_counted_where_its_row_may_be_sent():
    spec = a_sync(named("f", on_invalid="skip"), named("g"))
    rendered = render(spec, [a_row(1, math.nan, 1), a_row(2, math.nan, math.inf)], plain(spec))
    assert [record.bodies[0]["values"] for record in rendered.updates] == [{"g": 1}]
    assert rendered.replaced == [Replaced(("000", 1), "k1", "f", "skip", "not a number (NaN)")]
    event = some_events(properties=(named("n", on_invalid="skip"),))
    (costly,) = render(event, [a_row(1, "Ada", NOW, math.nan)]).replaced
    assert costly.name == "properties.n"
    # Without it there may be nothing to say.
    alone = a_sync(named("f", on_invalid="skip"))
    assert render(alone, [a_row(1, math.nan)], plain(alone)).unsendable == {("000", 1): DELIVERED}


def test_an_empty_page_renders_to_nothing():
    for spec in (a_sync(named("a")), a_sync(mode="upsert"), some_events()):
        assert render(spec, [], plain(spec)) == Rendered()


# Events. What each null, constant and bad value means stands in `event_row` below.


def test_an_account_of_a_parent_has_one_id_or_none():
    spec = some_events(account_id=ParentChild("org", "team"))
    accounts = [("acme", "sales"), ("acme", None), (None, None), (None, "sales")]
    rendered = render(spec, [a_row(seq, "Ada", NOW, *account) for seq, account in enumerate(accounts)])
    assert [record.bodies[0].get("accountId") for record in rendered.updates] == ["acme::sales", None, None]
    (told,) = rendered.unsendable.values()
    assert told == Outcome("invalid", "account_id.parent: is null, though sales is given")


# The shortcuts for whole columns give what value by value gives.

COLUMNS: list[st.SearchStrategy[Any]] = [
    *(texts, st.booleans(), integers, st.integers(-(2**63), 2**63 - 1), st.uuids(), st.binary(), st.just(None)),
    *(st.floats(), st.floats(allow_nan=False, allow_infinity=False)),
    *(decimals, st.decimals(allow_nan=False, allow_infinity=False, places=2)),
    *(datetimes, st.datetimes(), st.dates(), st.times()),
    *(scalars, st.lists(scalars, max_size=3), st.dictionaries(st.text(), scalars, max_size=1)),
    st.sampled_from(["Ada", "Bob", "_PENDO_T_1", "", 7, Decimal(7)]),
]
CONSTANTS = st.one_of(st.none(), texts, st.booleans(), st.integers(), st.just(("a", 1)), st.just(()))
TYPES = st.sampled_from(list(CONVERTERS))
ON_INVALID = get_args(OnInvalid)


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
    def any_of(*values: str) -> Any:
        return draw(st.sampled_from(values))

    names = draw(st.lists(st.sampled_from("PQRS"), unique=True))
    fields = [
        Field(name, draw(sources()), None, any_of("clear", "skip"), any_of(*ON_INVALID), any_of("custom", "agent"))
        for name in names
    ]
    # Without fields there is nothing but the id to write.
    mode = any_of("update", "upsert") if fields else "upsert"
    spec = a_sync(*fields, object=any_of("visitor", "account"), mode=mode, on_removed=any_of("keep", "clear", "delete"))
    known = [PendoField(field.name.lower(), draw(TYPES)) for field in fields]
    return spec, known, draw(pages(spec.columns, may_remove=True))


@st.composite
def event_pages(draw: st.DrawFn) -> tuple[SyncSpec, list[tuple[Any, ...]]]:
    def mapped(names: list[str]) -> tuple[Field, ...]:
        chosen = draw(st.lists(st.sampled_from(names), unique=True))
        on_invalid = st.sampled_from(ON_INVALID)
        return tuple(Field(name, draw(sources()), draw(TYPES), on_invalid=draw(on_invalid)) for name in chosen)

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
    if removed and (spec.on_removed == "keep" or not spec.fields):
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
                    if field.on_invalid == "row":
                        return Outcome("invalid", f"{field.name}: {reason}")
                    if field.on_invalid == "skip":
                        continue
                    value = None
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
            before = len(reasons)
            put(mapping.name, f"{part}.{mapping.name}", mapping.source, CONVERTERS[mapping.type], False, body[part])
            if mapping.on_invalid != "row":
                del reasons[before:]
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


# Batches.

ODD_IDS = [
    *("o'brien", 'say "hi"', "back\\slash", "new\nline\r\ttab", "nul\0", "semi;colon--", "{{ jinja }}{% raw %}"),
    *("Zoë 🚀 \U0010ffff", "line\u2028and\u2029paragraph", " blanks ", "%s %(x)s", "</script>", "ﬁ"),
]


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
@example(ODD_IDS)
def test_any_id_and_value_travels_unharmed(keys):
    spec = a_sync(named("f"))
    rows = [a_row(seq, key, key=key) for seq, key in enumerate(keys)]
    body = Batch(render(spec, rows, plain(spec)).updates).request(0)
    assert orjson.loads(body) == [{"visitorId": key, "values": {"f": key}} for key in keys]

    spec = some_events(properties=(named("p"),))
    body = track_body(render(spec, [a_row(1, "Ada", NOW, key) for key in keys] * 2).updates)
    assert [event["properties"]["p"] for event in orjson.loads(body)] == keys * 2


def test_one_event_is_a_bare_object_and_a_record_goes_where_it_has_something_to_say():
    records = render(some_events(), [a_row(1, "Ada", NOW), a_row(2, "Bob", NOW)]).updates
    assert orjson.loads(track_body(records[:1]))["visitorId"] == "Ada"
    assert [event["visitorId"] for event in orjson.loads(track_body(records))] == ["Ada", "Bob"]

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
