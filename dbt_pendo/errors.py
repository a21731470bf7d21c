"""The errors users see: what happened, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from dbt_pendo.wording import visible


class DbtPendoError(Exception):
    """Something the user should read as a message, never as a traceback.

    Args:
        message: What happened and where (file, model, column, row key); a list for several lines. A line break in a
            text is part of a name or a value, and is shown as an escape.
        hint: What to do about it, as a sentence; empty when the message says it all.
    """

    exit_code = 1

    def __init__(self, message: str | Sequence[str], hint: str = "") -> None:
        self.message = visible(message) if isinstance(message, str) else "\n".join(map(visible, message))
        self.hint = visible(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class JoinedError(DbtPendoError):
    """Several errors at once.

    Args:
        errors: The errors.
    """

    def __init__(self, errors: Sequence[DbtPendoError]) -> None:
        self.errors = tuple(errors)
        self.exit_code = max(one.exit_code for one in errors)
        super().__init__([line for one in errors for line in str(one).split("\n")])


def all_errors(error: DbtPendoError | None) -> Sequence[DbtPendoError]:
    """Returns each of several errors, the one there is, or none."""
    if isinstance(error, JoinedError):
        return error.errors
    return [error] if error else []


class ConfigError(DbtPendoError):
    """The project, the mapping, a setting or a key is wrong; found before anything was sent."""

    exit_code = 2
