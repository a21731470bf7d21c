"""Reads each kind of value that a key of `meta.pendo` may have."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dbt_pendo.mapping.keys import (
    NOT_BLANK,
    Age,
    Choice,
    ColumnOnly,
    Count,
    Guard,
    Kind,
    Mappings,
    Text,
    TextSource,
    matches,
)
from dbt_pendo.mapping.spec import Column, Limit, ParentChild, Problem, Source, Value
from dbt_pendo.wording import choices, closest, found, listing, quoted


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the annotation of one model; every place inside it shares its list of problems.

    Attributes:
        file: The file that carries the annotation.
        sync: The model (or ``model.name``).
        key: The path of the key.
        column: The column, for column-level ``meta.pendo``.
        problems: All that was found wrong so far.
    """

    file: str
    sync: str
    key: str = ""
    column: str = ""
    problems: list[Problem] = field(default_factory=list)

    def at(self, key: str) -> Place:
        """The place of a key inside this one."""
        return replace(self, key=f"{self.key}.{key}" if self.key else key)

    def wrong(self, message: str) -> None:
        """Notes a problem at this place."""
        self.problems.append(Problem(self.file, self.sync, self.key, message, self.column))

    def __str__(self) -> str:
        return f"column `{self.column}`" if self.column else f"`{self.key}`"


_JOINED = ("parent", "child")


_SECONDS = {"minute": 60, "hour": 3600, "day": 24 * 3600, "week": 7 * 24 * 3600}


@dataclass(frozen=True, slots=True)
class Mapped:
    """One entry of ``fields``, ``properties`` or ``context``, before the sync's defaults are filled in."""

    name: str
    source: Source
    options: dict[str, Any]
    place: Place


def read(kind: Kind, value: Any, place: Place) -> Any:
    """The value as the spec holds it, or None with a problem noted."""
    match kind:
        case Choice():
            return read_choice(kind, value, place)
        case Text():
            return _text(kind, value, place)
        case Count():
            return _count(kind, value, place)
        case Guard():
            return _guard(kind, value, place)
        case Age():
            return _age(kind, value, place)
        case ColumnOnly():
            return _column_only(kind, value, place)
        case TextSource():
            return _text_source(kind, value, place)
        case Mappings():
            return _mappings(kind, value, place)


def takes(kind: Kind, value: Any) -> bool:
    """Whether a choice has the value; ``1`` and ``true`` are two things, whatever Python says."""
    return isinstance(kind, Choice) and any(type(value) is type(it) and value == it for it in kind.values)


def read_choice(kind: Choice, value: Any, place: Place) -> Any:
    """One of the choice's values."""
    if takes(kind, value):
        return value
    words = [choice for choice in kind.values if isinstance(choice, str)]
    hint = ""
    if isinstance(value, str) and (meant := closest(value, words)):
        hint = f"; did you mean {quoted(meant)}?"
    elif isinstance(value, str) and value.strip() and not words:
        hint = "; drop the quotes, or end the Jinja expression with `| as_bool`"
    place.wrong(f"expected {choices(kind.values)}, found {found(value)}{hint}")
    return None


def read_name(kind: Mappings, name: str, place: Place) -> bool:
    """Whether Pendo takes the name on the left side of a mapping; notes a problem if not."""
    if kind.names:
        if name not in kind.names:
            unknown_key(name, kind.names, f"expected {choices(kind.names)}", place)
        return name in kind.names
    if matches(NOT_BLANK, name):
        return True
    place.wrong("Pendo's name is empty")
    return False


def unknown_key(name: str, known: Sequence[str], otherwise: str, place: Place) -> str | None:
    """Notes an unknown key, and returns the known one that was likely meant."""
    meant = closest(name, known)
    place.wrong(f"unknown key; did you mean {quoted(meant)}?" if meant else f"unknown key; {otherwise}")
    return meant


def _text(kind: Text, value: Any, place: Place) -> str | None:
    if isinstance(value, str) and matches(kind.pattern, value):
        return value
    place.wrong(f"expected {kind.rule}, found {found(value)}{_quote_hint(value)}")
    return None


def _quote_hint(value: Any) -> str:
    """YAML reads ``yes`` as true and ``123`` as a number: a name like that needs quotes."""
    return "; put it in quotes if that is the name" if isinstance(value, (bool, int, float)) else ""


def _count(kind: Count, value: Any, place: Place) -> int | None:
    if _is_whole(value) and 1 <= value <= kind.maximum:
        return int(value)
    hint = _unquote_hint(value)
    place.wrong(f"expected a whole number from 1 to {kind.maximum:,}, found {found(value)}{hint}")
    return None


def _guard(kind: Guard, value: Any, place: Place) -> Limit | None:
    if _is_whole(value) and value >= 0:
        return Limit(rows=value)
    if isinstance(value, str) and matches(kind.pattern, value):
        return Limit(percent=float(value.rstrip("% ")))
    hint = _unquote_hint(value)
    place.wrong(f"expected a count such as `1000` or a percentage such as `20%`, found {found(value)}{hint}")
    return None


