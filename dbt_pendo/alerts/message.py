"""An alert in words: as a Slack-compatible webhook takes it, and as a JSON document; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dbt_pendo import __version__
from dbt_pendo.alerts.changes import Alert, Change
from dbt_pendo.channels import Event, Format
from dbt_pendo.visible import visible

SYNCS_SHOWN = 20
LONGEST_REASON = 300
TITLES: Mapping[Event, str] = {
    "failure": "failed",
    "partial": "had rows rejected",
    "blocked": "blocked",
    "recovery": "recovered",
    "full_resync": "sent in full again",
    "row_count": "with an unusual row count",
}
STATES: Mapping[str, str] = {"success": "a success", "partial": "partial", "error": "an error", "blocked": "blocked"}


def message_of(alert: Alert, format_: Format) -> dict[str, Any]:
    """Returns what is posted for an alert."""
    return {"text": _slack_text(alert)} if format_ == "slack" else _document(alert)


def command_of(alert: Alert) -> str:
    """Returns the command to look further."""
    return f"dbt-pendo show {alert.run_id}"


def _document(alert: Alert) -> dict[str, Any]:
    return {
        "dbt_pendo_version": __version__,
        "run_id": alert.run_id,
        "project": alert.project,
        "target": alert.target,
        "schema": alert.schema,
        "events": list(alert.events),
        "syncs": [_entry(change) for change in alert.changes],
        "command": command_of(alert),
    }


def _entry(change: Change) -> dict[str, Any]:
    result = change.result
    return {
        "sync": result.sync,
        "unique_id": result.unique_id,
        "object": result.object,
        "events": list(change.events),
        "status": result.status,
        "status_before": change.before,
        "reason": _reason(change),
        "planned": asdict(result.planned),
        "delivered": result.delivered,
        "missing": result.missing,
        "rejected": result.rejected,
        "rows": change.rows,
        "usual_rows": change.usual_rows,
    }


def _slack_text(alert: Alert) -> str:
    counts = Counter(event for change in alert.changes for event in change.events)
    title = ", ".join(f"{count} {'sync' if count == 1 else 'syncs'} {TITLES[event]}" for event, count in counts.items())
    lines = [
        f"*dbt-pendo*: {title}",
        f"Project {_code(alert.project)}, target {_code(alert.target)}, schema {_code(alert.schema)}",
        *(_line(change) for change in alert.changes[:SYNCS_SHOWN]),
    ]
    if (more := len(alert.changes) - SYNCS_SHOWN) > 0:
        lines.append(f"and {more} more")
    return "\n".join([*lines, f"Look further: {_code(command_of(alert))}"])


def _line(change: Change) -> str:
    result, planned = change.result, change.result.planned
    said = [
        {
            "failure": "failed",
            "partial": "Pendo rejected rows",
            "blocked": "blocked",
            "recovery": "recovered",
            "full_resync": f"everything is sent again, {planned.to_send:,} rows",
            "row_count": f"{change.rows:,} rows, usually about {change.usual_rows or 0:,}",
        }[event]
        for event in change.events
    ]
    if change.before is not None and change.before != result.status:
        said.append(f"the run before was {STATES.get(change.before, change.before)}")
    counts = [
        f"{count:,} {what}"
        for count, what in (
            (result.delivered, "delivered"),
            (result.missing, "missing"),
            (result.rejected, "rejected"),
            (planned.invalid, "invalid"),
            (planned.held, "held"),
        )
        if count or what == "delivered"
    ]
    line = f"• {_code(result.sync)} ({result.object}): {'; '.join(said)}. {', '.join(counts)}"
    reason = _reason(change)
    return line if reason is None else f"{line}\n    {_code(reason)}"


def _reason(change: Change) -> str | None:
    """Returns why a sync could not do what it should; of single rows nothing, for they may name people."""
    result = change.result
    errors = [note.text for note in result.notes if note.kind == "error"]
    if result.status not in ("error", "blocked") or not errors:
        return None
    text = " ".join(errors[0].split())
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"


def _code(text: str) -> str:
    """Returns a text as code: nothing in it is a link, a mention or the end of the code."""
    plain = visible(" ".join(text.split())).replace("`", "'")
    return f"`{plain.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}`"
