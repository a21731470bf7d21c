"""Writes the report: one HTML file with everything in it.

Its overview, runs and syncs are HTML, and can be read without a script; plots, and the lists of rows and calls, are
drawn by the page's script from the data in it.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from dbt_pendo import __version__
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.output.terminal import Terminal
from dbt_pendo.secret import Secrets, replace_private, without
from dbt_pendo.wording import number, visible, visible_json

REPORT_FILE = "pendo_report.html"
# One after the other they are the page's script.
SCRIPTS = ("elements.js", "listing.js", "chart.js", "page.js")
# Seconds of a unit of time, and up to how many of them an age is given in it.
_AGES = ((60, 120, "minute"), (3600, 48, "hour"), (86400, 14, "day"), (604800, 9, "week"), (2629800, 10**6, "month"))


def page(review: Mapping[str, Any], made_at: datetime.datetime, secrets: Secrets) -> str:
    """Returns the report.

    Values are text in it, or data that become text, never markup. Should one slip through all the same, the page's
    policy keeps it from being run or fetching anything: only this one script and these styles are allowed, by their
    hashes.

    Args:
        review: What is known of past runs (``history.report.review``).
        made_at: Now, in UTC.
        secrets: What it may not show, though an earlier version may have kept it in a ledger.
    """
    data = without(secrets, {"version": __version__, "made_at": f"{made_at:%Y-%m-%dT%H:%M:%SZ}", **review})
    bodies = data.pop("bodies")
    style, script = _part("page.css"), "".join(map(_part, SCRIPTS))
    environment = Environment(
        loader=PackageLoader("dbt_pendo.output", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"age": lambda text: _age(text, made_at), "number": "{:,}".format, "quoted": shlex.quote}
    return environment.get_template("page.html.j2").render(
        data,
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        data=_json(data),
        bodies=_json(bodies),
        several=number,
    )


def write_page(text: str, path: Path) -> None:
    """Writes the report in place of an older one, never half, for its owner alone.

    Raises:
        DbtPendoError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_private(path, text.encode())
    except OSError as error:
        raise DbtPendoError(
            f"{path} cannot be written: {error.strerror}.", "Name another file with --output."
        ) from None


def show_report(lines: Terminal, review: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Says where the report is, and what is in it; returns its entry under ``results``."""
    counts = {name: len(review[name]) for name in ("runs", "syncs")}
    counts |= {name: len(review[name]["items"]) for name in ("rows", "calls")}
    ends = {name: review[name] for name in ("target", "schema", "pendo")}
    entry = {"path": str(path), **counts, "note": review["note"] or None, **ends}
    found = f"{number(entry['runs'], 'run')}, {number(entry['rows'], 'row')} not delivered"
    lines.line(f"Wrote {path}: {found}, {number(entry['calls'], 'call')}.", event="ReportWritten", data=entry)
    if review["note"]:
        lines.line(review["note"], "warn")
    if not review["runs"]:
        lines.line("No run is logged yet. `dbt-pendo sync` makes the first.", "warn")
    elif not review["calls"]["kept"]:
        lines.line("No calls of these runs are kept on this machine, so the report has none.")
    return entry


def _age(text: str, made_at: datetime.datetime) -> str:
    """Returns how long a moment in UTC was past when the report was made."""
    passed = (made_at.replace(tzinfo=None) - datetime.datetime.fromisoformat(text[:19])).total_seconds()
    seconds, _, unit = next(each for each in _AGES if passed < each[0] * each[1])
    return number(int(passed // seconds), unit) if passed >= 60 else "less than a minute"


def _shown(value: Any) -> Any:
    """Returns a text of others with nothing in it that would not be seen, or would turn text around."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(visible, value.split("\n")))


def _part(name: str) -> str:
    return (files("dbt_pendo.output") / "report" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(document: Any) -> str:
    """Returns JSON in which no text can end the element that it stands in."""
    return htmlsafe_json_dumps(document, dumps=lambda data: visible_json(orjson.dumps(data).decode()))
