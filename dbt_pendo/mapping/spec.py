"""What a mapping says: a sync, its fields, its event."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from dbt_pendo.errors import ConfigError

Object: TypeAlias = Literal["visitor", "account", "parent_account", "track_event", "segment"]
Mode: TypeAlias = Literal["update", "upsert"]
Group: TypeAlias = Literal["custom", "agent", "pendo"]  # `pendo` has the consents alone
Nulls: TypeAlias = Literal["clear", "skip"]
OnInvalid: TypeAlias = Literal["row", "null", "skip"]
OnRemoved: TypeAlias = Literal["keep", "clear", "delete"]
FieldType: TypeAlias = Literal["string", "boolean", "integer", "float", "time", "list"]
Constant: TypeAlias = str | int | float | bool | tuple[str | int | float | bool, ...] | None


# The mark of a column whose meta says that it is personal data.
PII = "meta.pii"


@dataclass(frozen=True, slots=True)
class Annotation:
    """The raw ``meta.pendo`` of one model and of its columns."""

    unique_id: str  # dbt's id of the model, `model.shop.pendo_visitors`
    model: str  # the model's name; of a versioned model with its version, `dim_users_v2`
    file: str  # the YAML or SQL file that carries the annotation
    meta: Any  # what stands under `meta.pendo` of the model; None when only columns carry it
    columns: Mapping[str, Any] = field(default_factory=dict)  # the same of each annotated column
    # What marks columns as personal data, by their names in lower case: `meta.pii`, and their tags.
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a mapping, or what the model's table or Pendo has against it."""

    file: str
    sync: str  # the model, or `model.name`
    key: str  # the path of the key at fault, `fields.mrr.type`; empty for the mapping as a whole
    message: str  # what is wrong and what to write instead
    column: str = ""  # the column that it is about; without a key, the column's own `meta.pendo` is wrong
    line: int | None = None  # of the file, from 1; None while or where it is not known
    unique_id: str = ""  # dbt's id of the model
    shows_key: bool = True  # in its text; not where the message says all, or is about the table as a whole

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON; what it does not have is null."""
        named = {name: getattr(self, name) or None for name in ("file", "line", "sync", "key", "column")}
        return {**named, "message": self.message}

    def __str__(self) -> str:
        file = f"{self.file}:{self.line}" if self.line else self.file
        owner = f"{self.sync}, column {self.column}" if self.column and not self.key else self.sync
        key = f".{self.key}" if self.key and not self.key.startswith("[") else self.key
        place = f"meta.pendo{key}: " if self.shows_key else ""
        return f"{file}: {owner}: {place}{self.message}"


class MappingError(ConfigError):
    """Mappings are wrong, or do not fit their tables or Pendo.

    Args:
        problems: What is wrong, each with its place.
        hint: What to do about it.
    """

    def __init__(self, problems: Iterable[Problem], hint: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__(list(map(str, self.problems)), hint)


@dataclass(frozen=True, slots=True)
class Column:
    """A value read from a column of the model, named as the user wrote it."""

    name: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.name,)


@dataclass(frozen=True, slots=True)
class Value:
    """A constant, the same for every row."""

    value: Constant

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads: none."""
        return ()


Source: TypeAlias = Column | Value


@dataclass(frozen=True, slots=True)
class ParentChild:
    """An account id of the form ``Parent::Child``, as subscriptions with parent accounts have them (pendo-api.md 8.7).

    Both parts are names of columns.
    """

    parent: str
    child: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.parent, self.child)


@dataclass(frozen=True, slots=True)
class Field:
    """One Pendo field, event property or context entry, and where its value comes from."""

    name: str  # Pendo's word, as the user wrote it
    source: Source
    type: FieldType | None = None  # None leaves it to Pendo's schema and the column
    nulls: Nulls = "clear"
    on_invalid: OnInvalid = "row"  # what a value that cannot be sent costs
    group: Group = "custom"  # without meaning for events


@dataclass(frozen=True, slots=True)
class BodyField:
    """A field of a body that the warehouse writes: its key, the mapped column, and the type that Pendo wants."""

    key: str
    column: str
    type: FieldType | None


