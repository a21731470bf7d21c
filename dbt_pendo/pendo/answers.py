"""Pendo's answer to one request, and whether a 2xx says what was done (reliability.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from dbt_pendo.network import LOOKED_AT
from dbt_pendo.secret import Secrets

# What an answer without a documented body may say instead of JSON.
_WORDS = frozenset({b"ok", b"success", b"accepted", b"true"})
# Bytes. Much JSON takes fifty times its size in memory, in each thread.
LARGEST_ACKNOWLEDGEMENT = 2**20
# How proxies and gateways call an error, in lower case.
_ERRORS = ("error", "errormessage", "errorcode", "errortype", "exception", "fault")


@dataclass(frozen=True, slots=True)
class Answer:
    """Pendo's answer to one request: a 2xx, or a 4xx that concerns the body of the request."""

    status: int
    content: bytes
    # What Pendo may have echoed, to be hidden.
    secrets: Secrets = field(default_factory=Secrets)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx; failures may still stand inside the body."""
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """The body as JSON, or None when it is none: errors may be empty or plain text (pendo-api.md 7).

        It is as Pendo wrote it, as a field or a visitor may have a name that is a secret elsewhere.
        """
        try:
            return orjson.loads(self.content)
        except (orjson.JSONDecodeError, RecursionError):
            return None

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object in a 2xx, as Pendo wrote it; empty when there is none."""
        document = self.json if self.ok else None
        return document if isinstance(document, dict) else {}

    def told(self, part: Any) -> str:
        """Returns a part of the body's JSON as words for people, without the secrets that Pendo has quoted."""
        text = part if isinstance(part, str) else orjson.dumps(part).decode()
        return self.secrets.hidden_in(text)

    @property
    def message(self) -> str:
        """Pendo's own words, in one line."""
        text = self.secrets.first_line(self.content[:LOOKED_AT].decode(errors="replace"))
        return f"HTTP {self.status}: {text}".removesuffix(": ")


def acknowledges(answer: Answer) -> bool:
    """Returns whether a 2xx without a documented body is Pendo's: empty, or JSON that reports no error.

    Any other may come from a proxy (reliability.md).
    """
    text = answer.content.strip()
    if not text or text.lower().strip(b'"') in _WORDS:
        return True
    if len(text) > LARGEST_ACKNOWLEDGEMENT:
        return False
    document = answer.json
    items = document if isinstance(document, list) else [document]
    return all(isinstance(item, dict) and not reports_error(item) for item in items) or text == b"null"


def reports_error(document: dict[str, Any]) -> bool:
    """Returns whether an answer reports an error under a usual name, whatever its status."""
    by_name = {name.lower(): value for name, value in document.items()}
    return bool(by_name.get("errors") or by_name.get("failed")) or contradicts(document)


def contradicts(document: dict[str, Any]) -> bool:
    """Returns whether an answer says that the request as a whole went wrong, whatever its status and its counts."""
    by_name = {name.lower(): value for name, value in document.items()}
    return (
        any(by_name.get(name) for name in _ERRORS)
        or any(str(by_name.get(name)).lower() == "false" for name in ("success", "ok"))
        or any(_is_bad(by_name.get(name)) for name in ("status", "statuscode", "code"))
    )


def _is_bad(status: Any) -> bool:
    word = str(status).lower()
    return word.startswith(("err", "fail")) or (word.isdecimal() and int(word) >= 400)
