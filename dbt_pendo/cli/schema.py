"""``dbt-pendo schema``."""

from __future__ import annotations

import json
import sys

import click

from dbt_pendo.mapping.keys import json_schema
from dbt_pendo.output.streams import lost_output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The same: the schema is JSON already.")
def schema(as_json: bool) -> None:
    """Print the JSON Schema of `meta.pendo`, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
    # There is nothing else to it.
    if lost_output(is_silent_about_readers=True):
        sys.exit(1)
