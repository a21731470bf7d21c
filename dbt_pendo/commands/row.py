"""What happened to one row: in the ledger, on the wire, in the warehouse and in Pendo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbt_pendo.commands.context import Context
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.errors import ConfigError
from dbt_pendo.history.calls import LoggedCall
from dbt_pendo.history.runs import Past
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Column, Field, SyncSpec
from dbt_pendo.outcomes import UNREADABLE
from dbt_pendo.pendo.client import PendoClient, PendoError
from dbt_pendo.pendo.records import PendoRecord, read_record
from dbt_pendo.records.comparable import FORMS, comparable_text, readable_text
from dbt_pendo.records.render import PendoField
from dbt_pendo.warehouse.runs import Entry, History


@dataclass(frozen=True, slots=True)
class RowValue:
    """A mapped field or property of a row.

    Attributes:
        name: Its name in the mapping.
        column: The column that fills it; empty for a constant.
        warehouse: What the warehouse has now.
        pendo: What Pendo holds, as people read it: a time as such, though Pendo has milliseconds.
    """

    name: str
    column: str
    warehouse: Any
    pendo: str | None


@dataclass(frozen=True, slots=True)
class RowHistory:
    """What happened to one row.

    Attributes:
        spec: The sync.
        key: The row's key.
        entries: What the ledger has of it, the latest first.
        run_id: The latest run whose calls are kept here that sent it; empty for none.
        calls: The calls of that run that carried it.
        rows: How many rows of that key the model has: none, one, or two for several.
        values: Its fields or properties.
        is_held: Whether Pendo holds the record; None when nobody knows.
        note: Why nobody knows; empty when somebody does.
    """

    spec: SyncSpec
    key: str
    entries: Sequence[Entry]
    run_id: str
    calls: Sequence[LoggedCall]
    rows: int
    values: Sequence[RowValue]
    is_held: bool | None
    note: str


def row_history(syncs: Context, sync: str, key: str, target_path: Path) -> RowHistory:
    """Finds out what happened to one row.

    Args:
        syncs: The syncs.
        sync: The sync's name.
        key: The row's key, as the ledger's ``record_key`` has it.
        target_path: dbt's target folder, with the calls of runs on this machine.

    Raises:
        ConfigError: If there is no such sync, or neither the model nor the ledger knows the key.
        WarehouseError: If the warehouse refuses to say.
    """
    found = next(((model, spec) for model, spec in syncs.selected.syncs if spec.name == sync), None)
    if found is None:
        names = ", ".join(spec.name for _, spec in syncs.selected.syncs)
        raise ConfigError(f"There is no sync {sync}.", f"Syncs: {names or 'none'}.")
    try:
        # Pendo's schema has the keys of fields that are mapped by their display names.
        asked = syncs.settings.integration_key is not None
        prepared = syncs.prepare(*found, may_create=False, ask_pendo=asked, writes=False)
    except PendoError:
        prepared = syncs.prepare(*found, may_create=False, ask_pendo=False)
    past = Past(History(syncs.session, syncs.schema), target_path)
    return _story(past, prepared, key, syncs.client)


def _story(past: Past, prepared: Prepared, key: str, client: PendoClient) -> RowHistory:
    spec = prepared.spec
    entries = past.history.entries(spec.name, key)
    rows = past.history.model_rows(prepared.source, key)
    run_id, calls = past.latest_calls(spec.name, key)
    if not entries and not rows and not calls:
        raise ConfigError(
            f"{spec.name}: neither the model's table nor the ledger has a row {key}.",
            "Keys are case sensitive; give it as the ledger's record_key has it.",
        )
    record, note = _held(spec, key, client)
    row = dict(zip(spec.columns, rows[0], strict=True)) if rows else {}
    return RowHistory(
        spec,
        key,
        entries,
        run_id,
        calls,
        len(rows),
        [
            RowValue(
                mapping.name,
                mapping.source.name if isinstance(mapping.source, Column) else "",
                _readable(row.get(mapping.source.name)) if isinstance(mapping.source, Column) else mapping.source.value,
                _shown(record.metadata.get(mapping.group, {}).get(field.key), field) if record else None,
            )
            for mapping, field in _mapped(prepared)
        ],
        None if note else record is not None,
        note,
    )


def _mapped(prepared: Prepared) -> Iterator[tuple[Field, PendoField]]:
    if (event := prepared.spec.event) is not None:
        return ((mapping, PendoField(mapping.name, mapping.type)) for mapping in event.properties)
    return zip(prepared.spec.fields, prepared.fields, strict=True)


def _readable(value: Any) -> Any:
    return value[UNREADABLE] if isinstance(value, dict) and value.keys() == {UNREADABLE} else value


def _shown(value: Any, field: PendoField) -> str | None:
    form = FORMS[field.type]
    return value if isinstance(value, str) and form != "time" else readable_text(comparable_text(value, form), form)


def _held(spec: SyncSpec, key: str, client: PendoClient) -> tuple[PendoRecord | None, str]:
    if not OBJECTS[spec.object].is_readable:
        return None, f"Pendo does not let a {spec.object.replace('_', ' ')} be read back"
    if client.settings.integration_key is None:
        return None, "Pendo was not asked: no integration key is set"
    try:
        return read_record(client, spec.object, key), ""
    except PendoError as error:
        return None, error.message
