"""Threads that each have a connection of their own, for work that may go on side by side."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.warehouse.session import Session

# Seconds in which a thread that is still connecting may do so when all work is done.
PATIENCE = 10.0

Result = TypeVar("Result")


class Workers:
    """The thread that uses it, and up to ``threads - 1`` others beside it, for as long as the context lasts.

    A thread that gets no connection does nothing: the others do its work.

    Args:
        session: The warehouse.
        threads: How many to use at most.
    """

    def __init__(self, session: Session, threads: int) -> None:
        self._session = session
        self._turns: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._others = [
            # With what dbt knows of this run, which a new thread would not have.
            threading.Thread(
                target=contextvars.copy_context().run,
                args=(self._serve, f"dbt_pendo_{number}"),
                name=f"Thread-{number}",
                daemon=True,
            )
            for number in range(2, threads + 1)
        ]

    def __enter__(self) -> Workers:
        for thread in self._others:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for _thread in self._others:
            self._turns.put(None)
        for thread in self._others:
            thread.join(PATIENCE)

    def run(
        self, works: Sequence[Callable[[], Result]], waits_for: Sequence[Collection[int]] | None = None
    ) -> list[Result]:
        """Does some works, and returns what they return, in their order.

        Args:
            works: The works; one that comes first begins no later than the next, unless it waits.
            waits_for: Of each work, the places of those that have to end before it begins; without a circle.
        """
        schedule = _Schedule(works, waits_for or [()] * len(works))
        for _ in self._others:
            self._turns.put(schedule.work)
        schedule.work()
        return schedule.results()

    def _serve(self, name: str) -> None:
        with contextlib.suppress(DbtPendoError), self._session.connected(name):
            while (turn := self._turns.get()) is not None:
                turn()


class _Schedule(Generic[Result]):
    """Which of some works are still to be done."""

    def __init__(self, works: Sequence[Callable[[], Result]], waits_for: Sequence[Collection[int]]) -> None:
        self._works = works
        self._waits_for = waits_for
        self._left = list(range(len(works)))
        self._results: dict[int, Result] = {}
        self._fault: BaseException | None = None
        self._under_way = 0
        self._changed = threading.Condition()

    def work(self) -> None:
        """Does works until none is left to begin."""
        while (number := self._take()) is not None:
            result, fault = None, None
            try:
                result = self._works[number]()
            except BaseException as error:
                fault = error
            with self._changed:
                self._under_way -= 1
                if fault is None:
                    self._results[number] = result  # type: ignore[assignment]
                else:
                    self._fault = self._fault or fault
                    self._left.clear()
                self._changed.notify_all()

    def results(self) -> list[Result]:
        """Waits for the works of other threads, and returns all results."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)
            if self._fault is not None:
                raise self._fault
            return [self._results[number] for number in range(len(self._works))]

    def _take(self) -> int | None:
        with self._changed:
            while self._left:
                for number in self._left:
                    if all(other in self._results for other in self._waits_for[number]):
                        self._left.remove(number)
                        self._under_way += 1
                        return number
                self._changed.wait()
            return None
