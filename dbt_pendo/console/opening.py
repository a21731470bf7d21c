"""What a command is about: its first lines."""

from __future__ import annotations

from dbt_pendo import __version__
from dbt_pendo.console.lines import Lines, number
from dbt_pendo.engine.gather import Gathered


def show_found(lines: Lines, gathered: Gathered) -> None:
    """Says what a command is about."""
    lines.line(f"Running with dbt-pendo={__version__}", event="CommandStarted", data={"version": __version__})
    if not gathered.syncs:
        lines.line("Nothing to do: the selection holds no enabled sync.", "warn", event="NothingToDo")
        return
    syncs = [spec.name for _, spec in gathered.syncs]
    text = f"Found {number(len(syncs), 'sync')} in {gathered.origin}"
    lines.line(text, event="SyncsFound", data={"syncs": syncs, "origin": gathered.origin})
    if doubt := gathered.last_run.doubt:
        lines.line(f"Tables are taken as they are: {doubt}.")
    lines.line()


def show_nothing_new(lines: Lines, gathered: Gathered) -> None:
    """Says that no build waits to be synced; so it is between two runs of dbt."""
    lines.line(f"Nothing to do: no build in {gathered.origin} waits to be synced.", event="NothingToDo")
