"""The JSON Schema says the same as the parser, where a schema can say it; see conftest.py."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dbt_pendo.mapping.keys import KEYS, KEYS_OF, json_schema
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation

VISITOR = {"object": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}
EVENT = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "v", "timestamp": "t"}
SEGMENT = {"object": "segment", "segment": "S", "visitor_id": "id"}
SCHEMA = json_schema()


def test_it_is_a_schema_of_plain_json():
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_editors_see_every_key_with_its_meaning_and_default():
    for name in OBJECTS:
        properties = SCHEMA["$defs"][name]["properties"]
        assert list(properties) == list(KEYS_OF[name])
        assert all(described["description"] for described in properties.values())
    segment = SCHEMA["$defs"]["segment"]
    assert segment["required"] == ["object", "visitor_id", "segment"]
    size = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}
    assert segment["properties"]["batch_size"] == {"description": "Records in one request.", **size}
    assert segment["properties"]["on_removed"]["enum"] == ["keep"]
    assert SCHEMA["$defs"]["visitor"]["properties"]["on_removed"]["enum"] == ["keep", "clear", "delete"]


texts = [
    "x",
    "",
    " ",
    "20%",
    "custom",
    "agent",
    "pendo",
    "boolean",
    "skip",
    "keep",
    "delete",
    "upsert",
    "time",
    "a b",
    "7 days",
    "none",
]
scalars = st.sampled_from([*texts, 0, 1, 500, 1000, 1001, -1, 0.5, True, False, None])
entries = st.dictionaries(st.sampled_from(["column", "value", "type", "nulls", "group", "typ"]), scalars, max_size=3)
named = st.dictionaries(
    st.sampled_from(["plan", "donotprocess", "a b", "2a", "", "ip", "url", "userAgent"]),
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


mappings = st.one_of(*map(near_misses, (VISITOR, EVENT, SEGMENT)))
annotations = mappings | st.lists(mappings | scalars, max_size=2) | some_values


@settings(max_examples=250, deadline=None)
@given(annotations)
def test_both_agree_on_near_misses(parse, meta):
    # It compares the two, in all the other tests here as well.
    parse(meta)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from([*KEYS]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(meta=json_values | annotations, columns=st.dictionaries(st.text(), json_values | scalars, max_size=3))
def test_nothing_makes_the_parser_raise(meta, columns):
    specs, problems = parse_syncs([Annotation("model.shop.users", "users", "models/users.yml", meta, columns)])
    nothing_asked = meta is None and all(v is None or v is False for v in columns.values())
    assert bool(specs) != bool(problems) or nothing_asked
    assert all(str(problem) for problem in problems)
    for spec in specs:
        hash(spec)
        assert spec.fingerprint
