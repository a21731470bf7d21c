"""Reads where alerts go: ``alerts:`` under ``vars: dbt_pendo:``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from dbt_pendo.errors import ConfigError
from dbt_pendo.secret import Secret, find_secret, shown_word
from dbt_pendo.wording import did_you_mean

Event: TypeAlias = Literal["failure", "partial", "blocked", "recovery", "full_resync", "row_count", "invalid", "held"]
Format: TypeAlias = Literal["slack", "json"]
EVENTS: tuple[Event, ...] = get_args(Event)
FORMATS: tuple[Format, ...] = get_args(Format)
# Not `on`, which YAML reads as `true`.
KEYS = ("url", "format", "events", "share")
_SHARE = re.compile(r"(\d{1,2}(?:\.\d{1,6})?|100) ?%", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Channel:
    """An HTTP endpoint that gets alerts."""

    variable: str  # the environment variable that holds its URL
    url: Secret | None  # anyone who knows it can write there; None when the variable is not set
    format: Format = "slack"  # `slack` for Slack-compatible webhooks, `json` for everything
    events: tuple[Event, ...] = EVENTS
    share: float = 1.0  # percent of a model's rows; `invalid` and `held` are sent above it


def read_channels(declared: Any, environ: Mapping[str, str]) -> tuple[Channel, ...]:
    """Reads ``alerts``.

    A variable that is not set is no mistake here: one that only production has must not end a run anywhere else.

    Raises:
        ConfigError: If it is not a list of channels.
    """
    if not isinstance(declared, list):
        raise ConfigError(f"{_where()} is not a list.", "Write it like `- url: PENDO_ALERT_URL`.")
    channels = tuple(_read_channel(one, _where(at), environ) for at, one in enumerate(declared))
    variables = [channel.variable for channel in channels]
    for at, variable in enumerate(variables):
        if variable in variables[:at]:
            raise ConfigError(f"{_where(at)}: {variable} is named above already.", "One message a run goes there.")
    return channels


def _read_channel(declared: Any, where: str, environ: Mapping[str, str]) -> Channel:
    if not isinstance(declared, dict) or "url" not in declared:
        raise ConfigError(f"{where} needs a `url`.", "Write it like `- url: PENDO_ALERT_URL`.")
    for key in declared:
        _require_known("on" if key is True else key, KEYS, where, "key")
    variable = declared["url"]
    if not isinstance(variable, str) or not VARIABLE.fullmatch(variable):
        raise ConfigError(
            f"{where}.url takes the name of an environment variable.",
            "Anyone who knows the URL can write there: put it into PENDO_ALERT_URL, for example, and that name here.",
        )
    format_ = declared.get("format") or FORMATS[0]
    _require_known(format_, FORMATS, f"{where}.format", "format")
    events = declared.get("events")
    if not isinstance(events, list):
        events = EVENTS if events is None else [events]
    for event in events:
        _require_known(event, EVENTS, f"{where}.events", "event")
    if not (percent := _SHARE.fullmatch(str(declared.get("share", "1%")))):
        raise ConfigError(f"{where}.share takes a share of a model's rows, from 0% to 100%.", "Write it like `1%`.")
    return Channel(
        variable, find_secret(environ, variable), format_, tuple(dict.fromkeys(events)), float(percent.group(1))
    )


def _require_known(word: Any, known: Sequence[str], where: str, what: str) -> None:
    if word not in known:
        message = f"{where}: unknown {what} `{shown_word(word)}`."
        raise ConfigError(message, did_you_mean(str(word), known, f"Known {what}s"))


def _where(at: int | None = None) -> str:
    return f"dbt_project.yml: vars.dbt_pendo.alerts{'' if at is None else f'[{at}]'}"
