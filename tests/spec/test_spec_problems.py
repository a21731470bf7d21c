"""Mistakes, and what users read about them."""

from __future__ import annotations

import pytest

from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation, Problem

OBJECTS = "`visitor`, `account`, `parent_account`, `track_event` or `segment`"
VISITOR = {"object": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}
EVENT = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "v", "timestamp": "t"}
SEGMENT = {"object": "segment", "segment": "S", "visitor_id": "id"}


def test_a_problem_names_file_model_and_key():
    assert str(Problem("m.yml", "users", "fields.mrr", "wrong")) == "m.yml: users: meta.pendo.fields.mrr: wrong"
    assert str(Problem("m.yml", "users", "", "wrong")) == "m.yml: users: meta.pendo: wrong"
    assert str(Problem("m.yml", "users", "[1].name", "wrong")) == "m.yml: users: meta.pendo[1].name: wrong"
    assert str(Problem("m.yml", "users", "", "wrong", "plan")) == "m.yml: users, column plan: meta.pendo: wrong"


@pytest.mark.parametrize(
    ("meta", "found"),
    [("visitor", 'the text "visitor"'), (" ", "an empty text"), (3, "the number 3"), (True, "`true`")],
)
def test_not_a_mapping(complain, meta, found):
    assert complain(meta) == [
        f": expected a mapping with `object` and its id, or a list of such mappings; found {found}"
    ]


@pytest.mark.parametrize(
    ("meta", "found"),
    [(False, "`false`"), (0, "the number 0"), ("", "an empty text"), ([], "an empty list"), ({}, "an empty mapping")],
)
def test_what_may_mean_no_sync_at_all(complain, meta, found):
    assert complain(meta) == [
        f": expected a mapping with `object` and its id, or a list of such mappings; found {found}. "
        "Write null to take the model out of a mapping that it inherits, or `enabled: false` inside a mapping to check "
        "it and never sync it"
    ]


def test_all_problems_of_a_mapping_at_once(complain):
    meta = {
        "object": "account",
        "visitor_id": "user_id",
        "mode": "upserts",
        "nulls": None,
        "enabled": "True",
        "create_fields": 1,
        "batch_size": True,
        "max_changes": 0.2,
        "max_removals": "30",
        "on_removed": "",
        "grup": "agent",
        "fields": {
            " ": "plan",
            "a": {"colum": "x"},
            "b": {"column": "x", "value": 3, "typ": "time"},
            "c": {"type": "strnig"},
            "d": ["x"],
            "e": {"value": {"x": 1}},
            "f": {"column": "f", "group": "pendo", "nulls": "Skip"},
            "g": 7,
        },
    }
    constant = "expected text, a number, true, false, null, or a list of these without nulls"
    types = "`string`, `boolean`, `integer`, `float`, `time`, `list`, `number` or `date`"
    guard = "expected a count such as `1000` or a percentage such as `20%`"
    assert complain(meta) == [
        "visitor_id: `visitor_id` belongs to visitor, segment and track_event; an account has `account_id`",
        'mode: expected `update` or `upsert`, found the text "upserts"; did you mean `upsert`?',
        "nulls: expected `clear` or `skip`, found nothing (null)",
        'enabled: expected `true` or `false`, found the text "True"; '
        "drop the quotes, or end the Jinja expression with `| as_bool`",
        "create_fields: expected `true` or `false`, found the number 1",
        "batch_size: expected a whole number from 1 to 10,000, found `true`",
        f"max_changes: {guard}, found the number 0.2",
        f'max_removals: {guard}, found the text "30"; drop the quotes',
        "on_removed: expected `keep`, `clear` or `delete`, found an empty text",
        "grup: unknown key; did you mean `group`?",
        "fields. : Pendo's name is empty",
        "fields.a.colum: unknown key; did you mean `column`?",
        "fields.b.typ: unknown key; did you mean `type`?",
        "fields.b: has both `column` and `value`; keep one",
        f'fields.c.type: expected {types}, found the text "strnig"; did you mean `string`?',
        "fields.c: names no source; give it `column` or `value`",
        "fields.d: expected a column's name, found a list",
        f"fields.e.value: {constant}, found a mapping",
        'fields.f.nulls: expected `clear` or `skip`, found the text "Skip"; did you mean `skip`?',
        'fields.f.group: expected `custom` or `agent`, found the text "pendo"',
        "fields.g: expected a column's name, found the number 7; put it in quotes if that is the name",
    ]


