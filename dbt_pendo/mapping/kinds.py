"""The kinds of value that a key of ``meta.pendo`` may have: how each is read, its messages, its JSON Schema."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from dbt_pendo.mapping.spec import Column, Limit, ParentChild, Problem, Source, Value
from dbt_pendo.wording import choices, closest, found, listing, quoted

NOT_BLANK = r"\S"

_PARTS = ("parent", "child")
_SECONDS = {"minute": 60, "hour": 3600, "day": 24 * 3600, "week": 7 * 24 * 3600}

_COLUMN_SCHEMA = {"type": "string", "pattern": NOT_BLANK, "description": "A column of the model."}
_TEXT_SCHEMA = {"type": "string", "pattern": NOT_BLANK, "description": "The same for every row."}
_SCALARS = ["string", "number", "boolean"]
_CONSTANT_SCHEMA = {
    "type": [*_SCALARS, "array", "null"],
    "items": {"type": _SCALARS},
    "description": "The same for every row.",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the annotation of one model; every place inside it shares its list of problems."""

    file: str
    sync: str  # the model, or `model.name`
    key: str = ""  # the path of the key
    column: str = ""  # for a column's own `meta.pendo`
    unique_id: str = ""  # dbt's id of the model
    problems: list[Problem] = field(default_factory=list)

    def at(self, key: str) -> Place:
        """Returns the place of a key inside this one."""
        return replace(self, key=f"{self.key}.{key}" if self.key else key)

    def wrong(self, message: str) -> None:
        """Notes a problem at this place."""
        self.problems.append(Problem(self.file, self.sync, self.key, message, self.column, unique_id=self.unique_id))

    def unknown_key(self, name: str, known: Sequence[str], otherwise: str) -> str | None:
        """Notes an unknown key, and returns the known one that was probably meant."""
        meant = closest(name, known)
        self.wrong(f"unknown key; did you mean {quoted(meant)}?" if meant else f"unknown key; {otherwise}")
        return meant

    def __str__(self) -> str:
        return f"column `{self.column}`" if self.column else f"`{self.key}`"


class Kind(ABC):
    """A kind of value."""

    @abstractmethod
    def read(self, place: Place, value: Any) -> Any:
        """Returns the value as ``SyncSpec`` holds it; None, with a problem noted, for a wrong one."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Returns the JSON Schema of the value as users write it."""


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few fixed values."""

    values: tuple[str | bool, ...]

    def read(self, place: Place, value: Any) -> Any:
        """Returns the value itself."""
        # What YAML reads as no value is the word, where there is such a choice.
        if value is None and "null" in self.values:
            return "null"
        # ``1`` is not ``true``, though Python takes them for equal.
        if any(type(value) is type(one) and value == one for one in self.values):
            return value
        words = [choice for choice in self.values if isinstance(choice, str)]
        hint = ""
        if isinstance(value, str) and (meant := closest(value, words)):
            hint = f"; did you mean {quoted(meant)}?"
        elif isinstance(value, str) and value.strip() and not words:
            hint = "; drop the quotes, or end the Jinja expression with `| as_bool`"
        place.wrong(f"expected {choices(self.values)}, found {found(value)}{hint}")
        return None

    def schema(self) -> dict[str, Any]:
        """Returns an enumeration."""
        return {"enum": [*self.values, *((None,) if "null" in self.values else ())]}


@dataclass(frozen=True)
class Text(Kind):
    """A string that follows a rule."""

    pattern: str = NOT_BLANK
    rule: str = "text"  # the pattern in words

    def read(self, place: Place, value: Any) -> str | None:
        """Returns the string itself."""
        if matches(value, self.pattern):
            return value
        place.wrong(f"expected {self.rule}, found {found(value)}{_quote_hint(value)}")
        return None

    def schema(self) -> dict[str, Any]:
        """Returns a string with a pattern."""
        return {"type": "string", "pattern": self.pattern}


@dataclass(frozen=True)
class Count(Kind):
    """A whole number from 1."""

    maximum: int

    def read(self, place: Place, value: Any) -> int | None:
        """Returns the number itself."""
        if _is_whole(value) and 1 <= value <= self.maximum:
            return int(value)
        place.wrong(f"expected a whole number from 1 to {self.maximum:,}, found {found(value)}{_unquote_hint(value)}")
        return None

    def schema(self) -> dict[str, Any]:
        """Returns an integer with both limits."""
        return {"type": "integer", "minimum": 1, "maximum": self.maximum}


class Guard(Kind):
    """A number of rows (``1000``) or a share of them (``20%``)."""

    PATTERN = r"^[0-9]{1,6}(\.[0-9]{1,6})? ?%$"

    def read(self, place: Place, value: Any) -> Limit | None:
        """Returns a limit of rows or of percent."""
        if _is_whole(value) and value >= 0:
            return Limit(rows=value)
        if matches(value, self.PATTERN):
            return Limit(percent=float(value.rstrip("% ")))
        expected = "expected a count such as `1000` or a percentage such as `20%`"
        place.wrong(f"{expected}, found {found(value)}{_unquote_hint(value)}")
        return None

    def schema(self) -> dict[str, Any]:
        """Returns an integer or a string."""
        return {"type": ["integer", "string"], "minimum": 0, "pattern": self.PATTERN}


class Age(Kind):
    """A span of time in words (``7 days``), no longer than a warehouse's 32 bits of seconds; or ``none``."""

    PATTERN = r"^(none|([1-9][0-9]{0,3} ?(minute|hour|day)|[1-9][0-9]{0,2} ?week)s?)$"

    def read(self, place: Place, value: Any) -> int | None:
        """Returns the span in seconds; None for ``none``."""
        if value == "none":
            return None
        if matches(value, self.PATTERN):
            number, unit = re.findall("[0-9]+|[a-z]+", value)
            return int(number) * _SECONDS[unit.rstrip("s")]
        place.wrong(f"expected an age such as `7 days` or `36 hours`, or `none` for any age, found {found(value)}")
        return None

    def schema(self) -> dict[str, Any]:
        """Returns a string with a pattern."""
        return {"type": "string", "pattern": self.PATTERN}


