"""Converts warehouse values to what Pendo can hold, one value or a column of them, and to a text to compare."""

from __future__ import annotations

import contextlib
import datetime
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from dbt_pendo.mapping.spec import FieldType
from dbt_pendo.outcomes import UNREADABLE
from dbt_pendo.wording import shortened

Json = str | int | float | bool | list[Any] | None
Convert = Callable[[Any], Json]

INT64 = range(-(2**63), 2**63)
# A number of more digits needs no look at all of them: `1E+999999999` has a billion.
INT64_DIGITS = 19
# Below this every whole number is a float, and from here on not each.
LARGEST_EXACT = 2**53
# The whole numbers that orjson writes.
WRITABLE = range(-(2**63), 2**64)
# An epoch below this is before March 1973 in milliseconds, and most likely meant in seconds.
EARLIEST_EPOCH_MS = 100_000_000_000
# Pendo wants strings under 1,500 characters (pendo-api.md 3).
LONGEST_NUMBER = 1_000
# What Python 3.10 and 3.11 read alike: 3.11 takes more, and `1612010112345` for the year 1612.
ISO_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)? ?(?:(Z)|([+-]\d\d)(?::?(\d\d)(?::(\d\d))?)?)?)?",
    re.ASCII | re.IGNORECASE,
)
TRUE = frozenset({"true", "t", "yes", "y", "1"})
FALSE = frozenset({"false", "f", "no", "n", "0"})


class InvalidValue(ValueError):  # noqa: N818 - what it is, in the contract's own word
    """A value that cannot be sent; the message is the row's reason in the ledger."""


def to_string(value: Any) -> str:
    """Returns a value as text: numbers without exponent, dates and times as ISO 8601."""
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int | Decimal):
        return format(_short(_finite(value)), "d" if isinstance(value, int) else "f")
    if isinstance(value, float):
        return repr(float(_finite(value)))
    if isinstance(value, datetime.datetime):
        return to_time(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise _unfit(value, "text")


def to_boolean(value: Any) -> bool:
    """Returns a boolean; 0 and 1 and the usual words are booleans too."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal) and _finite(value) in (0, 1):
        return bool(value)
    if isinstance(value, str) and (word := value.strip().lower()) in TRUE | FALSE:
        return word in TRUE
    raise _unfit(value, "a boolean")


def to_integer(value: Any) -> int:
    """Returns a whole number of 64 bits."""
    value = _number(value, "a whole number")
    if isinstance(value, Decimal) and value and value.adjusted() >= INT64_DIGITS:
        raise InvalidValue(f"{_readable(value)} does not fit into 64 bits")
    whole = int(value)
    if whole != value:
        raise InvalidValue(f"{_readable(value)} is not a whole number")
    if whole not in INT64:
        raise InvalidValue(f"{_readable(value)} does not fit into 64 bits")
    return whole


def to_float(value: Any) -> float:
    """Returns a finite number: a whole one with all its digits, a fraction as the nearest float."""
    value = _number(value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise InvalidValue(f"{_readable(value)} is too large for a number")
    # Pendo is sent the shortest digits that mean the float, which may be other digits than the warehouse's.
    if abs(number) < LARGEST_EXACT or isinstance(value, float) or Decimal(repr(number)) == value:
        return number
    if (whole := int(value)) == value and whole in WRITABLE:
        return whole
    raise InvalidValue(f"{_readable(value)} has more digits than a number can carry; a string field keeps them all")


def to_time(value: Any) -> str:
    """Returns a point in time as ISO 8601 in UTC with milliseconds, ``2026-01-02T15:04:05.999+00:00``.

    The form of Pendo's own example, with its numeric zone (pendo-api.md 3). A timestamp without a zone is UTC,
    a date its first instant, a number epoch milliseconds.
    """
    return _instant(value).isoformat(timespec="milliseconds")


def to_epoch_ms(value: Any) -> int:
    """Returns a point in time as epoch milliseconds, as track events carry it (pendo-api.md 4)."""
    if value is None:
        raise InvalidValue("is null")
    return (_instant(value) - EPOCH) // datetime.timedelta(milliseconds=1)


def to_list(value: Any) -> list[Json]:
    """Returns a list of scalars, without its nulls; a scalar becomes a list of one."""
    if isinstance(value, list | tuple):
        return [_scalar(item) for item in value if item is not None]
    return [_scalar(value)]


def to_natural(value: Any) -> Json:
    """Returns a value by its own type, for fields without a declared type."""
    if isinstance(value, list | tuple):
        return to_list(value)
    return _scalar(value)


def to_filled_string(value: Any) -> str:
    """Returns a value as text.

    Raises:
        InvalidValue: If it is null or empty.
    """
    if value is None:
        raise InvalidValue("is null")
    text = to_string(value)
    if not text.strip():
        raise InvalidValue("is empty")
    return text


def to_identifier(value: Any) -> str:
    """Returns a visitor or account id exactly as it is: ids are case sensitive (pendo-api.md 8).

    Raises:
        InvalidValue: If it is empty, or of a type whose text would depend on formatting.
    """
    # A decimal as the warehouse writes it: the same id may be another sync's key, which is text by then.
    if isinstance(value, bool) or not isinstance(value, str | int | UUID | Decimal | None):
        raise _unfit(value, "an id")
    return to_filled_string(value)


def to_visitor_id(value: Any) -> str:
    """Returns a visitor id; Pendo's ids of anonymous visitors are invalid (pendo-api.md 8.9)."""
    text = to_identifier(value)
    if text.startswith(("_PENDO_T_", "PENDO_T")) or text == "VISITOR-UNIQUE-ID":
        raise InvalidValue("an anonymous visitor id")
    return text


CONVERTERS: Mapping[FieldType | None, Convert] = {
    "string": to_string,
    "boolean": to_boolean,
    "integer": to_integer,
    "float": to_float,
    "time": to_time,
    "list": to_list,
    None: to_natural,
}

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)


