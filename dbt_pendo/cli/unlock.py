"""``dbt-pendo unlock``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dbt_pendo.cli.options import (
    DbtCommand,
    dbt_options,
    output_options,
    read_invocation,
    run_with_lines,
    settings_options,
)

if TYPE_CHECKING:
    from dbt_pendo.output.terminal import Terminal


@click.command(cls=DbtCommand)
@dbt_options
@click.option("--force", is_flag=True, help="Break the lock of a run that still gives signs of life, too.")
@settings_options
@output_options
def unlock(force: bool, **flags: Any) -> None:
    """Break the lock a dead run left."""

    def run(lines: Terminal) -> int:
        from dbt_pendo.commands.context import open_context
        from dbt_pendo.commands.reset import unlock_syncs
        from dbt_pendo.commands.select import select_syncs
        from dbt_pendo.output.documents import document, unlocked_entry
        from dbt_pendo.output.reset import show_unlocked

        invocation = read_invocation(flags)
        selected = select_syncs(invocation.project_dir, invocation.target_path, invocation.selection, invocation.gates)
        with open_context(selected, invocation.connection, invocation.settings) as syncs:
            unlocked = list(unlock_syncs(syncs, force))
        show_unlocked(lines, unlocked)
        lines.document(document(map(unlocked_entry, unlocked)))
        return int(any(one.holder and not one.broken for one in unlocked))

    run_with_lines(run, flags)
