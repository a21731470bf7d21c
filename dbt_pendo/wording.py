"""The turns of phrase that problems share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


def quoted(value: str | bool) -> str:
    """A word as the user would write it in YAML, in backticks."""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def listing(words: Iterable[str], last: str = "and") -> str:
    """``a, b and c``."""
    *most, final = words
    return f"{', '.join(most)} {last} {final}" if most else final


def choices(values: Iterable[str | bool]) -> str:
    """```a`, `b` or `c```."""
    return listing(map(quoted, values), last="or")


def article(noun: str) -> str:
    """The noun with ``a`` or ``an``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def closest(word: str, candidates: Sequence[str]) -> str | None:
    """The candidate the user most likely meant; case, as in ``visitorId``, hardly matters."""
    folded = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(word.lower(), folded, n=1)
    return folded[matches[0]] if matches else None


def found(value: Any) -> str:
    """What the user wrote, by its YAML type."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return quoted(value)
    if isinstance(value, (int, float)):
        return f"the number {shortened(str(value))}"
    if isinstance(value, str):
        return f'the text "{shortened(value)}"' if value.strip() else "an empty text"
    return "a list" if isinstance(value, list) else "a mapping"


def shortened(text: str, length: int = 60) -> str:
    """Enough of a text to recognise it."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
