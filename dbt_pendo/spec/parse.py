"""The annotations of all models → the syncs, or everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from dbt_pendo.spec.annotation import Annotation, Problem
from dbt_pendo.spec.columns import column_entries, mapped_columns
from dbt_pendo.spec.definition import NAME, matches
from dbt_pendo.spec.mapping import read_sync
from dbt_pendo.spec.place import Place
from dbt_pendo.spec.sync import SyncSpec
from dbt_pendo.spec.wording import found, listing, quoted

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
