"""Pendo's bulk deletion (pendo-api.md 6): queued, done within days, at most one call a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import orjson

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Object
from dbt_pendo.pendo.client import Answer, PendoClient, Request

LARGEST_DELETION = 500
SECONDS_BETWEEN_DELETIONS = 1.0

JobState: TypeAlias = Literal["done", "failed", "queued", "unknown"]
# No source shows the words of a job's state; these are what one would say.
_STATES: Mapping[JobState, tuple[str, ...]] = {
    "done": ("complete", "done", "finish", "success", "succeed", "deleted"),
    "failed": ("fail", "error", "cancel", "reject", "abort"),
}


def deletion_request(object_: Object, ids: Sequence[str]) -> Request:
    """Returns the request that queues visitors or accounts for deletion, at most ``LARGEST_DELETION`` at once."""
    body = orjson.dumps({OBJECTS[object_].plural: list(ids)})
    return Request("POST", f"/api/v1/bulkdelete/{object_}", body, ids, is_clear=job_of)


def job_of(answer: Answer) -> str | None:
    """Returns the id of the job that a deletion was queued as; None when the answer does not name it."""
    # No source shows the answer itself, so the name of any id counts: id, jobId, job_id; `valid` is none. Beside the
    # job's there may be others, such as the subscription's.
    ids = {
        name: str(value)
        for name, value in answer.document.items()
        if (name == "id" or name.endswith(("Id", "ID", "_id"))) and value and isinstance(value, str | int)
    }
    return ids[min(ids, key=lambda name: (not name.lower().startswith("job"), name != "id"))] if ids else None


def job_state(client: PendoClient, job: str) -> tuple[JobState, str]:
    """Returns how far a deletion is, and Pendo's own words; one that cannot be read is still queued.

    Raises:
        PendoError: If Pendo does not let it be read, or does not answer.
    """
    answer = client.send(Request("GET", f"/api/v1/bulkdelete/{job}"))
    if answer.status == 404:
        return "unknown", answer.message
    said = answer.told(answer.document.get("status") or answer.document.get("state") or "")
    for state, words in _STATES.items():
        if said.lower().startswith(words):
            return state, said
    return "queued", said or answer.message
