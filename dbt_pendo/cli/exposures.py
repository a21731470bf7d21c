"""``dbt-pendo exposures``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbt_pendo.cli.options import connection_options, lineage_options, output_options, read_invocation, run_with_lines

if TYPE_CHECKING:
    from dbt_pendo.output.terminal import Terminal


@click.command()
@connection_options
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The file to write. Default: pendo_exposures.yml in the first of the project's model-paths.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the file is not up to date.")
@lineage_options
@output_options
def exposures(output: Path | None, check: bool, **flags: Any) -> None:
    """Write dbt exposures of all syncs, so that dbt's lineage shows Pendo.

    Reads the manifest alone, and writes a file of its own.
    """

    def run(lines: Terminal) -> int:
        from dbt_pendo.commands.exposures import FILE_NAME, write_exposures
        from dbt_pendo.output.documents import document, exposure_entry
        from dbt_pendo.output.exposures import show_exposures

        invocation = read_invocation(flags)
        file = output or invocation.models_path / FILE_NAME
        lineage = write_exposures(invocation.project_dir, invocation.target_path, file, invocation.settings, check)
        show_exposures(lines, lineage, check)
        status = ("outdated" if check else "written") if lineage.outdated else "unchanged"
        lines.document(document(map(exposure_entry, lineage.exposures), file=lineage.place, status=status))
        return int(check and lineage.outdated)

    run_with_lines(run, flags)
