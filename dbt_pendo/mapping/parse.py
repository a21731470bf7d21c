"""Reads `meta.pendo` of all models: syncs, or every mistake in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dbt_pendo.mapping.keys import (
    FIELD_TYPES,
    KEYS,
    NAME,
    OBJECTS,
    RECORDS,
    Choice,
    Use,
    column_target,
    id_key,
    instead_of,
    keys_of,
    matches,
)
from dbt_pendo.mapping.kinds import Mapped, Place, read, read_choice, read_name, takes, unknown_key
from dbt_pendo.mapping.objects import is_field_name
from dbt_pendo.mapping.spec import (
    Annotation,
    Column,
    Event,
    Field,
    Group,
    Nulls,
    Object,
    ParentChild,
    Problem,
    SyncSpec,
)
from dbt_pendo.wording import article, choices, found, listing, quoted

_FORMS = "expected the Pendo name this column fills, or `true` to keep the column's name"


def mapped_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that are mapped, or meant to be: ``false`` and null map nothing."""
    return {column: value for column, value in columns.items() if value is not None and value is not False}


def column_entries(columns: Mapping[str, Any], kind: Object | None, place: Place) -> tuple[Mapped, ...]:
    """What the columns add to ``fields`` or ``properties``.

    Args:
        columns: The mapped columns, each with its ``meta.pendo``.
        kind: The sync's object; None if it is not known, and then only the form can be checked.
        place: Where the sync stands.

    Returns:
        The entries of the columns without a problem.
    """
    entries = (_entry(column, value, kind, replace(place, key="", column=column)) for column, value in columns.items())
    return tuple(entry for entry in entries if entry)


def _entry(column: str, value: Any, kind: Object | None, place: Place) -> Mapped | None:
    name = column if value is True else value
    if not isinstance(name, str) or not name.strip():
        place.wrong(f"{_FORMS}, found {found(value)}")
        return None
    if kind is None:
        return None
    target = column_target(kind)
    if target is None:
        place.wrong(f"{article(kind)} takes nothing from a column but {quoted(id_key(kind))}; remove this")
        return None
    _, mappings = target
    return Mapped(name, Column(column), {}, place) if read_name(mappings, name, place) else None


_KEYS = {key.name: key for key in KEYS}
_SPEC_FIELDS = frozenset(field.name for field in dataclasses.fields(SyncSpec))


def read_sync(meta: dict[str, Any], columns: Mapping[str, Any], unique_id: str, place: Place) -> SyncSpec | None:
    """Reads one mapping.

    Args:
        meta: The mapping as the user wrote it.
        columns: The column-level ``meta.pendo`` that adds to it, unmapped columns left out.
        unique_id: dbt's id of the model.
        place: Where the mapping stands; it is told every problem.

    Returns:
        The sync, or None when the mapping has a problem.
    """
    kind: Object | None = None
    if "object" in meta:
        kind = read_choice(Choice(OBJECTS), meta["object"], place.at("object"))
    uses = keys_of(kind) if kind else _undisputed()
    given, meant = _read_keys(meta, kind, uses, place)
    if "object" not in meta and "object" not in meant:
        place.at("object").wrong(f"missing; expected {choices(OBJECTS)}")
    by_column = column_entries(columns, kind, place)
    if kind is None:
        return None

    for key, use in uses.items():
        if use.required and key not in meta and key not in meant:
            place.at(key).wrong(f"missing; {article(kind)} needs it")
    if target := column_target(kind):
        into, _ = target
        given[into] = (*(given[into] or ()), *by_column)
        _check_twice(given[into], kind, given.get("group"))
    if kind in RECORDS and not columns:
        _check_empty(meta, meant, place)
    return None if place.problems else _spec(given, kind, unique_id, place)


def _undisputed() -> dict[str, Use]:
    """The keys that mean the same whatever the object is: those to read when it is not known."""
    uses = {key.name: list(key.uses.values()) for key in KEYS}
    return {name: first for name, (first, *others) in uses.items() if all(use == first for use in others)}


