"""The commands that work on a dbt project: their flags, what they call, and their exit status."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from dbt_pendo.alerts.post import unusable
from dbt_pendo.cli.help import Command
from dbt_pendo.cli.options import (
    DBT_ARGUMENTS,
    LEDGER_FLAGS,
    LINEAGE_FLAGS,
    PENDO_FLAGS,
    PLAN_FLAGS,
    REPORT_FLAGS,
    REQUIRE_TESTS,
    RUN_FLAGS,
    SOURCES,
    TABLE_OUTPUT,
    THREADS,
    WARN_ERROR,
    BuildCommand,
    CommandLine,
    command,
    dbt_option,
    file_option,
    mapped_models,
    number_option,
    option,
)
from dbt_pendo.commands.check import check_offline, check_syncs
from dbt_pendo.commands.context import choose_syncs, now, write_text
from dbt_pendo.commands.debug import try_everything
from dbt_pendo.commands.exposures import write_exposures
from dbt_pendo.commands.fields import compare_fields, delete_found, find_to_delete, find_unused
from dbt_pendo.commands.init import as_yaml, start_mapping, write_starter
from dbt_pendo.commands.plan import plan_syncs
from dbt_pendo.commands.probe import PROBE_FILE, probe_pendo
from dbt_pendo.commands.prune import drop_left, find_left
from dbt_pendo.commands.reset import Reset, reset_syncs, unlock_syncs
from dbt_pendo.commands.row import row_history
from dbt_pendo.commands.select import Selection, positions_in, read_specs, wrong_mappings
from dbt_pendo.commands.sync import nothing_to_sync, run_syncs
from dbt_pendo.commands.verify import since_when, verify_syncs
from dbt_pendo.delivery.signals import InterruptedRunError
from dbt_pendo.delivery.sync import Options
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.history.report import review
from dbt_pendo.mapping.keys import GROUPS, json_schema
from dbt_pendo.mapping.objects import OBJECTS, RECORDS
from dbt_pendo.mapping.spec import Group, Object
from dbt_pendo.output.debug import list_syncs, show_debugged, show_tried
from dbt_pendo.output.exposures import show_exposures
from dbt_pendo.output.fields import show_deleted, show_fields, show_unused
from dbt_pendo.output.plan import show_checks, show_plan
from dbt_pendo.output.probe import show_probe, show_probed
from dbt_pendo.output.reset import show_left, show_reset, show_to_reset, show_unlocked
from dbt_pendo.output.runs import ROWS_SHOWN, show_calls, show_row, show_run, show_runs
from dbt_pendo.output.streams import lost_output
from dbt_pendo.output.sync import SyncView, show_found, show_results, write_step_summary
from dbt_pendo.output.terminal import told
from dbt_pendo.output.verify import show_verified
from dbt_pendo.pendo.probe import Names
from dbt_pendo.project.artifacts import LastRun, find_model, read_manifest
from dbt_pendo.project.build import run_dbt_build
from dbt_pendo.warehouse.adapter import named_target
from dbt_pendo.wording import number


@command(
    click.Argument(["model"]),
    option("--object", "object_", type=click.Choice(tuple(OBJECTS)), help="What the rows become. Default: a guess."),
    file_option("--output", "-o", help="Write to a new file instead of printing."),
    selects=False,
    settings=PENDO_FLAGS,
)
def init(cli: CommandLine, model: str, object_: Object | None, output: Path | None) -> int:
    """Print a starter mapping for MODEL, with comments where it guesses.

    Reads the model's columns and its primary key, and Pendo's fields if the integration key is set.
    """
    described = find_model(cli.invocation.target_path, model)
    starter = start_mapping(described, cli.invocation.connection, cli.invocation.settings, object_, cli.lines.aside)
    text = as_yaml(starter)
    entry = starter.to_dict(text, output)
    if output is None:
        cli.lines.text(text, "MappingStarted", entry)
    else:
        write_starter(described, text, output)
        said = f"Wrote {output}. Read it through, then `dbt build` and `dbt-pendo check`."
        cli.lines.line(said, "success", "MappingStarted", entry)
    cli.lines.answer([entry])
    return int(output is None and lost_output(is_silent_about_readers=True))


@command(TABLE_OUTPUT)
def ls(cli: CommandLine) -> int:
    """List the syncs of a selection, one name a line."""
    entries = list_syncs(cli.lines, choose_syncs(cli.invocation))
    cli.lines.answer(entries, entries)
    return int(lost_output(is_silent_about_readers=True))


@command(settings=PENDO_FLAGS)
def debug(cli: CommandLine) -> int:
    """Try all that a sync needs: profile, warehouse, rights, key, region, secrets."""
    tried = []
    for one in try_everything(cli.invocation):
        show_tried(cli.lines, one)
        tried.append(one)
    show_debugged(cli.lines, tried)
    cli.lines.answer(one.to_dict() for one in tried)
    return max((one.error.exit_code for one in tried if one.error), default=0)


@command(
    option("--offline", is_flag=True, help="Ask neither the warehouse nor Pendo: validate the mappings alone."),
    WARN_ERROR,
    settings=PENDO_FLAGS,
)
def check(cli: CommandLine, offline: bool, warn_error: bool) -> int:
    """Validate every mapping against the manifest, the warehouse and Pendo."""
    cli.invocation = replace(cli.invocation, selection=replace(cli.invocation.selection, with_flawed=True))
    alert_faults: Sequence[str] = ()
    ended_by = None
    if offline:
        # What dbt has built does not matter.
        selected = replace(choose_syncs(cli.invocation), last_run=LastRun())
        show_found(cli.lines, selected)
        checked = list(check_offline(selected))
    else:
        try:
            with cli.open_context(prepares=True) as (selected, context):
                checked = list(check_offline(selected) if context is None else check_syncs(context))
            alert_faults = unusable(cli.invocation.settings)
        except DbtPendoError as error:
            if isinstance(error, InterruptedRunError) or cli.selected is None or not cli.selected.problems:
                raise
            # What is wrong in the mappings is known without a warehouse.
            selected, ended_by = cli.selected, error
            checked = [found for found in check_offline(selected) if found.error]
    show_checks(cli.lines, checked, selected.problems, alert_faults)
    mistakes = wrong_mappings(selected.problems) if selected.problems else None
    errors = [one for one in (mistakes, ended_by) if one is not None]
    for one in errors:
        cli.lines.error(one, "CommandFailed")
    more: dict[str, Any] = {"error": told(errors)} if errors else {}
    return cli.answer(checked, **more) or int(warn_error and any(found.warnings for found in checked))


@command(
    option("--full-refresh", "-f", is_flag=True, help="As if every row were to be sent again."),
    number_option("--show", least=0, default=0, help="Print the first N records' requests."),
    number_option("--diff", least=0, default=0, help="Show the first N changed rows beside what Pendo holds of them."),
    *SOURCES,
    settings=PLAN_FLAGS,
)
def plan(cli: CommandLine, full_refresh: bool, show: int, diff: int) -> int:
    """Show what a sync would do; send and store nothing."""
    return _plan(cli, Options(full_refresh), show, diff)


def _plan(cli: CommandLine, options: Options, show: int = 0, diff: int = 0) -> int:
    planned = cli.each_sync(lambda context: plan_syncs(context, options, show, diff), prepares=True)
    show_plan(cli.lines, planned)
    return cli.answer(planned)


@command(
    dbt_option("--full-refresh", "-f", is_flag=True, help="Send every row again; Pendo then has events twice."),
    number_option("--limit", least=0, help="Send at most N rows of each sync; the next run sends the others."),
    option("--retry-held", is_flag=True, help="Try rows again that are held after too many attempts."),
    option(
        "--force",
        is_flag=True,
        help="Ignore max_changes, max_removals and max_invalid, take over a segment, begin a second ledger.",
    ),
    dbt_option("--fail-fast", "-x", is_flag=True, help="Stop after the first failed sync."),
    option("--dry-run", is_flag=True, help="The same as `dbt-pendo plan`."),
    THREADS,
    WARN_ERROR,
    *SOURCES,
    settings=RUN_FLAGS,
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
    if dry_run:
        return _plan(cli, Options(full_refresh, retry_held=retry_held))
    return _sync(cli, Options(full_refresh, limit, force, retry_held), fail_fast, warn_error)


def _sync(cli: CommandLine, options: Options, fail_fast: bool, warn_error: bool, built: bool = False) -> int:
    with cli.open_context(prepares=True) as (selected, context):
        if context is None:
            results = nothing_to_sync(selected, cli.invocation.target_path)
        else:
            with cli.lines.progress() as bars, SyncView(cli.lines, bars).telling() as view:
                results = run_syncs(context, options, fail_fast, view)
        show_results(cli.lines, results, selected.last_run if built else None)
        write_step_summary(results)
        cli.lines.document(results.to_dict())
        lost_output()
    return results.exit_code(warn_error)


@command(
    dbt_option("--fail-fast", "-x", is_flag=True, help="Stop after the first failure."),
    THREADS,
    WARN_ERROR,
    *REQUIRE_TESTS,
    settings=RUN_FLAGS,
    cls=BuildCommand,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def build(cli: CommandLine, fail_fast: bool, warn_error: bool) -> int:
    """Run `dbt build`, then sync what it has built.

    Takes all arguments of `dbt build`. It needs dbt on the PATH; that may be another dbt than the one dbt-pendo uses.
    """
    invocation = cli.invocation
    if invocation.settings.targets is not None:
        # Not only after dbt has built.
        invocation.settings.require_listed(named_target(invocation.connection))
    arguments = click.get_current_context().meta[DBT_ARGUMENTS]
    status, has_built = run_dbt_build(arguments, invocation.target_path, cli.lines.as_json)
    if not has_built and status:
        message = f"`dbt build` ended with exit status {status} before it built anything; nothing was synced."
        raise ConfigError(message, "What went wrong is above, in dbt's words.")
    if not has_built:
        cli.lines.line("`dbt build` built nothing; nothing was synced.", "warn", "NothingToDo")
        return 0
    # dbt has applied the selection: what it selected is what it built.
    selection = Selection(of_last_run=True, require_tests=invocation.settings.require_tests)
    cli.invocation = replace(invocation, selection=selection)
    return max(_sync(cli, Options(), fail_fast, warn_error, built=True), int(status != 0))


@command(
    option("--create", is_flag=True, help="Create the mapped fields that Pendo lacks."),
    option(
        "--unused", is_flag=True, help="List Pendo's fields that no mapping of the project writes, and what uses them."
    ),
    option("--delete", metavar="NAME", help="Delete a field that no mapping writes and nothing in Pendo uses."),
    option("--group", type=click.Choice(GROUPS), help="With --delete: the group of the field."),
    option("--object", "object_", type=click.Choice(RECORDS), help="With --delete: whose field it is."),
    option("--force", is_flag=True, help="With --delete: even if it is in use."),
    option("--yes", "-y", is_flag=True, help="With --delete: do not ask."),
    TABLE_OUTPUT,
    settings=PENDO_FLAGS,
)
def fields(
    cli: CommandLine,
    create: bool,
    unused: bool,
    delete: str | None,
    group: Group | None,
    object_: Object | None,
    force: bool,
    yes: bool,
) -> int:
    """Show Pendo's fields beside the mapped ones."""
    if create + unused + (delete is not None) > 1:
        raise ConfigError("--create, --unused and --delete exclude each other.", "Give one of them.")
    if delete is None and (group or object_ or force or yes):
        raise ConfigError("--group, --object, --force and --yes go with --delete.", "Name the field with --delete.")
    if unused or delete is not None:
        return _unwritten_fields(cli, delete, group, object_, force, yes)
    with cli.open_context(prepares=True) as (_, context):
        found, unmapped = ([], []) if context is None else compare_fields(context, create)
    show_fields(cli.lines, found, unmapped)
    left = [one.to_dict() for one in unmapped]
    rows = [row for one in found for row in one.to_rows()]
    return cli.answer(found, rows=[*rows, *left], unmapped=left)


