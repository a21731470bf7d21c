"""How fast to ask: adapts requests in flight and requests a second to what Pendo takes.

Pendo publishes no limit, yet 429s are seen in the field (pendo-api.md 7). So the pace is found by trying, the way TCP
does: up while all is calm, down at once at a sign of strain. The pacer is pure bookkeeping: the caller
brings the time and waits. ``Turns`` reads the clock itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

# How much of the rate that Pendo was seen to take is used after a 429, and how it grows back from there: about twenty
# seconds up to the limit, so that trying it costs a few refused requests a minute.
CAUTION = 0.9
GROWTH_PER_SECOND = 1.006
# The same for a 429 that came before anything could be measured: a slow start, and quickly up from there.
UNMEASURED_RATE = 1.0
UNMEASURED_GROWTH = 1.3
# After a 429 without a Retry-After nothing is sent for so many seconds, that Pendo's allowance may recover.
PAUSE = 1.0
# How many more requests may be in flight after each answer, until the first strain: half as many again each round.
RAMP = 0.5
# Seconds over which the rate that Pendo takes is measured.
MEMORY = 3.0
SLOWEST_RATE = 0.1
# Answers are slow when they take three times as long as the fastest do, and long enough to matter.
SLOW_FACTOR = 3.0
SLOW_SECONDS = 0.5
# How quickly the fastest answer is forgotten: it doubles in a bit more than a minute; after a pause, not beyond that.
FORGETTING_PER_SECOND = 1.01
LONGEST_FORGETTING = 70.0
# What is left in flight of slow answers, round by round.
EASING = 0.75
# How long to wait before asking again for a free place; far below any request's own time.
POLL = 0.01


@dataclass(slots=True)
class Pacer:
    """Says when the next request may go; may be used from several threads at once.

    Times are seconds of one monotonic clock, which the caller reads.

    Attributes:
        concurrency: Requests in flight at most.
        ceiling: Requests a second at most; None for no ceiling.
        in_flight: Requests that wait for their answers.
    """

    concurrency: int
    ceiling: float | None = None
    in_flight: int = 0
    _rate: float | None = None
    _growth: float = GROWTH_PER_SECOND
    _places: float = 1.0
    _next_at: float = 0.0
    _resume_at: float = 0.0
    _cut_at: float = float("-inf")
    _grown_at: float = 0.0
    _latency: float | None = None
    _fastest: float = float("inf")
    _answered_at: float = 0.0
    _taken: deque[float] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._rate = self.ceiling

    def reserve(self, now: float) -> float:
        """Takes a place for a request.

        Returns:
            0 when the request may go now (``release`` must follow its end), else the seconds to wait before asking
            again.
        """
        with self._lock:
            if self.in_flight >= int(self._places):
                return POLL
            wait = max(self._next_at, self._resume_at) - now
            if wait > 0:
                return wait
            if self._rate is not None:
                # No credit for idle time: a ceiling holds for every second, not on average.
                self._next_at = now + 1 / self._rate
            self.in_flight += 1
            return 0.0

    def release(self) -> None:
        """Gives a place back when its request is over."""
        with self._lock:
            self.in_flight -= 1

    def taken(self, now: float, seconds: float) -> None:
        """Notes a request that Pendo answered after some seconds, and speeds up or slows down by how long it took."""
        with self._lock:
            self._taken.append(now)
            # Forgotten slowly: a Pendo that has become slower for good is not taken for strained for ever.
            passed = min(now - self._answered_at, LONGEST_FORGETTING)
            self._fastest = min(seconds, self._fastest * FORGETTING_PER_SECOND**passed)
            self._answered_at = now
            self._latency = seconds if self._latency is None else 0.8 * self._latency + 0.2 * seconds
            if self._latency > max(SLOW_FACTOR * self._fastest, SLOW_SECONDS):
                self._fewer_places(now, self._places * EASING)
            elif self._cut_at == float("-inf"):
                self._places = min(self._places + RAMP, self.concurrency)
            else:
                self._places = min(self._places + 1 / self._places, self.concurrency)
            self._grow_rate(now)

    def throttled(self, now: float, retry_after: float | None) -> None:
        """Notes a 429; ``retry_after`` are the seconds Pendo asked for, for all requests."""
        with self._lock:
            if retry_after is not None:
                self._resume_at = max(self._resume_at, now + retry_after)
            # All requests in flight at the time are refused together, and for one reason.
            if now - self._cut_at < max(1.0, self._latency or 0.0):
                return
            while self._taken and self._taken[0] < now - MEMORY:
                self._taken.popleft()
            # Another thread may have noted an answer of a later moment already.
            seconds = now - self._taken[0] if len(self._taken) > 1 else 0.0
            measured = seconds > 0 and len(self._taken) > 2
            seen = len(self._taken) / seconds if measured else UNMEASURED_RATE
            self._growth = GROWTH_PER_SECOND if measured else UNMEASURED_GROWTH
            self._rate = self._allowed(max(CAUTION * min(seen, self._rate or seen), SLOWEST_RATE))
            self._resume_at = max(self._resume_at, now + PAUSE)
            self._cut_at = self._grown_at = now

    def strained(self, now: float) -> None:
        """Notes a request that Pendo could not answer: a timeout, 408, 5xx, a dropped connection."""
        with self._lock:
            self._fewer_places(now, self._places / 2)

    def _fewer_places(self, now: float, places: float) -> None:
        # Once a round: what is in flight was sent at the old pace.
        if now - self._cut_at >= max(1.0, self._latency or 0.0):
            self._places = max(places, 1.0)
            self._cut_at = now

    def _grow_rate(self, now: float) -> None:
        if self._rate is None or self._grown_at == 0.0:
            return
        self._rate = self._allowed(self._rate * self._growth ** (now - self._grown_at))
        self._grown_at = now

    def _allowed(self, rate: float) -> float:
        return rate if self.ceiling is None else min(rate, self.ceiling)


@dataclass(slots=True)
class Turns:
    """Lets one thread at a time do what Pendo takes no faster than so many seconds after the last time."""

    _last_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def turn(self, seconds: float, wait: Callable[[float], None]) -> Iterator[None]:
        """Waits until the last turn has ended some seconds ago, and takes the next for as long as the block lasts."""
        with self._lock:
            wait(max(0.0, self._last_at + seconds - time.monotonic()))
            try:
                yield
            finally:
                self._last_at = time.monotonic()
