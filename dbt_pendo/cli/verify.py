"""``dbt-pendo verify``."""

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
@click.option("--repair", is_flag=True, help="Resend what has drifted.")
@settings_options
@output_options
def verify(repair: bool, **flags: Any) -> None:
    """Read Pendo back and compare it with the warehouse."""

    def run(lines: Terminal) -> int:
        from dbt_pendo.commands.context import open_context
        from dbt_pendo.commands.select import select_syncs
        from dbt_pendo.commands.verify import verify_syncs
        from dbt_pendo.output.documents import document, verified_entry
        from dbt_pendo.output.sync import SyncView, show_found
        from dbt_pendo.output.verify import show_verified

        invocation = read_invocation(flags)
        selected = select_syncs(invocation.project_dir, invocation.target_path, invocation.selection, invocation.gates)
        show_found(lines, selected)
        verified = []
        if selected.syncs:
            with open_context(selected, invocation.connection, invocation.settings) as syncs:
                verified = list(verify_syncs(syncs, repair, invocation.target_path, SyncView(lines)))
        show_verified(lines, verified)
        lines.document(document(map(verified_entry, verified)))
        return max((one.error.exit_code if one.error else int(not one.in_order) for one in verified), default=0)

    run_with_lines(run, flags)