def _unwritten_fields(
    cli: CommandLine, delete: str | None, group: Group | None, object_: Object | None, force: bool, yes: bool
) -> int:
    """Lists the fields that no mapping writes, or deletes one."""
    entries = []
    with cli.open_context() as (_, context):
        if context is not None and delete is None:
            found = find_unused(context)
            show_unused(cli.lines, found)
            entries = [one.to_dict() for one in found]
        elif context is not None and delete is not None:
            one = find_to_delete(context, delete, group, object_, force)
            what = f"the {one.group} field {one.field.key} of {OBJECTS[one.object].plural} in Pendo"
            if not yes and not cli.lines.confirm(f"Delete {what}, with its values?"):
                cli.lines.line("Nothing was deleted.", "warn", "NothingToDo")
                return 1
            entries = [delete_found(context, one)]
            show_deleted(cli.lines, one, entries[0])
    cli.lines.answer(entries, entries)
    return 0


@command(
    option("--repair", is_flag=True, help="Resend what has drifted."),
    option("--since", metavar="TIME", help="Only records that Pendo updated since then: `2d`, `12h`, a date."),
    settings=RUN_FLAGS,
)
def verify(cli: CommandLine, repair: bool, since: str | None) -> int:
    """Read Pendo back and compare it with the warehouse."""
    moment = None if since is None else since_when(since)
    verified = cli.each_sync(lambda context: verify_syncs(context, repair, SyncView(cli.lines), moment))
    show_verified(cli.lines, verified)
    return cli.answer(verified) or int(not all(one.in_order for one in verified))


