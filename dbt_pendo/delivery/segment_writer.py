"""One Pendo segment that has to hold exactly a model's visitors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from dbt_pendo.delivery.signals import Stop
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.outcomes import DELIVERED
from dbt_pendo.pendo import segments
from dbt_pendo.pendo.client import Answer, PendoClient, PendoError, UnavailableError
from dbt_pendo.pendo.metadata import Judgement
from dbt_pendo.records.batches import Batch
from dbt_pendo.records.render import operations_of
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.pages import Planned

# Seconds to wait for another write of the segment to end, at first and at most.
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
# So many visitors refused alone, and none ever taken: the fault is not theirs.
HOPELESS = 5
# Nobody: a segment is overwritten by at least one visitor (pendo-api.md 5, where Segment's integration names it so).
NOBODY = "empty-visitor"


class SegmentWriter:
    """Finds and writes the segment of one sync; one write at a time, for Pendo refuses a second one.

    Attributes:
        id: Pendo's id of the segment; None while there is none.
        known: Whether its members were those that the ledger says when it was found; else they have to be replaced.
        answered: Whether Pendo has said of every write what became of it.
    """

    def __init__(self, client: PendoClient, spec: SyncSpec, stop: Stop) -> None:
        self._client = client
        self._name = spec.segment or ""
        self._sync = spec.name
        self._where = f"{spec.file}: {spec.name}"
        self._stop = stop
        self._writing = threading.Lock()
        self.id: str | None = None
        self.known = False
        self.answered = True

    def find(self, tables: SyncTables, is_taken_over: bool = False) -> None:
        """Looks the segment up, by the id of an earlier run or else by its name.

        Args:
            tables: The sync's tables, which know of earlier runs.
            is_taken_over: Whether it may be one that another sync fills.

        Raises:
            DbtPendoError: If it was not made by the API, several have its name, or another sync fills it.
        """
        notes = tables.segment_notes()
        noted = notes.latest()
        if noted is not None and segments.is_there(self._client, noted.id):
            self.id, self.known = noted.id, noted.known
        else:
            self.id = self._named()
        if self.id is None or is_taken_over:
            return
        # One of another project with the same schema, for syncs of one project are compared before.
        if (filler := notes.filler(self.id)) not in (None, self._sync):
            model = self._sync.partition(".")[0]
            raise DbtPendoError(
                f"{self._where}: Pendo's segment {self._name} ({self.id}) is filled by the sync {filler}. Each would "
                "take the other's members out.",
                f"Choose another name under `segment`; or, if {filler} is no more, take it over with `dbt-pendo reset "
                f"--select {model}`: the next sync then replaces its members.",
            )

    def is_replaced(self, full_refresh: bool, planned: Planned) -> bool:
        """Returns whether all members are written in one call, and not the changes alone.

        Args:
            full_refresh: Whether that was asked for.
            planned: The rows of the plan, made as for a full refresh unless the members are known.
        """
        is_first = not (planned.changed + planned.removed + planned.unchanged + planned.held)
        return full_refresh or not self.known or (is_first and planned.added > 0)

    def replace(self, members: Sequence[str]) -> Sequence[str]:
        """Makes the segment hold some visitors and nobody else, in one call.

        Args:
            members: At least one visitor.

        Returns:
            Those of them that Pendo took: all, unless they are too many for one call or it refuses one of them.

        Raises:
            PendoError: If Pendo does not take any of them.
        """
        parts = [members]
        refused = 0
        while True:
            part = parts.pop()
            answer = self._overwritten(part)
            if answer.ok:
                return part
            if len(part) > 1:
                half = -(-len(part) // 2)
                parts += [part[half:], part[:half]]
            else:
                refused += 1
            if not parts or refused == HOPELESS:
                raise PendoError(f"{self._where}: Pendo does not take the segment {self._name} ({answer.message}).")

    def clear(self, visitor: str | None) -> None:
        """Takes all members out of the segment.

        Args:
            visitor: Any visitor that Pendo has taken as a member before; None when there is none.

        Raises:
            PendoError: If Pendo does not.
        """
        (last,) = self.replace([visitor or NOBODY])
        answer = self._patched({"remove": [last]})
        told = segments.told_of(answer, ["remove"])
        if told is None or not segments.is_done(told["remove"][0]):
            raise PendoError(
                f"{self._where}: Pendo does not take {last} out of the segment {self._name} ({answer.message})."
            )

    def send(self, batch: Batch) -> Judgement:
        """Adds and removes the visitors of a batch."""
        operations = operations_of(batch.records)
        answer = self._patched(operations)
        if not answer.ok:
            return Judgement(unplaced=[answer.message], whole=True)
        told = segments.told_of(answer, operations)
        if told is None:
            # It does not tell its entries apart; that of a call of one operation is about that one.
            told = {op: self._told_alone(op, ids) for op, ids in operations.items()}
        wrong = [message for status, message in told.values() if not segments.is_done(status)]
        if not wrong:
            return Judgement()
        # One answer an operation: what it says holds for each of its rows.
        taken = {key: DELIVERED for op, ids in operations.items() if segments.is_done(told[op][0]) for key in ids}
        return Judgement(outcomes=taken, unplaced=wrong, whole=True)

    def _told_alone(self, op: str, ids: list[str]) -> tuple[int, str]:
        answer = self._patched({op: ids})
        told = segments.told_of(answer, [op])
        return (answer.status, answer.message) if told is None else told[op]

    def _named(self) -> str | None:
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

    def _overwritten(self, members: Sequence[str]) -> Answer:
        if self.id is None:
            return self._made(members)
        return self._written(partial(segments.overwrite, self._client, self.id, members))

    def _made(self, members: Sequence[str]) -> Answer:
        """Uploads the segment, and again only when Pendo's list shows that a call without an answer has made none."""
        retries = 0
        while True:
            self._stop.check()
            answer = None
            try:
                answer = segments.upload(self._client, self._name, members)
            except UnavailableError:
                if retries == self._client.settings.retries:
                    raise
            if answer is not None and ((made := segments.uploaded_id(answer)) or not answer.ok):
                self.id = made
                return answer
            self._stop.wait(min(FIRST_WAIT * 2**retries, LONGEST_WAIT))
            retries += 1
            self.id = self._named()
            if self.id is not None:
                return self._overwritten(members)
            if answer is not None:
                raise PendoError(
                    f"{self._where}: Pendo took the segment {self._name}, and does not list it ({answer.message}).",
                    "Run the sync again.",
                )

    def _patched(self, operations: dict[str, list[str]]) -> Answer:
        return self._written(partial(segments.patch, self._client, self.id or "", operations))

    def _written(self, call: Callable[[], Answer]) -> Answer:
        with self._writing:
            self._stop.check()
            answered, self.answered = self.answered, False
            answer = self._wait_while_busy(call)
            self.answered = answered
        if answer.status == 404:
            raise PendoError(
                f"{self._where}: the segment {self._name} is gone from Pendo ({answer.message}).",
                "The next sync makes it anew.",
            )
        return answer

    def _wait_while_busy(self, call: Callable[[], Answer]) -> Answer:
        give_up_at = time.monotonic() + self._client.settings.retry_time
        wait = FIRST_WAIT
        while True:
            self._stop.check()
            answer = call()
            if not segments.is_busy(answer):
                return answer
            if time.monotonic() + wait > give_up_at:
                raise UnavailableError(
                    f"{self._where}: Pendo is still busy with another write of the segment {self._name}.",
                    "Run the sync again later; what was delivered is kept.",
                )
            self._stop.wait(wait)
            wait = min(1.5 * wait, LONGEST_WAIT)
