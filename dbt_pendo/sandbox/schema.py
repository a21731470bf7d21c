"""The metadata schema of one kind: its fields, and which values they take (pendo-api.md section 3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from .exchange import RefusedError
from .switches import Switches

WRITABLE = ("agent", "custom", "pendo")
"""Groups whose values a client may write (SYN's editableMetadataGroups); it may add fields to the first two."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_VISITOR_AUTO = {
    "accountid": "string",
    "accountids": "list",
    "firstvisit": "time",
    "id": "string",
    "idhash": "integer",
    "lastupdated": "time",
    "lastvisit": "time",
}
_AUTO = {
    "visitor": _VISITOR_AUTO,
    "account": {k: v for k, v in _VISITOR_AUTO.items() if not k.startswith("accountid")},
    "parentAccount": {"id": "string", "idhash": "integer", "lastupdated": "time"},
}
_PENDO = {"blacklistguides": "boolean", "donotprocess": "boolean"}


@dataclass(frozen=True)
class Field:
    """A field of the schema.

    Attributes:
        key: The stored, normalised name: always the one to use.
        type: string, time, date, boolean, integer, float, list, or empty for anything.
        display_name: What people see in Pendo.
        element_type: The type of a list's elements; empty is any scalar.
        deleted: Deleted fields stay listed, and can be undeleted.
    """

    key: str
    type: str
    display_name: str
    element_type: str = ""
    deleted: bool = False

    def as_json(self) -> dict[str, Any]:
        """The field with Pendo's own keys and casing (SYN, TAP)."""
        return {
            "Type": self.type,
            "DisplayName": self.display_name,
            "ElementType": self.element_type,
            "ElementFormat": "",
            "Dirty": False,
            "isHidden": False,
            "isDeleted": self.deleted,
            "isCalculated": False,
            "isPerApp": False,
            "neverIndex": False,
        }


class Schema:
    """The fields of one kind (visitor, account, parentAccount), by group."""

    def __init__(self, kind: str) -> None:
        self._groups: dict[str, dict[str, Field]] = {
            "auto": {key: Field(key, type_name, key) for key, type_name in _AUTO[kind].items()},
            "agent": {},
            "custom": {},
            "pendo": {key: Field(key, type_name, key) for key, type_name in _PENDO.items()},
        }

    def as_json(self) -> dict[str, Any]:
        """``{group: {key: {Type, DisplayName, …}}}``."""
        return {
            group: {key: field.as_json() for key, field in fields.items()} for group, fields in self._groups.items()
        }

    def find(self, group: str, name: str, switches: Switches) -> Field | None:
        """The live field a client means by a name, in any case (ADS, TAP: keys are normalised)."""
        field = self._groups.get(group, {}).get(_normalised(name, switches))
        return None if field is None or field.deleted else field

    def put(self, group: str, field: Field) -> None:
        """Adds or replaces a field, whatever its group."""
        self._groups.setdefault(group, {})[field.key] = field

    def new_field(self, name: str, type_name: str, switches: Switches, **more: Any) -> Field:
        """A field with the name normalised as Pendo stores it (SUP-360031832072 for what a name may hold).

        Raises:
            RefusedError: 400, the name is invalid.
        """
        if not _NAME.fullmatch(name):
            raise RefusedError(400, f"invalid field name {name!r}: letters, digits and underscores only")
        return Field(_normalised(name, switches), type_name, more.pop("display_name", name), **more)

    def create(self, group: str, requested: Iterable[Any], switches: Switches) -> list[Field]:
        """Creates or undeletes fields, as ``POST /metadata/schema/{kind}/{group}`` does; all of them or none.

        Args:
            group: ``agent`` or ``custom``.
            requested: Objects ``{"name", "displayname", "type"}``.
            switches: Which types there are, and what becomes of invalid names and existing fields.

        Raises:
            RefusedError: 400, something is wrong with one of them.
        """
        if group not in ("agent", "custom"):
            raise RefusedError(400, f"fields cannot be created in group {group!r}")
        created: list[Field] = []
        for item in requested:
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise RefusedError(400, "a field needs a name")
            if item.get("type") not in switches.creatable_types:
                raise RefusedError(400, f"field {item['name']!r} cannot have type {item.get('type')!r}")
            type_name = switches.number_becomes if item["type"] == "number" else item["type"]
            display_name = str(item.get("displayname") or item["name"])
            try:
                field = self.new_field(item["name"], type_name, switches, display_name=display_name)
            except RefusedError:
                if switches.invalid_field_name == "skip":
                    continue
                raise
            present = self._groups[group].get(field.key)
            if present is not None:
                if not present.deleted and switches.existing_field == "refuse call":
                    raise RefusedError(400, f"field {field.key!r} exists")
                field = replace(present, deleted=False)
            created.append(field)
        for field in created:
            self.put(group, field)
        return created

    def delete(self, group: str, name: str, switches: Switches) -> None:
        """Marks a field as deleted.

        Raises:
            RefusedError: 400 for a group whose fields are Pendo's own, 404 for a field that is not there.
        """
        if group not in ("agent", "custom"):
            raise RefusedError(400, f"fields cannot be deleted in group {group!r}")
        field = self.find(group, name, switches)
        if field is None:
            raise RefusedError(404, f"no field {name!r} in group {group!r}")
        self.put(group, replace(field, deleted=True))


