"""Bulk deletion: queued, marked at once, carried out later (pendo-api.md section 7)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from .exchange import RefusedError
from .metadata import Records
from .switches import Switches

_MAX_IDS = 500


@dataclass
class _Deletion:
    id: str
    kind: str
    ids: list[str]
    created_at: int
    since: float
    calls: int = 1
    is_queued: bool = True
    has_failed: bool = False

    def as_json(self, switches: Switches) -> dict[str, Any]:
        queued, done, failed = switches.deletion_states
        return {
            "id": self.id,
            "kind": self.kind,
            "status": queued if self.is_queued else failed if self.has_failed else done,
            "count": len(self.ids),
            "createdAt": self.created_at,
        }


class Deletions:
    """The queue of bulk deletions. Callers hold the state's lock."""

    def __init__(self) -> None:
        self._all: dict[str, _Deletion] = {}

    def request(self, payload: Any, records: Records, switches: Switches) -> dict[str, Any]:
        """``POST /bulkdelete/{kind}``: queues ids and marks them Do Not Process; several calls may share a job.

        Args:
            payload: ``{"visitors": [id, …]}`` or ``{"accounts": [id, …]}``, at most 500.
            records: The records of the kind.
            switches: When deletions are carried out, and how many calls share a job.

        Raises:
            RefusedError: 400, there are no ids, or too many, or one of them waits already.
        """
        ids = payload.get(f"{records.kind}s") if isinstance(payload, dict) else None
        if not isinstance(ids, list) or not ids or not all(isinstance(i, str) and i for i in ids):
            raise RefusedError(400, f"{records.kind}s must be an array of ids")
        if len(ids) > _MAX_IDS:
            raise RefusedError(400, f"more than {_MAX_IDS} ids")
        queued = [deletion for deletion in self._queued() if deletion.kind == records.kind]
        if not set(ids).isdisjoint(one for deletion in queued for one in deletion.ids):
            raise RefusedError(400, "a bulk delete of one or more of these ids was requested and has not begun")
        deletion = queued[-1] if queued and queued[-1].calls < switches.deletion_calls_per_job else None
        if deletion is None:
            deletion = _Deletion(f"delete-{len(self._all) + 1}", records.kind, list(ids), _now(), time.monotonic())
            self._all[deletion.id] = deletion
        else:
            deletion.ids += ids
            deletion.calls += 1
        for record_id in ids:
            records.forget(record_id)
        self.carry_out({records.kind: records}, switches)
        return deletion.as_json(switches)

    def carry_out(self, records: dict[str, Records], switches: Switches) -> None:
        """Ends what is due; called before anything is looked at, so that no timer thread is needed."""
        seconds = switches.deletion_seconds
        for deletion in self._queued():
            if seconds is None or time.monotonic() < deletion.since + seconds or deletion.kind not in records:
                continue
            deletion.is_queued, deletion.has_failed = False, switches.deletion_end == "failed"
            for record_id in deletion.ids:
                if deletion.has_failed:
                    records[deletion.kind].remember(record_id)
                else:
                    records[deletion.kind].remove(record_id, switches)

    def listed(self, switches: Switches) -> Any:
        """``GET /bulkdelete``: the requests that are not yet completed."""
        entries = [
            deletion.as_json(switches)
            | ({f"{deletion.kind}s": deletion.ids} if switches.deletion_list_names_ids else {})
            for deletion in self._queued()
        ]
        if switches.deletion_list == "by id":
            return {entry.pop("id"): entry for entry in entries}
        return {"bulkDeletes": entries} if switches.deletion_list == "object" else entries

    def get(self, deletion_id: str, switches: Switches) -> dict[str, Any]:
        """``GET /bulkdelete/{id}``, also of one that has ended; RefusedError 404 when there is none."""
        if deletion_id not in self._all:
            raise RefusedError(404, f"no deletion {deletion_id!r}")
        return self._all[deletion_id].as_json(switches)

    def _queued(self) -> list[_Deletion]:
        return [deletion for deletion in self._all.values() if deletion.is_queued]


def _now() -> int:
    """Epoch milliseconds."""
    return int(time.time() * 1000)
