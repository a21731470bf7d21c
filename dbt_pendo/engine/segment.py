"""One Pendo segment that has to hold exactly a model's visitors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from dbt_pendo.engine.interrupts import Stop
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.outcome import DELIVERED
from dbt_pendo.pendo import segments
from dbt_pendo.pendo.client import Answer, PendoClient, PendoError, UnavailableError
from dbt_pendo.pendo.metadata import Verdict
from dbt_pendo.records.batches import Batch
from dbt_pendo.records.render import operations_of
from dbt_pendo.spec.sync import SyncSpec

# Seconds to wait for another write of the segment to end, at first and at most.
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0


class SegmentWriter:
    """Finds and writes the segment of one sync; one write at a time, for Pendo refuses a second one.

    Attributes:
        id: Pendo's id of the segment; None while there is none.
        known: Whether its members are those that the ledger says; else they have to be replaced.
    """

    def __init__(self, client: PendoClient, spec: SyncSpec, stop: Stop) -> None:
        self._client = client
        self._name = spec.segment or ""
        self._where = f"{spec.file}: {spec.name}"
        self._stop = stop
        self._writing = threading.Lock()
        self.id: str | None = None
        self.known = False

    def find(self, known_id: str | None) -> None:
        """Looks the segment up, by the id of an earlier run or else by its name.

        Raises:
            DbtPendoError: If it was not made by the API, or several have its name.
        """
        if known_id is not None and segments.is_there(self._client, known_id):
            self.id, self.known = known_id, True
            return
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
        self.id = ours[0] if ours else None

    def replace(self, members: Sequence[str]) -> int:
        """Makes the segment hold some visitors and nobody else, in one call.

        Args:
            members: At least one visitor.

        Returns:
            How many of the first ones Pendo took: all, unless they are too many for one call.

        Raises:
            PendoError: If Pendo does not take them.
        """
        count = len(members)
        while True:
            answer = self._write(lambda: self._replace_once(members[:count]))  # noqa: B023 - called at once
            if answer.ok:
                return count
            if answer.status != 413 or count == 1:
                raise PendoError(f"{self._where}: Pendo does not take the segment {self._name} ({answer.message}).")
            count = -(-count // 2)

    def send(self, batch: Batch) -> Verdict:
        """Adds and removes the visitors of a batch."""
        operations = operations_of(batch.records)
        answer = self._write(lambda: segments.patch(self._client, self.id or "", operations))
        told = segments.told_of(answer)
        if told is None or len(told) != len(operations):
            return Verdict(unplaced=[answer.message], whole=True)
        wrong = [message for status, message in told if not 200 <= status < 300]
        if not wrong:
            return Verdict()
        # One answer an operation: what it says holds for each of its rows.
        done = [ids for ids, (status, _) in zip(operations.values(), told, strict=True) if 200 <= status < 300]
        taken = {key: DELIVERED for ids in done for key in ids}
        return Verdict(outcomes=taken, unplaced=wrong, whole=True)

    def _replace_once(self, members: Sequence[str]) -> Answer:
        if self.id is not None:
            return segments.overwrite(self._client, self.id, members)
        retries = self._client.traffic.retries
        answer = segments.upload(self._client, self._name, members)
        if answer.ok:
            self.id = segments.uploaded_id(answer)
            if self.id is None or self._client.traffic.retries > retries:
                self._keep_one()
        return answer

    def _keep_one(self) -> None:
        """Deletes what an upload left whose answer was lost, so that it was sent again: a segment of the same name."""
        made = [one.id for one in segments.list_segments(self._client) if one.name == self._name and one.created_by_api]
        if not made:
            raise PendoError(f"{self._where}: Pendo took the segment {self._name}, and does not list it.")
        self.id = self.id or made[-1]
        for twin in made:
            if twin != self.id:
                self._wait_while_busy(lambda: segments.delete(self._client, twin))  # noqa: B023 - called at once

    def _write(self, call: Callable[[], Answer]) -> Answer:
        with self._writing:
            return self._wait_while_busy(call)

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
