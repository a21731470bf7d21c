"""All that the stand-in for Pendo holds, behind one lock; no HTTP in here."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from .aggregation.stages import aggregate
from .deletion import Deletions
from .metadata import Records
from .segments import Segments
from .switches import Switches
from .track import DEFAULT_APP_ID, Events

KINDS = ("visitor", "account", "parentAccount")


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

    def aggregate(self, payload: Any, switches: Switches) -> list[dict[str, Any]]:
        """``POST /api/v1/aggregation``; see aggregation.stages.aggregate."""
        return aggregate(payload, self.records, self.segments.visitors, switches)
