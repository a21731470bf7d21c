"""Whether a 2xx says what was done: one that does not is no answer, for a proxy may have given it (reliability.md)."""

from __future__ import annotations

from typing import Any

from dbt_pendo.pendo.client import Answer

# What a call whose answer has no documented body may say instead of JSON.
_WORDS = frozenset({b"ok", b"success", b"accepted", b"true"})
# Bytes. Much JSON takes fifty times its size in memory, in each thread.
LARGEST_ACKNOWLEDGEMENT = 2**20
# How proxies and gateways call an error, in lower case.
_ERRORS = ("error", "errormessage", "errorcode", "errortype", "exception", "fault")


def acknowledges(answer: Answer) -> bool:
    """Returns whether a 2xx without a documented body is Pendo's: empty, or JSON that tells of no error."""
    text = answer.content.strip()
    if not text or text.lower().strip(b'"') in _WORDS:
        return True
    if len(text) > LARGEST_ACKNOWLEDGEMENT:
        return False
    document = answer.json
    items = document if isinstance(document, list) else [document]
    return all(isinstance(item, dict) and not tells_error(item) for item in items) or text == b"null"


def tells_error(document: dict[str, Any]) -> bool:
    """Returns whether an answer tells of an error under a usual name, whatever its status."""
    told = {key.lower(): value for key, value in document.items()}
    return any(told.get(key) for key in ("errors", "failed")) or contradicts(document)


def contradicts(document: dict[str, Any]) -> bool:
    """Returns whether an answer says that the call as a whole went wrong, whatever its status and its counts."""
    told = {key.lower(): value for key, value in document.items()}
    return (
        any(told.get(key) for key in _ERRORS)
        or any(str(told.get(key)).lower() == "false" for key in ("success", "ok"))
        or any(_is_bad(told.get(key)) for key in ("status", "statuscode", "code"))
    )


def _is_bad(status: Any) -> bool:
    word = str(status).lower()
    return word.startswith(("err", "fail")) or (word.isdecimal() and int(word) >= 400)
