"""Prints what Pendo has beside what it should have (`verify`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbt_pendo.commands.verify import State, Verified
from dbt_pendo.output.sync import show_notes, summary
from dbt_pendo.output.terminal import LEVELS, Level, Tag, Terminal
from dbt_pendo.pendo.copy import HIDDEN_VIEWS
from dbt_pendo.wording import counts, number

TAGS: Mapping[str, Tag] = {"success": "OK", "skipped": "SKIP", "drifted": "ERROR", "error": "ERROR"}


def show_verified(lines: Terminal, verified: Sequence[Verified]) -> None:
    """Prints what Pendo holds of each sync, beside what it should."""
    for index, one in enumerate(verified, start=1):
        has_warning = one.status == "success" and one.repaired is None and (one.not_there or one.invalid or one.hidden)
        tag = "WARN" if has_warning else TAGS[one.status]
        note = "" if one.error or one.note else _verified(one)
        verb = f"{tag} verified" if one.status == "success" else tag
        lines.finding((index, len(verified)), one, verb, tag, note, "SyncVerified")
        lines.message_below(one.note, LEVELS[tag])
        for drift in one.examples:
            shown = ", ".join(
                f"{each.name}: {_shown(each.sent)} in the warehouse, {_shown(each.pendo)} in Pendo"
                for each in drift.fields
            )
            lines.below(f"{drift.key}: {shown}", "warn")
        if (more := one.drifted - len(one.examples)) > 0:
            lines.below(f"and {number(more, 'more record')}", "warn")
        if one.not_there:
            kinds = {f"missing{_example(one, 'missing')}": one.missing, "invalid": one.not_there - one.missing}
            lines.below(f"{_not_there([one])}: {counts(kinds)}", "warn")
        if one.hidden:
            kinds = {f"{word}{_example(one, state)}": getattr(one, state) for state, word in HIDDEN_VIEWS.items()}
            lines.below(
                f"Pendo has {number(one.hidden, 'row')} and hides them: {counts(kinds)}. They are not compared, "
                "and never resent",
                "warn",
            )
        for warning in one.warnings:
            lines.below(warning, "warn")
        if one.since is not None and not one.note and not one.error:
            lines.below(
                f"looked only at what Pendo updated since {one.since:%Y-%m-%d %H:%M:%S %Z}: nothing is called missing"
            )
        if one.only_example is not None:
            lines.below(f"only in Pendo, e.g. {one.only_example}")
        if one.repaired is not None:
            lines.below(f"resent: {summary(one.repaired)}", LEVELS[tag])
            show_notes(lines, one.repaired)
    lines.line()
    if not verified:
        return
    has_resent, differing = any(one.repaired for one in verified), [one for one in verified if not one.in_order]
    lacks = [_not_there(verified)] if any(one.not_there for one in verified) else []
    if invalid := sum(one.invalid for one in verified):
        lacks.append(f"{number(invalid, 'row')} cannot be sent")
    if hidden := sum(one.hidden for one in verified):
        lacks.append(f"{number(hidden, 'row')} cannot be compared, as Pendo hides them")
    sound = "Pendo holds what the warehouse says."
    if any(one.since for one in verified):
        sound = f"Of what it updated since then, {sound}"
    # The first that is true.
    endings: Sequence[tuple[bool, str, Level]] = (
        (any(one.error for one in verified), "Not everything could be verified.", "error"),
        (all(one.note for one in verified), "There was nothing to verify.", "warn"),
        (any(one.repaired for one in differing), "Not everything that differs could be resent.", "error"),
        (bool(differing), "Pendo has drifted. `dbt-pendo verify --repair` resends what differs.", "error"),
        # That Pendo took a value does not say what it holds now.
        (has_resent, "Pendo took what differed. `dbt-pendo verify` shows what it holds now.", "success"),
        (bool(lacks), f"{'; '.join(lacks)}. Of the others, Pendo holds what the warehouse says.", "warn"),
        (True, sound, "success"),
    )
    lines.line(*next(ending[1:] for ending in endings if ending[0]))


def _not_there(verified: Sequence[Verified]) -> str:
    absent, rows = (sum(getattr(one, name) for one in verified) for name in ("not_there", "rows"))
    return f"{absent:,} of {number(rows, 'row')} {'is' if absent == 1 else 'are'} not there"


def _example(one: Verified, state: State) -> str:
    return f" (e.g. {one.first[state]})" if state in one.first else ""


def _verified(one: Verified) -> str:
    names = ("equal", "drifted", "invalid", "missing", "hidden", "only_in_pendo")
    rows = {name.replace("_in_pendo", " in Pendo"): getattr(one, name) for name in names}
    return counts(rows) or "no records"


def _shown(text: str | None) -> str:
    return "nothing" if text is None else text
