"""Reads ``meta.pendo`` of all models: syncs, or every mistake in them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dbt_pendo.mapping.describe import key_reading
from dbt_pendo.mapping.keys import FIELD_TYPES, KEYS, KEYS_OF, NAME, Use, instead_of
from dbt_pendo.mapping.kinds import Choice, Entry, Place, matches
from dbt_pendo.mapping.objects import FIELD_NAME, OBJECTS, RECORDS
from dbt_pendo.mapping.spec import (
    PII,
    Annotation,
    Column,
    Event,
    Field,
    Group,
    Nulls,
    Object,
    OnInvalid,
    ParentChild,
    Problem,
    SyncSpec,
)
from dbt_pendo.wording import article, choices, found, listing, quoted

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


def parse_syncs(
    annotations: Iterable[Annotation], refuse_tags: Collection[str] = (), with_flawed: bool = False
) -> tuple[list[SyncSpec], list[Problem]]:
    """Reads the annotations of all models.

    Args:
        annotations: The annotations.
        refuse_tags: Tags of columns that may not be sent unless the mapping says `allow_pii`.
        with_flawed: Whether to return also what could be read of mappings with a problem: enough to look for more, and
            never to be delivered.

    Returns:
        The syncs of the models without a problem, and the problems of all others: model by model, then those
        between models. Nothing that a user can write makes this raise.
    """
    models = [_read_model(annotation) for annotation in annotations]
    for model in models:
        _check_personal(model, {PII, *refuse_tags})
    problems = [problem for model in models for problem in model.problems]
    collisions, colliding = _collisions(models)
    if with_flawed:
        return [spec for model in models for spec in model.specs], problems + collisions
    sound = [model for model in models if not model.problems and model.annotation.unique_id not in colliding]
    return [spec for model in sound for spec in model.specs], problems + collisions


def _read_model(annotation: Annotation) -> _Model:
    model = _Model(annotation)
    place = Place(annotation.file, annotation.model, unique_id=annotation.unique_id, problems=model.problems)
    # `false` and null map nothing.
    columns = {name: meta for name, meta in annotation.columns.items() if meta is not None and meta is not False}
    meta = annotation.meta
    if isinstance(meta, dict) and meta:
        _read_mapping(model, meta, columns, place)
    elif isinstance(meta, list) and meta:
        if columns:
            place.wrong(
                f"is a list, so which sync {_name_columns(columns)} mapped for is not clear; "
                "map under `fields` or `properties` of the sync you mean"
            )
        for index, item in enumerate(meta):
            at = place.at(f"[{index}]")
            if not isinstance(item, dict):
                at.wrong(f"{_EXPECTED}, found {found(item)}")
                continue
            if "name" not in item:
                at.at("name").wrong("missing; each sync of a list needs one")
            _read_mapping(model, item, {}, at)
    elif meta is None:
        if columns:
            place.wrong(f"missing, though {_name_columns(columns)} mapped; write `object` and its id on the model")
            _column_entries(columns, None, place)
    else:
        advice = "" if meta else f". {_TO_LEAVE_OUT}"
        place.wrong(f"{_EXPECTED}, or a list of such mappings; found {found(meta)}{advice}")
    return model


def _check_personal(model: _Model, refused: Collection[str]) -> None:
    """Notes each mapped column that is marked as personal data, unless the mapping allows it."""
    marks = model.annotation.marks
    for spec in model.specs:
        for column in () if spec.allow_pii else dict.fromkeys((*spec.identifier.columns, *spec.columns)):
            if found_marks := [mark for mark in marks.get(column.lower(), ()) if mark in refused]:
                how = "`meta.pii`" if PII in found_marks else f"the tag {quoted(found_marks[0])}"
                message = f"{quoted(column)} is personal data by {how}; leave it out, or write `allow_pii: true`"
                key = key_reading(spec, column)
                model.problems.append(Problem(spec.file, spec.name, key, message, column, unique_id=spec.unique_id))


def _name_columns(columns: dict[str, Any]) -> str:
    noun, verb = ("column", "is") if len(columns) == 1 else ("columns", "are")
    return f"{noun} {listing(map(quoted, columns))} {verb}"


def _read_mapping(model: _Model, meta: dict[str, Any], columns: dict[str, Any], place: Place) -> None:
    name = meta.get("name")
    if matches(name, NAME.pattern):
        # Its name says better than its index which sync of a list it is.
        place = replace(place, sync=f"{place.sync}.{name}", key="")
    # An item of a list without a name has that problem already, and must not collide with its neighbour as well.
    if not place.key:
        model.names.append(place.sync)
    if spec := _read_sync(meta, columns, model.annotation.unique_id, place):
        model.specs.append(spec)


def _read_sync(meta: dict[str, Any], columns: Mapping[str, Any], unique_id: str, place: Place) -> SyncSpec | None:
    """Reads one mapping and the mapped columns that add to it, as far as that goes; the place notes the problems.

    Returns:
        What could be read; None without the object, or a value that each of its rows needs.
    """
    kind: Object | None = None
    if "object" in meta:
        kind = Choice(tuple(OBJECTS)).read(place.at("object"), meta["object"])
    uses = KEYS_OF[kind] if kind else _undisputed()
    given, meant = _read_keys(meta, kind, uses, place)
    if "object" not in meta and "object" not in meant:
        place.at("object").wrong(f"missing; expected {choices(OBJECTS)}")
    by_column = _column_entries(columns, kind, place)
    if kind is None:
        return None

    for key, use in uses.items():
        if use.required and key not in meta and key not in meant:
            place.at(key).wrong(f"missing; {article(kind)} needs it")
    if target := OBJECTS[kind].section:
        given[target] = _check_twice((*(given[target] or ()), *by_column), kind, given.get("group"))
        _check_consents(given[target])
    # Any number of records may be in a request (pendo-api.md 3); of events one, of a segment 1,000.
    given["batch_adapts"] = kind in RECORDS and "batch_size" not in meta
    if kind in RECORDS and not columns:
        _check_empty(meta, meant, place)
    # Nothing that each row needs has a default.
    is_enough = all(given[key] is not None for key, use in uses.items() if use.required)
    return _spec(given, kind, unique_id, place) if is_enough else None


def _undisputed() -> Mapping[str, Use]:
    """Returns the keys that mean the same whatever the object is: those to read when it is not known."""
    uses = {name: list(key.uses.values()) for name, key in KEYS.items()}
    return {name: first for name, (first, *others) in uses.items() if all(use == first for use in others)}


def _read_keys(
    meta: dict[str, Any], kind: Object | None, uses: Mapping[str, Use], place: Place
) -> tuple[dict[str, Any], set[str | None]]:
    """Returns the values of the object's keys, defaults filled in, and the keys that wrong ones were meant to be."""
    given = {key: None if use.default is None else use.kind.read(place, use.default) for key, use in uses.items()}
    meant: set[str | None] = set()
    for key, value in meta.items():
        at = place.at(key)
        if key in uses:
            noted, read = len(place.problems), uses[key].kind.read(at, value)
            if read is not None or len(place.problems) == noted:
                given[key] = read
            continue
        instead = None
        if key not in KEYS:
            known = tuple(uses) if kind else tuple(KEYS)
            owner = f"{article(kind)} takes" if kind else "the keys are"
            instead = at.unknown_key(key, known, f"{owner} {listing(map(quoted, known))}")
            meant.add(instead)
        elif kind:
            # A key of other objects.
            instead = instead_of(key, kind)
            hint = f"; {article(kind)} has {quoted(instead)}" if instead else f", not to {article(kind)}"
            at.wrong(f"{quoted(key)} belongs to {listing(itertools.chain(*KEYS[key].uses))}{hint}")
            meant.add(instead)
        if instead is not None and instead in uses and instead not in meta:
            # What is wrong in it is told once its key is right.
            given[instead] = uses[instead].kind.read(replace(at, problems=[]), value) or given[instead]
    return given, meant


