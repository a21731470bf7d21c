"""Faults on request: what goes wrong between a client and Pendo, in the order it was asked for."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from dbt_pendo.errors import ConfigError

from .exchange import Reply

Action = Literal["status", "hang", "reset", "close", "truncate", "garbage"]
When = Literal["before", "after"]


@dataclass(frozen=True)
class Fault:
    """One thing to go wrong.

    ``before`` means Pendo never applied the request's data; ``after`` means it did, and only the answer
    suffers: the two cases a client cannot tell apart.

    Attributes:
        action: ``status`` answers with ``status``, ``headers`` and ``body``; ``hang`` waits ``seconds``, then
            closes (before) or answers after all (after); ``reset`` sends a TCP RST; ``close`` hangs up
            without an answer; ``truncate`` promises more bytes than it sends; ``garbage`` is a 200 that is
            no JSON.
        when: Before or after the data is applied.
        status: For ``status``: the HTTP status.
        headers: For ``status``: further headers, such as ``Retry-After`` or ``Location``.
        body: For ``status`` and ``garbage``: the body.
        seconds: For ``hang``.
        times: How many requests it hits; None is for ever.
        path: A regular expression searched in the path; empty is any.
        method: The HTTP method; empty is any.
        body_contains: A text that the request body must contain; empty is any.
        probability: The share of matching requests that it hits; the others count as not seen.
        seed: Makes the probability's choices repeatable.
    """

    action: Action = "status"
    when: When = "before"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    seconds: float = 30.0
    times: int | None = 1
    path: str = ""
    method: str = ""
    body_contains: str = ""
    probability: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise ConfigError(f"A fault's action cannot be {self.action!r}.", f"One of {get_args(Action)}.")
        if self.when not in get_args(When):
            raise ConfigError(f"A fault happens before or after, not {self.when!r}.")
        if self.times is not None and self.times < 1:
            raise ConfigError("A fault happens once or more.", "Leave it away, or use null for ever.")
        try:
            re.compile(self.path)
        except re.error as error:
            raise ConfigError(f"A fault's path {self.path!r} is no regular expression: {error}.") from error

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fault:
        """A fault from its JSON form, an object with this class's attributes.

        Raises:
            ConfigError: A key or value does not fit.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"That is no fault: {error}.") from error

    def spoil(self, reply: Reply | None) -> Reply:
        """What is sent instead of Pendo's reply, which is None when the request never reached it."""
        if self.action == "status":
            kind = self.headers.get("Content-Type", "text/plain; charset=utf-8")
            others = {k: v for k, v in self.headers.items() if k != "Content-Type"}
            return Reply(self.status, self.body.encode(), kind, others)
        if self.action == "garbage":
            return Reply(200, self.body.encode() or b"<html><body>Bad gateway</body></html>", "text/html")
        if self.action == "truncate":
            return replace(reply or Reply(200, b'{"total":'), ending="truncate")
        if self.action == "hang" and reply is not None:
            return reply
        return Reply(0, ending="reset" if self.action == "reset" else "close")

    def __str__(self) -> str:
        what = f"status {self.status}" if self.action == "status" else self.action
        return f"{what} {self.when}"


@dataclass
class _Armed:
    """A fault with what is left of it."""

    fault: Fault
    left: int | None
    dice: random.Random


class Faults:
    """The faults waiting to happen. The first that fits a request hits it; safe to use from threads."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Puts a fault at the end of the queue."""
        # Not a cryptographic use: the same seed must give the same faults.
        armed = _Armed(fault, fault.times, random.Random(fault.seed))  # noqa: S311
        with self._lock:
            self._armed.append(armed)

    def clear(self) -> None:
        """Drops all faults that have not happened."""
        with self._lock:
            self._armed.clear()

    def waiting(self) -> list[Fault]:
        """The faults that can still happen, in order."""
        with self._lock:
            return [armed.fault for armed in self._armed]

    def take(self, method: str, path: str, body: bytes) -> Fault | None:
        """The fault that hits this request, if one does; it is then used up once."""
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if fault.method and fault.method.upper() != method:
                    continue
                if fault.path and not re.search(fault.path, path):
                    continue
                if fault.body_contains and fault.body_contains.encode() not in body:
                    continue
                if fault.probability < 1 and armed.dice.random() >= fault.probability:
                    continue
                if armed.left is not None:
                    armed.left -= 1
                    if armed.left <= 0:
                        self._armed.remove(armed)
                return fault
        return None
