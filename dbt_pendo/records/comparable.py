"""What Pendo holds for a value, as one text: the same for what the warehouse sends and for what is read back.

Pendo stores times as epoch milliseconds, and JSON has one kind of number, so neither the values nor their JSON can be
compared as they are.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import orjson

from dbt_pendo.mapping.spec import FieldType
from dbt_pendo.records.convert import InvalidValue, to_epoch_ms

# text: as it is. integer: a column of whole numbers, as a decimal. decimal: with nine places, or all that it needs.
# boolean: true or false. time: epoch milliseconds. json: any value, as JSON.
Form: TypeAlias = Literal["text", "integer", "decimal", "boolean", "time", "json"]

FORMS: dict[FieldType | None, Form] = {
    "string": "text",
    "boolean": "boolean",
    "integer": "decimal",
    "float": "decimal",
    "time": "time",
    "list": "json",
    None: "json",
}
_PLACES = Decimal(1).scaleb(-9)
_LARGEST = Decimal(1).scaleb(18)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def comparable_text(value: Any, form: Form) -> str | None:
    """Returns a JSON value, sent or read back, as the text to compare; None for null."""
    if value is None:
        return None
    if form == "time":
        with contextlib.suppress(InvalidValue):
            return str(to_epoch_ms(value))
    if form == "decimal" and isinstance(value, int | float) and not isinstance(value, bool):
        number = Decimal(repr(value))
        if abs(number) < _LARGEST:
            # A zero has no sign, and what nine places do not tell apart is compared as it is.
            rounded = number.quantize(_PLACES) + 0
            return format(rounded if rounded == number else number, "f")
    if isinstance(value, str) and form == "text":
        return value
    # A text in the place of a number or a boolean keeps its quotation marks: it is another value.
    return orjson.dumps(value).decode()


def shown(text: str | None, form: Form) -> str | None:
    """Returns the text of what is held as people read it: a time as such, a number without the zeros at its end."""
    if text is None:
        return None
    if form == "time" and text.lstrip("-").isdigit():
        with contextlib.suppress(OverflowError):
            moment = _EPOCH + datetime.timedelta(milliseconds=int(text))
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if form == "decimal" and text.endswith("000000000") and "." in text:
        return text.partition(".")[0]
    if form == "decimal" and "." in text:
        return text.rstrip("0")
    return text


def joined(texts: Iterable[str | None]) -> str:
    """Returns many texts as one, as the macro ``default__pendo_joined`` does: each with its length before it."""
    return "".join("-" if text is None else f"{len(text)}:{text}" for text in texts)


def split(text: str) -> Sequence[str | None]:
    """Returns the texts that ``joined`` made one of."""
    texts: list[str | None] = []
    at = 0
    while at < len(text):
        if text[at] == "-":
            texts.append(None)
            at += 1
            continue
        colon = text.index(":", at)
        end = colon + 1 + int(text[at:colon])
        texts.append(text[colon + 1 : end])
        at = end
    return texts
