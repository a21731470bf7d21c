"""Pendo's rules: the kinds of its objects, the names of their fields, what it drops of events (pendo-api.md 3, 4)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dbt_pendo.mapping.spec import Object

# Pendo takes events beyond these over HTTP, answers 200, and then drops or does not show them.
OLDEST_SECONDS = 7 * 24 * 3600
# Clocks differ, and what has just happened is no event of the future.
FUTURE_SECONDS = 5 * 60
LARGEST_PROPERTIES = 512

# The names under which Pendo's API creates a field; a display name may hold anything.
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
FIELD_NAME_RULE = "letters, digits and underscores, starting with a letter or underscore"

# The fields of the group `pendo` that a client may write, one record a call (pendo-api.md 3, Consent).
DO_NOT_PROCESS, NO_GUIDES = "donotprocess", "blacklistguides"
CONSENTS = (DO_NOT_PROCESS, NO_GUIDES)


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """What is true of all objects of a kind."""

    plural: str  # in messages; of visitors and accounts also Pendo's word in bodies
    key: str  # the key of a mapping whose column identifies a record
    section: str | None = None  # the key of a mapping that the columns' own `meta.pendo` adds to
    metadata_kind: str = ""  # Pendo's word in the paths of the metadata API; empty for objects without fields
    id_key: str = ""  # what Pendo calls the id in a body
    other_id_keys: tuple[str, ...] = ()  # what it may be called instead
    is_readable: bool = False


OBJECTS: Mapping[Object, ObjectKind] = {
    "visitor": ObjectKind("visitors", "visitor_id", "fields", "visitor", "visitorId", is_readable=True),
    "account": ObjectKind("accounts", "account_id", "fields", "account", "accountId", is_readable=True),
    # No source says what the id of a parent account is called (pendo-api.md 3): its siblings' names are tried.
    "parent_account": ObjectKind(
        "parent accounts", "parent_account_id", "fields", "parentAccount", "parentAccountId", ("accountId",)
    ),
    "track_event": ObjectKind("events", "event_id", "properties"),
    "segment": ObjectKind("the members of a segment", "visitor_id"),
}
# The objects with metadata fields, which a sync updates in place; and the others.
RECORDS: tuple[Object, ...] = tuple(name for name, kind in OBJECTS.items() if kind.metadata_kind)
OTHERS: tuple[Object, ...] = tuple(name for name in OBJECTS if name not in RECORDS)


def field_name_spelling(name: str) -> str:
    """Returns the name a field could be created under, as close to the one given as Pendo allows."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    spelled = re.sub(r"[^A-Za-z0-9_]+", "_", bare).strip("_") or "field"
    return f"_{spelled}" if spelled[0].isdigit() else spelled


@dataclass(frozen=True, slots=True)
class PropertySize:
    """How many bytes a property takes in the JSON of an event.

    Attributes:
        column: The mapped column.
        around: The bytes around the value: the name, a colon, a comma, quotes.
        value: The bytes of each value; None where they are those of the value's text.
    """

    column: str
    around: int
    value: int | None


@dataclass(frozen=True, slots=True)
class PropertySizes:
    """The size of an event's properties as JSON: what is the same for every row, and what each column adds."""

    fixed: int
    columns: Sequence[PropertySize]


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What a warehouse counted before anything is sent.

    Attributes:
        late: Events to send that are older than Pendo processes; 0 where the timestamp's type does not tell.
        future: Events to send that are yet to happen; 0 where the timestamp's type does not tell.
        oversized: Events to send whose properties are larger than Pendo shows, about.
        names: Event names in the model; 0 when the name is the same for all.
        left_out: Events in the model that are older than ``max_age``.
    """

    late: int = 0
    future: int = 0
    oversized: int = 0
    names: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class ConsentCounts:
    """The consents that a sync would send, a call each.

    Attributes:
        calls: How many there are.
        ignored: Records of which Pendo would throw all data away (``donotprocess``), as far as the ledger knows.
        example: The key of one of them.
    """

    calls: int = 0
    ignored: int = 0
    example: str | None = None
