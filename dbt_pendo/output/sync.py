"""Prints a run as it goes, and its summary; in a GitHub job also as annotations and a step summary."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID

from dbt_pendo import __version__
from dbt_pendo.commands.context import Context
from dbt_pendo.commands.select import Selected, target_doubts
from dbt_pendo.delivery.results import RunResults, SyncResult, outcome_counts, said_counts
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.output.terminal import STYLES, Data, Level, Place, Tag, Terminal
from dbt_pendo.project.artifacts import BUILT, LastRun
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import LoggedSync
from dbt_pendo.wording import counts, number, visible

# Seconds between two lines about a sync under way, where there is no progress bar.
PROGRESS_EVERY = 30.0
# How bad it is what a note is about.
NOTE_LEVELS: Mapping[str, Level] = {"error": "error", "rejected": "error", "invalid": "warn", "missing": "warn"}
# Why a sync may run, where that needs no words.
_USUAL = re.compile(r"built by `dbt [\w-]+`")


def show_found(lines: Terminal, selected: Selected, is_published: bool = False) -> None:
    """Prints which syncs a command is about; that no published build waits for one is the normal case."""
    if is_published and not selected.syncs:
        lines.line(f"Nothing to do: no build in {selected.origin} waits to be synced.", event="NothingToDo")
        return
    lines.line(f"Running with dbt-pendo={__version__}", event="CommandStarted", data={"version": __version__})
    for unmatched in selected.unmatched:
        lines.line(unmatched if unmatched.endswith("?") else f"{unmatched}.", "warn", event="NothingMatches")
    if not selected.names:
        lines.line("Nothing to do: the selection holds no enabled sync.", "warn", event="NothingToDo")
        return
    syncs = selected.names
    text = f"Found {number(len(syncs), 'sync')} in {selected.origin}"
    lines.line(text, event="SyncsFound", data={"syncs": syncs, "origin": selected.origin})
    if why := selected.last_run.unreliable_because:
        lines.line(f"Tables are taken as they are: {why}.", "warn", "ProtectionOff", {"reason": why})
        lines.line("Failed models and tests hold nothing back now. Run `dbt build` right before dbt-pendo.", "warn")
    lines.line()


def show_opened(lines: Terminal, context: Context) -> None:
    """Prints the two ends of a command, as dbt does with its own; and what speaks against the one where rows are."""
    ends = context.ends
    requests = number(context.settings.concurrency, "request")
    lines.line(
        f"Concurrency: {requests} (target='{ends.target}', schema='{ends.schema}')", event="Opened", data=ends.to_dict()
    )
    lines.line(f"Pendo: {ends.pendo}")
    for doubt in target_doubts(context.selected, context.session):
        lines.line(doubt, "warn")
    lines.line()


@dataclass(slots=True)
class _UnderWay:
    """A sync under way."""

    place: Place
    spec: SyncSpec
    began: float
    # Rows to send; None until they are known.
    to_send: int | None = None
    judged: int = 0
    bar: TaskID | None = None


class SyncView:
    """Prints a run as it goes, with a progress bar a sync where there are bars: an ``Observer`` for several threads."""

    def __init__(self, lines: Terminal, bars: Progress | None = None) -> None:
        self._lines = lines
        self._bars = bars
        # By the names of the syncs.
        self._under_way: dict[str, _UnderWay] = {}
        # The syncs that messages about keys and mappings were first printed for.
        self._told: dict[str, str] = {}
        # The lines of one sync stand together.
        self._printing = threading.Lock()

    @contextlib.contextmanager
    def telling(self) -> Iterator[SyncView]:
        """Says from time to time, inside the block, how far each sync under way is; a bar does so all the time."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(PROGRESS_EVERY):
                self._tell_progress()

        teller = threading.Thread(target=tell, name="dbt-pendo-progress", daemon=True)
        teller.start()
        try:
            yield self
        finally:
            over.set()
            teller.join()

    def _tell_progress(self) -> None:
        with self._printing:
            for one in self._under_way.values() if self._bars is None else ():
                rows = "planning" if one.to_send is None else f"{one.judged:,} of {number(one.to_send, 'row')}"
                elapsed = time.monotonic() - one.began
                name, done = one.spec.name, {"judged": one.judged, "to_send": one.to_send}
                about = {"sync": name, **done, "elapsed": round(elapsed, 3)}
                text = f"RUN sync {one.spec.object} {name}"
                self._lines.node(one.place, text, "RUN", f"{rows}, {elapsed:.0f}s", "SyncProgressed", about)

    def sync_started(self, index: int, total: int, spec: SyncSpec, reason: str) -> None:
        """Announces a sync, and why it may run."""
        # What follows a colon holds for all syncs, and stands above them.
        why = reason.partition(":")[0]
        text, about = f"START sync {spec.object} {spec.name}", {"sync": spec.name, "reason": reason}
        with self._printing:
            self._lines.node((index, total), text, "RUN", "", "SyncStarted", about)
            self._lines.below("" if _USUAL.fullmatch(why) else why)
            self._under_way[spec.name] = _UnderWay((index, total), spec, time.monotonic())

    def sync_planned(self, spec: SyncSpec, planned: Planned) -> None:
        """Starts the progress bar."""
        if (one := self._under_way.get(spec.name)) is None:
            return
        one.to_send = planned.to_send
        if self._bars is not None and planned.to_send:
            one.bar = self._bars.add_task(visible(spec.name), total=planned.to_send)

    def sync_progressed(self, spec: SyncSpec, rows: int) -> None:
        """Moves the progress bar."""
        if (one := self._under_way.get(spec.name)) is None:
            return
        one.judged += rows
        if self._bars is not None and one.bar is not None:
            self._bars.advance(one.bar, rows)

    def sync_finished(self, index: int, total: int, result: SyncResult) -> None:
        """Prints a sync's line, and what went wrong below it."""
        tag = tag_of(result)
        verb = {"OK": "OK synced", "WARN": "WARN synced", "SKIP": "SKIP", "ERROR": "ERROR syncing"}[tag]
        text = f"{verb} {result.object} {result.sync}"
        with self._printing:
            one = self._under_way.pop(result.sync, None)
            if self._bars is not None and one is not None and one.bar is not None:
                self._bars.remove_task(one.bar)
            self._lines.node((index, total), text, tag, summary(result), "SyncFinished", {"result": result.to_dict()})
            message = result.message
            if message and result.misconfigured and self._told.setdefault(message, result.sync) != result.sync:
                self._lines.below(f"The same as for {self._told[message]}.", "error")
            else:
                show_notes(self._lines, result)
            self._lines.below(held_note(result.planned))


