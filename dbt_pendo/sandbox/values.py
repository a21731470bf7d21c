"""Which values a field takes, by its schema type, and how they are stored (pendo-api.md section 3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from .switches import Switches

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
