"""What a sandbox is given before the first call: the fields, records and segments of a subscription."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from dbt_pendo.errors import ConfigError

from .exchange import RefusedError
from .schema import WRITABLE
from .state import KINDS, USERS

if TYPE_CHECKING:
    from .sandbox import Sandbox

# The subscription, as data: a dict is an object of these keys (of any, if one is `str`), a list is an array of such
# items, a frozenset is a text among these, a type is a value of it, `object` is anything, a tuple is any of its items.
_REQUIRED = frozenset({"kind", "group", "name", "type"})  # wherever they may stand
_GROUPS = ("agent", "auto", "custom", "hubspot", "pendo", "salesforce", "segmentio")  # pendo-api.md 3
_PER_APP = re.compile(r"^auto__-?\d+$")  # pendo-api.md 6
_TYPE = frozenset({"string", "time", "date", "boolean", "integer", "float", "list", ""})
_FIELD = {"type": _TYPE, "displayName": str, "elementType": _TYPE, "usedBy": {user: [str] for user in USERS}}
_RECORDS = ([str], {str: {group: {str: object} for group in _GROUPS}})
_SUBSCRIPTION: dict[str, Any] = {
    "fields": (
        {kind: {group: {str: (_TYPE, _FIELD)} for group in _GROUPS} for kind in KINDS},
        [{"kind": frozenset(KINDS), "group": frozenset(_GROUPS), "name": str, **_FIELD}],
    ),
    "visitors": _RECORDS,
    "accounts": _RECORDS,
    "parentAccounts": _RECORDS,
    "excludedVisitors": [str],
    "excludedAccounts": [str],
    "segments": [{"name": str, "visitors": [str], "createdByApi": bool}],
}
_WORDS = {str: "a text", bool: "true or false", int: "a whole number", list: "an array", dict: "an object"}


def seed(sandbox: Sandbox, subscription: Any) -> list[str]:
    """Gives a sandbox the fields, records and segments of a subscription.

    Args:
        sandbox: The sandbox.
        subscription: JSON: ``fields`` by kind, group and name (a type, or ``{type, displayName, elementType, usedBy}``;
            the last names ``guides``, ``reports`` and ``segments`` that use it), or an array of them; ``visitors``,
            ``accounts``, ``parentAccounts`` (ids, or what each holds by group); ``excludedVisitors`` and
            ``excludedAccounts`` (ids); ``segments`` (``{name, visitors, createdByApi}``).

    Returns:
        The ids of the segments.

    Raises:
        ConfigError: A key or a field is unknown or missing, or a value is of the wrong type; it says at which path.
    """
    _require(subscription, _SUBSCRIPTION, "")
    for path, field in _fields(subscription.get("fields", [])):
        more = {"element_type": field.get("elementType", ""), "display_name": field.get("displayName", "")}
        try:
            key = sandbox.add_field(field["kind"], field["group"], field["name"], field["type"], **more)
            sandbox.use_field(field["kind"], field["group"], key, **field.get("usedBy", {}))
        except RefusedError as refusal:
            raise ConfigError(f"{path}: {refusal.message}.") from None
    for kind in KINDS:
        _require_declared(sandbox, kind, subscription.get(f"{kind}s", []))
    sandbox.add_visitors(subscription.get("visitors", []))
    sandbox.add_accounts(subscription.get("accounts", []))
    sandbox.add_parent_accounts(subscription.get("parentAccounts", []))
    sandbox.exclude_visitors(subscription.get("excludedVisitors", []))
    sandbox.exclude_accounts(subscription.get("excludedAccounts", []))
    return [
        sandbox.add_segment(one["name"], one.get("visitors", []), created_by_api=one.get("createdByApi", True))
        for one in subscription.get("segments", [])
    ]


def _fields(fields: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The fields of a subscription in the form of the array, each with its path."""
    if isinstance(fields, list):
        yield from ((f"fields[{at}]", field) for at, field in enumerate(fields))
        return
    for kind, groups in fields.items():
        for group, named in groups.items():
            for name, field in named.items():
                described = {"type": field} if isinstance(field, str) else field
                yield f"fields.{kind}.{group}.{name}", {"kind": kind, "group": group, "name": name, **described}


def _require_declared(sandbox: Sandbox, kind: str, records: Any) -> None:
    """Requires that the schema has the fields of records, in the groups that a client may write."""
    schema = sandbox.pendo.records[kind].schema.as_json()
    for key, groups in records.items() if isinstance(records, dict) else ():
        for group in WRITABLE:
            for name in groups.get(group, {}):
                if name not in schema[group]:
                    path = f"{kind}s.{key}.{group}.{name}"
                    raise _unknown(name, schema[group], path, f"no such field under fields.{kind}.{group}")


def _require(value: Any, shape: Any, path: str) -> None:
    """Requires that JSON has a shape; ConfigError tells the path of what does not fit."""
    shapes = shape if isinstance(shape, tuple) else (shape,)
    shape = next((one for one in shapes if one is object or _json_type(one) is type(value)), None)
    if shape is None:
        expected = " or ".join(_WORDS[_json_type(one)] for one in shapes)
        raise ConfigError(f"{path or 'the subscription'}: expected {expected}, not {json.dumps(value)[:60]}")
    if isinstance(shape, list):
        for at, item in enumerate(value):
            _require(item, shape[0], f"{path}[{at}]")
    elif isinstance(shape, frozenset):
        if value not in shape:
            raise _unknown(value, shape, f"{path}: {json.dumps(value)}")
    elif isinstance(shape, dict):
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            known = shape.get(_PER_APP.sub("auto", key), shape.get(str))
            if known is None:
                raise _unknown(key, shape, where)
            _require(item, known, where)
        if missing := sorted(shape.keys() & _REQUIRED - value.keys()):
            raise ConfigError(f"{path}: {missing[0]} is missing")


def _json_type(shape: Any) -> type:
    return shape if isinstance(shape, type) else str if isinstance(shape, frozenset) else type(shape)


def _unknown(text: str, known: Collection[str], where: str, other: str = "") -> ConfigError:
    near = get_close_matches(text, known, n=1)
    other = other or f"expected {', '.join(sorted(filter(None, known)))}"
    return ConfigError(f"{where}: did you mean {near[0]}?" if near else f"{where}: {other}")
