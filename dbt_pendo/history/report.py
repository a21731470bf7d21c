"""Collects all that is known of past runs for a report: a file that people pass around."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from dbt_pendo.errors import ConfigError
from dbt_pendo.history.calls import LoggedCall, read_json
from dbt_pendo.history.runs import GroupedReason, PastRun, RunLog, grouped
from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.project.manifest import read_manifest
from dbt_pendo.records.masking import BodyMask, body_mask, hide_quoted
from dbt_pendo.warehouse.runs import LoggedSync, OpenRow, Reason

# A browser has to open the file.
ROWS_LISTED = 100_000
CALLS_LISTED = 20_000
# Bytes of bodies: of calls that failed, and of the others.
FAILED_BODIES, OTHER_BODIES = 15 * 2**20, 5 * 2**20
HIDDEN_REASON = "hidden: columns of this sync are masked"
# What a report has of a call, beside its bodies.
_CALL = (
    *("number", "at", "sync", "method", "path", "status", "fault", "failed", "seconds", "waited", "attempt"),
    *("rows", "bytes"),
)


@dataclass(frozen=True, slots=True)
class ReviewedSync:
    """A sync that is mapped, or was."""

    name: str
    object: str
    # None when the manifest has no such mapping, or was not read.
    spec: SyncSpec | None
    # Its last run, and when one last came to its end, in UTC; None for never.
    last: LoggedSync | None
    completed_at: str | None
    reasons: Sequence[GroupedReason]


# A row that was not delivered when a run last tried it, with its sync, and the number of the call of that run that
# carried it, if listed.
ReviewedRow: TypeAlias = tuple[str, OpenRow, int | None]


@dataclass(slots=True)
class ReviewedCalls:
    """The calls of the runs, as far as this machine has kept them."""

    # The ids of such runs.
    kept: list[str] = field(default_factory=list)
    # By name; ``run`` is the run's id, and ``body`` an index into ``bodies``, or None.
    items: list[dict[str, Any]] = field(default_factory=list)
    # The request and the answer of a call.
    bodies: list[list[str | None]] = field(default_factory=list)
    # How many calls are not listed, and how many of the listed ones have lost their bodies to the limit.
    left_out: int = 0
    without_bodies: int = 0


@dataclass(frozen=True, slots=True)
class Review:
    """All that is known of past runs."""

    # The name of the dbt project.
    project: str
    # Why mappings are missing; empty when none are.
    note: str
    # The latest first.
    runs: Sequence[PastRun]
    # By object and name.
    syncs: Sequence[ReviewedSync]
    # Rejected ones first; ``rows_cut`` when there are more.
    rows: Sequence[ReviewedRow]
    rows_cut: bool
    calls: ReviewedCalls


def review(log: RunLog, project: str, masked_columns: Sequence[str], runs: int) -> Review:
    """Collects all that is known of past runs.

    Args:
        log: The warehouse, and the calls kept here.
        project: The name of the project, unless a model's id has it.
        masked_columns: Columns whose values must not show.
        runs: How many runs to look back.

    Raises:
        WarehouseError: If the warehouse refuses.
    """
    specs, note = _read_specs(log.target_path)
    latest = {one.last.sync: one for one in log.latest_syncs()}
    masks = {
        # The columns of a sync that is not mapped here are not known.
        name: body_mask(masked_columns, specs[name]) if name in specs else BodyMask(ids=bool(masked_columns))
        for name in {**specs, **latest}
    }
    found_runs = log.latest_runs(runs)
    open_rows = list(_open_rows(log, {name: one.last for name, one in latest.items()}))
    rows = open_rows[:ROWS_LISTED]
    calls, carriers = _calls(log, found_runs, rows, masks)
    listed = [(sync, _masked_row(row, masks[sync]), carriers.get((row.run_id, sync, row.key))) for sync, row in rows]
    reasons: dict[str, list[Reason]] = defaultdict(list)
    for name, row, _ in listed:
        reasons[name].append(Reason(row.status, row.detail, 1, row.key))
    syncs = [
        ReviewedSync(
            name,
            specs[name].object if name in specs else latest[name].last.object,
            specs.get(name),
            _masked_sync(latest[name].last, mask) if name in latest else None,
            latest[name].completed_at if name in latest else None,
            grouped(reasons[name]),
        )
        for name, mask in masks.items()
    ]
    ids = (*(spec.unique_id for spec in specs.values()), *(one.last.unique_id for one in latest.values()))
    return Review(
        next((one.split(".")[1] for one in ids if "." in one), project),
        note,
        [
            replace(run, syncs=tuple(_masked_sync(sync, masks.get(sync.sync, BodyMask())) for sync in run.syncs))
            for run in found_runs
        ],
        sorted(syncs, key=lambda sync: (sync.object, sync.name)),
        listed,
        len(open_rows) > ROWS_LISTED,
        calls,
    )


def _read_specs(target_path: Path) -> tuple[dict[str, SyncSpec], str]:
    """Reads the mappings that are sound, and says why there are not more: the past can be shown without them."""
    try:
        manifest = read_manifest(target_path)
    except ConfigError as error:
        return {}, f"Mappings are not shown: {error.message}"
    specs, problems = parse_syncs(model.annotation for model in manifest.models)
    note = f"Some mappings are not shown, for they are wrong: {'; '.join(map(str, problems))}" if problems else ""
    return {spec.name: spec for spec in specs}, note


def _open_rows(log: RunLog, last: Mapping[str, LoggedSync]) -> Iterator[tuple[str, OpenRow]]:
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
    log: RunLog, runs: Sequence[PastRun], rows: Iterable[tuple[str, OpenRow]], masks: Mapping[str, BodyMask]
) -> tuple[ReviewedCalls, dict[tuple[str, str, str], int]]:
    """Returns the calls of runs, and the number of the last call that carried each row, by its run, sync and key."""
    # By the key as its run wrote it down: as it is, or as a hash.
    wanted: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for sync, row in rows:
        wanted[row.run_id, sync].update({row.key: row.key, BodyMask(ids=True).key(row.key): row.key})
    listed = ReviewedCalls()
    carriers: dict[tuple[str, str, str], int] = {}
    room = {True: FAILED_BODIES, False: OTHER_BODIES}
    for run in runs:
        if (calls := log.calls(run.run_id)) is None:
            continue
        listed.kept.append(run.run_id)
        for call in calls:
            # Half of the places are for calls that failed.
            if len(listed.items) >= (CALLS_LISTED if call.failed else CALLS_LISTED // 2):
                listed.left_out += 1
                continue
            keys = wanted.get((run.run_id, call.sync), {})
            carriers.update(((run.run_id, call.sync, keys[key]), call.number) for key in call.keys or () if key in keys)
            bodies = _bodies(call, masks.get(call.sync, BodyMask()))
            size = sum(len(text) for text in bodies if text is not None)
            body = None
            if size > room[call.failed]:
                listed.without_bodies += 1
            elif bodies != [None, None]:
                room[call.failed] -= size
                body = len(listed.bodies)
                listed.bodies.append(bodies)
            listed.items.append({"run": run.run_id, **{name: getattr(call, name) for name in _CALL}, "body": body})
    return listed, carriers


def _masked_row(row: OpenRow, mask: BodyMask) -> OpenRow:
    """Returns a row without what may not show: Pendo's words may quote any value of it, in any form."""
    if not mask:
        return row
    hides = row.status != "missing" and row.detail is not None
    return replace(row, key=mask.key(row.key), detail=HIDDEN_REASON if hides else row.detail)


def _masked_sync(sync: LoggedSync, mask: BodyMask) -> LoggedSync:
    # Only the messages of these are surely about no row.
    if not mask or sync.message is None or sync.status in ("skipped", "blocked"):
        return sync
    return replace(sync, message=HIDDEN_REASON)


def _bodies(call: LoggedCall, mask: BodyMask) -> list[str | None]:
    """Returns the bodies of a call as texts: a browser's numbers would lose digits.

    The mask may be younger than the run that kept them.
    """
    request, answer = call.request, call.answer
    if mask:
        # A text is a body that was cut, or not in our form.
        request, values = (HIDDEN_REASON, frozenset[str]()) if isinstance(request, str) else mask.hide(request)
        if answer is not None:
            text = hide_quoted(_text(answer) or "", values)
            document, _ = mask.hide(read_json(text))
            answer = text if isinstance(answer, str) else HIDDEN_REASON if document is None else document
    return [_text(request), _text(answer)]


def _text(body: Any) -> str | None:
    return body if body is None or isinstance(body, str) else orjson.dumps(body).decode()
