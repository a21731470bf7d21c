"""Column-level ``meta.pendo``: the short way to map a column beside its description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dbt_pendo.spec.definition import column_target, id_key
from dbt_pendo.spec.place import Place
from dbt_pendo.spec.sync import Column, Object
from dbt_pendo.spec.values import Mapped, read_name
from dbt_pendo.spec.wording import article, found, quoted

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
