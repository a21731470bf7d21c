"""One mapping of ``meta.pendo`` → one frozen sync."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping as AbstractMapping
from typing import Any

from dbt_pendo.spec.columns import column_entries
from dbt_pendo.spec.definition import (
    FIELD_TYPES,
    KEYS,
    OBJECTS,
    RECORDS,
    Choice,
    Use,
    column_target,
    id_key,
    instead_of,
    keys_of,
)
from dbt_pendo.spec.field_names import is_field_name
from dbt_pendo.spec.place import Place
from dbt_pendo.spec.sync import Event, Group, Mapping, Nulls, Object, ParentChild, SyncSpec
from dbt_pendo.spec.values import Mapped, read, read_choice, takes, unknown_key
from dbt_pendo.spec.wording import article, choices, listing, quoted

_KEYS = {key.name: key for key in KEYS}
_SPEC_FIELDS = frozenset(field.name for field in dataclasses.fields(SyncSpec))


def read_sync(
    meta: dict[str, Any], columns: AbstractMapping[str, Any], unique_id: str, place: Place
) -> SyncSpec | None:
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


def _mappings(entries: Iterable[Mapped] | None, nulls: Nulls, group: Group = "custom") -> tuple[Mapping, ...]:
    return tuple(
        Mapping(
            name=entry.name,
            source=entry.source,
            type=FIELD_TYPES[entry.options["type"]] if "type" in entry.options else None,
            nulls=entry.options.get("nulls", nulls),
            group=entry.options.get("group", group),
        )
        for entry in entries or ()
    )
