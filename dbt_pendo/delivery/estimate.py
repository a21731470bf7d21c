"""Estimates before a sync how many requests it takes, and how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.pendo.deletion import LARGEST_DELETION
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import LoggedSync
from dbt_pendo.wording import duration, number

# So many past runs are looked at. One of fewer requests tells no pace: the warehouse took most of its time.
RUNS, TELLING_REQUESTS = 5, 100
# What a request is taken to last where no run tells; Pendo publishes no number.
SECONDS_PER_REQUEST = 0.3
LONG = 3600


@dataclass(frozen=True, slots=True)
class Estimate:
    """About what a sync takes."""

    requests: int = 0
    seconds: float = 0.0
    # Whether the pace is that of an earlier run.
    is_measured: bool = False

    def warnings(self) -> list[str]:
        """Returns the warning about a sync that takes more than an hour."""
        if self.seconds <= LONG:
            return []
        takes = f"{number(self.requests, 'request')} take {duration(self.seconds)}"
        pace = "at the pace of earlier runs" if self.is_measured else f"if each takes {SECONDS_PER_REQUEST} s"
        return [f"{takes} {pace}: a larger `batch_size` or PENDO_CONCURRENCY may shorten that"]


def count_requests(spec: SyncSpec, planned: Planned, is_uploaded: bool, consents: int = 0) -> int:
    """Returns about how many requests deliver a plan, if all of them are full.

    Args:
        spec: The sync.
        planned: The rows.
        is_uploaded: Whether a segment is made of all rows.
        consents: The consents to send, a call each.
    """
    removed = planned.removed if spec.sends_removals else 0
    if is_uploaded:
        return int(planned.to_send > 0)
    if spec.segment is not None:
        return _batches(planned.to_send, spec.batch_size)
    groups = len([group for group in spec.groups if group != "pendo"])
    if spec.on_removed == "delete":
        removals = _batches(removed, LARGEST_DELETION)
    else:
        removals = _batches(removed, spec.batch_size) * groups
    return _batches(planned.added + planned.changed, spec.batch_size) * (groups or not consents) + removals + consents


def estimate(requests: int, past: Iterable[LoggedSync], settings: Settings) -> Estimate:
    """Estimates how long requests take: at the pace of the largest of some past runs, else by ``concurrency``."""
    telling = [run for run in past if run.requests >= TELLING_REQUESTS and run.duration > 0]
    pace = settings.concurrency / SECONDS_PER_REQUEST
    if telling:
        largest = max(telling, key=lambda run: run.requests)
        pace = largest.requests / largest.duration
    seconds = requests / min(pace, settings.requests_per_second or pace)
    return Estimate(requests, round(seconds, 1), bool(telling))


def _batches(rows: int, size: int) -> int:
    return -(-rows // size)
