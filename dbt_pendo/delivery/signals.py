"""SIGINT and SIGTERM: the first ends a run in order, the second at once."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

from dbt_pendo.errors import DbtPendoError

ENDING = (signal.SIGINT, signal.SIGTERM)
# Seconds in which requests in flight may finish; those who run containers give them 30 to end.
PATIENCE = 20.0


class InterruptedRunError(DbtPendoError):
    """The user, or what runs the job, wants the run to end."""


class Stop:
    """Whether the run has to end; every thread asks before it sends another request."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._signal = ""
        self._ends_at = math.inf

    def request(self, why: str) -> None:
        """Asks the run to end."""
        self._signal = why
        self._ends_at = time.monotonic() + PATIENCE
        self._event.set()

    def ends_at(self) -> float:
        """Returns the end of requests in flight, by ``time.monotonic``; infinite while the run need not end."""
        return self._ends_at

    def check(self) -> None:
        """Returns, unless the run has to end.

        Raises:
            InterruptedRunError: If it has.
        """
        if self._event.is_set():
            raise InterruptedRunError(
                f"Interrupted by {self._signal}; what Pendo had taken is in the ledger.",
                "The rest comes with the next run.",
            )

    def wait(self, seconds: float) -> None:
        """Waits, and no longer than until the run has to end.

        Raises:
            InterruptedRunError: If it has to end.
        """
        self._event.wait(seconds)
        self.check()


@contextlib.contextmanager
def stop_on_signals(stop: Stop, on_stop: Callable[[str], None]) -> Iterator[None]:
    """Lets the first SIGINT or SIGTERM request a stop, and a second one end the process at once.

    Ending at once is safe: the journal holds what Pendo has acknowledged, and the next run commits it.

    Args:
        stop: What every thread asks.
        on_stop: Gets the name of the first signal, at once and in a thread of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set handlers; a caller in another thread has its own.
        yield
        return
    # Python calls a handler when the main thread is back from its current call, such as a statement of an hour. So the
    # handlers do nothing, and a thread reads the signals' numbers, which the interpreter writes to a pipe at once.
    numbers, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    watcher = threading.Thread(target=_watch, args=(numbers, stop, on_stop), name="dbt-pendo-signals", daemon=True)
    watcher.start()
    before = {number: signal.signal(number, lambda *_: None) for number in ENDING}
    wakeup_before = signal.set_wakeup_fd(wakeup)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wakeup)
        watcher.join()
        os.close(numbers)


def _watch(numbers: int, stop: Stop, on_stop: Callable[[str], None]) -> None:
    while number := os.read(numbers, 1):
        if number[0] not in ENDING:
            continue
        if stop.ends_at() < math.inf:
            os._exit(1)
        name = signal.Signals(number[0]).name
        stop.request(name)
        on_stop(name)