def _column_entries(columns: Mapping[str, Any], kind: Object | None, place: Place) -> list[Entry]:
    """Returns what the columns add to ``fields`` or ``properties``; of an unknown object only the form is checked."""
    entries = []
    for column, meta in columns.items():
        at = replace(place, key="", column=column)
        name = column if meta is True else meta
        if not isinstance(name, str) or not name.strip():
            at.wrong(
                f"expected the Pendo name this column fills, or `true` to keep the column's name, found {found(name)}"
            )
        elif kind and OBJECTS[kind].section is None:
            at.wrong(f"{article(kind)} takes nothing from a column but {quoted(OBJECTS[kind].key)}; remove this")
        elif kind:
            entries.append(Entry(name, Column(column), {}, at))
    return entries


def _check_empty(meta: dict[str, Any], meant: set[str | None], place: Place) -> None:
    """Notes a sync that only says which ids it is about, unless a misspelt key says why."""
    updates = meta.get("mode", "update") == "update"
    if updates and meta.get("fields", {}) == {} and meant.isdisjoint({"fields", "mode"}):
        place.at("fields").wrong("maps no fields; map some, or write `mode: upsert` if creating ids is the point")


def _check_twice(entries: Iterable[Entry], kind: Object, group: Group | None) -> tuple[Entry, ...]:
    """Notes each name that is filled twice, and returns the entries without the later ones."""
    first: dict[object, Entry] = {}
    for entry in entries:
        # Pendo folds the case of a field's key. Display names may differ by case alone, and of property names nothing
        # is known.
        name = entry.name.lower() if kind in RECORDS and FIELD_NAME.fullmatch(entry.name) else entry.name
        target = (name, entry.options.get("group", group))
        earlier = first.setdefault(target, entry)
        if earlier is not entry:
            case = " (Pendo ignores case)" if earlier.name != entry.name else ""
            entry.place.wrong(f"fills {quoted(entry.name)} as {earlier.place} does{case}; keep one of them")
    return tuple(first.values())


