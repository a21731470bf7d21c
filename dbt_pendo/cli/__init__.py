"""The command line: click commands that read flags and call `commands/` and `output/`."""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys

import click

from dbt_pendo import __version__
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.secret import Secrets
from dbt_pendo.settings import environment_secrets
from dbt_pendo.wording import closest, visible

# Each command with its short help, so that --help imports none of them.
COMMANDS = {
    "init": "Print a starter mapping for MODEL, with comments where it guesses.",
    "ls": "List the syncs of a selection, one name a line.",
    "debug": "Try all that a sync needs: profile, warehouse, rights, key, region, secrets.",
    "check": "Validate every mapping against the manifest, the warehouse and Pendo.",
    "plan": "Show what a sync would do; send and store nothing.",
    "sync": "Bring Pendo to what the warehouse holds; only changes are sent.",
    "build": "Run `dbt build`, then sync what it has built.",
    "fields": "Show Pendo's fields beside the mapped ones.",
    "verify": "Read Pendo back and compare it with the warehouse.",
    "reset": "Forget what was delivered, so that the next sync sends every row.",
    "runs": "List the latest runs, from the warehouse.",
    "show": "Show one run: its counts, the rows that were not delivered, and its calls.",
    "row": "Show what happened to one row: in the ledger, on the wire, in the warehouse and in Pendo.",
    "report": "Write past runs, rows that were not delivered and calls to Pendo as one HTML file.",
    "unlock": "Break the lock a dead run left.",
    "prune": "Drop the tables of syncs that are no more, after asking.",
    "exposures": "Write dbt exposures of all syncs, so that dbt's lineage shows Pendo.",
    "probe": "Ask your own Pendo what no document says, on records of the probe's own.",
    "schema": "Print the JSON Schema of `meta.pendo`, for editors.",
    "sandbox": "Run a local stand-in for Pendo, to try mappings on.",
    "demo": "Build the sample project and sync it to a local stand-in for Pendo, twice.",
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the commands in the order of their use."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands for ``--help``."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that is called.

        Raises:
            click.UsageError: If there is no such command.
        """
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            meant = closest(args[0], COMMANDS)
            ctx.fail(f"No such command: {args[0]}.{f' Did you mean `dbt-pendo {meant}`?' if meant else ''}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a command."""
        if cmd_name not in COMMANDS:
            return None
        module = "sandbox" if cmd_name in ("sandbox", "demo") else "commands"
        command: click.Command = getattr(importlib.import_module(f"dbt_pendo.cli.{module}"), cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dbt-pendo")
def cli() -> None:
    """Sync the tables dbt builds to Pendo.

    Map a model's columns to Pendo under `meta.pendo`, run `dbt build`, then `dbt-pendo sync`.
    """


def collect_rarely() -> None:
    """Has Python look for garbage after a million new objects.

    dbt loads as many that stay, and so many are in a page of rows. After every 700, the default, it would take a
    tenth of the time of a sync.
    """
    gc.set_threshold(1_000_000, 20, 100)


def main() -> None:
    """Runs the command line; every error ends as a message and an exit status, never as a traceback."""
    collect_rarely()
    secrets = Secrets(environment_secrets(os.environ))
    try:
        sys.exit(cli.main(prog_name="dbt-pendo", standalone_mode=False, obj=secrets) or 0)
    except DbtPendoError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        # Not shown by click, for it may quote a flag with a secret in it.
        said = io.StringIO()
        error.show(said)
        text = secrets.hidden_in(said.getvalue())
        click.echo("\n".join(map(visible, text.split("\n"))), err=True, nl=False)
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("Aborted!", err=True)
        sys.exit(1)
