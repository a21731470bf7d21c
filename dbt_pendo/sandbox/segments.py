"""Segments: named lists of visitors, loaded by queued jobs, and changed by patches (pendo-api.md section 5)."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .exchange import RefusedError
from .metadata import Records
from .switches import Switches

_MAX_OPERATIONS = 10  # D
_MAX_PATCH_VISITORS = 1_000  # D
_SUCCESS = {"add": 200, "remove": 202}  # SEG, seen live
_IN_PROGRESS = "Operation in progress"


@dataclass
class _Job:
    """The job that loads the members of a segment after an upload or an overwrite."""

    id: str
    visitors: list[str]
    # When the present command began, by the monotonic clock, and how often somebody has looked since.
    since: float
    command: Literal["Pending", "Progress", "Finish", "Error"] = "Pending"
    looks: int = 0
    updated_at: int = 0
    message: str = ""
    tagged: int = 0

    def is_under_way(self) -> bool:
        """Whether it has not ended."""
        return self.command in ("Pending", "Progress")

    def due(self, switches: Switches) -> float | None:
        """When the present command ends; None before enough looks."""
        at = ("Pending", "Progress").index(self.command)
        wanted = switches.segment_looks[at]
        return self.since + switches.segment_seconds[at] if self.looks > wanted or not wanted else None

    def become(self, command: Literal["Progress", "Finish", "Error"], at: float, looks: int) -> None:
        """Goes on."""
        self.command, self.since, self.looks, self.updated_at = command, at, looks, _now()


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
    job: _Job | None = None

    def is_busy(self) -> bool:
        """Whether a write still runs on it; asking uses up one of the busy calls, and is a look at its job."""
        if self.job is not None and self.job.is_under_way():
            self.job.looks += 1
            return True
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
        # Segments whose jobs have not ended: the first one's is at work, the others wait for their turn.
        self._queue: list[_Segment] = []
        self._free_since = 0.0
        self._jobs = 0

    def add(self, name: str, visitors: Iterable[str], *, created_by_api: bool = True) -> str:
        """Puts a segment there, unchecked, and returns its id."""
        self._numbered += 1
        segment_id = f"segment-{self._numbered}"
        now = _now()
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

    def carry_out(self, switches: Switches, looked_at: _Segment | None = None) -> None:
        """Goes on with the jobs; called before anything is looked at, so that no timer thread is needed.

        Args:
            switches: How long they take.
            looked_at: The segment whose status is asked for: that is also a look at what its job becomes.
        """
        while self._queue:
            segment = self._queue[0]
            job = segment.job
            if job is None or (due := job.due(switches)) is None:
                return
            due = max(due, self._free_since)
            if (now := time.monotonic()) < due:
                return
            if any(switches.segment_looks):
                # It was looked at late, perhaps.
                due = now
            if job.command == "Pending":
                segment.visitors = {}
                job.become("Progress", due, int(segment is looked_at))
                continue
            bad = [v for v in job.visitors if v in switches.segment_invalid_ids]
            if bad:
                job.become("Error", due, 0)
                job.message = f"visitor id {bad[0]!r} is not valid"
            else:
                segment.visitors = dict.fromkeys(_member(v, switches) for v in job.visitors)
                job.become("Finish", due, 0)
                job.tagged = len(segment.visitors)
            job.visitors = []
            segment.updated_at = job.updated_at
            self._free_since = due
            self._queue.pop(0)

    def status(self, segment_id: str, switches: Switches) -> dict[str, Any]:
        """``GET /segment/{id}/status``: how far the last job is; looking is one of ``segment_looks`` (D).

        Raises:
            RefusedError: 404, there is no segment, or no job of the last hours.
        """
        segment = self._get(segment_id)
        job = segment.job
        if job is not None and job.is_under_way():
            job.looks += 1
            self.carry_out(switches, segment)
        if job is None or (not job.is_under_way() and time.monotonic() >= job.since + switches.segment_status_seconds):
            raise RefusedError(404, f"no job of the segment {segment_id!r}")
        spelled = {"capital": job.command, "lower": job.command.lower(), "upper": job.command.upper()}
        return {
            "command": spelled[switches.segment_command_case],
            "status": 200,
            "totalTagged": job.tagged,
            "lastUpdatedAt": job.updated_at,
            "entityTagId": f"tag-{segment_id}",
            "requestId": job.id,
            **({"message": job.message} if job.message else {}),
        }

    def upload(self, payload: Any, switches: Switches) -> str:
        """``POST /segment/upload``: a new segment with at least one visitor (SEG), whose members a job will load.

        Returns:
            Its id.

        Raises:
            RefusedError: 400, name or visitors missing, no name to be had, a visitor refused, or too many of them; 409,
                if another job is under way and a switch says so.
        """
        name = payload.get("name") if isinstance(payload, dict) else None
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "name is required")
        visitors = self._visitor_list(payload.get("visitors"), switches)
        if switches.segment_names_unique and any(s.name == name for s in self._segments.values()):
            raise RefusedError(400, f"segment name {name!r} is in use")
        self._refuse_second_job(switches)
        segment_id = self.add(name, ())
        self._load(self._segments[segment_id], visitors, switches)
        return segment_id

    def overwrite(self, segment_id: str, payload: Any, switches: Switches) -> None:
        """``PUT /segment/{id}``: replaces the name at once, and the visitors by a job.

        Raises:
            RefusedError: 404; 400 for a bad body, a visitor refused, or too many; 403 for a segment not created through
                the API; 409 while busy.
        """
        segment = self._writable(segment_id)
        if not isinstance(payload, dict) or not payload.keys() & {"name", "visitors"}:
            raise RefusedError(400, "name or visitors is required")
        name = payload.get("name", segment.name)
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "name must be a text")
        visitors = self._visitor_list(payload["visitors"], switches) if "visitors" in payload else None
        self._begin(segment)
        if visitors is not None:
            self._refuse_second_job(switches)
            self._load(segment, visitors, switches)
        segment.name, segment.updated_at = name, _now()

    def delete(self, segment_id: str) -> None:
        """``DELETE /segment/{id}``; RefusedError 404, or 409 while busy."""
        self._begin(self._get(segment_id))
        del self._segments[segment_id]

    def put_visitor(self, segment_id: str, visitor_id: str, switches: Switches) -> None:
        """``PUT /segment/{id}/visitor/{visitorId}``; RefusedError as for ``overwrite``."""
        segment = self._writable(segment_id)
        self._refuse_visitors([visitor_id], switches)
        self._refuse_more(segment, [visitor_id], switches)
        self._begin(segment)
        segment.visitors[_member(visitor_id, switches)] = None
        self._written(segment, switches)

    def delete_visitor(self, segment_id: str, visitor_id: str, switches: Switches) -> None:
        """``DELETE`` on the same path; a visitor that is no member is no error."""
        self._begin(segment := self._writable(segment_id))
        segment.visitors.pop(_member(visitor_id, switches), None)
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
            RefusedError: 404; 400 for a bad body or too many members; 413 for too much in it; 403 for a segment not
                created through the API; 409 while another write runs (D).
        """
        segment = self._writable(segment_id)
        operations = payload.get("patch") if isinstance(payload, dict) else None
        if not isinstance(operations, list) or not operations:
            raise RefusedError(400, "patch must be an array of operations")
        if len(operations) > _MAX_OPERATIONS:
            raise RefusedError(413, f"more than {_MAX_OPERATIONS} operations")
        values = [o.get("value") if isinstance(o, dict) else None for o in operations]
        if sum(len(value) for value in values if isinstance(value, list)) > _MAX_PATCH_VISITORS:
            raise RefusedError(413, f"more than {_MAX_PATCH_VISITORS} visitors")
        lists = zip(operations, values, strict=True)
        added = [v for o, value in lists if isinstance(value, list) and o.get("op") == "add" for v in value]
        self._refuse_more(segment, added, switches)
        try:
            self._begin(segment)
        except RefusedError as busy:
            if switches.segment_busy_reply == "call":
                raise
            return _ordered([_entry(o, busy.status, busy.message) for o in operations], switches)
        statuses = [self._apply(segment, operation, switches) for operation in operations]
        self._written(segment, switches)
        return _ordered(statuses, switches)

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
            raise RefusedError(403, "only segments created through the API can be changed")  # D
        return segment

    def _begin(self, segment: _Segment) -> None:
        """Refuses a write while another one runs."""
        if segment.is_busy():
            raise RefusedError(409, _IN_PROGRESS)

    def _refuse_second_job(self, switches: Switches) -> None:
        if self._queue and switches.segment_second_job == "refuse":
            for segment in self._queue:
                segment.is_busy()
            raise RefusedError(409, _IN_PROGRESS)

    def _load(self, segment: _Segment, visitors: Sequence[str], switches: Switches) -> None:
        """Queues the job that loads the members."""
        self._jobs += 1
        segment.job = _Job(f"request-{self._jobs}", list(visitors), time.monotonic(), updated_at=_now())
        self._queue.append(segment)
        self.carry_out(switches)

    def _written(self, segment: _Segment, switches: Switches) -> None:
        segment.updated_at = _now()
        segment.busy_until = time.monotonic() + switches.segment_busy_seconds
        segment.busy_calls = switches.segment_busy_calls

    def _visitor_list(self, visitors: Any, switches: Switches) -> list[str]:
        if not isinstance(visitors, list) or not visitors or not all(isinstance(v, str) and v for v in visitors):
            raise RefusedError(400, "at least one visitor is required")
        if len(visitors) > switches.max_segment_visitors:
            raise RefusedError(400, "too many visitors")
        self._refuse_unknown(visitors, switches)
        return visitors

    def _refuse_more(self, segment: _Segment, added: Iterable[Any], switches: Switches) -> None:
        """Refuses what brings a segment more members than there may be."""
        new = {_member(v, switches) for v in added if isinstance(v, str)} - segment.visitors.keys()
        if new and len(segment.visitors) + len(new) > switches.max_segment_visitors:
            raise RefusedError(400, "too many visitors")

    def _refuse_visitors(self, visitors: Iterable[str], switches: Switches) -> None:
        if bad := next((v for v in visitors if v in switches.segment_invalid_ids), None):
            raise RefusedError(400, f"visitor id {bad!r} is not valid")
        self._refuse_unknown(visitors, switches)

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
                self._refuse_visitors(operation["value"], switches)
            except RefusedError as refusal:
                return _entry(operation, refusal.status, refusal.message)
        for visitor_id in [_member(v, switches) for v in operation["value"]]:
            if operation["op"] == "add":
                segment.visitors[visitor_id] = None
            else:
                segment.visitors.pop(visitor_id, None)
        return _entry(operation, _SUCCESS[operation["op"]], "success")


def _member(visitor_id: str, switches: Switches) -> str:
    """An id as a segment has it: trimmed, and perhaps in lower case (D)."""
    trimmed = visitor_id.strip()
    return trimmed.lower() if switches.segment_ids == "lower case" else trimmed


def _ordered(entries: list[dict[str, Any]], switches: Switches) -> list[dict[str, Any]]:
    # Not a cryptographic use.
    order = {"as sent": entries, "reversed": entries[::-1], "shuffled": random.sample(entries, len(entries))}
    return order[switches.multistatus_order]


def _now() -> int:
    """Epoch milliseconds."""
    return int(time.time() * 1000)


def _entry(operation: Any, status: int, message: str) -> dict[str, Any]:
    op = operation.get("op") if isinstance(operation, dict) else None
    return {"status": status, "message": message, "operation": op}