@dataclass(frozen=True, slots=True)
class BodyLayout:
    """What the body of one metadata group holds: the key of the id, and the fields."""

    id_key: str
    fields: tuple[BodyField, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """What a ``track_event`` sync says beside its key."""

    name: Source
    visitor_id: Source
    timestamp: Column
    account_id: Source | ParentChild | None = None
    properties: tuple[Field, ...] = ()
    context: tuple[Field, ...] = ()  # `ip`, `userAgent`, `url`, `title`
    app: str | None = None  # the app whose Track secret signs the request; None for the only one

    @property
    def ids(self) -> dict[str, Source | ParentChild]:
        """What an event says beside properties and context, by the keys of a mapping."""
        ids = {"event": self.name, "visitor_id": self.visitor_id, "timestamp": self.timestamp}
        return ids | ({"account_id": self.account_id} if self.account_id else {})


@dataclass(frozen=True, slots=True)
class Limit:
    """A guard such as ``max_changes``: a number of rows, or a share of them."""

    rows: int | None = None
    percent: float | None = None


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """One mapping of one dbt model to one kind of Pendo object."""

    name: str  # the model's name, or `model.name` where a model has several syncs
    unique_id: str  # dbt's id of the model
    file: str  # for messages
    object: Object
    key: str  # the column that identifies a record
    fields: tuple[Field, ...] = ()  # of visitors and accounts
    event: Event | None = None  # of a `track_event` only
    segment: str | None = None  # the name in Pendo, of a `segment` only
    take_over: bool = False  # whether the segment may be one whose members no run has put there
    replace: bool = False  # whether Pendo may empty the segment while it loads all members anew
    mode: Mode = "update"  # whether ids that Pendo does not know are skipped or created
    enabled: bool = True  # a disabled sync is checked but never run
    on_removed: OnRemoved = "keep"
    create_fields: bool = False
    batch_size: int = 500  # records in one request
    batch_adapts: bool = False  # whether later requests may have more, or fewer
    max_changes: Limit | None = None  # more added and changed rows block the sync
    max_removals: Limit | None = None
    max_invalid: Limit | None = None
    parent_key: str | None = None  # the column with the parent's id, where ids are of the form `Parent::Child`
    max_age: int | None = None  # seconds; events that are older are left out; None sends all
    allow_pii: bool = False  # whether columns may be sent that are marked as personal data

    @property
    def groups(self) -> tuple[Group, ...]:
        """The metadata groups that the sync writes to, each in requests of its own.

        Consents come last: a record has to be there, and its values are written before Pendo is told to ignore it.
        """
        groups = dict.fromkeys(field.group for field in self.fields if field.group != "pendo")
        if not self.consents:
            return tuple(groups)
        # No single value creates a record.
        return (*groups, "pendo") if groups or self.mode == "update" else ("custom", "pendo")

    @property
    def consents(self) -> dict[str, str]:
        """The columns of ``donotprocess`` and ``blacklistguides``, by the field, of those that are mapped."""
        return {
            one.name: one.source.name for one in self.fields if one.group == "pendo" and isinstance(one.source, Column)
        }

    @property
    def destination(self) -> str:
        """What the rows are delivered as: the object, the app of events, the name of a segment.

        What was delivered to one destination says nothing about another.
        """
        if self.segment is not None:
            return f"segment:{self.segment}"
        if self.event is not None and self.event.app:
            # The variable with its secret is in upper case: two spellings of one app are one destination.
            return f"{self.object}:{self.event.app.upper()}"
        return self.object

    @property
    def tracks_removals(self) -> bool:
        """Whether records that left the model are noted: an event that left it has still happened."""
        return self.event is None

    @property
    def sends_removals(self) -> bool:
        """Whether records that left the model are changed in Pendo too, and not only noted in the ledger."""
        return self.on_removed != "keep" or self.segment is not None

    @property
    def identifier(self) -> Column | ParentChild:
        """What identifies a record."""
        return ParentChild(self.parent_key, self.key) if self.parent_key else Column(self.key)

    @property
    def sections(self) -> dict[str, tuple[Field, ...]]:
        """The names that the sync fills, by the sections of its mapping."""
        if self.event is None:
            return {"fields": self.fields}
        return {"properties": self.event.properties, "context": self.event.context}

    @property
    def mapped(self) -> tuple[Field, ...]:
        """The names that the sync fills, of all sections."""
        return tuple(itertools.chain(*self.sections.values()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The model's columns this sync reads beside the key, each once, as the user wrote them."""
        sources = [*(self.event.ids.values() if self.event else ()), *(one.source for one in self.mapped)]
        return tuple(dict.fromkeys(name for source in sources for name in source.columns))

    @property
    def fingerprint(self) -> str:
        """32 hex digits that change whenever the mapping changes what is sent for a row."""
        mapped = {
            "object": self.object,
            "fields": [asdict(field) for field in self.fields],
            "event": asdict(self.event) if self.event else None,
        }
        canonical = json.dumps(mapped, sort_keys=True, default=str)
        # Nothing is sent again for a key that an earlier version did not know. Quotes within a value are escaped.
        canonical = canonical.replace('"on_invalid": "row", ', "")
        return hashlib.md5(canonical.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class CurrentRows:
    """How to tell the current rows of a snapshot's table from older versions of them."""

    valid_to: str = "dbt_valid_to"  # the column with the end of a version; null, or the SQL below, for a current row
    valid_to_current: str | None = None  # SQL: dbt's `dbt_valid_to_current`
    is_deleted: str = "dbt_is_deleted"  # the column that is 'True' for a deleted record (`hard_deletes: new_record`)


@dataclass(frozen=True, slots=True)
class Relation:
    """The table or view of a model."""

    name: str | None  # in full, quoted for the adapter; None when nothing is materialised
    database: str | None
    schema: str
    identifier: str  # its name in the schema


@dataclass(frozen=True, slots=True)
class Model:
    """A model, seed or snapshot of dbt's."""

    unique_id: str
    name: str
    relation: Relation
    materialized: str
    annotation: Annotation
    package: str = ""  # the dbt project or package; empty for a published build
    version: str | float | None = None
    ancestors: frozenset[str] = frozenset()  # the ids of all nodes that it is made of, near and far
    tests: frozenset[str] = frozenset()  # the ids of its tests, unit tests among them
    tests_above: frozenset[str] = frozenset()  # those of its ancestors alone
    is_placed_by_target: bool = False  # whether it names neither a database nor a schema of its own
    deferred_to: Relation | None = None  # where it is if its own table is not there
    owner: Mapping[str, Any] = field(default_factory=dict)  # of its group, as dbt's YAML has it
    is_private: bool = False  # whether only its own group may refer to it
    current_rows: CurrentRows | None = None  # None for models and seeds: each of their rows is current

    @property
    def is_annotated(self) -> bool:
        """Whether the model or one of its columns carries ``meta.pendo``; null there carries none."""
        return self.annotation.meta is not None or bool(self.annotation.columns)
