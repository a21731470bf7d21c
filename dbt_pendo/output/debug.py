"""Prints what `debug` has tried, and the syncs that `ls` lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dbt_pendo.commands.debug import Tried
from dbt_pendo.commands.select import Selected
from dbt_pendo.output.terminal import Terminal

# The columns before the bracket of a line.
_WIDTH = 20


def show_tried(lines: Terminal, one: Tried) -> None:
    """Prints a line, and an error below."""
    start = f"{one.what} ".ljust(_WIDTH, ".")
    level, note, style = ("error", "ERROR", "red") if one.error else ("info", f"OK {one.found}", "green")
    if one.left_out:
        level, note, style = ("warn", f"SKIP {one.found}", "yellow")
    lines.line(f"{start} ", level, "Tried", one.to_dict(), f"[{note}]", style)  # type: ignore[arg-type]
    lines.message_below(one.error, "error")


def show_debugged(lines: Terminal, tried: Sequence[Tried]) -> None:
    """Prints whether a sync can run."""
    lines.line()
    if failed := [one.what for one in tried if one.error]:
        lines.line(f"Not everything works: {', '.join(failed)}.", "error", "DebugEnded")
    else:
        lines.line("All works. `dbt-pendo check` looks at the mappings.", "success", "DebugEnded")


def list_syncs(lines: Terminal, selected: Selected) -> list[dict[str, Any]]:
    """Prints the name of each sync, and returns what else there is to say of it."""
    entries = []
    for _, spec in selected.syncs:
        entry = {"sync": spec.name, "object": spec.object, "unique_id": spec.unique_id, "file": spec.file}
        lines.untimed().line(spec.name, "info", "SyncListed", entry)
        entries.append(entry)
    return entries
