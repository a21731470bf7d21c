"""Compares what Pendo has with what a sync would send: of all records, to send again what differs (`verify`).

Of a few rows that would be sent, it shows both sides (`plan --diff`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import orjson

from dbt_pendo.commands.context import Context, SyncFinding
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import Observer, SyncResult
from dbt_pendo.delivery.sync import Options
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import FieldType, Model, SyncSpec
from dbt_pendo.outcomes import Position
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.records import PendoRecord, read_record, read_records
from dbt_pendo.records.convert import comparable_text, readable_text
from dbt_pendo.records.masking import BodyMask
from dbt_pendo.records.render import Record, render
from dbt_pendo.secret import HIDDEN, private_folder
from dbt_pendo.warehouse.pages import Row
from dbt_pendo.warehouse.plan import ChangeSet, DriftTable, PlanOptions, cut_pages
from dbt_pendo.warehouse.session import WarehouseError

DRIFTS_SHOWN = 20
ROWS_PER_PAGE = 10_000
# How Pendo has a row; what cannot be sent is none of the others, wherever it is.
State: TypeAlias = Literal["equal", "drifted", "missing", "invalid"]


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """A field of a row: what Pendo holds, what would be sent, and whether these are two values."""

    name: str
    pendo: str | None
    sent: str | None
    differs: bool


@dataclass(frozen=True, slots=True)
class RowDiff:
    """A row that would be sent, beside what Pendo holds of it."""

    key: str
    # What else is to be said of it: that it would be invalid, or that Pendo does not know it.
    note: str | None
    fields: Sequence[FieldDiff] = ()


@dataclass(frozen=True, slots=True)
class Verified(SyncFinding):
    """What was found about one sync."""

    # Why there is nothing to verify.
    note: str | None = None
    equal: int = 0
    # Rows that cannot be sent, so that nothing says what Pendo should have.
    invalid: int = 0
    drifted: int = 0
    # Rows that could be sent and whose record Pendo does not have; invalid ones too; and the reverse.
    missing: int = 0
    not_there: int = 0
    only_in_pendo: int = 0
    # How many records differ in each field.
    fields: Mapping[str, int] = field(default_factory=dict)
    # Records that Pendo has with other values, with the fields that differ.
    examples: Sequence[RowDiff] = ()
    missing_example: str | None = None
    only_example: str | None = None
    # What resending did; None when nothing was resent.
    repaired: SyncResult | None = None

    @property
    def rows(self) -> int:
        """Rows of the model."""
        return self.equal + self.drifted + self.missing + self.invalid

    @property
    def to_repair(self) -> int:
        """Records that a sync could correct; in the mode `update` none are created."""
        return self.drifted + (self.missing if self.spec.mode == "upsert" else 0)

    @property
    def status(self) -> Literal["success", "drifted", "skipped", "error"]:
        """How it went, in one word: ``skipped`` is a sync that cannot be verified."""
        if self.error is not None:
            return "error"
        if self.note is not None:
            return "skipped"
        return "success" if self.in_order else "drifted"

    @property
    def in_order(self) -> bool:
        """Whether Pendo has what it should, or has taken what it did not have."""
        if self.error is not None:
            return False
        if (result := self.repaired) is None:
            return self.to_repair == 0
        return result.status in ("success", "warn") and result.delivered + result.planned.invalid >= self.to_repair

    def details(self) -> dict[str, Any]:
        """Returns what Pendo has, beside what it should have."""
        names = ("status", "note", "rows", "equal", "drifted", "invalid", "missing", "not_there", "only_in_pendo")
        examples = [
            {"key": row.key, "fields": {one.name: {"warehouse": one.sent, "pendo": one.pendo} for one in row.fields}}
            for row in self.examples
        ]
        return {
            **{name: getattr(self, name) for name in names},
            "fields": dict(self.fields),
            "examples": examples,
            "repaired": self.repaired.to_dict() if self.repaired else None,
        }


class PendoCopy:
    """What Pendo has of the mapped fields of all records, in a SQLite database: memory takes a byte a record."""

    def __init__(self, prepared: Prepared, database: sqlite3.Connection) -> None:
        self._prepared = prepared
        self._database = database
        # It is not read again after a crash.
        database.executescript("pragma journal_mode = off; pragma synchronous = off")
        # Keys are bytes, for a driver may hand out text that is none.
        database.execute("create table records (number integer primary key, key blob unique, fields blob)")
        # By the number of a record: whether the model has it.
        self._met = bytearray()

    def add(self, records: Iterable[PendoRecord]) -> None:
        """Adds records."""
        for record in records:
            row = (len(self._met), _bytes(record.key), orjson.dumps(_held_values(self._prepared, record)))
            self._database.execute("insert or ignore into records values (?, ?, ?)", row)
            self._met.append(False)
        self._database.commit()

    def find(self, key: str) -> bytes | None:
        """Returns the values of a record's mapped fields, as a JSON list; None when Pendo does not have it."""
        found = self._database.execute("select number, fields from records where key = ?", [_bytes(key)]).fetchone()
        if found is None:
            return None
        self._met[found[0]] = True
        return cast(bytes, found[1])

    def only_in_pendo(self) -> tuple[int, str | None]:
        """Returns how many records were never found, and the first of their keys."""
        records = self._database.execute("select number, key from records order by key")
        count, first = 0, None
        for number, key in records:
            if not self._met[number]:
                count += 1
                first = first or key.decode("utf-8", "surrogatepass")
        return count, first