def held_note(planned: Planned) -> str:
    """Returns what the held rows of a sync are; empty if there are none."""
    return f"{planned.held:,} held: tried before, and not due yet" if planned.held else ""


def show_notes(lines: Terminal, result: SyncResult) -> None:
    """Prints what a sync has to say, below its line."""
    other: Level = "warn" if result.status == "skipped" else "info"
    # An error is told in a line, and what to do in the next; other notes follow.
    errors = [note for note in result.notes if note.kind in ("error", "hint")]
    for note in errors:
        lines.below(note.text, NOTE_LEVELS.get(note.kind, other))
    if errors:
        lines.link_below("\n".join(note.text for note in errors))
    for note in result.notes:
        if note.kind not in ("error", "hint"):
            lines.below(note.text, NOTE_LEVELS.get(note.kind, other))


def show_results(lines: Terminal, run: RunResults, built: LastRun | None = None) -> None:
    """Prints the summary of a run, and what to look at next.

    Args:
        lines: Where to.
        run: What the syncs did.
        built: What dbt did just before, where that was part of the command.
    """
    if run.unwritten is not None:
        lines.error(run.unwritten, "ResultsNotWritten")
    if not run.results:
        return
    tags = [tag_of(result) for result in run.results]
    delivered = sum(result.delivered for result in run.results)
    requests = sum(result.traffic.requests for result in run.results)
    lines.line()
    lines.line(f"Delivered {number(delivered, 'row')} in {number(requests, 'request')} and {run.elapsed:.2f}s.")
    if "ERROR" in tags:
        lines.line("Completed with errors. What was not delivered comes again with the next run.", "error")
    elif run.unwritten is not None:
        lines.line("Completed, but its results could not be written.", "error")
    elif run.has_warnings:
        lines.line("Completed with warnings.", "warn")
    else:
        lines.line("Completed successfully", "success")
    lines.line()
    if built is not None:
        _show_totals(lines, "Done. dbt: ", [_dbt_tag(status) for status in built.statuses.values()])
    data = {"run_id": run.run_id, "elapsed": round(run.elapsed, 3)}
    _show_totals(lines, f"Done. {'Pendo: ' if built else ''}", tags, "RunFinished", data)
    for note in run.notes:
        lines.line(note, "warn")
    if any(result.missing or result.rejected or result.planned.invalid for result in run.results):
        lines.line()
        name = run.run_id.rpartition("-")[2]
        lines.line(f"`dbt-pendo show {name} --rows` lists the rows that were not delivered, and their requests.")


