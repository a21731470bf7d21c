"""The requests for one batch, and what their answers say: a writer for each kind of Pendo object."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from dbt_pendo.delivery.prepare import SyncContext
from dbt_pendo.delivery.segments import Segment
from dbt_pendo.delivery.send import Batch
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import BodyField, BodyLayout, Column, Group, SyncSpec
from dbt_pendo.outcomes import DELIVERED, QUEUED_DELETION, Outcome
from dbt_pendo.pendo import deletion, segments
from dbt_pendo.pendo.client import Answer, PendoClient, PendoError, Request
from dbt_pendo.pendo.metadata import Judgement, judge_values, refused, values_request
from dbt_pendo.pendo.track import track_request
from dbt_pendo.records.render import PendoField, Record, Rendered, operations_of

# Seconds in which all deletions of a sync are followed to their end.
DELETION_PATIENCE = 30.0


def pack(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    """Cuts records into batches of at most ``size``, in their order."""
    for start in range(0, len(records), size):
        yield records[start : start + size]


def values_body(records: Sequence[Record], group: int, id_key: str) -> bytes:
    """Returns the body of a bulk metadata call with the ids under another key than the one they were rendered with."""
    bodies = ((record.key, record.bodies[group]) for record in records)
    return orjson.dumps([{id_key: key, "values": body["values"]} for key, body in bodies if isinstance(body, dict)])


def track_body(records: Sequence[Record]) -> bytes:
    """Returns the body of a track call: one event as a bare object, several as an array (pendo-api.md 9)."""
    events = [record.bodies[0] for record in records]
    return orjson.dumps(events[0] if len(events) == 1 else events)


def body_layouts(spec: SyncSpec, fields: Sequence[PendoField]) -> tuple[BodyLayout, ...]:
    """Returns the bodies of a sync, one a metadata group; none when only ``render`` can write them."""
    by_group: dict[Group, list[BodyField]] = {}
    for mapping, known in zip(spec.fields, fields, strict=True):
        # The key of a parent account's id is found by trying (see MetadataWriter), so no text can be written before.
        if spec.object == "parent_account" or mapping.nulls == "skip" or not isinstance(mapping.source, Column):
            return ()
        by_group.setdefault(mapping.group, []).append(BodyField(known.key, mapping.source.name, known.type))
    return tuple(BodyLayout(OBJECTS[spec.object].id_key, tuple(written)) for written in by_group.values())


@dataclass
class Writer(ABC):
    """Writes batches of one kind to Pendo; may be used from several threads at once."""

    client: PendoClient

    @abstractmethod
    def request(self, batch: Batch) -> Request:
        """Returns the request for a batch."""

    def judge(self, answer: Answer, batch: Batch) -> Judgement:
        """Returns what an answer says of the records of a batch."""
        return Judgement() if answer.ok else refused(answer.message)

    def write(self, batch: Batch) -> Judgement:
        """Sends a batch.

        Raises:
            DbtPendoError: If Pendo cannot be used, or the run has to end.
        """
        return self.judge(self.client.send(self.request(batch)), batch)


@dataclass
class MetadataWriter(Writer):
    """Writes one metadata group of visitors or accounts, under the first key of their ids that Pendo takes."""

    spec: SyncSpec
    # The keys to try, which the writers of a sync share; no source says which is that of parent accounts.
    id_keys: list[str]
    # Which of the groups of the sync.
    at: int
    # Whether the records have left the model: nobody is created, and one that Pendo does not know needs no clearing.
    clears: bool

    def request(self, batch: Batch) -> Request:
        """See ``Writer``."""
        return self._request(batch, self.id_keys[0])

    def write(self, batch: Batch) -> Judgement:
        """See ``Writer``."""
        answers = []
        for id_key in tuple(self.id_keys):
            answer = self.client.send(self._request(batch, id_key))
            if answer.ok:
                self.id_keys[:] = [id_key]
                return self.judge(answer, batch)
            answers.append(answer)
        # Pendo refused it for another reason, and the first answer is to the likeliest request.
        return self.judge(answers[0], batch)

    def judge(self, answer: Answer, batch: Batch) -> Judgement:
        """See ``Writer``."""
        judgement = judge_values(answer, batch.keys)
        if self.clears:
            cleared = [key for key, outcome in judgement.outcomes.items() if outcome.status == "missing"]
            judgement.outcomes |= dict.fromkeys(cleared, DELIVERED)
        return judgement

    def _request(self, batch: Batch, id_key: str) -> Request:
        group: Group = self.spec.groups[self.at] if self.spec.groups else "custom"
        creates = self.spec.mode == "upsert" and not self.clears
        is_rendered = id_key == OBJECTS[self.spec.object].id_key
        body = batch.request(self.at) if is_rendered else values_body(batch.records, self.at, id_key)
        return values_request(self.spec.object, group, body, creates, batch.keys)


@dataclass
class TrackWriter(Writer):
    """Sends events of one app."""

    app: str | None

    def request(self, batch: Batch) -> Request:
        """See ``Writer``."""
        return track_request(self.app, track_body(batch.records), batch.keys)


@dataclass
class SegmentWriter(Writer):
    """Adds and removes members of a segment."""

    segment: Segment

    def request(self, batch: Batch) -> Request:
        """See ``Writer``."""
        return self.segment.patch(operations_of(batch.records))

    def write(self, batch: Batch) -> Judgement:
        """See ``Writer``; an operation has one result, which holds for each of its rows."""
        operations = operations_of(batch.records)
        results = self.segment.apply(operations)
        wrong = [message for status, message in results.values() if not segments.is_done(status)]
        if not wrong:
            return Judgement()
        taken = {key: DELIVERED for op, ids in operations.items() if segments.is_done(results[op][0]) for key in ids}
        return Judgement(outcomes=taken, unnamed=wrong, refused_whole=True)


@dataclass
class DeletionWriter(Writer):
    """Queues visitors or accounts for deletion, one request at a time, and follows it as long as a run can."""

    spec: SyncSpec
    stop: Stop
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last_at: float = float("-inf")
    _patience: float = field(default_factory=lambda: DELETION_PATIENCE)

    def request(self, batch: Batch) -> Request:
        """See ``Writer``."""
        return deletion.deletion_request(self.spec.object, batch.keys)

    def judge(self, answer: Answer, batch: Batch) -> Judgement:
        """See ``Writer``; Pendo may take days, and has marked the ids by then."""
        job = deletion.job_of(answer)
        if job is None:
            return refused(answer.message)
        return Judgement(outcomes=dict.fromkeys(batch.keys, self._follow(job)))

    def write(self, batch: Batch) -> Judgement:
        """See ``Writer``."""
        with self._lock:
            # More than a call a second is likely refused (pendo-api.md 6).
            self.stop.wait(max(0.0, self._last_at + deletion.SECONDS_BETWEEN_DELETIONS - time.monotonic()))
            answer = self.client.send(self.request(batch))
            self._last_at = time.monotonic()
            return self.judge(answer, batch)

    def _follow(self, job: str) -> Outcome:
        wait = 0.5
        # A job that Pendo does not report on is still queued; later runs ask again.
        with contextlib.suppress(PendoError):
            while True:
                state, said = deletion.job_state(self.client, job)
                if state == "done":
                    return DELIVERED
                if state == "failed":
                    return Outcome("rejected", f"Pendo's deletion {job} ended as {said}")
                if self._patience <= 0:
                    break
                self.stop.wait(min(wait, self._patience))
                self._patience -= wait
                wait *= 1.5
        return Outcome("delivered", f"{QUEUED_DELETION}{job}")


@dataclass(frozen=True, slots=True)
class Writers:
    """The writers of a sync: of records, of those that left the model, and of deletions.

    The first two hold a writer for each metadata group.
    """

    updates: Sequence[Writer]
    clearings: Sequence[Writer]
    deletions: Sequence[Writer]


def make_writers(client: PendoClient, spec: SyncSpec, stop: Stop, segment: Segment | None = None) -> Writers:
    """Returns the writers of a sync; without a segment also of one that is yet to be found."""
    if spec.event is not None:
        return Writers([TrackWriter(client, spec.event.app)], (), ())
    if spec.segment is not None:
        return Writers([SegmentWriter(client, segment)] if segment else (), (), ())
    kind = OBJECTS[spec.object]
    id_keys = [kind.id_key, *kind.other_id_keys]

    updates, clearings = (
        [MetadataWriter(client, spec, id_keys, group, clears) for group in range(len(spec.groups) or 1)]
        for clears in (False, True)
    )
    return Writers(updates, clearings, [DeletionWriter(client, spec, stop)])


def cut_batches(writers: Writers, rendered: Rendered, size: int) -> Iterator[tuple[Sequence[Writer], Batch]]:
    """Yields batches of at most ``size`` records, each with the writers of its metadata groups."""
    for of_kind, records, most in (
        (writers.updates, rendered.updates, size),
        (writers.clearings, rendered.clearings, size),
        (writers.deletions, rendered.deletions, deletion.LARGEST_DELETION),
    ):
        for batch in pack(records, most):
            yield of_kind, Batch(batch)


def preview_requests(
    client: PendoClient, spec: SyncSpec, rendered: Rendered, segment: Segment | None, is_compared: bool
) -> Iterator[Request]:
    """Yields the requests for some rows, in the order in which a sync would send them; sends nothing.

    Args:
        client: Pendo.
        spec: The sync.
        rendered: The rows.
        segment: The segment of a ``segment`` sync; None while Pendo was not asked.
        is_compared: Whether a sync compares the segment's members with Pendo's: then nobody knows before what it sends.
    """
    if spec.segment is not None and (segment is None or is_compared):
        added = operations_of(rendered.updates).get("add")
        if added and (segment is None or segment.id is None):
            yield segments.replace_request(spec.segment, None, added)
        return
    writers = make_writers(client, spec, Stop(), segment)
    for of_groups, batch in cut_batches(writers, rendered, spec.batch_size):
        for group, writer in enumerate(of_groups):
            if part := batch if len(of_groups) == 1 else batch.part(group):
                yield writer.request(part)


def follow_deletions(context: SyncContext) -> list[str]:
    """Asks Pendo once for each deletion that earlier runs queued; notes in the ledger which ended, and counts the rest.

    Pendo may take 21 days (pendo-api.md 6), and no run waits so long. The rows of a deletion that failed count as
    delivered again, so that the next plan finds them removed.

    Returns:
        How the deletions ended, in words for people.

    Raises:
        WarehouseError: If the ledger cannot be read or written.
    """
    queued = context.tables.queued_deletions()
    notes = []
    for job, rows in list(queued.items()):
        try:
            state, said = deletion.job_state(context.client, job)
        except PendoError:
            # That is no reason to hold the rest of the sync back; the next run asks again.
            break
        if state == "queued":
            continue
        end = "is not known there any more" if state == "unknown" else f"ended as {said}"
        failed = state == "failed"
        context.tables.end_deletion(context.run_id, job, f"Pendo's deletion {job} {end}", is_undone=failed)
        notes.append(f"Pendo's deletion {job} of {rows:,} rows {end}{': they are tried again' if failed else ''}")
        del queued[job]
    for job, rows in queued.items():
        context.counts.add_reason("delivered", f"{QUEUED_DELETION}{job}", None, rows)
    return notes
