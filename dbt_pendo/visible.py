"""Makes text of others safe to show: no terminal, log or browser obeys anything in it."""

from __future__ import annotations

import re

# Control characters, line and paragraph separators, what turns the direction of text or takes no room, halves of
# characters. Joiners (U+200C, U+200D) stay: words of some languages and emoji are made with them.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# What CI systems obey in a log: `::error::` at the start of a line, `##[error]` and `##vso[…]` anywhere.
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=\w*\[)(?<=##)")


def visible(text: str) -> str:
    r"""Returns a text on one line, with escapes such as ``\x1b``, ``\n`` and ``\u202e`` for what would not be seen."""
    if not text.isprintable():
        text = _UNSEEN.sub(_escape, text)
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


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    wide = f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else wide)


def _defuse(found: re.Match[str]) -> str:
    return rf"{found[1] or ''}\x{ord(found[0][-1]):02x}"