def tag_of(result: SyncResult | LoggedSync) -> Tag:
    """Returns what a sync is counted as, in dbt's words."""
    if result.status == "skipped":
        return "SKIP"
    if result.status not in ("success", "warn"):
        return "ERROR"
    # By the rows, for earlier versions had one word for both.
    return "WARN" if result.missing or result.planned.invalid else "OK"


def summary(result: SyncResult | LoggedSync) -> str:
    """Returns what a sync did, as it stands in brackets at the end of its line."""
    if result.status == "skipped":
        return "SKIP"
    status = f"{result.status.upper()}, " if result.status in ("error", "blocked", "interrupted") else ""
    return f"{status}{counts(said_counts(result), always='delivered')} in {result.duration:.2f}s"


def _dbt_tag(status: str) -> Tag:
    """Returns what dbt itself counts a node as."""
    if status not in BUILT:
        return "SKIP" if status == "skipped" else "ERROR"
    return "WARN" if status == "warn" else "OK"


def _show_totals(lines: Terminal, start: str, tags: Sequence[Tag], event: str = "Note", data: Data = None) -> None:
    totals = f"{' '.join(f'{tag}={tags.count(tag)}' for tag in ('OK', 'WARN', 'ERROR', 'SKIP'))} TOTAL={len(tags)}"
    worst: Tag = "ERROR" if "ERROR" in tags else "WARN" if {"WARN", "SKIP"} & set(tags) else "OK"
    lines.line(start, event=event, data=data, note=totals, note_style=STYLES[worst])


ICONS = {"OK": "✅", "WARN": "⚠️", "ERROR": "❌", "SKIP": "⏭️"}
# Characters that mean something in a cell of a Markdown table, or in HTML.
_ESCAPES = str.maketrans(
    {**{character: f"\\{character}" for character in "\\`*_{}[]#|~"}, "<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_ADDRESSES = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)


def write_step_summary(run: RunResults) -> None:
    """Appends a Markdown table of a run and the notes of its syncs to the summary of GitHub's step, if there is one."""
    path, ends = os.environ.get("GITHUB_STEP_SUMMARY"), run.ends
    # Without syncs there are no ends.
    if not path or ends is None:
        return
    lines = [
        "### dbt-pendo",
        "",
        "| | sync | object | status | delivered | missing | rejected | invalid | held | seconds |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *map(_row, run.results),
        "",
        *(f"- **{_escaped(result.sync)}**: {_escaped(note.text)}" for result in run.results for note in result.notes),
        "",
        f"Target {_escaped(ends.target)}, schema {_escaped(ends.schema)}, Pendo {_escaped(str(ends.pendo))}.\n",
        f"Run `{run.run_id}`, {run.elapsed:.1f} s. `dbt-pendo show {run.run_id} --rows` lists what was not delivered.",
    ]
    with contextlib.suppress(OSError), Path(path).open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n\n")


def _row(result: SyncResult) -> str:
    names = (ICONS[tag_of(result)], _escaped(result.sync), _escaped(result.object), result.status)
    counts = (f"{count:,}" for count in outcome_counts(result).values())
    return f"| {' | '.join((*names, *counts, f'{result.duration:.1f}'))} |"


def _escaped(text: str) -> str:
    """Returns a text that is neither Markdown nor HTML, and no address that becomes a link."""
    return _ADDRESSES.sub(r"\\\g<0>", visible(text).translate(_ESCAPES))
