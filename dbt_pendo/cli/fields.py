"""``dbt-pendo fields``."""

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
@click.option("--create", is_flag=True, help="Create the mapped fields that Pendo lacks.")
@settings_options
@output_options
def fields(create: bool, **flags: Any) -> None:
    """Show Pendo's fields beside the mapped ones."""

    def run(lines: Terminal) -> int:
        from dbt_pendo.commands.context import open_context
        from dbt_pendo.commands.fields import compare_fields
        from dbt_pendo.commands.select import select_syncs
        from dbt_pendo.delivery.fields import SyncFields, UnmappedField
        from dbt_pendo.output.documents import document, fields_entry, unmapped_entry
        from dbt_pendo.output.fields import show_fields
        from dbt_pendo.output.sync import show_found

        invocation = read_invocation(flags)
        selected = select_syncs(invocation.project_dir, invocation.target_path, invocation.selection, invocation.gates)
        show_found(lines, selected)
        found: list[SyncFields] = []
        unmapped: list[UnmappedField] = []
        if selected.syncs:
            with open_context(selected, invocation.connection, invocation.settings) as syncs:
                found, unmapped = compare_fields(syncs, create)
        show_fields(lines, found, unmapped)
        lines.document(document(map(fields_entry, found), unmapped=[unmapped_entry(one) for one in unmapped]))
        return max((one.error.exit_code for one in found if one.error), default=0)

    run_with_lines(run, flags)
