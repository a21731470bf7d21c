"""One text for a value that we send and for one that is read back from Pendo, to compare them.

Pendo stores times as epoch milliseconds, and JSON has one kind of number, so neither the values nor their JSON can be
compared as they are.
"""

from __future__ import annotations

import contextlib
import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import orjson

from dbt_pendo.mapping.spec import FieldType
from dbt_pendo.records.convert import InvalidValue, to_epoch_ms

# text: as it is. number: with all its digits. time: epoch milliseconds. json: any value, as JSON.
Form: TypeAlias = Literal["text", "number", "time", "json"]

FORMS: dict[FieldType | None, Form] = {
    "string": "text",
    "boolean": "json",
    "integer": "number",
    "float": "number",
    "time": "time",
    "list": "json",
    None: "json",
}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def comparable_text(value: Any, form: Form) -> str | None:
    """Returns a JSON value, sent or read back, as the text to compare; None for null."""
    if value is None:
        return None
    if form == "time":
        with contextlib.suppress(InvalidValue):
            return str(to_epoch_ms(value))
    if form == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        text = format(Decimal(repr(value)), "f")
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        # A zero has no sign.
        return "0" if text == "-0" else text
    if isinstance(value, str) and form == "text":
        return value
    # A text in the place of a number or a boolean keeps its quotation marks: it is another value.
    return orjson.dumps(value).decode()


def readable_text(text: str | None, form: Form) -> str | None:
    """Returns such a text as people read it: a time as a date and a clock."""
    if text is None:
        return None
    if form == "time" and text.lstrip("-").isdigit():
        with contextlib.suppress(OverflowError):
            moment = _EPOCH + datetime.timedelta(milliseconds=int(text))
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return text
