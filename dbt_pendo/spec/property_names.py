"""Event property names that Pendo accepts but whose data its pages then do not show."""

from __future__ import annotations

import re

from dbt_pendo.spec.sync import SyncSpec

_LONGEST = 32


def property_name_warnings(spec: SyncSpec) -> list[str]:
    """Says which event properties Pendo will take over HTTP and then fail to show, and why."""
    names = [mapping.name for mapping in spec.event.properties] if spec.event else []
    return [
        f"{spec.name}: Pendo accepts the event property `{name}` but cannot show it: its name {fault}"
        for name in names
        if (fault := _fault(name))
    ]


def _fault(name: str) -> str:
    if len(name) > _LONGEST:
        return f"has {len(name)} characters, at most {_LONGEST} work"
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        return "has more than letters, digits and underscores"
    if name[0].isdigit():
        return "starts with a digit"
    if re.fullmatch(r"__.*__", name):
        return "stands between double underscores"
    return ""
