"""What happened to one row: in the ledger, on the wire, in the warehouse and in Pendo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbt_pendo.engine.call_log import LoggedCall
from dbt_pendo.engine.history import Past
from dbt_pendo.engine.prepare import Prepared
from dbt_pendo.errors import ConfigError
from dbt_pendo.pendo.client import PendoClient, PendoError
from dbt_pendo.pendo.readback import READABLE, read_record
from dbt_pendo.spec.sync import Column, SyncSpec
from dbt_pendo.warehouse.history import Entry


@dataclass(frozen=True, slots=True)
class RowStory:
    """What happened to one row.

    Attributes:
        spec: The sync.
        key: The row's key.
        entries: What the ledger has of it, the latest first.
        run_id: The latest run whose calls are kept here that sent it; empty for none.
        calls: The calls of that run that carried it.
        rows: The model's rows of that key by column: none, one, or two of several.
        fields: Of each mapped field, or property, the column that fills it.
        held: What Pendo holds by group and field; None when it holds nothing, or was not asked.
        note: Why Pendo was not asked, or did not answer; empty when it did.
    """

    spec: SyncSpec
    key: str
    entries: Sequence[Entry]
    run_id: str
    calls: Sequence[LoggedCall]
    rows: Sequence[Mapping[str, Any]]
    fields: Mapping[str, str]
    held: Mapping[str, Mapping[str, Any]] | None
    note: str


def tell_row(past: Past, prepared: Prepared, key: str, client: PendoClient) -> RowStory:
    """Finds out what happened to a row.

    Raises:
        ConfigError: If neither the model nor the ledger knows the key.
        WarehouseError: If the warehouse refuses to say.
    """
    spec = prepared.spec
    entries = past.history.entries(spec.name, key)
    rows = past.history.model_rows(prepared.source, key)
    run_id, calls = past.latest_calls(spec.name, key)
    if not entries and not rows and not calls:
        raise ConfigError(
            f"{spec.name}: neither {prepared.source.relation} nor the ledger has a row {key}.",
            "Keys are case sensitive; give it as the ledger's record_key has it.",
        )
    held, note = _held(spec, key, client)
    return RowStory(
        spec,
        key,
        entries,
        run_id,
        calls,
        [dict(zip(spec.columns, row, strict=True)) for row in rows],
        {
            mapping.name: mapping.source.name if isinstance(mapping.source, Column) else ""
            for mapping in (spec.event.properties if spec.event else spec.fields)
        },
        held,
        note,
    )


def _held(spec: SyncSpec, key: str, client: PendoClient) -> tuple[Mapping[str, Mapping[str, Any]] | None, str]:
    if spec.object not in READABLE:
        return None, f"Pendo does not let a {spec.object.replace('_', ' ')} be read back"
    if client.settings.integration_key is None:
        return None, "Pendo was not asked: no integration key is set"
    try:
        record = read_record(client, spec.object, key)
    except PendoError as error:
        return None, error.message
    return (record.metadata, "") if record else (None, f"Pendo does not know this {spec.object}")