def _check_consents(entries: Sequence[Entry]) -> None:
    """Notes a consent whose column fills something else: what is sent of it are changes alone."""
    for entry in entries:
        others = [one for one in entries if one is not entry and one.source == entry.source]
        if entry.options.get("group") == "pendo" and others:
            entry.place.wrong(
                f"has the column of {others[0].place}; keep one of them, as a consent takes a column of its own"
            )


def _spec(given: dict[str, Any], kind: Object, unique_id: str, place: Place) -> SyncSpec:
    # Most keys are fields of the same name.
    same = {name: value for name, value in given.items() if name in SyncSpec.__slots__}
    key = given[OBJECTS[kind].key]
    built = {
        "name": place.sync,
        "unique_id": unique_id,
        "file": place.file,
        "key": key.child if isinstance(key, ParentChild) else key.name,
        "parent_key": key.parent if isinstance(key, ParentChild) else None,
        "fields": _fields(given.get("fields"), given["nulls"], given["on_invalid"], given.get("group", "custom")),
        "event": _event(given) if kind == "track_event" else None,
    }
    return SyncSpec(**(same | built))


def _event(given: dict[str, Any]) -> Event:
    return Event(
        name=given["event"],
        visitor_id=given["visitor_id"],
        timestamp=given["timestamp"],
        account_id=given["account_id"],
        properties=_fields(given["properties"], given["nulls"], given["on_invalid"]),
        # An empty address or title tells Pendo nothing; the sync's `nulls` is about properties.
        context=_fields(given["context"], "skip", given["on_invalid"]),
        app=given["app"],
    )


def _fields(
    entries: Iterable[Entry] | None, nulls: Nulls, on_invalid: OnInvalid, group: Group = "custom"
) -> tuple[Field, ...]:
    fields = []
    for entry in entries or ():
        given = {name: value for name, value in entry.options.items() if value is not None}
        options = {"nulls": nulls, "on_invalid": on_invalid, "group": group, "type": "", **given}
        if options["group"] == "pendo":
            options |= {"nulls": "skip", "type": "boolean"}
        fields.append(Field(entry.name, entry.source, **(options | {"type": FIELD_TYPES.get(options["type"])})))
    return tuple(fields)


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
            owner = "another sync of the model" if mine is theirs else f"{quoted(other)} ({theirs.file})"
            message = f"shares its tables with {owner}; change a `name`"
            problems.append(Problem(mine.file, name, "name", message, unique_id=mine.unique_id))
            colliding |= {mine.unique_id, theirs.unique_id}
    return problems, colliding
