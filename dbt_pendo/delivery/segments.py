"""Who is in a segment: all members in one call, or the changes page by page; and whether the ledger tells them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

from dbt_pendo.delivery.pages import Pages
from dbt_pendo.delivery.segment_writer import SegmentWriter
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.lock import RENEW_EVERY
from dbt_pendo.warehouse.pages import Span
from dbt_pendo.warehouse.segments import NotedSegment

T = TypeVar("T")


def fill_segment(
    segment: SegmentWriter, tables: SyncTables, pages: Pages, spans: Sequence[Span], replaced: bool, whole: bool
) -> None:
    """Changes or replaces the members of a segment, and notes for the next run whether the ledger tells them.

    Args:
        segment: The segment.
        tables: The sync's tables.
        pages: Delivers the changes.
        spans: The pages of the change set.
        replaced: Whether its members are replaced.
        whole: Whether the pages hold the whole change set.
    """
    notes = tables.segment_notes()
    if segment.id is not None:
        # Until it is over: whom a run has added that dies, or is not answered, nobody knows.
        notes.note(NotedSegment(segment.id, known=False))
    if replaced:
        pages.in_segment = frozenset(_replaced(segment, tables, pages, spans))
    pages.deliver(spans)
    known = whole and pages.failure is None if replaced else segment.known
    if segment.id is not None and known and segment.answered:
        # Without the note the next run replaces all members, in one call; so it does where another run has the lock.
        with contextlib.suppress(DbtPendoError):
            tables.lock.confirm()
            notes.note(NotedSegment(segment.id, known=True))


def _replaced(segment: SegmentWriter, tables: SyncTables, pages: Pages, spans: Sequence[Span]) -> Sequence[str]:
    """Makes or overwrites the segment in one call, and returns whom it took; the others are left for the pages."""
    members: list[str] = []
    removed: str | None = None
    for span in spans:
        for _, _, change, key, *_ in tables.read_page(span):
            if change == "removed":
                removed = key
            elif _is_unicode(key):
                members.append(key)
        pages.keep_lock()
    if members:
        is_new = segment.id is None
        taken = _waited_for(partial(segment.replace, members), pages)
        if is_new and segment.id is not None:
            tables.segment_notes().note(NotedSegment(segment.id, known=False))
        pages.progress(len(taken))
        return taken
    if segment.id is not None:
        _waited_for(partial(segment.clear, removed), pages)
    return ()


def _waited_for(call: Callable[[], T], pages: Pages) -> T:
    """Calls Pendo for as long as it takes, while the lock is kept."""
    with ThreadPoolExecutor(1, thread_name_prefix="dbt-pendo") as pool:
        answer = pool.submit(call)
        while wait((answer,), timeout=RENEW_EVERY).not_done:
            pages.keep_lock()
        pages.keep_lock()
        return answer.result()


def _is_unicode(text: str) -> bool:
    # See Deliverer: some drivers hand out text that is none.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
