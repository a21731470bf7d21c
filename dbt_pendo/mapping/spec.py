"""What a mapping says: a sync, its fields, its event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Annotation:
    """The raw ``meta.pendo`` of one model and of its columns.

    Attributes:
        unique_id: dbt's id of the model, ``model.shop.pendo_visitors``.
        model: The model's name; for a versioned model with its version, ``dim_users_v2``.
        file: The YAML or SQL file that carries the annotation.
        meta: What stands under ``meta.pendo`` of the model; None when only columns carry it.
        columns: What stands under ``meta.pendo`` of each annotated column, by the column's name.
    """

    unique_id: str
    model: str
    file: str
    meta: Any
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a mapping.

    Attributes:
        file: The file to open.
        sync: The model (or ``model.name``) it is about.
        key: The path of the key at fault, ``fields.mrr.type``; empty for the mapping as a whole.
        message: What is wrong and what to write instead.
        column: The column whose own ``meta.pendo`` it is about; empty for the model's.
    """

    file: str
    sync: str
    key: str
    message: str
    column: str = ""

    def __str__(self) -> str:
        owner = f"{self.sync}, column {self.column}" if self.column else self.sync
        key = f".{self.key}" if self.key and not self.key.startswith("[") else self.key
        return f"{self.file}: {owner}: meta.pendo{key}: {self.message}"


@dataclass(frozen=True, slots=True)
class BodyField:
    """A field of a body: its key, the mapped column, and the type that Pendo wants."""

    key: str
    column: str
    type: FieldType | None


@dataclass(frozen=True, slots=True)
class BodyLayout:
    """What the body of one metadata group holds: the key of the id, and the fields."""

    id_key: str
    fields: tuple[BodyField, ...]


Object: TypeAlias = Literal["visitor", "account", "parent_account", "track_event", "segment"]
Mode: TypeAlias = Literal["update", "upsert"]
Group: TypeAlias = Literal["custom", "agent"]
Nulls: TypeAlias = Literal["clear", "skip"]
OnRemoved: TypeAlias = Literal["keep", "clear", "delete"]
FieldType: TypeAlias = Literal["string", "boolean", "integer", "float", "time", "list"]
Constant: TypeAlias = str | int | float | bool | tuple[str | int | float | bool, ...] | None


@dataclass(frozen=True, slots=True)
class Column:
    """A value read from a column of the model, named as the user wrote it."""

    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """A constant, the same for every row."""

    value: Constant


Source: TypeAlias = Column | Value


@dataclass(frozen=True, slots=True)
class ParentChild:
    """An account id of the form ``Parent::Child``, as subscriptions with parent accounts have them (pendo-api.md 8.7).

    Attributes:
        parent: The column with the parent account's id.
        child: The column with the account's own id.
    """

    parent: str
    child: str


@dataclass(frozen=True, slots=True)
class Field:
    """One Pendo field, event property or context entry, and where its value comes from.

    Attributes:
        name: Pendo's word, as the user wrote it.
        source: The column or constant.
        type: The type the user asked for; None leaves it to Pendo's schema and the column.
        nulls: Whether a null clears the field or leaves it alone.
        group: The metadata group the field belongs to; of no meaning for events.
    """

    name: str
    source: Source
    type: FieldType | None = None
    nulls: Nulls = "clear"
    group: Group = "custom"


