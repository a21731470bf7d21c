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
    status = document.get("status")
    return (
        any(document.get(key) for key in ("error", "errors", "failed"))
        or document.get("success") is False
        or (isinstance(status, str) and status.lower().startswith(("err", "fail")))
        or (isinstance(status, int) and status >= 400)
    )
