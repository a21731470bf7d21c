"""``dbt-pendo build``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dbt_pendo.cli.options import (
    DbtCommand,
    dbt_options,
    output_options,
    read_invocation,
    run_with_lines,
    settings_options,
    tests_option,
)
from dbt_pendo.errors import ConfigError
from dbt_pendo.settings import SETTINGS

if TYPE_CHECKING:
    from dbt_pendo.output.terminal import Terminal

# Flags that dbt does not know.
OURS = {*SETTINGS, "as_json"}
DBT_ARGUMENTS = "dbt_pendo.dbt_arguments"


class BuildCommand(DbtCommand):
    """A command that takes whatever ``dbt build`` takes, beside flags of ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps for dbt what is not ours, as it was written."""
        ours = [param for param in self.params if isinstance(param, click.Option) and param.name in OURS]
        values = {name for param in ours if not param.is_flag for name in param.opts}
        flags = {name for param in ours if param.is_flag for name in (*param.opts, *param.secondary_opts)}
        ctx.meta[DBT_ARGUMENTS] = _without(args, values, flags)
        return super().parse_args(ctx, args)


@click.command(cls=BuildCommand, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@dbt_options
@click.option(
    "--fail-fast", "-x", envvar="DBT_FAIL_FAST", show_envvar=True, is_flag=True, help="Stop after the first failure."
)
@click.option("--warn-error", envvar="DBT_WARN_ERROR", show_envvar=True, is_flag=True, help="Warnings exit 1.")
@tests_option
@settings_options
@output_options
@click.pass_context
def build(ctx: click.Context, /, fail_fast: bool, warn_error: bool, **flags: Any) -> None:
    """Run `dbt build`, then sync what it has built.

    Takes all arguments of `dbt build`. It needs dbt on the PATH; that may be another dbt than the one dbt-pendo uses.
    """

    def run(lines: Terminal) -> int:
        from dbt_pendo.commands.context import open_context
        from dbt_pendo.commands.select import Selection, select_syncs
        from dbt_pendo.commands.sync import nothing_to_sync, run_syncs
        from dbt_pendo.delivery.sync import Options
        from dbt_pendo.output.github import write_step_summary
        from dbt_pendo.output.streams import lost_output
        from dbt_pendo.output.sync import SyncView, show_built_nothing, show_found, show_results
        from dbt_pendo.project.build import run_dbt_build

        invocation = read_invocation(flags)
        status, has_built = run_dbt_build(ctx.meta[DBT_ARGUMENTS], invocation.target_path, lines.as_json)
        if not has_built:
            if status:
                message = f"`dbt build` ended with exit status {status} before it built anything; nothing was synced."
                raise ConfigError(message, "What went wrong is above, in dbt's words.")
            show_built_nothing(lines)
            return 0
        # What was selected is what was built.
        gates = replace(invocation.gates, only_built=True)
        selected = select_syncs(invocation.project_dir, invocation.target_path, Selection(), gates)
        show_found(lines, selected)
        if selected.syncs:
            with open_context(selected, invocation.connection, invocation.settings) as syncs, lines.progress() as bars:
                results = run_syncs(syncs, Options(), fail_fast, invocation.target_path, SyncView(lines, bars))
        else:
            results = nothing_to_sync(selected, invocation.target_path)
        show_results(lines, results, selected.last_run)
        write_step_summary(results)
        lines.document(results.to_dict())
        lost_output()
        return max(results.exit_code(warn_error), int(status != 0))

    run_with_lines(run, flags)


def _without(args: Sequence[str], values: Collection[str], flags: Collection[str]) -> list[str]:
    kept: list[str] = []
    left = iter(args)
    for arg in left:
        if arg in values:
            next(left, None)
        elif arg not in flags and arg.partition("=")[0] not in values:
            kept.append(arg)
    return kept
