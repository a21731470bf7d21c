"""Every key of ``meta.pendo``, defined once: the parser and the JSON Schema are both made from this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from dbt_pendo.mapping.kinds import NOT_BLANK, Age, Choice, Count, Entries, Guard, Kind, Option, RowValue, Text
from dbt_pendo.mapping.objects import CONSENTS, OBJECTS, OTHERS, RECORDS
from dbt_pendo.mapping.spec import FieldType, Group, Mode, Nulls, Object, OnInvalid, OnRemoved
from dbt_pendo.wording import article

FIELD_TYPES: Mapping[str, FieldType] = {
    **{name: name for name in get_args(FieldType)},
    "number": "float",
    "date": "time",
}
"""What ``type`` may say, Pendo's other words for a type included, and the type it means."""


@dataclass(frozen=True, slots=True)
class Use:
    """How one kind of object takes a key."""

    kind: Kind
    required: bool = False
    default: Any = None  # as users would write it


@dataclass(frozen=True, slots=True)
class Key:
    """One key of ``meta.pendo``."""

    doc: str  # shown by editors
    uses: Mapping[tuple[Object, ...], Use]


ALL: tuple[Object, ...] = tuple(OBJECTS)
EVENT: tuple[Object, ...] = ("track_event",)
SEGMENT: tuple[Object, ...] = ("segment",)

NAME = Text(r"^[A-Za-z0-9_-]+$", "letters, digits, underscores and hyphens")
_APP = Text(r"^[A-Za-z0-9_]+$", "letters, digits and underscores, as it ends an environment variable's name")
_FLAG = Choice((True, False))
_NULLS = Choice(get_args(Nulls))
_ON_INVALID = Choice(get_args(OnInvalid))
# The groups of a sync; `pendo` is one of single fields.
GROUPS: tuple[Group, ...] = ("custom", "agent")
_GROUP = Choice(GROUPS)

_VALUE_OPTIONS = {
    "type": Option("The type to send; left out, Pendo's schema and the column decide.", Choice(tuple(FIELD_TYPES))),
    "nulls": Option("The sync's `nulls`, for this name alone.", _NULLS),
    "on_invalid": Option("The sync's `on_invalid`, for this name alone.", _ON_INVALID),
}
_FIELD_OPTIONS = _VALUE_OPTIONS | {
    "group": Option(
        "The sync's `group`, for this field alone; `pendo` is that of `donotprocess` and `blacklistguides`.",
        Choice(get_args(Group)),
    )
}

