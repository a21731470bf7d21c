"""Prints what `reset` did with ledgers, `unlock` with locks, and what `prune` drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbt_pendo.commands.prune import Left
from dbt_pendo.commands.reset import Reset, Unlocked
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.output.terminal import Level, Tag, Terminal
from dbt_pendo.wording import listing, number


def show_to_reset(lines: Terminal, specs: Sequence[SyncSpec], adopt: bool) -> None:
    """Prints what the sync after a reset would send to Pendo twice."""
    events = [spec.name for spec in specs if spec.object == "track_event"]
    if events and not adopt:
        text = f"The next sync sends every event of {listing(events)} again: Pendo would have it twice."
        lines.line(text, "warn", "EventsComeTwice", {"syncs": events})
        lines.line()


def show_reset(lines: Terminal, done: Sequence[Reset], adopt: bool) -> None:
    """Prints what each sync's ledger holds now."""
    for index, one in enumerate(done, start=1):
        tag: Tag = "ERROR" if one.error else "OK"
        note = "" if one.error else f"{number(one.adopted, 'row')} adopted" if adopt or one.known else "forgotten"
        verb = "ERROR resetting" if one.error else "OK reset"
        lines.finding((index, len(done)), one, verb, tag, note, "SyncReset")
        if one.known is not None:
            lines.below(f"{one.known.drifted:,} drifted, {one.known.missing:,} missing in Pendo")
    lines.line()
    if done and not any(one.error for one in done):
        lines.line("Nothing was sent. `dbt-pendo plan` shows what the next sync would do.")


def show_unlocked(lines: Terminal, unlocked: Sequence[Unlocked]) -> None:
    """Prints who held each sync's lock, and whether it was broken."""
    for one in unlocked:
        level: Level = "info"
        text = f"{one.sync} is not locked."
        if one.holder is not None and one.broken:
            text, level = f"{one.sync} was locked by {one.holder}: the lock is broken.", "warn"
        elif one.holder is not None:
            text, level = f"{one.sync} is locked by {one.holder}, which seems alive; --force breaks it.", "error"
        lines.line(text, level, "LockShown", one.to_dict())


def show_left(lines: Terminal, left: Mapping[str, Left], schema: str) -> None:
    """Prints what is left of syncs that are no more."""
    if not left:
        lines.line(f"{schema} has no table of a sync that is no more.", "success", "NothingToDo")
        return
    lines.line(f"{schema} has tables or notes of {number(len(left), 'sync')} that this project does not have:", "warn")
    notes = {sync: ["a note of its Pendo"] if one.notes else [] for sync, one in left.items()}
    lines.rows([(sync, ", ".join((*one.tables, *notes[sync]))) for sync, one in left.items()])
    lines.line("A ledger says what Pendo has of a sync. Without it, a sync of that name would send every row again.")
