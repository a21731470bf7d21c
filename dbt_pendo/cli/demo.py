"""``dbt-pendo demo``."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

import dbt_pendo
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.sandbox import Sandbox
from dbt_pendo.sandbox.subscription import load_subscription
from dbt_pendo.visible import visible

# A visitor who upgrades between the two days, one whose plan ends, and one who never logged in to the product.
WATCHED_VISITORS = ("usr-002", "usr-063", "usr-117")


@click.command()
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the project, its DuckDB file and its results in this folder.",
)
def demo(keep: Path | None) -> None:
    """Build the sample project and sync it to a local stand-in for Pendo, twice."""
    with tempfile.TemporaryDirectory(prefix="dbt-pendo-demo-") as scratch, Sandbox() as sandbox:
        # Absolute, for the commands run inside it.
        project = _copy_sample_project((keep or Path(scratch) / "sample_project").absolute())
        load_subscription(sandbox, project / "pendo_subscription.json")
        steps = _Steps(project, sandbox)

        steps.title("Day 1: dbt builds the models, dbt-pendo brings them to Pendo")
        steps.run("dbt", "build", "--quiet")
        steps.run("dbt-pendo", "plan")
        steps.run("dbt-pendo", "sync")
        steps.show_pendo()

        steps.title("Day 2: some rows have changed; only those are sent")
        steps.run("dbt", "build", "--quiet", "--vars", "demo_day: 2")
        sent = len(sandbox.requests)
        steps.run("dbt-pendo", "sync")
        steps.show_requests(sent)
        steps.show_pendo()
        if keep:
            click.echo(f"The project is in {visible(str(keep))}.")


class _Steps:
    """Commands run in the sample project, each shown as one would type it."""

    def __init__(self, project: Path, sandbox: Sandbox) -> None:
        self._project = project
        self._sandbox = sandbox
        self._environment = {
            **os.environ,
            "SAMPLE_DUCKDB_PATH": str(project / "sample.duckdb"),
            "DBT_PROJECT_DIR": str(project),
            "DBT_PROFILES_DIR": str(project),
            "PENDO_API_URL": sandbox.url,
            "PENDO_DATA_URL": sandbox.url,
            "PENDO_INTEGRATION_KEY": sandbox.integration_key,
            "PENDO_TRACK_SECRET": sandbox.track_secrets[""],
        }

    def title(self, text: str) -> None:
        click.secho(f"\n== {text}", bold=True)

    def run(self, program: str, *arguments: str) -> None:
        click.secho(f"\n$ {shlex.join((program, *arguments))}", bold=True)
        entry = {"dbt": "from dbt.cli.main import cli; cli()", "dbt-pendo": "from dbt_pendo.__main__ import run; run()"}
        command = [sys.executable, "-c", entry[program], *arguments]
        status = subprocess.run(command, cwd=self._project, env=self._environment, check=False).returncode  # noqa: S603
        if status:
            raise DbtPendoError(f"{program} {arguments[0]} ended with exit status {status}.")

    def show_requests(self, since: int) -> None:
        """Lists what the last command sent, by path."""
        click.secho("\nRequests of this sync:", bold=True)
        totals: dict[str, tuple[int, int]] = {}
        for request in self._sandbox.requests[since:]:
            calls, records = totals.get(path := f"{request.method} {request.path}", (0, 0))
            totals[path] = (calls + 1, records + (request.records or 0))
        for path, (calls, records) in totals.items():
            click.echo(f"  {path:<48} {calls:>4} calls {records:>6} records")

    def show_pendo(self) -> None:
        """Shows what the sandbox holds now."""
        visitors, accounts = self._sandbox.visitors, self._sandbox.accounts
        written = sum(bool(visitor["custom"]) for visitor in visitors.values())
        click.secho("\nWhat Pendo holds now:", bold=True)
        click.echo(f"  {len(visitors)} visitors ({written} with fields of the warehouse), {len(accounts)} accounts,")
        click.echo(f"  {len(self._sandbox.events)} track events; for example:")
        for visitor_id in WATCHED_VISITORS:
            fields = visitors[visitor_id]["custom"]
            shown = ", ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
            click.echo(f"  visitor {visitor_id}: {shown or 'known to Pendo, not in the warehouse yet'}")


def _copy_sample_project(folder: Path) -> Path:
    """Copies the sample project: the installed one may be read-only."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty.", "Name another folder with --keep.")
    module = Path(dbt_pendo.__file__).resolve().parent
    source = next(place for place in (module / "sample_project", module.parent / "sample_project") if place.is_dir())
    unwanted = shutil.ignore_patterns("target", "logs", "*.duckdb*", ".user.yml")
    return shutil.copytree(source, folder, ignore=unwanted, dirs_exist_ok=True)
