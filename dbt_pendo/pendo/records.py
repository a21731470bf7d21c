"""Reading visitors and accounts back, page by page (pendo-api.md 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Object
from dbt_pendo.network import reports_error
from dbt_pendo.pendo.client import Answer, KeyRefusedError, LargeError, PendoClient, PendoError, Request
from dbt_pendo.wording import host_of

# Far under Pendo's cap of 5 minutes or 4 GB a call; fewer when so many do not fit in an answer.
RECORDS_PER_PAGE = 10_000
# The source of the pipeline. No row is about anonymous visitors.
_SOURCES: Mapping[Object, dict[str, Any]] = {
    "visitor": {"visitors": {"identified": True}},
    "account": {"accounts": None},
}
# Sources disagree (pendo-api.md 2).
RIGHTS = (
    "Reading back goes by Pendo's aggregation API. Which rights that takes is not published: try a key with write "
    "access, or ask Pendo whether your subscription has it."
)


class PendoRecord(NamedTuple):
    """What Pendo holds of a record: its id, and its values by metadata group and key."""

    key: str
    metadata: Mapping[str, Mapping[str, Any]]


def read_records(client: PendoClient, object_: Object) -> Iterator[list[PendoRecord]]:
    """Yields all visitors or accounts, a page at a time, in the order of their ids.

    There is no page token: each page asks for the ids after the last one.

    Raises:
        PendoError: If Pendo does not answer with records, or not in order.
    """
    source, id_key = _SOURCES[object_], OBJECTS[object_].id_key
    last: str | None = None
    limit = RECORDS_PER_PAGE
    while True:
        stages: list[dict[str, Any]] = [{"source": source}, {"sort": [id_key]}]
        if last is not None:
            stages.append({"filter": f"{id_key}>{orjson.dumps(last).decode()}"})
        stages.append({"limit": limit})
        try:
            page = [_record(item, id_key) for item in _results(client, object_, stages)]
        except LargeError:
            if limit == 1:
                raise
            limit = max(limit // 4, 1)
            continue
        # Not at a page that is merely short: Pendo may have a lower limit of its own.
        if not page:
            return
        if last is not None and page[-1].key == last:
            raise PendoError(f"Pendo returns the {object_} {last} again and again, not those after it.")
        yield page
        last = page[-1].key


def read_record(client: PendoClient, object_: Object, key: str) -> PendoRecord | None:
    """Returns what Pendo holds of one visitor or account; None if it does not know the id.

    Raises:
        PendoError: If Pendo does not answer with a record.
    """
    request = Request(
        "GET",
        f"/api/v1/{object_}/{quote(key, safe='')}",
        is_clear=lambda answer: isinstance(answer.document.get("metadata"), dict),
    )
    answer = client.ask(request, f"let the {object_} {key} be read", allowed=(404,))
    if not answer.ok:
        return None
    # The id stands in its metadata, and for some also beside it (pendo-api.md 6).
    id_key = OBJECTS[object_].id_key
    return _record({id_key: key, **answer.json}, id_key)


def _has_results(answer: Answer) -> bool:
    document = answer.document
    results = document.get("results")
    return isinstance(results, list) or (results is None and "results" in document and not reports_error(document))


def _results(client: PendoClient, object_: Object, stages: list[dict[str, Any]]) -> list[Any]:
    body = {"response": {"mimeType": "application/json"}, "request": {"requestId": "dbt-pendo", "pipeline": stages}}
    request = Request("POST", "/api/v1/aggregation", orjson.dumps(body), is_clear=_has_results, is_long=True)
    plural = OBJECTS[object_].plural
    try:
        answer = client.ask(request, f"let {plural} be read", RIGHTS)
    except KeyRefusedError as refused:
        # Pendo has said before that the key is good, so its rights are not enough.
        raise KeyRefusedError(
            f"Pendo at {host_of(client.settings.api_url)} does not let {plural} be read back "
            f"({refused.answer.message}), though it knows the integration key.",
            RIGHTS,
            refused.answer,
        ) from None
    return answer.json["results"] or []


def _record(item: Any, id_key: str) -> PendoRecord:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    key = item.get(id_key) if isinstance(item, dict) else None
    if not isinstance(key, str) or not isinstance(metadata, dict):
        raise PendoError(f"Pendo answers with a record that has no {id_key} or no metadata.")
    return PendoRecord(key, {group: values for group, values in metadata.items() if isinstance(values, dict)})
