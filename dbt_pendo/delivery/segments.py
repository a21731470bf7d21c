"""One Pendo segment that has to hold exactly a model's visitors: whose it is, how it is read and written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property

from dbt_pendo.delivery.prepare import SyncContext
from dbt_pendo.delivery.send import HOPELESS
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.pendo import segments
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import PendoClient, PendoError, Request, UnavailableError
from dbt_pendo.warehouse.notes import NO_ID_YET, NotedSegment
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.tables import SyncTables
from dbt_pendo.wording import number


class UnreadableError(PendoError):
    """The members of a segment cannot be read."""


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
    """The segment of one sync; the syncs of a run write one at a time.

    Attributes:
        id: Pendo's id of the segment; None while there is none.
        known: Whether its members were those that the ledger says when it was found; else they have to be compared.
        is_foreign: Whether it was there, and no run of ours had filled it.
        was_busy: Whether a write had to wait for another one since this was last set to False.
    """

    def __init__(self, client: PendoClient, spec: SyncSpec, stop: Stop, tables: SyncTables) -> None:
        self._client = client
        self._name = spec.segment or ""
        self._sync = spec.name
        self._may_take_over = spec.take_over
        self._where = f"{spec.file}: {spec.name}"
        self._stop = stop
        self._notes = tables.segment_notes()
        self._timeout = client.settings.segment_timeout
        self._is_begun = False
        # Whether Pendo has answered every write.
        self._answered = True
        # Whether a change of members was sent in part.
        self._is_in_part = False
        self.id: str | None = None
        self.known = False
        self.is_foreign = False
        self.was_busy = False

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

    def is_compared(self, full_refresh: bool, planned: Planned, limit: int | None = None) -> bool:
        """Returns whether the whole model is compared with Pendo's members, and not sent as the ledger says alone.

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

    def begin_upload(self) -> None:
        """Notes that a segment of an id that is not known yet may come to be, and be ours."""
        self._notes.note(NotedSegment(NO_ID_YET, known=False))

    def end_upload(self, error: PendoError | None = None) -> None:
        """Notes what became of an upload, and why it failed, if it did."""
        if self.id is not None:
            self.begin()
        elif not isinstance(error, UnavailableError):
            # Pendo refused it, and has made nothing.
            self._notes.note(NotedSegment(NO_ID_YET, known=True))

    def end(self, context: SyncContext, is_known: bool) -> None:
        """Notes that the ledger has the members again, if it does and Pendo has answered every write."""
        if self.id is not None and self._is_begun and is_known and self._answered and not self._is_in_part:
            # Without the note the next run compares all members; so it does where another run has the lock.
            with contextlib.suppress(DbtPendoError):
                context.tables.lock.confirm()
                self._notes.note(NotedSegment(self.id, known=True))

    def read_members(self) -> set[str]:
        """Returns Pendo's members, after a job of an earlier run that loads them has ended.

        Raises:
            PendoError: If they cannot be read, or the job does not end in time.
        """
        self._follow()
        try:
            return segments.read_members(self._client, self.id or "", self._stop.wait, self._timeout)
        except segments.BusyError:
            # They can be read later, and need not be replaced.
            raise
        except PendoError as error:
            raise UnreadableError(
                f"{self._where}: the members of Pendo's segment {self._name} ({self.id}) cannot be read, so nothing "
                f"says which to add and to remove. {error.message}",
                "Give the integration key the right to export segments. Or write `replace: true` in the mapping: Pendo "
                "then empties the segment while it loads all members anew.",
            ) from None

    def load(self, members: Sequence[str]) -> tuple[Sequence[str], int | None]:
        """Makes the segment hold some visitors and nobody else, and follows Pendo's job to its end.

        Pendo empties the segment meanwhile (pendo-api.md 5).

        Returns:
            Those whom Pendo took into the job: all, unless they are too many for one request or it refuses one of them.
            And how many members Pendo says that there are now; None if it does not say.

        Raises:
            PendoError: If Pendo takes none of them, or the job fails or does not end in time.
        """
        with self._client.segment_writes:
            before = "" if self.id is None else self._follow().request_id
            taken = self._load_part(members)
            job = self._follow()
        if job.state == "failed":
            raise PendoError(
                f"{self._where}: Pendo has not loaded the members of the segment {self._name} ({self.id}), which is "
                f"empty now: {job.said}.",
                "One id that Pendo does not take stops all. The next sync adds the members in smaller calls, and names "
                "the ids that Pendo refuses.",
            )
        # Of an earlier job the number proves nothing.
        is_ours = job.state == "finished" and (not before or before != job.request_id)
        return taken, job.tagged if is_ours else None

    def patch(self, operations: Mapping[str, Sequence[str]]) -> Request:
        """Returns the request that adds and removes some visitors."""
        return segments.patch_request(self.id or "", operations)

    def apply(self, operations: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, str]]:
        """Adds and removes some visitors; if an answer does not tell operations apart, each is sent alone.

        Returns:
            The status and message of each operation.

        Raises:
            PendoError: If the segment is gone, was not made by the API, or Pendo stays busy.
        """
        with self._client.segment_writes:
            answer = self._send(self.patch(operations))
        results = segments.results_of(answer, operations) if answer.ok else None
        if results is not None:
            return results
        if len(operations) > 1:
            try:
                return {op: result for op, ids in operations.items() for result in self.apply({op: ids}).values()}
            except BaseException:
                # What was done of it is in no ledger.
                self._is_in_part = True
                raise
        return dict.fromkeys(operations, (answer.status, answer.message))

    def _follow(self) -> segments.Job:
        """Waits for the last job that loads the members, if there is one, and returns how it ended.

        Raises:
            UnavailableError: If it does not end in time.
        """
        job = segments.wait_for_job(
            lambda: segments.load_job(self._client, self.id or ""), self._stop.wait, self._timeout
        )
        if job.state == "running":
            raise UnavailableError(
                f"{self._where}: Pendo has not loaded the members of the segment {self._name} ({self.id}) within "
                f"{self._timeout:g} seconds (PENDO_SEGMENT_TIMEOUT); it says {job.said}.",
                "Run the sync again later: it asks Pendo about the members before it writes.",
            )
        return job

    def _send(self, request: Request) -> Answer:
        """Sends a write of the segment, again as long as another one is running.

        Raises:
            PendoError: If the segment is gone, was not made by the API, or Pendo stays busy.
        """

        def send() -> Answer:
            answer = self._client.send(request)
            self.was_busy |= segments.is_busy(answer)
            return answer

        # Before the write counts as unanswered: one that is not begun leaves no doubt.
        self._stop.check()
        answered, self._answered = self._answered, False
        answer = segments.send_in_turn(send, self._stop.wait, self._timeout)
        self._answered = answered
        if answer.status == 403 and self.id is not None:
            raise PendoError(
                f"{self._where}: Pendo's segment {self._name} ({self.id}) was not made by the API, and only those that "
                f"were can be written ({answer.message}).",
                "Rename it in Pendo, or choose another name under `segment`.",
            )
        if answer.status == 404 and self.id is not None:
            raise PendoError(
                f"{self._where}: the segment {self._name} is gone from Pendo ({answer.message}).",
                "The next sync makes it anew.",
            )
        return answer

    def _load_part(self, members: Sequence[str]) -> Sequence[str]:
        """Sends as many of some visitors as Pendo takes in one request, and returns them."""
        parts = [members]
        refused = 0
        while True:
            part = parts.pop()
            request = segments.replace_request(self._name, self.id, part)
            answer = self._upload(request) if self.id is None else self._send(request)
            if answer is None or answer.ok:
                return part
            if len(part) > 1:
                half = -(-len(part) // 2)
                parts += [part[half:], part[:half]]
            else:
                refused += 1
            if not parts or refused == HOPELESS:
                raise PendoError(f"{self._where}: Pendo does not take the segment {self._name} ({answer.message}).")

    def _upload(self, request: Request) -> Answer | None:
        """Uploads the segment, and again only when Pendo's list shows that a call without an answer has made none.

        Returns:
            The answer; None if there was none, and the list shows that Pendo has made the segment.
        """
        retries = 0
        while True:
            answer = None
            # An earlier call has made nothing, as the list shows.
            self._answered = True
            try:
                answer = self._send(request)
            except segments.BusyError:
                raise
            except UnavailableError:
                if retries == self._client.settings.retries:
                    raise
            if answer is not None and ((made := segments.uploaded_id(answer)) or not answer.ok):
                self.id = made
                return answer
            self._stop.wait(min(segments.FIRST_WAIT * 2**retries, segments.LONGEST_WAIT))
            retries += 1
            self.id = self._id_by_name()
            if self.id is not None:
                # What it holds now, Pendo's job tells.
                self._answered = True
                return None
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
