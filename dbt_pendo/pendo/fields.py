"""Pendo's API of fields: creating them, deleting one, and what uses them (pendo-api.md 3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import FieldType, Group, Object
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import PendoClient, Request
from dbt_pendo.pendo.metadata import SCHEMA

# Pendo's field API knows one type of number, and no source shows a list being created.
CREATABLE_TYPES: Mapping[FieldType, str] = {
    "string": "string",
    "boolean": "boolean",
    "integer": "number",
    "float": "number",
    "time": "time",
}
LARGEST_CREATION = 24
_DEPENDENCIES = "/api/v1/metadata/dependencies"
# What uses a field, in Pendo's words, singular or plural.
_USERS = re.compile("guide|report|segment", re.IGNORECASE)
_NAMES = ("name", "displayname", "title", "id")
_KINDS = frozenset(kind.metadata_kind.lower() for kind in OBJECTS.values() if kind.metadata_kind)


@dataclass(frozen=True, slots=True)
class Creation:
    """What Pendo said to the creation of fields; only the schema proves that they are there.

    Attributes:
        refused: By the name of each field that it says it has not created: why.
        undeleted: The names of those that it brought back.
    """

    refused: dict[str, str] = field(default_factory=dict)
    undeleted: set[str] = field(default_factory=set)


def create_fields(
    client: PendoClient,
    object_: Object,
    group: Group,
    types: Mapping[str, FieldType],
    fields_per_call: int = LARGEST_CREATION,
) -> Creation:
    """Creates fields in one group, or brings deleted ones back.

    Raises:
        PendoError: If Pendo cannot be used.
    """
    created = Creation()
    body = [{"name": name, "displayname": name, "type": CREATABLE_TYPES[type_]} for name, type_ in types.items()]
    for at in range(0, len(body), fields_per_call):
        part = body[at : at + fields_per_call]
        path = f"{SCHEMA}/{OBJECTS[object_].metadata_kind}/{group}"
        # A 500 with a verdict on each field means that all failed: it would be the same again.
        answer = client.send(Request("POST", path, orjson.dumps(part), is_verdict=_items))
        items = dict(_items(answer))
        for name in (one["name"] for one in part):
            status, reason = items.get(name.lower(), ("", ""))
            if status == "undeleted":
                created.undeleted.add(name)
            elif status == "failed" or (not status and not answer.ok):
                created.refused[name] = answer.told(reason) if reason else answer.message
    return created


def delete_field(client: PendoClient, object_: Object, group: Group, key: str) -> None:
    """Deletes a field; one that is deleted or gone already is no error (202, 404).

    Raises:
        PendoError: If Pendo refuses.
    """
    path = f"{SCHEMA}/{OBJECTS[object_].metadata_kind}/{group}/{quote(key, safe='')}"
    client.ask(Request("DELETE", path, is_clear=Answer.acknowledges), f"delete the field {key}", allowed=(404,))


Uses = Sequence[str]
"""What uses a field, each in words: ``guide Welcome``."""


def read_uses(client: PendoClient, object_: Object, group: str, key: str) -> Uses | None:
    """Returns what uses one field; None if Pendo does not say so.

    Raises:
        PendoError: If Pendo cannot be used.
    """
    path = f"{_DEPENDENCIES}/{OBJECTS[object_].metadata_kind}/{group}/{quote(key, safe='')}"
    answer = client.send(Request("GET", path))
    document = answer.json if answer.ok else None
    return list(dict.fromkeys(_uses(document))) if isinstance(document, dict | list) else None


def read_all_uses(client: PendoClient) -> Mapping[tuple[str, str, str], Uses] | None:
    """Returns what uses each field by kind, group and key, all in lower case; None if one has to ask for each alone.

    Raises:
        PendoError: If Pendo cannot be used.
    """
    answer = client.send(Request("GET", _DEPENDENCIES))
    document = answer.json if answer.ok else None
    if not isinstance(document, dict | list):
        return None
    found = dict(_by_field(document, ()))
    return found if found or not any(_uses(document)) else None


def _items(answer: Answer) -> list[tuple[str, tuple[str, Any]]]:
    """Returns the name of each field that an answer judges, in lower case, with the status and the reason."""
    document = answer.json
    lists = [document] if isinstance(document, list) else list(document.values()) if isinstance(document, dict) else []
    found = []
    for item in (item for one in lists if isinstance(one, list) for item in one if isinstance(item, dict)):
        schema, error = item.get("schema"), item.get("error")
        name = schema.get("name") if isinstance(schema, dict) else item.get("name", schema)
        reason = error.get("message") if isinstance(error, dict) else error or item.get("message")
        if isinstance(name, str) and isinstance(item.get("status"), str):
            found.append((name.lower(), (item["status"].lower(), reason)))
    return found


def _by_field(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, str, str], Uses]]:
    """Yields fields with what uses them: nested by kind, group and name, or as objects that say these themselves."""
    if isinstance(node, list):
        for item in node:
            yield from _by_field(item, path)
    if not isinstance(node, dict):
        return
    by_name = {str(name).lower(): value for name, value in node.items()}
    place = tuple(str(by_name.pop(name, "")).lower() for name in ("kind", "group", "field"))
    if all(place):
        yield (place[0], place[1], place[2]), list(dict.fromkeys(_uses(by_name)))
        return
    for name, value in node.items():
        inner = (*path, *re.split("[/.]", str(name).lower()))
        if len(inner) > 2 and inner[-3] in _KINDS:
            yield (inner[-3], inner[-2], inner[-1]), list(dict.fromkeys(_uses(value)))
        else:
            yield from _by_field(value, inner)


def _uses(node: Any, what: str = "") -> Iterator[str]:
    """Yields what is said to use a field, in any form."""
    if isinstance(node, list):
        for item in node:
            yield from _uses(item, what)
    elif isinstance(node, dict):
        by_name = {str(name).lower(): value for name, value in node.items()}
        name = next((by_name[one] for one in _NAMES if isinstance(by_name.get(one), str)), None)
        if name is not None:
            kind = by_name.get("type") or what
            yield f"{_word(kind)} {name}" if isinstance(kind, str) and kind else name
        else:
            for key, value in node.items():
                yield from _uses(value, str(key) if _USERS.search(str(key)) else what)
    elif what and isinstance(node, str | int) and node and not isinstance(node, bool):
        yield f"{_word(what)} {node}" if isinstance(node, str) else f"{node} {what}"


def _word(what: str) -> str:
    found = _USERS.search(what)
    return found[0].lower() if found else what.lower()
