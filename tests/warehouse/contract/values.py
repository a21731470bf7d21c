"""Names and values of any kind: read, hashed and written alike by every warehouse."""

import datetime
from collections.abc import Sequence
from typing import Any

import orjson
from engine import PEOPLE, clicks, commit, deliver, everything, people, plan, planned

from dbt_pendo.delivery.writers import body_layouts
from dbt_pendo.mapping.objects import PropertySizes
from dbt_pendo.mapping.spec import Column, Event, Field, ParentChild, SyncSpec, Value
from dbt_pendo.outcomes import Outcome
from dbt_pendo.records.render import PendoField, Record, Rendered, render
from dbt_pendo.warehouse.pages import Planned, Row
from dbt_pendo.warehouse.plan import EVERYTHING, PlanOptions
from dbt_pendo.warehouse.runs import History
from dbt_pendo.warehouse.tables import SyncTables

# In UTC; clocks in Berlin and New York never show such a time, or show the same an hour later.
CLOCK_CHANGES = [
    *("2026-03-29 02:30:00+00", "2026-03-29 03:30:00+00", "2026-10-25 00:30:00+00", "2026-10-25 01:30:00+00"),
    *("2026-03-08 02:30:00+00", "2026-03-08 03:30:00+00", "2026-11-01 05:30:00+00", "2026-11-01 06:30:00+00"),
]


def of_columns(*names: str, **changes: Any) -> SyncSpec:
    """A sync of visitors with a field for each column."""
    return people(fields=tuple(Field(name, Column(name)) for name in names), **changes)


def check_written(tables: SyncTables, spec: SyncSpec, fields: Sequence[PendoField]) -> Sequence[Record]:
    """Compares the bodies that the warehouse writes, if it does, with Python's; returns Python's records."""
    rows = tables.read_page(EVERYTHING)
    records = {record.position: record for record in render(spec, rows, fields).updates}
    layouts = body_layouts(spec, fields)
    if tables.writes_bodies(layouts):
        for bodies, row in zip(tables.read_bodies(EVERYTHING, layouts), rows, strict=True):
            record = records.get(row[:2])
            wanted = record and [orjson.dumps(one) for one in record.bodies]
            assert None in bodies or [body.encode() for body in bodies] == wanted
    return list(records.values())


def test_columns_and_syncs_by_any_name(store):
    names = [*store.engine.column_names, *(f"c{number}" for number in range(60))]
    store.create("people", {"id": "text", **dict.fromkeys(names, "text")}, [("a", *names), ("b", *names)])
    spec = of_columns(*names, name="wide")
    tables = store.tables(spec, "people")
    assert plan(tables, "r1") == Planned(added=2)
    assert everything(tables)["a"][4:] == tuple(names)
    check_written(tables, spec, [PendoField(mapping.name, "string") for mapping in spec.fields])
    commit(tables, "r1")
    assert planned(tables) == Planned(unchanged=2)
    for name in store.engine.sync_names:
        tables = store.tables(of_columns("c1", name=name), "people")
        assert deliver(tables, "r1") == Planned(added=2)
        assert planned(tables) == Planned(unchanged=2)


def test_keys_values_and_reasons_travel_unharmed(store):
    texts = [*store.engine.texts, "x" * 20_000]
    store.create("people", PEOPLE, [(text[:200], text) for text in texts])
    tables = store.tables(people())
    assert plan(tables, "r1") == Planned(added=len(texts))
    assert {key: row[4] for key, row in everything(tables).items()} == {text[:200]: text for text in texts}
    commit(tables, "r1", {text[:200]: Outcome("rejected", text) for text in texts[:10]})
    assert {entry[0]: entry[2] for entry in store.ledger(tables)} == {
        **{text[:200]: None for text in texts},
        **{text[:200]: text for text in texts[:10]},
    }


# By column: its kind, and values of which none is the same as another.
DIFFERENT: dict[str, tuple[str, list[str | None]]] = {
    "text": ("text", [None, "", " ", "-", "0:", "a", "A", "ä", "a\u0308"]),
    "whole": ("whole", [None, "0", "1", "-1", "9223372036854775807", "-9223372036854775808"]),
    "money": ("money", [None, "0", "0.01", "-0.01", "9999999999999999.99", "9999999999999999.98"]),
    "real": ("real", [None, "0", "0.1", "0.10000000000000002", "1e300", "-1e300", "1e-300"]),
    "flag": ("flag", [None, "true", "false"]),
    "day": ("day", [None, "1970-01-01", "2024-02-29", "9999-12-31", "0001-01-01"]),
    "moment": ("moment", [None, "2026-01-02 03:04:05", "2026-01-02 03:04:05.000001", "1969-12-31 23:59:59"]),
    "zoned": ("zoned", [None, "2026-01-02 03:04:05+00", "2026-01-02 03:04:05+01", "2026-01-02 03:04:05.5+00"]),
    "clocks": ("zoned", CLOCK_CHANGES),
}


