"""The commands that work on a dbt project: their flags, what they call, and their exit status.

Each imports what it needs when it is called.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbt_pendo.cli.options import (
    DBT_ARGUMENTS,
    LINEAGE_FLAGS,
    REQUIRE_TESTS,
    SOURCES,
    TABLE_OUTPUT,
    WARN_ERROR,
    BuildCommand,
    CommandLine,
    command,
    file_option,
    number_option,
    option,
)
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.objects import OBJECTS

if TYPE_CHECKING:
    from dbt_pendo.delivery.sync import Options
    from dbt_pendo.mapping.spec import Object


@command(
    click.Argument(["model"]),
    option("--object", "object_", type=click.Choice(tuple(OBJECTS)), help="What the rows become. Default: a guess."),
    file_option("--output", "-o", help="Write to a new file instead of printing."),
    selects=False,
)
def init(cli: CommandLine, model: str, object_: Object | None, output: Path | None) -> int:
    """Print a starter mapping for MODEL, with comments where it guesses.

    Reads the model's columns and its primary key, and Pendo's fields if the integration key is set.
    """
    from dbt_pendo.commands.init import as_yaml, start_mapping
    from dbt_pendo.output.documents import starter_entry
    from dbt_pendo.output.terminal import lost_output
    from dbt_pendo.project.manifest import find_model

    described = find_model(cli.invocation.target_path, model)
    starter = start_mapping(described, cli.invocation.connection, cli.invocation.settings, object_)
    text = as_yaml(starter)
    entry = starter_entry(starter, text, output)
    if output is None:
        cli.lines.text(text, "MappingStarted", entry)
    else:
        if described.entry is not None:
            raise ConfigError(
                f"{described.entry} has an entry of {described.model.name} already, and dbt takes one a model.",
                "Print the mapping without --output, and paste it there.",
            )
        _write_new(output, text)
        said = f"Wrote {output}. Read it through, then `dbt parse` and `dbt-pendo check`."
        cli.lines.line(said, "success", "MappingStarted", entry)
    cli.print_document([entry])
    return int(output is None and lost_output(is_silent_about_readers=True))


def _write_new(file: Path, text: str) -> None:
    if file.exists():
        raise ConfigError(f"{file} exists, and is left as it is.", "Name another file.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from None


@command(
    option("--offline", is_flag=True, help="Ask neither the warehouse nor Pendo: validate the mappings alone."),
    WARN_ERROR,
)
def check(cli: CommandLine, offline: bool, warn_error: bool) -> int:
    """Validate every mapping against the manifest, the warehouse and Pendo."""
    from dbt_pendo.alerts.post import unusable
    from dbt_pendo.commands.context import choose_syncs
    from dbt_pendo.commands.plan import check_offline, check_syncs
    from dbt_pendo.output.documents import checked_entry
    from dbt_pendo.output.plan import show_checks
    from dbt_pendo.output.sync import show_found

    if offline:
        selected = choose_syncs(cli.invocation)
        show_found(cli.lines, selected)
        checked, alert_faults = list(check_offline(selected)), []
    else:
        checked = cli.each_sync(check_syncs)
        settings = cli.invocation.settings
        alert_faults = unusable(settings.alerts, settings.allow_http)
    show_checks(cli.lines, checked, alert_faults)
    cli.print_document(map(checked_entry, checked))
    return _exit_status(checked) or int(warn_error and any(one.warnings for one in checked))


@command(
    option("--full-refresh", "-f", is_flag=True, help="As if every row were to be sent again."),
    number_option("--show", least=0, default=0, help="Print the first N records' requests."),
    *SOURCES,
)
def plan(cli: CommandLine, full_refresh: bool, show: int) -> int:
    """Show what a sync would do; send and store nothing."""
    from dbt_pendo.delivery.sync import Options

    return _plan(cli, Options(full_refresh), show)


def _plan(cli: CommandLine, options: Options, show: int) -> int:
    from dbt_pendo.commands.plan import plan_syncs
    from dbt_pendo.output.documents import planned_entry
    from dbt_pendo.output.plan import show_plan

    planned = cli.each_sync(lambda context: plan_syncs(context, options, show))
    show_plan(cli.lines, planned)
    cli.print_document(map(planned_entry, planned))
    return _exit_status(planned)


@command(
    option("--full-refresh", "-f", envvar="DBT_FULL_REFRESH", is_flag=True, help="Send every row again."),
    number_option("--limit", least=0, help="Send at most N rows of each sync."),
    option("--retry-held", is_flag=True, help="Try rows again that are held after too many attempts."),
    option("--force", is_flag=True, help="Send even more than max_changes and max_removals allow."),
    option("--fail-fast", "-x", envvar="DBT_FAIL_FAST", is_flag=True, help="Stop after the first failed sync."),
    option("--dry-run", is_flag=True, help="The same as `dbt-pendo plan`."),
    WARN_ERROR,
    *SOURCES,
)
def sync(
    cli: CommandLine,
    full_refresh: bool,
    limit: int | None,
    retry_held: bool,
    force: bool,
    fail_fast: bool,
    dry_run: bool,
    warn_error: bool,
) -> int:
    """Bring Pendo to what the warehouse holds; only changes are sent."""
    from dbt_pendo.delivery.sync import Options

    if dry_run:
        return _plan(cli, Options(full_refresh, retry_held=retry_held), show=0)
    return _sync(cli, Options(full_refresh, limit, force, retry_held), fail_fast, warn_error)


def _sync(cli: CommandLine, options: Options, fail_fast: bool, warn_error: bool, built: bool = False) -> int:
    from dbt_pendo.commands.sync import nothing_to_sync, run_syncs
    from dbt_pendo.output.sync import SyncView, show_results, write_step_summary
    from dbt_pendo.output.terminal import lost_output

    target_path = cli.invocation.target_path
    with cli.open_context() as (selected, context):
        if context is None:
            results = nothing_to_sync(selected, target_path)
        else:
            with cli.lines.progress() as bars:
                results = run_syncs(context, options, fail_fast, target_path, SyncView(cli.lines, bars))
        show_results(cli.lines, results, selected.last_run if built else None)
        write_step_summary(results)
        cli.lines.document(results.to_dict())
        lost_output()
    return results.exit_code(warn_error)


@command(
    option("--fail-fast", "-x", envvar="DBT_FAIL_FAST", is_flag=True, help="Stop after the first failure."),
    WARN_ERROR,
    *REQUIRE_TESTS,
    cls=BuildCommand,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def build(cli: CommandLine, fail_fast: bool, warn_error: bool) -> int:
    """Run `dbt build`, then sync what it has built.

    Takes all arguments of `dbt build`. It needs dbt on the PATH; that may be another dbt than the one dbt-pendo uses.
    """
    from dbt_pendo.commands.select import Selection
    from dbt_pendo.delivery.sync import Options
    from dbt_pendo.output.sync import show_built_nothing
    from dbt_pendo.project.build import run_dbt_build

    invocation = cli.invocation
    arguments = click.get_current_context().meta[DBT_ARGUMENTS]
    status, has_built = run_dbt_build(arguments, invocation.target_path, cli.lines.as_json)
    if not has_built and status:
        message = f"`dbt build` ended with exit status {status} before it built anything; nothing was synced."
        raise ConfigError(message, "What went wrong is above, in dbt's words.")
    if not has_built:
        show_built_nothing(cli.lines)
        return 0
    # dbt has applied the selection: what it selected is what it built.
    gates = replace(invocation.gates, only_built=True)
    cli.invocation = replace(invocation, selection=Selection(), gates=gates)
    return max(_sync(cli, Options(), fail_fast, warn_error, built=True), int(status != 0))


@command(option("--create", is_flag=True, help="Create the mapped fields that Pendo lacks."), TABLE_OUTPUT)
def fields(cli: CommandLine, create: bool) -> int:
    """Show Pendo's fields beside the mapped ones."""
    from dbt_pendo.commands.fields import compare_fields
    from dbt_pendo.output.documents import fields_entry, unmapped_entry
    from dbt_pendo.output.fields import show_fields
    from dbt_pendo.output.tables import field_rows

    with cli.open_context() as (_, context):
        found, unmapped = ([], []) if context is None else compare_fields(context, create)
    show_fields(cli.lines, found, unmapped)
    entries, left = list(map(fields_entry, found)), list(map(unmapped_entry, unmapped))
    cli.print_document(entries, rows=field_rows(entries, left), unmapped=left)
    return _exit_status(found)


