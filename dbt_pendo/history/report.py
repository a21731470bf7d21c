"""All that is known of the past at once, for a report: a file that people pass around."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from dbt_pendo.errors import ConfigError
from dbt_pendo.history.calls import LoggedCall
from dbt_pendo.history.runs import GroupedReason, Past, PastRun, grouped
from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.project.manifest import read_manifest
from dbt_pendo.records.masking import BodyMask, body_mask, hide_quoted
from dbt_pendo.warehouse.runs import LoggedSync, OpenRow, Reason

# A browser has to open what comes of it.
ROWS_LISTED = 100_000
CALLS_LISTED = 20_000
# Bytes of bodies: of calls that failed, and of the others.
FAILED_BODIES, OTHER_BODIES = 15 * 2**20, 5 * 2**20
HIDDEN_REASON = "hidden: columns of this sync are masked"


@dataclass(frozen=True, slots=True)
class ReviewedSync:
    """A sync that is mapped, or was.

    Attributes:
        name: Its name.
        object: The kind of Pendo object.
        spec: Its mapping; None when the manifest has none, or was not read.
        last: Its last run; None for never.
        completed_at: When it last went through to its end, in UTC; None for never.
        reasons: Why rows are open.
    """

    name: str
    object: str
    spec: SyncSpec | None
    last: LoggedSync | None
    completed_at: str | None
    reasons: Sequence[GroupedReason]


@dataclass(frozen=True, slots=True)
class ReviewedRow:
    """A row that was not delivered when a run last tried it, and the call of that run that carried it, if listed."""

    sync: str
    row: OpenRow
    call: int | None


@dataclass(frozen=True, slots=True)
class ReviewedCalls:
    """The calls of the runs, as far as this machine has kept them.

    Attributes:
        kept: Runs whose calls are kept here.
        calls: Of each such run its calls, without the records' keys.
        left_out: How many more there are.
        without_bodies: How many of those listed have lost their bodies to the limit.
    """

    kept: Sequence[str]
    calls: Sequence[tuple[str, LoggedCall]]
    left_out: int
    without_bodies: int


@dataclass(frozen=True, slots=True)
class Review:
    """All that is known of the past.

    Attributes:
        project: The name of the dbt project.
        note: Why mappings are missing; empty when none are.
        runs: The runs, the latest first.
        syncs: The syncs, by object and name.
        rows: The rows that are open, rejected ones first.
        rows_cut: Whether there are more of them.
        calls: The calls of the runs.
    """

    project: str
    note: str
    runs: Sequence[PastRun]
    syncs: Sequence[ReviewedSync]
    rows: Sequence[ReviewedRow]
    rows_cut: bool
    calls: ReviewedCalls


@dataclass(frozen=True, slots=True)
class Mapped:
    """The mappings of a project, as far as they can be read.

    Attributes:
        specs: The sound ones.
        note: Why there are not more; empty when these are all.
    """

    specs: Sequence[SyncSpec]
    note: str = ""


def read_mapped(target_path: Path) -> Mapped:
    """Reads the mappings; of the past something can be told without them."""
    try:
        manifest = read_manifest(target_path)
    except ConfigError as error:
        return Mapped((), f"Mappings are not shown: {error.message}")
    specs, problems = parse_syncs(model.annotation for model in manifest.models)
    note = f"Some mappings are not shown, for they are wrong: {'; '.join(map(str, problems))}" if problems else ""
    return Mapped(specs, note)


def review(past: Past, mapped: Mapped, project: str, masked_columns: Sequence[str], runs: int) -> Review:
    """Gathers all that is known of the past.

    Args:
        past: The warehouse, and the calls kept here.
        mapped: The mappings.
        project: The name of the project, should nothing tell it.
        masked_columns: Columns whose values must not show.
        runs: How many runs to look back.

    Raises:
        WarehouseError: If the warehouse refuses.
    """
    specs = {spec.name: spec for spec in mapped.specs}
    latest = {one.last.sync: one for one in past.history.latest_syncs()}
    masks = {
        # Which columns a sync is made of that is not mapped here, nobody knows.
        name: body_mask(masked_columns, specs[name]) if name in specs else BodyMask(ids=bool(masked_columns))
        for name in (*specs, *(name for name in latest if name not in specs))
    }
    found_runs = past.runs(runs)
    rows = list(_open_rows(past, {name: one.last for name, one in latest.items()}))
    calls, carriers = _calls(past, found_runs, rows[:ROWS_LISTED], masks)
    listed = [
        ReviewedRow(sync, _masked_row(row, masks[sync]), carriers.get((row.run_id, sync, row.key)))
        for sync, row in rows[:ROWS_LISTED]
    ]
    reasons: dict[str, list[Reason]] = defaultdict(list)
    for one in listed:
        reasons[one.sync].append(Reason(one.row.status, one.row.detail, 1, one.row.key))
    syncs = [
        ReviewedSync(
            name,
            specs[name].object if name in specs else latest[name].last.object,
            specs.get(name),
            _masked_sync(latest[name].last, masks[name]) if name in latest else None,
            latest[name].completed_at if name in latest else None,
            grouped(reasons[name]),
        )
        for name in masks
    ]
    ids = (*(spec.unique_id for spec in mapped.specs), *(one.last.unique_id for one in latest.values()))
    return Review(
        next((parts[1] for parts in (one.split(".") for one in ids) if len(parts) > 1), project),
        mapped.note,
        [
            replace(run, syncs=tuple(_masked_sync(sync, masks.get(sync.sync, BodyMask())) for sync in run.syncs))
            for run in found_runs
        ],
        sorted(syncs, key=lambda sync: (sync.object, sync.name)),
        listed,
        len(rows) > ROWS_LISTED,
        calls,
    )


def _open_rows(past: Past, last: Mapping[str, LoggedSync]) -> Iterator[tuple[str, OpenRow]]:
    """Yields one row more than are listed, if there are so many; rejected ones of all syncs come first."""
    left = ROWS_LISTED + 1
    for statuses in (("rejected",), ("missing", "invalid")):
        for name, sync in last.items():
            # A row that is sound again as it was delivered leaves no trace; but if no row was invalid, none is.
            looked_for = [status for status in statuses if status != "invalid" or sync.planned.invalid]
            rows = past.history.open_rows(name, looked_for, left) if left else []
            left -= len(rows)
            yield from ((name, row) for row in rows)


def _calls(
    past: Past, runs: Sequence[PastRun], rows: Iterable[tuple[str, OpenRow]], masks: Mapping[str, BodyMask]
) -> tuple[ReviewedCalls, dict[tuple[str, str, str], int]]:
    """Returns the calls of runs, and of each row of those runs the last call that carried it."""
    # By how its run wrote it down: as it is, or what it can still be told by.
    wanted: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for sync, row in rows:
        wanted[row.run_id, sync].update({row.key: row.key, BodyMask(ids=True).key(row.key): row.key})
    kept: list[str] = []
    listed: list[tuple[str, LoggedCall]] = []
    carriers: dict[tuple[str, str, str], int] = {}
    left_out = without_bodies = 0
    room = {True: FAILED_BODIES, False: OTHER_BODIES}
    for run in runs:
        if (calls := past.kept_calls(run.run_id)) is None:
            continue
        kept.append(run.run_id)
        for call in calls:
            # Half of the places are for calls that failed.
            if len(listed) >= (CALLS_LISTED if call.failed else CALLS_LISTED // 2):
                left_out += 1
                continue
            keys = wanted.get((run.run_id, call.sync), {})
            carriers.update(((run.run_id, call.sync, keys[key]), call.number) for key in call.keys or () if key in keys)
            shown = replace(_masked_call(call, masks.get(call.sync, BodyMask())), keys=None)
            size = sum(len(orjson.dumps(body)) for body in (shown.request, shown.answer) if body is not None)
            if size > room[call.failed]:
                without_bodies += 1
                shown = replace(shown, request=None, answer=None)
            else:
                room[call.failed] -= size
            listed.append((run.run_id, shown))
    return ReviewedCalls(kept, listed, left_out, without_bodies), carriers


def _masked_row(row: OpenRow, mask: BodyMask) -> OpenRow:
    """Returns a row without what may not show: Pendo's words may quote any value of it, in any way."""
    if not mask:
        return row
    hides = row.status != "missing" and row.detail is not None
    return replace(row, key=mask.key(row.key), detail=HIDDEN_REASON if hides else row.detail)


def _masked_sync(sync: LoggedSync, mask: BodyMask) -> LoggedSync:
    # Only of these is it sure that their message is about no row.
    if not mask or sync.message is None or sync.status in ("skipped", "blocked"):
        return sync
    return replace(sync, message=HIDDEN_REASON)


def _masked_call(call: LoggedCall, mask: BodyMask) -> LoggedCall:
    """Returns a call of a run that may have been made before the mask was set."""
    if not mask:
        return call
    # A text is a body that was cut, or none of ours.
    request, values = (HIDDEN_REASON, frozenset[str]()) if isinstance(call.request, str) else mask.hide(call.request)
    answer, _ = mask.hide(_without(call.answer, values))
    return replace(call, request=request, answer=answer)


def _without(answer: Any, values: frozenset[str]) -> Any:
    if isinstance(answer, str):
        return hide_quoted(answer, values)
    try:
        return orjson.loads(hide_quoted(orjson.dumps(answer).decode(), values))
    except orjson.JSONDecodeError:
        return HIDDEN_REASON
