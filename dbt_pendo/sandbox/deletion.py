"""Bulk deletion: queued, marked at once, carried out later (pendo-api.md section 6)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from .exchange import RefusedError
from .metadata import Records
from .switches import Switches

_MAX_IDS = 500  # SUP-13857784403611


@dataclass
class _Deletion:
    id: str
    kind: str
    ids: list[str]
    created_at: int
    since: float
    status: str = "queued"

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status,
            "count": len(self.ids),
            "createdAt": self.created_at,
        }


class Deletions:
    """The queue of bulk deletions. Callers hold the state's lock."""

    def __init__(self) -> None:
        self._all: dict[str, _Deletion] = {}
        self._queued: list[_Deletion] = []

    def request(self, payload: Any, records: Records, switches: Switches) -> dict[str, Any]:
        """``POST /bulkdelete/{kind}``: queues ids and marks them Do Not Process.

        Args:
            payload: ``{"visitors": [id, …]}`` or ``{"accounts": [id, …]}``, at most 500.
            records: The records of the kind.
            switches: When deletions are carried out.

        Raises:
            RefusedError: 400, there are no ids, or too many.
        """
        ids = payload.get(f"{records.kind}s") if isinstance(payload, dict) else None
        if not isinstance(ids, list) or not ids or not all(isinstance(i, str) and i for i in ids):
            raise RefusedError(400, f"{records.kind}s must be an array of ids")
        if len(ids) > _MAX_IDS:
            raise RefusedError(400, f"more than {_MAX_IDS} ids")
        deletion = _Deletion(f"delete-{len(self._all) + 1}", records.kind, ids, _now(), time.monotonic())
        self._all[deletion.id] = deletion
        for record_id in ids:
            records.forget(record_id)
        self._queued.append(deletion)
        self.carry_out({records.kind: records}, switches)
        return deletion.as_json()

    def carry_out(self, records: dict[str, Records], switches: Switches) -> None:
        """Ends what is due; called before anything is looked at, so that no timer thread is needed."""
        seconds = switches.deletion_seconds
        for deletion in list(self._queued):
            if seconds is None or time.monotonic() < deletion.since + seconds or deletion.kind not in records:
                continue
            self._queued.remove(deletion)
            deletion.status = switches.deletion_end
            for record_id in deletion.ids:
                if deletion.status == "failed":
                    records[deletion.kind].remember(record_id)
                else:
                    records[deletion.kind].remove(record_id, switches)

    def listed(self) -> list[dict[str, Any]]:
        """``GET /bulkdelete``."""
        return [deletion.as_json() for deletion in self._all.values()]

    def get(self, deletion_id: str) -> dict[str, Any]:
        """``GET /bulkdelete/{id}``; RefusedError 404 when there is none."""
        if deletion_id not in self._all:
            raise RefusedError(404, f"no deletion {deletion_id!r}")
        return self._all[deletion_id].as_json()


def _now() -> int:
    """Epoch milliseconds."""
    return int(time.time() * 1000)