MOVING = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("abc", None), (None, "abc"), ("1:a", "-")]


def test_every_difference_is_a_change(store):
    """A row has one value in one column, and nulls beside it; or what moves from one column to the next."""
    kinds = {name: kind for name, (kind, _) in DIFFERENT.items() if kind in store.engine.types}
    rows = {
        (*(value if name == other else None for other in kinds), None, None)
        for name in kinds
        for value in DIFFERENT[name][1]
    }
    rows |= {(*[None] * len(kinds), *pair) for pair in MOVING}
    columns = {**kinds, "one": "text", "two": "text"}
    store.create("people", {"id": "text", **columns}, [(f"k{at}", *row) for at, row in enumerate(rows)])
    tables = store.tables(of_columns(*columns))
    assert deliver(tables, "r1") == Planned(added=len(rows))
    # By its hash a row is known to have changed, or not.
    changes = store.relation("people__changes", store.own_schema)
    assert store.session.rows(f"select count(distinct row_hash) from {changes}") == [(len(rows),)]
    assert planned(tables) == Planned(unchanged=len(rows))


def test_text_of_a_fixed_width_has_no_blanks_at_its_end(store):
    """Wherever it is an id or a value: one who is a visitor in one sync is the same in another."""
    text, moment = (store.engine.types[kind] for kind in ("text", "moment"))
    names = ("id", "event", "person", "parent", "child", "note")
    columns = [*(f"{store.name(name)} char(8)" for name in names), f"{store.name('wide')} {text}"]
    table = store.relation("clicks")
    create = f"create table {table} ({', '.join(columns)}, {store.name('at')} {moment})"
    store.session.create(store.schema, "clicks", create)
    values = "'e1', 'Seen', ' cu1', 'p', 'c', 'n', 'w '"
    store.session.run(f"insert into {table} select {values}, cast('2026-01-02 03:04:05' as {moment})")
    properties = tuple(Field(name, Column(name)) for name in ("note", "wide"))
    ids = (Column("event"), Column("person"), Column("at"), ParentChild("parent", "child"))
    tables = store.tables(clicks(event=Event(*ids, properties=properties)))
    assert plan(tables, "r1") == Planned(added=1)
    (record,) = render(tables._spec, tables.read_page(EVERYTHING)).updates
    event = {"type": "track", "event": "Seen", "visitorId": " cu1", "accountId": "p::c", "timestamp": 1767323045000}
    assert record.key == "e1"
    assert record.bodies == ({**event, "properties": {"note": "n", "wide": "w "}, "context": {}},)

    spec = of_columns("note", name="visitors", key="person")
    visitors = store.tables(spec, "clicks")
    assert plan(visitors, "r1") == Planned(added=1)
    (record,) = check_written(visitors, spec, [PendoField("note", "string")])
    assert record.bodies == ({"visitorId": " cu1", "values": {"note": "n"}},)


# What a column can hold and Python's calendar cannot; then what only PostgreSQL and DuckDB hold.
BEYOND = {
    "day": (["20000-01-01"], ["0044-03-15 BC", "infinity", "-infinity", "300000-01-01"]),
    "moment": (["20000-01-01 00:00:00"], ["0044-03-15 00:00:00 BC", "infinity", "-infinity"]),
    "zoned": (["9999-12-31 23:59:59-12:00"], ["0001-01-01 00:00:00+12:00", "infinity", "-infinity"]),
}


def test_a_moment_that_python_has_no_word_for_costs_its_own_row(store):
    kinds = [kind for kind in BEYOND if kind in store.engine.types]
    # The last day that people write, and what Python makes of infinity.
    days = {"now": "2026-01-02", "end": "9999-12-31", "first": "0001-01-01"}
    clocks = {"zoned": " 00:00:00+00:00"}
    good = {key: {kind: day + clocks.get(kind, "") for kind in kinds} for key, day in days.items()}
    nulls = {"none": dict.fromkeys(kinds)} if store.engine.has_null_moments else {}
    bad: dict[str, dict[str, str]] = {}
    for kind in kinds:
        anywhere, here = BEYOND[kind]
        for value in (*anywhere, *(here if store.engine.name in ("duckdb", "postgres") else [])):
            if store.engine.name == "duckdb":
                value = value.replace(" 00:00:00 BC", " (BC) 00:00:00").replace(" BC", " (BC)")
            bad[f"{kind} {value}"] = {**good["now"], kind: value}
    rows = [(key, *(row[kind] for kind in kinds)) for key, row in {**good, **nulls, **bad}.items()]
    store.create("people", {"id": "text", **dict(zip(kinds, kinds, strict=True))}, rows)

    spec = of_columns(*kinds)
    tables = store.tables(spec)
    assert plan(tables, "r1") == Planned(added=len(rows))
    pages = (tables.read_page(EVERYTHING), tables.preview(PlanOptions(), 100))
    types: list[Any] = ["time", "string", None]
    for type_ in types:
        fields = [PendoField(kind, type_) for kind in kinds]
        assert {record.key for record in check_written(tables, spec, fields)} == {*good, *nulls}
        for page in pages:
            check_unsendable(page, render(spec, page, fields), set(bad))

    # What `row` shows.
    history = History(store.session, store.own_schema)
    for key, row in everything(tables).items():
        (shown,) = history.model_rows(tables._source, key)
        assert list(map(in_utc, shown)) == list(map(in_utc, row[4:]))

    # An event at such a time.
    for kind in kinds:
        spec = clicks(name="people", event=Event(Value("Seen"), Column("id"), Column(kind)))
        seen = store.tables(spec)
        seen.count_events(PropertySizes(1, ()), PlanOptions())
        plan(seen, "r2")
        page = seen.read_page(EVERYTHING)
        check_unsendable(page, render(spec, page), {*(key for key in bad if key.startswith(kind)), *nulls})


