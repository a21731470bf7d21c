"""Compares what Pendo holds with what a sync would send, and sends again what differs."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dbt_pendo.commands.context import Context
from dbt_pendo.delivery.context import SyncContext
from dbt_pendo.delivery.fields import kind_of
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import Observer, SyncResult
from dbt_pendo.delivery.sync import Options, SyncRun
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.mapping.spec import Column, Field, SyncSpec
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.records import READABLE, PendoRecord, read_records
from dbt_pendo.records.comparable import FORMS, Form, comparable_text, joined, shown, split
from dbt_pendo.records.convert import CONVERTERS, InvalidValue
from dbt_pendo.records.masking import body_mask
from dbt_pendo.records.render import PendoField, render
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.readback import HeldField, ReadBack
from dbt_pendo.warehouse.runs import log_run
from dbt_pendo.warehouse.session import WarehouseError

DRIFTS_SHOWN = 20
# By the kind of a column and the form of its field: the form in which the warehouse itself says what will be held.
_IN_SQL: Mapping[tuple[str | None, Form], Form] = {
    (None, "text"): "text",
    ("boolean", "boolean"): "boolean",
    ("integer", "decimal"): "integer",
    ("float", "decimal"): "decimal",
    ("time", "time"): "time",
}


@dataclass(frozen=True, slots=True)
class Drift:
    """A record that Pendo holds otherwise.

    Attributes:
        key: Its id.
        fields: Of each field that differs what the warehouse says, and what Pendo holds; None is no value.
    """

    key: str
    fields: Mapping[str, tuple[str | None, str | None]]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found about one sync.

    Attributes:
        spec: The sync.
        error: Why it could not be verified; None when it was.
        note: Why there is nothing to verify; None when there is.
        equal: Records that Pendo holds as the warehouse says.
        invalid: Records of which a value can never be sent, so that nothing says what Pendo should hold.
        drifted: Records that it holds otherwise.
        missing: Rows of the model whose record Pendo does not have.
        only_in_pendo: Records that the model does not have.
        fields: How many records differ in each field.
        examples: The first records that drifted.
        missing_example: A key of the missing ones.
        only_example: A key of those that only Pendo has.
        repaired: What resending did; None when nothing was resent.
    """

    spec: SyncSpec
    error: DbtPendoError | None = None
    note: str | None = None
    equal: int = 0
    invalid: int = 0
    drifted: int = 0
    missing: int = 0
    only_in_pendo: int = 0
    fields: Mapping[str, int] = field(default_factory=dict)
    examples: Sequence[Drift] = ()
    missing_example: str | None = None
    only_example: str | None = None
    repaired: SyncResult | None = None

    @property
    def to_repair(self) -> int:
        """Records a sync could bring right; in the mode `update` nobody is created."""
        return self.drifted + (self.missing if self.spec.mode == "upsert" else 0)

    @property
    def status(self) -> Literal["success", "drifted", "skipped", "error"]:
        """How it went, in one word: ``skipped`` is what there is nothing to verify of."""
        if self.error is not None:
            return "error"
        if self.note is not None:
            return "skipped"
        return "success" if self.in_order else "drifted"

    @property
    def in_order(self) -> bool:
        """Whether Pendo holds what it should, or has taken what it did not."""
        if self.error is not None:
            return False
        return self.to_repair == 0 or (self.repaired is not None and self._is_repaired(self.repaired))

    def _is_repaired(self, result: SyncResult) -> bool:
        return result.status == "success" and result.delivered + result.planned.invalid >= self.to_repair


def why_unreadable(spec: SyncSpec) -> str | None:
    """Returns why a sync's records cannot be read back; None when they can."""
    if spec.object in READABLE:
        return None
    what = {"track_event": "events", "segment": "the members of a segment", "parent_account": "parent accounts"}
    return f"Pendo's API does not let {what[spec.object]} be read back"


def require_readable(spec: SyncSpec) -> None:
    """Refuses a sync whose records cannot be read back.

    Raises:
        ConfigError: If they cannot.
    """
    if reason := why_unreadable(spec):
        raise ConfigError(f"{spec.file}: {spec.name}: {reason}.", "Leave it out with --exclude.")


def compare(prepared: Prepared, client: PendoClient, tables: ReadBack, lock: SyncLock) -> Verified:
    """Reads Pendo back and compares it with the model; the list of what drifted stays in the scratch tables.

    Args:
        prepared: The sync.
        client: Pendo.
        tables: The scratch tables.
        lock: The sync's lock, which is kept meanwhile.

    Raises:
        DbtPendoError: If Pendo or the warehouse cannot be read.
    """
    spec, forms = prepared.spec, [FORMS[field.type] for field in prepared.fields]
    tables.create()
    for page in read_records(client, spec.object):
        lock.renew()
        tables.add([(record.key, _held(record, spec.fields, prepared.fields, forms)) for record in page])
    with lock.alive():
        found = tables.compare([_in_sql(prepared, mapping, at) for at, mapping in enumerate(spec.fields)])
    lock.renew()
    fields: Counter[str] = Counter()
    examples: list[Drift] = []
    drifted = invalid = 0
    for rows in tables.suspects():
        drifts, unsendable = _judge(prepared, rows, forms)
        # What cannot be sent stays on the list: nobody takes it for delivered, and the next sync says what is wrong.
        tables.note_equal([row[1] for row in rows if row[1] not in drifts.keys() | unsendable])
        invalid += len(unsendable)
        lock.renew()
        drifted += len(drifts)
        for drift in drifts.values():
            fields.update(drift.fields.keys())
            if len(examples) < DRIFTS_SHOWN:
                examples.append(drift)
    return Verified(
        spec,
        equal=found.sound - found.missing - drifted - invalid,
        invalid=invalid,
        drifted=drifted,
        missing=found.missing,
        only_in_pendo=found.only_in_pendo,
        fields=dict(fields.most_common()),
        examples=examples,
        missing_example=found.missing_example,
        only_example=found.only_example,
    )