def test_what_would_mislead_on_an_event(complain):
    meta = {
        **EVENT,
        "event": 123,
        "fields": {"a": "b"},
        "mode": "upsert",
        "group": "agent",
        "on_removed": "delete",
        "create_fields": True,
        "app": "my-app",
        "context": {"user_agent": "x", "zone": "y", "ip": {"column": "ip", "type": "string"}},
    }
    assert complain(meta) == [
        "event: expected text, found the number 123; put it in quotes if that is the name",
        "fields: `fields` belongs to visitor, account and parent_account; a track_event has `properties`",
        "mode: `mode` belongs to visitor, account and parent_account, not to a track_event",
        "group: `group` belongs to visitor, account and parent_account, not to a track_event",
        'on_removed: expected `keep`, found the text "delete"',
        "create_fields: expected `false`, found `true`",
        "app: expected letters, digits and underscores, as it ends an environment variable's name, "
        'found the text "my-app"',
        "context.user_agent: unknown key; did you mean `userAgent`?",
        "context.zone: unknown key; expected `ip`, `userAgent`, `url` or `title`",
        "context.ip.type: unknown key; expected `column` or `value`",
    ]


def test_what_would_mislead_on_a_segment(complain):
    meta = {**SEGMENT, "properties": {}, "mode": "upsert", "on_removed": "clear", "batch_size": 1001}
    assert complain(meta) == [
        "properties: `properties` belongs to track_event, not to a segment",
        "mode: `mode` belongs to visitor, account and parent_account, not to a segment",
        'on_removed: expected `keep`, found the text "clear"',
        "batch_size: expected a whole number from 1 to 1,000, found the number 1001",
    ]


def test_missing_keys(complain):
    assert complain({"name": "x"}) == [f"object: missing; expected {OBJECTS}"]
    assert complain({"object": "account", "fields": {"a": "a"}}) == ["account_id: missing; an account needs it"]
    assert complain({"object": "track_event"}) == [
        "visitor_id: missing; a track_event needs it",
        "event: missing; a track_event needs it",
        "event_id: missing; a track_event needs it",
        "timestamp: missing; a track_event needs it",
    ]
    assert complain({"object": "segment"}) == [
        "visitor_id: missing; a segment needs it",
        "segment: missing; a segment needs it",
    ]


def test_a_misspelt_key_is_not_also_missing(complain):
    assert complain({"objct": "visitor"}) == ["objct: unknown key; did you mean `object`?"]
    assert complain({"object": "visitor", "visitorId": "id", "feilds": {"a": "a"}}) == [
        "visitorId: unknown key; did you mean `visitor_id`?",
        "feilds: unknown key; did you mean `fields`?",
    ]


def test_an_unknown_key_unlike_any_other_lists_those_the_object_takes(complain):
    assert complain({**SEGMENT, "colour": "red"}) == [
        "colour: unknown key; a segment takes `object`, `name`, `enabled`, `visitor_id`, `segment`, `nulls`, "
        "`on_removed`, `create_fields`, `batch_size`, `max_changes` and `max_removals`"
    ]


def test_an_unknown_object_does_not_hide_the_rest(complain):
    meta = {"object": "visitors", "visitor_id": 1, "mode": "x", "fields": {"": "a"}, "on_removed": "clear"}
    assert complain(meta, {"plan": 3, "city": True}) == [
        f'object: expected {OBJECTS}, found the text "visitors"; did you mean `visitor`?',
        'mode: expected `update` or `upsert`, found the text "x"',
        "fields.: Pendo's name is empty",
        "column plan: expected the Pendo name this column fills, or `true` to keep the column's name, "
        "found the number 3",
    ]


@pytest.mark.parametrize(
    ("meta", "key"),
    [
        (VISITOR, "visitor_id"),
        ({"object": "account", "fields": {"a": "a"}}, "account_id"),
        ({"object": "parent_account", "fields": {"a": "a"}}, "parent_account_id"),
        (EVENT, "event_id"),
        (EVENT, "timestamp"),
        (SEGMENT, "visitor_id"),
    ],
)
def test_keys_and_the_timestamp_are_columns(complain, meta, key):
    assert complain({**meta, key: {"value": "x"}}) == [
        f"{key}.value: must come from a column, as every row has its own; write the column's name"
    ]
    assert complain({**meta, key: {"column": ""}}) == [f"{key}.column: expected a column's name, found an empty text"]
    assert complain({**meta, key: {"column": "x", "nulls": "skip"}}) == [f"{key}.nulls: unknown key; expected `column`"]


