"""The requests a sync would send, for people to read before it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.pendo.metadata import values_path
from dbt_pendo.pendo.segments import patch_document
from dbt_pendo.records.batches import metadata_body, pack, track_body
from dbt_pendo.records.render import Record, Rendered, operations_of


@dataclass(frozen=True, slots=True)
class PreviewedRequest:
    """A request that would be sent: its method, its path below the host, and its body as JSON."""

    method: str
    path: str
    body: Any


def preview_requests(
    spec: SyncSpec, rendered: Rendered, segment_id: str | None = None, whole: bool = False
) -> Iterator[PreviewedRequest]:
    """Yields the requests for some rendered rows, in the order in which a sync would send them.

    Args:
        spec: The sync.
        rendered: The rows.
        segment_id: The segment of a ``segment`` sync; None when it is yet to be made.
        whole: Whether a segment's members are replaced.
    """
    if spec.segment is not None:
        yield from _members(spec.segment, rendered.updates, segment_id, whole, spec.batch_size)
        return
    for batch in pack(rendered.updates, spec.batch_size):
        if spec.event is not None:
            yield PreviewedRequest("POST", "/data/track", orjson.loads(track_body(batch)))
        else:
            yield from _writes(spec, batch, create=spec.mode == "upsert")
    for batch in pack(rendered.clearings, spec.batch_size):
        yield from _writes(spec, batch, create=False)
    if rendered.deletions:
        ids = [record.key for record in rendered.deletions]
        yield PreviewedRequest("POST", f"/api/v1/bulkdelete/{spec.object}", {OBJECTS[spec.object].plural: ids})


def _members(
    name: str, records: Sequence[Record], segment_id: str | None, whole: bool, size: int
) -> Iterator[PreviewedRequest]:
    added = operations_of(records).get("add", [])
    if segment_id is None or whole:
        if added and segment_id is None:
            yield PreviewedRequest("POST", "/api/v1/segment/upload", {"name": name, "visitors": added})
        elif added:
            yield PreviewedRequest("PUT", f"/api/v1/segment/{segment_id}", {"visitors": added})
        return
    for batch in pack(records, size):
        yield PreviewedRequest("PATCH", f"/api/v1/segment/{segment_id}/visitor", patch_document(operations_of(batch)))


def _writes(spec: SyncSpec, batch: Sequence[Record], create: bool) -> Iterator[PreviewedRequest]:
    for at, group in enumerate(spec.groups or ("custom",)):
        body = orjson.loads(metadata_body(batch, at))
        if body:
            yield PreviewedRequest("POST", f"/api/v1/{values_path(spec.object, group, create)}", body)
