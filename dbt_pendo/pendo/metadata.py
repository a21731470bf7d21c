"""Pendo's metadata API: the schema of a kind, bulk values, and single values (pendo-api.md 3)."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

import orjson

from dbt_pendo.mapping.keys import FIELD_TYPES
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import FieldType, Group, Object
from dbt_pendo.network import contradicts, reports_error
from dbt_pendo.outcomes import Outcome
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import PendoClient, Request

# Pendo gives agent fields it has not seen a value of no type yet.
TYPES: Mapping[str, FieldType | None] = {**FIELD_TYPES, "array": "list", "": None}
SCHEMA = "/api/v1/metadata/schema"
UNKNOWN_ID = "Pendo does not know this id"
_LOOK_AT = "Look at PENDO_API_URL and PENDO_REGION."


@dataclass(frozen=True, slots=True)
class SchemaField:
    """A field of Pendo's schema: its key, its name in Pendo's pages, and its type (None: undeclared)."""

    key: str
    display_name: str
    type: FieldType | None


@dataclass(frozen=True, slots=True)
class Schema:
    """The fields of a kind by metadata group."""

    groups: Mapping[str, Mapping[str, SchemaField]]

    def find(self, group: str, name: str) -> SchemaField | None:
        """Returns the one field of a group that a name means; None where it means none, or several."""
        found = self.candidates(group, name)
        return found[0] if len(found) == 1 else None

    def candidates(self, group: str, name: str) -> tuple[SchemaField, ...]:
        """Returns the fields that a user may mean by a name: one, unless none fits or several fit as well.

        Pendo folds the case of a new field's name and may drop its underscores (pendo-api.md 3, Names): the key
        itself comes first, then one that differs by case, the display name, and last a key that differs by
        underscores.
        """
        fields = self.groups.get(group, {})
        if name in fields:
            return (fields[name],)
        by_case = tuple(one for one in fields.values() if one.key.casefold() == name.casefold())
        by_display_name = tuple(one for one in fields.values() if _displayed(one.display_name) == _displayed(name))
        by_letters = tuple(one for one in fields.values() if _squeezed(one.key) == _squeezed(name))
        fitting = [found for found in (by_case, by_display_name, by_letters) if found]
        return next((found for found in fitting if len(found) == 1), fitting[0] if fitting else ())


@dataclass(slots=True)
class Judgement:
    """What an answer says of the records of a request; an empty one says that Pendo took all."""

    # By id: the records that were not written, or whose outcome the answer names.
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    # By id: errors that seem to name a record, to be confirmed by a second request. Such a text may as well name a
    # field or a value.
    guessed: dict[str, str] = field(default_factory=dict)
    # Errors about records that the answer does not name, one a record; empty when every record is judged.
    unnamed: list[str] = field(default_factory=list)
    # Whether Pendo refused the request as a whole: then ``unnamed`` holds why, and nothing is known of other records.
    refused_whole: bool = False

    @property
    def exceptions(self) -> int:
        """How many records have another outcome than written."""
        return len(self.outcomes) + len(self.guessed) + len(self.unnamed)


def refused(reason: str) -> Judgement:
    """Returns the judgement of a request that Pendo refused as a whole."""
    return Judgement(unnamed=[reason], refused_whole=True)


def verify_key(client: PendoClient) -> bool:
    """Returns whether the integration key may write.

    Raises:
        KeyRefusedError: If Pendo does not know the key.
        UnavailableError: If Pendo does not answer.
    """
    request = Request(
        "GET", "/api/v1/token/verify", is_clear=lambda answer: isinstance(answer.document.get("valid"), bool)
    )
    answer = client.ask(request, "say whether the integration key is good", _LOOK_AT)
    if not answer.document["valid"]:
        raise client.key_refused(answer, client.settings.require_integration_key())
    return answer.document.get("writeAccess") is not False


def read_schema(client: PendoClient, object_: Object) -> Schema:
    """Reads the fields of a kind of object.

    Raises:
        PendoError: If the answer is no schema.
    """
    kind = OBJECTS[object_]
    request = Request("GET", f"{SCHEMA}/{kind.metadata_kind}", is_clear=_is_schema)
    answer = client.ask(request, f"say which fields {kind.plural} have", _LOOK_AT)
    return Schema(
        {
            group: {key: _schema_field(key, described) for key, described in fields.items() if _usable(described)}
            for group, fields in answer.json.items()
            if isinstance(fields, dict)
        }
    )


def _is_schema(answer: Answer) -> bool:
    # It is not empty even of a new subscription: the group `auto` is always there.
    has_groups = any(isinstance(fields, dict) for fields in answer.document.values())
    return has_groups and not reports_error(answer.document)


def values_request(object_: Object, group: Group, body: bytes, create: bool, keys: Sequence[str]) -> Request:
    """Returns the request that writes values of many records to one group; ids Pendo lacks are created or left out."""
    path = f"/api/v1/metadata/{OBJECTS[object_].metadata_kind}/{group}/value{'?create=true' if create else ''}"
    return Request("POST", path, body, keys, is_clear=partial(adds_up, sent=len(keys), create=create), is_long=True)


def consent_request(object_: Object, key: str, field: str, value: bool) -> Request:
    """Returns the request that sets a consent of one record: ``donotprocess`` or ``blacklistguides``."""
    start = f"/api/v1/metadata/{OBJECTS[object_].metadata_kind}/pendo/value"
    part, headers = id_in_path(key)
    return Request(
        "PUT",
        f"{start}/{part}/{field}",
        orjson.dumps(value),
        [key],
        is_clear=lambda answer: answer.acknowledges() or isinstance(answer.json, bool),
        headers=headers,
        pattern=f"{start}/{{id}}/{field}",
    )


def id_in_path(key: str) -> tuple[str, Mapping[str, str]]:
    """Returns an id as a part of a path, with the headers that it takes.

    It is URL-encoded; one that would be taken for another path, such as ``..`` or ``a/b``, is in base64 instead.
    """
    if not any(letter in key for letter in "/\\") and key.strip(". "):
        return quote(key, safe=""), {}
    encoded = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    return f"b64_{encoded}", {"x-pendo-base64-encoded-params": "true"}


def adds_up(answer: Answer, sent: int, create: bool) -> bool:
    """Returns whether the counts of a bulk 2xx are those of the request (pendo-api.md 3).

    Args:
        answer: A 2xx.
        sent: How many records the request had.
        create: Whether it was to create those that Pendo lacks, which may be counted in ``total`` only.
    """
    document = answer.document
    if contradicts(document):
        return False
    named = len(_items(document, "missing")) + len(_items(document, "errors"))
    failed = named if document.get("failed") is None else document["failed"]
    counts: list[Any] = [document.get("total"), document.get("updated"), failed]
    if not all(type(count) is int and count >= 0 for count in counts):
        return False
    total, updated, failed = counts
    judged = updated + failed
    return bool(total == sent and failed == named and (judged == sent or (create and judged < sent)))


def judge_values(answer: Answer, ids: Sequence[str]) -> Judgement:
    """Reads what a bulk request did to each record: a 2xx carries failures inside (pendo-api.md 3).

    Args:
        answer: The answer to a ``values_request``; a 2xx adds up.
        ids: The ids of the records of the request.
    """
    if not answer.ok:
        return refused(answer.message)
    document = answer.document
    judgement = Judgement()
    if document and not (document.get("missing") or document.get("errors") or document.get("failed")):
        # The usual answer, about thousands of records.
        return judgement
    known = set(ids)
    for missing in _items(document, "missing"):
        if isinstance(missing, str) and missing in known:
            judgement.outcomes[missing] = Outcome("missing", UNKNOWN_ID)
        else:
            judgement.unnamed.append(f"an unknown id is missing: {answer.told(missing)}")
    for error in _items(document, "errors"):
        text = answer.told(error)
        named = _named_in(error, known)
        if (identified := _identified_by(error, known)) is not None:
            judgement.outcomes[identified] = Outcome("rejected", text)
        elif named is not None and named not in judgement.outcomes and named not in judgement.guessed:
            judgement.guessed[named] = text
        else:
            judgement.unnamed.append(text)
    # One record may be named twice.
    failed = min(document.get("failed") or 0, len(known))
    if (more := failed - judgement.exceptions) > 0:
        judgement.unnamed += [f"{more} records failed without a reason"] * more
    return judgement


def _identified_by(error: Any, ids: set[str]) -> str | None:
    """Returns the id that an item of ``errors`` carries in a field of its own; the format of items is unknown."""
    if isinstance(error, dict):
        for key in ("visitorId", "accountId", "parentAccountId", "id"):
            if isinstance(found := error.get(key), str) and found in ids:
                return found
    return None


def _named_in(error: Any, ids: set[str]) -> str | None:
    """Returns the id that a text seems to be about: the only one that it quotes, or that stands before its colon."""
    if not isinstance(error, str):
        return None
    named = {candidate for candidate in _quoted(error) if candidate in ids}
    return named.pop() if len(named) == 1 else None


def _quoted(text: str) -> Iterator[str]:
    head, colon, _ = text.partition(": ")
    if colon:
        yield head
        yield head.rpartition(" ")[2]
    for mark in "\"'`":
        yield from text.split(mark)[1::2]


def _items(document: Mapping[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    # In another form than documented, it still reports failures.
    return found if isinstance(found, list) else [found] if found else []


def _usable(described: Any) -> bool:
    return isinstance(described, dict) and not (described.get("isDeleted") or described.get("IsDeleted"))


def _schema_field(key: str, described: Mapping[str, Any]) -> SchemaField:
    name = described.get("DisplayName", described.get("displayName", key))
    declared = str(described.get("Type", described.get("type", "")) or "").lower()
    element = described.get("ElementType", described.get("elementType"))
    return SchemaField(key, str(name), "list" if element else TYPES.get(declared))


def _displayed(name: str) -> str:
    # An accent is a character of its own on some keyboards, and blanks at the end are a mistake.
    return unicodedata.normalize("NFC", name.strip())


def _squeezed(name: str) -> str:
    return name.casefold().replace("_", "")
