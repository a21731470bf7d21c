"""Puts an alert into words: for a Slack-compatible webhook, or as a JSON document; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from dbt_pendo import __version__
from dbt_pendo.alerts.changes import Alert, Change, unsent
from dbt_pendo.channels import Event, Format
from dbt_pendo.delivery.results import said_counts
from dbt_pendo.wording import counts, number, shortened, visible

SYNCS_SHOWN = 20
LONGEST_REASON = 300
TITLES: Mapping[Event, str] = {
    "failure": "failed",
    "partial": "had rows rejected",
    "blocked": "blocked",
    "recovery": "recovered",
    "full_resync": "sent in full again",
    "row_count": "with an unusual row count",
    "invalid": "with many invalid rows",
    "held": "with many rows held back",
}
STATES: Mapping[str, str] = {
    "success": "a success",
    "warn": "a success",
    "partial": "partial",
    "error": "an error",
    "blocked": "blocked",
}
# What both forms say of a sync, by the same names as pendo_results.json.
SHARED = ("sync", "unique_id", "object", "status", "planned", "delivered", "missing", "rejected")


def message_of(alert: Alert, format_: Format) -> dict[str, Any]:
    """Returns what is posted for an alert."""
    events = Counter(event for change in alert.changes for event in change.events)
    if format_ == "slack":
        return {"text": _slack_text(alert, events)}
    return {
        "dbt_pendo_version": __version__,
        "run_id": alert.run_id,
        "project": alert.project,
        **alert.ends.to_dict(),
        "events": list(events),
        "syncs": [_entry(change) for change in alert.changes],
        "command": alert.command,
    }


def _entry(change: Change) -> dict[str, Any]:
    result = change.result.to_dict()
    return {
        **{name: result[name] for name in SHARED},
        "events": list(change.events),
        "status_before": change.before,
        "reason": _reason(change),
        "rows": change.rows,
        "usual_rows": change.usual_rows,
    }


def _slack_text(alert: Alert, events: Mapping[Event, int]) -> str:
    title = ", ".join(f"{number(count, 'sync')} {TITLES[event]}" for event, count in events.items())
    lines = [
        f"*dbt-pendo*: {title}",
        f"Project {_code(alert.project)}, target {_code(alert.ends.target)}, schema {_code(alert.ends.schema)}, "
        f"Pendo {_code(str(alert.ends.pendo))}",
        *map(_line, alert.changes[:SYNCS_SHOWN]),
    ]
    if (more := len(alert.changes) - SYNCS_SHOWN) > 0:
        lines.append(f"and {more} more")
    return "\n".join([*lines, f"Look further: {_code(alert.command)}"])


def _line(change: Change) -> str:
    result, before = change.result, change.before
    said: Mapping[Event, str] = {
        **TITLES,
        "partial": "Pendo rejected rows",
        "full_resync": f"everything is sent again, {result.planned.to_send:,} rows",
        "row_count": f"{change.rows:,} rows, usually about {change.usual_rows or 0:,}",
        "invalid": f"{unsent(result)['invalid']:,} of {change.rows:,} rows are invalid",
        "held": f"{unsent(result)['held']:,} of {change.rows:,} rows are held back or missing",
    }
    parts = [said[event] for event in change.events]
    if before is not None and before != result.status:
        parts.append(f"the run before was {STATES.get(before, before)}")
    rows = counts(said_counts(result), always="delivered")
    line = f"• {_code(result.sync)} ({result.object}): {'; '.join(parts)}. {rows}"
    reason = _reason(change)
    return line if reason is None else f"{line}\n    {_code(reason)}"


def _reason(change: Change) -> str | None:
    """Returns why a sync failed or was blocked; never the reasons of single rows, which may name people."""
    result = change.result
    errors = [note.text for note in result.notes if note.kind == "error"]
    if result.status not in ("error", "blocked") or not errors:
        return None
    return shortened(" ".join(errors[0].split()), LONGEST_REASON)


def _code(text: str) -> str:
    """Returns a text as code: nothing in it is a link, a mention or the end of the code."""
    plain = visible(" ".join(text.split())).replace("`", "'")
    return f"`{plain.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}`"
