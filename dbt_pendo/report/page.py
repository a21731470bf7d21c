"""One HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import datetime
import hashlib
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import orjson

from dbt_pendo.engine.review import Review
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.private import replace_private
from dbt_pendo.report.content import content
from dbt_pendo.secret import Secrets, without
from dbt_pendo.visible import json_escape, visible_json

# One after the other they are the page's script.
SCRIPTS = ("elements.js", "table.js", "chart.js", "page.js")
REPORT_FILE = "pendo_report.html"
# With none of these characters, no text can end the element that the data stands in.
_ESCAPES = {character: json_escape(character) for character in "<>&"}


def page(review: Review, made_at: datetime.datetime, secrets: Secrets) -> str:
    """Returns the report.

    Values travel as data and become text in the page, never markup. Should one slip through all the same, the page's
    policy keeps it from being run or fetching anything: only this one script and these styles are allowed, by their
    hashes.

    Args:
        review: What is known of the past.
        made_at: Now, in UTC.
        secrets: What it may not show, though an earlier version may have kept it in a ledger.
    """
    data, bodies = (without(secrets, part) for part in content(review, made_at))
    style, script = _part("page.css"), "".join(map(_part, SCRIPTS))
    return Template(_part("page.html")).substitute(
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        data=_json(data),
        bodies=_json(bodies),
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


def _part(name: str) -> str:
    return (files("dbt_pendo.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(document: Any) -> str:
    text = visible_json(orjson.dumps(document).decode())
    for character, escaped in _ESCAPES.items():
        text = text.replace(character, escaped)
    return text
