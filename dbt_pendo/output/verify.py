"""Prints what Pendo has beside what it should have (`verify`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbt_pendo.commands.verify import Verified
from dbt_pendo.output.sync import summary
from dbt_pendo.output.terminal import LEVELS, Tag, Terminal
from dbt_pendo.wording import counts, number

TAGS: Mapping[str, Tag] = {"success": "OK", "skipped": "SKIP", "drifted": "ERROR", "error": "ERROR"}


def show_verified(lines: Terminal, verified: Sequence[Verified]) -> None:
    """Prints what Pendo holds of each sync, beside what it should."""
    for index, one in enumerate(verified, start=1):
        tag = TAGS[one.status]
        note = "" if one.error or one.note else _verified(one)
        lines.finding((index, len(verified)), one, "OK verified" if tag == "OK" else tag, tag, note, "SyncVerified")
        lines.message_below(one.note, LEVELS[tag])
        for drift in one.examples:
            shown = ", ".join(
                f"{name}: {_shown(ours)} in the warehouse, {_shown(theirs)} in Pendo"
                for name, (ours, theirs) in drift.fields.items()
            )
            lines.below(f"{drift.key}: {shown}", "warn")
        if (more := one.drifted - len(one.examples)) > 0:
            lines.below(f"and {number(more, 'more record')}", "warn")
        if one.missing_example is not None:
            lines.below(f"missing in Pendo, e.g. {one.missing_example}", "warn")
        if one.only_example is not None:
            lines.below(f"only in Pendo, e.g. {one.only_example}")
        if one.repaired is not None:
            lines.below(f"resent: {summary(one.repaired)}", LEVELS[tag])
            lines.message_below(one.repaired.message, LEVELS[tag])
    lines.line()
    if not verified:
        return
    if any(one.error for one in verified):
        lines.line("Not everything could be verified.", "error")
    elif all(one.note for one in verified):
        lines.line("There was nothing to verify.", "warn")
    elif any(one.repaired and one.repaired.status != "success" for one in verified):
        lines.line("Not everything that differs could be resent.", "error")
    elif all(one.in_order for one in verified):
        resent = any(one.repaired for one in verified)
        # That Pendo took a value does not say what it holds now.
        took = "Pendo took what differed. `dbt-pendo verify` shows what it holds now."
        lines.line(took if resent else "Pendo holds what the warehouse says.", "success")
    else:
        lines.line("Pendo has drifted. `dbt-pendo verify --repair` resends what differs.", "error")


def _verified(one: Verified) -> str:
    names = ("equal", "drifted", "invalid", "missing", "only_in_pendo")
    rows = {name.replace("_in_pendo", " in Pendo"): getattr(one, name) for name in names}
    return counts(rows) or "no records"


def _shown(text: str | None) -> str:
    return "nothing" if text is None else text
