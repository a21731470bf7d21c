"""An account of every request the sandbox received, and how fast it lets itself be called (pendo-api.md section 7)."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .exchange import RefusedError
from .switches import Switches


@dataclass(frozen=True)
class Request:
    """One request, as it was answered.

    Attributes:
        at: When it arrived, in epoch seconds.
        method: GET, POST, …
        path: The path as sent, percent-encoded.
        query: The query as sent, without the question mark.
        key: Whose key it carried: ``integration``, ``read-only``, ``track``, ``track:<app>``, ``unknown``,
            or empty for none. Never the key itself.
        size: Bytes of the body.
        records: Records in the body: an array's length, 1 for any other body, 0 for none or a broken one.
        status: The status sent, or None when a fault left it without one.
        fault: The fault that hit it (``status 503 before``, ``reset after``), or None.
        seconds: From its arrival to its answer (without a hang).
        body: The body's bytes; empty when Switches.keep_bodies is off.
    """

    at: float
    method: str
    path: str
    query: str
    key: str
    size: int
    records: int
    status: int | None
    fault: str | None
    seconds: float
    body: bytes


class Traffic:
    """The log of requests and what it adds up to; safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._in_flight = 0
        self._peak = 0

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Counts a request as being worked on."""
        with self._lock:
            self._in_flight += 1
            self._peak = max(self._peak, self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def add(self, request: Request) -> None:
        """Logs a request."""
        with self._lock:
            self._requests.append(request)

    def requests(self) -> list[Request]:
        """All requests, in the order they were answered."""
        with self._lock:
            return list(self._requests)

    @property
    def peak_concurrency(self) -> int:
        """The most requests that were worked on at once."""
        return self._peak

    def counters(self) -> dict[str, Any]:
        """Totals: requests, records, bytes, faults, requests by status, peak_concurrency."""
        requests = self.requests()
        return {
            "requests": len(requests),
            "records": sum(r.records for r in requests),
            "bytes": sum(r.size for r in requests),
            "faults": sum(r.fault is not None for r in requests),
            "by_status": dict(Counter("none" if r.status is None else str(r.status) for r in requests)),
            "peak_concurrency": self._peak,
        }

    def forget(self) -> None:
        """Empties the log and starts counting anew."""
        with self._lock:
            self._requests.clear()
            self._peak = self._in_flight


class RateLimit:
    """A token bucket; safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rate: float | None = None
        self._tokens = 0.0
        self._at = 0.0

    def check(self, switches: Switches) -> None:
        """Takes a token; RefusedError 429 when there is none."""
        rate = switches.requests_per_second
        if rate is None:
            return
        size = max(1.0, float(rate if switches.burst is None else switches.burst))
        with self._lock:
            now = time.monotonic()
            if rate != self._rate:  # a limit that was just switched on starts with a full bucket
                self._rate, self._tokens, self._at = rate, size, now
            self._tokens = min(size, self._tokens + (now - self._at) * rate)
            self._at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
        headers = {} if switches.retry_after is None else {"Retry-After": str(switches.retry_after)}
        raise RefusedError(429, "Too Many Requests", headers)


def latency_seconds(switches: Switches) -> float:
    """How long this answer waits."""
    low, high = switches.latency_ms
    # Not a cryptographic use.
    return random.uniform(low, high) / 1000 if high > 0 else 0.0  # noqa: S311
