"""``dbt-pendo init``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbt_pendo.cli.options import connection_options, output_options, read_invocation, run_with_lines, settings_options
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.objects import OBJECTS

if TYPE_CHECKING:
    from dbt_pendo.mapping.spec import Object
    from dbt_pendo.output.terminal import Terminal
    from dbt_pendo.project.manifest import ModelDescription


@click.command()
@click.argument("model")
@connection_options
@click.option("--object", "object_", type=click.Choice(tuple(OBJECTS)), help="What the rows become. Default: a guess.")
@click.option(
    "--output", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Write to a new file instead of printing."
)
@settings_options
@output_options
def init(model: str, object_: Object | None, output: Path | None, **flags: Any) -> None:
    """Print a starter mapping for MODEL, with comments where it guesses.

    Reads the model's columns and its primary key, and Pendo's fields if the integration key is set.
    """

    def run(lines: Terminal) -> int:
        from dbt_pendo.commands.init import as_yaml, start_mapping
        from dbt_pendo.output.documents import document, starter_entry
        from dbt_pendo.output.streams import lost_output
        from dbt_pendo.project.manifest import find_model

        invocation = read_invocation(flags)
        described = find_model(invocation.target_path, model)
        starter = start_mapping(described, invocation.connection, invocation.settings, object_)
        text = as_yaml(starter)
        entry = starter_entry(starter, text, output)
        if output is None:
            lines.text(text, "MappingStarted", entry)
        else:
            _write(output, text, described)
            said = f"Wrote {output}. Read it through, then `dbt parse` and `dbt-pendo check`."
            lines.line(said, "success", "MappingStarted", entry)
        lines.document(document([entry]))
        return int(output is None and lost_output(is_silent_about_readers=True))

    run_with_lines(run, flags)


def _write(output: Path, text: str, described: ModelDescription) -> None:
    if described.entry is not None:
        raise ConfigError(
            f"{described.entry} has an entry of {described.model.name} already, and dbt takes one a model.",
            "Print the mapping without --output, and paste it there.",
        )
    if output.exists():
        raise ConfigError(f"{output} exists, and is left as it is.", "Name another file.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}.") from None
