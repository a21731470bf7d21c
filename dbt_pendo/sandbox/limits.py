"""How fast the sandbox lets itself be called (pendo-api.md section 7: nothing is published, 429s happen)."""

from __future__ import annotations

import random
import threading
import time

from .refusal import RefusedError
from .switches import Switches


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
