"""Prints past runs, their calls, and one row's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import orjson

from dbt_pendo.commands.row import RowHistory
from dbt_pendo.history.calls import LoggedCall
from dbt_pendo.history.runs import PastRun, SyncDetails
from dbt_pendo.output.sync import summary, tag_of
from dbt_pendo.output.terminal import Level, Terminal
from dbt_pendo.wording import number, shortened

REASONS_SHOWN = 5
ROWS_SHOWN = 20
SLOWEST_SHOWN = 3


def show_runs(lines: Terminal, runs: Sequence[PastRun]) -> None:
    """Prints past runs, a line each, the latest first."""
    if not runs:
        lines.line("No run is logged yet. `dbt-pendo sync` makes the first.", "warn", "NothingToDo")
        return
    lines = lines.untimed()
    header = ("run", "began (UTC)", "status", "delivered", "missing", "rejected", "invalid", "syncs", "took")
    rows = []
    for run in runs:
        run_id, *words, duration = run.to_row().values()
        cells = (f"{word:,}" if isinstance(word, int) else word for word in words)
        rows.append((run.name if lines.narrow else run_id, *cells, f"{duration:.1f}s"))
    _show_table(lines, (header, *rows), [_level(run.status) for run in runs], texts=3)
    lines.line()
    lines.line("`dbt-pendo show RUN` has one of them; the first or last letters of its id will do.")


def show_run(lines: Terminal, run: PastRun, details: Sequence[SyncDetails], calls: Sequence[LoggedCall] | None) -> None:
    """Prints one run, and its calls; None when this machine has not kept them."""
    lines = lines.untimed()
    lines.line(f"Run {run.run_id}, began {run.began_at} UTC")
    lines.line()
    for index, one in enumerate(details, start=1):
        sync, rows = one.sync, one.rows
        tag = tag_of(sync)
        lines.node((index, len(details)), f"{tag} {sync.object} {sync.sync}", tag, summary(sync))
        _show_reasons(lines, one)
        if rows:
            lines.rows([(row.key or "", row.status, _cell(row.detail or ""), _origin(call)) for row, call in rows])
        failed = sync.missing + sync.rejected + sync.planned.invalid
        if (more := failed - len(rows)) > 0 and len(rows) == ROWS_SHOWN:
            lines.line(f"  … and {more:,} more; --rows lists them")
        elif more > 0:
            lines.line(f"  {number(more, 'invalid row')} more: an earlier run has logged why")
    lines.line()
    if calls is None:
        lines.line("This machine has not kept the calls of this run.")
    else:
        _show_call_summary(lines, calls)
        lines.line("`dbt-pendo show RUN --requests` lists them; --failed, --row KEY those you look for.")


def show_calls(lines: Terminal, calls: Sequence[LoggedCall], with_bodies: bool) -> None:
    """Prints calls, a line each, with their bodies below it where they were kept: of many records the first."""
    lines = lines.untimed()
    if not calls:
        lines.line("No such call was kept.", "warn")
        return
    if not with_bodies:
        header = ("#", "request", "answer", "ms", "try", "rows", "bytes", "time (UTC)", "sync")
        _show_table(lines, (header, *map(_cells, calls)), list(map(_call_level, calls)))
        return
    for call in calls:
        at, request, answer, milliseconds, attempt, rows, size, time, sync = _cells(call)
        about = f"{sync}: {rows} rows, {size} bytes, " if sync else ""
        text = f"#{at}  {time}  {request} → {answer} in {milliseconds} ms ({about}attempt {attempt})"
        lines.line(text, _call_level(call), "CallShown", asdict(call))
        for name, body in (("request", call.request), ("answer", call.answer)):
            if isinstance(body, list) and len(body) > 1:
                lines.body(f"  {name}, the first of {len(body):,} records:", body[:1])
            elif body is not None and body != "":
                lines.body(f"  {name}:", body)
        if call.request is None and call.answer is None:
            lines.line("  Its bodies were not kept.")


def show_row(lines: Terminal, row: RowHistory) -> None:
    """Prints what happened to one row."""
    lines = lines.untimed()
    lines.line(f"{row.spec.object} {row.key} of {row.spec.name}")
    lines.line()
    lines.line("In the ledger, the latest first")
    if not row.entries:
        lines.line("  nothing: no run has sent it yet")
    # Where all were delivered as the same, it needs no word.
    several = len({entry.destination for entry in row.entries}) > 1
    entries = [
        (
            *(entry.logged_at, entry.status, f"attempt {entry.attempts}" if entry.attempts else "", entry.run_id),
            *([entry.destination or ""] if several else []),
            entry.detail or "",
        )
        for entry in row.entries
    ]
    lines.rows(entries, [_level(entry.status) for entry in row.entries])
    lines.line()
    lines.line("Now")
    compared = [
        (one.name, one.column, _text(one.warehouse) if row.rows else "", _text(one.pendo) if row.is_held else "")
        for one in row.values
    ]
    lines.rows([("field", "column", "warehouse", "Pendo"), *compared])
    if row.is_held is False:
        lines.line(f"  Pendo does not know this {row.spec.object}.", "warn")
    if not row.rows:
        lines.line("  The model has no row of this key.", "warn")
    if row.rows > 1:
        lines.line("  The model has several rows of this key, so none is sent.", "warn")
    if row.note:
        lines.line(f"  {row.note}.")
    lines.line()
    if row.calls:
        lines.line(f"Last request, of run {row.run_id}")
        show_calls(lines, [_of_row(row.calls[-1], row.key)], with_bodies=True)
    else:
        lines.line("No run kept on this machine has sent it.")


def _show_table(
    lines: Terminal, table: Sequence[Sequence[str]], levels: Sequence[Level], texts: int | None = None
) -> None:
    """Prints rows below a header, without the last two columns where there is no room for them."""
    lines.rows([row[: -2 if lines.narrow else None] for row in table], ["info", *levels], texts)


def _show_reasons(lines: Terminal, details: SyncDetails) -> None:
    # The ledger has all rows but invalid ones, which it logs once, and groups like reasons; the message has a few.
    reasons = [reason for reason in details.reasons if reason.status != "invalid"]
    in_ledger = {f" {reason.status}: " for reason in reasons}
    for note in (details.sync.message or "").split("\n"):
        if not any(status in note for status in in_ledger):
            lines.below(note)
    for reason in reasons[:REASONS_SHOWN]:
        examples = f" (e.g. {', '.join(reason.examples)})" if reason.examples else ""
        lines.below(f"{reason.rows:,} {reason.status}: {reason.message}{examples}", _level(reason.status))
    if (more := len(reasons) - REASONS_SHOWN) > 0:
        lines.below(f"and {number(more, 'more reason')}")


def _show_call_summary(lines: Terminal, calls: Sequence[LoggedCall]) -> None:
    statuses = [call.status or 0 for call in calls]
    answers = ", ".join(f"{one or 'no answer'}: {statuses.count(one):,}" for one in sorted(set(statuses)))
    failed, retries = sum(call.failed for call in calls), sum(call.attempt > 1 for call in calls)
    text = f"{number(len(calls), 'call')} ({answers}), {failed:,} failed, {retries:,} sent again"
    waited = sum(call.waited for call in calls)
    lines.line(f"{text}; {waited:.1f}s spent waiting at Pendo's pace")
    slowest = sorted(calls, key=lambda call: -call.seconds)[:SLOWEST_SHOWN]
    shown = ", ".join(f"#{call.number} {call.seconds * 1000:.0f} ms" for call in slowest)
    lines.line(f"slowest: {shown}")


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
    return replace(call, request=own or call.request)


def _call_level(call: LoggedCall) -> Level:
    return "error" if call.failed else "info"


def _level(status: str) -> Level:
    if status in ("missing", "invalid", "skipped", "warn"):
        return "warn"
    return "info" if status in ("success", "delivered", "removed") else "error"


def _text(value: object) -> str:
    return _cell(str(value) if isinstance(value, str | float) else orjson.dumps(value).decode())


def _cell(text: str) -> str:
    return shortened(" ".join(text.split()))
