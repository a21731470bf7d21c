"""Pendo's bulk deletion (pendo-api.md 6): queued, done within days, at most one call a second."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from dbt_pendo.pendo.client import Answer, PendoClient
from dbt_pendo.spec.sync import Object

LARGEST_DELETION = 500
SECONDS_BETWEEN_DELETIONS = 1.0


def delete_records(client: PendoClient, object_: Object, ids: Sequence[str]) -> Answer:
    """Queues visitors or accounts for deletion, at most ``LARGEST_DELETION`` at once."""
    return client.api("POST", f"bulkdelete/{object_}", orjson.dumps({f"{object_}s": list(ids)}))