@contextlib.contextmanager
def pendo_copy(prepared: Prepared, target_path: Path) -> Iterator[PendoCopy]:
    """Opens an empty copy, in a file for its owner alone that is gone afterwards."""
    try:
        with (
            tempfile.NamedTemporaryFile(prefix="verify.", suffix=".sqlite", dir=private_folder(target_path)) as file,
            contextlib.closing(sqlite3.connect(file.name)) as database,
        ):
            yield PendoCopy(prepared, database)
    except (OSError, sqlite3.Error) as error:
        raise DbtPendoError(f"What Pendo has cannot be kept in {target_path}: {error}.") from None


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def why_unreadable(spec: SyncSpec) -> str | None:
    """Returns why a sync's records cannot be read back field by field; None when they can."""
    if OBJECTS[spec.object].is_readable:
        return None
    if spec.segment is not None:
        return "the members of a segment have no fields"
    return f"Pendo's API does not let {OBJECTS[spec.object].plural} be read back"


def compare(
    prepared: Prepared, context: Context, changes: ChangeSet, run_id: str, drift: DriftTable | None = None
) -> Verified:
    """Reads Pendo back, renders the whole model as a sync does, and compares.

    Args:
        prepared: The sync.
        context: Pendo, and where to keep what it has.
        changes: Takes the change set, with all rows of the model; its lock is kept meanwhile.
        run_id: The run.
        drift: Takes the rows that are not equal, if they are needed.

    Raises:
        DbtPendoError: If Pendo or the warehouse cannot be read.
    """
    spec, lock = prepared.spec, changes.lock
    counts: Counter[State] = Counter()
    fields: Counter[str] = Counter()
    examples: list[RowDiff] = []
    missing_example = None
    if drift is not None:
        drift.create()
    with pendo_copy(prepared, context.target_path) as pendo:
        for page in read_records(context.client, spec.object):
            lock.renew()
            pendo.add(page)
        buckets = changes.write_changes(run_id, PlanOptions(full_refresh=True))
        not_there = invalid = sum(bucket.planned.invalid for bucket in buckets)
        for span in cut_pages(buckets, ROWS_PER_PAGE):
            lock.renew()
            rows = changes.read_page(span)
            if invalid:
                # The model has them, though nothing says what Pendo should have.
                not_there -= sum(pendo.find(key) is not None for key in changes.read_invalid_keys(span))
            found = {row[3]: values for row in rows if (values := pendo.find(row[3])) is not None}
            states, drifts = _judge(prepared, rows, found)
            counts.update(states.values())
            not_there += sum(row[3] not in found for row in rows)
            fields.update(name for row in drifts for name in dict.fromkeys(one.name for one in row.fields))
            examples += drifts[: DRIFTS_SHOWN - len(examples)]
            if missing_example is None:
                missing_example = next((row[3] for row in rows if states[row[:2]] == "missing"), None)
            if drift is not None:
                # What Pendo does not have is not to be taken for delivered, whether it can be sent or not.
                there = {row[:2] for row in rows if row[3] in found}
                drift.add({at: one if at in there else "missing" for at, one in states.items() if one != "equal"})
        only_in_pendo, only_example = pendo.only_in_pendo()
    return Verified(
        spec,
        equal=counts["equal"],
        invalid=invalid + counts["invalid"],
        drifted=counts["drifted"],
        missing=counts["missing"],
        not_there=not_there,
        only_in_pendo=only_in_pendo,
        fields=dict(fields.most_common()),
        examples=examples,
        missing_example=missing_example,
        only_example=only_example,
    )


def _judge(
    prepared: Prepared, rows: Sequence[Row], found: Mapping[str, bytes]
) -> tuple[dict[Position, State], list[RowDiff]]:
    """Returns the state of each row of a page, and what differs."""
    rendered = render(prepared.spec, rows, prepared.fields)
    states: dict[Position, State] = {row[:2]: "equal" if row[3] in found else "missing" for row in rows}
    for position, outcome in rendered.unsendable.items():
        if outcome.status == "invalid":
            states[position] = "invalid"
    drifts = []
    for record in rendered.updates:
        if record.key in found and (fields := _differences(prepared, record, found[record.key])):
            states[record.position] = "drifted"
            drifts.append(RowDiff(record.key, None, fields))
    return states, drifts


def _held_values(prepared: Prepared, record: PendoRecord) -> list[Any]:
    """Returns what Pendo has of each mapped field of a record."""
    fields = zip(prepared.spec.fields, prepared.fields, strict=True)
    return [record.metadata.get(mapping.group, {}).get(field.key) for mapping, field in fields]


