"""``dbt-pendo report``."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbt_pendo.cli.options import connection_options, output_options, read_invocation, run_with_lines, settings_options

if TYPE_CHECKING:
    from dbt_pendo.output.terminal import Terminal


@click.command()
@connection_options
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it. Default: pendo_report.html in dbt's target folder.",
)
@click.option("--runs", metavar="N", type=click.IntRange(min=1), default=50, help="How many runs. Default: 50.")
@settings_options
@output_options
def report(output: Path | None, runs: int, **flags: Any) -> None:
    """Write past runs, rows that were not delivered and calls to Pendo as one HTML file."""

    def run(lines: Terminal) -> int:
        from dbt_pendo.history.report import review
        from dbt_pendo.history.runs import open_run_log
        from dbt_pendo.output.documents import document, report_entry
        from dbt_pendo.output.report import REPORT_FILE, page, show_report, write_page

        invocation = read_invocation(flags)
        with open_run_log(invocation.connection, invocation.settings, invocation.target_path) as log:
            found = review(log, invocation.project_dir.name, invocation.settings.mask, runs)
        path = output or invocation.target_path / REPORT_FILE
        write_page(page(found, datetime.datetime.now(datetime.timezone.utc), invocation.settings.secrets), path)
        show_report(lines, found, path)
        lines.document(document([report_entry(found, path)]))
        return 0

    run_with_lines(run, flags)
