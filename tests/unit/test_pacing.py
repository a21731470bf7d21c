"""The pace, in a simulated time: a Pendo that lets so many requests a second pass, and senders that ask the Pacer."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_pendo.pendo.pacing import Pacer

SECONDS = 30.0


@dataclass
class Pendo:
    """A token bucket, and answers in 100 to 300 ms."""

    # Requests a second that pass; None for all.
    rate: float | None
    dice: random.Random
    # Seconds of an answer, by the number of requests in flight.
    slowness: Callable[[int], float] | None = None
    retry_after: float | None = None
    tokens: float = field(init=False)
    filled_at: float = 0.0
    sent_at: list[float] = field(default_factory=list)
    taken: int = 0
    refused: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self.tokens = self.rate or 0.0

    def take(self, now: float) -> tuple[float, bool]:
        """Returns in how many seconds a request is answered, and whether it is taken."""
        self.sent_at.append(now)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        seconds = self.slowness(self.in_flight) if self.slowness else self.dice.uniform(0.1, 0.3)
        if self.rate is None:
            return seconds, True
        self.tokens = min(self.rate, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1:
            return seconds, False
        self.tokens -= 1
        return seconds, True


def simulate(pacer: Pacer, pendo: Pendo, seconds: float = SECONDS) -> Pendo:
    """Lets as many senders as the pacer may have in flight send for some seconds without a break."""
    turns = itertools.count()
    queue: list[tuple[float, int, str, Any]] = [(0.0, next(turns), "ask", None) for _ in range(pacer.concurrency)]
    while queue and queue[0][0] <= seconds:
        now, _, what, answer_time = heapq.heappop(queue)
        if what == "ask":
            if delay := pacer.reserve(now):
                heapq.heappush(queue, (now + delay, next(turns), "ask", None))
                continue
            answered_in, taken = pendo.take(now)
            heapq.heappush(queue, (now + answered_in, next(turns), "taken" if taken else "refused", answered_in))
            continue
        pendo.in_flight -= 1
        pacer.release()
        if what == "taken":
            pendo.taken += 1
            pacer.taken(now, answer_time)
        else:
            pendo.refused += 1
            pacer.throttled(now, pendo.retry_after)
        heapq.heappush(queue, (now, next(turns), "ask", None))
    return pendo


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("concurrency", [16, 32])
@pytest.mark.parametrize(
    ("rate", "retry_after", "share"), [(10, None, 0.9), (20, None, 0.9), (50, None, 0.9), (20, 1.0, 0.85)]
)
def test_the_pace_finds_what_pendo_takes(
    rate: int, retry_after: float | None, share: float, concurrency: int, seed: int
) -> None:
    pendo = simulate(Pacer(concurrency), Pendo(rate, random.Random(seed), retry_after=retry_after))
    assert pendo.taken >= share * rate * SECONDS
    assert pendo.refused < 0.05 * (pendo.taken + pendo.refused)


def test_a_pendo_without_limits_gets_all_that_may_be_in_flight() -> None:
    pendo = simulate(Pacer(8), Pendo(None, random.Random(1)))
    # 8 in flight, 0.2 seconds each.
    assert pendo.taken > 0.9 * 8 / 0.2 * SECONDS
    assert pendo.most_in_flight == 8


def test_growing_latency_slows_down() -> None:
    """A Pendo that works on 20 requests a second, and lets all others wait."""
    pendo = Pendo(None, random.Random(1), slowness=lambda in_flight: max(0.2, in_flight / 20))
    pacer = Pacer(64)
    simulate(pacer, pendo)
    assert pendo.taken > 0.9 * 20 * SECONDS
    # A queue of half a second is left, not one of three.
    assert _free_places(pacer, SECONDS) + pendo.in_flight <= 16


@given(
    ceiling=st.floats(0.5, 50),
    rate=st.none() | st.floats(1, 100),
    concurrency=st.integers(1, 16),
    seed=st.integers(0, 1000),
)
def test_the_ceiling_holds_for_every_second(ceiling: float, rate: float | None, concurrency: int, seed: int) -> None:
    pendo = simulate(Pacer(concurrency, ceiling), Pendo(rate, random.Random(seed)), seconds=10.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(pendo.sent_at)]
    assert all(gap >= 1 / ceiling - 1e-9 for gap in gaps)


def test_a_fault_halves_what_may_be_in_flight() -> None:
    pacer = Pacer(16)
    # A machine that has been up for long.
    now = 1e9
    for _ in range(100):
        now += 0.1
        pacer.taken(now, 0.1)
    assert _free_places(pacer, now) == 16
    pacer.strained(now)
    assert _free_places(pacer, now) == 8


def _free_places(pacer: Pacer, now: float) -> int:
    places = 0
    while pacer.reserve(now) == 0:
        places += 1
    for _ in range(places):
        pacer.release()
    return places
