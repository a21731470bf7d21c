"""One text for a value that we send and for one that is read back from Pendo, to compare them.

Pendo stores times as epoch milliseconds, and JSON has one kind of number, so neither the values nor their JSON can be
compared as they are.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import orjson

from dbt_pendo.mapping.spec import FieldType
from dbt_pendo.records.convert import InvalidValue, to_time

# text: as it is. number: with all its digits. time: as it is sent, in UTC. json: any value, as JSON.
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


def comparable_text(value: Any, form: Form) -> str | None:
    """Returns a JSON value, sent or read back, as the text to compare; None for null."""
    if value is None:
        return None
    if form == "time":
        with contextlib.suppress(InvalidValue):
            return to_time(value)
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
    """Returns such a text as people read it: a time in UTC ends with Z."""
    return f"{text.removesuffix('+00:00')}Z" if text and form == "time" and text.endswith("+00:00") else text