KEYS: Mapping[str, Key] = {
    "object": Key(
        "The kind of Pendo object the model's rows become.",
        {(name,): Use(Choice((name,)), required=True) for name in OBJECTS},
    ),
    "name": Key("Names the sync `model.name`; needed where a model has several syncs.", {ALL: Use(NAME)}),
    "enabled": Key("`false`: the mapping is checked but never synced.", {ALL: Use(_FLAG, default=True)}),
    "visitor_id": Key(
        "The column with the visitor's id, sent exactly as it is; a track_event also takes {value: …}.",
        {("visitor", "segment"): Use(RowValue(), required=True), EVENT: Use(RowValue(takes_text=True), required=True)},
    ),
    "account_id": Key(
        "The column with the account's id, sent exactly as it is; {parent: …, child: …} makes `Parent::Child` of two "
        "columns; a track_event also takes {value: …}.",
        {("account",): Use(RowValue(joined=True), required=True), EVENT: Use(RowValue(takes_text=True, joined=True))},
    ),
    "parent_account_id": Key(
        "The column with the parent account's id, sent exactly as it is.",
        {("parent_account",): Use(RowValue(), required=True)},
    ),
    "event": Key(
        "The event's name, literally; {column: …} takes it from a column.",
        {EVENT: Use(RowValue(takes_text=True, plain="value"), required=True)},
    ),
    "event_id": Key(
        "The column that is unique for each event; it decides what has been sent and is never sent itself.",
        {EVENT: Use(RowValue(), required=True)},
    ),
    "timestamp": Key("The column that says when the event happened.", {EVENT: Use(RowValue(), required=True)}),
    "max_age": Key(
        "Events older than this (`36 hours`; `none`: any age) are left out, and in time the ledger forgets their keys.",
        # Pendo processes no older ones (objects.OLDEST_SECONDS).
        {EVENT: Use(Age(), default="7 days")},
    ),
    "segment": Key(
        "The name of the Pendo segment, which will hold exactly the model's visitors.",
        {SEGMENT: Use(Text(), required=True)},
    ),
    "take_over": Key(
        "Whether the segment may hold members that no run of dbt-pendo has put there; a sync replaces them.",
        {SEGMENT: Use(_FLAG, default=False)},
    ),
    "replace": Key(
        "Whether all members may be replaced in one call where that takes fewer calls; the segment is empty meanwhile.",
        {SEGMENT: Use(_FLAG, default=False)},
    ),
    "mode": Key(
        "What becomes of ids that Pendo does not know: `update` skips them, `upsert` creates them.",
        {RECORDS: Use(Choice(get_args(Mode)), default="update")},
    ),
    "group": Key("The metadata group the fields belong to.", {RECORDS: Use(_GROUP, default="custom")}),
    "fields": Key(
        "Pendo's fields by key or display name, each with the column (or {value: …}) that fills it.",
        {
            ("visitor", "account"): Use(Entries(_FIELD_OPTIONS, consents=CONSENTS)),
            ("parent_account",): Use(Entries(_FIELD_OPTIONS)),
        },
    ),
    "properties": Key(
        "The event's properties, each with the column (or {value: …}) that fills it.",
        {EVENT: Use(Entries(_VALUE_OPTIONS))},
    ),
    "context": Key(
        "Where the event happened, each entry with the column (or {value: …}) that fills it.",
        {EVENT: Use(Entries(names=("ip", "userAgent", "url", "title")))},
    ),
    "app": Key("Which app's Track secret signs the events: `web` for PENDO_TRACK_SECRET_WEB.", {EVENT: Use(_APP)}),
    "nulls": Key(
        "What a null does: `clear` empties the field, `skip` leaves it alone. An event leaves a null out either way.",
        {ALL: Use(_NULLS, default="clear")},
    ),
    "on_invalid": Key(
        "What a value that cannot be sent does: `row` makes its row invalid, `null` sends null for it, `skip` leaves "
        "the field out. An event leaves both out. Ids and the timestamp always make the row invalid.",
        {ALL: Use(_ON_INVALID, default="row")},
    ),
    "on_removed": Key(
        "What happens in Pendo to records that left the model: nothing (the ledger notes that they left), their "
        "mapped fields are cleared, or they are deleted.",
        # Pendo's API deletes visitors and accounts only.
        {
            ("visitor", "account"): Use(Choice(get_args(OnRemoved)), default="keep"),
            ("parent_account",): Use(Choice(("keep", "clear")), default="keep"),
            OTHERS: Use(Choice(("keep",)), default="keep"),
        },
    ),
    "create_fields": Key(
        "Whether fields that Pendo lacks are created before the first row is sent.",
        {RECORDS: Use(_FLAG, default=False), OTHERS: Use(Choice((False,)), default=False)},
    ),
    "batch_size": Key(
        "Records in one request.",
        {
            RECORDS: Use(Count(10_000), default=500),
            EVENT: Use(Count(1_000), default=1),
            # Pendo takes at most 1,000 visitors in one PATCH of a segment.
            SEGMENT: Use(Count(1_000), default=1_000),
        },
    ),
    "allow_pii": Key(
        "Whether columns may be sent that are marked as personal data: by `meta: {pii: true}`, or a tag that "
        "`refuse_tags` under `vars: dbt_pendo:` names.",
        {ALL: Use(_FLAG, default=False)},
    ),
    **{
        name: Key(
            f"More {rows} rows than this (a count, or a percentage of {whole}) block the sync until --force.",
            {ALL: Use(Guard())},
        )
        for name, rows, whole in (
            ("max_changes", "added and changed", "the rows already delivered"),
            ("max_removals", "removed", "the rows already delivered"),
            ("max_invalid", "invalid", "the model's rows"),
        )
    },
}


# The keys that each kind of object takes, in the order of their definition.
KEYS_OF: Mapping[Object, Mapping[str, Use]] = {
    kind: {name: use for name, key in KEYS.items() for objects, use in key.uses.items() if kind in objects}
    for kind in OBJECTS
}


def instead_of(key: str, name: Object) -> str | None:
    """Returns what a kind of object has in place of a key that it does not take."""
    if any(key == kind.key for kind in OBJECTS.values()):
        return OBJECTS[name].key
    return OBJECTS[name].section if any(key == kind.section for kind in OBJECTS.values()) else None


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of ``meta.pendo`` on a model, for editors; ``$defs/column`` is that of a column's.

    It cannot tell what lies outside one value: names and fields given twice, and a sync without fields, which
    the columns may still provide.
    """
    # Told apart by `object`, so that an editor complains about that object's keys only.
    by_object = [
        {"if": {"required": ["object"], "properties": {"object": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}}
        for name in OBJECTS
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "meta.pendo",
        "description": "Syncs the table dbt builds for this model to Pendo. The left side is Pendo's word, "
        "the right side is your column; {value: …} is a constant. null takes the model out of a mapping it inherits.",
        "if": {"type": "array"},
        "then": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/sync", "required": ["name"]}},
        "else": {"if": {"type": "null"}, "else": {"$ref": "#/$defs/sync"}},
        "$defs": {
            "sync": {
                "type": "object",
                "required": ["object"],
                "properties": {"object": {"enum": list(OBJECTS), "description": KEYS["object"].doc}},
                "allOf": by_object,
            },
            **{name: _object_schema(name) for name in OBJECTS},
            "column": {
                "description": "The Pendo name this column fills; true keeps the column's name, false maps nothing.",
                "type": ["string", "boolean", "null"],
                "pattern": NOT_BLANK,
            },
        },
    }


def _object_schema(name: Object) -> dict[str, Any]:
    return {
        "description": f"Makes each row {article(name)}.",
        "type": "object",
        "properties": {
            key: {"description": KEYS[key].doc, **use.kind.schema()}
            | ({} if use.default is None else {"default": use.default})
            for key, use in KEYS_OF[name].items()
        },
        "required": [key for key, use in KEYS_OF[name].items() if use.required],
        "additionalProperties": False,
    }