def drifted_part(prepared: Prepared, tables: ReadBack) -> Prepared:
    """Returns a sync of nothing but what has drifted."""
    return replace(prepared, source=tables.drifted_source(with_missing=prepared.spec.mode == "upsert"))


def _held(record: PendoRecord, mapped: Sequence[Field], fields: Sequence[PendoField], forms: Sequence[Form]) -> str:
    values = (record.metadata.get(one.group, {}).get(field.key) for one, field in zip(mapped, fields, strict=True))
    return joined(_storable(comparable_text(value, form)) for value, form in zip(values, forms, strict=True))


def _storable(text: str | None) -> str | None:
    # Some warehouses take no NUL in a text; it makes no two values alike that a person would tell apart.
    return text and text.replace("\0", "\ufffd")


def _in_sql(prepared: Prepared, mapping: Field, at: int) -> HeldField:
    field_type = prepared.fields[at].type
    form = FORMS[field_type]
    if not isinstance(mapping.source, Column):
        constant = mapping.source.value
        try:
            sent = None if constant is None else CONVERTERS[field_type](_listed(constant))
        except InvalidValue:
            return HeldField(None, "constant")
        return HeldField(None, "constant", comparable_text(sent, form))
    dtypes = dict(zip(prepared.spec.columns, prepared.source.columns, strict=True))
    return HeldField(mapping.source.name, _IN_SQL.get((kind_of(dtypes[mapping.source.name].dtype), form)))


def _listed(constant: object) -> object:
    return list(constant) if isinstance(constant, tuple) else constant


def _judge(
    prepared: Prepared, rows: Sequence[tuple[object, ...]], forms: Sequence[Form]
) -> tuple[dict[str, Drift], set[str]]:
    """Returns by key which rows really drifted, and which are invalid: they are rendered as for a sync."""
    spec = prepared.spec
    numbered = [(row[0], seq, "changed", row[1], *row[3:]) for seq, row in enumerate(rows)]
    rendered = render(spec, numbered, prepared.fields)
    held = {str(row[1]): split(str(row[2])) for row in rows}
    drifts: dict[str, Drift] = {}
    for record in rendered.updates:
        sent: dict[tuple[str, str], object] = {}
        for group, body in zip(spec.groups, record.bodies, strict=False):
            if isinstance(body, dict):
                sent |= {(group, key): value for key, value in body["values"].items()}
        differing = {}
        for at, (mapping, pendo_field) in enumerate(zip(spec.fields, prepared.fields, strict=True)):
            # What is not sent, a null that is to be skipped, is left to Pendo.
            if (mapping.group, pendo_field.key) in sent:
                wanted = _storable(comparable_text(sent[mapping.group, pendo_field.key], forms[at]))
                if wanted != held[record.key][at]:
                    differing[mapping.name] = (shown(wanted, forms[at]), shown(held[record.key][at], forms[at]))
        if differing:
            drifts[record.key] = Drift(record.key, differing)
    invalid = {str(rows[seq][1]) for (_, seq), outcome in rendered.unsendable.items() if outcome.status == "invalid"}
    return drifts, invalid


def verify_syncs(syncs: Context, repair: bool, target_path: Path, observer: Observer) -> Iterator[Verified]:
    """Compares what Pendo holds with what the warehouse says.

    Args:
        syncs: The syncs.
        repair: Resend what drifted.
        target_path: dbt's target folder, for the journal.
        observer: Watches the resending.
    """
    run_id = syncs.begin(target_path)
    for model, spec in syncs.selected.syncs:
        syncs.stop.check()
        if (unreadable := why_unreadable(spec)) is not None:
            yield Verified(spec, note=unreadable)
            continue
        if not (verdict := syncs.selected.verdicts[spec.unique_id]).may_run:
            # What its table holds is not what the model says.
            yield Verified(spec, note=verdict.reason)
            continue
        try:
            prepared = syncs.prepare(model, spec, may_create=repair, writes=repair)
            yield _verify(syncs, run_id, prepared, repair, target_path, observer)
        except DbtPendoError as error:
            yield Verified(spec, error)


def _verify(
    syncs: Context, run_id: str, prepared: Prepared, repair: bool, target_path: Path, observer: Observer
) -> Verified:
    tables = syncs.tables(prepared)
    readback = ReadBack(syncs.session, syncs.schema, prepared.spec, prepared.source)
    syncs.calls.about(prepared.spec.name, body_mask(syncs.settings.mask, prepared.spec, prepared.fields))
    try:
        with tables.locked(run_id) as lock:
            verified = compare(prepared, syncs.client, readback, lock)
        if not repair or not verified.to_repair:
            return verified
        part = drifted_part(prepared, readback)
        # Whoever asks for a repair has seen how many there are.
        options = Options(full_refresh=True, force=True)
        context = SyncContext(run_id, part, syncs.tables(part), syncs.client, target_path, syncs.stop, observer)
        result = SyncRun(context, options).run()
        result = result.without(syncs.settings.secrets)
        with contextlib.suppress(WarehouseError):
            log_run(syncs.session, syncs.schema, result.to_row(run_id))
        return replace(verified, repaired=result)
    finally:
        with contextlib.suppress(WarehouseError):
            readback.drop()
