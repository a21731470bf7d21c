"""Collects all that is known of past runs for the report, a file that people share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from dbt_pendo.errors import ConfigError
from dbt_pendo.history.calls import LoggedCall
from dbt_pendo.history.runs import PastRun, RunLog, grouped
from dbt_pendo.mapping.describe import mapping_rows, options
from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.network import read_json
from dbt_pendo.pendo.advice import words_of
from dbt_pendo.project.artifacts import read_manifest
from dbt_pendo.records.masking import HIDDEN_REASON, BodyMask, body_mask, hide_quoted
from dbt_pendo.warehouse.runs import NO_REASON, LatestSync, LedgerEntry, LoggedSync, Reason
from dbt_pendo.wording import shortened

# A browser has to open the file.
ROWS_LISTED = 100_000
CALLS_LISTED = 20_000
# Bytes of bodies: of calls that failed, and of the others.
FAILED_BODIES, OTHER_BODIES = 15 * 2**20, 5 * 2**20
# Of rows that were not delivered, the worst first.
STATUSES = ("rejected", "missing", "invalid")
# What can be wrong with a sync, the worst first: how it ended, or rows that were not delivered.
FAILED = ("error", "blocked", "interrupted")
TROUBLES = (*FAILED, "rejected", "skipped", "missing", "invalid")
# Characters of what a call that failed was answered.
LONGEST_SAID = 300
# All fields of a call but what may be long.
CALL_SHOWN = tuple(one.name for one in fields(LoggedCall) if one.name not in ("keys", "request", "answer"))


def review(
    log: RunLog, project: str, masked_columns: Sequence[str], runs: int, docs_url: str | None = None
) -> dict[str, Any]:
    """Collects all that is known of past runs, as the data in a report's page.

    Args:
        log: The warehouse, and the calls kept here.
        project: The name of the project, unless a model's id has it.
        masked_columns: Columns whose values must not show.
        runs: How many runs to look back.
        docs_url: Where the project's dbt docs are; None for nowhere.

    Raises:
        WarehouseError: If the warehouse refuses.
    """
    specs, note = _read_specs(log.target_path)
    latest = {one.last.sync: one for one in log.latest_syncs()}
    is_masked = bool(masked_columns)
    masks = {
        # Which of its values come from those columns is not known of a sync that is not mapped here.
        name: body_mask(masked_columns, specs[name]) if name in specs else BodyMask(ids=is_masked, whole=is_masked)
        for name in {**specs, **latest}
    }
    found_runs = log.latest_runs(runs)
    open_rows = list(_open_rows(log, {name: one.last for name, one in latest.items()}))
    rows = open_rows[:ROWS_LISTED]
    calls, bodies, carriers = _calls(log, found_runs, rows, masks)
    listed = []
    reasons: dict[str, list[Reason]] = defaultdict(list)
    for name, row in rows:
        shown = _masked_row(row, masks[name])
        call = carriers.get((row.run_id, name, row.key))
        listed.append(
            [name, shown.key, shown.status, shown.detail, shown.attempts, shown.run_id, shown.logged_at, call]
        )
        reasons[name].append(Reason(row.status, shown.detail or NO_REASON, 1, (shown.key,)))
    syncs = [
        {
            **_sync(name, specs.get(name), latest.get(name), mask, reasons[name]),
            # Nobody knows whether a sync is mapped where the mappings cannot be read.
            "is_current": specs[name].enabled if name in specs else bool(note),
            "docs": docs_link(docs_url, specs[name]) if docs_url and name in specs else None,
        }
        for name, mask in masks.items()
    ]
    ids = (*(spec.unique_id for spec in specs.values()), *(one.last.unique_id for one in latest.values()))
    return {
        "project": next((one.split(".")[1] for one in ids if "." in one), project),
        # Of the bookkeeping, and the Pendo that the settings name.
        "target": log.ends.target,
        "schema": log.ends.schema,
        "pendo": str(log.ends.pendo),
        # Why mappings are missing; empty when none are.
        "note": note,
        # Each with its syncs, the latest first.
        "runs": [
            {**run.to_dict(), "syncs": [_logged(sync, masks.get(sync.sync, BodyMask())) for sync in run.syncs]}
            for run in found_runs
        ],
        # Those that are mapped, or were, each with its last run: trouble first, then by object and name.
        "syncs": sorted(syncs, key=_order),
        # Rows that were not delivered when a run last tried them, rejected ones first: sync, fields of ``LedgerEntry``,
        # and the number of the call of that run that carried it, if listed. Names would be most of the file.
        "rows": {"limit": ROWS_LISTED if len(open_rows) > ROWS_LISTED else None, "items": listed},
        # The calls of the runs that this machine has kept; ``body`` is an index into the bodies, or None.
        "calls": calls,
        # Requests and answers, as texts: a browser's numbers would lose digits.
        "bodies": bodies,
    }


def _sync(
    name: str, spec: SyncSpec | None, latest: LatestSync | None, mask: BodyMask, reasons: Iterable[Reason]
) -> dict[str, Any]:
    groups = sorted(grouped(reasons), key=lambda group: STATUSES.index(group.status))
    last = _logged(latest.last, mask) if latest else None
    wrong = {group.status for group in groups}
    if last:
        wrong |= {last["status"], *(status for status in STATUSES if last[status])}
    return {
        "name": name,
        "object": spec.object if spec else latest and latest.last.object,
        "last": last,
        "completed_at": latest and latest.completed_at,
        # One of ``TROUBLES``; empty for none.
        "trouble": next((trouble for trouble in TROUBLES if trouble in wrong), ""),
        "reasons": [asdict(group) for group in groups],
        "mapping": list(mapping_rows(spec)) if spec else None,
        "options": options(spec) if spec else None,
        "enabled": spec is None or spec.enabled,
    }


def _order(sync: Mapping[str, Any]) -> tuple[bool, int, str, str]:
    trouble = TROUBLES.index(sync["trouble"]) if sync["trouble"] else len(TROUBLES)
    return not sync["is_current"], trouble, sync["object"], sync["name"]


def docs_link(docs_url: str, spec: SyncSpec) -> str:
    """Returns the address of a model, seed or snapshot in dbt docs, as their own links have it."""
    page = docs_url if docs_url.endswith(".html") else f"{docs_url}/"
    return f"{page}#!/{spec.unique_id.partition('.')[0]}/{quote(spec.unique_id)}"


def _logged(sync: LoggedSync, mask: BodyMask) -> dict[str, Any]:
    logged = asdict(sync)
    # Only the messages of these are surely about no row.
    if mask and sync.message is not None and sync.status not in ("skipped", "blocked"):
        logged["message"] = HIDDEN_REASON
    return {**logged.pop("planned"), **logged}


def _read_specs(target_path: Path) -> tuple[dict[str, SyncSpec], str]:
    """Reads the mappings that are sound, and says why there are not more: the past can be shown without them."""
    try:
        manifest = read_manifest(target_path)
    except ConfigError as error:
        return {}, f"Mappings are not shown: {error.message}"
    specs, problems = parse_syncs(model.annotation for model in manifest.models)
    note = f"Some mappings are not shown, for they are wrong: {'; '.join(map(str, problems))}" if problems else ""
    return {spec.name: spec for spec in specs}, note


def _open_rows(log: RunLog, last: Mapping[str, LoggedSync]) -> Iterator[tuple[str, LedgerEntry]]:
    """Yields one row more than are listed, if there are so many; rejected ones of all syncs come first."""
    left = ROWS_LISTED + 1
    for statuses in (("rejected",), ("missing", "invalid")):
        for name, sync in last.items():
            # A row that is sound again as it was delivered leaves no trace; but if no row was invalid, none is.
            looked_for = [status for status in statuses if status != "invalid" or sync.planned.invalid]
            rows = log.open_rows(name, looked_for, left) if left else []
            left -= len(rows)
            yield from ((name, row) for row in rows)


def _calls(
    log: RunLog, runs: Sequence[PastRun], rows: Iterable[tuple[str, LedgerEntry]], masks: Mapping[str, BodyMask]
) -> tuple[dict[str, Any], list[list[str | None]], dict[tuple[str, str, str], int]]:
    """Returns the calls of runs, their bodies, and the number of the last call that carried a row of a run and sync."""
    # By the key as its run wrote it down: as it is, or as a hash.
    wanted: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for sync, row in rows:
        wanted[row.run_id, sync].update({row.key: row.key, BodyMask(ids=True).key(row.key): row.key})
    kept: list[str] = []
    items: list[dict[str, Any]] = []
    bodies: list[list[str | None]] = []
    carriers: dict[tuple[str, str, str], int] = {}
    left_out = without_bodies = 0
    room = {True: FAILED_BODIES, False: OTHER_BODIES}
    for run in runs:
        if (calls := log.calls(run.run_id)) is None:
            continue
        kept.append(run.run_id)
        for call in calls:
            # Half of the places are for calls that failed.
            if len(items) >= (CALLS_LISTED if call.failed else CALLS_LISTED // 2):
                left_out += 1
                continue
            keys = wanted.get((run.run_id, call.sync), {})
            carriers.update(((run.run_id, call.sync, keys[key]), call.number) for key in call.keys or () if key in keys)
            mask = masks.get(call.sync, BodyMask())
            texts = _bodies(call, mask)
            item = {
                "run": run.run_id,
                **{name: getattr(call, name) for name in CALL_SHOWN},
                "said": _said(call, mask) if call.failed else "",
                "body": None,
            }
            size = sum(len(text) for text in texts if text is not None)
            if size > room[call.failed]:
                without_bodies += 1
            elif texts != [None, None]:
                room[call.failed] -= size
                item["body"] = len(bodies)
                bodies.append(texts)
            items.append(item)
    found = {"kept": kept, "limit": CALLS_LISTED, "left_out": left_out, "without_bodies": without_bodies}
    return {**found, "items": items}, bodies, carriers


def _masked_row(row: LedgerEntry, mask: BodyMask) -> LedgerEntry:
    """Returns a row without what may not show: Pendo's words may quote any value of it, in any form."""
    if not mask:
        return row
    hides = row.status != "missing" and row.detail is not None
    return replace(row, key=mask.key(row.key), detail=HIDDEN_REASON if hides else row.detail)


def _bodies(call: LoggedCall, mask: BodyMask) -> list[str | None]:
    """Returns the bodies of a call as texts; the mask may be younger than the run that kept them."""
    request, answer = call.request, call.answer
    if mask:
        # A text is a body that was cut, or not in our form.
        request, values = (HIDDEN_REASON, frozenset[str]()) if isinstance(request, str) else mask.hide(request)
        if answer is not None:
            text = hide_quoted(_text(answer) or "", values)
            document, _ = mask.hide(read_json(text))
            answer = text if isinstance(answer, str) else HIDDEN_REASON if document is None else document
            # What Pendo says of a failure may quote any value, in any form.
            answer = HIDDEN_REASON if call.failed else answer
    return [_text(request), _text(answer)]


def _said(call: LoggedCall, mask: BodyMask) -> str:
    """Returns why a call failed, in a line: why there was no answer, or Pendo's words, which may quote any value."""
    words = call.fault or (HIDDEN_REASON if mask else words_of(call.answer) or _text(call.answer) or "")
    return shortened(" ".join(words.split()), LONGEST_SAID)


def _text(body: Any) -> str | None:
    return body if body is None or isinstance(body, str) else orjson.dumps(body).decode()
