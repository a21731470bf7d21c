"""A subscription to begin with: what Pendo has before the first sync, from a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dbt_pendo.errors import ConfigError

from .sandbox import Sandbox

# A misspelt one would leave Pendo without them, and every row `missing`.
_KEYS = ("fields", "visitors", "accounts", "parentAccounts", "segments")
_EXAMPLE = '{"fields": {"visitor": {"custom": {"plan": "string"}}}, "visitors": ["v1"], "accounts": ["a1"]}'


def load_subscription(sandbox: Sandbox, path: Path) -> None:
    """Gives the sandbox the fields, records and segments of a file.

    Args:
        sandbox: The sandbox.
        path: A JSON object with ``fields`` (kind, group, name, and a type or ``{type, displayName}``), ``visitors``,
            ``accounts``, ``parentAccounts`` (ids, or what each holds by group) and ``segments`` (``{name, visitors}``).

    Raises:
        ConfigError: If the file cannot be read as that.
    """
    try:
        subscription: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if unknown := subscription.keys() - set(_KEYS):
            raise ValueError(f"{', '.join(sorted(unknown))} is none of {', '.join(_KEYS)}")
        for kind, groups in subscription.get("fields", {}).items():
            for group, fields in groups.items():
                for name, field in fields.items():
                    described = {"type": field} if isinstance(field, str) else field
                    sandbox.add_field(
                        kind, group, name, described["type"], display_name=described.get("displayName", "")
                    )
        sandbox.add_visitors(subscription.get("visitors", []))
        sandbox.add_accounts(subscription.get("accounts", []))
        sandbox.add_parent_accounts(subscription.get("parentAccounts", []))
        for segment in subscription.get("segments", []):
            sandbox.add_segment(segment["name"], segment.get("visitors", []))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no subscription: {error}.", f"Write it like {_EXAMPLE}.") from None
