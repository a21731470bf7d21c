"""``dbt-pendo fields``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dbt_pendo.cli.options import (
    DbtCommand,
    dbt_options,
    output_options,
    read_invocation,
    run_with_terminal,
    settings_options,
)

if TYPE_CHECKING:
    from dbt_pendo.console.terminal import Terminal


@click.command(cls=DbtCommand)
@dbt_options
@click.option("--create", is_flag=True, help="Create the mapped fields that Pendo lacks.")
@settings_options
@output_options
def fields(create: bool, **flags: Any) -> None:
    """Show the mapped fields beside Pendo's."""

    def run(terminal: Terminal) -> int:
        from dbt_pendo.console.documents import fields_document
        from dbt_pendo.engine.gather import gather_syncs
        from dbt_pendo.engine.run import open_run

        invocation = read_invocation(flags)
        gathered = gather_syncs(invocation.project_dir, invocation.target_path, invocation.selection)
        terminal.found(gathered)
        checked = []
        if gathered.syncs:
            with open_run(gathered, invocation.connection, invocation.settings) as run:
                checked = list(run.fields(create))
        terminal.show_fields(checked)
        terminal.document(fields_document(checked))
        # A field that cannot be written is a mistake of the mapping.
        return max((one.error.exit_code if one.error else 2 * (not one.usable) for one in checked), default=0)

    run_with_terminal(run, flags)
