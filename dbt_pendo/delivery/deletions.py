"""Deletions that earlier runs have queued: Pendo may take 21 days (pendo-api.md 6), and no run waits so long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dbt_pendo.pendo.client import PendoClient, PendoError
from dbt_pendo.pendo.deletion import job_state
from dbt_pendo.warehouse.ledger import SyncTables


@dataclass(frozen=True, slots=True)
class FollowedDeletions:
    """What became of the deletions that the ledger knows as queued.

    Attributes:
        queued: The rows of each of Pendo's jobs that is not known to have ended.
        notes: How the others ended, in words for people.
    """

    queued: Mapping[str, int]
    notes: Sequence[str]


def follow_deletions(client: PendoClient, tables: SyncTables, run_id: str) -> FollowedDeletions:
    """Asks Pendo once for each deletion that is queued, and writes into the ledger which have ended.

    The rows of one that failed count as delivered again, so that the next plan finds them removed.

    Raises:
        WarehouseError: If the ledger cannot be read or written.
    """
    queued = tables.queued_deletions()
    notes = []
    for job, rows in list(queued.items()):
        try:
            state, told = job_state(client, job)
        except PendoError:
            # It is no reason to hold the rest of the sync back; the next run asks again.
            break
        if state == "queued":
            continue
        end = "is not known there any more" if state == "unknown" else f"ended as {told}"
        failed = state == "failed"
        tables.end_deletion(run_id, job, f"Pendo's deletion {job} {end}", is_undone=failed)
        notes.append(f"Pendo's deletion {job} of {rows:,} rows {end}{': they are tried again' if failed else ''}")
        del queued[job]
    return FollowedDeletions(queued, notes)
