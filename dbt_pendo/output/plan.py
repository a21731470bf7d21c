"""Prints what `check` and `plan` found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict

from dbt_pendo.commands.check import Checked, Unread
from dbt_pendo.commands.context import Finding
from dbt_pendo.commands.plan import SyncPlan
from dbt_pendo.commands.verify import FieldDiff
from dbt_pendo.delivery.events import left_out_notes, new_event_notes
from dbt_pendo.errors import all_errors
from dbt_pendo.mapping.spec import MappingError, OnRemoved, Problem
from dbt_pendo.output.sync import held_note
from dbt_pendo.output.terminal import Tag, Terminal
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.wording import counts, duration, number, size

# What a sync would do with records that left the model.
_REMOVED: Mapping[OnRemoved, str] = {
    "keep": "to be noted in the ledger, kept in Pendo (on_removed: keep)",
    "clear": "their fields would be cleared in Pendo (on_removed: clear)",
    "delete": "they would be deleted in Pendo (on_removed: delete)",
}


def show_plan(lines: Terminal, planned: Sequence[SyncPlan]) -> None:
    """Prints what each sync would do."""
    shared = _shared_errors(planned)
    for index, one in enumerate(planned, start=1):
        doubtful = one.warnings or one.note or one.planned.invalid or one.planned.held
        tag: Tag = "ERROR" if one.error else "WARN" if doubtful else "OK"
        note = "" if one.error else _counts(one.planned)
        verb = "ERROR planning" if one.error else "PLAN"
        lines.finding((index, len(planned)), one, verb, tag, note, "SyncPlanned", shared)
        lines.below(one.note or "", "warn")
        if one.planned.removed and one.spec.segment is None:
            lines.below(f"{one.planned.removed:,} left the model: {_REMOVED[one.spec.on_removed]}")
        lines.below(held_note(one.planned))
        if one.bytes_scanned is not None:
            lines.below(f"scans about {size(one.bytes_scanned)}")
        _show_warnings(lines, one)
        for request in one.requests:
            lines.body(f"{request.method} {request.path}", request.document)
        for row in one.diff:
            lines.below(f"{row.key}: {row.note}" if row.note else row.key)
            if row.fields:
                lines.rows([_field(each) for each in row.fields])
    if planned:
        lines.line()
    _show_shared(lines, shared)
    if any(one.error for one in planned):
        lines.line("Nothing was sent. Fix what is wrong above, then plan again.", "error")
    elif planned:
        running = [one for one in planned if one.note is None]
        requests = sum(one.estimate.requests for one in running)
        takes = duration(sum(one.estimate.seconds for one in running))
        about = f", in about {number(requests, 'request')} and {takes}" if requests else ""
        does = f"does it{about}" if running else "would skip or block all of it"
        if left_out := len(planned) - len(running):
            does += f", but for {left_out} of {number(len(planned), 'sync')}: see above" if running else ": see above"
        lines.line(f"Nothing was sent. `dbt-pendo sync` {does}.", "warn" if left_out else "info")


def show_checks(
    lines: Terminal, checked: Sequence[Checked | Unread], mistakes: Collection[Problem], alert_faults: Sequence[str]
) -> None:
    """Prints what was found about each mapping, and why alerts could not be sent.

    Args:
        lines: Where to.
        checked: What was found.
        mistakes: What is wrong in the mappings themselves, which is told after all else.
        alert_faults: Why alerts could not be sent.
    """
    shared = _shared_errors(checked)
    for index, one in enumerate(checked, start=1):
        tag: Tag = "ERROR" if one.error else "WARN" if one.warnings else "OK"
        of_mapping = [
            error
            for error in all_errors(one.error)
            if isinstance(error, MappingError) and set(mistakes).issuperset(error.problems)
        ]
        found = sum(len(error.problems) for error in of_mapping)
        note = f"ERROR, {number(found, 'problem')} in meta.pendo" if found else ""
        elsewhere = {*shared, *map(str, of_mapping)}
        lines.finding((index, len(checked)), one, tag, tag, note, "SyncChecked", elsewhere)
        if isinstance(one, Checked):
            _show_warnings(lines, one)
    lines.line()
    _show_shared(lines, shared)
    if failed := sum(one.error is not None for one in checked):
        lines.line(f"{failed} of {number(len(checked), 'mapping')} cannot be synced.", "error")
    elif checked:
        doubtful = any(one.warnings for one in checked)
        sound = "No mapping is wrong, but there are warnings above." if doubtful else "All mappings are sound."
        lines.line(f"{sound} `dbt-pendo plan` shows what a sync would do.", "warn" if doubtful else "success")
    for fault in alert_faults:
        lines.line(fault, "warn")


def _shared_errors(found: Iterable[Finding]) -> dict[str, int]:
    """Returns the errors that several syncs have, such as a key that is not set, with the number of these syncs."""
    errors = [error for one in found for error in all_errors(one.error) if not isinstance(error, MappingError)]
    counted = Counter(map(str, errors))
    return {error: count for error, count in counted.items() if count > 1}


def _show_shared(lines: Terminal, shared: Mapping[str, int]) -> None:
    for error, count in shared.items():
        lines.line(f"{number(count, 'sync')}: {' '.join(error.split())}", "error")


def _show_warnings(lines: Terminal, one: Checked) -> None:
    for warning in one.warnings:
        lines.below(warning, "warn")
    for new in one.new_fields:
        lines.below(f"{new['name']} would be created, a {new['group']} field of type {new['type']} (create_fields)")
    for note in (*left_out_notes(one.spec, one.left_out), *new_event_notes(one.new_event_names)):
        lines.below(note)


def _field(one: FieldDiff) -> tuple[str, ...]:
    pendo, sent = ("null" if text is None else text for text in (one.pendo, one.sent))
    return (one.name, pendo, "→", sent) if one.differs else (one.name, pendo, "=", "")


def _counts(planned: Planned) -> str:
    return counts(asdict(planned)) or "no rows"
