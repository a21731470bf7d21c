"""One attempt at a request, for those who watch what goes over the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dbt_pendo.secret import Secrets


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at a request, and what came of it.

    Attributes:
        at: When it was sent, in seconds since 1970.
        method: GET, POST, ...
        path: The path with its query.
        body: What was sent; None for nothing.
        keys: The records in it, by their keys; none where it carries no records.
        attempt: Which attempt it was, from 1.
        waited: Seconds for which it waited for its turn, at the pace Pendo takes.
        seconds: How long Pendo took.
        status: The HTTP status; None when there was no answer.
        answer: The body of the answer.
        fault: Why there was no answer; empty when there was one.
        secrets: What either body may hold, and nobody may see.
    """

    at: float
    method: str
    path: str
    body: bytes | None
    keys: Sequence[str]
    attempt: int
    waited: float
    seconds: float
    status: int | None
    answer: bytes
    fault: str
    secrets: Secrets


# Is told of each attempt by the thread that made it, before that thread makes another.
Watcher: TypeAlias = Callable[[Call], None]
