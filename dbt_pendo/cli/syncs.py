"""``dbt-pendo check``, ``plan`` and ``sync``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dbt_pendo.cli.options import (
    DbtCommand,
    Invocation,
    dbt_cloud_options,
    dbt_options,
    gate_options,
    output_options,
    published_option,
    read_invocation,
    run_with_lines,
    settings_options,
)
from dbt_pendo.errors import ConfigError

if TYPE_CHECKING:
    from dbt_pendo.commands.context import Context
    from dbt_pendo.commands.select import Selected
    from dbt_pendo.output.terminal import Terminal


@click.command(cls=DbtCommand)
@dbt_options
@click.option("--offline", is_flag=True, help="Ask neither the warehouse nor Pendo: validate the mappings alone.")
@click.option("--warn-error", envvar="DBT_WARN_ERROR", show_envvar=True, is_flag=True, help="Warnings exit 1.")
@settings_options
@output_options
def check(offline: bool, warn_error: bool, **flags: Any) -> None:
    """Validate every mapping against the manifest, the warehouse and Pendo."""

    def run(lines: Terminal) -> int:
        from dbt_pendo.alerts.post import unusable
        from dbt_pendo.commands.context import open_context
        from dbt_pendo.commands.plan import check_offline, check_syncs
        from dbt_pendo.commands.select import select_syncs
        from dbt_pendo.output.documents import checked_entry, document
        from dbt_pendo.output.plan import show_alert_faults, show_checks
        from dbt_pendo.output.sync import show_found

        invocation = read_invocation(flags)
        selected = select_syncs(invocation.project_dir, invocation.target_path, invocation.selection, invocation.gates)
        show_found(lines, selected)
        checked = []
        if offline:
            checked = list(check_offline(selected))
        elif selected.syncs:
            with open_context(selected, invocation.connection, invocation.settings) as syncs:
                checked = list(check_syncs(syncs))
        show_checks(lines, checked)
        if not offline:
            show_alert_faults(lines, unusable(invocation.settings.alerts, invocation.settings.allow_http))
        lines.document(document(map(checked_entry, checked)))
        return _exit_code(checked, warn_error and any(one.warnings for one in checked))

    run_with_lines(run, flags)


@click.command(cls=DbtCommand)
@dbt_options
@click.option("--full-refresh", "-f", is_flag=True, help="As if every row were to be sent again.")
@click.option("--show", metavar="N", type=click.IntRange(min=0), default=0, help="Print the first N records' requests.")
@gate_options
@dbt_cloud_options
@published_option
@settings_options
@output_options
def plan(full_refresh: bool, show: int, **flags: Any) -> None:
    """Show what a sync would do; send and store nothing."""
    run_with_lines(lambda lines: _plan(lines, full_refresh, show, flags), flags)


@click.command(cls=DbtCommand)
@dbt_options
@click.option(
    "--full-refresh", "-f", envvar="DBT_FULL_REFRESH", show_envvar=True, is_flag=True, help="Send every row again."
)
@click.option("--limit", metavar="N", type=click.IntRange(min=0), help="Send at most N rows of each sync.")
@click.option("--retry-held", is_flag=True, help="Try rows again that are held after too many attempts.")
@click.option("--force", is_flag=True, help="Send even more than max_changes and max_removals allow.")
@click.option(
    "--fail-fast",
    "-x",
    envvar="DBT_FAIL_FAST",
    show_envvar=True,
    is_flag=True,
    help="Stop after the first failed sync.",
)
@click.option("--dry-run", is_flag=True, help="The same as `dbt-pendo plan`.")
@click.option("--warn-error", envvar="DBT_WARN_ERROR", show_envvar=True, is_flag=True, help="Warnings exit 1.")
@gate_options
@dbt_cloud_options
@published_option
@settings_options
@output_options
def sync(
    full_refresh: bool,
    limit: int | None,
    retry_held: bool,
    force: bool,
    fail_fast: bool,
    dry_run: bool,
    warn_error: bool,
    **flags: Any,
) -> None:
    """Bring Pendo to what the warehouse holds; only changes are sent."""

    def run(lines: Terminal) -> int:
        if dry_run:
            return _plan(lines, full_refresh, 0, flags, retry_held)
        from dbt_pendo.commands.sync import nothing_to_sync, run_syncs
        from dbt_pendo.delivery.sync import Options
        from dbt_pendo.output.github import write_step_summary
        from dbt_pendo.output.streams import lost_output
        from dbt_pendo.output.sync import SyncView, show_results

        invocation = read_invocation(flags)
        with _open(lines, invocation, flags) as (selected, syncs):
            if syncs is None:
                results = nothing_to_sync(selected, invocation.target_path)
            else:
                options = Options(full_refresh, limit, force, retry_held)
                with lines.progress() as bars:
                    results = run_syncs(syncs, options, fail_fast, invocation.target_path, SyncView(lines, bars))
        show_results(lines, results)
        write_step_summary(results)
        lines.document(results.to_dict())
        lost_output()
        return results.exit_code(warn_error)

    run_with_lines(run, flags)


def _plan(lines: Terminal, full_refresh: bool, show: int, flags: dict[str, Any], retry_held: bool = False) -> int:
    from dbt_pendo.commands.plan import plan_syncs
    from dbt_pendo.delivery.sync import Options
    from dbt_pendo.output.documents import document, planned_entry
    from dbt_pendo.output.plan import show_plan

    with _open(lines, read_invocation(flags), flags) as (_, syncs):
        planned = [] if syncs is None else list(plan_syncs(syncs, Options(full_refresh, retry_held=retry_held), show))
    show_plan(lines, planned)
    lines.document(document(map(planned_entry, planned)))
    return _exit_code(planned, warned=False)


@contextlib.contextmanager
def _open(
    lines: Terminal, invocation: Invocation, flags: Mapping[str, Any]
) -> Iterator[tuple[Selected, Context | None]]:
    """Finds the syncs, says which, and opens what they run on; no run where there is no sync."""
    from dbt_pendo.commands.context import open_context, open_published
    from dbt_pendo.commands.select import require_evidence
    from dbt_pendo.output.sync import show_found, show_nothing_new

    if flags["published"]:
        if flags["dbt_cloud_run_id"] is not None or flags["dbt_cloud_job_id"] is not None:
            raise ConfigError("--published takes what dbt published itself, and asks dbt Cloud nothing.", "Give one.")
        selection, gates = invocation.selection, invocation.gates
        with open_published(selection, gates, invocation.connection, invocation.settings) as syncs:
            if syncs.selected.syncs:
                show_found(lines, syncs.selected)
            else:
                show_nothing_new(lines, syncs.selected)
            yield syncs.selected, syncs if syncs.selected.syncs else None
        return
    selected = _gather(invocation, flags)
    require_evidence(selected.last_run, invocation.gates)
    show_found(lines, selected)
    if not selected.syncs:
        yield selected, None
        return
    with open_context(selected, invocation.connection, invocation.settings) as syncs:
        yield selected, syncs


def _gather(invocation: Invocation, flags: Mapping[str, Any]) -> Selected:
    """Gathers from dbt's target folder, or from the run of dbt Cloud that the flags name."""
    from dbt_pendo.commands.select import select_syncs

    run_id, job_id = flags["dbt_cloud_run_id"], flags["dbt_cloud_job_id"]
    selection, gates = invocation.selection, invocation.gates
    if run_id is None and job_id is None:
        return select_syncs(invocation.project_dir, invocation.target_path, selection, gates)
    if run_id is not None and job_id is not None:
        raise ConfigError("--dbt-cloud-run-id and --dbt-cloud-job-id name a run each.", "Give one of them.")
    from dbt_pendo.project.cloud import DbtCloud
    from dbt_pendo.settings import load_dbt_cloud

    with DbtCloud(load_dbt_cloud()) as cloud:
        run = cloud.fetch_run(run_id or cloud.latest_good_run(job_id), invocation.target_path)
    return replace(select_syncs(invocation.project_dir, run.folder, selection, gates), origin=run.origin)


def _exit_code(checked: list[Any], warned: bool) -> int:
    """Returns the highest exit status of the errors found; 2 for configuration, 1 for the rest."""
    return max((one.error.exit_code for one in checked if one.error), default=int(warned))
