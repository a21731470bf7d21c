"""The requests a sync would send, for people to read before it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dbt_pendo.pendo.metadata import values_path
from dbt_pendo.records.batches import metadata_body, pack, track_body
from dbt_pendo.records.render import Record, Rendered
from dbt_pendo.spec.sync import SyncSpec


@dataclass(frozen=True, slots=True)
class PreviewedRequest:
    """A request that would be sent: its method, its path below the host, and its body as JSON."""

    method: str
    path: str
    body: Any


def preview_requests(spec: SyncSpec, rendered: Rendered) -> Iterator[PreviewedRequest]:
    """Yields the requests for some rendered rows, in the order in which a sync would send them."""
    for batch in pack(rendered.updates, spec.batch_size):
        if spec.event is not None:
            yield PreviewedRequest("POST", "/data/track", orjson.loads(track_body(batch)))
        else:
            yield from _writes(spec, batch, create=spec.mode == "upsert")
    for batch in pack(rendered.clearings, spec.batch_size):
        yield from _writes(spec, batch, create=False)
    if rendered.deletions:
        ids = [record.key for record in rendered.deletions]
        yield PreviewedRequest("POST", f"/api/v1/bulkdelete/{spec.object}", {f"{spec.object}s": ids})


def _writes(spec: SyncSpec, batch: Sequence[Record], create: bool) -> Iterator[PreviewedRequest]:
    for at, group in enumerate(spec.groups or ("custom",)):
        body = orjson.loads(metadata_body(batch, at))
        if body:
            yield PreviewedRequest("POST", f"/api/v1/{values_path(spec.object, group, create)}", body)
