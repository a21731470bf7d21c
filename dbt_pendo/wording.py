"""Words that messages share: counts, ages, lists, quotes, "did you mean", the host of a URL.

Text of others is made safe to show here: no terminal, log or browser obeys anything in it.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

# Names that a message lists at most.
MOST_LISTED = 50

_HOST_NAME = re.compile(r"[\w.:%-]{1,253}")
# What in a message is about one row, not about what is wrong with it.
_PARTICULARS = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|\d+""")


def number(count: int, noun: str) -> str:
    """Returns a count with its noun: ``1 row``, ``1,200 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def age(seconds: int) -> str:
    """Returns a span of whole minutes as a mapping says it: ``7 days``, ``36 hours``."""
    for unit, length in (("day", 24 * 3600), ("hour", 3600)):
        if seconds % length == 0:
            return number(seconds // length, unit)
    return number(seconds // 60, "minute")


def duration(seconds: float) -> str:
    """Returns about how long something takes: ``less than a minute``, ``about 5 minutes``, ``about 1 hour``."""
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {number(minutes, 'minute')}"
    hours = f"{seconds / 3600:.1f}".removesuffix(".0")
    return f"about {hours} {'hour' if hours == '1' else 'hours'}"


def size(count: int) -> str:
    """Returns about how much some bytes are: ``999 bytes``, ``1.2 MB``, ``35 GB``."""
    if count < 1000:
        return number(count, "byte")
    power = min((len(str(count)) - 1) // 3, 4)
    amount = count / 1000**power
    return f"{amount:,.{amount < 10:d}f} {'kMGT'[power - 1]}B"


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
    if not title:
        return ""
    more = f" and {len(candidates) - MOST_LISTED:,} more" if len(candidates) > MOST_LISTED else ""
    return f"{title}: {', '.join(list(candidates)[:MOST_LISTED])}{more}."


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


def host_and_port(url: str) -> str:
    """Returns the host of a URL with its port, so that two spellings of one host are one."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or {'http': 80}.get(parts.scheme, 443)}"


def is_loopback(url: str) -> bool:
    """Returns whether a URL is of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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


def without_particulars(message: str, key: str | None = None) -> str:
    """Returns what a message says of any row: without the row's key, quoted values and numbers."""
    return _PARTICULARS.sub("…", message.replace(key, "…") if key else message)


# Control characters, line and paragraph separators, what turns the direction of text or takes no room, halves of
# characters. Joiners (U+200C, U+200D) stay: words of some languages and emoji are made with them.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
# What CI systems obey in a log: `::error::` at the start of a line, `##[error]` and `##vso[…]` anywhere.
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=\w*\[)(?<=##)")


def visible(text: str) -> str:
    r"""Returns a text on one line, with escapes such as ``\x1b``, ``\n`` and ``\u202e`` for what would not be seen."""
    if not text.isprintable():
        text = _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return _COMMAND.sub(_defuse, text) if "::" in text or "##" in text else text


def visible_json(text: str) -> str:
    """Returns a JSON document that means the same, with JSON's escapes for what would not be seen."""
    if not text.isprintable():
        text = _UNSEEN.sub(lambda found: found[0] if found[0] == "\n" else json_escape(found[0]), text)
    return _COMMAND.sub(lambda found: f"{found[1] or ''}{json_escape(found[0][-1])}", text) if "##" in text else text


def json_escape(character: str) -> str:
    """Returns a character as JSON writes it with ASCII alone."""
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _defuse(found: re.Match[str]) -> str:
    return rf"{found[1] or ''}\x{ord(found[0][-1]):02x}"
