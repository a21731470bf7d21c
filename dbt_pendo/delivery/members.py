"""Makes a segment hold a model's visitors whatever it holds now: by an upload, or by the difference to its members."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from dbt_pendo.delivery.prepare import SyncContext
from dbt_pendo.delivery.segments import Segment, UnreadableError
from dbt_pendo.outcomes import DELIVERED, Outcome
from dbt_pendo.pendo.client import PendoError
from dbt_pendo.pendo.segments import LARGEST_PATCH, is_done
from dbt_pendo.warehouse.pages import Span
from dbt_pendo.wording import number

# Text with it is no Unicode, and some drivers return such text (see Sender).
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
# So often members are compared, while other writes come between.
MOST_COMPARISONS = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Difference:
    """The keys of a model beside the members of a segment."""

    # Keys that are members, and those that are none.
    equal: int
    absent: Sequence[str]
    # Keys that are a member but for capitals, as Pendo makes ids lower case if its subscription says so (pendo-api.md
    # 5); none where some member has a capital.
    cased: Sequence[str]
    # Those members.
    lowered: Set[str]
    # Members that are no key.
    extra: Sequence[str]
    # Keys that are one member with another key.
    merged: int


def compare_members(keys: Iterable[str], members: Set[str]) -> Difference:
    """Compares the keys of a model with the members of a segment, whose ids Pendo has trimmed (pendo-api.md 5)."""
    may_fold = all(member == member.lower() for member in members)
    equal, absent, cased, met = 0, [], [], set()
    for key in keys:
        member = key.strip()
        if member in members:
            equal += 1
            met.add(member)
        elif may_fold and member.lower() in members:
            cased.append(key)
        else:
            absent.append(key)
    lowered = {key.strip().lower() for key in cased} - met
    extra = [member for member in members if member not in met and member not in lowered]
    merged = equal + len(cased) - len(met) - len(lowered) + len(absent) - len({key.strip() for key in absent})
    return Difference(equal, absent, cased, lowered, extra, merged)


class Filling:
    """One sync's way to fill its segment.

    Args:
        context: The sync.
        segment: The segment, and none for one that is to be made.
        spans: The pages of a change set of all visitors of the model.

    Attributes:
        notes: What to tell of it.
    """

    def __init__(self, context: SyncContext, segment: Segment, spans: Sequence[Span]) -> None:
        self._context = context
        self._spec = context.spec
        self._segment = segment
        self._spans = spans
        # Whether the whole model is compared with Pendo's members.
        self._is_compared = False
        # Who may be one member with somebody who left the model.
        self._twins: Sequence[str] = ()
        self.notes: list[str] = []

    def begin(self, is_compared: bool) -> Callable[[str], Outcome | None] | None:
        """Begins before the pages; if the members are to be compared, makes the segment hold the model's and no others.

        Returns:
            The outcome of a row by its key, None where it is left to the pages; or None if all rows are.

        Raises:
            PendoError: If Pendo does not, or does not say so.
        """
        self._is_compared = is_compared
        if is_compared or self._context.counts.planned.to_send:
            self._segment.begin()
        if not is_compared:
            if self._context.counts.planned.removed:
                self._twins = self._context.tables.removed_twins()
            return None
        left = self._load() if self._segment.id is None else self._patch_difference(self._spec.replace)
        done = self._context.counts.planned.to_send - len(left)
        self._context.observer.sync_progressed(self._spec, done)
        return lambda key: None if key in left else DELIVERED

    def end(self, is_whole: bool, has_failed: bool) -> None:
        """Ends after the pages: the ledger has the members again, if all went well.

        Args:
            is_whole: Whether the pages were all there are.
            has_failed: Whether they were not delivered to their end.

        Raises:
            PendoError: If somebody who left the model took another member along.
        """
        is_known = is_whole and not has_failed if self._is_compared else self._segment.known
        if self._twins and not has_failed:
            # In a subscription without capitals they left with the others; elsewhere they are members already.
            has_failed = bool(self._wait_for(lambda: self._patch((), self._twins)))
        self._segment.end(self._context, is_known and not (self._twins and has_failed))

    def _keys(self) -> Iterator[str]:
        """Yields the keys of the model."""
        tables = self._context.tables
        for span in self._spans:
            yield from (row[3] for row in tables.read_page(span) if row[2] != "removed")
            tables.lock.renew()

    def _load(self) -> Set[str]:
        """Loads all members in one request, and returns the keys that are left to the pages."""
        segment, members, left = self._segment, [], set()
        for key in self._keys():
            if HALF_CHARACTER.search(key):
                left.add(key)
            else:
                members.append(key)
        if not members:
            return left
        if is_new := segment.id is None:
            segment.begin_upload()
        try:
            taken, tagged = self._wait_for(lambda: segment.load(members))
        except PendoError as error:
            if is_new:
                segment.end_upload(error)
            raise
        if is_new:
            segment.end_upload()
        if tagged is not None and tagged in _numbers_of_members(taken):
            self._tell_merged(len(taken) - tagged)
            return left if taken is members else left.union(members).difference(taken)
        return self._patch_difference(may_replace=False)

    def _patch_difference(self, may_replace: bool) -> Set[str]:
        """Adds who is missing and removes who is too many, and returns the keys that are left to the pages.

        Args:
            may_replace: Whether all may be loaded anew instead, if that takes fewer calls or nobody can be read.
        """
        for _ in range(MOST_COMPARISONS):
            try:
                members = self._wait_for(self._segment.read_members)
            except UnreadableError:
                if may_replace and any(True for _ in self._keys()):
                    return self._load()
                raise
            found = compare_members(self._keys(), members)
            absent, extra = list(found.absent), list(found.extra)
            if len(found.cased) <= LARGEST_PATCH:
                # So few may be accidents where capitals are kept. Elsewhere who is removed is added again.
                absent += found.cased
                extra += found.lowered
            if may_replace and len(absent) + len(extra) > self._spec.batch_size and (found.equal or absent):
                return self._load()
            self._segment.was_busy = False
            left = self._wait_for(partial(self._patch, extra, absent))
            if not self._segment.was_busy:
                self._tell_merged(found.merged)
                return left
            # Pendo was still loading members when they were read, and did not say so.
        raise PendoError(
            f"{self._spec.file}: {self._spec.name}: somebody else keeps writing the segment {self._spec.segment}.",
            "Run the sync again later.",
        )

    def _patch(self, removed: Sequence[str], added: Sequence[str]) -> Set[str]:
        """Removes and then adds visitors, and returns those who are left: from the first call on that is refused."""
        left = {key for key in added if HALF_CHARACTER.search(key)}
        changes = [*(("remove", key) for key in removed), *(("add", key) for key in added if key not in left)]
        for at in range(0, len(changes), self._spec.batch_size):
            operations: dict[str, list[str]] = {}
            for op, key in changes[at : at + self._spec.batch_size]:
                operations.setdefault(op, []).append(key)
            results = self._segment.apply(operations)
            wrong = {op: message for op, (status, message) in results.items() if not is_done(status)}
            if "remove" in wrong:
                raise PendoError(
                    f"{self._spec.file}: {self._spec.name}: Pendo does not take visitors (e.g. "
                    f"{operations['remove'][0]}) out of the segment {self._spec.segment} ({wrong['remove']})."
                )
            if wrong:
                return left.union(operations["add"], (key for _, key in changes[at + self._spec.batch_size :]))
        return left

    def _tell_merged(self, keys: int) -> None:
        if keys > 0:
            self.notes.append(
                f"{number(keys, 'key')} of the model {'is' if keys == 1 else 'are'} one member with another: Pendo "
                "trims ids, and makes them lower case if the subscription says so"
            )

    def _wait_for(self, call: Callable[[], T]) -> T:
        """Calls Pendo for as long as it takes, and keeps the lock meanwhile."""
        with ThreadPoolExecutor(1, thread_name_prefix="dbt-pendo") as pool:
            answer = pool.submit(call)
            self._context.tables.lock.wait_for(answer)
            return answer.result()


def _numbers_of_members(keys: Sequence[str]) -> Iterator[int]:
    """Yields how many members some keys may become: trimmed, and perhaps in lower case (pendo-api.md 5)."""
    yield len({key.strip() for key in keys})
    yield len({key.strip().lower() for key in keys})
