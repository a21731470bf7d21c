"""Asks Pendo, in a thread of its own while there is other work, what will be asked for later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any, TypeAlias, TypeVar

from dbt_pendo.pendo.client import PendoClient

Found = TypeVar("Found")
Ask: TypeAlias = Callable[[PendoClient], Any]

# Seconds: a wait between two attempts notices so late that nobody needs the answer any more.
_NOTICED_AFTER = 0.1


class Ahead:
    """Questions that are asked one after the other; one that fails, or has a false answer, is the last.

    What is said and logged of a question waits for whoever takes the answer: it is then said as if asked only now.

    Args:
        client: Pendo.
        questions: What asks each, by any name.
    """

    def __init__(self, client: PendoClient, questions: Mapping[Any, Ask]) -> None:
        self._client = client
        self._closed = threading.Event()
        self._asked = {name: (_Later(), Future[Any]()) for name in questions}
        args = ([(ask, *self._asked[name]) for name, ask in questions.items()],)
        self._thread = threading.Thread(target=self._work, args=args, name="dbt-pendo-ahead", daemon=True)
        self._thread.start()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def take(self, name: Any, ask: Callable[[PendoClient], Found]) -> Found:
        """Returns the answer to a question, once, or raises its error; asks now if it was not asked yet.

        Args:
            name: The question's.
            ask: What asks it.
        """
        if (asked := self._asked.pop(name, None)) is not None:
            later, answer = asked
            later.release()
            try:
                found: Found = answer.result()
                return found
            except CancelledError:
                pass
        return ask(self._client)

    def _work(self, questions: list[tuple[Ask, _Later, Future[Any]]]) -> None:
        goes_on = True
        for ask, later, answer in questions:
            if not goes_on:
                answer.cancel()
                continue
            goes_on = False
            client = self._client.part(
                watch=self._client.watch and later.after(self._client.watch),
                tell=later.after(self._client.tell),
                wait=self._wait,
                ends_at=lambda: 0.0 if self._closed.is_set() else self._client.ends_at(),
            )
            try:
                found = ask(client)
            except BaseException as error:
                answer.set_exception(error)
            else:
                answer.set_result(found)
                goes_on = bool(found) and not self._closed.is_set()

    def _wait(self, seconds: float) -> None:
        while not self._closed.is_set():
            self._client.wait(min(seconds, _NOTICED_AFTER))
            seconds -= _NOTICED_AFTER
            if seconds <= 0:
                return
        raise CancelledError


class _Later:
    """Puts calls of functions off until it is released; from then on they are made at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] | None = []

    def after(self, function: Callable[..., None]) -> Callable[..., None]:
        """Returns a function that does the same, and not before the release."""

        def call(*args: Any) -> None:
            with self._lock:
                if self._calls is None:
                    function(*args)
                else:
                    self._calls.append(partial(function, *args))

        return call

    def release(self) -> None:
        """Makes the calls so far, in their order."""
        with self._lock:
            for call in self._calls or ():
                call()
            self._calls = None
