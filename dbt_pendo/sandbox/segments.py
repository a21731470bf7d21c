"""Segments: named lists of visitors, written by uploads and patches (pendo-api.md section 5)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .exchange import RefusedError
from .metadata import Records
from .switches import Switches

_MAX_OPERATIONS = 10  # SLT
_MAX_PATCH_VISITORS = 1_000  # SEG, SLT
_SUCCESS = {"add": 200, "remove": 202}  # SEG, seen live


@dataclass
class _Segment:
    id: str
    name: str
    created_by_api: bool
    created_at: int
    updated_at: int
    visitors: dict[str, None] = field(default_factory=dict)
    busy_until: float = 0.0
    busy_calls: int = 0

    def is_busy(self) -> bool:
        """Whether a write still runs on it; asking uses up one of the busy calls."""
        if self.busy_calls > 0:
            self.busy_calls -= 1
            return True
        return time.monotonic() < self.busy_until

    def as_json(self) -> dict[str, Any]:
        """The segment as Pendo lists it (ADP)."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": "Segment",
            "createdByApi": self.created_by_api,
            "definition": {"kind": "visitors"},
            "pipeline": [],
            "dependentMetadata": [],
            "isFocusGroup": False,
            "createdAt": self.created_at,
            "lastUpdatedAt": self.updated_at,
            "createdByUser": {},
            "lastUpdatedByUser": {},
        }


