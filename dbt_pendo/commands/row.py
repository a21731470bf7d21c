"""Finds out what happened to one row: in the ledger, on the wire, in the warehouse and in Pendo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dbt_pendo.commands.context import Context
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.errors import ConfigError
from dbt_pendo.history.calls import LoggedCall
from dbt_pendo.history.runs import RunLog
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Column, Field, SyncSpec
from dbt_pendo.outcomes import UNREADABLE
from dbt_pendo.pendo.client import PendoClient, PendoError
from dbt_pendo.pendo.records import PendoRecord, read_record
from dbt_pendo.records.convert import WRITABLE, comparable_text, readable_text
from dbt_pendo.records.render import PendoField
from dbt_pendo.warehouse.runs import LedgerEntry


@dataclass(frozen=True, slots=True)
class RowValue:
    """A mapped field or property of a row, with what the warehouse and Pendo have of it now."""

    name: str
    # Empty for a constant.
    column: str
    # As JSON has it.
    warehouse: Any
    # As people read it: a time as such, though Pendo has milliseconds.
    pendo: str | None


@dataclass(frozen=True, slots=True)
class RowHistory:
    """What happened to one row."""

    spec: SyncSpec
    key: str
    # The latest first.
    entries: Sequence[LedgerEntry]
    # The latest run kept here that sent it, empty for none, and its calls that carried it.
    run_id: str
    calls: Sequence[LoggedCall]
    # How many rows of that key the model has: none, one, or two for several.
    rows: int
    values: Sequence[RowValue]
    # Whether Pendo has the record; None, with a note why, when it cannot be known.
    is_held: bool | None
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Returns its entry under ``results``."""
        return {
            "sync": self.spec.name,
            "object": self.spec.object,
            "key": self.key,
            "ledger": [{name: value for name, value in asdict(one).items() if name != "key"} for one in self.entries],
            "rows": self.rows,
            "values": list(map(asdict, self.values)),
            "is_held": self.is_held,
            "note": self.note or None,
            "run_id": self.run_id or None,
            "calls": list(map(asdict, self.calls)),
        }


def row_history(context: Context, sync: str, key: str) -> RowHistory:
    """Finds out what happened to one row, by the key that the ledger has as ``record_key``.

    Raises:
        ConfigError: If there is no such sync, or neither the model nor the ledger knows the key.
        WarehouseError: If the warehouse refuses to say.
    """
    by_name = {spec.name: (model, spec) for model, spec in context.selected.syncs}
    if sync not in by_name:
        raise ConfigError(f"There is no sync {sync}.", f"Syncs: {', '.join(by_name) or 'none'}.")
    try:
        # Pendo's schema has the keys of fields that are mapped by their display names.
        ask_pendo = context.settings.integration_key is not None
        prepared = context.prepare(
            *by_name[sync], may_create=False, ask_pendo=ask_pendo, writes=False, of_any_pendo=True
        )
    except PendoError:
        prepared = context.prepare(*by_name[sync], may_create=False, ask_pendo=False, of_any_pendo=True)
    log = RunLog(context.session, context.ends, context.target_path)
    entries, rows = log.entries(sync, key), log.model_rows(prepared.source, key)
    run_id, calls = log.latest_calls(sync, key)
    if not entries and not rows and not calls:
        raise ConfigError(
            f"{sync}: neither the model's table nor the ledger has a row {key}.",
            "Keys are case sensitive; give it as the ledger's record_key has it.",
        )
    record, note = _pendo_record(prepared.spec, key, context.client)
    row = dict(zip(prepared.spec.columns, rows[0], strict=True)) if rows else {}
    values = [_value(mapped, field, row, record) for mapped, field in _fields(prepared)]
    is_held = None if note else record is not None
    return RowHistory(prepared.spec, key, entries, run_id, calls, len(rows), values, is_held, note)


def _fields(prepared: Prepared) -> Iterator[tuple[Field, PendoField]]:
    if (event := prepared.spec.event) is not None:
        return ((mapped, PendoField(mapped.name, mapped.type)) for mapped in event.properties)
    return zip(prepared.spec.fields, prepared.fields, strict=True)


def _value(mapped: Field, field: PendoField, row: dict[str, Any], record: PendoRecord | None) -> RowValue:
    column = mapped.source.name if isinstance(mapped.source, Column) else ""
    ours = row.get(column) if isinstance(mapped.source, Column) else mapped.source.value
    if isinstance(ours, dict) and ours.keys() == {UNREADABLE}:
        ours = ours[UNREADABLE]
    theirs = record.metadata.get(mapped.group, {}).get(field.key) if record else None
    if not isinstance(theirs, str) or field.type == "time":
        theirs = readable_text(comparable_text(theirs, field.type), field.type)
    return RowValue(mapped.name, column, _plain(ours), theirs)


def _plain(value: Any) -> Any:
    """Returns a value of the warehouse as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, int) and value in WRITABLE:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value if value is None or isinstance(value, str | float) else str(value)


def _pendo_record(spec: SyncSpec, key: str, client: PendoClient) -> tuple[PendoRecord | None, str]:
    if not OBJECTS[spec.object].is_readable:
        return None, f"Pendo does not let a {spec.object.replace('_', ' ')} be read back"
    if client.settings.integration_key is None:
        return None, "Pendo was not asked: no integration key is set"
    try:
        return read_record(client, spec.object, key), ""
    except PendoError as error:
        return None, error.message