@command(
    option("--adopt", is_flag=True, help="Take all rows for delivered, without sending them."),
    option("--from-pendo", is_flag=True, help="Take those rows for delivered that Pendo holds already."),
    option("--all", "every", is_flag=True, help="Reset all syncs; without it, select some."),
    option("--yes", "-y", is_flag=True, help="Do not ask."),
    settings=PENDO_FLAGS,
)
def reset(cli: CommandLine, adopt: bool, from_pendo: bool, every: bool, yes: bool) -> int:
    """Forget what was delivered, so that the next sync sends every row."""
    if adopt and from_pendo:
        raise ConfigError("--adopt and --from-pendo exclude each other.", "Give one of them.")
    chosen = cli.invocation.selection
    if every == bool(chosen.select or chosen.exclude or chosen.selector):
        what = "--all and a selection exclude each other." if every else "Nothing is selected to reset."
        raise ConfigError(what, "Give --select, or --all for every sync of the project.")
    with cli.open_context() as (selected, context):
        done: Iterable[Reset] = []
        if context is not None:
            # It begins when it is asked for its first.
            done = reset_syncs(context, adopt, from_pendo)
            show_to_reset(cli.lines, [spec for _, spec in selected.syncs], adopt)
            if not yes and not cli.lines.confirm(f"Reset {number(len(selected.syncs), 'sync')}?"):
                cli.lines.line("Nothing was reset.", "warn", "NothingToDo")
                return 1
        done = list(done)
    show_reset(cli.lines, done, adopt)
    return cli.answer(done)


