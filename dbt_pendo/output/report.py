"""Writes the report: one HTML file with everything in it."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import orjson

from dbt_pendo import __version__
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.history.calls import LoggedCall
from dbt_pendo.history.report import CALLS_LISTED, ROWS_LISTED, Review, ReviewedCalls, ReviewedRow, ReviewedSync
from dbt_pendo.history.runs import PastRun
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Column, Field, Limit, ParentChild, Source, SyncSpec
from dbt_pendo.output.terminal import Terminal
from dbt_pendo.private import replace_private
from dbt_pendo.secret import Secrets, without
from dbt_pendo.visible import json_escape, visible_json
from dbt_pendo.warehouse.runs import LoggedSync
from dbt_pendo.wording import number


def content(review: Review, made_at: datetime.datetime) -> tuple[dict[str, Any], list[list[str | None]]]:
    """Returns the page's data, and apart from it the bodies of calls, which are read when one is looked at.

    Args:
        review: What is known.
        made_at: Now, in UTC.
    """
    bodies: list[list[str | None]] = []
    return {
        "version": __version__,
        "made_at": f"{made_at:%Y-%m-%dT%H:%M:%SZ}",
        "project": review.project,
        "note": review.note,
        "runs": [_run(run) for run in review.runs],
        "syncs": [_sync(sync) for sync in review.syncs],
        "rows": {"limit": ROWS_LISTED if review.rows_cut else None, "items": [_row(row) for row in review.rows]},
        "calls": {
            "kept": list(review.calls.kept),
            "limit": CALLS_LISTED,
            "left_out": review.calls.left_out,
            "without_bodies": review.calls.without_bodies,
            "items": list(_calls(review.calls, bodies)),
        },
    }, bodies


def _run(run: PastRun) -> dict[str, Any]:
    return {"id": run.run_id, "began_at": run.began_at, "status": run.status, "syncs": list(map(_logged, run.syncs))}


def _logged(sync: LoggedSync) -> dict[str, Any]:
    logged = asdict(sync)
    return {**logged.pop("planned"), **logged}


def _sync(sync: ReviewedSync) -> dict[str, Any]:
    return {
        "name": sync.name,
        "object": sync.object,
        "last": _logged(sync.last) if sync.last else None,
        "completed_at": sync.completed_at,
        "reasons": [asdict(reason) for reason in sync.reasons],
        "mapping": list(_mapping(sync.spec)) if sync.spec else None,
        "options": dict(_options(sync.spec)) if sync.spec else None,
        "enabled": sync.spec is None or sync.spec.enabled,
    }


def _mapping(spec: SyncSpec) -> Iterator[dict[str, Any]]:
    """Yields what fills each of Pendo's words."""
    yield _id(OBJECTS[spec.object].key, ParentChild(spec.parent_key, spec.key) if spec.parent_key else Column(spec.key))
    yield from (_named(field, with_group=True) for field in spec.fields)
    if (event := spec.event) is not None:
        ids = {"event": event.name, "visitor_id": event.visitor_id, "account_id": event.account_id}
        yield from (_id(name, source) for name, source in (*ids.items(), ("timestamp", event.timestamp)) if source)
        for part, mapped in (("properties", event.properties), ("context", event.context)):
            yield from (_named(one, part=f"{part}.") for one in mapped)


def _id(name: str, source: Source | ParentChild) -> dict[str, Any]:
    return {"pendo": name, **_source(source), "type": "", "nulls": "", "group": "", "id": True}


def _named(mapped: Field, part: str = "", with_group: bool = False) -> dict[str, Any]:
    return {
        "pendo": f"{part}{mapped.name}",
        **_source(mapped.source),
        "type": mapped.type or "",
        "nulls": mapped.nulls,
        "group": mapped.group if with_group else "",
        "id": False,
    }


def _source(source: Source | ParentChild) -> dict[str, Any]:
    if isinstance(source, ParentChild):
        return {"from": f"{source.parent}::{source.child}", "constant": False}
    if isinstance(source, Column):
        return {"from": source.name, "constant": False}
    return {"from": orjson.dumps(source.value).decode(), "constant": True}


def _options(spec: SyncSpec) -> Iterator[tuple[str, str]]:
    yield "model", spec.unique_id
    yield "file", spec.file
    if spec.segment is not None:
        yield "segment", spec.segment
    if spec.event is not None and spec.event.app:
        yield "app", spec.event.app
    if spec.fields:
        yield "mode", spec.mode
    if spec.event is None:
        yield "on_removed", spec.on_removed
    if spec.create_fields:
        yield "create_fields", "true"
    yield "batch_size", f"{spec.batch_size:,}"
    for name, limit in (("max_changes", spec.max_changes), ("max_removals", spec.max_removals)):
        if limit is not None:
            yield name, _limit(limit)
    if spec.max_age is not None:
        yield "max_age", str(datetime.timedelta(seconds=spec.max_age))


def _limit(limit: Limit) -> str:
    return f"{limit.rows:,}" if limit.rows is not None else f"{limit.percent:g}%"


def _row(one: ReviewedRow) -> list[Any]:
    # A list, for there may be many: names would be most of the file.
    row = one.row
    return [one.sync, row.key, row.status, row.detail, row.attempts, row.run_id, row.logged_at, one.call]


def _calls(calls: ReviewedCalls, bodies: list[list[str | None]]) -> Iterator[dict[str, Any]]:
    for run_id, call in calls.calls:
        yield {"run": run_id, **_without_bodies(call), "body": _body(call, bodies)}


def _without_bodies(call: LoggedCall) -> Mapping[str, Any]:
    names = ("number", "at", "sync", "method", "path", "status", "fault", "failed", "seconds", "waited", "attempt")
    return {name: getattr(call, name) for name in (*names, "rows", "bytes")}


def _body(call: LoggedCall, bodies: list[list[str | None]]) -> int | None:
    """Adds the bodies of a call, and returns where they are; None where it has none."""
    if call.request is None and call.answer is None:
        return None
    # As texts: a browser's numbers would lose digits.
    bodies.append([_text(call.request), _text(call.answer)])
    return len(bodies) - 1


def _text(body: Any) -> str | None:
    return body if body is None or isinstance(body, str) else orjson.dumps(body).decode()


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
    return (files("dbt_pendo.output") / "report" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(document: Any) -> str:
    text = visible_json(orjson.dumps(document).decode())
    for character, escaped in _ESCAPES.items():
        text = text.replace(character, escaped)
    return text


def show_report(lines: Terminal, review: Review, path: Path) -> None:
    """Says where the report is, and what is in it."""
    entry = report_entry(review, path)
    counts = f"{number(entry['runs'], 'run')}, {number(entry['rows'], 'row')} not delivered"
    lines.line(f"Wrote {path}: {counts}, {number(entry['calls'], 'call')}.", event="ReportWritten", data=entry)
    if review.note:
        lines.line(review.note, "warn")
    if not review.runs:
        lines.line("No run is logged yet. `dbt-pendo sync` makes the first.", "warn")
    elif not review.calls.kept:
        lines.line("No calls of these runs are kept on this machine, so the report has none.")


def report_entry(review: Review, path: Path) -> dict[str, Any]:
    """Returns what is in a report as ``--json`` has it."""
    return {
        "path": str(path),
        "runs": len(review.runs),
        "syncs": len(review.syncs),
        "rows": len(review.rows),
        "calls": len(review.calls.calls),
        "note": review.note or None,
    }