def test_an_events_ids_and_name_are_text(complain):
    meta = {**EVENT, "visitor_id": {"value": 42}, "account_id": {"value": None}, "event": {"value": "  "}}
    assert complain(meta) == [
        "event.value: expected text, found an empty text",
        "visitor_id.value: expected text, found the number 42; put it in quotes if that is the name",
        "account_id.value: expected text, found nothing (null)",
    ]


@pytest.mark.parametrize(
    ("value", "found"),
    [([1, None], "a list with nothing (null)"), ([["x"]], "a list with a list"), (float("nan"), "the number nan")],
)
def test_constants_pendo_cannot_hold(complain, value, found):
    assert complain({**VISITOR, "fields": {"a": {"value": value}}}) == [
        f"fields.a.value: expected text, a number, true, false, null, or a list of these without nulls, found {found}"
    ]


@pytest.mark.parametrize("value", [0, -1, 10_001, 2.5, "500", None, [], {}])
def test_batch_sizes_out_of_range(complain, value):
    (problem,) = complain({**VISITOR, "batch_size": value})
    assert problem.startswith("batch_size: expected a whole number from 1 to 10,000, found ")


@pytest.mark.parametrize("value", [-1, True, 2.5, "20", "-3%", "%", "20%\n", "٢%", None, []])
def test_guards_that_are_neither_count_nor_percentage(complain, value):
    (problem,) = complain({**VISITOR, "max_removals": value})
    assert problem.startswith("max_removals: expected a count such as `1000` or a percentage such as `20%`, ")


@pytest.mark.parametrize(
    "value",
    [7, "7", "0 days", "7 Days", "-1 days", "1.5 days", "7 days\n", "10000 days", "1000 weeks", "٢ days", None, []],
)
def test_ages_that_are_none(complain, value):
    (problem,) = complain({**EVENT, "max_age": value})
    assert problem.startswith("max_age: expected an age such as `7 days`, `36 hours` or `30 minutes`, found ")


def test_only_events_have_an_age(complain):
    assert complain({**VISITOR, "max_age": "7 days"}) == ["max_age: `max_age` belongs to track_event, not to a visitor"]


@pytest.mark.parametrize("name", ["a b", "", "a.b", "é", "eu\n", None, 3])
def test_names(complain, name):
    (problem,) = complain({**VISITOR, "name": name})
    assert problem.startswith("name: expected letters, digits, underscores and hyphens, found ")


def test_no_fields(complain):
    message = "fields: maps no fields; map some, or write `mode: upsert` if creating ids is the point"
    assert complain({"object": "visitor", "visitor_id": "id"}) == [message]
    assert complain({"object": "account", "account_id": "id", "fields": {}}) == [message]
    # Said once: the wrong `mode` or `fields` is what there is to mend.
    assert complain({"object": "visitor", "visitor_id": "id", "mod": "upsert"}) == [
        "mod: unknown key; did you mean `mode`?"
    ]
    assert complain({"object": "visitor", "visitor_id": "id", "fields": None}) == [
        "fields: expected a mapping of Pendo's names to columns, found nothing (null)"
    ]


def test_the_same_field_twice(complain):
    fields = {"Plan": "a", "plan": "b", "tier": "c", "TIER": {"column": "d", "group": "agent"}}
    # Display names may differ by case alone.
    fields |= {"Plan Name": "e", "plan name": "f", "Größe": "g", "größe": "h"}
    assert complain({**VISITOR, "fields": fields}, {"x": "tier", "y": "PLAN", "z": "Plan Name"}) == [
        "fields.plan: fills `plan` as `fields.Plan` does (Pendo ignores case); keep one of them",
        "column x: fills `tier` as `fields.tier` does; keep one of them",
        "column y: fills `PLAN` as `fields.Plan` does (Pendo ignores case); keep one of them",
        "column z: fills `Plan Name` as `fields.Plan Name` does; keep one of them",
    ]


