"""All that the stand-in for Pendo holds, behind one lock; no HTTP in here."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from .aggregation.stages import aggregate
from .deletion import Deletions
from .exchange import RefusedError
from .metadata import Records
from .segments import Segments
from .switches import Switches
from .track import DEFAULT_APP_ID, Events

KINDS = ("visitor", "account", "parentAccount")
USERS = ("guides", "reports", "segments")


class Pendo:
    """One subscription. Whoever calls anything in it holds ``lock``, so each call is applied as a whole."""

    def __init__(self, apps: Iterable[str] = ()) -> None:
        self.lock = threading.Lock()
        # By the names of the apps; the default one has none.
        self.app_ids = {"": DEFAULT_APP_ID, **{app: number for number, app in enumerate(apps, start=1)}}
        self.clear()

    def clear(self) -> None:
        """Back to an empty subscription."""
        self.records = {kind: Records(kind) for kind in KINDS}
        self.events = Events()
        self.segments = Segments(self.records["visitor"])
        self.deletions = Deletions()
        # What uses a field: names by guides, reports and segments, by the field's kind, group and key.
        self.uses: dict[tuple[str, str, str], dict[str, list[str]]] = {}

    def receive_events(self, payload: Any, app: str, switches: Switches) -> None:
        """``POST /data/track``; see Events.receive."""
        visitors, accounts = self.records["visitor"], self.records["account"]
        app_id = self.app_ids.get(app, DEFAULT_APP_ID)
        seen_in = app_id if len(self.app_ids) > 1 else None

        def visit(visitor_id: str, at: int, account_id: str | None) -> bool:
            if visitors.is_ignored(visitor_id):
                return False
            visitors.visit(visitor_id, at, account_id, switches, seen_in)
            if account_id and (account_id in accounts or switches.events_create_accounts):
                accounts.visit(account_id, at, None, switches, seen_in)
            return True

        self.events.receive(payload, app, app_id, visit, switches)

    def dependencies_of_all(self, switches: Switches) -> Any:
        """``GET /metadata/dependencies``: what uses each field; RefusedError 404 where only one field can be asked."""
        if switches.dependencies_reply == "one field":
            raise RefusedError(404, "not found")
        if switches.dependencies_reply == "list":
            names = ("kind", "group", "field")
            return [{**dict(zip(names, where, strict=True)), **_named(uses)} for where, uses in self.uses.items()]
        nested: dict[str, Any] = {}
        for (kind, group, key), uses in self.uses.items():
            nested.setdefault(kind, {}).setdefault(group, {})[key] = _named(uses)
        return nested

    def dependencies_of(self, kind: str, group: str, name: str, switches: Switches) -> Any:
        """The same of one field; RefusedError 404 if there is no such field."""
        field = self.records[kind].schema.find(group, name, switches)
        if field is None:
            raise RefusedError(404, f"no field {name!r} in group {group!r}")
        return _named(self.uses.get((kind, group, field.key), {}))

    def aggregate(self, payload: Any, switches: Switches) -> list[dict[str, Any]]:
        """``POST /api/v1/aggregation``; see aggregation.stages.aggregate."""
        return aggregate(payload, self.records, self.segments.visitors, switches)


def _named(uses: dict[str, list[str]]) -> dict[str, list[dict[str, str]]]:
    return {what: [{"id": name, "name": name} for name in uses.get(what, [])] for what in USERS}
