"""What an answer says of the request as a whole, where Pendo documents no body."""

from __future__ import annotations

from typing import Any

from dbt_pendo.pendo.client import Answer

# What an answer without a documented body may say instead of JSON.
_WORDS = frozenset({b"ok", b"success", b"accepted", b"true"})
# Bytes. Much JSON takes fifty times its size in memory, in each thread.
LARGEST_ACKNOWLEDGEMENT = 2**20
# How proxies and gateways call an error, in lower case.
_ERRORS = ("error", "errormessage", "errorcode", "errortype", "exception", "fault")


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
