"""``dbt-pendo runs``, ``show`` and ``row``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dbt_pendo.cli.options import (
    DbtCommand,
    connection_options,
    dbt_options,
    output_options,
    read_invocation,
    run_with_lines,
    settings_options,
)
from dbt_pendo.errors import ConfigError

if TYPE_CHECKING:
    from dbt_pendo.output.terminal import Terminal


@click.command()
@connection_options
@click.option("--limit", metavar="N", type=click.IntRange(min=1), default=20, help="How many runs. Default: 20.")
@settings_options
@output_options
def runs(limit: int, **flags: Any) -> None:
    """List the latest runs, from the warehouse."""

    def run(lines: Terminal) -> int:
        from dbt_pendo.history.runs import open_run_log
        from dbt_pendo.output.documents import document, run_entry
        from dbt_pendo.output.runs import show_runs

        invocation = read_invocation(flags)
        with open_run_log(invocation.connection, invocation.settings, invocation.target_path) as log:
            found = log.latest_runs(limit)
        show_runs(lines, found)
        lines.document(document(map(run_entry, found)))
        return 0

    run_with_lines(run, flags)


@click.command()
@click.argument("run_id", metavar="[RUN]", default="last")
@connection_options
@click.option("--requests", is_flag=True, help="List the run's calls to Pendo.")
@click.option("--failed", is_flag=True, help="Only calls that Pendo did not do as asked, with their bodies.")
@click.option("--row", metavar="KEY", help="Only calls that carried this row, with their bodies.")
@click.option("--rows", metavar="N", type=click.IntRange(min=0), default=20, help="Rejected rows to show. Default: 20.")
@settings_options
@output_options
def show(run_id: str, requests: bool, failed: bool, row: str | None, rows: int, **flags: Any) -> None:
    """Show one run: its counts, the rows that were not delivered, and its calls.

    RUN is a run's id, or how it begins or ends. Default: the last one.
    """

    def run(lines: Terminal) -> int:
        from dbt_pendo.history.runs import last_calls, open_run_log
        from dbt_pendo.output.documents import call_entry, document, reason_entry, rejected_entry, run_entry
        from dbt_pendo.output.runs import show_calls, show_run

        invocation = read_invocation(flags)
        with open_run_log(invocation.connection, invocation.settings, invocation.target_path) as log:
            found = log.find_run(run_id)
            kept = log.calls(found.run_id)
            calls = None if kept is None else list(kept)
            if requests or failed or row is not None:
                if calls is None:
                    raise ConfigError(
                        f"The calls of run {found.run_id} are not kept on this machine.",
                        "They lie in dbt's target folder of the machine that ran it, under dbt_pendo/runs.",
                    )
                calls = [
                    call for call in calls if (call.failed or not failed) and (row is None or call.carried((row,)))
                ]
                show_calls(lines, calls, with_bodies=failed or row is not None)
                lines.document(document(map(call_entry, calls)))
                return 0
            reasons = {sync.sync: log.grouped_reasons(sync) for sync in found.syncs}
            rejected = {sync.sync: log.rejected_rows(sync, rows) for sync in found.syncs}
        carried = {
            sync: last_calls(calls or (), sync, {one.key for one in refused if one.key is not None})
            for sync, refused in rejected.items()
            if refused
        }
        show_run(lines, found, reasons, rejected, carried, calls)
        lines.document(
            document(
                [run_entry(found)],
                reasons=[reason_entry(sync, reason) for sync, found in reasons.items() for reason in found],
                rejected=[
                    rejected_entry(sync, one, carried[sync].get(one.key or ""))
                    for sync, refused in rejected.items()
                    for one in refused
                ],
            )
        )
        return 0

    run_with_lines(run, flags)


@click.command(cls=DbtCommand)
@click.argument("sync")
@click.argument("key")
@dbt_options
@settings_options
@output_options
def row(sync: str, key: str, **flags: Any) -> None:
    """Show what happened to one row: in the ledger, on the wire, in the warehouse and in Pendo."""

    def run(lines: Terminal) -> int:
        from dbt_pendo.commands.context import open_context
        from dbt_pendo.commands.row import row_history
        from dbt_pendo.commands.select import select_syncs
        from dbt_pendo.output.documents import document, row_entry
        from dbt_pendo.output.runs import show_row

        invocation = read_invocation(flags)
        selected = select_syncs(invocation.project_dir, invocation.target_path, invocation.selection, invocation.gates)
        with open_context(selected, invocation.connection, invocation.settings) as syncs:
            story = row_history(syncs, sync, key, invocation.target_path)
        show_row(lines, story)
        lines.document(document([row_entry(story)]))
        return 0

    run_with_lines(run, flags)
