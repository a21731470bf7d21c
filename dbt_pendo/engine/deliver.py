"""Batches to Pendo, and a judgement for every row of them.

A batch that Pendo refuses as a whole, or whose answer names no record, is split in halves until the row at fault
stands alone (pendo-api.md 9, *split retries*); its neighbours are delivered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import orjson

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.outcome import Outcome, Position
from dbt_pendo.pendo import deletion, metadata, track
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.records.batches import metadata_body, track_body
from dbt_pendo.records.render import Record
from dbt_pendo.spec.sync import SyncSpec

Outcomes = dict[Position, Outcome]
# One call for one batch: the outcome of records that failed, by key, and what Pendo says of records it does not name.
Send = Callable[[Sequence[Record]], metadata.Verdict]

# So many rows refused alone, and none taken: the fault is not theirs.
HOPELESS = 5


class EverythingRefusedError(DbtPendoError):
    """Pendo refuses row after row for one reason, which therefore is not a row's."""


class Deliverer:
    """Delivers the batches of one sync; may be used from several threads at once."""

    def __init__(self, client: PendoClient, spec: SyncSpec) -> None:
        self._client = client
        self._spec = spec
        self._lock = threading.Lock()
        self._delivered_any = False
        self._refused_alone: list[str] = []
        self._last_deletion = 0.0

    def deliver(self, batch: Sequence[Record]) -> Outcomes:
        """Writes a batch of visitors or accounts, or sends a batch of events.

        Returns:
            The outcome of every record that was not delivered.

        Raises:
            DbtPendoError: If no further row of this sync can be delivered.
        """
        if self._spec.event is not None:
            return self._judge(batch, self._send_events)
        outcomes: Outcomes = {}
        for group in range(len(batch[0].bodies)):
            written = [record for record in batch if record.bodies[group] is not None]
            if written:
                # Pendo takes one group a call; a row is delivered only when each of its groups is.
                for position, outcome in self._judge(written, self._values_sender(group)).items():
                    if outcomes.get(position, outcome).status != "rejected":
                        outcomes[position] = outcome
        return outcomes

    def delete(self, batch: Sequence[Record]) -> Outcomes:
        """Queues the records of a batch for deletion.

        Returns:
            The outcome of every record that was not taken.
        """
        return self._judge(batch, self._send_deletions)

    def _judge(self, batch: Sequence[Record], send: Send) -> Outcomes:
        verdict = self._send_encodable(batch, send)
        by_key = {record.key: record.position for record in batch}
        outcomes = {by_key[key]: outcome for key, outcome in verdict.outcomes.items()}
        rest = [record for record in batch if record.position not in outcomes]
        if not verdict.unplaced:
            if rest:
                self._note_delivery()
            return outcomes
        reason = "; ".join(dict.fromkeys(verdict.unplaced))
        if len(rest) == 1:
            self._note_refusal(reason)
            return {**outcomes, rest[0].position: Outcome("rejected", reason)}
        middle = len(rest) // 2
        for half in (rest[:middle], rest[middle:]):
            if half:
                outcomes.update(self._judge(half, send))
        return outcomes

    def _send_encodable(self, batch: Sequence[Record], send: Send) -> metadata.Verdict:
        try:
            return send(batch)
        except orjson.JSONEncodeError:
            # Text that is no Unicode, a lone surrogate say: no driver should hand it out, some do.
            unfit = {record.key: Outcome("invalid", reason) for record in batch if (reason := _unfit(record))}
            rest = [record for record in batch if record.key not in unfit]
            verdict = send(rest) if rest else metadata.Verdict()
            verdict.outcomes.update(unfit)
            return verdict

    def _values_sender(self, group: int) -> Send:
        spec = self._spec

        def send(batch: Sequence[Record]) -> metadata.Verdict:
            body = metadata_body(batch, group)
            answer = metadata.write_values(
                self._client, spec.object, spec.groups[group] if spec.groups else "custom", body, spec.mode == "upsert"
            )
            return metadata.judge_values(answer, [record.key for record in batch])

        return send

    def _send_events(self, batch: Sequence[Record]) -> metadata.Verdict:
        assert self._spec.event is not None  # noqa: S101 - deliver() asked
        answer = track.send_events(self._client, self._spec.event.app, track_body(batch))
        return metadata.Verdict() if answer.ok else metadata.Verdict(unplaced=[answer.message])

    def _send_deletions(self, batch: Sequence[Record]) -> metadata.Verdict:
        with self._lock:
            # More than a call a second is likely refused (pendo-api.md 6).
            time.sleep(max(0.0, self._last_deletion + deletion.SECONDS_BETWEEN_DELETIONS - time.monotonic()))
            answer = deletion.delete_records(self._client, self._spec.object, [record.key for record in batch])
            self._last_deletion = time.monotonic()
        return metadata.Verdict() if answer.ok else metadata.Verdict(unplaced=[answer.message])

    def _note_delivery(self) -> None:
        with self._lock:
            self._delivered_any = True

    def _note_refusal(self, reason: str) -> None:
        """Counts rows refused alone: when none was ever taken, going on would ask Pendo for every single row."""
        with self._lock:
            self._refused_alone.append(reason)
            hopeless = not self._delivered_any and len(self._refused_alone) >= HOPELESS
        if hopeless and len(set(self._refused_alone)) == 1:
            raise EverythingRefusedError(
                f"Pendo refuses every row for one reason: {reason}.",
                "Fix the mapping or the field it names; `dbt-pendo check` compares the mapping with Pendo.",
            )


def _unfit(record: Record) -> str | None:
    try:
        orjson.dumps(record.bodies)
    except orjson.JSONEncodeError as error:
        return f"cannot be written as JSON: {error}"
    return None
