"""``dbt-pendo sandbox``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml

from dbt_pendo.errors import ConfigError
from dbt_pendo.visible import visible


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 takes a free one.")
@click.option(
    "--load", type=click.Path(path_type=Path), help="A JSON file of what Pendo has at first: fields, records, segments."
)
@click.option(
    "--switch", "switches", metavar="NAME=VALUE", multiple=True, help="A variant of Pendo's behaviour; may be repeated."
)
@click.option("--switches", "list_switches", is_flag=True, help="List the switches and stop.")
@click.option("--app", "apps", multiple=True, help="A further app with a track secret of its own; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the address and the keys as one JSON document.")
def sandbox(
    port: int, load: Path | None, switches: tuple[str, ...], list_switches: bool, apps: tuple[str, ...], as_json: bool
) -> None:
    """Run a local stand-in for Pendo, to try mappings on.

    It listens on 127.0.0.1 alone, keeps everything in memory, and shows what it holds under /_sandbox/state.
    """
    from dbt_pendo.sandbox import Request, Sandbox, Switches, serve
    from dbt_pendo.sandbox.subscription import load_subscription

    if list_switches:
        click.echo(Switches.__doc__)
        return

    def set_scene(started: Sandbox) -> None:
        if load is not None:
            load_subscription(started, load)
        environment = {
            "PENDO_API_URL": started.url,
            "PENDO_DATA_URL": started.url,
            "PENDO_INTEGRATION_KEY": started.integration_key,
            **{
                f"PENDO_TRACK_SECRET{f'_{app.upper()}' if app else ''}": secret
                for app, secret in started.track_secrets.items()
            },
        }
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

    serve(port, Switches().with_changes(_parse(switches)), show, apps=apps, on_start=set_scene)


def _parse(switches: tuple[str, ...]) -> dict[str, Any]:
    """Reads ``name=value`` pairs; values are YAML, so that ``true``, ``3`` and ``null`` are what they say."""
    values = {}
    for switch in switches:
        name, separator, value = switch.partition("=")
        if not separator:
            raise ConfigError(f"--switch {switch}: expected NAME=VALUE.")
        values[name.strip()] = yaml.safe_load(value)
    return values
