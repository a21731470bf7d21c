"""The command line: click commands, one file a family."""

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
from dbt_pendo.visible import visible

# Where each command lives; a command's module is imported when it is called, so that --help answers at once.
COMMANDS = {
    "init": "dbt_pendo.cli.init",
    "check": "dbt_pendo.cli.syncs",
    "plan": "dbt_pendo.cli.syncs",
    "sync": "dbt_pendo.cli.syncs",
    "build": "dbt_pendo.cli.build",
    "fields": "dbt_pendo.cli.fields",
    "verify": "dbt_pendo.cli.verify",
    "reset": "dbt_pendo.cli.reset",
    "runs": "dbt_pendo.cli.history",
    "show": "dbt_pendo.cli.history",
    "row": "dbt_pendo.cli.history",
    "report": "dbt_pendo.cli.report",
    "unlock": "dbt_pendo.cli.unlock",
    "exposures": "dbt_pendo.cli.exposures",
    "schema": "dbt_pendo.cli.schema",
    "sandbox": "dbt_pendo.cli.sandbox",
    "demo": "dbt_pendo.cli.demo",
}


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the commands in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dbt-pendo")
def cli() -> None:
    """Sync the tables dbt builds to Pendo.

    Map a model's columns to Pendo under `meta.pendo`, run `dbt build`, then `dbt-pendo sync`.
    """


def main() -> None:
    """Runs the command line; every error ends as a message and an exit status, never as a traceback."""
    # dbt loads a million objects that stay, and a page holds as many: to look among them for garbage after every 700
    # new ones, as Python does, takes a tenth of the time of a sync.
    gc.set_threshold(200_000, 20, 100)
    try:
        # Not by itself, for what click says of a flag may quote it.
        sys.exit(cli.main(prog_name="dbt-pendo", standalone_mode=False) or 0)
    except DbtPendoError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        text = Secrets(environment_secrets(os.environ)).hidden_in(said.getvalue())
        click.echo("\n".join(map(visible, text.split("\n"))), err=True, nl=False)
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("Aborted!", err=True)
        sys.exit(1)