def _read_keys(
    meta: dict[str, Any], kind: Object | None, uses: dict[str, Use], place: Place
) -> tuple[dict[str, Any], set[str | None]]:
    """The values of the object's keys, defaults filled in, and the keys that wrong ones were meant to be."""
    given = {key: use.default for key, use in uses.items()}
    meant: set[str | None] = set()
    for key, value in meta.items():
        at = place.at(key)
        if key in uses:
            read_value = _read_key(key, kind, uses[key], value, at)
            given[key] = uses[key].default if read_value is None else read_value
        elif key not in _KEYS:
            known = tuple(uses) if kind else tuple(_KEYS)
            owner = f"{article(kind)} takes" if kind else "the keys are"
            meant.add(unknown_key(key, known, f"{owner} {listing(map(quoted, known))}", at))
        elif kind:
            meant.add(_misplaced(key, kind, at))
    return given, meant


def _read_key(key: str, kind: Object | None, use: Use, value: Any, place: Place) -> Any:
    elsewhere = [name for name, other in _KEYS[key].uses.items() if takes(other.kind, value)]
    if kind and elsewhere and kind not in elsewhere and isinstance(use.kind, Choice):
        place.wrong(
            f"{quoted(value)} is for {listing(elsewhere)}; {article(kind)} takes only {choices(use.kind.values)}"
        )
        return None
    return read(use.kind, value, place)


def _misplaced(key: str, kind: Object, place: Place) -> str | None:
    """Notes a key of other objects, and returns the one this object has in its stead."""
    instead = instead_of(_KEYS[key], kind)
    hint = f"; {article(kind)} has {quoted(instead)}" if instead else f", not to {article(kind)}"
    place.wrong(f"{quoted(key)} belongs to {listing(_KEYS[key].uses)}{hint}")
    return instead


def _check_empty(meta: dict[str, Any], meant: set[str | None], place: Place) -> None:
    """Notes a sync that only says which ids it is about, unless a misspelt key says why."""
    updates = meta.get("mode", "update") == "update"
    if updates and meta.get("fields", {}) == {} and not meant.intersection({"fields", "mode"}):
        place.at("fields").wrong("maps no fields; map some, or write `mode: upsert` if creating ids is the point")


def _check_twice(entries: Iterable[Mapped], kind: Object, group: Group | None) -> None:
    first: dict[object, Mapped] = {}
    for entry in entries:
        # Pendo folds the case of a field's key. Display names may differ by case alone, and of property names nothing
        # is known.
        name = entry.name.lower() if kind in RECORDS and is_field_name(entry.name) else entry.name
        target = (name, entry.options.get("group", group))
        earlier = first.setdefault(target, entry)
        if earlier is not entry:
            case = " (Pendo ignores case)" if earlier.name != entry.name else ""
            entry.place.wrong(f"fills {quoted(entry.name)} as {earlier.place} does{case}; keep one of them")


def _spec(given: dict[str, Any], kind: Object, unique_id: str, place: Place) -> SyncSpec:
    same = {key: value for key, value in given.items() if key in _SPEC_FIELDS}
    key = given[id_key(kind)]
    built = {
        "name": place.sync,
        "unique_id": unique_id,
        "file": place.file,
        "key": key.child if isinstance(key, ParentChild) else key.name,
        "parent_key": key.parent if isinstance(key, ParentChild) else None,
        "fields": _mappings(given.get("fields"), given["nulls"], given.get("group", "custom")),
        "event": _event(given) if kind == "track_event" else None,
    }
    return SyncSpec(**(same | built))


def _event(given: dict[str, Any]) -> Event:
    return Event(
        name=given["event"],
        visitor_id=given["visitor_id"],
        timestamp=given["timestamp"],
        account_id=given["account_id"],
        properties=_mappings(given["properties"], given["nulls"]),
        # An empty address or title tells Pendo nothing; the sync's `nulls` is about properties.
        context=_mappings(given["context"], "skip"),
        app=given["app"],
    )


def _mappings(entries: Iterable[Mapped] | None, nulls: Nulls, group: Group = "custom") -> tuple[Field, ...]:
    return tuple(
        Field(
            name=entry.name,
            source=entry.source,
            type=FIELD_TYPES[entry.options["type"]] if "type" in entry.options else None,
            nulls=entry.options.get("nulls", nulls),
            group=entry.options.get("group", group),
        )
        for entry in entries or ()
    )


_EXPECTED = "expected a mapping with `object` and its id"
_TO_LEAVE_OUT = (
    "Write null to take the model out of a mapping that it inherits, or `enabled: false` inside a mapping to check it "
    "and never sync it"
)


