"""dbt's manner of speaking: a line a node, aligned and quiet, a summary with what to do next."""

from __future__ import annotations

import contextlib
import datetime
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dbt_pendo import __version__
from dbt_pendo.console.documents import error_document
from dbt_pendo.engine.fields import USABLE, MatchedField, SyncFields, UnmappedField
from dbt_pendo.engine.gather import Gathered
from dbt_pendo.engine.preview import PreviewedRequest
from dbt_pendo.engine.results import RunResults, SyncResult
from dbt_pendo.engine.run import Checked, Reset, Unlocked
from dbt_pendo.engine.verify import Verified
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.pendo.metadata import SchemaField
from dbt_pendo.project.run_results import BUILT, LastRun
from dbt_pendo.spec.sync import Column, SyncSpec
from dbt_pendo.warehouse.pages import Planned

LINE_WIDTH = 72
STYLES = {"OK": "green", "WARN": "yellow", "ERROR": "red", "SKIP": "yellow", "RUN": ""}


class Terminal:
    """What people, logs and scripts see of a command.

    Args:
        as_json: Print one JSON document on stdout and nothing else; errors go to stderr as well.
        quiet: Print errors only.
        json_lines: Print each line as a JSON object in the shape of dbt's.
        colors: Whether to use colours; None decides by the terminal.
    """

    def __init__(self, as_json: bool, quiet: bool, json_lines: bool, colors: bool | None) -> None:
        self.as_json = as_json
        self._silent = quiet or as_json
        self._json_lines = json_lines
        self._console = Console(
            highlight=False,
            emoji=False,
            soft_wrap=True,
            no_color=colors is False,
            force_terminal=True if colors else None,
        )
        self._errors = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True, no_color=colors is False)
        self._bars: Progress | None = None
        self._bar: TaskID | None = None

    def found(self, gathered: Gathered) -> None:
        """Says what a command is about."""
        self._line(f"Running with dbt-pendo={__version__}")
        if not gathered.syncs:
            self._line("Nothing to do: the selection holds no enabled sync.", "warn")
            return
        self._line(f"Found {_number(len(gathered.syncs), 'sync')} in {gathered.origin}")
        if doubt := gathered.last_run.doubt:
            self._line(f"Tables are taken as they are: {doubt}.")
        self._line("")

    def built_nothing(self) -> None:
        """Says that dbt found nothing to build, and so there is nothing to sync."""
        self._line("`dbt build` built nothing; nothing was synced.", "warn")

    # What a run tells: engine.observer.Observer.

    def sync_started(self, index: int, total: int, spec: SyncSpec, reason: str) -> None:
        """Announces a sync, and why it may run."""
        about = {"sync": spec.name, "reason": reason}
        # What follows a colon holds for all syncs, and was said above them.
        note = f"RUN, {reason.partition(':')[0]}"
        self._node(index, total, f"START sync {spec.object} {spec.name}", "RUN", note, about)

    def sync_planned(self, spec: SyncSpec, planned: Planned) -> None:
        """Starts the progress bar."""
        if self._bars is not None and planned.to_send:
            self._bar = self._bars.add_task(spec.name, total=planned.to_send)

    def sync_progressed(self, spec: SyncSpec, rows: int) -> None:
        """Moves the progress bar."""
        if self._bars is not None and self._bar is not None:
            self._bars.advance(self._bar, rows)

    def sync_finished(self, index: int, total: int, result: SyncResult) -> None:
        """Prints a sync's line, and what went wrong below it."""
        if self._bars is not None and self._bar is not None:
            self._bars.remove_task(self._bar)
            self._bar = None
        tag = _tag_of(result)
        verb = {"OK": "OK synced", "WARN": "WARN synced", "SKIP": "SKIP", "ERROR": "ERROR syncing"}[tag]
        level = {"OK": "info", "SKIP": "warn", "WARN": "warn", "ERROR": "error"}[tag]
        self._node(
            index,
            total,
            f"{verb} {result.object} {result.sync}",
            tag,
            _summary(result),
            {"result": result.to_dict()},
            level,
        )
        if result.message:
            for line in result.message.splitlines():
                self._line(f"    {line}", level)

    @contextlib.contextmanager
    def progress(self) -> Iterator[None]:
        """Shows progress bars inside the block, on a terminal only."""
        # Not the console's own opinion: --use-colors makes it take a file for a terminal.
        if self._silent or self._json_lines or not sys.stdout.isatty():
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as self._bars:
            yield
        self._bars = None

    # Ends of commands.

    def show_results(self, run: RunResults, built: LastRun | None = None) -> None:
        """Prints the summary of a run, and what to look at next.

        Args:
            run: What the syncs did.
            built: What dbt did just before, where that was part of the command.
        """
        if not run.results:
            return
        tags = [_tag_of(result) for result in run.results]
        delivered = sum(result.delivered for result in run.results)
        requests = sum(result.traffic.requests for result in run.results)
        self._line("")
        self._line(f"Delivered {_number(delivered, 'row')} in {_number(requests, 'request')} and {run.elapsed:.2f}s.")
        if "ERROR" in tags:
            self._line("Completed with errors. What was not delivered comes again with the next run.", "error")
        elif run.has_warnings:
            self._line("Completed with warnings.", "warn")
        else:
            self._line("Completed successfully", "success")
        self._line("")
        if built is not None:
            self._line(f"Done. dbt: {_counts([_dbt_tag(status) for status in built.statuses.values()])}")
        self._line(f"Done. {'Pendo: ' if built else ''}{_counts(tags)}")
        for note in run.notes:
            self._line(note, "warn")
        if troubled := next((result for result in run.results if _has_failed_rows(result)), None):
            self._line("")
            self._line("Each row's story is in its sync's ledger, for example:")
            self._line(f"  select record_key, status, detail from {troubled.ledger}")
            self._line("  where status in ('missing', 'rejected', 'invalid') order by logged_at desc")

    def show_plan(self, planned: Sequence[Checked]) -> None:
        """Prints what each sync would do."""
        for index, one in enumerate(planned, start=1):
            tag = "ERROR" if one.error else "OK"
            text = f"{'ERROR planning' if one.error else 'PLAN'} {one.spec.object} {one.spec.name}"
            note = "" if one.error else _planned(one.planned)
            level = "error" if one.error else "info"
            self._node(index, len(planned), text, tag, note, {"sync": one.spec.name}, level)
            for line in str(one.error or "").splitlines():
                self._line(f"    {line}", "error")
            if one.note:
                self._line(f"    {one.note}", "warn")
            self._findings(one)
            for request in one.requests:
                self._body(request)
        self._line("")
        if not planned:
            return
        if any(one.error for one in planned):
            self._line("Nothing was sent. Fix what is wrong above, then plan again.", "error")
        else:
            self._line("Nothing was sent. `dbt-pendo sync` does it.")

    def show_checks(self, checked: Sequence[Checked]) -> None:
        """Prints what was found about each mapping."""
        for index, one in enumerate(checked, start=1):
            tag = "ERROR" if one.error else "WARN" if one.warnings else "OK"
            level = {"OK": "info", "WARN": "warn", "ERROR": "error"}[tag]
            text = f"{tag} {one.spec.object} {one.spec.name}"
            self._node(index, len(checked), text, tag, "", {"sync": one.spec.name}, level)
            for line in str(one.error or "").splitlines():
                self._line(f"    {line}", "error")
            self._findings(one)
        failed = sum(one.error is not None for one in checked)
        self._line("")
        if failed:
            self._line(f"{failed} of {_number(len(checked), 'mapping')} cannot be synced.", "error")
        elif checked:
            self._line("All mappings are sound. `dbt-pendo plan` shows what a sync would do.", "success")

    def show_fields(self, found: Sequence[SyncFields], unmapped: Sequence[UnmappedField]) -> None:
        """Prints the mapped fields of each sync beside those of Pendo, then those of Pendo that no sync writes."""
        for index, one in enumerate(found, start=1):
            tag = "ERROR" if one.error else "WARN" if one.warnings else "OK"
            level = {"OK": "info", "WARN": "warn", "ERROR": "error"}[tag]
            text = f"{tag} {one.spec.object} {one.spec.name}"
            states = Counter(each.state for each in one.matched)
            note = ", ".join(f"{count:,} {state}" for state, count in states.items()) or (
                "" if one.error else "no fields"
            )
            self._node(index, len(found), text, tag, note, {"sync": one.spec.name}, level)
            self._rows(
                [_field_row(each) for each in one.matched],
                ["info" if each.state in USABLE else "error" for each in one.matched],
            )
            # An error about the fields alone repeats their notes.
            notes = [] if one.error else [each.note for each in one.matched if each.note]
            for line in (*notes, *str(one.error or "").splitlines()):
                self._line(f"    {line}", level if one.error else "warn")
            for line in one.warnings:
                self._line(f"    {line}", "warn")
        for object_ in dict.fromkeys(each.object for each in unmapped):
            left = [each for each in unmapped if each.object == object_]
            self._line("")
            self._line(f"{_number(len(left), f'{object_} field')} of Pendo that no sync here maps")
            self._rows([_unmapped_row(each) for each in left], ["info"] * len(left))
        self._line("")
        if any(one.error for one in found):
            self._line("Not every mapped field can be written.", "error")
        elif found:
            self._line("All mapped fields can be written.", "success")

    def show_verified(self, verified: Sequence[Verified]) -> None:
        """Prints what Pendo holds of each sync, beside what it should."""
        for index, one in enumerate(verified, start=1):
            tag = "SKIP" if one.note else "OK" if one.in_order else "ERROR"
            level = {"OK": "info", "SKIP": "warn", "ERROR": "error"}[tag]
            text = f"{'OK verified' if tag == 'OK' else tag} {one.spec.object} {one.spec.name}"
            note = "" if one.error or one.note else _verified(one)
            self._node(index, len(verified), text, tag, note, {"sync": one.spec.name}, level)
            for line in str(one.error or one.note or "").splitlines():
                self._line(f"    {line}", level)
            for drift in one.examples:
                shown = ", ".join(
                    f"{name}: {_held(ours)} in the warehouse, {_held(theirs)} in Pendo"
                    for name, (ours, theirs) in drift.fields.items()
                )
                self._line(f"    {drift.key}: {shown}", "warn")
            if (more := one.drifted - len(one.examples)) > 0:
                self._line(f"    and {_number(more, 'more record')}", "warn")
            if one.missing_example is not None:
                self._line(f"    missing in Pendo, e.g. {one.missing_example}", "warn")
            if one.only_example is not None:
                self._line(f"    only in Pendo, e.g. {one.only_example}")
            if one.repaired is not None:
                level = "info" if one.in_order else "error"
                self._line(f"    resent: {_summary(one.repaired)}", level)
                for line in (one.repaired.message or "").splitlines():
                    self._line(f"    {line}", level)
        self._line("")
        if not verified:
            return
        if any(one.error for one in verified):
            self._line("Not everything could be verified.", "error")
        elif all(one.note for one in verified):
            self._line("There was nothing to verify.", "warn")
        elif any(one.repaired and one.repaired.status != "success" for one in verified):
            self._line("Not everything that differs could be resent.", "error")
        elif all(one.in_order for one in verified):
            resent = any(one.repaired for one in verified)
            # Pendo's answer is its word; only another look shows what it made of it.
            self._line(
                "Pendo took what differed. `dbt-pendo verify` shows what it holds now."
                if resent
                else "Pendo holds what the warehouse says.",
                "success",
            )
        else:
            self._line("Pendo has drifted. `dbt-pendo verify --repair` resends what differs.", "error")

    def show_reset(self, done: Sequence[Reset], adopt: bool) -> None:
        """Prints what became of each sync's ledger."""
        for index, one in enumerate(done, start=1):
            tag = "ERROR" if one.error else "OK"
            note = "" if one.error else f"{_number(one.adopted, 'row')} adopted" if adopt or one.known else "forgotten"
            text = f"{'OK reset' if tag == 'OK' else 'ERROR resetting'} {one.spec.object} {one.spec.name}"
            self._node(index, len(done), text, tag, note, {"sync": one.spec.name}, "error" if one.error else "info")
            for line in str(one.error or "").splitlines():
                self._line(f"    {line}", "error")
            if one.known is not None:
                self._line(f"    {one.known.drifted:,} differ in Pendo, {one.known.missing:,} are missing there")
            if one.spec.object == "track_event" and not adopt and one.error is None:
                self._line("    The next sync sends every event of the model again: Pendo would have it twice.", "warn")
        self._line("")
        if done and not any(one.error for one in done):
            self._line("Nothing was sent. `dbt-pendo plan` shows what the next sync would do.")

    def show_unlocked(self, unlocked: Sequence[Unlocked]) -> None:
        """Prints what became of each sync's lock."""
        for one in unlocked:
            if one.holder is None:
                self._line(f"{one.sync} is not locked.")
            elif one.broken:
                self._line(f"{one.sync} was locked by {one.holder}: the lock is broken.", "warn")
            else:
                self._line(f"{one.sync} is locked by {one.holder}, which seems alive; --force breaks it.", "error")

    def document(self, document: Mapping[str, Any]) -> None:
        """Prints the JSON document of ``--json``."""
        if self.as_json:
            sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")

    def failed(self, error: DbtPendoError) -> None:
        """Prints the error that ended a command."""
        self.document(error_document(error))
        if self._json_lines:
            self._log(str(error), "error", {})
            return
        self._errors.print(f"[red]Error:[/red] {escape(error.message)}")
        if error.hint:
            self._errors.print(escape(error.hint))

    def _node(
        self,
        index: int,
        total: int,
        text: str,
        tag: str,
        note: str,
        data: Mapping[str, Any],
        level: str = "info",
    ) -> None:
        style = STYLES[tag]
        start = f"{index} of {total} {text} ".ljust(LINE_WIDTH, ".")
        shown = escape(f"[{note or tag}]")
        markup = f"{escape(start)} [{style}]{shown}[/{style}]" if style else f"{escape(start)} {shown}"
        self._line(f"{start} [{note or tag}]", level, data, markup)

    def _findings(self, one: Checked) -> None:
        for warning in one.warnings:
            self._line(f"    {warning}", "warn")
        if one.left_out:
            self._line(f"    {_number(one.left_out, 'event')} left out: older than max_age")

    def _rows(self, rows: Sequence[Sequence[str]], levels: Sequence[str]) -> None:
        """Prints rows of cells in columns, without the time before each: they need the width."""
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        for row, level in zip(rows, levels, strict=True):
            cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
            self._line(f"  {'  '.join(cells)}".rstrip(), level, timed=False)

    def _body(self, request: PreviewedRequest) -> None:
        """Prints a request so that its body can be copied: without the time before each line."""
        if self._json_lines:
            self._log(f"{request.method} {request.path}", "info", {"body": request.body})
        elif not self._silent:
            self._console.print(escape(f"{request.method} {request.path}"))
            self._console.print(escape(orjson.dumps(request.body, option=orjson.OPT_INDENT_2).decode()))

    def _line(
        self,
        text: str,
        level: str = "info",
        data: Mapping[str, Any] | None = None,
        markup: str | None = None,
        timed: bool = True,
    ) -> None:
        if self._silent and not (level == "error" and not self.as_json):
            return
        if self._json_lines:
            if text:
                self._log(text, level, data or {})
            return
        style = {"error": "red", "warn": "yellow", "success": "green"}.get(level, "")
        body = markup or (f"[{style}]{escape(text)}[/{style}]" if style and text else escape(text))
        self._console.print(f"{datetime.datetime.now():%H:%M:%S}  {body}" if timed else body)

    def _log(self, text: str, level: str, data: Mapping[str, Any]) -> None:
        info = {
            "ts": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            "level": "info" if level == "success" else level,
            "msg": text,
            "name": "dbt_pendo",
        }
        stream = sys.stderr if self.as_json else sys.stdout
        stream.write(orjson.dumps({"data": data, "info": info}).decode() + "\n")


