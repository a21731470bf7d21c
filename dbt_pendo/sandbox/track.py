"""Track events: which are valid, and what is kept of them (pendo-api.md section 4)."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from .exchange import RefusedError
from .switches import Switches

DEFAULT_APP_ID = -323232
"""The id of the app that a subscription has first."""
LATE_SECONDS = 7 * 24 * 3600
"""Older events are taken and never processed (SUP-360032294291)."""
FUTURE_SECONDS = 5 * 60
"""Events further ahead are of the future; what Pendo makes of them is not known."""

_PROPERTY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
_RESERVED = re.compile(r"__.*__")
_MAX_PROPERTIES_BYTES = 512
_MAX_PROPERTY_KEYS = 10_000
_MAX_TRACK_TYPES = 5_000

Visit = Callable[[str, int, "str | None"], bool]
"""Tells of an event's visitor, time (epoch ms) and account; answers whether Pendo processes the visitor."""


@dataclass(frozen=True)
class Event:
    """An event that was accepted.

    Attributes:
        body: The event as it came.
        app: Which app's secret it came with; the default app is empty.
        received_at: Epoch seconds.
        late: It is more than 7 days old: accepted, but Pendo will not process it.
        future: Its time is yet to come.
        ignored: Its visitor is marked Do Not Process: accepted, and dropped.
        warnings: What Pendo would hold against it later, without refusing it.
    """

    body: dict[str, Any]
    app: str
    received_at: float
    late: bool
    future: bool
    ignored: bool
    warnings: tuple[str, ...]


class Events:
    """All events accepted, in order, and the track types they define. Callers hold the state's lock."""

    def __init__(self) -> None:
        self.accepted: list[Event] = []
        self._types: dict[tuple[str, str], dict[str, Any]] = {}
        self._types_of: Counter[str] = Counter()
        self._property_keys: set[str] = set()

    def receive(self, payload: Any, app: str, app_id: int, visit: Visit, switches: Switches) -> None:
        """Takes the body of one ``POST /data/track``.

        Args:
            payload: One event, or an array of them, as parsed. (No source shows Pendo taking arrays; see
                section 9 for why they are tried.)
            app: The app whose secret came with it.
            app_id: Its id.
            visit: Called for each event taken.
            switches: What becomes of arrays, and which events are invalid.

        Raises:
            RefusedError: 400, nothing was kept.
        """
        if switches.incomplete_events == "drop":
            if _is_incomplete(payload):
                return
            if isinstance(payload, list):
                payload = [event for event in payload if not _is_incomplete(event)]
        if not isinstance(payload, list):
            if problem := _problem(payload, switches):
                raise RefusedError(400, problem)
            self._keep(payload, app, app_id, visit)
            return
        if switches.event_arrays == "reject":
            raise RefusedError(400, "expected one event, not an array")
        invalid = [_problem(event, switches) != "" for event in payload]
        if switches.event_arrays == "atomic" and any(invalid):
            # A batch's refusal names no event: whoever sent it has to find out.
            raise RefusedError(400, "the request holds an invalid event")
        for event, is_invalid in zip(payload, invalid, strict=True):
            if not is_invalid:
                self._keep(event, app, app_id, visit)

    def types(self, options: Mapping[str, str]) -> list[dict[str, Any]]:
        """``GET /tracktype``: the track types seen so far, in order of appearance.

        Args:
            options: ``id`` of one of them; ``expand=*`` for those of all apps, ``appId`` for those of one. Without it
                only those of the default app (section 4).
        """
        types = self._types.values()
        if "id" in options:
            return [one for one in types if one["id"] == options["id"]]
        app_id = options.get("appId", str(DEFAULT_APP_ID))
        return [one for one in types if options.get("expand") == "*" or str(one["appId"]) == app_id]

    def _keep(self, event: dict[str, Any], app: str, app_id: int, visit: Visit) -> None:
        now = time.time()
        processed = visit(event["visitorId"], event["timestamp"], event.get("accountId"))
        late = _is_late(event, now)
        name = event["event"]
        warnings = self._warnings(event)
        if processed and not late and (app, name) not in self._types:
            if self._types_of[app] == _MAX_TRACK_TYPES:
                warnings.append(f"more than {_MAX_TRACK_TYPES} track types")
            else:
                self._define(app, app_id, name, now)
        future = _is_future(event, now)
        self.accepted.append(Event(event, app, now, late, future, not processed, tuple(warnings)))

    def _define(self, app: str, app_id: int, name: str, now: float) -> None:
        self._types_of[app] += 1
        self._types[app, name] = {
            "id": f"track-{len(self._types) + 1}",
            "name": name,
            "kind": "TrackType",
            "trackTypeName": name,
            "appId": app_id,
            "createdAt": int(now * 1000),
        }

    def _warnings(self, event: dict[str, Any]) -> list[str]:
        """Breaches that Pendo shows in its pages and does not refuse (SUP-360032294291)."""
        properties = event.get("properties") or {}
        found = [
            f"property name {name!r} is invalid"
            for name in properties
            if not _PROPERTY.fullmatch(name) or _RESERVED.fullmatch(name)
        ]
        if properties and len(orjson.dumps(properties)) > _MAX_PROPERTIES_BYTES:
            found.append("event properties JSON too large")
        new = properties.keys() - self._property_keys
        room = _MAX_PROPERTY_KEYS - len(self._property_keys)
        if len(new) > room:
            found.append(f"more than {_MAX_PROPERTY_KEYS} property keys")
        self._property_keys.update(sorted(new)[:room])
        return found


def _problem(event: Any, switches: Switches) -> str:
    """Why an event is invalid; empty when it is not."""
    if not isinstance(event, dict):
        return "an event is an object"
    if event.get("type") != "track":
        return 'type must be "track"'
    for key in ("event", "visitorId"):
        if not isinstance(event.get(key), str) or not event[key]:
            return f"{key} must be a text, not empty"
    timestamp = event.get("timestamp")
    if type(timestamp) is not int or not 0 < timestamp < 2**63:
        return "timestamp must be a whole number of milliseconds"
    if "accountId" in event and not isinstance(event["accountId"], str):
        return "accountId must be a text"
    for key in ("properties", "context"):
        if key in event and not isinstance(event[key], dict):
            return f"{key} must be an object"
    if switches.refuse_late_events and _is_late(event, time.time()):
        return "timestamp is more than 7 days ago"
    if switches.refuse_future_events and _is_future(event, time.time()):
        return "timestamp is in the future"
    return ""


def _is_incomplete(event: Any) -> bool:
    """Whether an event lacks one of the fields that it must have (section 4)."""
    return isinstance(event, dict) and any(
        event.get(key) in (None, "") for key in ("type", "event", "visitorId", "timestamp")
    )


def _is_late(event: dict[str, Any], now: float) -> bool:
    return bool(event["timestamp"] / 1000 < now - LATE_SECONDS)


def _is_future(event: dict[str, Any], now: float) -> bool:
    return bool(event["timestamp"] / 1000 > now + FUTURE_SECONDS)
