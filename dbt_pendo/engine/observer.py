"""What a run tells those who watch it."""

from __future__ import annotations

from typing import Protocol

from dbt_pendo.engine.results import SyncResult
from dbt_pendo.spec.sync import SyncSpec
from dbt_pendo.warehouse.pages import Planned


class Observer(Protocol):
    """Somebody who watches a run: the terminal, a log, or nobody."""

    def sync_started(self, index: int, total: int, spec: SyncSpec, reason: str) -> None:
        """A sync begins: its place in the run, from 1, and why it may run."""

    def sync_planned(self, spec: SyncSpec, planned: Planned) -> None:
        """The change set is written."""

    def sync_progressed(self, spec: SyncSpec, rows: int) -> None:
        """So many more rows have been judged."""

    def sync_finished(self, index: int, total: int, result: SyncResult) -> None:
        """A sync ended, one way or another."""