def _normalised(name: str, switches: Switches) -> str:
    key = name.lower()
    return key.replace("_", "") if switches.drop_underscores else key


Convert = Callable[[Any], Any]
"""Takes a value from JSON, returns what is stored; raises ValueError saying what was expected."""

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):?(\d\d))")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_INT64 = 2**63


def converter(type_name: str, element_type: str, switches: Switches) -> Convert:
    """The check and conversion for one field.

    Args:
        type_name: The schema's ``Type``: string, boolean, integer, float, time, date, list, or empty, which
            takes anything.
        element_type: For a list: the type of its elements; empty is any scalar.
        switches: Whether times may be dates or epoch milliseconds.
    """
    if type_name in ("time", "date"):
        return lambda value: _time(value, switches)
    if type_name == "list":
        element = _PLAIN.get(element_type, _scalar)
        return lambda value: _list(value, element)
    return _PLAIN.get(type_name, _anything)


def type_of(value: Any) -> str:
    """The schema type of a field that is created by writing this value to it."""
    for python_type, name in ((bool, "boolean"), (int, "integer"), (float, "float"), (str, "string")):
        if isinstance(value, python_type):
            return name
    return "list" if isinstance(value, list) else ""


def _anything(value: Any) -> Any:
    return value


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    raise ValueError("expected a string")


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise ValueError("expected true or false")


def _integer(value: Any) -> int:
    # JSON numbers beyond 64 bits arrive as floats or unsigned; Pendo's integers are int64.
    if type(value) is int and -_INT64 <= value < _INT64:
        return value
    raise ValueError("expected a whole number")


def _float(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return value
    raise ValueError("expected a number")


def _scalar(value: Any) -> Any:
    if type(value) in (str, bool, int, float):
        return value
    raise ValueError("expected a list of scalars")


def _list(value: Any, element: Convert) -> list[Any]:
    if type(value) is not list:
        raise ValueError("expected a list")
    return [element(item) for item in value]


def _time(value: Any, switches: Switches) -> int:
    """Epoch milliseconds, which is how Pendo stores and returns times."""
    if type(value) is str:
        if match := _TIME.fullmatch(value):
            year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
            # Some warehouses write leap seconds; Go, which Pendo is written in, refuses them as Python does.
            moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second))
            offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
            moment = moment.replace(tzinfo=timezone.utc)
            since = moment - _EPOCH - (offset if sign == "+" else -offset)
            return since // _MILLISECOND + int((fraction or "0").ljust(3, "0")[:3])
        if switches.accept_date_only and (match := _DATE.fullmatch(value)):
            year, month, day = match.groups()
            return (datetime(int(year), int(month), int(day), tzinfo=timezone.utc) - _EPOCH) // _MILLISECOND
    elif switches.accept_epoch and type(value) is int:
        return value
    raise ValueError("expected an ISO 8601 time with a zone")


_PLAIN: dict[str, Convert] = {"string": _string, "boolean": _boolean, "integer": _integer, "float": _float}