def _scalar(value: Any) -> Json:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return to_integer(value)
    if isinstance(value, float):
        return to_float(value)
    if isinstance(value, Decimal):
        # A decimal without places is a whole number, whatever the driver makes of numeric(38, 0).
        return to_integer(value) if _finite(value).as_tuple().exponent == 0 else to_float(value)
    if isinstance(value, datetime.date):
        return to_time(value)
    if isinstance(value, str | UUID | datetime.time):
        return to_string(value)
    raise _unfit(value, "a value Pendo can hold")


def _instant(value: Any) -> datetime.datetime:
    moment = _parse_time(value) if isinstance(value, str) else value
    try:
        if isinstance(moment, datetime.datetime):
            # Not `tzinfo is None`: a zone may not know its offset, and then Python takes the machine's.
            return moment.replace(tzinfo=UTC) if moment.utcoffset() is None else moment.astimezone(UTC)
        if isinstance(moment, datetime.date):
            return datetime.datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
        if isinstance(moment, int | float | Decimal) and not isinstance(moment, bool):
            milliseconds = to_integer(moment)
            if 0 < milliseconds < EARLIEST_EPOCH_MS:
                raise InvalidValue(f"{milliseconds} looks like epoch seconds; Pendo wants milliseconds")
            return EPOCH + datetime.timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise InvalidValue(f"{_readable(value)} is outside the years 1 to 9999") from None
    raise _unfit(value, "a time")


def _parse_time(text: str) -> datetime.datetime:
    if found := ISO_TIME.fullmatch(text.strip()):
        date, minutes, seconds, fraction, zulu, hour, minute, second = found.groups()
        clock = f"{minutes or '00:00'}:{seconds or '00'}.{(fraction or '')[:6]:0<6}"
        zone = "+00:00" if zulu else f"{hour}:{minute or '00'}:{second or '00'}" if hour else ""
        with contextlib.suppress(ValueError):
            return datetime.datetime.fromisoformat(f"{date}T{clock}{zone}")
    raise InvalidValue(f"{_readable(text)} is not an ISO 8601 time")


