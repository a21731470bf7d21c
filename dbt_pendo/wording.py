"""Words that messages share: counts, lists, quotes, "did you mean", the host of a URL."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

_HOST_NAME = re.compile(r"[\w.:%-]{1,253}")
# What in a message is about one row, not about what is wrong with it.
_PARTICULARS = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|\d+""")


def number(count: int, noun: str) -> str:
    """Returns a count with its noun: ``1 row``, ``1,200 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def counts(rows: Mapping[str, int], always: str = "") -> str:
    """Returns ``1,200 delivered, 3 missing``: without what is zero, but for the one that is always said."""
    return ", ".join(f"{count:,} {what}" for what, count in rows.items() if count or what == always)


def quoted(value: str | bool) -> str:
    """Returns a word in backticks, as the user would write it in YAML."""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def listing(words: Iterable[str], last: str = "and") -> str:
    """Returns ``a, b and c``."""
    *most, final = words
    return f"{', '.join(most)} {last} {final}" if most else final


def choices(values: Iterable[str | bool]) -> str:
    """Returns ```a`, `b` or `c```."""
    return listing(map(quoted, values), last="or")


def article(noun: str) -> str:
    """Returns a noun with ``a`` or ``an``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Returns the candidate that the user most likely meant, in any case (``visitorId``); None if none is close."""
    folded = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(word.lower(), folded, n=1)
    return folded[matches[0]] if matches else None


def did_you_mean(word: str, candidates: Collection[str], title: str = "") -> str:
    """Returns ``Did you mean `region`?``; when nothing is close, all candidates under a title, or an empty text."""
    if meant := closest(word, candidates):
        return f"Did you mean {quoted(meant)}?"
    return f"{title}: {', '.join(candidates)}." if title else ""


def found(value: Any) -> str:
    """Returns what the user wrote, with its YAML type."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return quoted(value)
    if isinstance(value, (int, float)):
        return f"the number {shortened(str(value))}"
    if isinstance(value, str):
        return f'the text "{shortened(value)}"' if value.strip() else "an empty text"
    return f"{'a' if value else 'an empty'} {'list' if isinstance(value, list) else 'mapping'}"


def shortened(text: str, length: int = 60, mark: str = "…") -> str:
    """Returns the start of a text, enough to recognise it."""
    return text if len(text) <= length else f"{text[: length - len(mark)]}{mark}"


def host_of(url: str, base: str = "") -> str:
    """Returns scheme, host and port of a URL, as the rest of it may be secret; an empty text when it names no host.

    Args:
        url: The URL, perhaps sent by somebody else.
        base: What a relative one counts from.
    """
    try:
        parts = urlsplit(urljoin(base, url))
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not _HOST_NAME.fullmatch(host):
        return ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def without_particulars(message: str, key: str | None) -> str:
    """Returns what a message says of any row: without the row's key, quoted values and numbers."""
    return _PARTICULARS.sub("…", message.replace(key, "…") if key else message)
