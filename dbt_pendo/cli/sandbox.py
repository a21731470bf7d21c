"""The local stand-in for Pendo (`sandbox`), and the sample project run against it (`demo`)."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

import dbt_pendo
from dbt_pendo.cli.help import Command
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.output.layout import NARROWEST, broken
from dbt_pendo.sandbox import Request, Sandbox, Switches, load_subscription, serve
from dbt_pendo.wording import listing, number, visible

# A visitor who upgrades between the two days, one whose plan ends, and one who never logged in to the product.
WATCHED_VISITORS = ("usr-002", "usr-063", "usr-117")
WATCHED_FIELDS = ("name", "plan", "mrr", "lastlogin")
# The one setting of the user's that counts for the demo, too.
KEPT = ("DBT_PENDO_CACHE",)
# What the words of a sync's line mean here.
MEANINGS = {
    "invalid": "rows without an id or a time, of anonymous visitors, or with an id that occurs twice. They are bad on "
    "purpose here. No sync sends such rows; correct them in dbt.",
    "missing": "people who were invited and have never logged in. Pendo does not know them yet, so a sync tries them "
    "again once a day.",
    "held": "those that were missing on day 1; their next try is a day later. The rest is as on day 1.",
}

# What the sample project needs where Pendo documents nothing: a sync has a batch_size of events, and rows have nulls.
DEMO = Switches(event_arrays="atomic", null="clear", events_create_accounts=False)


@click.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 takes a free one.")
@click.option(
    "--load", type=click.Path(path_type=Path), help="A JSON file of what Pendo has at first: fields, records, segments."
)
@click.option(
    "--switch", "switches", metavar="NAME=VALUE", multiple=True, help="A variant of Pendo's behaviour; may be repeated."
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    help="Behave like the Pendo of whose answers `dbt-pendo probe` wrote this file; --switch goes before it.",
)
@click.option("--switches", "list_switches", is_flag=True, help="List the switches with their values, and stop.")
@click.option("--app", "apps", multiple=True, help="A further app with a track secret of its own; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the address and the keys as one JSON document.")
def sandbox(
    port: int,
    load: Path | None,
    switches: tuple[str, ...],
    like: Path | None,
    list_switches: bool,
    apps: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a local stand-in for Pendo, to try mappings on.

    It listens on 127.0.0.1 alone, keeps everything in memory, and shows what it holds under /_sandbox/state.
    """
    if list_switches:
        _show_switches(as_json)
        return

    def start(started: Sandbox) -> None:
        if load is not None:
            load_subscription(started, load)
        environment = _environment(started)
        if as_json:
            click.echo(json.dumps({"url": started.url, "environment": environment}))
            return
        click.echo(f"A stand-in for Pendo listens on {started.url}; Ctrl-C ends it. In another terminal:\n")
        for name, value in environment.items():
            click.echo(f"export {name}={value}")
        click.echo(f"\nWhat it holds: {started.url}/_sandbox/state\n")

    def show(request: Request) -> None:
        if not as_json:
            status = request.status or request.fault
            said = f"{request.method} {request.path} {request.records or ''} -> {status}"
            click.echo(visible(said.replace("  ", " ")))

    chosen = (Switches() if like is None else _read_probe(like)).with_changes(_read_switches(switches))
    serve(port, chosen, show, apps=apps, on_start=start)