def _number(value: Any, wanted: str) -> Any:
    """Returns a finite number, also one that is written as text."""
    # Python takes 1_000 for a number.
    if isinstance(value, str) and "_" not in value:
        with contextlib.suppress(ArithmeticError):
            value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _unfit(value, wanted)
    return _finite(value)


def _unicode(text: str) -> str:
    """Returns text that can be sent: Python's may hold halves of a character, which no encoding has."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValue(f"{_readable(text)} is not Unicode") from None
    return text


def _short(number: int | Decimal) -> int | Decimal:
    """Returns a number that can be written out in digits."""
    if isinstance(number, int):
        digits = number.bit_length() * 0.30103
    else:
        digits = max(number.adjusted(), -int(number.as_tuple().exponent), len(number.as_tuple().digits))
    if digits > LONGEST_NUMBER:
        raise InvalidValue(f"a number of more than {LONGEST_NUMBER:,} digits")
    return number


def _finite(value: Any) -> Any:
    if isinstance(value, int):
        return value
    finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
    if finite:
        return value
    nan = value.is_nan() if isinstance(value, Decimal) else math.isnan(value)
    raise InvalidValue("not a number (NaN)" if nan else "infinite")


def _unfit(value: Any, wanted: str) -> InvalidValue:
    if isinstance(value, bytes | bytearray | memoryview):
        return InvalidValue("bytes cannot be sent")
    if isinstance(value, Mapping) and value.keys() == {UNREADABLE}:
        return InvalidValue(str(value[UNREADABLE]))
    if isinstance(value, Mapping | list | tuple | set):
        return InvalidValue(f"a nested value cannot be sent as {wanted}")
    return InvalidValue(f"{_readable(value)} is not {wanted}")


def _readable(value: Any) -> str:
    """Returns a value as its owner would write it, without Python's words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        text = repr(value) if isinstance(value, str) else str(value)
    except Exception:
        # Python refuses to write out an integer of more than 4,300 digits, and an object may have its own reasons.
        text = "this number" if isinstance(value, int) else "this value"
    return shortened(text, mark="...")


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
    types = set(map(type, values)) - {type(None)}
    if len(types) > 1:
        return None
    kind = next(iter(types), None)
    if kind is None or (kind, convert) in _UNTOUCHED:
        return values
    if kind is int and convert in (to_integer, to_natural):
        present = [value for value in values if value is not None]
        return values if min(present) in INT64 and max(present) in INT64 else None
    if kind is float and convert in (to_float, to_natural):
        return values if all(map(math.isfinite, [value for value in values if value is not None])) else None
    if kind in (int, Decimal) and convert is to_float:
        return _as_floats(values)
    if kind is datetime.datetime and convert in (to_time, to_natural):
        return _as_times(values)
    if kind is datetime.date and convert in (to_time, to_natural):
        # A column holds few dates many times.
        texts = {date: to_time(date) for date in set(values) if date is not None}
        return [texts.get(date) for date in values]
    return None


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


def comparable_text(value: Any, type_: FieldType | None) -> str | None:
    """Returns a value of a field, sent or read back, as the text to compare; None for null.

    Pendo stores times as epoch milliseconds, and JSON has one kind of number, so neither the values nor their JSON can
    be compared as they are.
    """
    if value is None or (isinstance(value, str) and type_ == "string"):
        return value
    if type_ == "time":
        with contextlib.suppress(InvalidValue):
            return to_time(value)
    if type_ in ("integer", "float") and isinstance(value, int | float) and not isinstance(value, bool):
        text = format(Decimal(repr(value)), "f")
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        # A zero has no sign.
        return "0" if text == "-0" else text
    # A text in the place of a number or a boolean keeps its quotation marks: it is another value.
    return orjson.dumps(value).decode()


def readable_text(text: str | None, type_: FieldType | None) -> str | None:
    """Returns such a text as people read it: a time in UTC ends with Z."""
    return f"{text.removesuffix('+00:00')}Z" if text and type_ == "time" and text.endswith("+00:00") else text