@command(
    option("--force", is_flag=True, help="Also of a run that is alive, or was killed while it took the lock."),
    settings=LEDGER_FLAGS,
)
def unlock(cli: CommandLine, force: bool) -> int:
    """Break the lock a dead run left."""
    unlocked = cli.each_sync(lambda context: unlock_syncs(context, force), announced=False)
    show_unlocked(cli.lines, unlocked)
    cli.lines.answer(one.to_dict() for one in unlocked)
    return int(any(one.holder and not one.broken for one in unlocked))


@command(
    number_option("--limit", default=20, help="How many runs. Default: 20."),
    TABLE_OUTPUT,
    selects=False,
    settings=LEDGER_FLAGS,
)
def runs(cli: CommandLine, limit: int) -> None:
    """List the latest runs, from the warehouse."""
    with cli.open_run_log() as log:
        found = log.latest_runs(limit)
    show_runs(cli.lines, found)
    cli.lines.answer([run.to_dict() for run in found], rows=[run.to_row() for run in found])


@command(
    click.Argument(["run_id"], metavar="[RUN]", default="last"),
    option("--requests", is_flag=True, help="List the run's calls to Pendo."),
    option("--failed", is_flag=True, help="Only calls that Pendo did not do as asked, with their bodies."),
    option("--row", metavar="KEY", help="Only calls that carried this row, with their bodies."),
    option("--rows", is_flag=True, help=f"List all rows that were not delivered, not only {ROWS_SHOWN} of each sync."),
    TABLE_OUTPUT,
    selects=False,
    settings=LEDGER_FLAGS,
)
def show(cli: CommandLine, run_id: str, requests: bool, failed: bool, row: str | None, rows: bool) -> None:
    """Show one run: its counts, the rows that were not delivered, and its calls.

    RUN is a run's id, or how it begins or ends. Default: the last one.
    """
    with cli.open_run_log() as log:
        run = log.find_run(run_id)
        kept = log.calls(run.run_id)
        calls = None if kept is None else list(kept)
        if requests or failed or row is not None:
            if calls is None:
                raise ConfigError(
                    f"The calls of run {run.run_id} are not kept on this machine.",
                    "They lie in dbt's target folder of the machine that ran it, under dbt_pendo/runs.",
                )
            calls = [call for call in calls if (call.failed or not failed) and (row is None or call.carried((row,)))]
            show_calls(cli.lines, calls, with_bodies=failed or row is not None)
            entries = list(map(asdict, calls))
            cli.lines.answer(entries, rows=entries)
            return
        details = [log.details(sync, calls or (), None if rows else ROWS_SHOWN) for sync in run.syncs]
    show_run(cli.lines, run, details, calls)
    reasons = [{"sync": one.sync.sync, **asdict(reason)} for one in details for reason in one.reasons]
    undelivered = [
        {
            "sync": one.sync.sync,
            **{name: getattr(row, name) for name in ("key", "status", "detail", "attempts")},
            "call": call.number if call else None,
        }
        for one in details
        for row, call in one.rows
    ]
    table = undelivered if rows else [one.to_row() for one in details]
    cli.lines.answer([run.to_dict()], table, reasons=reasons, undelivered=undelivered)


