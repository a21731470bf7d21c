"""One sync: plan, then page by page read, render, send, commit."""

from __future__ import annotations

import contextlib
import gc
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from dbt_pendo.engine.deliver import Deliverer, Outcomes
from dbt_pendo.engine.observer import Observer
from dbt_pendo.engine.prepare import Prepared
from dbt_pendo.engine.results import SyncResult, SyncStatus
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.outcome import UNSENT
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.deletion import LARGEST_DELETION
from dbt_pendo.records.batches import pack
from dbt_pendo.records.render import Record, render
from dbt_pendo.spec.sync import Limit
from dbt_pendo.warehouse.ledger import Row, SyncTables
from dbt_pendo.warehouse.pages import Planned, Span, cut_pages, limit_buckets

ROWS_PER_PAGE = 25_000
REASONS_SHOWN = 3
# Pendo's messages may name the row, and then there are as many as rejected rows.
REASONS_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a sync.

    Attributes:
        full_refresh: Send every row again.
        limit: Send at most so many rows; None for all.
        force: Pass the guards ``max_changes`` and ``max_removals``.
    """

    full_refresh: bool = False
    limit: int | None = None
    force: bool = False


@dataclass(slots=True)
class _Page:
    """A page whose batches are on their way."""

    span: Span
    rows: Sequence[Row]
    outcomes: Outcomes
    sent: list[tuple[Sequence[Record], Future[Outcomes]]]


class SyncRun:
    """Runs one prepared sync against its tables."""

    def __init__(
        self,
        run_id: str,
        prepared: Prepared,
        tables: SyncTables,
        client: PendoClient,
        options: Options,
        observer: Observer,
    ) -> None:
        self._run_id = run_id
        self._prepared = prepared
        self._spec = prepared.spec
        self._tables = tables
        self._client = client
        self._options = options
        self._observer = observer
        self._deliverer = Deliverer(client, prepared.spec)
        self._planned = Planned()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}
        self._failure: DbtPendoError | None = None

    def run(self) -> SyncResult:
        """Delivers what there is to deliver; failures end up in the result."""
        started, traffic = time.monotonic(), self._client.traffic
        try:
            status, message = self._run()
        except DbtPendoError as error:
            status, message = "error", str(error)
        return SyncResult(
            sync=self._spec.name,
            unique_id=self._spec.unique_id,
            object=self._spec.object,
            status=status,
            message=message,
            planned=self._planned,
            delivered=self._counts["delivered"],
            missing=self._counts["missing"],
            rejected=self._counts["rejected"],
            traffic=self._client.traffic - traffic,
            duration=time.monotonic() - started,
            ledger=self._tables.ledger,
        )

    def _run(self) -> tuple[SyncStatus, str | None]:
        self._tables.prepare()
        buckets = self._tables.write_changes(self._options.full_refresh)
        everything = sum((bucket.planned for bucket in buckets), Planned())
        self._planned = everything
        if not self._options.force and (reason := self._blocked(everything)):
            return "blocked", reason
        waiting = 0
        if self._options.limit is not None:
            buckets = limit_buckets(buckets, self._options.limit)
            taken = sum((bucket.planned for bucket in buckets), Planned())
            waiting = everything.to_send - taken.to_send
            self._planned = replace(taken, unchanged=everything.unchanged)
        self._observer.sync_planned(self._spec, self._planned)
        if self._planned.invalid:
            for reason, rows, key in self._tables.invalid_reasons():
                self._note("invalid", reason, key, rows)
        self._deliver(list(cut_pages(buckets, ROWS_PER_PAGE)))
        if self._failure is not None:
            raise self._failure
        if self._planned.to_send:
            self._tables.compact(self._planned.to_send + self._planned.unchanged)
        notes = [*self._notes(), *([f"{waiting:,} more rows wait (--limit)"] if waiting else [])]
        return ("partial" if self._counts["rejected"] else "success"), "; ".join(notes) or None

    def _blocked(self, planned: Planned) -> str | None:
        """Returns why a guard holds the sync back, if one does."""
        known = planned.changed + planned.removed + planned.unchanged
        for rows, limit, name in (
            (planned.added + planned.changed, self._spec.max_changes, "max_changes"),
            (planned.removed, self._spec.max_removals, "max_removals"),
        ):
            allowed = _allowed(limit, known)
            if allowed is not None and rows > allowed:
                what = "added and changed" if name == "max_changes" else "removed"
                return f"{rows:,} rows {what}, {name} allows {allowed:,}; --force sends them"
        return None

    def _deliver(self, spans: Sequence[Span]) -> None:
        """Reads, sends and commits the pages; the next is read while one is under way."""
        with ThreadPoolExecutor(self._client.settings.concurrency, thread_name_prefix="dbt-pendo") as pool:
            under_way: _Page | None = None
            for span in spans:
                page = self._send_page(pool, span)
                if under_way is not None:
                    self._finish_page(under_way)
                under_way = page
                if self._failure is not None:
                    break
            if under_way is not None:
                self._finish_page(under_way)

    def _send_page(self, pool: ThreadPoolExecutor, span: Span) -> _Page:
        with _paused_gc():
            rows = self._tables.read_page(span)
            rendered = render(self._spec, rows, self._prepared.fields)
        size = self._spec.batch_size
        sent = [
            *((batch, pool.submit(self._deliverer.deliver, batch)) for batch in pack(rendered.updates, size)),
            *(
                (batch, pool.submit(self._deliverer.delete, batch))
                for batch in pack(rendered.deletions, LARGEST_DELETION)
            ),
        ]
        return _Page(span, rows, rendered.unsendable, sent)

    def _finish_page(self, page: _Page) -> None:
        """Waits for a page's batches and commits what happened to its rows, also when the sync has to stop."""
        for batch, future in page.sent:
            page.outcomes.update(self._outcomes_of(batch, future))
            self._observer.sync_progressed(self._spec, len(batch))
        self._tables.commit(self._run_id, page.span, page.rows, page.outcomes)
        self._count(page)

    def _outcomes_of(self, batch: Sequence[Record], future: Future[Outcomes]) -> Outcomes:
        if self._failure is not None and future.cancel():
            return dict.fromkeys((record.position for record in batch), UNSENT)
        try:
            return future.result()
        except DbtPendoError as error:
            self._failure = self._failure or error
            return dict.fromkeys((record.position for record in batch), UNSENT)

    def _count(self, page: _Page) -> None:
        """Adds a page to the results; a row found invalid while it was rendered moves over to the invalid ones."""
        self._counts.update(outcome.status for outcome in page.outcomes.values() if outcome.status != "delivered")
        judged = sum(outcome.status != "delivered" for outcome in page.outcomes.values())
        self._counts["delivered"] += len(page.rows) - judged
        if not judged:
            return
        moved: Counter[str] = Counter()
        for row in page.rows:
            outcome = page.outcomes.get((row[0], row[1]))
            if outcome is None or outcome.status in ("delivered", "unsent"):
                continue
            self._note(outcome.status, outcome.detail or "", row[3], 1)
            if outcome.status == "invalid":
                moved[row[2]] += 1
        self._planned = replace(
            self._planned,
            added=self._planned.added - moved["added"],
            changed=self._planned.changed - moved["changed"],
            removed=self._planned.removed - moved["removed"],
            invalid=self._planned.invalid + moved.total(),
        )

    def _note(self, status: str, reason: str, key: str | None, rows: int) -> None:
        if (status, reason) not in self._reasons and len(self._reasons) >= REASONS_KEPT:
            reason = "other reasons"
        self._reasons[status, reason] += rows
        self._examples.setdefault((status, reason), "" if key is None else key)

    def _notes(self) -> list[str]:
        """Says of each kind of failure how often and why, with a key to look up."""
        notes = []
        for status in ("rejected", "invalid", "missing"):
            of_status = Counter({reason: rows for (kind, reason), rows in self._reasons.items() if kind == status})
            shown = [
                f"{reason} ({rows:,}, e.g. {example})"
                if (example := self._examples[status, reason])
                else f"{reason} ({rows:,})"
                for reason, rows in of_status.most_common(REASONS_SHOWN)
            ]
            if shown:
                more = len(of_status) - len(shown)
                notes.append(
                    f"{of_status.total():,} {status}: " + ", ".join(shown) + (f", {more} more reasons" if more else "")
                )
        return notes


@contextlib.contextmanager
def _paused_gc() -> Iterator[None]:
    """Keeps the garbage collector from walking a page again and again while it grows; a third of the time otherwise."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _allowed(limit: Limit | None, known: int) -> int | None:
    """Returns how many rows a guard lets pass; a percentage says nothing before the first delivery."""
    if limit is None:
        return None
    if limit.rows is not None:
        return limit.rows
    return int(known * (limit.percent or 0) / 100) if known else None