@command(option("--repair", is_flag=True, help="Resend what has drifted."))
def verify(cli: CommandLine, repair: bool) -> int:
    """Read Pendo back and compare it with the warehouse."""
    from dbt_pendo.commands.verify import verify_syncs
    from dbt_pendo.output.documents import verified_entry
    from dbt_pendo.output.sync import SyncView
    from dbt_pendo.output.verify import show_verified

    target_path = cli.invocation.target_path
    verified = cli.each_sync(lambda context: verify_syncs(context, repair, target_path, SyncView(cli.lines)))
    show_verified(cli.lines, verified)
    cli.print_document(map(verified_entry, verified))
    return _exit_status(verified) or int(not all(one.in_order for one in verified))


@command(
    option("--adopt", is_flag=True, help="Take all rows for delivered, without sending them."),
    option("--from-pendo", is_flag=True, help="Take those rows for delivered that Pendo holds already."),
)
def reset(cli: CommandLine, adopt: bool, from_pendo: bool) -> int:
    """Forget what was delivered, so that the next sync sends every row."""
    from dbt_pendo.commands.reset import reset_syncs
    from dbt_pendo.output.documents import reset_entry
    from dbt_pendo.output.reset import show_reset

    if adopt and from_pendo:
        raise ConfigError("--adopt and --from-pendo exclude each other.", "Give one of them.")
    done = cli.each_sync(lambda context: reset_syncs(context, adopt, from_pendo, cli.invocation.target_path))
    show_reset(cli.lines, done, adopt)
    cli.print_document(map(reset_entry, done))
    return _exit_status(done)