@command(click.Argument(["sync"], shell_complete=mapped_models), click.Argument(["key"]), settings=PLAN_FLAGS)
def row(cli: CommandLine, sync: str, key: str) -> None:
    """Show what happened to one row: in the ledger, on the wire, in the warehouse and in Pendo.

    SYNC is the sync's name, as `dbt-pendo ls` has it; KEY is the row's id in the model.
    """
    with cli.open_context(announced=False) as (_, context):
        if context is None:
            raise ConfigError(f"There is no sync {sync}.", "Syncs: none.")
        history = row_history(context, sync, key)
    show_row(cli.lines, history)
    cli.lines.answer([history.to_dict()])


@command(
    file_option(
        "--output", dir_okay=False, help="Where to write it. Default: pendo_report.html in dbt's target folder."
    ),
    number_option("--runs", default=50, help="How many runs. Default: 50."),
    selects=False,
    settings=REPORT_FLAGS,
)
def report(cli: CommandLine, output: Path | None, runs: int) -> None:
    """Write past runs, rows that were not delivered and calls to Pendo as one HTML file."""
    # Jinja2 takes as long to import as the other commands together.
    from dbt_pendo.output.report import REPORT_FILE, page, show_report, write_page

    invocation, settings = cli.invocation, cli.invocation.settings
    with cli.open_run_log() as log:
        found = review(log, invocation.project_dir.name, settings.mask, runs, settings.docs_url)
    path = output or invocation.target_path / REPORT_FILE
    write_page(page(found, now(), settings.secrets), path)
    cli.lines.answer([show_report(cli.lines, found, path)])


