"""Mistakes, and what users read about them."""

from typing import Any

import pytest

from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation, Column, Field, Problem

OBJECTS = "`visitor`, `account`, `parent_account`, `track_event` or `segment`"
VISITOR = {"object": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}
EVENT = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "v", "timestamp": "t"}
SEGMENT = {"object": "segment", "segment": "S", "visitor_id": "id"}


def test_a_problem_names_file_model_and_key():
    assert str(Problem("m.yml", "users", "", "wrong")) == "m.yml: users: meta.pendo: wrong"
    assert str(Problem("m.yml", "users", "", "wrong", "plan")) == "m.yml: users, column plan: meta.pendo: wrong"


NO_MAPPING = ": expected a mapping with `object` and its id, or a list of such mappings; found "
NO_SYNC = (
    ". Write null to take the model out of a mapping that it inherits, or `enabled: false` inside a mapping to check "
    "it and never sync it"
)
NO_FIELDS = "fields: maps no fields; map some, or write `mode: upsert` if creating ids is the point"
NULL_FIELDS = "expected a mapping of Pendo's names to columns, found nothing (null)"
COLUMN_FORMS = "expected the Pendo name this column fills, or `true` to keep the column's name, found "
LOST_COLUMN = ": missing, though column `plan` is mapped; write `object` and its id on the model"
# Display names may differ by case alone.
TWICE = {"Plan": "a", "plan": "b", "tier": "c", "Plan Name": "e", "plan name": "f", "Größe": "g", "größe": "h"}
AN_ACCOUNT = {"object": "account", "account_id": "id"}


def told(case: str, meta: Any, *messages: str, columns: dict[str, Any] | None = None) -> Any:
    """What is written on the model and at its columns, and all that is said of it."""
    return pytest.param(meta, columns, list(messages), id=case)


