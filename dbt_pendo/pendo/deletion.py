"""Pendo's bulk deletion (pendo-api.md 7): queued, done within days, at most one call a second."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Object
from dbt_pendo.network import contradicts
from dbt_pendo.outcomes import UNKNOWN_JOB
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import LargeError, PendoClient, PendoError, Request, UnavailableError

LARGEST_DELETION = 500
SECONDS_BETWEEN_DELETIONS = 1.0

_PATH = "/api/v1/bulkdelete"
_KINDS = frozenset({"visitor", "account"})
JobState: TypeAlias = Literal["done", "failed", "queued", "unknown"]
# No source shows the words of a job's state; these are what one would say.
_STATES: Mapping[JobState, tuple[str, ...]] = {
    "done": ("complete", "done", "finish", "success", "succeed", "deleted"),
    "failed": ("fail", "error", "cancel", "reject", "abort"),
    "queued": ("queue", "pending", "wait", "progress", "in progress", "processing", "running"),
}
# What a 400 says of an id that is none, and what it says of one that waits; either may be said in any words.
_UNFIT = re.compile(r"invalid|malformed|not (a )?valid|illegal|unsupported|too long|not allowed|must ", re.I)
_WAITS = re.compile(r"already|wait|queue|pending|progress|duplicate|scheduled|requested", re.I)


@dataclass(frozen=True, slots=True)
class OpenDeletion:
    """A deletion that Pendo has not completed: its job (empty if not named), and the ids in it as far as Pendo says."""

    job: str
    ids: Collection[str]


def deletion_request(object_: Object, ids: Sequence[str]) -> Request:
    """Returns the request that queues visitors or accounts for deletion, at most ``LARGEST_DELETION`` at once.

    It must not be repeated blindly: Pendo refuses ids that wait already (pendo-api.md 7).
    """
    body = orjson.dumps({OBJECTS[object_].plural: list(ids)})
    return Request("POST", f"{_PATH}/{object_}", body, ids, is_clear=job_of, idempotent=False)


def job_of(answer: Answer) -> str | None:
    """Returns the id of the job that a deletion was queued as; None when the answer does not name it."""
    return _job_in(answer.document)


def says_waiting(answer: Answer) -> bool:
    """Returns whether a refusal of one id means that its deletion was requested before (pendo-api.md 7).

    Of the reasons for a 400 it is the only one that the client gives: unless Pendo clearly says something else.
    """
    return answer.status == 400 and (not _UNFIT.search(answer.message) or bool(_WAITS.search(answer.message)))


def open_deletions(client: PendoClient, object_: Object) -> list[OpenDeletion] | None:
    """Returns the deletions of visitors or accounts that Pendo has not completed; None if it does not list them.

    Raises:
        UnavailableError: If Pendo does not answer.
    """
    entries = _listed(client)
    if entries is None:
        return None
    found = []
    for entry in entries:
        lists = {name.lower(): value for name, value in entry.items() if isinstance(value, list) and value}
        kinds = {kind for kind in _KINDS if any(name.startswith(kind) for name in lists)}
        kinds |= _KINDS & {value.lower().rstrip("s") for value in entry.values() if isinstance(value, str)}
        if not kinds or object_ in kinds:
            ours = (value for name, value in lists.items() if not name.startswith(tuple(_KINDS - {object_})))
            ids = {text for value in ours for item in value for text in _texts(item)}
            found.append(OpenDeletion(_job_in(entry) or "", ids))
    return found


def job_state(client: PendoClient, job: str) -> tuple[JobState, str]:
    """Returns how far a deletion is, and Pendo's own words; one that cannot be read is still queued.

    If the words say nothing to us, it is done when Pendo's list of open deletions lacks it (pendo-api.md 7).

    Raises:
        PendoError: If Pendo does not let it be read, or does not answer.
    """
    if job == UNKNOWN_JOB:
        return ("done", "completed") if _listed(client) == [] else ("queued", "")
    answer = client.send(Request("GET", f"{_PATH}/{job}"))
    if answer.status == 404:
        return "unknown", answer.message
    said = answer.told(next(filter(None, map(answer.document.get, ("status", "state", "command"))), ""))
    for state, words in _STATES.items():
        if said.lower().startswith(words):
            return state, said
    if said and (listed := _listed(client)) is not None and job not in map(_job_in, listed):
        return "done", said
    return "queued", said or answer.message


def _listed(client: PendoClient) -> list[dict[str, Any]] | None:
    """Returns the entries of Pendo's list of open deletions; None if it does not list them, or too many to be read."""
    request = Request("GET", _PATH, is_clear=_is_list)
    try:
        return list(_entries(client.ask(request, "list its open deletions").json))
    except PendoError as error:
        if isinstance(error, UnavailableError) and not isinstance(error, LargeError):
            raise
        return None


def _is_list(answer: Answer) -> bool:
    document = answer.json
    if isinstance(document, dict):
        return not contradicts(document)
    return isinstance(document, list) or answer.content.strip() in (b"", b"null")


def _entries(part: Any, name: str = "") -> Iterator[dict[str, Any]]:
    """Yields what describes one deletion each: no source shows whether it is in an array, in an object, or by id."""
    if isinstance(part, list):
        for item in part:
            yield from _entries(item)
    elif isinstance(part, dict):
        inner = {key: value for key, value in part.items() if isinstance(value, dict) or _has_objects(value)}
        if _job_in(part):
            yield part
        elif inner:
            for key, value in inner.items():
                yield from _entries(value, key)
        elif part and (name or any(isinstance(value, list) and value for value in part.values())):
            yield {"id": name, **part}
    elif isinstance(part, str | int) and part:
        yield {"id": part}


def _has_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _texts(item: Any) -> list[str]:
    """Returns the id that an item of a list names, as text or in an object."""
    if isinstance(item, dict):
        item = next(filter(None, map(item.get, ("id", "visitorId", "accountId"))), None)
    return [str(item)] if isinstance(item, str | int) else []


def _job_in(document: Mapping[str, Any]) -> str | None:
    # No source shows the answer itself, so the name of any id counts: id, jobId, job_id; `valid` is none. Beside the
    # job's there may be others, such as the subscription's.
    ids = {
        name: str(value)
        for name, value in document.items()
        if (name == "id" or name.endswith(("Id", "ID", "_id"))) and value and isinstance(value, str | int)
    }
    return ids[min(ids, key=lambda name: (not name.lower().startswith("job"), name != "id"))] if ids else None