@command(
    option("--yes", "-y", is_flag=True, help="Do not ask; needed where nobody can answer."),
    selects=False,
    settings=LEDGER_FLAGS,
)
def prune(cli: CommandLine, yes: bool) -> int:
    """Drop the tables of syncs that are no more, after asking."""
    invocation = cli.invocation
    # All of the project, with those that are not enabled.
    manifest = read_manifest(invocation.target_path)
    specs = read_specs(manifest.models, positions_in(invocation.project_dir, manifest))
    with cli.open_warehouse() as (session, ends):
        left = find_left(session, ends.schema, [spec.name for spec in specs])
        show_left(cli.lines, left, ends.schema)
        tables, notes = sum(len(one.tables) for one in left.values()), sum(len(one.notes) for one in left.values())
        counted = ((tables, "table"), (notes, "note"))
        what = " and ".join(number(count, noun) for count, noun in counted if count)
        if left and not yes and not cli.lines.confirm(f"Drop {what}?", False):
            cli.lines.line("Nothing was dropped.", "warn", "NothingToDo")
            cli.lines.answer([])
            return 1
        for one in left.values():
            drop_left(session, ends.schema, one)
    if left:
        cli.lines.line("They are dropped.", "success", "Pruned", {"syncs": list(left)})
    cli.lines.answer({"sync": sync, **asdict(one)} for sync, one in left.items())
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
    lineage = write_exposures(cli.invocation, output, check)
    show_exposures(cli.lines, lineage, check)
    status = ("outdated" if check else "written") if lineage.outdated else "unchanged"
    cli.lines.answer([one.to_dict() for one in lineage.exposures], file=lineage.place, status=status)
    return int(check and lineage.outdated)


@command(
    option("--yes", "-y", is_flag=True, help="Do not ask; needed where nobody can answer."),
    file_option("--output", help=f"The file to write. Default: {PROBE_FILE} in the folder of the project, or here."),
    selects=False,
    needs_project=False,
    settings=PENDO_FLAGS,
)
def probe(cli: CommandLine, yes: bool, output: Path | None) -> int:
    """Ask your own Pendo what no document says, on records of the probe's own.

    It creates a visitor, an account and fields of its own, and removes them at its end. Needs no dbt project.
    """
    invocation, names = cli.invocation, Names()
    settings = invocation.settings
    settings.require_integration_key()
    if settings.targets is not None:
        settings.require_listed(named_target(invocation.connection))
    path = output or invocation.project_dir / PROBE_FILE
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written.", "Name another file with --output.")
    show_probe(cli.lines, settings, names)
    if not yes and not cli.lines.confirm(f"Probe {settings.pendo}?", unattended=False):
        raise ConfigError("Nothing was sent: a probe writes to Pendo, and has to be told so.", "Give --yes.")
    probed = probe_pendo(invocation, names, cli.lines.aside)
    document = probed.to_dict()
    if probed.interrupted is None:
        write_text(path, json.dumps(document, indent=2) + "\n")
    show_probed(cli.lines, probed, path)
    cli.lines.document(document)
    return int(bool(probed.left) or probed.interrupted is not None)


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="The same: the schema is JSON already.")
def schema(as_json: bool) -> int:
    """Print the JSON Schema of `meta.pendo`, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
    return int(lost_output(is_silent_about_readers=True))
