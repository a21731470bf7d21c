"""Reading visitors and accounts back, page by page (pendo-api.md 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

from dbt_pendo.mapping.objects import DO_NOT_PROCESS, OBJECTS
from dbt_pendo.mapping.spec import Object
from dbt_pendo.network import reports_error
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import KeyRefusedError, LargeError, PendoClient, PendoError, Request
from dbt_pendo.pendo.metadata import id_in_path
from dbt_pendo.wording import host_of

# Far under Pendo's cap of 5 minutes or 4 GB a call; fewer when so many do not fit in an answer.
RECORDS_PER_PAGE = 10_000
Hidden: TypeAlias = Literal["excluded", "do_not_process"]
View: TypeAlias = Literal["shown"] | Hidden
"""Which records: those that Pendo shows, those on its exclude list, those that it does not process (pendo-api.md 6)."""
ALL_APPS = 'expandAppIds("*")'
# Whether a source takes an option is not known of all: of several, the first that Pendo takes.
_OPTIONS: Mapping[tuple[Object, View], Sequence[dict[str, Any] | None]] = {
    # No row is about anonymous visitors.
    ("visitor", "shown"): [{"identified": True}],
    ("visitor", "excluded"): [{"identified": True, "blacklist": "only"}],
    ("visitor", "do_not_process"): [None],
    ("account", "shown"): [{"appId": ALL_APPS}, None],
    ("account", "excluded"): [{"appId": ALL_APPS, "blacklist": "only"}, {"blacklist": "only"}],
    ("account", "do_not_process"): [{"appId": ALL_APPS}, None],
}
# What says that a source does not take an option.
_NOT_TAKEN = (400, 422)
# Sources disagree (pendo-api.md 2).
RIGHTS = (
    "Reading back goes by Pendo's aggregation API. Which rights that takes is not published: try a key with write "
    "access, or ask Pendo whether your subscription has it."
)


class PendoRecord(NamedTuple):
    """What Pendo holds of a record: its id, and its values by metadata group and key."""

    key: str
    metadata: Mapping[str, Mapping[str, Any]]


def read_records(
    client: PendoClient, object_: Object, view: View = "shown", since: int | None = None
) -> Iterator[list[PendoRecord]]:
    """Yields visitors or accounts, of all apps, a page at a time, in the order of their ids.

    There is no page token: each page asks for the ids after the last one.

    Args:
        client: The client.
        object_: Which kind.
        view: Which of them.
        since: Epoch milliseconds: only those last updated since then; None for all.

    Raises:
        PendoError: If Pendo does not answer with records, or not in order.
    """
    kind = OBJECTS[object_]
    name = f"doNotProcess{kind.plural.title()}" if view == "do_not_process" else kind.plural
    options = list(_OPTIONS[object_, view])
    conditions = []
    if since is not None:
        options = [*({**(one or {}), "since": since} for one in options), *options]
        # A source may ignore an option that it does not know.
        conditions.append(f"metadata.auto.lastupdated>={since}")
    last: str | None = None
    limit = RECORDS_PER_PAGE
    while True:
        after = [] if last is None else [f"{kind.id_key}>{orjson.dumps(last).decode()}"]
        stages: list[dict[str, Any]] = [{"source": {name: options[0]}}, {"sort": [kind.id_key]}]
        if conditions or after:
            stages.append({"filter": " && ".join([*conditions, *after])})
        stages.append({"limit": limit})
        try:
            results = _results(client, object_, stages, is_last=len(options) == 1)
        except LargeError:
            if limit == 1:
                raise
            limit = max(limit // 4, 1)
            continue
        if results is None:
            options.pop(0)
            continue
        page = [_record(item, kind.id_key, is_hidden=view != "shown") for item in results]
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
    part, headers = id_in_path(key)
    request = Request(
        "GET",
        f"/api/v1/{object_}/{part}",
        is_clear=lambda answer: isinstance(answer.document.get("metadata"), dict),
        headers=headers,
        pattern=f"/api/v1/{object_}/{{id}}",
    )
    answer = client.ask(request, f"let the {object_} {key} be read", allowed=(404,))
    if not answer.ok:
        return None
    # The id stands in its metadata, and for some also beside it (pendo-api.md 6).
    id_key = OBJECTS[object_].id_key
    return _record({id_key: key, **answer.json}, id_key)


def is_ignored(record: PendoRecord | None) -> bool:
    """Returns whether a record is marked Do Not Process."""
    return record is not None and record.metadata.get("pendo", {}).get(DO_NOT_PROCESS) is True


def _has_results(answer: Answer) -> bool:
    document = answer.document
    results = document.get("results")
    return isinstance(results, list) or (results is None and "results" in document and not reports_error(document))


def _results(client: PendoClient, object_: Object, stages: list[dict[str, Any]], is_last: bool) -> list[Any] | None:
    """Returns the rows of a pipeline; None if its source does not take its options, and there are others to try."""
    body = {"response": {"mimeType": "application/json"}, "request": {"requestId": "dbt-pendo", "pipeline": stages}}
    request = Request("POST", "/api/v1/aggregation", orjson.dumps(body), is_clear=_has_results, is_long=True)
    plural = OBJECTS[object_].plural
    try:
        answer = client.ask(request, f"let {plural} be read", RIGHTS, allowed=() if is_last else _NOT_TAKEN)
    except KeyRefusedError as refused:
        # Pendo has said before that the key is good, so its rights are not enough.
        raise KeyRefusedError(
            f"Pendo at {host_of(client.settings.api_url)} does not let {plural} be read back "
            f"({refused.answer.message}), though it knows the integration key.",
            RIGHTS,
            refused.answer,
        ) from None
    return answer.json["results"] or [] if answer.ok else None


def _record(item: Any, id_key: str, is_hidden: bool = False) -> PendoRecord:
    """Returns a record; of a hidden one nothing says what there is beside its id, and nothing else is needed."""
    row: dict[str, Any] = item if isinstance(item, dict) else {}
    metadata, key = row.get("metadata"), row.get(id_key)
    groups = {group: values for group, values in _mapping(metadata).items() if isinstance(values, dict)}
    if is_hidden:
        key = key or row.get("id") or _mapping(groups.get("auto")).get("id")
    elif not isinstance(metadata, dict):
        key = None
    if not isinstance(key, str):
        raise PendoError(f"Pendo answers with a record that has no {id_key} or no metadata.")
    return PendoRecord(key, groups)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
