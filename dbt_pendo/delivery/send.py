"""Batches of records, and how one is sent until Pendo has judged every row of it.

A batch that Pendo refuses as a whole, or whose answer reports failures without naming the records, is split in halves
until the row at fault stands alone (pendo-api.md 9, *split retries*); its neighbours are delivered.

``Sender`` knows no request: it works on judgements alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

import orjson

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.outcomes import DELIVERED, Outcome, Position
from dbt_pendo.pendo import advice
from dbt_pendo.pendo.metadata import Judgement
from dbt_pendo.records.render import Record
from dbt_pendo.wording import without_particulars

# So many rows from all over a batch refused alone for one reason, and none ever taken: the fault is not theirs.
HOPELESS = 5


class Batch:
    """Records that go to Pendo in one request a metadata group."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.positions: Sequence[Position] = [record.position for record in records]
        self.keys: Sequence[str] = [record.key for record in records]
        # How many metadata groups the records have bodies for.
        self.groups = len(records[0].bodies) if records else 0

    def __len__(self) -> int:
        return len(self.positions)

    def request(self, group: int) -> bytes:
        """Returns the body of the bulk metadata call for a group: an array, also of one record (pendo-api.md 3).

        Records that have nothing to say to the group are left out.
        """
        return orjson.dumps([record.bodies[group] for record in self.records if record.bodies[group] is not None])

    def part(self, group: int) -> Batch:
        """Returns the batch of those records that have something to say to a group."""
        return Batch([record for record in self.records if record.bodies[group] is not None])


class SqlBatch(Batch):
    """A batch of rows whose bodies the warehouse has written; they are read only if Pendo does not take them all.

    Args:
        positions: Where the rows stand in the change set.
        bodies: Of each row, the text of a body a metadata group; every row has one, if only of nulls.
        id_key: The key of the id in each body.
    """

    def __init__(self, positions: Sequence[Position], bodies: Sequence[tuple[str, ...]], id_key: str) -> None:
        self.positions = positions
        self.groups = len(bodies[0])
        self._bodies = bodies
        self._id_key = id_key

    @cached_property
    def keys(self) -> Sequence[str]:  # type: ignore[override]
        """The first value of each body, read without the rest of it."""
        start = len(f'{{"{self._id_key}":"')
        written = [bodies[0][start : bodies[0].index('"', start)] for bodies in self._bodies]
        # A key with a quote or a line break in it is escaped, so this was perhaps not its end.
        return [
            orjson.loads(bodies[0])[self._id_key] if "\\" in key else key
            for key, bodies in zip(written, self._bodies, strict=True)
        ]

    @cached_property
    def records(self) -> Sequence[Record]:  # type: ignore[override]
        """The same rows as records."""
        fragments = [tuple(map(orjson.Fragment, bodies)) for bodies in self._bodies]
        return list(map(Record, self.positions, self.keys, fragments))

    def request(self, group: int) -> bytes:
        """Joins the bodies as they are."""
        return f"[{','.join([bodies[group] for bodies in self._bodies])}]".encode()

    def part(self, group: int) -> SqlBatch:
        """Returns the batch itself."""
        return self


Outcomes = dict[Position, Outcome]
# Gets rows as soon as they are final, so that they can be written down: their positions, and the exceptions, which are
# the outcomes of those that were not merely delivered.
Settled = Callable[[Sequence[Position], Mapping[Position, Outcome]], None]
# Sends one batch to Pendo, and returns what Pendo says of its records.
Write = Callable[[Batch], Judgement]


class EverythingRefusedError(DbtPendoError):
    """Pendo refuses row after row: the mapping is more likely wrong than the rows."""


