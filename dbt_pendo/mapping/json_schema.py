"""The JSON Schema of ``meta.pendo``, for editors; made from the same definition as the parser.

It cannot tell what lies outside one value: names and fields given twice, and a sync without fields, which
the columns may yet provide.
"""

from __future__ import annotations

from typing import Any

from dbt_pendo.mapping.keys import (
    KEYS,
    NOT_BLANK,
    OBJECTS,
    Age,
    Choice,
    ColumnOnly,
    Count,
    Guard,
    Kind,
    Mappings,
    Text,
    TextSource,
    keys_of,
)
from dbt_pendo.mapping.spec import Object
from dbt_pendo.wording import article

_COLUMN_NAME = {"type": "string", "pattern": NOT_BLANK, "description": "A column of the model."}
_TEXT = {"type": "string", "pattern": NOT_BLANK, "description": "The same for every row."}
_SCALAR = ["string", "number", "boolean"]
_CONSTANT = {"type": [*_SCALAR, "array", "null"], "items": {"type": _SCALAR}, "description": "The same for every row."}


def json_schema() -> dict[str, Any]:
    """The schema of ``meta.pendo`` on a model; ``$defs/column`` is that of a column's."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "meta.pendo",
        "description": "Syncs the table dbt builds for this model to Pendo. The left side is Pendo's word, "
        "the right side is your column; {value: …} is a constant. null takes the model out of a mapping it inherits.",
        "if": {"type": "array"},
        "then": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/sync", "required": ["name"]}},
        "else": {"if": {"type": "null"}, "else": {"$ref": "#/$defs/sync"}},
        "$defs": {
            "sync": _sync(),
            **{name: _object(name) for name in OBJECTS},
            "column": {
                "description": "The Pendo name this column fills; true keeps the column's name, false maps nothing.",
                "type": ["string", "boolean", "null"],
                "pattern": NOT_BLANK,
            },
        },
    }


def _sync() -> dict[str, Any]:
    """Any sync: told apart by ``object``, so that an editor complains about that object's keys only."""
    return {
        "type": "object",
        "required": ["object"],
        "properties": {"object": {"enum": list(OBJECTS), "description": KEYS[0].doc}},
        "allOf": [
            {
                "if": {"required": ["object"], "properties": {"object": {"const": name}}},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in OBJECTS
        ],
    }


def _object(name: Object) -> dict[str, Any]:
    properties = {}
    for key in KEYS:
        if use := key.uses.get(name):
            default = {} if use.default is None else {"default": use.default}
            properties[key.name] = {"description": key.doc, **_value(use.kind), **default}
    return {
        "description": f"Makes each row {article(name)}.",
        "type": "object",
        "properties": properties,
        "required": [key for key, use in keys_of(name).items() if use.required],
        "additionalProperties": False,
    }


def _value(kind: Kind) -> dict[str, Any]:
    match kind:
        case Choice():
            return {"enum": list(kind.values)}
        case Text():
            return {"type": "string", "pattern": kind.pattern}
        case Count():
            return {"type": "integer", "minimum": 1, "maximum": kind.maximum}
        case Guard():
            return {"type": ["integer", "string"], "minimum": 0, "pattern": kind.pattern}
        case Age():
            return {"type": "string", "pattern": kind.pattern}
        case ColumnOnly():
            return _perhaps_joined(_short_or_long({"column": _COLUMN_NAME}), kind)
        case TextSource():
            return _perhaps_joined(_short_or_long({"column": _COLUMN_NAME, "value": _TEXT}), kind)
        case Mappings():
            return _mappings(kind)


def _mappings(kind: Mappings) -> dict[str, Any]:
    options = {option.name: {"description": option.doc, **_value(option.kind)} for option in kind.options}
    entry = _short_or_long({"column": _COLUMN_NAME, "value": _CONSTANT}, options)
    if kind.names:
        return {"type": "object", "properties": dict.fromkeys(kind.names, entry), "additionalProperties": False}
    return {"type": "object", "propertyNames": {"pattern": NOT_BLANK}, "additionalProperties": entry}


def _perhaps_joined(schema: dict[str, Any], kind: ColumnOnly | TextSource) -> dict[str, Any]:
    """The same, or the two columns of ``Parent::Child``."""
    if not kind.joined:
        return schema
    parts = {"parent": _COLUMN_NAME, "child": _COLUMN_NAME}
    both = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
    return {"anyOf": [schema, both]}


def _short_or_long(sources: dict[str, Any], options: dict[str, Any] | None = None) -> dict[str, Any]:
    """A plain string, or a mapping with exactly one of the sources."""
    return {
        "type": ["string", "object"],
        "pattern": NOT_BLANK,
        "properties": sources | (options or {}),
        "additionalProperties": False,
        "oneOf": [{"type": "string"}, *({"type": "object", "required": [source]} for source in sources)],
    }
