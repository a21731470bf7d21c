"""What all parts of one sync work with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dbt_pendo.delivery.journal import journal_path
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import Counts, Observer
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.lock import SyncLock


@dataclass(frozen=True)
class SyncContext:
    """One sync in one run."""

    run_id: str
    prepared: Prepared
    tables: SyncTables
    client: PendoClient
    # dbt's target folder, for the journal.
    target_path: Path
    stop: Stop
    observer: Observer
    counts: Counts = field(default_factory=Counts)

    @property
    def spec(self) -> SyncSpec:
        """The mapping."""
        return self.prepared.spec

    @property
    def settings(self) -> Settings:
        """How to reach Pendo, and how hard to try."""
        return self.client.settings

    @property
    def lock(self) -> SyncLock:
        """The lock of the sync, which this run holds."""
        return self.tables.lock

    @property
    def journal_path(self) -> Path:
        """Where the journal lies."""
        return journal_path(self.target_path, self.spec.name, self.tables.address)
