"""How Pendo's rules say no: one exception that carries the HTTP answer."""

from __future__ import annotations

from collections.abc import Mapping


class RefusedError(Exception):
    """Pendo answers this call with an error status.

    Args:
        status: The HTTP status, 400 or above.
        message: The plain text body; empty for an empty body (pendo-api.md section 7: bodies may be empty
            or plain text, never surely JSON).
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, message: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {message}".rstrip())
        self.status = status
        self.message = message
        self.headers = headers or {}
