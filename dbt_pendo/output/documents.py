"""What ``--json`` prints: a document of entries, one a sync. The entries are also the data of log lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dbt_pendo import __version__
from dbt_pendo.mapping.spec import Column, SyncSpec
from dbt_pendo.records.convert import WRITABLE

if TYPE_CHECKING:
    from pathlib import Path

    from dbt_pendo.commands.exposures import Exposure
    from dbt_pendo.commands.init import Starter
    from dbt_pendo.commands.plan import Checked
    from dbt_pendo.commands.reset import Reset, Unlocked
    from dbt_pendo.commands.row import RowHistory
    from dbt_pendo.commands.verify import Verified
    from dbt_pendo.delivery.fields import SyncFields, UnmappedField
    from dbt_pendo.errors import DbtPendoError
    from dbt_pendo.history.calls import LoggedCall
    from dbt_pendo.history.report import Review
    from dbt_pendo.history.runs import GroupedReason, PastRun
    from dbt_pendo.pendo.metadata import SchemaField
    from dbt_pendo.warehouse.runs import LedgerEntry


def document(results: Iterable[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Returns the document of a command: its entries, and what else it has to say, by name."""
    return {"metadata": {"dbt_pendo_version": __version__}, "results": list(results), **more}


def error_document(error: DbtPendoError) -> dict[str, Any]:
    """Returns an error that ended a command."""
    return {"metadata": {"dbt_pendo_version": __version__}, "error": {"message": error.message, "hint": error.hint}}


def checked_entry(one: Checked) -> dict[str, Any]:
    """Returns what was found about a sync."""
    return _entry(one.spec, one.error, warnings=list(one.warnings), left_out=one.left_out)


def planned_entry(one: Checked) -> dict[str, Any]:
    """Returns the plan of a sync, with the requests asked for by ``--show``."""
    requests = [{"method": request.method, "path": request.path, "body": request.document} for request in one.requests]
    return {**checked_entry(one), "planned": asdict(one.planned), "note": one.note, "requests": requests}


def fields_entry(one: SyncFields) -> dict[str, Any]:
    """Returns the mapped fields of a sync beside those of Pendo."""
    fields = []
    for each in one.matched:
        source = each.mapping.source
        filled_from: dict[str, Any] = {"column": source.name} if isinstance(source, Column) else {"value": source.value}
        fields.append(
            {
                "name": each.mapping.name,
                **filled_from,
                "column_type": each.dtype,
                "group": each.mapping.group,
                **_pendo_field(each.found),
                "state": each.state,
                "note": each.note or None,
            }
        )
    return _entry(one.spec, one.error, fields=fields, warnings=list(one.warnings))


def unmapped_entry(one: UnmappedField) -> dict[str, Any]:
    """Returns a field of Pendo's that no sync writes."""
    return {"object": one.object, "group": one.group, **_pendo_field(one.field), "state": "unmapped"}


def verified_entry(one: Verified) -> dict[str, Any]:
    """Returns what Pendo has of a sync, beside what it should have."""
    names = ("status", "note", "equal", "drifted", "invalid", "missing", "only_in_pendo")
    examples = [
        {
            "key": drift.key,
            "fields": {name: {"warehouse": ours, "pendo": theirs} for name, (ours, theirs) in drift.fields.items()},
        }
        for drift in one.examples
    ]
    repaired = one.repaired.to_dict() if one.repaired else None
    found = {name: getattr(one, name) for name in names}
    return _entry(one.spec, one.error, **found, fields=dict(one.fields), examples=examples, repaired=repaired)


def reset_entry(one: Reset) -> dict[str, Any]:
    """Returns how a sync's ledger was reset."""
    drifted, missing = (one.known.drifted, one.known.missing) if one.known else (None, None)
    return _entry(one.spec, one.error, adopted=one.adopted, drifted=drifted, missing=missing)


def unlocked_entry(one: Unlocked) -> dict[str, Any]:
    """Returns who holds or held a sync's lock, and whether it was broken."""
    holder = {**asdict(one.holder), "since": str(one.holder.since)} if one.holder else None
    return {"sync": one.sync, "holder": holder, "broken": one.broken}


def exposure_entry(one: Exposure) -> dict[str, Any]:
    """Returns the exposure of a sync."""
    status = "skipped" if one.left_out else "success"
    return _entry(one.spec, None, status=status, message=one.left_out, exposure=one.name)


def starter_entry(starter: Starter, text: str, written_to: Path | None) -> dict[str, Any]:
    """Returns a starter mapping as YAML, and where it was written."""
    model = starter.described.model
    return {
        "model": model.annotation.model,
        "unique_id": model.unique_id,
        "object": starter.draft.object,
        "status": "success",
        "message": None,
        "yaml": text,
        "file": str(written_to) if written_to else None,
        "entry": starter.described.entry,
    }


def run_entry(run: PastRun) -> dict[str, Any]:
    """Returns a past run."""
    return {
        "run_id": run.run_id,
        "began_at": run.began_at,
        "status": run.status,
        "duration": round(run.duration, 3),
        "syncs": [asdict(sync) for sync in run.syncs],
    }


def reason_entry(sync: str, reason: GroupedReason) -> dict[str, Any]:
    """Returns a reason for which rows were not delivered."""
    return {"sync": sync, **asdict(reason)}


def rejected_entry(sync: str, row: LedgerEntry, call: LoggedCall | None) -> dict[str, Any]:
    """Returns a row that Pendo refused, with the number of the call that carried it."""
    found = {name: getattr(row, name) for name in ("key", "status", "detail", "attempts")}
    return {"sync": sync, **found, "call": call.number if call else None}


def call_entry(call: LoggedCall) -> dict[str, Any]:
    """Returns a call."""
    return asdict(call)


def row_entry(row: RowHistory) -> dict[str, Any]:
    """Returns what happened to one row."""
    return {
        "sync": row.spec.name,
        "object": row.spec.object,
        "key": row.key,
        "ledger": [{name: value for name, value in asdict(entry).items() if name != "key"} for entry in row.entries],
        "rows": row.rows,
        "values": [{**asdict(one), "warehouse": plain(one.warehouse)} for one in row.values],
        "is_held": row.is_held,
        "note": row.note or None,
        "run_id": row.run_id or None,
        "calls": list(map(call_entry, row.calls)),
    }


def report_entry(review: Review, path: Path) -> dict[str, Any]:
    """Returns where a report is, and what is in it."""
    return {
        "path": str(path),
        "runs": len(review.runs),
        "syncs": len(review.syncs),
        "rows": len(review.rows["items"]),
        "calls": len(review.calls["items"]),
        "note": review.note or None,
    }


def plain(value: Any) -> Any:
    """Returns a value of the warehouse as JSON has it."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, int) and value in WRITABLE:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value if value is None or isinstance(value, str | float) else str(value)


def _entry(spec: SyncSpec, error: DbtPendoError | None, **more: Any) -> dict[str, Any]:
    return {
        "sync": spec.name,
        "unique_id": spec.unique_id,
        "object": spec.object,
        "status": "error" if error else "success",
        "message": str(error) if error else None,
        **more,
    }


def _pendo_field(field: SchemaField | None) -> dict[str, Any]:
    return asdict(field) if field else {"key": None, "display_name": None, "type": None}