@dataclass(frozen=True)
class RowValue(Kind):
    """A value of each row: a column (its name, or ``{column: name}``), or a text that is the same for all."""

    takes_text: bool = False  # whether `{value: text}` may stand in place of a column
    plain: str = "column"  # what a plain string is: "column" or "value"
    joined: bool = False  # whether it may be made of two columns, `{parent: name, child: name}`

    def read(self, place: Place, value: Any) -> Source | ParentChild | None:
        """Returns where the value comes from."""
        readers: dict[str, Reader] = {"column": _read_column, "value": _read_text}
        if not isinstance(value, dict):
            return readers[self.plain](place, value)
        if self.joined and not value.keys().isdisjoint(_PARTS):
            return _read_parent_child(place, value)
        if self.takes_text:
            return _read_long_form(place, value, readers)
        if "value" not in value:
            return _read_long_form(place, value, {"column": _read_column})
        place.at("value").wrong("must come from a column, as every row has its own; write the column's name")
        return None

    def schema(self) -> dict[str, Any]:
        """Returns the short form or the long one, or the two columns of ``Parent::Child``."""
        sources = {"column": _COLUMN_SCHEMA}
        schema = _either_form(sources | {"value": _TEXT_SCHEMA} if self.takes_text else sources)
        if not self.joined:
            return schema
        parts = dict.fromkeys(_PARTS, _COLUMN_SCHEMA)
        both = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
        return {"anyOf": [schema, both]}


@dataclass(frozen=True, slots=True)
class Option:
    """A key beside ``column`` or ``value`` in the long form of a mapped name."""

    doc: str
    kind: Choice


@dataclass(frozen=True, slots=True)
class Entry:
    """One mapped name, before the sync's defaults are filled in."""

    name: str
    source: Source
    options: dict[str, Any]
    place: Place


@dataclass(frozen=True)
class Entries(Kind):
    """Pendo's names on the left; on the right a column, or the long form with its options."""

    options: Mapping[str, Option] = field(default_factory=dict)
    names: tuple[str, ...] = ()  # the only names; none for any, as only Pendo knows its fields' display names
    # The names that may be of the group `pendo`, each with a column of its own.
    consents: tuple[str, ...] = field(default=(), compare=False)

    def read(self, place: Place, value: Any) -> tuple[Entry, ...] | None:
        """Returns the entries without a problem."""
        if not isinstance(value, dict):
            place.wrong(f"expected a mapping of Pendo's names to columns, found {found(value)}")
            return None
        entries = [self._read_entry(place.at(name), name, entry) for name, entry in value.items()]
        return tuple(entry for entry in entries if entry is not None)

    def _read_entry(self, place: Place, name: str, value: Any) -> Entry | None:
        takes_name = matches(name, NOT_BLANK)
        if self.names and name not in self.names:
            takes_name = False
            place.unknown_key(name, self.names, f"expected {choices(self.names)}")
        elif not takes_name:
            place.wrong("Pendo's name is empty")
        options: dict[str, Any] = {}
        if isinstance(value, dict):
            options = {
                key: option.kind.read(place.at(key), value[key]) for key, option in self.options.items() if key in value
            }
            readers: dict[str, Reader] = {"column": _read_column, "value": _read_constant}
            source = _read_long_form(place, value, readers, tuple(self.options))
        else:
            source = _read_column(place, value)
        noted = len(place.problems)
        if source and options.get("group") == "pendo":
            self._check_consent(place, name, source, options)
            takes_name = takes_name and len(place.problems) == noted
        return Entry(name, source, options, place) if takes_name and source else None

    def _check_consent(self, place: Place, name: Any, source: Source, options: Mapping[str, Any]) -> None:
        """Notes what cannot be a consent: another field of Pendo's own, or what is not each record's own yes or no."""
        if name not in self.consents:
            meant = f"; did you mean {quoted(near)}?" if (near := closest(str(name), self.consents)) else ""
            names = f"only {listing(map(quoted, self.consents))}" if self.consents else "no field of this object"
            place.wrong(f"of the group `pendo` {names} can be written{meant}")
        if isinstance(source, Value):
            place.at("value").wrong("must come from a column, as every record has its own consent")
        if options.get("type") not in (None, "boolean"):
            place.at("type").wrong(f"a consent is a `boolean`, found {quoted(options['type'])}")
        if options.get("nulls") == "clear":
            place.at("nulls").wrong("a null leaves a consent as it is: write `skip`, or nothing")

    def schema(self) -> dict[str, Any]:
        """Returns an object whose values are columns, or long forms."""
        options = {name: {"description": option.doc, **option.kind.schema()} for name, option in self.options.items()}
        entry = _either_form({"column": _COLUMN_SCHEMA, "value": _CONSTANT_SCHEMA}, options)
        if "group" in options:
            of_pendo = {"type": "object", "required": ["group"], "properties": {"group": {"const": "pendo"}}}
            own = {"type": {"const": "boolean"}, "nulls": {"const": "skip"}}
            consent = {**entry, "if": of_pendo, "then": {"required": ["column"], "properties": own}}
            other = {**entry, "not": of_pendo}
            named = dict.fromkeys(self.consents, consent)
            base = {"type": "object", "propertyNames": {"pattern": NOT_BLANK}}
            return {**base, "properties": named, "additionalProperties": other}
        if self.names:
            return {"type": "object", "properties": dict.fromkeys(self.names, entry), "additionalProperties": False}
        return {"type": "object", "propertyNames": {"pattern": NOT_BLANK}, "additionalProperties": entry}


