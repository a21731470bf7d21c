"""Whether a 2xx says what was done: one that does not is no answer, for a proxy may have given it (reliability.md)."""

from __future__ import annotations

from typing import Any

from dbt_pendo.pendo.client import Answer

# What a call whose answer has no documented body may say instead of JSON.
_WORDS = frozenset({b"ok", b"success", b"accepted", b"true"})


def acknowledges(answer: Answer) -> bool:
    """Returns whether a 2xx without a documented body is Pendo's: empty, or JSON that tells of no error."""
    text = answer.content.strip()
    if not text or text.lower().strip(b'"') in _WORDS:
        return True
    document = answer.json
    items = document if isinstance(document, list) else [document]
    return all(isinstance(item, dict) and not tells_error(item) for item in items) or text == b"null"


def tells_error(document: dict[str, Any]) -> bool:
    """Returns whether an answer tells of an error under a usual name, whatever its status."""
    # Gateways spell these as they like: `Error`, `ok`, `statusCode`.
    said = {key.lower(): value for key, value in document.items()}
    return (
        any(said.get(key) for key in ("error", "errors", "failed", "fault"))
        or any(said.get(key) is False for key in ("success", "ok"))
        or any(_is_failure(said.get(key)) for key in ("status", "code", "statuscode"))
    )


def _is_failure(status: Any) -> bool:
    """Returns whether a status is that of a failure: an HTTP status, as a number or as text, or a word."""
    text = str(status).lower()
    return text.startswith(("err", "fail")) or (text.isdecimal() and int(text) >= 400)
