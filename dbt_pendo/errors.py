"""The errors users see: what happened, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from dbt_pendo.wording import visible


class DbtPendoError(Exception):
    """Something the user should read as a message, never as a traceback.

    Args:
        message: What happened and where (file, model, column, row key); a list for several lines. A line break in a
            text is one that somebody else put into a name or a value, and is shown as such.
        hint: What to do about it, as a sentence; empty when the message says it all.
    """

    exit_code = 1

    def __init__(self, message: str | Sequence[str], hint: str = "") -> None:
        self.message = visible(message) if isinstance(message, str) else "\n".join(map(visible, message))
        self.hint = visible(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(DbtPendoError):
    """The project, the mapping, a setting or a key is wrong; found before anything was sent."""

    exit_code = 2