class Segments:
    """All segments. Callers hold the state's lock.

    Args:
        visitors: The visitors Pendo has seen. Others become members too (SEG), unless a switch says no.
    """

    def __init__(self, visitors: Records) -> None:
        self._visitors = visitors
        self._segments: dict[str, _Segment] = {}
        self._exports: dict[str, list[str]] = {}
        self._numbered = 0

    def add(self, name: str, visitors: Iterable[str], *, created_by_api: bool = True) -> str:
        """Puts a segment there, unchecked, and returns its id."""
        self._numbered += 1
        segment_id = f"segment-{self._numbered}"
        now = int(time.time() * 1000)
        segment = _Segment(segment_id, name, created_by_api, now, now, dict.fromkeys(visitors))
        self._segments[segment_id] = segment
        return segment_id

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """``{id: {…, "visitors": [id, …]}}``."""
        return {k: {**s.as_json(), "visitors": list(s.visitors)} for k, s in self._segments.items()}

    def visitors(self, segment_id: str) -> list[str]:
        """Its members; RefusedError 404 when there is none."""
        return list(self._get(segment_id).visitors)

    def listed(self, created_by_api: bool | None) -> list[dict[str, Any]]:
        """``GET /segment``, all or those (not) created through the API."""
        chosen = self._segments.values()
        return [s.as_json() for s in chosen if created_by_api is None or s.created_by_api is created_by_api]

    def get(self, segment_id: str) -> dict[str, Any]:
        """``GET /segment/{id}``; RefusedError 404 when there is none."""
        return self._get(segment_id).as_json()

    def status(self, segment_id: str) -> dict[str, Any]:
        """``GET /segment/{id}/status`` (PM); looking is one of ``segment_busy_calls``, so that waiting ends."""
        segment = self._get(segment_id)
        busy = segment.is_busy()
        command = "running" if busy else "finish"
        return {"requestId": segment_id, "status": 200, "command": command, "updatePending": busy}

    def upload(self, payload: Any, switches: Switches) -> str:
        """``POST /segment/upload``: a new segment with at least one visitor (SEG).

        Returns:
            Its id.

        Raises:
            RefusedError: 400, name or visitors missing, no name to be had, or a visitor refused; 413, too many.
        """
        name = payload.get("name") if isinstance(payload, dict) else None
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "name is required")
        visitors = self._visitor_list(payload.get("visitors"), switches)
        if switches.segment_names_unique and any(s.name == name for s in self._segments.values()):
            raise RefusedError(400, f"segment name {name!r} is in use")
        segment_id = self.add(name, visitors)
        self._written(self._segments[segment_id], switches)
        return segment_id

    def overwrite(self, segment_id: str, payload: Any, switches: Switches) -> None:
        """``PUT /segment/{id}``: replaces the name, the visitors, or both.

        Raises:
            RefusedError: 404; 400 for a bad body, a visitor refused, or a segment not created through the API;
                409 while busy; 413 for too many visitors.
        """
        segment = self._writable(segment_id)
        if not isinstance(payload, dict) or not payload.keys() & {"name", "visitors"}:
            raise RefusedError(400, "name or visitors is required")
        name = payload.get("name", segment.name)
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "name must be a text")
        visitors = list(segment.visitors)
        if "visitors" in payload:
            visitors = self._visitor_list(payload["visitors"], switches)
        self._begin(segment)
        segment.name, segment.visitors = name, dict.fromkeys(visitors)
        self._written(segment, switches)

    def delete(self, segment_id: str) -> None:
        """``DELETE /segment/{id}``; RefusedError 404, or 409 while busy."""
        self._begin(self._get(segment_id))
        del self._segments[segment_id]

    def put_visitor(self, segment_id: str, visitor_id: str, switches: Switches) -> None:
        """``PUT /segment/{id}/visitor/{visitorId}``; RefusedError as for ``overwrite``."""
        segment = self._writable(segment_id)
        self._refuse_unknown([visitor_id], switches)
        self._begin(segment)
        segment.visitors[visitor_id] = None
        self._written(segment, switches)

    def delete_visitor(self, segment_id: str, visitor_id: str, switches: Switches) -> None:
        """``DELETE`` on the same path; a visitor that is no member is no error."""
        self._begin(segment := self._writable(segment_id))
        segment.visitors.pop(visitor_id, None)
        self._written(segment, switches)

    def patch(self, segment_id: str, payload: Any, switches: Switches) -> list[dict[str, Any]]:
        """``PATCH /segment/{id}/visitor``: adds and removes visitors.

        Args:
            segment_id: A segment created through the API.
            payload: ``{"patch": [{"op": "add" | "remove", "path": "/visitors", "value": [id, …]}]}`` with at
                most 10 operations and 1,000 visitors.
            switches: How a 409 is told, and whether unknown visitors are taken.

        Returns:
            The multistatus: one entry an operation, not a visitor (SEG). A bad operation, or one that adds a visitor
            that is refused, has a 400 there.

        Raises:
            RefusedError: 404; 400 for a bad body or too much in it; 409 while another write runs (SEG).
        """
        segment = self._writable(segment_id)
        operations = payload.get("patch") if isinstance(payload, dict) else None
        if not isinstance(operations, list) or not operations:
            raise RefusedError(400, "patch must be an array of operations")
        if len(operations) > _MAX_OPERATIONS:
            raise RefusedError(400, f"more than {_MAX_OPERATIONS} operations")
        values = [o.get("value") if isinstance(o, dict) else None for o in operations]
        if sum(len(value) for value in values if isinstance(value, list)) > _MAX_PATCH_VISITORS:
            raise RefusedError(400, f"more than {_MAX_PATCH_VISITORS} visitors")
        try:
            self._begin(segment)
        except RefusedError as busy:
            if switches.segment_busy_reply == "call":
                raise
            return [_entry(o, busy.status, busy.message) for o in operations]
        statuses = [self._apply(segment, operation, switches) for operation in operations]
        self._written(segment, switches)
        return statuses

    def export(self, segment_id: str) -> str:
        """``POST /segment/{id}/visitors``: starts an export; returns the job's id."""
        job_id = f"job-{len(self._exports) + 1}"
        self._exports[job_id] = self.visitors(segment_id)
        return job_id

    def exported(self, job_id: str) -> list[str]:
        """The visitors of a finished export; RefusedError 404 when there is none."""
        if job_id not in self._exports:
            raise RefusedError(404, f"no job {job_id!r}")
        return self._exports[job_id]

    def _get(self, segment_id: str) -> _Segment:
        if segment_id not in self._segments:
            raise RefusedError(404, f"no segment {segment_id!r}")
        return self._segments[segment_id]

    def _writable(self, segment_id: str) -> _Segment:
        segment = self._get(segment_id)
        if not segment.created_by_api:
            raise RefusedError(400, "only segments created through the API can be changed")  # SLT
        return segment

    def _begin(self, segment: _Segment) -> None:
        """Refuses a write while another one runs."""
        if segment.is_busy():
            raise RefusedError(409, "Operation in progress")

    def _written(self, segment: _Segment, switches: Switches) -> None:
        segment.updated_at = int(time.time() * 1000)
        segment.busy_until = time.monotonic() + switches.segment_busy_seconds
        segment.busy_calls = switches.segment_busy_calls

    def _visitor_list(self, visitors: Any, switches: Switches) -> list[str]:
        if not isinstance(visitors, list) or not visitors or not all(isinstance(v, str) and v for v in visitors):
            raise RefusedError(400, "at least one visitor is required")
        if switches.max_segment_visitors is not None and len(visitors) > switches.max_segment_visitors:
            raise RefusedError(413, "too many visitors")
        self._refuse_unknown(visitors, switches)
        return visitors

    def _refuse_unknown(self, visitors: Iterable[str], switches: Switches) -> None:
        if switches.segment_unknown_visitors == "refuse" and not all(v in self._visitors for v in visitors):
            raise RefusedError(400, "unknown visitor")

    def _apply(self, segment: _Segment, operation: Any, switches: Switches) -> dict[str, Any]:
        value = operation.get("value") if isinstance(operation, dict) else None
        fits = isinstance(value, list) and all(isinstance(v, str) and v for v in value)
        if not fits or operation.get("op") not in _SUCCESS or operation.get("path") != "/visitors":
            return _entry(operation, 400, "invalid operation")
        if operation["op"] == "add":
            try:
                self._refuse_unknown(operation["value"], switches)
            except RefusedError as refusal:
                return _entry(operation, refusal.status, refusal.message)
        for visitor_id in operation["value"]:
            if operation["op"] == "add":
                segment.visitors[visitor_id] = None
            else:
                segment.visitors.pop(visitor_id, None)
        return _entry(operation, _SUCCESS[operation["op"]], "success")


def _entry(operation: Any, status: int, message: str) -> dict[str, Any]:
    op = operation.get("op") if isinstance(operation, dict) else None
    return {"status": status, "message": message, "operation": op}
