"""Every key of ``meta.pendo``, defined once: the parser and the JSON Schema are both made from this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from dbt_pendo.mapping.kinds import NOT_BLANK, Age, Choice, Count, Entries, Guard, Kind, Option, RowValue, Text
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import FieldType, Group, Mode, Nulls, Object, OnRemoved
from dbt_pendo.wording import article

RECORDS: tuple[Object, ...] = tuple(name for name, kind in OBJECTS.items() if kind.has_fields)
"""The objects that a sync updates in place."""
OTHERS: tuple[Object, ...] = tuple(name for name in OBJECTS if name not in RECORDS)

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
    default: Any = None


@dataclass(frozen=True, slots=True)
class Key:
    """One key of ``meta.pendo``."""

    doc: str  # shown by editors
    uses: Mapping[Object, Use]


def _on(objects: Iterable[Object], kind: Kind, *, required: bool = False, default: Any = None) -> dict[Object, Use]:
    return dict.fromkeys(objects, Use(kind, required, default))


NAME = Text(r"^[A-Za-z0-9_-]+$", "letters, digits, underscores and hyphens")
_FLAG = Choice((True, False))
_NULLS = Choice(get_args(Nulls))
_GROUP = Choice(get_args(Group))

_VALUE_OPTIONS = {
    "type": Option("The type to send; left out, Pendo's schema and the column decide.", Choice(tuple(FIELD_TYPES))),
    "nulls": Option("The sync's `nulls`, for this name alone.", _NULLS),
}
_FIELD_OPTIONS = _VALUE_OPTIONS | {"group": Option("The sync's `group`, for this field alone.", _GROUP)}

KEYS: Mapping[str, Key] = {
    "object": Key(
        "The kind of Pendo object the model's rows become.",
        {name: Use(Choice((name,)), required=True) for name in OBJECTS},
    ),
    "name": Key("Names the sync `model.name`; needed where a model has several syncs.", _on(OBJECTS, NAME)),
    "enabled": Key("`false`: the mapping is checked but never synced.", _on(OBJECTS, _FLAG, default=True)),
    "visitor_id": Key(
        "The column with the visitor's id, sent exactly as it is; a track_event also takes {value: …}.",
        _on(["visitor", "segment"], RowValue(), required=True)
        | _on(["track_event"], RowValue(takes_text=True), required=True),
    ),
    "account_id": Key(
        "The column with the account's id, sent exactly as it is; {parent: …, child: …} makes `Parent::Child` of two "
        "columns; a track_event also takes {value: …}.",
        _on(["account"], RowValue(joined=True), required=True)
        | _on(["track_event"], RowValue(takes_text=True, joined=True)),
    ),
    "parent_account_id": Key(
        "The column with the parent account's id, sent exactly as it is.",
        _on(["parent_account"], RowValue(), required=True),
    ),
    "event": Key(
        "The event's name, literally; {column: …} takes it from a column.",
        _on(["track_event"], RowValue(takes_text=True, plain="value"), required=True),
    ),
    "event_id": Key(
        "The column that is unique for each event; it decides what has been sent and is never sent itself.",
        _on(["track_event"], RowValue(), required=True),
    ),
    "timestamp": Key("The column that says when the event happened.", _on(["track_event"], RowValue(), required=True)),
    "max_age": Key(
        "Events older than this (`7 days`, `36 hours`) are left out, and in time the ledger forgets their keys.",
        _on(["track_event"], Age()),
    ),
    "segment": Key(
        "The name of the Pendo segment, which will hold exactly the model's visitors.",
        _on(["segment"], Text(), required=True),
    ),
    "mode": Key(
        "What becomes of ids that Pendo does not know: `update` skips them, `upsert` creates them.",
        _on(RECORDS, Choice(get_args(Mode)), default="update"),
    ),
    "group": Key("The metadata group the fields belong to.", _on(RECORDS, _GROUP, default="custom")),
    "fields": Key(
        "Pendo's fields by key or display name, each with the column (or {value: …}) that fills it.",
        _on(RECORDS, Entries(_FIELD_OPTIONS)),
    ),
    "properties": Key(
        "The event's properties, each with the column (or {value: …}) that fills it.",
        _on(["track_event"], Entries(_VALUE_OPTIONS)),
    ),
    "context": Key(
        "Where the event happened, each entry with the column (or {value: …}) that fills it.",
        _on(["track_event"], Entries(names=("ip", "userAgent", "url", "title"))),
    ),
    "app": Key(
        "Which app's Track secret signs the events: `web` for PENDO_TRACK_SECRET_WEB.",
        _on(
            ["track_event"],
            Text(r"^[A-Za-z0-9_]+$", "letters, digits and underscores, as it ends an environment variable's name"),
        ),
    ),
    "nulls": Key(
        "What a null does: `clear` empties the field, `skip` leaves it alone. An event leaves a null out either way.",
        _on(OBJECTS, _NULLS, default="clear"),
    ),
    "on_removed": Key(
        "What happens in Pendo to records that left the model: nothing (the ledger notes that they left), their "
        "mapped fields are cleared, or they are deleted.",
        # Pendo's API deletes visitors and accounts only.
        _on(["visitor", "account"], Choice(get_args(OnRemoved)), default="keep")
        | _on(["parent_account"], Choice(("keep", "clear")), default="keep")
        | _on(OTHERS, Choice(("keep",)), default="keep"),
    ),
    "create_fields": Key(
        "Whether fields that Pendo lacks are created before the first row is sent.",
        _on(RECORDS, _FLAG, default=False) | _on(OTHERS, Choice((False,)), default=False),
    ),
    "batch_size": Key(
        "Records in one request.",
        _on(RECORDS, Count(10_000), default=500)
        | _on(["track_event"], Count(1_000), default=1)
        # Pendo takes at most 1,000 visitors in one PATCH of a segment.
        | _on(["segment"], Count(1_000), default=1_000),
    ),
    "max_changes": Key(
        "More added and changed rows than this (a count, or a percentage of the rows already delivered) "
        "block the sync until --force.",
        _on(OBJECTS, Guard()),
    ),
    "max_removals": Key(
        "More removed rows than this (a count, or a percentage of the rows already delivered) block the "
        "sync until --force.",
        _on(OBJECTS, Guard()),
    ),
}


def keys_of(kind: Object) -> dict[str, Use]:
    """Returns the keys that one kind of object takes, in the order of the definition."""
    return {name: key.uses[kind] for name, key in KEYS.items() if kind in key.uses}


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
    uses = keys_of(name)
    return {
        "description": f"Makes each row {article(name)}.",
        "type": "object",
        "properties": {
            key: {"description": KEYS[key].doc, **use.kind.schema()}
            | ({} if use.default is None else {"default": use.default})
            for key, use in uses.items()
        },
        "required": [key for key, use in uses.items() if use.required],
        "additionalProperties": False,
    }