def _sent_beside(
    prepared: Prepared, record: Record, held: Sequence[Any]
) -> Iterator[tuple[str, FieldType | None, Any, Any]]:
    """Yields the name and the type of each mapped field, the value that is sent, and the one that Pendo has."""
    bodies = zip(prepared.spec.groups, record.bodies, strict=False)
    sent = {group: body["values"] for group, body in bodies if isinstance(body, dict)}
    for mapping, pendo_field, theirs in zip(prepared.spec.fields, prepared.fields, held, strict=True):
        # What is not sent, a null that is to be skipped, is left to Pendo.
        yield mapping.name, pendo_field.type, sent.get(mapping.group, {}).get(pendo_field.key, theirs), theirs


def _differences(prepared: Prepared, record: Record, found: bytes) -> list[FieldDiff]:
    """Returns the fields that Pendo has otherwise."""
    differing = []
    for name, type_, ours, theirs in _sent_beside(prepared, record, orjson.loads(found)):
        if type_ in ("string", "integer", "float") and type(ours) is type(theirs) and ours == theirs:
            continue
        their = comparable_text(theirs, type_)
        # A time is sent as the very text.
        if type_ == "time" and ours == their:
            continue
        our = comparable_text(ours, type_)
        if our != their:
            differing.append(FieldDiff(name, readable_text(their, type_), readable_text(our, type_), differs=True))
    return differing


def verify_syncs(context: Context, repair: bool, observer: Observer) -> Iterator[Verified]:
    """Compares what Pendo has with what the warehouse says.

    Args:
        context: The syncs.
        repair: Resend what drifted.
        observer: Watches the resending.
    """
    if repair:
        context.require_writable()
    run_id = context.begin()

    # That file builds on this one.
    from dbt_pendo.commands.verify_segments import verify_segment

    def verify(model: Model, spec: SyncSpec) -> Verified:
        if spec.segment is None and (unreadable := why_unreadable(spec)) is not None:
            return Verified(spec, note=unreadable)
        if not (verdict := context.selected.verdicts[spec.unique_id]).may_run:
            # What its table holds is not what the model says.
            return Verified(spec, note=verdict.reason)
        prepared = context.prepare(model, spec, may_create=repair, writes=repair)
        verify_one = _verify if spec.segment is None else verify_segment
        return verify_one(context, run_id, prepared, repair, observer)

    return context.each_sync(verify, Verified)


def _verify(context: Context, run_id: str, prepared: Prepared, repair: bool, observer: Observer) -> Verified:
    spec, source, tables = prepared.spec, prepared.source, context.tables(prepared)
    if repair and prepared.another_ledger:
        raise ConfigError(f"{spec.name}: {prepared.another_ledger}.", "`dbt-pendo sync --force` passes.")
    # Not the sync's own change set: what a dead run left in it is for the next sync to recover.
    changes = ChangeSet(context.session, context.schema, spec, source, tables.lock, "compared")
    drift = DriftTable(context.session, context.schema, spec)
    context.log_calls_of(spec, prepared.fields)
    try:
        with tables.locked(run_id):
            verified = compare(prepared, context, changes, run_id, drift if repair else None)
        if not repair or not verified.to_repair:
            return verified
        part = replace(prepared, source=drift.part_of(source, changes.changes, with_missing=spec.mode == "upsert"))
        # Who asks for a repair has seen how many there are.
        result = context.deliver(run_id, part, Options(full_refresh=True, force=True), observer)
        return replace(verified, repaired=context.log(run_id, result))
    finally:
        with contextlib.suppress(WarehouseError):
            changes.drop_changes()
            drift.drop()


def diff_rows(prepared: Prepared, client: PendoClient, rows: Sequence[Row], mask: BodyMask) -> Iterator[RowDiff]:
    """Yields rows beside what Pendo holds of them now, without the values that a mask hides.

    Raises:
        PendoError: If Pendo does not let a record be read.
    """
    spec = prepared.spec
    rendered = render(spec, rows, prepared.fields)
    records = {record.position: record for record in rendered.updates}
    for row in rows:
        key, record = row[3], records.get(row[:2])
        if record is None:
            reason = rendered.unsendable[row[:2]].detail
            # A reason may quote any value.
            shown = HIDDEN if mask else reason
            yield RowDiff(mask.key(key), f"would be invalid: {shown}" if reason else "would not be sent: all is null")
            continue
        held = read_record(client, spec.object, key)
        fields = []
        for name, type_, *values in _sent_beside(
            prepared, record, _held_values(prepared, held or PendoRecord(key, {}))
        ):
            sent, pendo = (readable_text(comparable_text(value, type_), type_) for value in values)
            differs = sent != pendo
            if name in mask.names:
                sent, pendo = (text if text is None else HIDDEN for text in (sent, pendo))
            fields.append(FieldDiff(name, pendo, sent, differs))
        yield RowDiff(mask.key(key), None if held else "Pendo does not know this id", fields)