def in_utc(value: Any) -> Any:
    """A moment without a zone counts as one in UTC."""
    is_naive = isinstance(value, datetime.datetime) and value.tzinfo is None
    return value.replace(tzinfo=datetime.timezone.utc) if is_naive else value


def check_unsendable(rows: Sequence[Row], rendered: Rendered, bad: set[str]) -> None:
    keys = {row[:2]: row[3] for row in rows}
    assert {keys[position] for position in rendered.unsendable} == bad
    for outcome in rendered.unsendable.values():
        assert str(outcome.detail).endswith((": infinite", " is outside the years 1 to 9999", ": is null"))


# By kind: the type of Pendo's field, and the JSON of values.
GOLDEN: dict[str, tuple[str | None, dict[str | None, str]]] = {
    "text": ("string", {"a": '"a"', 'q"\\\n': '"q\\"\\\\\\n"', "größe 🚀": '"größe 🚀"', None: "null"}),
    "whole": ("integer", {"0": "0", "-7": "-7", "9007199254740993": "9007199254740993", None: "null"}),
    "money": ("float", {"0": "0.0", "1.50": "1.5", "-0.01": "-0.01", "1234567.89": "1234567.89", None: "null"}),
    "real": ("float", {"0": "0.0", "0.1": "0.1", "-2.5": "-2.5", "1e10": "10000000000.0", None: "null"}),
    "flag": ("boolean", {"true": "true", "false": "false", None: "null"}),
    "day": ("time", {None: "null", **{day: f'"{day}T00:00:00.000+00:00"' for day in ("2026-01-02", "1969-12-31")}}),
    "moment": (
        "time",
        {
            "2026-01-02 03:04:05": '"2026-01-02T03:04:05.000+00:00"',
            "2026-01-02 03:04:05.999999": '"2026-01-02T03:04:05.999+00:00"',
            None: "null",
        },
    ),
    "zoned": (
        "time",
        {
            "2026-01-02 03:04:05+00": '"2026-01-02T03:04:05.000+00:00"',
            "2026-01-02 03:04:05+05:30": '"2026-01-01T21:34:05.000+00:00"',
            None: "null",
            **{instant: f'"{instant[:10]}T{instant[11:19]}.000+00:00"' for instant in CLOCK_CHANGES},
        },
    ),
}
# Whole numbers keep their digits in a float field.
IN_A_FLOAT = {
    **{"7": "7.0", "9007199254740993": "9007199254740993", "-9007199254740993": "-9007199254740993"},
    **{"1000000000000000000": "1e+18", "9223372036854775807": "9223372036854775807", None: "null"},
}


def test_bodies_are_the_same_bytes_everywhere(store):
    """The wanted ones stand in this file, once for all engines. Each kind is a column, its values stand in turn."""
    kinds = {kind: golden for kind, golden in GOLDEN.items() if kind in store.engine.types}
    values = {kind: list(golden.items()) for kind, (_, golden) in kinds.items()}
    if not store.engine.has_null_moments:
        values |= {kind: [one for one in values[kind] if one[0] is not None] for kind in store.engine.moments}
    columns = {kind: kind for kind in kinds} | {"whole in a float": "whole"}
    values["whole in a float"] = list(IN_A_FLOAT.items())
    count = max(map(len, values.values()))
    turns = [[found[at % len(found)] for found in values.values()] for at in range(count)]
    rows = [(f"k{at}", *(value for value, _ in row)) for at, row in enumerate(turns)]
    store.create("people", {"id": "text", **columns}, rows)
    spec = of_columns(*columns)
    tables = store.tables(spec)
    plan(tables, "r1")
    types = [*(type_ for type_, _ in kinds.values()), "float"]
    fields = [PendoField(name, type_) for name, type_ in zip(columns, types, strict=True)]
    bodies = {record.key: orjson.dumps(record.bodies[0]).decode() for record in check_written(tables, spec, fields)}
    assert bodies == {
        f"k{at}": f'{{"visitorId":"k{at}","values":{{'
        + ",".join(f'"{name}":{json}' for name, (_, json) in zip(columns, row, strict=True))
        + "}}"
        for at, row in enumerate(turns)
    }
