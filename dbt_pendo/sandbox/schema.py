"""The metadata schema of one kind: its fields, and which values they take (pendo-api.md section 3)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from .exchange import RefusedError
from .switches import Switches

WRITABLE = ("agent", "custom", "pendo")
"""Groups whose values a client may write (SYN's editableMetadataGroups); it may add fields to the first two."""

CREATABLE = ("agent", "custom")
LARGEST_CREATION = 24
_CREATION = ("created", "failed", "undeleted")

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

    def create(self, group: str, requested: Any, switches: Switches) -> tuple[int, dict[str, Any]]:
        """Creates or undeletes fields, as ``POST /metadata/schema/{kind}/{group}`` does.

        Args:
            group: ``agent`` or ``custom``.
            requested: Objects ``{"name", "displayname", "type"}``.
            switches: Which types there are, and what invalid fields do to the others of the call.

        Returns:
            The status (201 all created, 207 some, 409 all exist, 422 some are invalid) and the body.

        Raises:
            RefusedError: 400, the body has another form, or more than 24 fields.
        """
        if group not in CREATABLE:
            raise RefusedError(400, f"fields cannot be created in group {group!r}")
        if not isinstance(requested, list) or not requested or len(requested) > LARGEST_CREATION:
            raise RefusedError(400, f"expected an array of 1 to {LARGEST_CREATION} fields")
        if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in requested):
            raise RefusedError(400, "a field needs a name")
        judged = [self._judged(group, item, switches) for item in requested]
        invalid = sum(field is None for field, _ in judged)
        made = 0
        results: list[dict[str, Any]] = []
        for item, (field, problem) in zip(requested, judged, strict=True):
            status = "created"
            present = self._groups[group].get(field.key) if field else None
            if present is not None and not present.deleted:
                problem = f"field {present.key!r} exists"
            elif invalid and not problem and switches.invalid_field == "refuse call":
                problem = "another field of the call is invalid"
            elif field is not None:
                status = "undeleted" if present else "created"
                self.put(group, replace(present, deleted=False) if present else field)
                made += 1
            error = {"error": {"message": problem}} if problem else {}
            results.append({"schema": item, "status": "failed" if problem else status, **error})
        counts = {status: sum(one["status"] == status for one in results) for status in _CREATION}
        answer = 201 if made == len(results) else 422 if invalid else 207 if made else 409
        return answer, {"results": results, "summary": {**counts, "total": len(results)}}

    def _judged(self, group: str, item: dict[str, Any], switches: Switches) -> tuple[Field | None, str]:
        """The field of a request, or what is wrong with it."""
        if item.get("type") not in switches.creatable_types:
            return None, f"field {item['name']!r} cannot have type {item.get('type')!r}"
        type_name = switches.number_becomes if item["type"] == "number" else item["type"]
        display_name = str(item.get("displayname") or item["name"])
        try:
            return self.new_field(item["name"], type_name, switches, display_name=display_name), ""
        except RefusedError as refusal:
            return None, refusal.message

    def delete(self, group: str, name: str, switches: Switches) -> int:
        """Marks a field as deleted, and returns the status: 202 if it was already.

        Raises:
            RefusedError: 400 for a group whose fields are Pendo's own, 404 for a field that was never there.
        """
        if group not in CREATABLE:
            raise RefusedError(400, f"fields cannot be deleted in group {group!r}")
        field = self._groups[group].get(_normalised(name, switches))
        if field is None:
            raise RefusedError(404, f"no field {name!r} in group {group!r}")
        self.put(group, replace(field, deleted=True))
        return 202 if field.deleted else 200

    def deleted(self, group: str) -> list[str]:
        """The keys of a group's deleted fields."""
        return [key for key, field in self._groups.get(group, {}).items() if field.deleted]


def _normalised(name: str, switches: Switches) -> str:
    key = name.lower()
    return key.replace("_", "") if switches.drop_underscores else key


Convert = Callable[[Any], Any]
"""Takes a value from JSON, returns what is stored; raises ValueError saying what was expected."""

# A zone is -0700, -07:00 or Z, or there is none.
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):?(\d\d))?", re.ASCII
)
# `01/02/2006 15:04:05` and `1/2/06 3:04 PM`: which two American forms Pendo takes is not said.
_AMERICAN = ("%m/%d/%Y %H:%M:%S", "%m/%d/%y %I:%M %p")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
# Epoch seconds below this, in 5138, milliseconds from there on, since March 1973.
_FIRST_MILLISECONDS = 10**11
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_INT64 = 2**63


def converter(type_name: str, element_type: str, switches: Switches) -> Convert:
    """The check and conversion for one field.

    Args:
        type_name: The schema's ``Type``: string, boolean, integer, float, time, date, list, or empty, which
            takes anything.
        element_type: For a list: the type of its elements; empty is any scalar.
        switches: Whether times may be dates alone.
    """
    if type_name in ("time", "date"):
        return lambda value: _time(value, switches)
    if type_name == "list":
        element = _PLAIN.get(element_type, _scalar)
        return lambda value: _list(value, element)
    return _PLAIN.get(type_name, _anything)


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
    """Epoch milliseconds, which is how Pendo stores and returns times, of the forms that it accepts (section 3)."""
    if type(value) is int and abs(value) < _INT64 // 1000:
        return value if abs(value) >= _FIRST_MILLISECONDS else value * 1000
    if type(value) is str:
        if match := _TIME.fullmatch(value):
            year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
            # 30 February is refused, and so are leap seconds, which some warehouses write.
            moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=timezone.utc)
            offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
            since = moment - _EPOCH - (offset if sign == "+" else -offset)
            return since // _MILLISECOND + int((fraction or "0").ljust(3, "0")[:3])
        if switches.accept_date_only and (match := _DATE.fullmatch(value)):
            year, month, day = match.groups()
            return (datetime(int(year), int(month), int(day), tzinfo=timezone.utc) - _EPOCH) // _MILLISECOND
        for form in _AMERICAN:
            with contextlib.suppress(ValueError):
                return (datetime.strptime(value, form).replace(tzinfo=timezone.utc) - _EPOCH) // _MILLISECOND
    raise ValueError("expected a time such as 2006-01-02T15:04:05Z, or epoch seconds or milliseconds")


_PLAIN: dict[str, Convert] = {"string": _string, "boolean": _boolean, "integer": _integer, "float": _float}
