"""The requests for one batch, and what their answers say: a writer for each kind of Pendo object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import orjson

from dbt_pendo.delivery.deletions import Deletions
from dbt_pendo.delivery.segments import Segment
from dbt_pendo.delivery.send import Batch
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.mapping.objects import NO_GUIDES, OBJECTS
from dbt_pendo.mapping.spec import BodyField, BodyLayout, Column, Group, SyncSpec
from dbt_pendo.outcomes import DELIVERED, Outcome
from dbt_pendo.pendo import deletion, segments
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import KeyRefusedError, PendoClient, PendoError, Request
from dbt_pendo.pendo.metadata import UNKNOWN_ID, Judgement, consent_request, judge_values, refused, values_request
from dbt_pendo.pendo.records import read_record
from dbt_pendo.pendo.track import track_request
from dbt_pendo.records.render import PendoField, Record, Rendered, consents_of, operations_of

_NO_EXCLUSION = f"Pendo takes `{NO_GUIDES}` only where its support has enabled the guide exclude list"
_ASK_SUPPORT = (
    "Ask Pendo Support for the guide exclude list per visitor and account, or take the field out of the mapping."
)


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
    # A consent is sent alone.
    if spec.consents:
        return ()
    for mapping, known in zip(spec.fields, fields, strict=True):
        # The key of a parent account's id is found by trying (see MetadataWriter), so no text can be written before.
        if spec.object == "parent_account" or mapping.nulls == "skip" or not isinstance(mapping.source, Column):
            return ()
        by_group.setdefault(mapping.group, []).append(BodyField(known.key, mapping.source.name, known.type))
    return tuple(BodyLayout(OBJECTS[spec.object].id_key, tuple(written)) for written in by_group.values())


@dataclass
class Writer(ABC):
    """Writes batches of one kind to Pendo; may be used from several threads at once."""

    # Whether its requests wait for each other, or for Pendo, for longer than a thread that others need should.
    takes_turns: ClassVar[bool] = False

    client: PendoClient

    @abstractmethod
    def request(self, batch: Batch) -> Request:
        """Returns the request for a batch."""

    def requests(self, batch: Batch) -> Iterator[Request]:
        """Yields the requests for a batch, to show them."""
        yield self.request(batch)

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
class ConsentWriter(Writer):
    """Sets ``donotprocess`` and ``blacklistguides`` of records, one value a call (pendo-api.md 3, Consent)."""

    spec: SyncSpec
    stop: Stop

    def request(self, batch: Batch) -> Request:
        """See ``Writer``; this is the first of them."""
        return next(self.requests(batch))

    def requests(self, batch: Batch) -> Iterator[Request]:
        """See ``Writer``."""
        for record in batch.records:
            for name, value in consents_of(self.spec, record).items():
                yield consent_request(self.spec.object, record.key, name, value)

    def write(self, batch: Batch) -> Judgement:
        """See ``Writer``; what Pendo says of one record is about no other."""
        judgement = Judgement()
        for record in batch.records:
            for name, value in consents_of(self.spec, record).items():
                self.stop.check()
                outcome = self._set(record.key, name, value)
                if outcome is not DELIVERED:
                    judgement.outcomes[record.key] = outcome
                    break
        return judgement

    def _set(self, key: str, name: str, value: bool) -> Outcome:
        try:
            answer = self.client.send(consent_request(self.spec.object, key, name, value))
        except UnicodeEncodeError:
            return Outcome("invalid", "the id is no Unicode, and cannot stand in a URL")
        except KeyRefusedError as refused:
            if name != NO_GUIDES:
                raise
            raise PendoError(f"{self.spec.name}: {_NO_EXCLUSION} ({refused.answer.message}).", _ASK_SUPPORT) from None
        if answer.ok:
            return DELIVERED
        if name == NO_GUIDES and (answer.status != 404 or read_record(self.client, self.spec.object, key)):
            return Outcome("rejected", f"{answer.message}: {_NO_EXCLUSION}")
        return Outcome("missing", UNKNOWN_ID) if answer.status == 404 else Outcome("rejected", answer.message)


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

    takes_turns = True

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
    """Queues visitors or accounts for deletion."""

    takes_turns = True

    deletions: Deletions

    def request(self, batch: Batch) -> Request:
        """See ``Writer``."""
        return deletion.deletion_request(self.deletions.object, batch.keys)

    def write(self, batch: Batch) -> Judgement:
        """See ``Writer``."""
        return self.deletions.queue(batch.keys)


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
        [
            ConsentWriter(client, spec, stop) if group == "pendo" else MetadataWriter(client, spec, id_keys, at, clears)
            for at, group in enumerate(spec.groups or ("custom",))
        ]
        for clears in (False, True)
    )
    return Writers(updates, clearings, [DeletionWriter(client, Deletions(client, spec.object, stop))])


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
                yield from writer.requests(part)
