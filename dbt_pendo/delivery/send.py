"""Batches to Pendo, and a judgement for every row of them.

A batch that Pendo refuses as a whole, or whose answer tells of failures without naming the records, is split in halves
until the row at fault stands alone (pendo-api.md 9, *split retries*); its neighbours are delivered.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import orjson

from dbt_pendo.delivery.segment_writer import SegmentWriter
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Group, SyncSpec
from dbt_pendo.outcomes import DELIVERED, QUEUED_DELETION, Outcome, Position
from dbt_pendo.pendo import deletion, metadata, track
from dbt_pendo.pendo.client import Answer, PendoClient, PendoError
from dbt_pendo.pendo.metadata import Judgement
from dbt_pendo.records.batches import Batch, RecordBatch, track_body, values_body
from dbt_pendo.records.render import Record
from dbt_pendo.wording import without_particulars

# So many rows from all over a batch refused alone for one reason, and none ever taken: the fault is not theirs.
HOPELESS = 5
# Seconds in which all deletions of a sync are followed to their end.
DELETION_PATIENCE = 30.0
# Rows that have to be judged before their share of rejections says anything.
JUDGED_BEFORE_BREAKING = 100

Outcomes = dict[Position, Outcome]
# One call for one batch.
Send = Callable[[Batch], Judgement]
# Is told of rows as soon as they are final, that they can be written down: which they are, and the outcome of those
# that were not delivered.
Settled = Callable[[Sequence[Position], Mapping[Position, Outcome]], None]


class EverythingRefusedError(DbtPendoError):
    """Pendo refuses row after row, so that the fault is more likely the mapping's than the rows'."""


class Sender:
    """Delivers the batches of one sync; may be used from several threads at once."""

    def __init__(self, client: PendoClient, spec: SyncSpec, stop: Stop, segment: SegmentWriter | None = None) -> None:
        self._segment = segment
        self._client = client
        self._spec = spec
        self._stop = stop
        self._lock = threading.Lock()
        self._taken = 0
        self._some_unnamed_taken = False
        self._rejected = 0
        self._deleting = threading.Lock()
        self._last_deletion = float("-inf")
        self._deletion_patience = DELETION_PATIENCE
        self._id_keys = OBJECTS[spec.object].id_keys

    def deliver(self, batch: Batch, settled: Settled) -> None:
        """Writes a batch of visitors or accounts, sends a batch of events, or changes members of a segment.

        Args:
            batch: The records.
            settled: Is told the outcome of every record, except of those that an exception leaves open.

        Raises:
            DbtPendoError: If no further row of this sync can or shall be delivered.
        """
        if self._spec.event is not None:
            self._deliver(batch, self._send_events, settled)
            return
        if self._segment is not None:
            self._deliver(batch, self._segment.send, settled)
            return
        self._write_groups(batch, self._spec.mode == "upsert", settled)

    def clear(self, batch: Batch, settled: Settled) -> None:
        """Empties the fields of records that left the model; else as ``deliver``.

        Nobody is created for it, and who is gone from Pendo as well needs no clearing.
        """

        def gone_is_cleared(positions: Sequence[Position], others: Mapping[Position, Outcome]) -> None:
            settled(
                positions, {position: outcome for position, outcome in others.items() if outcome.status != "missing"}
            )

        self._write_groups(batch, False, gone_is_cleared)

    def _write_groups(self, batch: Batch, create: bool, settled: Settled) -> None:
        if batch.groups == 1:
            self._deliver(batch, self._values_sender(0, create), settled)
            return
        # Pendo takes one group a call; a row is delivered when each of its groups is, and final with the last of them.
        parts = [batch.part(group) for group in range(batch.groups)]
        last = {position: group for group, part in enumerate(parts) for position in part.positions}
        worst: Outcomes = {}

        def settle_last(group: int, positions: Sequence[Position], others: Mapping[Position, Outcome]) -> None:
            for position, outcome in others.items():
                worst[position] = _worse(worst.get(position, DELIVERED), outcome)
            if final := [position for position in positions if last[position] == group]:
                settled(final, {position: worst[position] for position in final if position in worst})

        for group, part in enumerate(parts):
            if len(part):
                self._deliver(part, self._values_sender(group, create), partial(settle_last, group))

    def delete(self, batch: Batch, settled: Settled) -> None:
        """Queues the records of a batch for deletion; else as ``deliver``."""
        self._deliver(batch, self._send_deletions, settled)

    def _deliver(self, batch: Batch, send: Send, settled: Settled) -> None:
        """Sends a batch, and takes it apart unless Pendo took all of it, as it mostly does."""
        verdict = self._sent(batch, send)
        if verdict == Judgement():
            settled(batch.positions, {})
            self._count(len(batch), {})
        else:
            self._judge_by(verdict, batch, send, settled)

    def _judge(self, batch: Batch, send: Send, settled: Settled) -> Outcomes:
        """Sends a part of a batch, and parts of it again until every record is judged."""
        return self._judge_by(self._sent(batch, send), batch, send, settled)

    def _judge_by(self, verdict: Judgement, batch: Batch, send: Send, settled: Settled) -> Outcomes:
        """Judges a batch by the answer to it, and by those to parts of it that have to be sent again."""
        outcomes = self._placed(batch, verdict, settled)
        if not verdict.unplaced:
            return outcomes
        rest = [record for record in batch.records if record.position not in outcomes]
        if len(rest) == 1:
            return outcomes | self._reject_alone(rest[0], verdict, settled)
        if not verdict.whole:
            return outcomes | self._find_failures(rest, verdict, send, settled)
        outcomes |= self._probe(rest, send, settled)
        rest = [record for record in rest if record.position not in outcomes]
        # Nothing of it was taken, so each half is sent for the first time.
        for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
            if half:
                outcomes |= self._judge(RecordBatch(half), send, settled)
        return outcomes

    def _probe(self, suspects: Sequence[Record], send: Send, settled: Settled) -> Outcomes:
        """Judges a few records from all over a batch of which none was taken, unless others were taken before.

        Raises:
            EverythingRefusedError: If they are refused for one reason: going on would ask Pendo for every single row.
        """
        if self._taken or self._some_unnamed_taken or len(suspects) <= HOPELESS:
            return {}
        outcomes: Outcomes = {}
        reasons = set()
        for record in suspects[:: -(-len(suspects) // HOPELESS)]:
            outcomes |= self._judge(RecordBatch([record]), send, settled)
            # A row's own id and values make no other reason of it.
            reasons.add(without_particulars(outcomes[record.position].detail or "", record.key))
        if len(reasons) == 1 and all(outcome.status == "rejected" for outcome in outcomes.values()):
            reason = next(iter(outcomes.values())).detail or ""
            hint = "Fix the mapping or the field it names; `dbt-pendo check` compares the mapping with Pendo."
            if reason.startswith("HTTP 404"):
                hint = "The host does not know such a call: look at PENDO_API_URL and PENDO_DATA_URL."
            raise EverythingRefusedError(f"Pendo refuses every row for one reason: {reason}.", hint)
        return outcomes

    def _find_failures(self, suspects: Sequence[Record], told: Judgement, send: Send, settled: Settled) -> Outcomes:
        """Finds the records at fault where Pendo took all but some that it does not name.

        It says how many, so of each pair of halves one need not be sent again: what is not wrong with the one half is
        wrong with the other.
        """
        count = len(told.unplaced)
        if count >= len(suspects):
            # Each alone, for Pendo's own words about it, and for certainty: two texts may have been about one record.
            outcomes = self._probe(suspects, send, settled)
            for record in suspects:
                if record.position not in outcomes:
                    outcomes |= self._judge(RecordBatch([record]), send, settled)
            return outcomes
        self._some_unnamed_taken = True
        left, right = suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]
        again = self._sent(RecordBatch(left), send)
        outcomes = {record.position: again.outcomes[record.key] for record in left if record.key in again.outcomes}
        in_left = len(again.outcomes) + len(again.unplaced)
        if again.whole or in_left > count:
            # Pendo contradicts itself: judge both halves afresh.
            return self._judge(RecordBatch(left), send, settled) | self._judge(RecordBatch(right), send, settled)
        if outcomes:
            self._settle(outcomes, settled)
        suspects_left = [record for record in left if record.position not in outcomes]
        for half, reasons in ((suspects_left, again.unplaced), (right, told.unplaced[in_left:])):
            if not reasons:
                outcomes |= self._take(half, settled)
            else:
                outcomes |= self._find_failures(half, Judgement(unplaced=list(reasons)), send, settled)
        return outcomes

    def _sent(self, batch: Batch, send: Send) -> Judgement:
        """Sends a batch, and once more those of its records that only texts accuse: they may have meant others."""
        verdict = self._sent_once(batch, send)
        if not verdict.suspects:
            return verdict
        accused = [record for record in batch.records if record.key in verdict.suspects]
        again = self._sent_once(RecordBatch(accused), send) if len(accused) < len(batch) else verdict
        if len(again.outcomes) + len(again.suspects) + len(again.unplaced) >= len(accused):
            verdict.outcomes |= {key: Outcome("rejected", reason) for key, reason in verdict.suspects.items()}
        else:
            verdict.unplaced += verdict.suspects.values()
        verdict.suspects = {}
        return verdict

    def _sent_once(self, batch: Batch, send: Send) -> Judgement:
        self._stop.check()
        try:
            return send(batch)
        except orjson.JSONEncodeError:
            # Text that is no Unicode, a lone surrogate say: no driver should hand it out, some do.
            unfit = {record.key: Outcome("invalid", reason) for record in batch.records if (reason := _unfit(record))}
            rest = [record for record in batch.records if record.key not in unfit]
            verdict = send(RecordBatch(rest)) if rest else Judgement()
            verdict.outcomes.update(unfit)
            return verdict

    def _placed(self, batch: Batch, verdict: Judgement, settled: Settled) -> Outcomes:
        """Returns the outcomes an answer leaves no doubt about."""
        outcomes: Outcomes = {}
        if not verdict.unplaced:
            outcomes = dict.fromkeys(batch.positions, DELIVERED)
        if verdict.outcomes:
            outcomes |= {
                record.position: verdict.outcomes[record.key]
                for record in batch.records
                if record.key in verdict.outcomes
            }
        if outcomes:
            self._settle(outcomes, settled)
        return outcomes

    def _settle(self, outcomes: Outcomes, settled: Settled) -> None:
        """Tells outcomes, and only then counts them: that may end the sync."""
        others = {position: outcome for position, outcome in outcomes.items() if outcome is not DELIVERED}
        settled(list(outcomes), others)
        self._count(len(outcomes), others)

    def _take(self, records: Sequence[Record], settled: Settled) -> Outcomes:
        return self._placed(RecordBatch(records), Judgement(), settled)

    def _reject_alone(self, record: Record, verdict: Judgement, settled: Settled) -> Outcomes:
        reason = "; ".join(dict.fromkeys(verdict.unplaced))
        outcomes: Outcomes = {record.position: Outcome("rejected", reason)}
        self._settle(outcomes, settled)
        return outcomes

    def _values_sender(self, group: int, create: bool) -> Send:
        spec = self._spec
        name = spec.groups[group] if spec.groups else "custom"

        def send(batch: Batch) -> Judgement:
            if spec.object == "parent_account":
                answer = self._write_parents(batch, group, name, create)
            else:
                body = batch.request(group)
                answer = metadata.write_values(self._client, spec.object, name, body, create, batch.keys)
            if metadata.took_all(answer):
                return Judgement()
            return metadata.judge_values(answer, batch.keys)

        return send

    def _write_parents(self, batch: Batch, group: int, name: Group, create: bool) -> Answer:
        """Writes parent accounts under the first key of their ids that Pendo takes; no source says which it is."""
        answers = []
        for id_key in self._id_keys:
            body = values_body(batch.records, group, id_key)
            answer = metadata.write_values(self._client, self._spec.object, name, body, create, batch.keys)
            if answer.ok:
                self._id_keys = (id_key,)
                return answer
            answers.append(answer)
        # Refused for another reason then, and the first answer is to the likeliest request.
        return answers[0]

    def _send_events(self, batch: Batch) -> Judgement:
        app = self._spec.event.app if self._spec.event else None
        answer = track.send_events(self._client, app, track_body(batch.records), batch.keys)
        return Judgement() if answer.ok else Judgement(unplaced=[answer.message], whole=True)

    def _send_deletions(self, batch: Batch) -> Judgement:
        with self._deleting:
            # More than a call a second is likely refused (pendo-api.md 6).
            self._stop.wait(max(0.0, self._last_deletion + deletion.SECONDS_BETWEEN_DELETIONS - time.monotonic()))
            answer = deletion.delete_records(self._client, self._spec.object, batch.keys)
            self._last_deletion = time.monotonic()
            job = deletion.job_of(answer) if answer.ok else None
            if job is None:
                return Judgement(unplaced=[answer.message], whole=True)
            return self._follow_deletion(batch, job)

    def _follow_deletion(self, batch: Batch, job: str) -> Judgement:
        """Waits for the end of a deletion as long as a run can: Pendo may take days, and has marked the ids by then."""
        wait = 0.5
        outcome = Outcome("delivered", f"{QUEUED_DELETION}{job}")
        # It is queued, whatever Pendo says of the job; later runs ask again.
        with contextlib.suppress(PendoError):
            while True:
                state, told = deletion.job_state(self._client, job)
                if state == "done":
                    return Judgement()
                if state == "failed":
                    outcome = Outcome("rejected", f"Pendo's deletion {job} ended as {told}")
                    break
                if self._deletion_patience <= 0:
                    break
                self._stop.wait(min(wait, self._deletion_patience))
                self._deletion_patience -= wait
                wait *= 1.5
        return Judgement(outcomes=dict.fromkeys((record.key for record in batch.records), outcome))

    def _count(self, rows: int, others: Mapping[Position, Outcome]) -> None:
        """Counts judged rows, and stops the sync when too large a share of them is rejected."""
        rejected = sum(outcome.status == "rejected" for outcome in others.values())
        with self._lock:
            self._rejected += rejected
            self._taken += rows - rejected
            judged, all_rejected = self._rejected + self._taken, self._rejected
        limit = self._client.settings.max_error_share
        if rejected and judged >= JUDGED_BEFORE_BREAKING and all_rejected > limit * judged:
            reasons = [outcome.detail for outcome in others.values() if outcome.status == "rejected"]
            raise EverythingRefusedError(
                f"Pendo rejected {all_rejected:,} of {judged:,} rows, the last for: {reasons[-1]}.",
                "Fix the mapping or the data; PENDO_MAX_ERROR_SHARE says how large a share may be rejected.",
            )


def _worse(one: Outcome, other: Outcome) -> Outcome:
    ranks = ("delivered", "missing", "invalid", "rejected")
    return max(one, other, key=lambda outcome: ranks.index(outcome.status))


def _unfit(record: Record) -> str | None:
    try:
        orjson.dumps(record.bodies)
    except orjson.JSONEncodeError as error:
        return f"cannot be written as JSON: {error}"
    return None
