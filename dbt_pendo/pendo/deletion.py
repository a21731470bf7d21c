"""Pendo's bulk deletion (pendo-api.md 6): queued, done within days, at most one call a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import orjson

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Object
from dbt_pendo.pendo.client import Answer, PendoClient

LARGEST_DELETION = 500
SECONDS_BETWEEN_DELETIONS = 1.0

JobState: TypeAlias = Literal["done", "failed", "queued", "unknown"]
# No source shows the words of a job's state; these are what one would say.
_STATES: Mapping[JobState, tuple[str, ...]] = {
    "done": ("complete", "done", "finish", "success", "succeed", "deleted"),
    "failed": ("fail", "error", "cancel", "reject", "abort"),
}


def delete_records(client: PendoClient, object_: Object, ids: Sequence[str]) -> Answer:
    """Queues visitors or accounts for deletion, at most ``LARGEST_DELETION`` at once."""
    body = orjson.dumps({OBJECTS[object_].plural: list(ids)})
    return client.api("POST", f"bulkdelete/{object_}", body, _names_job, keys=ids)


def job_of(answer: Answer) -> str | None:
    """Returns the id of the job that a deletion was queued as; None when the answer does not tell."""
    document = answer.json
    # No source shows the answer itself, so the name of any id counts: id, jobId, job_id; `valid` is none. Beside the
    # job's there may be others, of the subscription say.
    named = document.items() if isinstance(document, dict) else ()
    ids = {
        name: str(value)
        for name, value in named
        if (name == "id" or name.endswith(("Id", "ID", "_id"))) and value and isinstance(value, str | int)
    }
    return ids[min(ids, key=lambda name: (not name.lower().startswith("job"), name != "id"))] if ids else None


def _names_job(answer: Answer) -> bool:
    return job_of(answer) is not None


def job_state(client: PendoClient, job: str) -> tuple[JobState, str]:
    """Returns how far a deletion is, and Pendo's own words; one that cannot be read is still queued.

    Raises:
        PendoError: If Pendo does not let it be read, or does not answer.
    """
    answer = client.api("GET", f"bulkdelete/{job}")
    if answer.status == 404:
        return "unknown", answer.message
    document = answer.json if answer.ok else None
    told = answer.told(document.get("status") or document.get("state") or "") if isinstance(document, dict) else ""
    for state, words in _STATES.items():
        if told.lower().startswith(words):
            return state, told
    return "queued", told or answer.message
