"""What is never shown: keys, tokens, and the URLs of webhooks."""

from __future__ import annotations

import html
import re

SECRET_PREFIX = "DBT_ENV_SECRET_"  # noqa: S105 - dbt Cloud hides variables of this prefix in its logs


class Secret:
    """A key that never shows itself: only ``reveal`` gives it away."""

    __slots__ = ("_lowered", "_pattern", "_text", "variable")

    def __init__(self, text: str, variable: str) -> None:
        self._text = text
        self._lowered = text.lower()
        self._pattern = re.compile("".join(map(_spellings, text)), re.IGNORECASE)
        self.variable = variable

    def reveal(self) -> str:
        """Returns the secret itself, for the request alone."""
        return self._text

    def hidden_in(self, text: str) -> str:
        """Returns a text without the secret, for messages made of what others said, however they spelt it."""
        # Most texts hold neither the secret nor anything that might be one quoted: a quick look saves the slow one.
        if "\\" in text or "%" in text or "&" in text or self._lowered in text.lower():
            return self._pattern.sub("***", text)
        return text

    def __repr__(self) -> str:
        return f"Secret({self.variable})"


def _spellings(character: str) -> str:
    """Returns a pattern of a character as it is, in JSON (perhaps inside JSON), in a URL and in HTML."""
    code, plain = ord(character), re.escape(character)
    # No two of them may match the same text: that would take exponential time.
    named = f"|{named}" if (named := html.escape(character)) != character else ""
    return rf"(?:\\{{0,3}}(?:{plain}|u{code:04x})|%{code:02x}|&#0{{0,5}}{code};|&#x0{{0,5}}{code:x};{named})"
