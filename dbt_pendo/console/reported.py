"""What was written into a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dbt_pendo.console.lines import Lines, number
from dbt_pendo.engine.review import Review


def show_report(lines: Lines, review: Review, path: Path) -> None:
    """Says where the report is, and what is in it."""
    entry = report_entry(review, path)
    counts = f"{number(entry['runs'], 'run')}, {number(entry['rows'], 'row')} not delivered"
    lines.line(f"Wrote {path}: {counts}, {number(entry['calls'], 'call')}.", event="ReportWritten", data=entry)
    if review.note:
        lines.line(review.note, "warn")
    if not review.runs:
        lines.line("No run is logged yet. `dbt-pendo sync` makes the first.", "warn")
    elif not review.calls.kept:
        lines.line("No calls of these runs are kept on this machine, so the report has none.")


def report_entry(review: Review, path: Path) -> dict[str, Any]:
    """Returns what is in a report as ``--json`` has it."""
    return {
        "path": str(path),
        "runs": len(review.runs),
        "syncs": len(review.syncs),
        "rows": len(review.rows),
        "calls": len(review.calls.calls),
        "note": review.note or None,
    }