@click.command(cls=Command)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the project, its DuckDB file and its results in this folder.",
)
def demo(keep: Path | None) -> None:
    """Build the sample project and sync it to a local stand-in for Pendo, twice."""
    with tempfile.TemporaryDirectory(prefix="dbt-pendo-demo-") as scratch, Sandbox(switches=DEMO) as pendo:
        # Absolute, for the commands run inside it.
        project = _copy_sample_project((keep or Path(scratch) / "sample_project").absolute())
        load_subscription(pendo, project / "pendo_subscription.json")

        _title("Day 1: dbt builds the models, dbt-pendo brings them to Pendo")
        _run(project, pendo, "dbt", "build", "--quiet")
        _run(project, pendo, "dbt-pendo", "plan")
        _run(project, pendo, "dbt-pendo", "sync")
        _explain(project, "invalid", "missing")
        _show_pendo(pendo)
        _next("the second sync below. Most rows are unchanged, so it sends few.")

        _title("Day 2: some rows have changed; only those are sent")
        _run(project, pendo, "dbt", "build", "--quiet", "--vars", "demo_day: 2")
        sent = len(pendo.requests)
        _run(project, pendo, "dbt-pendo", "sync")
        _explain(project, "held")
        _show_requests(pendo.requests[sent:])
        _show_pendo(pendo)
        if keep is None:
            _next(
                "each row that was not delivered, and why. This project is deleted now;\n"
                "  `dbt-pendo demo --keep demo` keeps it, and says how to look around in it."
            )
        else:
            schema = _results(project)["metadata"]["schema"]
            command = f"cd {shlex.quote(str(keep))} && DBT_PENDO_SCHEMA={schema} dbt-pendo show --rows"
            _next(f"each row that was not delivered, and why:\n  {visible(command)}")


def _environment(started: Sandbox) -> dict[str, str]:
    """Returns the variables that make a client use a sandbox."""
    return {
        "PENDO_API_URL": started.url,
        "PENDO_DATA_URL": started.url,
        "PENDO_INTEGRATION_KEY": started.integration_key,
        **{f"PENDO_TRACK_SECRET_{app.upper()}".rstrip("_"): key for app, key in started.track_secrets.items()},
    }


def _read_switches(switches: tuple[str, ...]) -> dict[str, Any]:
    """Reads ``name=value`` pairs; values are YAML, so that ``true``, ``3`` and ``null`` have their types."""
    values = {}
    for switch in switches:
        name, separator, value = switch.partition("=")
        if not separator:
            raise ConfigError(f"--switch {switch}: expected NAME=VALUE.")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--switch {switch}: the value is no YAML.", "Quote a text: NAME='\"…\"'.") from None
    return values


def _read_probe(path: Path) -> Switches:
    """Returns switches set to the answers of a probe, and tells those that stay at their defaults.

    Raises:
        ConfigError: If the file is none of a probe's.
    """
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))["answers"].items()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path} has no answers of a probe.", "Write it with `dbt-pendo probe`.") from None
    switches, left = Switches(), []
    known = {one["switch"] for one in Switches.described()}
    for name, value in answers:
        try:
            switches = switches.with_changes({name: value})
        except ConfigError:
            left.append(f"{name} ({value})" if name in known else f"{name} (no switch)")
    click.echo(
        visible(f"{path}: took {number(len(answers) - len(left), 'answer')}; left: {', '.join(left) or 'none'}."),
        err=True,
    )
    return switches


def _show_switches(as_json: bool) -> None:
    """Lists the switches, with the value of each as `--switch` takes it."""
    if as_json:
        click.echo(json.dumps(Switches.described()))
        return
    table = Table(box=None, pad_edge=False)
    for name, kept in (("switch", True), ("default", True), ("values", False), ("meaning", False)):
        table.add_column(name, no_wrap=kept)
    for one in Switches.described():
        table.add_row(one["switch"], json.dumps(one["default"]), one["values"], one["meaning"])
    Console(width=max(140, shutil.get_terminal_size().columns), markup=False, highlight=False).print(table)


def _title(text: str) -> None:
    click.secho(f"\n== {text}", bold=True)