class Sender:
    """Delivers the batches of one sync; may be used from several threads at once.

    Args:
        check: Is called before each request; raises when the run has to end.
        max_error_share: The share of rejected rows that stops the sync.
    """

    # Rows that have to be judged before their share of rejections says anything.
    judged_before_breaking = 100

    def __init__(self, check: Callable[[], None], max_error_share: float) -> None:
        self.check = check
        self._max_error_share = max_error_share
        self._lock = threading.Lock()
        self._judged = self._rejected = 0
        # Whether Pendo has taken any row of the sync, even if it does not say which.
        self.some_taken = False

    def send(self, batch: Batch, writes: Sequence[Write], settled: Settled) -> None:
        """Sends a batch, once for each metadata group.

        Args:
            batch: The records.
            writes: Pendo takes one group a request; a row is delivered when each of its groups is.
            settled: Gets the outcome of every record, except of those that an exception leaves open.

        Raises:
            DbtPendoError: If the sync has to stop.
        """
        if len(writes) == 1:
            self._send(batch, writes[0], settled)
            return
        parts = [batch.part(group) for group in range(batch.groups)]
        # A row is final with the last of its groups.
        last = {position: group for group, part in enumerate(parts) for position in part.positions}
        worst: Outcomes = {}

        def settle_last(group: int, positions: Sequence[Position], exceptions: Mapping[Position, Outcome]) -> None:
            for position, outcome in exceptions.items():
                worst[position] = _worse(worst.get(position, DELIVERED), outcome)
            if final := [position for position in positions if last[position] == group]:
                settled(final, {position: worst[position] for position in final if position in worst})

        for group, (part, write) in enumerate(zip(parts, writes, strict=True)):
            if len(part):
                self._send(part, write, partial(settle_last, group))

    def _send(self, batch: Batch, write: Write, settled: Settled) -> None:
        """Sends a batch, and takes it apart unless Pendo took all of it, which is the usual case."""
        splitter = _Splitter(self, write, settled)
        judgement = splitter.send(batch)
        if judgement.exceptions:
            splitter.judge_by(judgement, batch)
        else:
            settled(batch.positions, {})
            self.count(len(batch), {})

    def count(self, rows: int, exceptions: Mapping[Position, Outcome]) -> None:
        """Counts judged rows, and stops the sync when too large a share of them is rejected."""
        reasons = [outcome.detail for outcome in exceptions.values() if outcome.status == "rejected"]
        with self._lock:
            self._judged += rows
            self._rejected += len(reasons)
            judged, rejected = self._judged, self._rejected
        if rows > len(reasons):
            self.some_taken = True
        if reasons and judged >= self.judged_before_breaking and rejected > self._max_error_share * judged:
            raise EverythingRefusedError(
                f"Pendo rejected {rejected:,} of {judged:,} rows, the last for: {reasons[-1]}.",
                f"{advice.of_refused_rows(reasons[-1] or '')} PENDO_MAX_ERROR_SHARE says how large a share may be "
                "rejected.",
            )