def _tag_of(result: SyncResult) -> str:
    if result.status == "skipped":
        return "SKIP"
    if result.status != "success":
        return "ERROR"
    return "WARN" if result.missing or result.planned.invalid else "OK"


def _dbt_tag(status: str) -> str:
    """Returns what dbt itself counts a node as."""
    if status not in BUILT:
        return "SKIP" if status == "skipped" else "ERROR"
    return "WARN" if status == "warn" else "OK"


def _counts(tags: Sequence[str]) -> str:
    return f"{' '.join(f'{tag}={tags.count(tag)}' for tag in ('OK', 'WARN', 'ERROR', 'SKIP'))} TOTAL={len(tags)}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _has_failed_rows(result: SyncResult) -> bool:
    return result.ledger is not None and bool(result.missing or result.rejected or result.planned.invalid)


def _summary(result: SyncResult) -> str:
    if result.status == "skipped":
        return "SKIP"
    parts = [f"{result.delivered:,} delivered"]
    parts += [
        f"{count:,} {what}"
        for count, what in (
            (result.missing, "missing"),
            (result.rejected, "rejected"),
            (result.planned.invalid, "invalid"),
            (result.planned.held, "held"),
        )
        if count
    ]
    if result.status in ("error", "blocked", "interrupted"):
        parts.insert(0, result.status.upper())
    return f"{', '.join(parts)} in {result.duration:.2f}s"


