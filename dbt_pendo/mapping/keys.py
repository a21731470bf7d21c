"""Every key of ``meta.pendo``, defined once: the parser and the JSON Schema are both made from this."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from dbt_pendo.mapping.spec import FieldType, Group, Mode, Nulls, Object, OnRemoved

OBJECTS: tuple[Object, ...] = get_args(Object)
RECORDS: tuple[Object, ...] = ("visitor", "account", "parent_account")
"""The objects with metadata fields, which a sync updates in place."""
OTHERS: tuple[Object, ...] = ("track_event", "segment")

FIELD_TYPES: Mapping[str, FieldType] = {
    **{name: name for name in get_args(FieldType)},
    "number": "float",
    "date": "time",
}
"""What ``type`` may say, Pendo's other words for a type included, and the type it means."""

NOT_BLANK = r"\S"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few fixed values."""

    values: tuple[str | bool, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A plain string that follows a rule, told in words for messages."""

    pattern: str = NOT_BLANK
    rule: str = "text"


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number from 1 to ``maximum``."""

    maximum: int


@dataclass(frozen=True, slots=True)
class Guard:
    """A number of rows (``1000``) or a share of them (``20%``)."""

    pattern: str = r"^[0-9]{1,6}(\.[0-9]{1,6})? ?%$"


@dataclass(frozen=True, slots=True)
class Age:
    """A span of time in words (``7 days``); no longer than a warehouse's 32 bits of seconds."""

    pattern: str = r"^([1-9][0-9]{0,3} ?(minute|hour|day)|[1-9][0-9]{0,2} ?week)s?$"


@dataclass(frozen=True, slots=True)
class ColumnOnly:
    """A column: its name, or ``{column: name}``; never a constant."""

    identifies: bool = False
    """Whether it is the key of the record."""
    joined: bool = False
    """Whether it may be made of two columns: ``{parent: name, child: name}``."""


@dataclass(frozen=True, slots=True)
class TextSource:
    """A string per row: ``{column: name}`` or ``{value: text}``; a plain string is short for one of them."""

    plain: Literal["column", "value"]
    joined: bool = False
    """Whether it may be made of two columns: ``{parent: name, child: name}``."""


@dataclass(frozen=True, slots=True)
class Option:
    """A key beside ``column`` or ``value`` in the long form of a mapped name."""

    name: str
    doc: str
    kind: Choice


@dataclass(frozen=True, slots=True)
class Mappings:
    """Pendo's names on the left; on the right a column, or the long form with its options."""

    options: tuple[Option, ...] = ()
    names: tuple[str, ...] = ()
    """The only names there are; none given: any text, for Pendo alone knows its fields' display names."""
    from_columns: bool = False
    """Whether column-level ``meta.pendo`` adds to it."""


Kind: TypeAlias = Choice | Text | Count | Guard | Age | ColumnOnly | TextSource | Mappings


@dataclass(frozen=True, slots=True)
class Use:
    """How one kind of object takes a key."""

    kind: Kind
    required: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Key:
    """One key of ``meta.pendo``.

    Attributes:
        name: The key as users write it.
        doc: What it means, shown by editors.
        uses: The objects that take it, and how each does.
    """

    name: str
    doc: str
    uses: Mapping[Object, Use]


def _on(objects: Iterable[Object], kind: Kind, *, required: bool = False, default: Any = None) -> dict[Object, Use]:
    return dict.fromkeys(objects, Use(kind, required, default))


NAME = Text(r"^[A-Za-z0-9_-]+$", "letters, digits, underscores and hyphens")
_FLAG = Choice((True, False))
_NULLS = Choice(get_args(Nulls))
_GROUP = Choice(get_args(Group))

_TYPE_OPTION = Option(
    "type", "The type to send; left out, Pendo's schema and the column decide.", Choice(tuple(FIELD_TYPES))
)
_NULLS_OPTION = Option("nulls", "The sync's `nulls`, for this name alone.", _NULLS)
_GROUP_OPTION = Option("group", "The sync's `group`, for this field alone.", _GROUP)