@command(option("--force", is_flag=True, help="Break the lock of a run that still gives signs of life, too."))
def unlock(cli: CommandLine, force: bool) -> int:
    """Break the lock a dead run left."""
    from dbt_pendo.commands.reset import unlock_syncs
    from dbt_pendo.output.documents import unlocked_entry
    from dbt_pendo.output.reset import show_unlocked

    unlocked = cli.each_sync(lambda context: unlock_syncs(context, force), announced=False)
    show_unlocked(cli.lines, unlocked)
    cli.print_document(map(unlocked_entry, unlocked))
    return int(any(one.holder and not one.broken for one in unlocked))


@command(number_option("--limit", default=20, help="How many runs. Default: 20."), TABLE_OUTPUT, selects=False)
def runs(cli: CommandLine, limit: int) -> int:
    """List the latest runs, from the warehouse."""
    from dbt_pendo.output.documents import run_entry
    from dbt_pendo.output.runs import show_runs
    from dbt_pendo.output.tables import run_row

    with cli.open_run_log() as log:
        found = log.latest_runs(limit)
    show_runs(cli.lines, found)
    entries = list(map(run_entry, found))
    cli.print_document(entries, rows=map(run_row, entries))
    return 0


@command(
    click.Argument(["run_id"], metavar="[RUN]", default="last"),
    option("--requests", is_flag=True, help="List the run's calls to Pendo."),
    option("--failed", is_flag=True, help="Only calls that Pendo did not do as asked, with their bodies."),
    option("--row", metavar="KEY", help="Only calls that carried this row, with their bodies."),
    number_option("--rows", least=0, default=20, help="Rejected rows to show. Default: 20."),
    TABLE_OUTPUT,
    selects=False,
)
def show(cli: CommandLine, run_id: str, requests: bool, failed: bool, row: str | None, rows: int) -> int:
    """Show one run: its counts, the rows that were not delivered, and its calls.

    RUN is a run's id, or how it begins or ends. Default: the last one.
    """
    from dbt_pendo.history.runs import last_calls
    from dbt_pendo.output.documents import call_entry, reason_entry, rejected_entry, run_entry
    from dbt_pendo.output.runs import show_calls, show_run
    from dbt_pendo.output.tables import sync_row

    with cli.open_run_log() as log:
        found = log.find_run(run_id)
        kept = log.calls(found.run_id)
        calls = None if kept is None else list(kept)
        if requests or failed or row is not None:
            if calls is None:
                raise ConfigError(
                    f"The calls of run {found.run_id} are not kept on this machine.",
                    "They lie in dbt's target folder of the machine that ran it, under dbt_pendo/runs.",
                )
            calls = [call for call in calls if (call.failed or not failed) and (row is None or call.carried((row,)))]
            show_calls(cli.lines, calls, with_bodies=failed or row is not None)
            entries = list(map(call_entry, calls))
            cli.print_document(entries, rows=entries)
            return 0
        reasons = {sync.sync: log.grouped_reasons(sync) for sync in found.syncs}
        rejected = {sync.sync: log.rejected_rows(sync, rows) for sync in found.syncs}
    carried = {
        sync: last_calls(calls or (), sync, {one.key for one in refused if one.key is not None})
        for sync, refused in rejected.items()
        if refused
    }
    show_run(cli.lines, found, reasons, rejected, carried, calls)
    entry = run_entry(found)
    cli.print_document(
        [entry],
        rows=map(sync_row, entry["syncs"]),
        reasons=[reason_entry(sync, reason) for sync, found in reasons.items() for reason in found],
        rejected=[
            rejected_entry(sync, one, carried[sync].get(one.key or ""))
            for sync, refused in rejected.items()
            for one in refused
        ],
    )
    return 0