class _Splitter:
    """Judges every record of one batch, sending parts of it again as long as needed."""

    def __init__(self, sender: Sender, write: Write, settled: Settled) -> None:
        self._sender = sender
        self._write = write
        self._settled = settled

    def judge(self, records: Sequence[Record]) -> Outcomes:
        """Sends a part of a batch, and parts of it again until every record is judged."""
        batch = Batch(records)
        return self.judge_by(self.send(batch), batch)

    def judge_by(self, judgement: Judgement, batch: Batch) -> Outcomes:
        """Judges a batch by the answer to it, and by those to parts of it that have to be sent again."""
        outcomes: Outcomes = {}
        if not judgement.unnamed:
            outcomes = dict.fromkeys(batch.positions, DELIVERED)
        if judgement.outcomes:
            outcomes |= _by_position(judgement, batch.records)
        self._settle(outcomes)
        if not judgement.unnamed:
            return outcomes
        rest = [record for record in batch.records if record.position not in outcomes]
        if len(rest) == 1:
            reason = "; ".join(dict.fromkeys(judgement.unnamed))
            return outcomes | self._settle({rest[0].position: Outcome("rejected", reason)})
        if not judgement.refused_whole:
            return outcomes | self._find_failures(rest, judgement.unnamed)
        outcomes |= self._probe(rest)
        rest = [record for record in rest if record.position not in outcomes]
        # Pendo took nothing of it, so each half is sent for the first time.
        for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
            if half:
                outcomes |= self.judge(half)
        return outcomes

    def _probe(self, suspects: Sequence[Record]) -> Outcomes:
        """Judges a few records from all over a refused batch, unless Pendo has taken rows before.

        Raises:
            EverythingRefusedError: If they are refused for one reason: going on would ask Pendo for every single row.
        """
        if self._sender.some_taken or len(suspects) <= HOPELESS:
            return {}
        outcomes: Outcomes = {}
        reasons = set()
        for at in range(HOPELESS):
            record = suspects[at * len(suspects) // HOPELESS]
            outcomes |= self.judge([record])
            # A row's own id and values do not make it another reason.
            reasons.add(without_particulars(outcomes[record.position].detail or "", record.key))
        if len(reasons) == 1 and all(outcome.status == "rejected" for outcome in outcomes.values()):
            reason = next(iter(outcomes.values())).detail or ""
            raise EverythingRefusedError(
                f"Pendo refuses every row for one reason: {reason}.", advice.of_refused_rows(reason)
            )
        return outcomes

    def _find_failures(self, suspects: Sequence[Record], reasons: Sequence[str]) -> Outcomes:
        """Finds the records at fault where Pendo took all but some that it does not name.

        It says how many, so only one of each pair of halves has to be sent again: the failures that are not in this
        half are in the other.

        Args:
            suspects: The records.
            reasons: Pendo's words, one a record at fault.
        """
        if len(reasons) >= len(suspects):
            # Each alone, for Pendo's own words about it, and for certainty: two texts may have been about one record.
            outcomes = self._probe(suspects)
            for record in suspects:
                if record.position not in outcomes:
                    outcomes |= self.judge([record])
            return outcomes
        self._sender.some_taken = True
        left, right = suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]
        again = self.send(Batch(left))
        if again.refused_whole or again.exceptions > len(reasons):
            # Pendo contradicts itself: judge both halves afresh.
            return self.judge(left) | self.judge(right)
        outcomes = self._settle(_by_position(again, left))
        suspects_left = [record for record in left if record.position not in outcomes]
        for half, of_half in ((suspects_left, again.unnamed), (right, reasons[again.exceptions :])):
            if of_half:
                outcomes |= self._find_failures(half, of_half)
            else:
                outcomes |= self._settle({record.position: DELIVERED for record in half})
        return outcomes

    def send(self, batch: Batch) -> Judgement:
        """Sends a batch, and once more those of its records that only texts name: they may have meant others."""
        judgement = self._send_once(batch)
        if not judgement.guessed:
            return judgement
        accused = [record for record in batch.records if record.key in judgement.guessed]
        again = self._send_once(Batch(accused)) if len(accused) < len(batch) else judgement
        if again.exceptions >= len(accused):
            judgement.outcomes |= {key: Outcome("rejected", reason) for key, reason in judgement.guessed.items()}
        else:
            judgement.unnamed += judgement.guessed.values()
        judgement.guessed = {}
        return judgement

    def _send_once(self, batch: Batch) -> Judgement:
        self._sender.check()
        try:
            return self._write(batch)
        except orjson.JSONEncodeError:
            # Text that is no Unicode, such as a lone surrogate: no driver should return it, but some do.
            unfit = {record.key: Outcome("invalid", reason) for record in batch.records if (reason := _unfit(record))}
            rest = [record for record in batch.records if record.key not in unfit]
            judgement = self._write(Batch(rest)) if rest else Judgement()
            judgement.outcomes.update(unfit)
            return judgement

    def _settle(self, outcomes: Outcomes) -> Outcomes:
        """Passes outcomes on, and only then counts them: that may end the sync."""
        if outcomes:
            exceptions = {position: outcome for position, outcome in outcomes.items() if outcome is not DELIVERED}
            self._settled(list(outcomes), exceptions)
            self._sender.count(len(outcomes), exceptions)
        return outcomes


def _by_position(judgement: Judgement, records: Sequence[Record]) -> Outcomes:
    named = judgement.outcomes
    return {record.position: named[record.key] for record in records if record.key in named}


def _worse(one: Outcome, other: Outcome) -> Outcome:
    ranks = ("delivered", "missing", "invalid", "rejected")
    return max(one, other, key=lambda outcome: ranks.index(outcome.status))


def _unfit(record: Record) -> str | None:
    try:
        orjson.dumps(record.bodies)
    except orjson.JSONEncodeError as error:
        return f"cannot be written as JSON: {error}"
    return None
