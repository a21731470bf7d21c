"""Whole columns at once: what ``values.py`` does to a value, for columns whose values are all of one type.

Only a shortcut: a column that does not fit one is converted value by value, with the same result.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from dbt_pendo.records.values import (
    INT64,
    LARGEST_EXACT,
    Convert,
    to_boolean,
    to_float,
    to_integer,
    to_natural,
    to_string,
    to_time,
)

_NULL = type(None)
# Types that JSON and Pendo take as they are.
_UNTOUCHED = frozenset({(str, to_string), (str, to_natural), (bool, to_boolean), (bool, to_natural)})


def convert_column(values: Sequence[Any], convert: Convert) -> Sequence[Any] | None:
    """Converts a column in one go.

    Args:
        values: The column; None stays None.
        convert: One of ``CONVERTERS``.

    Returns:
        The converted column, or None when there is no shortcut for it, or a value in it may be invalid.
    """
    types = set(map(type, values)) - {_NULL}
    if not types:
        return values
    if len(types) > 1:
        return None
    (kind,) = types
    if (kind, convert) in _UNTOUCHED:
        return values
    if kind is int and convert in (to_integer, to_natural):
        present = [value for value in values if value is not None]
        return values if min(present) in INT64 and max(present) in INT64 else None
    if kind is float and convert in (to_float, to_natural):
        return _if_finite(values)
    if kind in (int, Decimal) and convert is to_float:
        return _as_floats(values)
    if kind is datetime.datetime and convert in (to_time, to_natural):
        return _as_times(values)
    if kind is datetime.date and convert in (to_time, to_natural):
        # A column holds few dates many times.
        texts = {date: to_time(date) for date in set(values) if date is not None}
        return [texts.get(date) for date in values]
    return None


def _if_finite(values: Sequence[float | None]) -> Sequence[float | None] | None:
    return values if all(map(math.isfinite, [value for value in values if value is not None])) else None


def _as_floats(values: Sequence[Any]) -> Sequence[float | None] | None:
    try:
        floats = [None if value is None else float(value) for value in values]
    except (ArithmeticError, ValueError):
        return None
    exact = all(abs(number) < LARGEST_EXACT for number in floats if number is not None)
    return floats if exact else None


def _as_times(values: Sequence[datetime.datetime | None]) -> Sequence[str | None] | None:
    if any(value is not None and value.tzinfo is not None for value in values):
        return None
    return [None if value is None else value.isoformat("T", "milliseconds") + "+00:00" for value in values]