def _age(kind: Age, value: Any, place: Place) -> int | None:
    if isinstance(value, str) and matches(kind.pattern, value):
        number, unit = re.findall("[0-9]+|[a-z]+", value)
        return int(number) * _SECONDS[unit.rstrip("s")]
    place.wrong(f"expected an age such as `7 days`, `36 hours` or `30 minutes`, found {found(value)}")
    return None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unquote_hint(value: Any) -> str:
    return "; drop the quotes" if isinstance(value, str) and matches("^[0-9]+$", value) else ""


def _column_only(kind: ColumnOnly, value: Any, place: Place) -> Column | ParentChild | None:
    if not isinstance(value, dict):
        return _column(value, place)
    if kind.joined and value.keys() & _JOINED:
        return _parent_child(value, place)
    if "value" in value:
        place.at("value").wrong("must come from a column, as every row has its own; write the column's name")
        return None
    named = _long_form(value, ("column",), (), place)
    return _column(value["column"], place.at("column")) if named else None


def _text_source(kind: TextSource, value: Any, place: Place) -> Source | ParentChild | None:
    if not isinstance(value, dict):
        return _column(value, place) if kind.plain == "column" else _text_constant(value, place)
    if kind.joined and value.keys() & _JOINED:
        return _parent_child(value, place)
    match _long_form(value, ("column", "value"), (), place):
        case "column":
            return _column(value["column"], place.at("column"))
        case "value":
            return _text_constant(value["value"], place.at("value"))
    return None


def _parent_child(value: dict[str, Any], place: Place) -> ParentChild | None:
    columns: dict[str, Column | None] = {}
    for part in _JOINED:
        if part in value:
            columns[part] = _column(value[part], place.at(part))
        else:
            place.at(part).wrong("missing; `Parent::Child` is made of two columns, `parent` and `child`")
    for key in value:
        if key not in _JOINED:
            unknown_key(key, _JOINED, f"expected {listing(map(quoted, _JOINED))}", place.at(key))
    parent, child = columns.get("parent"), columns.get("child")
    return ParentChild(parent.name, child.name) if parent and child else None


def _mappings(kind: Mappings, value: Any, place: Place) -> tuple[Mapped, ...] | None:
    if isinstance(value, dict):
        entries = [_mapped(kind, name, entry, place.at(name)) for name, entry in value.items()]
        return tuple(entry for entry in entries if entry is not None)
    place.wrong(f"expected a mapping of Pendo's names to columns, found {found(value)}")
    return None


def _mapped(kind: Mappings, name: str, entry: Any, place: Place) -> Mapped | None:
    name_fits = read_name(kind, name, place)
    if isinstance(entry, dict):
        source, options = _entry(kind, entry, place)
    else:
        source, options = _column(entry, place), {}
    return Mapped(name, source, options, place) if name_fits and source else None


def _entry(kind: Mappings, entry: dict[str, Any], place: Place) -> tuple[Source | None, dict[str, Any]]:
    options = {
        option.name: read_choice(option.kind, entry[option.name], place.at(option.name))
        for option in kind.options
        if option.name in entry
    }
    source: Source | None = None
    match _long_form(entry, ("column", "value"), tuple(option.name for option in kind.options), place):
        case "column":
            source = _column(entry["column"], place.at("column"))
        case "value":
            source = _constant(entry["value"], place.at("value"))
    return source, options


def _long_form(value: dict[str, Any], sources: tuple[str, ...], options: tuple[str, ...], place: Place) -> str | None:
    """Which of the sources the mapping names; notes unknown keys, no source, and two of them."""
    known = (*sources, *options)
    meant = {unknown_key(key, known, f"expected {choices(known)}", place.at(key)) for key in value if key not in known}
    named = [source for source in sources if source in value]
    if len(named) == 1:
        return named[0]
    if named:
        place.wrong(f"has both {listing(map(quoted, named))}; keep one")
    elif not meant.intersection(sources):
        place.wrong(f"names no source; give it {choices(sources)}")
    return None


def _column(value: Any, place: Place) -> Column | None:
    if isinstance(value, str) and value.strip():
        return Column(value)
    place.wrong(f"expected a column's name, found {found(value)}{_quote_hint(value)}")
    return None


def _text_constant(value: Any, place: Place) -> Value | None:
    text = _text(Text(), value, place)
    return None if text is None else Value(text)


def _constant(value: Any, place: Place) -> Value | None:
    if value is None or _is_scalar(value):
        return Value(value)
    if isinstance(value, list) and all(map(_is_scalar, value)):
        return Value(tuple(value))
    place.wrong(f"expected text, a number, true, false, null, or a list of these without nulls, found {_odd(value)}")
    return None


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _odd(value: Any) -> str:
    """What about a constant is wrong: for a list, the first item that is."""
    if isinstance(value, list):
        return f"a list with {found(next(item for item in value if not _is_scalar(item)))}"
    return found(value)