def _run(project: Path, pendo: Sandbox, program: str, *arguments: str) -> None:
    """Runs a command in the sample project, and shows it as one would type it."""
    click.secho(f"\n$ {shlex.join((program, *arguments))}", bold=True)
    entry = {"dbt": "from dbt.cli.main import cli; cli()", "dbt-pendo": "from dbt_pendo.__main__ import run; run()"}
    command = [sys.executable, "-c", entry[program], *arguments]
    environment = {
        # Without settings that are meant for other projects.
        **{
            name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PENDO_")) or name in KEPT
        },
        "SAMPLE_DUCKDB_PATH": str(project / "sample.duckdb"),
        "DBT_PROJECT_DIR": str(project),
        "DBT_PROFILES_DIR": str(project),
        **_environment(pendo),
    }
    status = subprocess.run(command, cwd=project, env=environment, check=False).returncode  # noqa: S603
    if status:
        raise DbtPendoError(f"{program} {arguments[0]} ended with exit status {status}.")


def _results(project: Path) -> dict[str, Any]:
    """Returns the results of the last sync."""
    return dict(json.loads((project / "target" / "pendo_results.json").read_text(encoding="utf-8")))


def _explain(project: Path, *words: str) -> None:
    """Says in plain words what the lines of the last sync mean: OK and WARN, and some words beside counts."""
    results = _results(project)["results"]
    said = []
    if clean := [result["sync"] for result in results if result["status"] == "success"]:
        said.append(f"OK: Pendo has every row of {listing(clean)}.")
    if warned := [result["sync"] for result in results if result["status"] == "warn"]:
        said.append(f"WARN: some rows of {listing(warned)} were not delivered. All others were.")
    for word in words:
        rows = {result["sync"]: {**result, **result["planned"]}[word] for result in results}
        if where := [f"{count} of {sync}" for sync, count in rows.items() if count]:
            said.append(f"{word} ({listing(where)}): {MEANINGS[word]}")
    click.secho("\nWhat that means:", bold=True)
    for one in said:
        click.echo(broken(Text(f"  {one}"), NARROWEST, 4).plain)


def _next(text: str) -> None:
    click.secho("\nLook next at: ", bold=True, nl=False)
    click.echo(text)


def _show_requests(requests: list[Request]) -> None:
    """Shows requests, counted by path."""
    click.secho("\nRequests of this sync:", bold=True)
    calls, records = Counter[str](), Counter[str]()
    for request in requests:
        path = f"{request.method} {request.path}"
        calls[path] += 1
        records[path] += request.records or 0
    for path, count in calls.items():
        click.echo(f"  {path:<48} {number(count, 'call'):>9} {number(records[path], 'record'):>12}")


def _show_pendo(pendo: Sandbox) -> None:
    """Shows what the sandbox holds now."""
    visitors = pendo.visitors
    written = sum(bool(visitor["custom"]) for visitor in visitors.values())
    click.secho("\nWhat Pendo holds now:", bold=True)
    click.echo(f"  {len(visitors)} visitors ({written} with fields of the warehouse), {len(pendo.accounts)} accounts,")
    click.echo(f"  {len(pendo.events)} track events; for example:")
    for visitor_id in WATCHED_VISITORS:
        fields = visitors[visitor_id]["custom"]
        shown = ", ".join(f"{name}={_value(fields[name])}" for name in WATCHED_FIELDS if fields.get(name) is not None)
        click.echo(f"  visitor {visitor_id}: {shown or 'known to Pendo, not in the warehouse yet'}")


def _value(value: Any) -> str:
    """Returns a value of a field as people read it; Pendo has times as milliseconds, and no other integers here."""
    if isinstance(value, int):
        return f"{datetime.fromtimestamp(value / 1000, timezone.utc):%Y-%m-%d}"
    return str(value)


def _copy_sample_project(folder: Path) -> Path:
    """Copies the sample project: the installed one may be read-only."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty.", "Name another folder with --keep.")
    module = Path(dbt_pendo.__file__).resolve().parent
    source = next(place for place in (module / "sample_project", module.parent / "sample_project") if place.is_dir())
    unwanted = shutil.ignore_patterns("target", "logs", "*.duckdb*", ".user.yml")
    return shutil.copytree(source, folder, ignore=unwanted, dirs_exist_ok=True)
