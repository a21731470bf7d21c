"""A call, its reply, and how Pendo's rules refuse one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import parse_qsl

import orjson


class RefusedError(Exception):
    """Pendo answers this call with an error status.

    Args:
        status: The HTTP status, 400 or above.
        message: What the body says, in the form that Switches.error_bodies has; empty is HTTP's word for the status.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, message: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {message}".rstrip())
        self.status = status
        self.message = message
        self.headers = headers or {}


Ending = Literal["keep", "truncate", "close", "reset"]


@dataclass(frozen=True)
class Call:
    """One HTTP request.

    Attributes:
        method: GET, POST, …
        path: The path as sent, still percent-encoded.
        query: The query as sent, without the question mark.
        headers: The headers, their names in lower case.
        body: The body's bytes.
        problem: Why the body could not be read; None if it was.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    problem: RefusedError | None = None

    @cached_property
    def options(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @cached_property
    def payload(self) -> Any:
        """The body as JSON; RefusedError 400 when it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise RefusedError(400, f"malformed JSON: {error}") from error

    @property
    def records(self) -> int:
        """How many records the body carries: an array's length, one for anything else, none if unreadable."""
        if not self.body:
            return 0
        try:
            payload = self.payload
        except RefusedError:
            return 0
        return len(payload) if isinstance(payload, list) else 1


@dataclass(frozen=True)
class Reply:
    """What goes back over the wire.

    Attributes:
        status: The HTTP status.
        body: The body's bytes.
        content_type: Sent when there is a body.
        headers: Further headers.
        ending: ``keep`` the connection; ``truncate`` the body by promising more, and close; ``close`` or
            ``reset`` without sending anything.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = "keep"


def json_reply(value: Any, status: int = 200) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, orjson.dumps(value))


def text_reply(text: str, status: int, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply with a plain text body."""
    return Reply(status, text.encode(), "text/plain; charset=utf-8", headers or {})
