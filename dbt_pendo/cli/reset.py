"""``dbt-pendo reset``."""

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
from dbt_pendo.errors import ConfigError

if TYPE_CHECKING:
    from dbt_pendo.output.terminal import Terminal


@click.command(cls=DbtCommand)
@dbt_options
@click.option("--adopt", is_flag=True, help="Take all rows for delivered, without sending them.")
@click.option("--from-pendo", is_flag=True, help="Take those rows for delivered that Pendo holds already.")
@settings_options
@output_options
def reset(adopt: bool, from_pendo: bool, **flags: Any) -> None:
    """Forget what was delivered, so that the next sync sends every row."""

    def run(lines: Terminal) -> int:
        from dbt_pendo.commands.context import open_context
        from dbt_pendo.commands.reset import reset_syncs
        from dbt_pendo.commands.select import select_syncs
        from dbt_pendo.output.documents import document, reset_entry
        from dbt_pendo.output.reset import show_reset
        from dbt_pendo.output.sync import show_found

        if adopt and from_pendo:
            raise ConfigError("--adopt and --from-pendo exclude each other.", "Give one of them.")
        invocation = read_invocation(flags)
        selected = select_syncs(invocation.project_dir, invocation.target_path, invocation.selection, invocation.gates)
        show_found(lines, selected)
        done = []
        if selected.syncs:
            with open_context(selected, invocation.connection, invocation.settings) as syncs:
                done = list(reset_syncs(syncs, adopt, from_pendo, invocation.target_path))
        show_reset(lines, done, adopt)
        lines.document(document(map(reset_entry, done)))
        return max((one.error.exit_code for one in done if one.error), default=0)

    run_with_lines(run, flags)