MISTAKES = [
    told("no mapping: a text", "visitor", f'{NO_MAPPING}the text "visitor"'),
    told("no mapping: a blank", " ", f"{NO_MAPPING}an empty text"),
    told("no mapping: a number", 3, f"{NO_MAPPING}the number 3"),
    told("no mapping: true", True, f"{NO_MAPPING}`true`"),
    told("no sync at all: false", False, f"{NO_MAPPING}`false`{NO_SYNC}"),
    told("no sync at all: zero", 0, f"{NO_MAPPING}the number 0{NO_SYNC}"),
    told("no sync at all: no text", "", f"{NO_MAPPING}an empty text{NO_SYNC}"),
    told("no sync at all: no list", [], f"{NO_MAPPING}an empty list{NO_SYNC}"),
    told("no sync at all: no mapping", {}, f"{NO_MAPPING}an empty mapping{NO_SYNC}"),
    told(
        "all problems at once",
        {
            **{"object": "account", "visitor_id": "user_id", "mode": "upserts", "nulls": None, "enabled": "True"},
            **{"create_fields": 1, "batch_size": True, "max_changes": 0.2, "max_removals": "30", "on_removed": ""},
            "grup": "agent",
            "fields": {
                **{" ": "plan", "a": {"colum": "x"}, "b": {"column": "x", "value": 3, "typ": "time"}},
                **{"c": {"type": "strnig"}, "d": ["x"], "e": {"value": {"x": 1}}},
                **{"f": {"column": "f", "group": "pendo", "nulls": "Skip", "on_invalid": "nul"}, "g": 7},
            },
        },
        "visitor_id: `visitor_id` belongs to visitor, segment and track_event; an account has `account_id`",
        'mode: expected `update` or `upsert`, found the text "upserts"; did you mean `upsert`?',
        "nulls: expected `clear` or `skip`, found nothing (null)",
        'enabled: expected `true` or `false`, found the text "True"; '
        "drop the quotes, or end the Jinja expression with `| as_bool`",
        "create_fields: expected `true` or `false`, found the number 1",
        "batch_size: expected a whole number from 1 to 10,000, found `true`",
        "max_changes: expected a count such as `1000` or a percentage such as `20%`, found the number 0.2",
        "max_removals: expected a count such as `1000` or a percentage such as `20%`, "
        'found the text "30"; drop the quotes',
        "on_removed: expected `keep`, `clear` or `delete`, found an empty text",
        "grup: unknown key; did you mean `group`?",
        "fields. : Pendo's name is empty",
        "fields.a.colum: unknown key; did you mean `column`?",
        "fields.b.typ: unknown key; did you mean `type`?",
        "fields.b: has both `column` and `value`; keep one",
        "fields.c.type: expected `string`, `boolean`, `integer`, `float`, `time`, `list`, `number` or `date`, "
        'found the text "strnig"; did you mean `string`?',
        "fields.c: names no source; give it `column` or `value`",
        "fields.d: expected a column's name, found a list",
        "fields.e.value: expected text, a number, true, false, null, or a list of these without nulls, found a mapping",
        'fields.f.nulls: expected `clear` or `skip`, found the text "Skip"; did you mean `skip`?',
        'fields.f.on_invalid: expected `row`, `null` or `skip`, found the text "nul"; did you mean `null`?',
        "fields.f: of the group `pendo` only `donotprocess` and `blacklistguides` can be written",
        "fields.g: expected a column's name, found the number 7; put it in quotes if that is the name",
    ),
    told(
        "what would mislead on an event",
        {
            **{**EVENT, "event": 123, "fields": {"a": "b"}, "mode": "upsert", "group": "agent", "on_removed": "delete"},
            **{"create_fields": True, "app": "my-app"},
            "context": {"user_agent": "x", "zone": "y", "ip": {"column": "ip", "type": "string"}},
            "properties": {"a": {"column": "x", "group": "agent"}},
        },
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
        "properties.a.group: unknown key; expected `column`, `value`, `type`, `nulls` or `on_invalid`",
    ),
    told(
        "what would mislead on a segment",
        {**SEGMENT, "properties": {}, "mode": "upsert", "on_removed": "clear", "batch_size": 1001, "max_age": "7 days"},
        "properties: `properties` belongs to track_event, not to a segment",
        "mode: `mode` belongs to visitor, account and parent_account, not to a segment",
        'on_removed: expected `keep`, found the text "clear"',
        "batch_size: expected a whole number from 1 to 1,000, found the number 1001",
        "max_age: `max_age` belongs to track_event, not to a segment",
        "column plan: a segment takes nothing from a column but `visitor_id`; remove this",
        columns={"plan": True},
    ),
    told(
        "an unknown key like no other",
        {**SEGMENT, "colour": "red"},
        "colour: unknown key; a segment takes `object`, `name`, `enabled`, `visitor_id`, `segment`, "
        "`take_over`, `replace`, `nulls`, `on_invalid`, `on_removed`, `create_fields`, `batch_size`, `allow_pii`, "
        "`max_changes`, `max_removals` and `max_invalid`",
    ),
    told(
        "a parent account cannot be deleted",
        {"object": "parent_account", "parent_account_id": "id", "fields": {"a": "b"}, "on_removed": "delete"},
        'on_removed: expected `keep` or `clear`, found the text "delete"',
    ),
    told("missing: all", {"name": "x"}, f"object: missing; expected {OBJECTS}"),
    told(
        "missing: of an event",
        {"object": "track_event"},
        *[f"{key}: missing; a track_event needs it" for key in ("visitor_id", "event", "event_id", "timestamp")],
    ),
    told("a misspelt key is not also missing", {"objct": "visitor"}, "objct: unknown key; did you mean `object`?"),
    told(
        "misspelt keys",
        {"object": "visitor", "visitorId": "id", "feilds": {"a": "a"}},
        "visitorId: unknown key; did you mean `visitor_id`?",
        "feilds: unknown key; did you mean `fields`?",
    ),
    told(
        "an unknown object does not hide the rest",
        {"object": "visitors", "visitor_id": 1, "mode": "x", "fields": {"": "a"}, "on_removed": "clear"},
        f'object: expected {OBJECTS}, found the text "visitors"; did you mean `visitor`?',
        'mode: expected `update` or `upsert`, found the text "x"',
        "fields.: Pendo's name is empty",
        f"column plan: {COLUMN_FORMS}the number 3",
        columns={"plan": 3, "city": True},
    ),
    told(
        "an event's ids and name are text",
        {**EVENT, "visitor_id": {"value": 42}, "account_id": {"value": None}, "event": {"value": "  "}},
        "event.value: expected text, found an empty text",
        "visitor_id.value: expected text, found the number 42; put it in quotes if that is the name",
        "account_id.value: expected text, found nothing (null)",
    ),
    told("no fields", AN_ACCOUNT, NO_FIELDS),
    told("empty fields", {**AN_ACCOUNT, "fields": {}}, NO_FIELDS),
    told("no fields but a mistake", {**AN_ACCOUNT, "mod": "upsert"}, "mod: unknown key; did you mean `mode`?"),
    told("null for fields", {**AN_ACCOUNT, "fields": None}, f"fields: {NULL_FIELDS}"),
    told(
        "the same field twice",
        {**VISITOR, "fields": {**TWICE, "TIER": {"column": "d", "group": "agent"}}},
        "fields.plan: fills `plan` as `fields.Plan` does (Pendo ignores case); keep one of them",
        "column x: fills `tier` as `fields.tier` does; keep one of them",
        "column y: fills `PLAN` as `fields.Plan` does (Pendo ignores case); keep one of them",
        "column z: fills `Plan Name` as `fields.Plan Name` does; keep one of them",
        columns={"x": "tier", "y": "PLAN", "z": "Plan Name"},
    ),
    told(
        "the same property twice",
        {**EVENT, "properties": {"amount": "a"}},
        "column x: fills `amount` as `properties.amount` does; keep one of them",
        "column total: fills `total` as column `y` does; keep one of them",
        columns={"x": "amount", "y": "total", "total": True},
    ),
    told(
        "mistakes at columns",
        VISITOR,
        f"column a: {COLUMN_FORMS}a mapping",
        f"column b: {COLUMN_FORMS}an empty list",
        f"column c: {COLUMN_FORMS}an empty text",
        columns={"a": {"field": "x"}, "b": [], "c": " ", "d-e": True, "f": "f g", "ok": "okay", "off": None},
    ),
    told("columns without a model", None, LOST_COLUMN, columns={"plan": True, "off": False}),
    told("and a mistake", None, LOST_COLUMN, f"column plan: {COLUMN_FORMS}the number 3", columns={"plan": 3}),
    told(
        "columns beside a list",
        [{**VISITOR, "name": "x"}],
        ": is a list, so which sync columns `plan` and `city` are mapped for is not clear; "
        "map under `fields` or `properties` of the sync you mean",
        columns={"plan": True, "city": "town"},
    ),
    told(
        "case does not hide what was meant, and a long value is cut",
        {**VISITOR, "MODE": "UPSERT", "mode": "UPSERT", "nulls": "x" * 100},
        "MODE: unknown key; did you mean `mode`?",
        'mode: expected `update` or `upsert`, found the text "UPSERT"; did you mean `upsert`?',
        f'nulls: expected `clear` or `skip`, found the text "{"x" * 59}…"',
    ),
]