@dataclass(frozen=True, slots=True)
class _Model:
    """What one annotation was read as."""

    annotation: Annotation
    names: list[str] = field(default_factory=list)
    specs: list[SyncSpec] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def parse_syncs(annotations: Iterable[Annotation]) -> tuple[list[SyncSpec], list[Problem]]:
    """Reads the annotations of all models.

    Args:
        annotations: What the manifest says about Pendo, a model each.

    Returns:
        The syncs of the models without a problem, and the problems of all others: model by model, then those
        between models. Nothing that a user can write makes this raise.
    """
    models = [_read_model(annotation) for annotation in annotations]
    problems = [problem for model in models for problem in model.problems]
    collisions, colliding = _collisions(models)
    sound = [model for model in models if not model.problems and model.annotation.unique_id not in colliding]
    return [spec for model in sound for spec in model.specs], problems + collisions


def _read_model(annotation: Annotation) -> _Model:
    model = _Model(annotation)
    place = Place(annotation.file, annotation.model, problems=model.problems)
    columns = mapped_columns(annotation.columns)
    match annotation.meta:
        case None if columns:
            place.wrong(f"missing, though {_named(columns)} mapped; write `object` and its id on the model")
            column_entries(columns, None, place)
        case None:
            pass  # Columns that say `false` ask for nothing.
        case empty if not empty:
            place.wrong(f"{_EXPECTED}, or a list of such mappings; found {_empty(empty)}. {_TO_LEAVE_OUT}")
        case dict() as meta:
            _read_mapping(model, meta, columns, place)
        case list() as metas:
            if columns:
                place.wrong(
                    f"is a list, so which sync {_named(columns)} mapped for is not clear; "
                    "map under `fields` or `properties` of the sync you mean"
                )
            for index, meta in enumerate(metas):
                _read_item(model, meta, place.at(f"[{index}]"))
        case other:
            place.wrong(f"{_EXPECTED}, or a list of such mappings; found {found(other)}")
    return model


def _read_item(model: _Model, meta: Any, place: Place) -> None:
    if not isinstance(meta, dict):
        place.wrong(f"{_EXPECTED}, found {found(meta)}")
        return
    if "name" not in meta:
        place.at("name").wrong("missing; each sync of a list needs one")
    _read_mapping(model, meta, {}, place)


def _read_mapping(model: _Model, meta: dict[str, Any], columns: dict[str, Any], place: Place) -> None:
    name = meta.get("name")
    if isinstance(name, str) and matches(NAME.pattern, name):
        # Its name says better than its index which sync of a list it is.
        place = replace(place, sync=f"{place.sync}.{name}", key="")
    # An item of a list without a name was told so, and must not collide with its neighbour as well.
    if not place.key:
        model.names.append(place.sync)
    if spec := read_sync(meta, columns, model.annotation.unique_id, place):
        model.specs.append(spec)


def _empty(value: Any) -> str:
    if isinstance(value, list | dict):
        return "an empty list" if isinstance(value, list) else "an empty mapping"
    return found(value)


def _named(columns: dict[str, Any]) -> str:
    verb = "is" if len(columns) == 1 else "are"
    return f"{'column' if len(columns) == 1 else 'columns'} {listing(map(quoted, columns))} {verb}"


def _collisions(models: Iterable[_Model]) -> tuple[list[Problem], set[str]]:
    """The syncs that would share a ledger, and the models they belong to.

    A sync's tables are named after it, with ``__`` for the dot, and warehouses tend to ignore case.
    """
    first: dict[str, tuple[str, Annotation]] = {}
    problems: list[Problem] = []
    colliding: set[str] = set()
    for model in models:
        mine = model.annotation
        for name in model.names:
            table = name.replace(".", "__").lower()
            if table not in first:
                first[table] = name, mine
                continue
            other, theirs = first[table]
            if name != other:
                message = f"shares its tables with {quoted(other)} ({theirs.file}); change a `name`"
            elif mine.unique_id != theirs.unique_id:
                message = f"{theirs.unique_id} ({theirs.file}) has a sync of this name; give one a `name`"
            else:
                message = "another sync of the model has this name; give it its own"
            problems.append(Problem(mine.file, name, "name", message))
            colliding |= {mine.unique_id, theirs.unique_id}
    return problems, colliding