KEYS: tuple[Key, ...] = (
    Key(
        "object",
        "The kind of Pendo object the model's rows become.",
        {name: Use(Choice((name,)), required=True) for name in OBJECTS},
    ),
    Key("name", "Names the sync `model.name`; needed where a model has several syncs.", _on(OBJECTS, NAME)),
    Key("enabled", "`false`: the mapping is checked but never synced.", _on(OBJECTS, _FLAG, default=True)),
    Key(
        "visitor_id",
        "The column with the visitor's id, sent exactly as it is; a track_event also takes {value: …}.",
        _on(["visitor", "segment"], ColumnOnly(identifies=True), required=True)
        | _on(["track_event"], TextSource("column"), required=True),
    ),
    Key(
        "account_id",
        "The column with the account's id, sent exactly as it is; {parent: …, child: …} makes `Parent::Child` of two "
        "columns; a track_event also takes {value: …}.",
        _on(["account"], ColumnOnly(identifies=True, joined=True), required=True)
        | _on(["track_event"], TextSource("column", joined=True)),
    ),
    Key(
        "parent_account_id",
        "The column with the parent account's id, sent exactly as it is.",
        _on(["parent_account"], ColumnOnly(identifies=True), required=True),
    ),
    Key(
        "event",
        "The event's name, literally; {column: …} takes it from a column.",
        _on(["track_event"], TextSource("value"), required=True),
    ),
    Key(
        "event_id",
        "The column that is unique for each event; it decides what has been sent and is never sent itself.",
        _on(["track_event"], ColumnOnly(identifies=True), required=True),
    ),
    Key(
        "timestamp", "The column that says when the event happened.", _on(["track_event"], ColumnOnly(), required=True)
    ),
    Key(
        "max_age",
        "Events older than this (`7 days`, `36 hours`) are left out, and in time the ledger forgets their keys.",
        _on(["track_event"], Age()),
    ),
    Key(
        "segment",
        "The name of the Pendo segment, which will hold exactly the model's visitors.",
        _on(["segment"], Text(), required=True),
    ),
    Key(
        "mode",
        "What becomes of ids that Pendo does not know: `update` skips them, `upsert` creates them.",
        _on(RECORDS, Choice(get_args(Mode)), default="update"),
    ),
    Key("group", "The metadata group the fields belong to.", _on(RECORDS, _GROUP, default="custom")),
    Key(
        "fields",
        "Pendo's fields by key or display name, each with the column (or {value: …}) that fills it.",
        _on(RECORDS, Mappings(options=(_TYPE_OPTION, _NULLS_OPTION, _GROUP_OPTION), from_columns=True)),
    ),
    Key(
        "properties",
        "The event's properties, each with the column (or {value: …}) that fills it.",
        _on(["track_event"], Mappings(options=(_TYPE_OPTION, _NULLS_OPTION), from_columns=True)),
    ),
    Key(
        "context",
        "Where the event happened, each entry with the column (or {value: …}) that fills it.",
        _on(["track_event"], Mappings(names=("ip", "userAgent", "url", "title"))),
    ),
    Key(
        "app",
        "Which app's Track secret signs the events: `web` for PENDO_TRACK_SECRET_WEB.",
        _on(
            ["track_event"],
            Text(r"^[A-Za-z0-9_]+$", "letters, digits and underscores, as it ends an environment variable's name"),
        ),
    ),
    Key(
        "nulls",
        "What a null does: `clear` empties the field, `skip` leaves it alone. An event leaves a null out either way.",
        _on(OBJECTS, _NULLS, default="clear"),
    ),
    Key(
        "on_removed",
        "What happens in Pendo to records that left the model: nothing (the ledger notes that they left), their "
        "mapped fields are cleared, or they are deleted.",
        _on(RECORDS, Choice(get_args(OnRemoved)), default="keep") | _on(OTHERS, Choice(("keep",)), default="keep"),
    ),
    Key(
        "create_fields",
        "Whether fields that Pendo lacks are created before the first row is sent.",
        _on(RECORDS, _FLAG, default=False) | _on(OTHERS, Choice((False,)), default=False),
    ),
    Key(
        "batch_size",
        "Records in one request.",
        _on(RECORDS, Count(10_000), default=500)
        | _on(["track_event"], Count(1_000), default=1)
        # Pendo takes at most 1,000 visitors in one PATCH of a segment.
        | _on(["segment"], Count(1_000), default=1_000),
    ),
    Key(
        "max_changes",
        "More added and changed rows than this (a count, or a percentage of the rows already delivered) "
        "block the sync until --force.",
        _on(OBJECTS, Guard()),
    ),
    Key(
        "max_removals",
        "More removed rows than this (a count, or a percentage of the rows already delivered) block the "
        "sync until --force.",
        _on(OBJECTS, Guard()),
    ),
)


def matches(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern as JSON Schema means it: no newline may follow ``$``."""
    return re.search(pattern.replace("$", r"\Z"), text) is not None


def keys_of(name: Object) -> dict[str, Use]:
    """The keys that one kind of object takes, in the order of the definition."""
    return {key.name: key.uses[name] for key in KEYS if name in key.uses}


def id_key(name: Object) -> str:
    """The key whose column identifies a record: ``visitor_id`` of a visitor."""
    return next(key for key, use in keys_of(name).items() if _identifies(use))


def column_target(name: Object) -> tuple[str, Mappings] | None:
    """The key that column-level ``meta.pendo`` adds to, if there is one: ``fields`` or ``properties``."""
    kinds = ((key, use.kind) for key, use in keys_of(name).items())
    return next(((key, kind) for key, kind in kinds if isinstance(kind, Mappings) and kind.from_columns), None)


def instead_of(key: Key, name: Object) -> str | None:
    """The key that plays the part of a misplaced key for this kind of object, if there is one."""
    if any(_identifies(use) for use in key.uses.values()):
        return id_key(name)
    target = column_target(name)
    if target and any(isinstance(use.kind, Mappings) and use.kind.from_columns for use in key.uses.values()):
        return target[0]
    return None


def _identifies(use: Use) -> bool:
    return isinstance(use.kind, ColumnOnly) and use.kind.identifies
