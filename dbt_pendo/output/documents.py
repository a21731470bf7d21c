"""What ``--json`` prints: a document of entries, one a sync. The entries are also the data of log lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dbt_pendo import __version__
from dbt_pendo.commands.exposures import Exposure
from dbt_pendo.commands.init import Starter
from dbt_pendo.commands.plan import Checked
from dbt_pendo.commands.reset import Reset, Unlocked
from dbt_pendo.commands.verify import Verified
from dbt_pendo.delivery.fields import SyncFields, UnmappedField
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.spec import Column, Source
from dbt_pendo.pendo.metadata import SchemaField


def document(results: Iterable[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Returns the document of a command.

    Args:
        results: Its entries.
        more: What else it has to say, by name.
    """
    return {"metadata": {"dbt_pendo_version": __version__}, "results": list(results), **more}


def exposure_entry(one: Exposure) -> dict[str, Any]:
    """Returns the exposure of a sync."""
    return {
        "sync": one.spec.name,
        "unique_id": one.spec.unique_id,
        "object": one.spec.object,
        "status": "skipped" if one.left_out else "success",
        "message": one.left_out,
        "exposure": one.name,
    }


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


def error_document(error: DbtPendoError) -> dict[str, Any]:
    """Returns an error that ended a command."""
    return {"metadata": {"dbt_pendo_version": __version__}, "error": {"message": error.message, "hint": error.hint}}


def checked_entry(one: Checked) -> dict[str, Any]:
    """Returns what was found about a sync."""
    return {**_sync_of(one), **_findings_of(one)}


def planned_entry(one: Checked) -> dict[str, Any]:
    """Returns the plan of a sync, with the requests asked for by ``--show``."""
    return {
        **_sync_of(one),
        "planned": asdict(one.planned),
        "note": one.note,
        **_findings_of(one),
        "requests": [
            {"method": request.method, "path": request.path, "body": request.document} for request in one.requests
        ],
    }


def fields_entry(one: SyncFields) -> dict[str, Any]:
    """Returns the mapped fields of a sync beside those of Pendo."""
    return {
        **_sync_of(one),
        "fields": [
            {
                "name": each.mapping.name,
                **_filled_from(each.mapping.source),
                "column_type": each.dtype,
                "group": each.mapping.group,
                **_pendos(each.found),
                "state": each.state,
                "note": each.note or None,
            }
            for each in one.matched
        ],
        "warnings": list(one.warnings),
    }


def unmapped_entry(one: UnmappedField) -> dict[str, Any]:
    """Returns a field of Pendo's that no sync writes."""
    return {"object": one.object, "group": one.group, **_pendos(one.field), "state": "unmapped"}


def verified_entry(one: Verified) -> dict[str, Any]:
    """Returns what Pendo holds of a sync, beside what it should."""
    return {
        **_sync_of(one),
        "status": one.status,
        "note": one.note,
        "equal": one.equal,
        "drifted": one.drifted,
        "invalid": one.invalid,
        "missing": one.missing,
        "only_in_pendo": one.only_in_pendo,
        "fields": dict(one.fields),
        "examples": [
            {
                "key": drift.key,
                "fields": {name: {"warehouse": ours, "pendo": theirs} for name, (ours, theirs) in drift.fields.items()},
            }
            for drift in one.examples
        ],
        "repaired": one.repaired.to_dict() if one.repaired else None,
    }


def reset_entry(one: Reset) -> dict[str, Any]:
    """Returns what became of a sync's ledger."""
    return {
        **_sync_of(one),
        "adopted": one.adopted,
        "drifted": one.known.drifted if one.known else None,
        "missing": one.known.missing if one.known else None,
    }


def unlocked_entry(one: Unlocked) -> dict[str, Any]:
    """Returns what became of a sync's lock."""
    return {
        "sync": one.sync,
        "holder": {**asdict(one.holder), "since": str(one.holder.since)} if one.holder else None,
        "broken": one.broken,
    }


def _filled_from(source: Source) -> dict[str, Any]:
    return {"column": source.name} if isinstance(source, Column) else {"value": source.value}


def _pendos(field: SchemaField | None) -> dict[str, Any]:
    return {
        "key": field.key if field else None,
        "display_name": field.display_name if field else None,
        "type": field.type if field else None,
    }


def _sync_of(one: Checked | Verified | Reset | SyncFields) -> dict[str, Any]:
    return {
        "sync": one.spec.name,
        "unique_id": one.spec.unique_id,
        "object": one.spec.object,
        "status": "error" if one.error else "success",
        "message": str(one.error) if one.error else None,
    }


def _findings_of(one: Checked) -> dict[str, Any]:
    return {"warnings": list(one.warnings), "left_out": one.left_out}
