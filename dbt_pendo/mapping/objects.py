"""The kinds of Pendo objects, and how their fields may be named (pendo-api.md 3, Names and values)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from dbt_pendo.mapping.spec import Object

FIELD_NAME_RULE = "letters, digits and underscores, starting with a letter or underscore"

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """What is true of all objects of a kind."""

    plural: str  # in messages; of visitors and accounts also Pendo's word in bodies
    key: str  # the key of a mapping whose column identifies a record
    section: str | None = None  # the key of a mapping that the columns' own `meta.pendo` adds to
    metadata_kind: str = ""  # Pendo's word in the paths of the metadata API; empty for objects without fields
    id_keys: tuple[str, ...] = ()  # what Pendo may call the id in a body, the likeliest first
    is_readable: bool = False

    @property
    def has_fields(self) -> bool:
        """Whether it has metadata fields, which a sync updates in place."""
        return bool(self.metadata_kind)

    @property
    def id_key(self) -> str:
        """What Pendo calls the id in a body."""
        return self.id_keys[0]


OBJECTS: Mapping[Object, ObjectKind] = {
    "visitor": ObjectKind("visitors", "visitor_id", "fields", "visitor", ("visitorId",), is_readable=True),
    "account": ObjectKind("accounts", "account_id", "fields", "account", ("accountId",), is_readable=True),
    # No source says what the id of a parent account is called (pendo-api.md 3): its siblings' names are tried.
    "parent_account": ObjectKind(
        "parent accounts", "parent_account_id", "fields", "parentAccount", ("parentAccountId", "accountId")
    ),
    "track_event": ObjectKind("events", "event_id", "properties"),
    "segment": ObjectKind("the members of a segment", "visitor_id"),
}


def is_field_name(name: str) -> bool:
    """Returns whether Pendo's API creates a field of that name; a display name may hold anything."""
    return _FIELD_NAME.fullmatch(name) is not None


def field_name_spelling(name: str) -> str:
    """Returns the name a field could be created under, as close to the one given as Pendo allows."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    spelled = re.sub(r"[^A-Za-z0-9_]+", "_", bare).strip("_") or "field"
    return f"_{spelled}" if spelled[0].isdigit() else spelled
