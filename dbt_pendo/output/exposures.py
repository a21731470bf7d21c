"""Prints the exposures of all syncs."""

from __future__ import annotations

from dbt_pendo import __version__
from dbt_pendo.commands.exposures import Lineage
from dbt_pendo.output.terminal import Tag, Terminal
from dbt_pendo.wording import number


def show_exposures(lines: Terminal, lineage: Lineage, check: bool) -> None:
    """Prints the exposure of each sync, and whether the file was written."""
    total = len(lineage.exposures)
    lines.line(f"Running with dbt-pendo={__version__}", event="CommandStarted", data={"version": __version__})
    lines.line(f"Found {number(total, 'sync')} in manifest.json")
    lines.line()
    for index, one in enumerate(lineage.exposures, start=1):
        tag: Tag = "SKIP" if one.left_out else "OK"
        lines.node((index, total), f"{tag} exposure {one.name}", tag, "", "ExposureShown", one.to_dict())
        lines.below(one.left_out or "", "warn")
    lines.line()
    if not lineage.outdated:
        lines.line(f"{lineage.place} is up to date.", "success")
    elif check:
        lines.line(f"{lineage.place} is not up to date. `dbt-pendo exposures` writes it.", "error")
    else:
        lines.line(f"Wrote {lineage.place}. `dbt parse` makes it part of the lineage.", "success")