def _field_row(one: MatchedField) -> tuple[str, ...]:
    source = one.mapping.source
    if isinstance(source, Column):
        # The standard's long word takes half of a line.
        dtype = (one.dtype or "").lower().replace("character varying", "varchar")
        filled_from = f"{source.name} {dtype}"
    else:
        filled_from = orjson.dumps(source.value).decode()
    shown = _pendos_name(one.mapping.group, one.found, known_as=one.mapping.name) if one.found else one.mapping.group
    return one.mapping.name, _shortened(filled_from), shown, (one.found and one.found.type) or "-", one.state


def _unmapped_row(one: UnmappedField) -> tuple[str, ...]:
    return _pendos_name(one.group, one.field), one.field.type or "-", "unmapped"


def _pendos_name(group: str, field: SchemaField, known_as: str = "") -> str:
    name = f"{group}.{field.key}"
    return name if field.display_name in (field.key, known_as) else f"{name} ({field.display_name})"


def _shortened(text: str) -> str:
    return text if len(text) <= 32 else f"{text[:31]}…"


def _verified(one: Verified) -> str:
    counts = (
        (one.equal, "equal"),
        (one.drifted, "drifted"),
        (one.invalid, "invalid"),
        (one.missing, "missing"),
        (one.only_in_pendo, "only in Pendo"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in counts if count) or "no records"


def _held(text: str | None) -> str:
    return "nothing" if text is None else text


def _planned(planned: Planned) -> str:
    counts = (
        (planned.added, "added"),
        (planned.changed, "changed"),
        (planned.removed, "removed"),
        (planned.unchanged, "unchanged"),
        (planned.invalid, "invalid"),
        (planned.held, "held back"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in counts if count) or "no rows"