@dataclass(frozen=True, slots=True)
class Event:
    """What a ``track_event`` sync says beside its key.

    Attributes:
        name: The event's name.
        visitor_id: Who did it.
        account_id: For which account, if mapped.
        timestamp: When.
        properties: The event's properties.
        context: ``ip``, ``userAgent``, ``url``, ``title``.
        app: Which app's Track secret signs the request; None for the only one.
    """

    name: Source
    visitor_id: Source
    timestamp: Column
    account_id: Source | ParentChild | None = None
    properties: tuple[Field, ...] = ()
    context: tuple[Field, ...] = ()
    app: str | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A guard such as ``max_changes``: a number of rows, or a share of the rows already delivered."""

    rows: int | None = None
    percent: float | None = None


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """One mapping of one dbt model to one kind of Pendo object.

    Attributes:
        name: The model's name, or ``model.name`` where a model has several syncs.
        unique_id: dbt's id of the model.
        file: The file that declares the mapping, for messages.
        object: The kind of Pendo object.
        key: The column that identifies a record.
        fields: The mapped fields of visitors and accounts.
        event: The mapping of a ``track_event``, else None.
        segment: The name of the Pendo segment of a ``segment`` sync, else None.
        mode: Whether ids that Pendo does not know are skipped or created.
        enabled: A disabled sync is checked but never run.
        on_removed: What happens in Pendo to records that left the model.
        create_fields: Whether fields Pendo lacks are created before the first row is sent.
        batch_size: Records in one request.
        max_changes: More added and changed rows than this block the sync.
        max_removals: More removed rows than this block the sync.
        parent_key: The column with the parent account's id, where ids are of the form ``Parent::Child``.
        max_age: Events older than so many seconds are left out; None leaves out none.
    """

    name: str
    unique_id: str
    file: str
    object: Object
    key: str
    fields: tuple[Field, ...] = ()
    event: Event | None = None
    segment: str | None = None
    mode: Mode = "update"
    enabled: bool = True
    on_removed: OnRemoved = "keep"
    create_fields: bool = False
    batch_size: int = 500
    max_changes: Limit | None = None
    max_removals: Limit | None = None
    parent_key: str | None = None
    max_age: int | None = None

    @property
    def groups(self) -> tuple[Group, ...]:
        """The metadata groups this sync writes to, each in a request of its own."""
        return tuple(dict.fromkeys(field.group for field in self.fields))

    @property
    def destination(self) -> str:
        """What its rows are delivered as: the object, the app of events, the name of a segment.

        What was delivered to one destination says nothing of another.
        """
        if self.segment is not None:
            return f"segment:{self.segment}"
        if self.event is not None and self.event.app:
            # The variable with its secret is in upper case: two spellings of one app are one destination.
            return f"{self.object}:{self.event.app.upper()}"
        return self.object

    @property
    def tracks_removals(self) -> bool:
        """Whether records that left the model are noted: an event that left it has happened all the same."""
        return self.event is None

    @property
    def sends_removals(self) -> bool:
        """Whether Pendo is told of records that left the model; else they are noted in the ledger alone."""
        return self.on_removed != "keep" or self.segment is not None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every source beside the key, in the order of the mapping."""
        if self.event is None:
            return tuple(field.source for field in self.fields)
        event = self.event
        account = event.account_id
        accounts = (Column(account.parent), Column(account.child)) if isinstance(account, ParentChild) else (account,)
        ids = (event.name, event.visitor_id, event.timestamp, *accounts)
        mapped = (mapping.source for mapping in (*event.properties, *event.context))
        return (*(source for source in ids if source is not None), *mapped)

    @property
    def columns(self) -> tuple[str, ...]:
        """The model's columns this sync reads beside the key, each once, as the user wrote them."""
        return tuple(dict.fromkeys(source.name for source in self.sources if isinstance(source, Column)))

    @property
    def fingerprint(self) -> str:
        """32 hex digits that change whenever the mapping changes what is sent for a row."""
        mapped = {
            "object": self.object,
            "fields": [asdict(field) for field in self.fields],
            "event": asdict(self.event) if self.event else None,
        }
        canonical = json.dumps(mapped, sort_keys=True, default=str)
        return hashlib.md5(canonical.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class CurrentRows:
    """How to tell the current rows of a snapshot's table from older versions of them."""

    valid_to: str = "dbt_valid_to"  # the column with the end of a version; null, or the SQL below, for a current row
    valid_to_current: str | None = None  # SQL: dbt's `dbt_valid_to_current`
    is_deleted: str = "dbt_is_deleted"  # the column that is 'True' for a deleted record (`hard_deletes: new_record`)


@dataclass(frozen=True, slots=True)
class Model:
    """A model, seed or snapshot of dbt's."""

    unique_id: str
    name: str
    relation_name: str | None  # the table or view, quoted for the adapter; None when nothing is materialised
    database: str | None
    schema: str
    identifier: str  # the name of the table or view
    materialized: str
    annotation: Annotation
    package: str = ""  # the dbt project or package; empty for a published build
    version: str | float | None = None
    ancestors: frozenset[str] = frozenset()  # the ids of all nodes that it is made of, near and far
    tests: frozenset[str] = frozenset()  # the ids of its tests, unit tests among them
    owner: Mapping[str, Any] = field(default_factory=dict)  # of its group, as dbt's YAML has it
    is_private: bool = False  # whether only its own group may refer to it
    current_rows: CurrentRows | None = None  # None for models and seeds: each of their rows is current

    @property
    def is_annotated(self) -> bool:
        """Whether the model or one of its columns carries ``meta.pendo``; null there carries none."""
        return self.annotation.meta is not None or bool(self.annotation.columns)