Reader = Callable[[Place, Any], Source | None]


def matches(value: Any, pattern: str) -> TypeGuard[str]:
    """Returns whether a value is a text that fits a pattern as JSON Schema means it: no newline may follow ``$``."""
    return isinstance(value, str) and re.search(pattern.replace("$", r"\Z"), value) is not None


def _quote_hint(value: Any) -> str:
    """YAML reads ``yes`` as true and ``123`` as a number: a name like that needs quotes."""
    return "; put it in quotes if that is the name" if isinstance(value, (bool, int, float)) else ""


def _unquote_hint(value: Any) -> str:
    return "; drop the quotes" if matches(value, "^[0-9]+$") else ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _read_column(place: Place, value: Any) -> Column | None:
    if matches(value, NOT_BLANK):
        return Column(value)
    place.wrong(f"expected a column's name, found {found(value)}{_quote_hint(value)}")
    return None


def _read_text(place: Place, value: Any) -> Value | None:
    text = Text().read(place, value)
    return None if text is None else Value(text)


def _read_constant(place: Place, value: Any) -> Value | None:
    odd = [item for item in (value if isinstance(value, list) else [value]) if not _is_scalar(item)]
    if value is None or not odd:
        return Value(tuple(value) if isinstance(value, list) else value)
    seen = f"{'a list with ' if isinstance(value, list) else ''}{found(odd[0])}"
    place.wrong(f"expected text, a number, true, false, null, or a list of these without nulls, found {seen}")
    return None


def _read_parent_child(place: Place, value: dict[str, Any]) -> ParentChild | None:
    for key in value:
        if key not in _PARTS:
            place.at(key).unknown_key(key, _PARTS, f"expected {listing(map(quoted, _PARTS))}")
    for part in _PARTS:
        if part not in value:
            place.at(part).wrong("missing; `Parent::Child` is made of two columns, `parent` and `child`")
    parent, child = (_read_column(place.at(part), value[part]) if part in value else None for part in _PARTS)
    return ParentChild(parent.name, child.name) if parent and child else None


def _read_long_form(
    place: Place, value: dict[str, Any], readers: Mapping[str, Reader], options: tuple[str, ...] = ()
) -> Source | None:
    """Returns the one source that a mapping names; notes unknown keys, no source, and two of them."""
    known = (*readers, *options)
    expected = f"expected {choices(known)}"
    meant = {place.at(key).unknown_key(key, known, expected) for key in value if key not in known}
    named = [source for source in readers if source in value]
    if len(named) == 1:
        return readers[named[0]](place.at(named[0]), value[named[0]])
    if named:
        place.wrong(f"has both {listing(map(quoted, named))}; keep one")
    elif meant.isdisjoint(readers):
        place.wrong(f"names no source; give it {choices(tuple(readers))}")
    return None


def _either_form(sources: dict[str, Any], options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns the schema of a plain string, or of a mapping with exactly one of the sources."""
    return {
        "type": ["string", "object"],
        "pattern": NOT_BLANK,
        "properties": sources | (options or {}),
        "additionalProperties": False,
        "oneOf": [{"type": "string"}, *({"type": "object", "required": [source]} for source in sources)],
    }
