"""Deletions in Pendo (pendo-api.md 7): queued without ever being repeated blindly, and followed to their end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dbt_pendo.delivery.prepare import SyncContext
from dbt_pendo.delivery.signals import InterruptedRunError, Stop
from dbt_pendo.mapping.spec import Object
from dbt_pendo.outcomes import DELIVERED, QUEUED_DELETION, UNKNOWN_JOB, Outcome
from dbt_pendo.pendo import deletion
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import PendoClient, PendoError, UnavailableError
from dbt_pendo.pendo.metadata import Judgement

# Seconds in which all deletions of a sync are followed to their end.
DELETION_PATIENCE = 30.0
# Of a call whose answer was lost, and that is then refused: so many ids from all over it are sent alone.
SAMPLE = 5


@dataclass(frozen=True, slots=True)
class _Requested:
    """What came of a call: the ids whose outcome is known, Pendo's refusal of the rest, and if an answer was lost."""

    outcomes: dict[str, Outcome]
    refusal: Answer | None
    was_lost: bool


@dataclass
class Deletions:
    """Queues visitors or accounts for deletion, a call at a time; may be used from several threads at once."""

    client: PendoClient
    object: Object
    stop: Stop
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _patience: float = field(default_factory=lambda: DELETION_PATIENCE)
    # What Pendo's list of open deletions said last; None before it was asked, or where it says nothing.
    _open: list[deletion.OpenDeletion] | None = None

    def queue(self, keys: Sequence[str]) -> Judgement:
        """Queues records, and follows the deletion as long as a run can: Pendo may take 21 days.

        A record whose deletion waits already counts as queued. Pendo refuses the whole call for one such record; if its
        list does not name it, the judgement is that of a refused call, to be sent again in parts.

        Raises:
            DbtPendoError: If Pendo cannot be used, or the run has to end.
        """
        with self._lock:
            requested = self._request(keys)
            outcomes, refusal = requested.outcomes, requested.refusal
            left = [key for key in keys if key not in outcomes]
            if refusal is not None and requested.was_lost and len(left) > 1:
                if self._all_wait(left, outcomes):
                    outcomes |= dict.fromkeys(left, self._waiting())
                left = [key for key in left if key not in outcomes]
            if refusal is None or not left:
                return Judgement(outcomes)
            if len(left) > 1:
                return Judgement(outcomes, unnamed=[refusal.message], refused_whole=True)
            if len(keys) > 1:
                requested = self._request(left)
            return Judgement(outcomes | requested.outcomes | self._alone(left[0], requested.refusal))

    def _request(self, keys: Sequence[str]) -> _Requested:
        """Sends a call until Pendo has answered it, without those records of which its list says that they wait."""
        outcomes: dict[str, Outcome] = {}
        left, losses = list(keys), 0
        while True:
            answer, lost = None, None
            try:
                answer = self._send(left)
            except UnavailableError as error:
                lost, losses = error, losses + 1
            if answer is not None and (job := deletion.job_of(answer)):
                return _Requested(outcomes | dict.fromkeys(left, self._follow(job)), None, bool(losses))
            named = self._named(left, answer is None) if answer is None or answer.status == 400 else {}
            outcomes |= named
            left = [key for key in left if key not in named]
            if not left:
                return _Requested(outcomes, None, bool(losses))
            if answer is not None and not named:
                return _Requested(outcomes, answer, bool(losses))
            if lost is not None:
                if losses > self.client.settings.retries or lost.wait > self.client.settings.retry_time:
                    raise lost
                self.stop.wait(lost.wait)

    def _send(self, keys: Sequence[str]) -> Answer:
        # More than a call a second is likely refused (pendo-api.md 7).
        with self.client.deletion_turns.turn(deletion.SECONDS_BETWEEN_DELETIONS, self.stop.wait):
            return self.client.send(deletion.deletion_request(self.object, keys))

    def _named(self, keys: Sequence[str], is_new: bool) -> dict[str, Outcome]:
        """Returns the records that Pendo's list of open deletions names; the list need not name any.

        Args:
            keys: The records.
            is_new: Whether a job may have come to the list, whose id is wanted even if it names no record.
        """
        # Of a record alone it has to be known whether any deletion is still open.
        if is_new or len(keys) == 1 or not self._open or any(one.ids for one in self._open):
            self._open = deletion.open_deletions(self.client, self.object)
        jobs = {key: one.job for one in self._open or () for key in one.ids}
        found = {key: jobs[key] for key in keys if key in jobs}
        ends = {job: self._follow(job) for job in dict.fromkeys(found.values())}
        return {key: ends[job] for key, job in found.items()}

    def _all_wait(self, keys: Sequence[str], outcomes: dict[str, Outcome]) -> bool:
        """Returns whether Pendo took a call whose answer was lost, as a few of its records tell that are sent alone.

        Pendo takes a whole call or nothing of it. To ask about each record would take a second for each. What becomes
        of a record that did not wait is added to ``outcomes``.
        """
        for at in range(size := min(SAMPLE, len(keys))):
            key = keys[at * len(keys) // size]
            requested = self._request([key])
            if requested.refusal is None or not self._waits(requested.refusal):
                outcomes |= requested.outcomes | self._alone(key, requested.refusal)
                return False
        return True

    def _alone(self, key: str, refusal: Answer | None) -> dict[str, Outcome]:
        """Returns the outcome of a record that Pendo refused alone; none of one that it took."""
        if refusal is None:
            return {}
        return {key: self._waiting() if self._waits(refusal) else Outcome("rejected", refusal.message)}

    def _waits(self, refusal: Answer) -> bool:
        """Returns whether a record waits that Pendo refused alone; where no deletion is open, none does."""
        return self._open != [] and deletion.says_waiting(refusal)

    def _waiting(self) -> Outcome:
        """Returns the outcome of records that wait; of several open jobs the last may be theirs."""
        return self._follow(self._open[-1].job if self._open else "")

    def _follow(self, job: str) -> Outcome:
        """Waits for the end of a job; one without an id is not known."""
        job, wait = job or UNKNOWN_JOB, 0.5
        # A job that Pendo does not report on is still queued, also when the run has to end; later runs ask again.
        with contextlib.suppress(PendoError, InterruptedRunError):
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


def follow_deletions(context: SyncContext) -> tuple[list[str], bool]:
    """Asks Pendo once for each deletion that earlier runs queued; notes in the ledger which ended, and counts the rest.

    Pendo may take 21 days (pendo-api.md 7), and no run waits so long. One job may stand for several calls, of several
    runs and syncs; each sync notes its end in its own ledger. The rows of a deletion that failed count as delivered
    again, so that the next plan finds them removed.

    Returns:
        How the deletions ended, in words for people; and whether any is still open.

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
    return notes, bool(queued)


def waiting_outcomes(context: SyncContext) -> Mapping[str, Outcome]:
    """Returns the outcome of each row that came back into the model while Pendo still has to delete its record.

    Nothing is sent of them: Pendo processes no more of such a record, and deletes it with all that it holds
    (pendo-api.md 7). They are tried again once the deletion has ended.

    Raises:
        WarehouseError: If the ledger cannot be read.
    """
    return {
        key: Outcome("missing", f"Pendo still has to delete it (deletion {job}), and takes nothing of it until then")
        for key, job in context.tables.returned(context.run_id).items()
    }
