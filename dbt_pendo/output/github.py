"""The summary of a run on the page of a GitHub Actions job."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from dbt_pendo.delivery.results import RunResults, SyncResult, outcome_counts
from dbt_pendo.output.sync import tag_of
from dbt_pendo.visible import visible

# GitHub names the file a step may write Markdown to.
VARIABLE = "GITHUB_STEP_SUMMARY"
ICONS = {"OK": "✅", "WARN": "⚠️", "ERROR": "❌", "SKIP": "⏭️"}
# Characters that mean something in a cell of a Markdown table, or in HTML.
_ESCAPES = str.maketrans(
    {**{character: f"\\{character}" for character in "\\`*_{}[]#|~"}, "<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_ADDRESSES = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)


def write_step_summary(run: RunResults) -> None:
    """Appends a run to the summary of the step, where this is one; a summary that cannot be written is none."""
    path = os.environ.get(VARIABLE)
    if not path or not run.results:
        return
    with contextlib.suppress(OSError), Path(path).open("a", encoding="utf-8") as file:
        file.write(step_summary(run))


def step_summary(run: RunResults) -> str:
    """Returns a run as a Markdown table, and below it what there is to say about its syncs."""
    lines = [
        "### dbt-pendo",
        "",
        "| | sync | object | status | delivered | missing | rejected | invalid | held | seconds |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *map(_row, run.results),
        "",
        *(f"- **{_escaped(result.sync)}**: {_escaped(note.text)}" for result in run.results for note in result.notes),
        "",
        f"Run `{run.run_id}`, {run.elapsed:.1f} s. `dbt-pendo show {run.run_id}` has the rows that were not delivered.",
    ]
    return "\n".join(lines) + "\n\n"


def _row(result: SyncResult) -> str:
    names = (ICONS[tag_of(result)], _escaped(result.sync), _escaped(result.object), result.status)
    counts = (f"{count:,}" for count in outcome_counts(result).values())
    return f"| {' | '.join((*names, *counts, f'{result.duration:.1f}'))} |"


def _escaped(text: str) -> str:
    """Returns a text that is neither Markdown nor HTML, and no address that becomes a link."""
    return _ADDRESSES.sub(r"\\\g<0>", visible(text).translate(_ESCAPES))
