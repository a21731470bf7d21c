"""Prints what a probe will do, and what it has learnt (`probe`)."""

from __future__ import annotations

from pathlib import Path

import orjson

from dbt_pendo.commands.probe import QUESTIONS, UNKNOWN, Probed
from dbt_pendo.output.terminal import Terminal
from dbt_pendo.pendo.probe import EVENT, Names
from dbt_pendo.settings import READ_ONLY_KEY, Settings
from dbt_pendo.wording import number


def show_probe(lines: Terminal, settings: Settings, names: Names) -> None:
    """Prints what a probe will do before it does it."""
    asked = f"{number(len(QUESTIONS), 'question')} to Pendo at {settings.pendo}"
    lines.line(f"{asked}. The probe creates there, and removes at its end:")
    fields = " and ".join(names.fields.values())
    lines.rows(
        [
            ("visitor", names.record),
            ("account", names.record),
            ("custom fields", f"{fields}, of visitors"),
            ("agent field", f"{names.field('agent')}, of visitors, if Pendo creates undeclared ones"),
        ]
    )
    if settings.track_secrets:
        lines.line(f"It sends events {EVENT} of this visitor, 8 days old: Pendo does not process such old ones.")
    else:
        lines.line(f"Without {settings.track_secret_variable} it asks nothing about events.", "warn")
    if settings.read_only_key is None:
        lines.line(f"Without {READ_ONLY_KEY} it does not ask what a key without write access may do.", "warn")
    lines.line("Pendo deletes a visitor and an account within days, and takes their ids for Do Not Process until then.")
    lines.line()


def show_probed(lines: Terminal, probed: Probed, path: Path) -> None:
    """Prints the answers, and where they are written."""
    rows = []
    for name, answer in probed.answers.items():
        shown = probed.reasons.get(name, "") if answer == UNKNOWN else ""
        rows.append((name, answer if isinstance(answer, str) else orjson.dumps(answer).decode(), shown))
    lines.rows(rows, ["warn" if row[2] else "info" for row in rows])
    lines.line()
    if probed.interrupted is not None:
        text = "The probe was interrupted; its answers are not written."
        lines.line(text, "error", "ProbeInterrupted", probed.to_dict())
        return
    settled = number(len(rows) - len(probed.reasons), "answer")
    said = f"Wrote {settled} to {path}. `dbt-pendo sandbox --like FILE` behaves like this Pendo."
    lines.line(said, "success", "ProbeEnded", probed.to_dict())
