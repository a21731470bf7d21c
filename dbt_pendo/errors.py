"""The errors users see: what happened, and what to do about it."""

from __future__ import annotations


class DbtPendoError(Exception):
    """Something the user should read as a message, never as a traceback.

    Args:
        message: What happened and where (file, model, column, row key).
        hint: What to do about it, as a sentence; empty when the message says it all.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(DbtPendoError):
    """The project, the mapping, a setting or a key is wrong; found before anything was sent."""

    exit_code = 2
