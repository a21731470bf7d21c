"""One Pendo segment that has to hold exactly a model's visitors.

All members are replaced in one request, or the changes are patched page by page.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from dbt_pendo.delivery.prepare import SyncContext
from dbt_pendo.delivery.send import HOPELESS
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.outcomes import DELIVERED, Outcome
from dbt_pendo.pendo import segments
from dbt_pendo.pendo.client import Answer, PendoClient, PendoError, Request, UnavailableError
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.pages import Span
from dbt_pendo.warehouse.plan import Planned
from dbt_pendo.warehouse.segments import NO_ID_YET, NotedSegment
from dbt_pendo.wording import number

# Seconds to wait for another write of the segment to end, at first and at most.
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
# Nobody: a segment is overwritten by at least one visitor (pendo-api.md 5, where Segment's integration names it so).
NOBODY = "empty-visitor"
# Text with it is no Unicode, and some drivers return such text (see Sender).
HALF_CHARACTER = re.compile("[\ud800-\udfff]")

T = TypeVar("T")


def find_segment(
    client: PendoClient, spec: SyncSpec, stop: Stop, tables: SyncTables, is_taken_over: bool = False
) -> Segment:
    """Finds the segment that a ``segment`` sync fills.

    Args:
        client: Pendo.
        spec: The sync.
        stop: Whether the run has to end.
        tables: The tables of the sync.
        is_taken_over: Whether it may be a segment that another sync fills.

    Raises:
        DbtPendoError: If it was not made by the API, several have its name, or another sync fills it.
    """
    segment = Segment(client, spec, stop, tables)
    segment.find(is_taken_over)
    return segment


class Segment:
    """The segment of one sync; one write at a time, for Pendo refuses a second one.

    Attributes:
        id: Pendo's id of the segment; None while there is none.
        known: Whether its members were those that the ledger says when it was found; else they have to be replaced.
        is_foreign: Whether it was there, and no run of ours had filled it.
    """

    def __init__(self, client: PendoClient, spec: SyncSpec, stop: Stop, tables: SyncTables) -> None:
        self._client = client
        self._name = spec.segment or ""
        self._sync = spec.name
        self._may_take_over = spec.take_over
        self._where = f"{spec.file}: {spec.name}"
        self._stop = stop
        self._notes = tables.segment_notes()
        self._writing = threading.Lock()
        self._is_begun = False
        # Whether Pendo has answered every write.
        self._answered = True
        self.id: str | None = None
        self.known = False
        self.is_foreign = False

    def find(self, is_taken_over: bool) -> None:
        """Looks the segment up, by the id of an earlier run or else by its name."""
        noted = self._notes.latest()
        if noted is not None and noted.id != NO_ID_YET and segments.segment_exists(self._client, noted.id):
            self.id, self.known = noted.id, noted.known
        else:
            self.id = self._id_by_name()
        if self.id is None or is_taken_over:
            return
        # One of another project with the same schema, for syncs of one project are compared before.
        if (filler := self._notes.filler(self.id)) not in (None, self._sync):
            model = self._sync.partition(".")[0]
            raise DbtPendoError(
                f"{self._where}: Pendo's segment {self._name} ({self.id}) is filled by the sync {filler}. Each would "
                "take the other's members out.",
                f"Choose another name under `segment`; or, if {filler} is no more, take it over with `dbt-pendo reset "
                f"--select {model}`: the next sync then replaces its members.",
            )
        # An upload without an answer may have made it.
        self.is_foreign = filler is None and (noted is None or noted.id != NO_ID_YET or noted.known)

    @cached_property
    def taking_over(self) -> str | None:
        """What a sync would do to members that no run of ours has put there; None where there are none."""
        count = segments.count_members(self._client, self.id or "", self._stop.wait) if self.is_foreign else 0
        if count == 0:
            return None
        members = "an unknown number of members" if count is None else number(count, "member")
        return (
            f"Pendo's segment {self._name} ({self.id}) holds {members} that no run of dbt-pendo has put there; a sync "
            "replaces them"
        )

    @property
    def blocked(self) -> str | None:
        """Why the segment is left alone; None where it may be filled."""
        if self._may_take_over or self.taking_over is None:
            return None
        return f"blocked: {self.taking_over}. Allow that with `take_over: true` in the mapping, or with --force"

    def is_replaced(self, full_refresh: bool, planned: Planned, limit: int | None = None) -> bool:
        """Returns whether all members are written in one request, and not the changes alone.

        Args:
            full_refresh: Whether the user asked for that.
            planned: The rows of the whole plan, made as for a full refresh unless the members are known.
            limit: The rows to send at most. A part of the members says nothing of the others.
        """
        is_first = not (planned.changed + planned.removed + planned.unchanged + planned.held)
        is_wanted = full_refresh or not self.known or (is_first and planned.added > 0)
        return is_wanted and (self.id is None or limit is None)

    def begin(self) -> None:
        """Notes that the members are in doubt: a run that dies, or gets no answer, may have added any visitor."""
        self._is_begun = True
        if self.id is not None:
            self._notes.note(NotedSegment(self.id, known=False))

    def end(self, context: SyncContext, is_known: bool) -> None:
        """Notes that the ledger has the members again, if it does and Pendo has answered every write."""
        if self.id is not None and self._is_begun and is_known and self._answered:
            # Without the note the next run replaces all members, in one request; so it does where another run has the
            # lock.
            with contextlib.suppress(DbtPendoError):
                context.tables.lock.confirm()
                self._notes.note(NotedSegment(self.id, known=True))

    def replace(self, context: SyncContext, spans: Sequence[Span]) -> Callable[[str], Outcome | None]:
        """Makes the segment hold the visitors of a change set and nobody else, in one request.

        Returns:
            The outcome of a row by its key; None where it is left to the pages.

        Raises:
            DbtPendoError: If Pendo takes none of them.
        """
        members: list[str] = []
        # Those who are left to the pages.
        left: set[str] = set()
        removed: str | None = None
        for span in spans:
            for _, _, change, key, *_ in context.tables.read_page(span):
                if change == "removed":
                    removed = key
                elif HALF_CHARACTER.search(key):
                    left.add(key)
                else:
                    members.append(key)
            context.tables.lock.renew()
        if members:
            if is_new := self.id is None:
                self._notes.note(NotedSegment(NO_ID_YET, known=False))
            try:
                taken = _wait_for(lambda: self._replace_members(members), context)
            except PendoError as error:
                if is_new and not isinstance(error, UnavailableError):
                    # Pendo refused it, and has made nothing.
                    self._notes.note(NotedSegment(NO_ID_YET, known=True))
                raise
            if is_new:
                self.begin()
            left |= set(members).difference(taken)
            context.observer.sync_progressed(context.spec, len(taken))
        elif self.id is not None:
            _wait_for(lambda: self._clear(removed), context)
        return lambda key: None if key in left else DELIVERED

    def patch(self, operations: Mapping[str, Sequence[str]]) -> Request:
        """Returns the request that adds and removes some visitors."""
        return segments.patch_request(self.id or "", operations)

    def send(self, request: Request) -> Answer:
        """Sends a write of the segment, as long as it takes while another one is running.

        Raises:
            PendoError: If the segment is gone, or stays busy.
        """
        with self._writing:
            # Before the write counts as unanswered: one that is not begun leaves no doubt.
            self._stop.check()
            answered, self._answered = self._answered, False
            give_up_at, seconds = time.monotonic() + self._client.settings.retry_time, FIRST_WAIT
            while segments.is_busy(answer := self._client.send(request)):
                if time.monotonic() + seconds > give_up_at:
                    raise UnavailableError(
                        f"{self._where}: Pendo is still busy with another write of the segment {self._name}.",
                        "Run the sync again later; what was delivered is kept.",
                    )
                self._stop.wait(seconds)
                seconds = min(1.5 * seconds, LONGEST_WAIT)
            self._answered = answered
        if answer.status == 404:
            raise PendoError(
                f"{self._where}: the segment {self._name} is gone from Pendo ({answer.message}).",
                "The next sync makes it anew.",
            )
        return answer

    def _replace_members(self, members: Sequence[str]) -> Sequence[str]:
        """Makes the segment hold some visitors and nobody else.

        Returns:
            Those of them that Pendo took: all, unless they are too many for one request or it refuses one of them.

        Raises:
            PendoError: If Pendo does not take any of them.
        """
        parts = [members]
        refused = 0
        while True:
            part = parts.pop()
            answer = self._overwrite(part)
            if answer.ok:
                return part
            if len(part) > 1:
                half = -(-len(part) // 2)
                parts += [part[half:], part[:half]]
            else:
                refused += 1
            if not parts or refused == HOPELESS:
                raise PendoError(f"{self._where}: Pendo does not take the segment {self._name} ({answer.message}).")

    def _clear(self, visitor: str | None) -> None:
        """Takes all members out of the segment.

        Args:
            visitor: Any visitor that Pendo has taken as a member before; None when there is none.

        Raises:
            PendoError: If Pendo does not.
        """
        (last,) = self._replace_members([visitor or NOBODY])
        answer = self.send(self.patch({"remove": [last]}))
        results = segments.results_of(answer, ["remove"])
        if results is None or not segments.is_done(results["remove"][0]):
            raise PendoError(
                f"{self._where}: Pendo does not take {last} out of the segment {self._name} ({answer.message})."
            )

    def _overwrite(self, members: Sequence[str]) -> Answer:
        request = segments.replace_request(self._name, self.id, members)
        return self._upload(request) if self.id is None else self.send(request)

    def _upload(self, request: Request) -> Answer:
        """Uploads the segment, and again only when Pendo's list shows that a call without an answer has made none."""
        retries = 0
        while True:
            self._stop.check()
            answer = None
            try:
                answer = self._client.send(request)
            except UnavailableError:
                if retries == self._client.settings.retries:
                    raise
            if answer is not None and ((made := segments.uploaded_id(answer)) or not answer.ok):
                self.id = made
                return answer
            self._stop.wait(min(FIRST_WAIT * 2**retries, LONGEST_WAIT))
            retries += 1
            self.id = self._id_by_name()
            if self.id is not None:
                return self._overwrite(request.keys)
            if answer is not None:
                raise PendoError(
                    f"{self._where}: Pendo took the segment {self._name}, and does not list it ({answer.message}).",
                    "Run the sync again.",
                )

    def _id_by_name(self) -> str | None:
        """Returns the id of the segment of that name that the API made; None when there is none of that name."""
        named = [segment for segment in segments.list_segments(self._client) if segment.name == self._name]
        ours = [segment.id for segment in named if segment.created_by_api]
        if len(ours) > 1:
            raise DbtPendoError(
                f"{self._where}: Pendo has {len(ours)} segments named {self._name}: {', '.join(ours)}.",
                "Delete or rename all but one of them in Pendo.",
            )
        if named and not ours:
            raise DbtPendoError(
                f"{self._where}: Pendo's segment {self._name} was made by hand, and only those made by the API can be "
                "written.",
                "Rename it in Pendo, or choose another name under `segment`.",
            )
        return ours[0] if ours else None


def _wait_for(call: Callable[[], T], context: SyncContext) -> T:
    """Calls Pendo for as long as it takes, and keeps the lock meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="dbt-pendo") as pool:
        answer = pool.submit(call)
        context.tables.lock.wait_for(answer)
        return answer.result()