@pytest.mark.parametrize(("meta", "columns", "messages"), MISTAKES)
def test_mistakes_are_told_all_at_once(complain, meta, columns, messages):
    assert complain(meta, columns) == messages


def test_consents(complain, parse):
    sound = {"column": "optout", "group": "pendo"}
    only = "of the group `pendo` only `donotprocess` and `blacklistguides` can be written"
    for wrong, message in [
        ({"donotproces": sound}, f"donotproces: {only}; did you mean `donotprocess`?"),
        (
            {"donotprocess": {"value": True, "group": "pendo"}},
            "donotprocess.value: must come from a column, as every record has its own consent",
        ),
        ({"donotprocess": {**sound, "type": "string"}}, "donotprocess.type: a consent is a `boolean`, found `string`"),
        (
            {"donotprocess": {**sound, "nulls": "clear"}},
            "donotprocess.nulls: a null leaves a consent as it is: write `skip`, or nothing",
        ),
    ]:
        for meta in (VISITOR, AN_ACCOUNT):
            assert complain({**meta, "fields": wrong}) == [f"fields.{message}"]
    # What is sent of it are changes alone, so its column fills nothing else.
    twice = {"optout": "optout", "donotprocess": sound, "blacklistguides": {**sound, "column": "OPTOUT"}}
    told = "has the column of `fields.optout`; keep one of them, as a consent takes a column of its own"
    assert complain({**VISITOR, "fields": twice}) == [f"fields.donotprocess: {told}"]
    parents = {"object": "parent_account", "parent_account_id": "id", "fields": {"donotprocess": sound}}
    assert complain(parents) == ["fields.donotprocess: of the group `pendo` no field of this object can be written"]
    assert complain({**VISITOR, "group": "pendo"}) == ['group: expected `custom` or `agent`, found the text "pendo"']
    # A custom field may have the name.
    (spec,), _ = parse({**VISITOR, "nulls": "clear", "fields": {"donotprocess": sound, "blacklistguides": "guides"}})
    assert spec.fields == (
        Field("donotprocess", Column("optout"), type="boolean", nulls="skip", group="pendo"),
        Field("blacklistguides", Column("guides")),
    )
    assert (spec.groups, spec.consents) == (("custom", "pendo"), {"donotprocess": "optout"})


def test_keys_and_the_timestamp_are_columns(complain):
    accounts = [{"object": kind, "fields": {"a": "a"}} for kind in ("account", "parent_account")]
    keys = {"visitor_id": VISITOR, "account_id": accounts[0], "parent_account_id": accounts[1], "event_id": EVENT}
    for key, meta in (*keys.items(), ("timestamp", EVENT), ("visitor_id", SEGMENT)):
        mistakes = {
            f"{key}.value: must come from a column, as every row has its own; write the column's name": {"value": "x"},
            f"{key}.column: expected a column's name, found an empty text": {"column": ""},
            f"{key}.nulls: unknown key; expected `column`": {"column": "x", "nulls": "skip"},
        }
        for message, wrong in mistakes.items():
            assert complain({**meta, key: wrong}) == [message]


