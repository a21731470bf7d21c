"""The JSON Schema says the same as the parser, where a schema can say it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dbt_pendo.mapping.keys import KEYS, json_schema, keys_of
from dbt_pendo.mapping.objects import OBJECTS

SCHEMA = json_schema()
MODEL = Draft202012Validator(SCHEMA)
COLUMN = Draft202012Validator({**SCHEMA["$defs"]["column"]})

VISITOR = {"object": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}
EVENT = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "v", "timestamp": "t"}
SEGMENT = {"object": "segment", "segment": "S", "visitor_id": "id"}

# What no schema of one value can say: a name or field given twice, and fields that columns might yet bring.
BEYOND_A_SCHEMA = ("keep one of them", "maps no fields", "shares its tables with another sync of the model")

VALID = [
    VISITOR,
    EVENT,
    SEGMENT,
    {"object": "parent_account", "parent_account_id": {"column": "id"}, "fields": {"a": {"value": [1, "x"]}}},
    [{**VISITOR, "name": "a"}, {**EVENT, "name": "b"}],
    {**VISITOR, "fields": {"a": {"value": None, "type": "date", "group": "agent", "nulls": "skip"}}},
    {**VISITOR, "fields": {"Plan Name": "x", "2nd e-mail (work)": "y", "Größe": "z"}},
    {**VISITOR, "max_changes": "20%", "max_removals": 0},
    {**EVENT, "context": {"ip": "ip", "url": {"value": "https://x"}}, "event": {"column": "name"}},
    {**EVENT, "max_age": "36 hours"},
    {**SEGMENT, "create_fields": False, "on_removed": "keep"},
    None,
]
INVALID = [
    [],
    "visitor",
    {},
    [VISITOR],
    [3],
    {**VISITOR, "objct": 1},
    {**VISITOR, "object": "visitors"},
    {**VISITOR, "fields": {" ": "x"}},
    {**VISITOR, "fields": {"a": {"column": "x", "value": 1}}},
    {**VISITOR, "fields": {"a": {"value": [None]}}},
    {**VISITOR, "batch_size": True},
    {**VISITOR, "batch_size": 10_001},
    {**VISITOR, "max_changes": "20"},
    {**VISITOR, "enabled": 1},
    {**VISITOR, "visitor_id": {"value": "x"}},
    {**VISITOR, "event": "E"},
    {**EVENT, "fields": {"a": "a"}},
    {**EVENT, "on_removed": "delete"},
    {**EVENT, "max_age": 7},
    {**EVENT, "max_age": "a week"},
    {**VISITOR, "max_age": "7 days"},
    {**EVENT, "context": {"user_agent": "x"}},
    {**EVENT, "context": {"ip": {"column": "x", "nulls": "skip"}}},
    {**EVENT, "properties": {"a": {"column": "x", "group": "agent"}}},
    {**EVENT, "visitor_id": {"value": 3}},
    {**SEGMENT, "create_fields": True},
    {**SEGMENT, "segment": " "},
]


def test_it_is_a_schema_of_plain_json():
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("meta", VALID, ids=str)
def test_both_accept(parse, meta):
    assert parse(meta)[1] == []
    assert [error.message for error in MODEL.iter_errors(meta)] == []


@pytest.mark.parametrize("meta", INVALID, ids=str)
def test_both_refuse(parse, meta):
    assert parse(meta)[1]
    assert not MODEL.is_valid(meta)


@pytest.mark.parametrize("value", ["admin", True, False, None, "", " ", 3, [], {"field": "x"}])
def test_both_judge_a_columns_value_alike(parse, value):
    _, problems = parse({"object": "visitor", "visitor_id": "id", "mode": "upsert"}, {"is_admin": value})
    assert COLUMN.is_valid(value) == (not problems)


def test_editors_see_every_key_with_its_meaning_and_default():
    for name in OBJECTS:
        properties = SCHEMA["$defs"][name]["properties"]
        assert list(properties) == list(keys_of(name))
        assert all(described["description"] for described in properties.values())
    segment = SCHEMA["$defs"]["segment"]
    assert segment["required"] == ["object", "visitor_id", "segment"]
    assert segment["properties"]["batch_size"] == {
        "description": "Records in one request.",
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "default": 1000,
    }
    assert segment["properties"]["on_removed"]["enum"] == ["keep"]
    assert SCHEMA["$defs"]["visitor"]["properties"]["on_removed"]["enum"] == ["keep", "clear", "delete"]


texts = ["x", "", " ", "20%", "custom", "agent", "skip", "keep", "delete", "upsert", "time", "a b", "2a", "7 days"]
scalars = st.sampled_from([*texts, 0, 1, 500, 1000, 1001, -1, 0.5, True, False, None])
entries = st.dictionaries(st.sampled_from(["column", "value", "type", "nulls", "group", "typ"]), scalars, max_size=3)
named = st.dictionaries(
    st.sampled_from(["plan", "tier", "a b", "2a", "", "ip", "url", "userAgent"]),
    scalars | entries | st.builds(lambda items: {"value": items}, st.lists(scalars, max_size=2)),
    max_size=3,
)
some_values = scalars | entries | named | st.lists(scalars, max_size=2)


def near_misses(base: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A sound mapping with a few keys added, replaced or lost."""
    names = st.sampled_from([*KEYS, "typo"])
    changes = st.dictionaries(names, some_values, max_size=3)
    lost = st.sets(st.sampled_from(sorted(base)), max_size=1)
    return st.builds(lambda new, gone: {k: v for k, v in {**base, **new}.items() if k not in gone}, changes, lost)


mappings = st.one_of(*(near_misses(base) for base in (VISITOR, EVENT, SEGMENT)))
annotations = mappings | st.lists(mappings | scalars, max_size=2) | some_values


@settings(max_examples=400, deadline=None)
@given(annotations)
def test_both_agree_on_near_misses(parse, meta):
    _, problems = parse(meta)
    refused = any(not any(words in problem.message for words in BEYOND_A_SCHEMA) for problem in problems)
    assert MODEL.is_valid(meta) == (not refused), [str(problem) for problem in problems]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from([*KEYS]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(meta=json_values | annotations, columns=st.dictionaries(st.text(), json_values | scalars, max_size=3))
def test_nothing_makes_the_parser_raise(parse, meta, columns):
    specs, problems = parse(meta, columns)
    nothing_asked = meta is None and all(v is None or v is False for v in columns.values())
    assert bool(specs) != bool(problems) or nothing_asked
    assert all(str(problem) for problem in problems)
    for spec in specs:
        hash(spec)
        assert spec.fingerprint