def test_the_same_property_twice(complain):
    assert complain({**EVENT, "properties": {"amount": "a"}}, {"x": "amount", "y": "total", "total": True}) == [
        "column x: fills `amount` as `properties.amount` does; keep one of them",
        "column total: fills `total` as column `y` does; keep one of them",
    ]


def test_column_level_mistakes(complain):
    forms = "expected the Pendo name this column fills, or `true` to keep the column's name"
    columns = {"a": {"field": "x"}, "b": 1, "c": "", "d-e": True, "f": "f g", "ok": "okay", "off": False}
    assert complain(VISITOR, columns) == [
        f"column a: {forms}, found a mapping",
        f"column b: {forms}, found the number 1",
        f"column c: {forms}, found an empty text",
    ]


def test_columns_of_a_segment(complain):
    assert complain(SEGMENT, {"plan": True}) == [
        "column plan: a segment takes nothing from a column but `visitor_id`; remove this"
    ]


def test_columns_without_a_model(complain):
    assert complain(None, {"plan": True, "off": False}) == [
        ": missing, though column `plan` is mapped; write `object` and its id on the model"
    ]
    assert complain(None, {"plan": 3}) == [
        ": missing, though column `plan` is mapped; write `object` and its id on the model",
        "column plan: expected the Pendo name this column fills, or `true` to keep the column's name, "
        "found the number 3",
    ]


def test_columns_beside_a_list(complain):
    assert complain([{**VISITOR, "name": "x"}], {"plan": True, "city": "town"}) == [
        ": is a list, so which sync columns `plan` and `city` are mapped for is not clear; "
        "map under `fields` or `properties` of the sync you mean"
    ]


def test_lists(parse, complain):
    _, problems = parse([VISITOR, 3, {**VISITOR, "name": "a b"}, {**VISITOR, "name": "ok", "mode": None}, VISITOR])
    assert [str(problem) for problem in problems] == [
        "models/users.yml: users: meta.pendo[0].name: missing; each sync of a list needs one",
        "models/users.yml: users: meta.pendo[1]: expected a mapping with `object` and its id, found the number 3",
        "models/users.yml: users: meta.pendo[2].name: expected letters, digits, underscores and hyphens, "
        'found the text "a b"',
        "models/users.yml: users.ok: meta.pendo.mode: expected `update` or `upsert`, found nothing (null)",
        "models/users.yml: users: meta.pendo[4].name: missing; each sync of a list needs one",
    ]


def test_two_syncs_of_one_name(parse):
    specs, problems = parse([{**VISITOR, "name": "x"}, {**VISITOR, "name": "x"}])
    assert specs == []
    assert [str(problem) for problem in problems] == [
        "models/users.yml: users.x: meta.pendo.name: shares its tables with another sync of the model; change a `name`"
    ]


def test_names_that_collide_across_models():
    specs, problems = parse_syncs(
        [
            Annotation("model.shop.users", "users", "a.yml", {**VISITOR, "name": "eu"}),
            Annotation("model.shop.users__EU", "users__EU", "b.yml", VISITOR),
            Annotation("model.shop.orgs", "orgs", "c.yml", VISITOR),
            # Its own problem does not hide the collision.
            Annotation("model.other.orgs", "orgs", "d.yml", {**VISITOR, "mode": 1}),
            Annotation("model.shop.fine", "fine", "e.yml", VISITOR),
        ]
    )
    assert [spec.name for spec in specs] == ["fine"]
    assert [str(problem) for problem in problems] == [
        "d.yml: orgs: meta.pendo.mode: expected `update` or `upsert`, found the number 1",
        "b.yml: users__EU: meta.pendo.name: shares its tables with `users.eu` (a.yml); change a `name`",
        "d.yml: orgs: meta.pendo.name: shares its tables with `orgs` (c.yml); change a `name`",
    ]


def test_case_does_not_hide_what_was_meant(complain):
    assert complain({**VISITOR, "MODE": "UPSERT", "mode": "UPSERT"}) == [
        "MODE: unknown key; did you mean `mode`?",
        'mode: expected `update` or `upsert`, found the text "UPSERT"; did you mean `upsert`?',
    ]


def test_long_values_are_shortened(complain):
    assert complain({**VISITOR, "mode": "x" * 100}) == [
        f'mode: expected `update` or `upsert`, found the text "{"x" * 59}…"'
    ]