def test_constants_pendo_cannot_hold(complain):
    for value, found in [
        ([1, None], "a list with nothing (null)"),
        ([["x"]], "a list with a list"),
        (float("nan"), "the number nan"),
    ]:
        expected = "expected text, a number, true, false, null, or a list of these without nulls"
        assert complain({**VISITOR, "fields": {"a": {"value": value}}}) == [
            f"fields.a.value: {expected}, found {found}"
        ]


NO_BATCH_SIZES = [0, -1, 10_001, 2.5, "500", None, [], {}]
NO_GUARDS = [-1, True, 2.5, "20", "-3%", "%", "20%\n", "٢%", None, []]
NO_AGES = [
    *(7, "7", "0 days", "7 Days", "-1 days", "1.5 days", "7 days\n", "10000 days", "1000 weeks", "٢ days", None, [])
]
NO_NAMES = ["a b", "", "a.b", "é", "eu\n", None, 3]


def test_values_of_another_form(complain):
    for meta, key, wrong, beginning in [
        (VISITOR, "batch_size", NO_BATCH_SIZES, "expected a whole number from 1 to 10,000, found "),
        (VISITOR, "max_removals", NO_GUARDS, "expected a count such as `1000` or a percentage such as `20%`, "),
        (EVENT, "max_age", NO_AGES, "expected an age such as `7 days` or `36 hours`, or `none` for any age, found "),
        (VISITOR, "name", NO_NAMES, "expected letters, digits, underscores and hyphens, found "),
    ]:
        for value in wrong:
            (problem,) = complain({**meta, key: value})
            assert problem.startswith(f"{key}: {beginning}")


def test_lists(parse):
    sound, wrong = {**VISITOR, "name": "sound"}, {**VISITOR, "name": "ok", "mode": None}
    specs, problems = parse([VISITOR, 3, {**VISITOR, "name": "a b"}, wrong, VISITOR, sound])
    assert specs == []
    assert [str(problem) for problem in problems] == [
        "models/users.yml: users: meta.pendo[0].name: missing; each sync of a list needs one",
        "models/users.yml: users: meta.pendo[1]: expected a mapping with `object` and its id, found the number 3",
        "models/users.yml: users: meta.pendo[2].name: expected letters, digits, underscores and hyphens, "
        'found the text "a b"',
        "models/users.yml: users.ok: meta.pendo.mode: expected `update` or `upsert`, found nothing (null)",
        "models/users.yml: users: meta.pendo[4].name: missing; each sync of a list needs one",
    ]


def test_names_that_collide(complain):
    collide = "name: shares its tables with another sync of the model; change a `name`"
    assert complain([{**VISITOR, "name": "x"}, {**VISITOR, "name": "x"}]) == [collide]
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


def test_what_can_be_read_of_wrong_mappings_is_there_for_further_checks():
    def read(meta, columns=None):
        annotations = [Annotation("model.shop.users", "users", "m.yml", meta, columns or {})]
        specs, problems = parse_syncs(annotations, with_flawed=True)
        assert problems
        assert parse_syncs(annotations) == ([], problems)
        return specs

    # Misspelt keys are read as what they were meant to be, wrong values as their defaults, wrong fields not at all.
    fields = {"plan": "plan", "PLAN": "other", "bad": 3, "team": {"column": "team", "nulls": "never"}}
    (spec,) = read(
        {"object": "visitor", "visitorId": "id", "feilds": fields, "mode": "upset", "nulls": 1}, {"age": True}
    )
    assert (spec.key, spec.mode, spec.columns) == ("id", "update", ("plan", "team", "age"))
    assert [(one.name, one.nulls) for one in spec.fields] == [("plan", "clear"), ("team", "clear"), ("age", "clear")]
    (spec,) = read({"object": "account", "visitor_id": "id", "fields": {"plan": "plan"}, "max_age": "1 day"})
    assert (spec.key, spec.columns) == ("id", ("plan",))
    consents = {"donotproces": {"column": "a", "group": "pendo"}, "blacklistguides": {"value": True, "group": "pendo"}}
    assert read({"object": "visitor", "visitor_id": "id", "fields": consents})[0].fields == ()
    # Nothing can be looked for without the object, or what each row needs.
    assert read({"objekt": "visitor", "visitor_id": "id"}) == []
    assert read({"object": "visitor", "fields": {"plan": "plan"}}) == []
    event = {"object": "track_event", "event": "Paid", "event_id": "id", "visitor_id": "id"}
    assert (read(event), len(read({**event, "timestamp": "at", "batch_size": 0}))) == ([], 1)
    # Each sync of a list counts for itself.
    assert [
        spec.name for spec in read([{"name": "a", "object": "visitor"}, {**event, "name": "b", "timestamp": "t"}])
    ] == ["users.b"]
