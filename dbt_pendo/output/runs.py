"""Past runs, their calls, and the story of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from dbt_pendo.commands.row import RowHistory
from dbt_pendo.history.calls import LoggedCall
from dbt_pendo.history.runs import CallSummary, GroupedReason, PastRun
from dbt_pendo.output.terminal import Level, Tag, Terminal
from dbt_pendo.records.convert import WRITABLE
from dbt_pendo.warehouse.runs import FailedRow, LoggedSync
from dbt_pendo.wording import counts, number, shortened

TAGS: Mapping[str, Tag] = {"success": "OK", "skipped": "SKIP"}
REASONS_SHOWN = 5
LONGEST_CELL = 60


def show_runs(lines: Terminal, runs: Sequence[PastRun]) -> None:
    """Prints past runs, a line each, the latest first."""
    if not runs:
        lines.line("No run is logged yet. `dbt-pendo sync` makes the first.", "warn", "NothingToDo")
        return
    header = ("run", "began (UTC)", "status", "delivered", "missing", "rejected", "invalid", "syncs", "took")
    rows = [
        (
            run.name if lines.narrow else run.run_id,
            run.began_at,
            run.status,
            *(f"{count:,}" for count in _totals(run.syncs)),
            str(len(run.syncs)),
            f"{run.duration:.1f}s",
        )
        for run in runs
    ]
    levels: list[Level] = ["info", *(_level(run.status) for run in runs)]
    shown = slice(0, -2 if lines.narrow else None)
    lines.rows([row[shown] for row in (header, *rows)], levels, numbers=len(header[shown]) - 3)
    lines.line(timed=False)
    lines.line("`dbt-pendo show RUN` has one of them; the first or last letters of its id will do.", timed=False)


def show_run(
    lines: Terminal,
    run: PastRun,
    reasons: Mapping[str, Sequence[GroupedReason]],
    rejected: Mapping[str, Sequence[FailedRow]],
    carried: Mapping[str, Mapping[str, LoggedCall]],
    calls: CallSummary | None,
) -> None:
    """Prints one run.

    Args:
        lines: Where to.
        run: The run.
        reasons: By sync, why rows were not delivered.
        rejected: By sync, rows that Pendo refused.
        carried: By sync and key, the last call that carried such a row.
        calls: What its calls were like; None when this machine has not kept them.
    """
    lines.line(f"Run {run.run_id}, began {run.began_at} UTC", timed=False)
    lines.line(timed=False)
    for index, sync in enumerate(run.syncs, start=1):
        tag = TAGS.get(sync.status, "ERROR")
        if tag == "OK" and (sync.missing or sync.planned.invalid):
            tag = "WARN"
        lines.node(index, len(run.syncs), f"{tag} {sync.object} {sync.sync}", tag, _summary(sync), timed=False)
        _why(lines, sync, reasons.get(sync.sync, ()))
        if rows := rejected.get(sync.sync):
            by_key = carried.get(sync.sync, {})
            lines.rows(
                [(row.key or "", _shortened(row.detail or ""), _origin(by_key.get(row.key or ""))) for row in rows]
            )
            if sync.rejected > len(rows):
                lines.line(f"  … and {sync.rejected - len(rows):,} more; --rows N shows more of them", timed=False)
    lines.line(timed=False)
    if calls is None:
        lines.line("This machine has not kept the calls of this run.", timed=False)
    else:
        _show_summary(lines, calls)
        lines.line("`dbt-pendo show RUN --requests` lists them; --failed, --row KEY those you look for.", timed=False)


def show_calls(lines: Terminal, calls: Sequence[LoggedCall], with_bodies: bool) -> None:
    """Prints calls, a line each, with their bodies below it where they were kept: of many records the first."""
    if not calls:
        lines.line("No such call was kept.", "warn", timed=False)
        return
    if not with_bodies:
        header = ("#", "request", "answer", "ms", "try", "rows", "bytes", "time (UTC)", "sync")
        levels: list[Level] = ["info", *("error" if call.failed else "info" for call in calls)]
        shown = slice(0, -2 if lines.narrow else None)
        lines.rows([row[shown] for row in (header, *map(_cells, calls))], levels)
        return
    for call in calls:
        level: Level = "error" if call.failed else "info"
        number_, request, answer, milliseconds, attempt, rows_, size, time, sync = _cells(call)
        about = f"{sync}: {rows_} rows, {size} bytes, " if sync else ""
        text = f"#{number_}  {time}  {request} → {answer} in {milliseconds} ms ({about}attempt {attempt})"
        lines.line(text, level, "CallShown", call_entry(call), timed=False)
        for name, body in (("request", call.request), ("answer", call.answer)):
            if isinstance(body, list) and len(body) > 1:
                lines.body(f"  {name}, the first of {len(body):,} records:", body[:1])
            elif body is not None and body != "":
                lines.body(f"  {name}:", body)
        if call.request is None and call.answer is None:
            lines.line("  Its bodies were not kept.", timed=False)


def show_row(lines: Terminal, story: RowHistory) -> None:
    """Prints what happened to one row."""
    lines.line(f"{story.spec.object} {story.key} of {story.spec.name}", timed=False)
    lines.line(timed=False)
    lines.line("In the ledger, the latest first", timed=False)
    if story.entries:
        # Where all were delivered as the same, it needs no word.
        several = len({entry.destination for entry in story.entries}) > 1
        lines.rows(
            [
                (
                    *(entry.logged_at, entry.status, _attempt(entry.attempts), entry.run_id),
                    *([entry.destination or ""] if several else []),
                    entry.detail or "",
                )
                for entry in story.entries
            ],
            [_level(entry.status) for entry in story.entries],
        )
    else:
        lines.line("  nothing: no run has sent it yet", timed=False)
    lines.line(timed=False)
    lines.line("Now", timed=False)
    compared = [
        (one.name, one.column, _text(one.warehouse) if story.rows else "", _text(one.pendo) if story.is_held else "")
        for one in story.values
    ]
    lines.rows([("field", "column", "warehouse", "Pendo"), *compared])
    if story.is_held is False:
        lines.line(f"  Pendo does not know this {story.spec.object}.", "warn", timed=False)
    if not story.rows:
        lines.line("  The model has no row of this key.", "warn", timed=False)
    if story.rows > 1:
        lines.line("  The model has several rows of this key, so none is sent.", "warn", timed=False)
    if story.note:
        lines.line(f"  {story.note}.", timed=False)
    lines.line(timed=False)
    if story.calls:
        lines.line(f"Last request, of run {story.run_id}", timed=False)
        show_calls(lines, [_of_row(story.calls[-1], story.key)], with_bodies=True)
    else:
        lines.line("No run kept on this machine has sent it.", timed=False)


def run_entry(run: PastRun) -> dict[str, Any]:
    """Returns a run as ``--json`` has it."""
    return {
        "run_id": run.run_id,
        "began_at": run.began_at,
        "status": run.status,
        "duration": round(run.duration, 3),
        "syncs": [asdict(sync) for sync in run.syncs],
    }


def reason_entry(sync: str, reason: GroupedReason) -> dict[str, Any]:
    """Returns a reason for which rows were not delivered as ``--json`` has it."""
    return {"sync": sync, **asdict(reason)}


def rejected_entry(sync: str, row: FailedRow, call: LoggedCall | None) -> dict[str, Any]:
    """Returns a row that Pendo refused as ``--json`` has it, with the number of the call that carried it."""
    return {"sync": sync, **asdict(row), "call": call.number if call else None}


def call_entry(call: LoggedCall) -> dict[str, Any]:
    """Returns a call as ``--json`` has it."""
    return asdict(call)


def row_entry(story: RowHistory) -> dict[str, Any]:
    """Returns the story of a row as ``--json`` has it."""
    return {
        "sync": story.spec.name,
        "object": story.spec.object,
        "key": story.key,
        "ledger": [asdict(entry) for entry in story.entries],
        "rows": story.rows,
        "values": [{**asdict(one), "warehouse": _plain(one.warehouse)} for one in story.values],
        "is_held": story.is_held,
        "note": story.note or None,
        "run_id": story.run_id or None,
        "calls": [call_entry(call) for call in story.calls],
    }


def _why(lines: Terminal, sync: LoggedSync, reasons: Sequence[GroupedReason]) -> None:
    # The ledger tells of the same rows, all of them, and puts like reasons together; it logs an invalid row once.
    told = tuple({f" {reason.status}: " for reason in reasons if reason.status != "invalid"})
    for note in (sync.message or "").split("\n"):
        if not any(word in note for word in told):
            lines.below(note, timed=False)
    reasons = [reason for reason in reasons if reason.status != "invalid"]
    for reason in reasons[:REASONS_SHOWN]:
        examples = f" (e.g. {', '.join(reason.examples)})" if reason.examples else ""
        lines.below(f"{reason.rows:,} {reason.status}: {reason.message}{examples}", _level(reason.status), timed=False)
    if (more := len(reasons) - REASONS_SHOWN) > 0:
        lines.below(f"and {number(more, 'more reason')}", timed=False)


def _show_summary(lines: Terminal, calls: CallSummary) -> None:
    answers = ", ".join(f"{status or 'no answer'}: {count:,}" for status, count in calls.answers.items())
    text = f"{number(calls.calls, 'call')} ({answers}), {calls.failed:,} failed, {calls.retries:,} sent again"
    slowest = ", ".join(f"#{call.number} {call.seconds * 1000:.0f} ms" for call in calls.slowest)
    lines.line(f"{text}; {calls.waited:.1f}s spent waiting at Pendo's pace", timed=False)
    lines.line(f"slowest: {slowest}", timed=False)


def _cells(call: LoggedCall) -> tuple[str, ...]:
    return (
        str(call.number),
        f"{call.method} {call.path}",
        str(call.status or call.fault),
        f"{call.seconds * 1000:.0f}",
        str(call.attempt),
        f"{call.rows:,}",
        f"{call.bytes:,}",
        call.at.partition("T")[2][:12],
        call.sync,
    )


def _origin(call: LoggedCall | None) -> str:
    return "" if call is None else f"#{call.number} {call.method} {call.path} → {call.status or call.fault}"


def _of_row(call: LoggedCall, key: str) -> LoggedCall:
    """Returns a call with no other records in its body than the one."""
    if not isinstance(call.request, list):
        return call
    own = [record for record in call.request if isinstance(record, dict) and key in record.values()]
    return LoggedCall(**{**asdict(call), "request": own or call.request, "keys": call.keys})


def _totals(syncs: Sequence[LoggedSync]) -> tuple[int, ...]:
    rows = ((sync.delivered, sync.missing, sync.rejected, sync.planned.invalid) for sync in syncs)
    return tuple(map(sum, zip(*rows, strict=True)))


def _summary(sync: LoggedSync) -> str:
    planned = sync.planned
    parts = [f"{sync.delivered:,} delivered"]
    parts += counts(
        {"missing": sync.missing, "rejected": sync.rejected, "invalid": planned.invalid, "held": planned.held}
    )
    if sync.status in ("error", "blocked", "interrupted", "skipped"):
        parts.insert(0, sync.status.upper())
    return f"{', '.join(parts)} in {sync.duration:.2f}s"


def _level(status: str) -> Level:
    if status in ("missing", "invalid", "skipped"):
        return "warn"
    return "info" if status in ("success", "delivered", "removed") else "error"


def _attempt(attempts: int | None) -> str:
    return f"attempt {attempts}" if attempts else ""


def _plain(value: Any) -> Any:
    """Returns a value of the warehouse as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, int):
        return value if value in WRITABLE else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value if value is None or isinstance(value, str | float) else str(value)


def _text(value: Any) -> str:
    plain = _plain(value)
    return _shortened(str(plain) if isinstance(plain, str | float) else orjson.dumps(plain).decode())


def _shortened(text: str) -> str:
    return shortened(" ".join(text.split()), LONGEST_CELL)