@command(click.Argument(["sync"]), click.Argument(["key"]))
def row(cli: CommandLine, sync: str, key: str) -> int:
    """Show what happened to one row: in the ledger, on the wire, in the warehouse and in Pendo."""
    from dbt_pendo.commands.row import row_history
    from dbt_pendo.output.documents import row_entry
    from dbt_pendo.output.runs import show_row

    with cli.open_context(announced=False) as (_, context):
        if context is None:
            raise ConfigError(f"There is no sync {sync}.", "Syncs: none.")
        history = row_history(context, sync, key, cli.invocation.target_path)
    show_row(cli.lines, history)
    cli.print_document([row_entry(history)])
    return 0


@command(
    file_option(
        "--output", dir_okay=False, help="Where to write it. Default: pendo_report.html in dbt's target folder."
    ),
    number_option("--runs", default=50, help="How many runs. Default: 50."),
    selects=False,
)
def report(cli: CommandLine, output: Path | None, runs: int) -> int:
    """Write past runs, rows that were not delivered and calls to Pendo as one HTML file."""
    from dbt_pendo.history.report import review
    from dbt_pendo.output.documents import report_entry
    from dbt_pendo.output.report import REPORT_FILE, page, show_report, write_page

    invocation, settings = cli.invocation, cli.invocation.settings
    with cli.open_run_log() as log:
        found = review(log, invocation.project_dir.name, settings.mask, runs)
    path = output or invocation.target_path / REPORT_FILE
    write_page(page(found, datetime.datetime.now(datetime.timezone.utc), settings.secrets), path)
    show_report(cli.lines, found, path)
    cli.print_document([report_entry(found, path)])
    return 0


@command(
    file_option(
        "--output",
        "-o",
        help="The file to write. Default: pendo_exposures.yml in the first of the project's model-paths.",
    ),
    option("--check", is_flag=True, help="Write nothing; exit 1 if the file is not up to date."),
    selects=False,
    settings=LINEAGE_FLAGS,
)
def exposures(cli: CommandLine, output: Path | None, check: bool) -> int:
    """Write dbt exposures of all syncs, so that dbt's lineage shows Pendo.

    Reads the manifest alone, and writes a file of its own.
    """
    from dbt_pendo.commands.exposures import write_exposures
    from dbt_pendo.output.documents import exposure_entry
    from dbt_pendo.output.exposures import show_exposures

    lineage = write_exposures(cli.invocation, output, check)
    show_exposures(cli.lines, lineage, check)
    status = ("outdated" if check else "written") if lineage.outdated else "unchanged"
    cli.print_document(map(exposure_entry, lineage.exposures), file=lineage.place, status=status)
    return int(check and lineage.outdated)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The same: the schema is JSON already.")
def schema(as_json: bool) -> int:
    """Print the JSON Schema of `meta.pendo`, for editors."""
    from dbt_pendo.mapping.keys import json_schema
    from dbt_pendo.output.terminal import lost_output

    click.echo(json.dumps(json_schema(), indent=2))
    return int(lost_output(is_silent_about_readers=True))


def _exit_status(findings: Iterable[Any]) -> int:
    """Returns the highest exit status of the errors found: 2 for configuration, 1 for the rest."""
    return max((one.error.exit_code for one in findings if one.error), default=0)
