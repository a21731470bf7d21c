"""Compares what Pendo has with what a sync would send: of all records, to send again what differs (`verify`).

Of a few rows that would be sent, it shows both sides (`plan --diff`).
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import orjson

from dbt_pendo.commands.context import Context, SyncFinding, now
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import Observer, SyncResult
from dbt_pendo.delivery.sync import Options
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.objects import DO_NOT_PROCESS, OBJECTS
from dbt_pendo.mapping.spec import FieldType, Model, SyncSpec
from dbt_pendo.outcomes import Position
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.copy import Held, copied_records
from dbt_pendo.pendo.records import PendoRecord, read_record
from dbt_pendo.records.convert import comparable_text, readable_text
from dbt_pendo.records.masking import BodyMask
from dbt_pendo.records.render import Record, consents_of, render
from dbt_pendo.secret import HIDDEN
from dbt_pendo.warehouse.pages import Row, cut_pages
from dbt_pendo.warehouse.plan import ChangeSet, DriftTable, PlanOptions
from dbt_pendo.warehouse.session import WarehouseError

DRIFTS_SHOWN = 20
ROWS_PER_PAGE = 10_000
# How Pendo has a row; what cannot be sent is none of the others, wherever it is. What Pendo hides is not compared.
State: TypeAlias = Literal["equal", "drifted", "missing", "invalid", "excluded", "do_not_process"]
ONLY_CHILDREN = (
    "Pendo returns no account but those with an id `Parent::Child`, as it does where parent accounts are on: "
    "it may have the others"
)
_AGE = re.compile("([1-9][0-9]{0,3})([dh])")


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
    # Rows whose records Pendo has and hides: on its exclude list, or not processed at all (pendo-api.md 6).
    excluded: int = 0
    do_not_process: int = 0
    # The key of one row in each state.
    first: Mapping[State, str] = field(default_factory=dict)
    # What could not be seen.
    warnings: Sequence[str] = ()
    # Only records that Pendo updated since then were looked at; None for all.
    since: datetime.datetime | None = None
    only_example: str | None = None
    # What resending did; None when nothing was resent.
    repaired: SyncResult | None = None

    @property
    def rows(self) -> int:
        """Rows of the model that were looked at."""
        return self.equal + self.drifted + self.missing + self.invalid + self.hidden

    @property
    def hidden(self) -> int:
        """Rows whose records Pendo has, and does not show."""
        return self.excluded + self.do_not_process

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
        names = ("status", "note", "rows", "equal", "drifted", "invalid", "missing", "excluded", "do_not_process")
        examples = [
            {"key": row.key, "fields": {one.name: {"warehouse": one.sent, "pendo": one.pendo} for one in row.fields}}
            for row in self.examples
        ]
        return {
            **{name: getattr(self, name) for name in (*names, "not_there", "only_in_pendo")},
            "since": self.since.isoformat() if self.since else None,
            "warnings": list(self.warnings),
            "fields": dict(self.fields),
            "examples": examples,
            "repaired": self.repaired.to_dict() if self.repaired else None,
        }


def why_unreadable(spec: SyncSpec) -> str | None:
    """Returns why a sync's records cannot be read back field by field; None when they can."""
    if OBJECTS[spec.object].is_readable:
        return None
    if spec.segment is not None:
        return "the members of a segment have no fields"
    return f"Pendo's API does not let {OBJECTS[spec.object].plural} be read back"


def compare(
    prepared: Prepared,
    context: Context,
    changes: ChangeSet,
    run_id: str,
    drift: DriftTable | None = None,
    since: datetime.datetime | None = None,
) -> Verified:
    """Reads Pendo back, renders the whole model as a sync does, and compares.

    Args:
        prepared: The sync.
        context: Pendo, and where to keep what it has.
        changes: Takes the change set, with all rows of the model; its lock is kept meanwhile.
        run_id: The run.
        drift: Takes the rows that are not equal, if they are needed.
        since: Looks only at records that Pendo updated since then; None for all.

    Raises:
        DbtPendoError: If Pendo or the warehouse cannot be read.
    """
    spec, lock = prepared.spec, changes.lock
    counts: Counter[State] = Counter()
    fields: Counter[str] = Counter()
    examples: list[RowDiff] = []
    first: dict[State, str] = {}
    if drift is not None:
        drift.create()

    values = partial(_held_values, prepared)
    since_ms = None if since is None else int(since.timestamp() * 1000)
    renew = partial(lock.renew, waits_for_pendo=True)
    with copied_records(context.client, spec.object, values, context.target_path, since_ms, renew) as pendo:
        buckets = changes.write_changes(run_id, PlanOptions(full_refresh=True))
        has_invalid = any(bucket.planned.invalid for bucket in buckets)
        # Of records that are not looked at nothing is said.
        not_there = invalid = 0 if since else sum(bucket.planned.invalid for bucket in buckets)
        for span in cut_pages(buckets, ROWS_PER_PAGE):
            lock.renew()
            rows = changes.read_page(span)
            # The model has them, though nothing says what Pendo should have.
            invalid_keys = changes.read_invalid_keys(span) if has_invalid else []
            held = pendo.find([*invalid_keys, *(row[3] for row in rows)])
            there = sum(key in held for key in invalid_keys)
            if since:
                rows = [row for row in rows if row[3] in held]
                invalid += there
            else:
                not_there += sum(row[3] not in held for row in rows) - there
            states, drifts = _judge(prepared, rows, held)
            counts.update(states.values())
            fields.update(name for row in drifts for name in dict.fromkeys(one.name for one in row.fields))
            examples += drifts[: DRIFTS_SHOWN - len(examples)]
            for row in rows:
                first.setdefault(states[row[:2]], row[3])
            if drift is not None:
                # What Pendo does not have is not to be taken for delivered, whether it can be sent or not.
                known = {row[:2] for row in rows if row[3] in held}
                drift.add({at: one if at in known else "missing" for at, one in states.items() if one != "equal"})
        only_in_pendo, only_example = pendo.never_found()
        warnings = list(pendo.warnings)
        if spec.object == "account" and "::" not in first.get("missing", "::") and pendo.has_children_alone():
            warnings.append(ONLY_CHILDREN)
    return Verified(
        spec,
        equal=counts["equal"],
        invalid=invalid + counts["invalid"],
        drifted=counts["drifted"],
        missing=counts["missing"],
        excluded=counts["excluded"],
        do_not_process=counts["do_not_process"],
        not_there=not_there,
        only_in_pendo=only_in_pendo,
        fields=dict(fields.most_common()),
        examples=examples,
        first=first,
        only_example=only_example,
        warnings=warnings,
        since=since,
    )


def _judge(
    prepared: Prepared, rows: Sequence[Row], held: Mapping[str, Held]
) -> tuple[dict[Position, State], list[RowDiff]]:
    """Returns the state of each row of a page, and what differs."""
    spec = prepared.spec
    rendered = render(spec, rows, prepared.fields)
    states: dict[Position, State] = {}
    for row in rows:
        view, _ = held.get(row[3], (None, b""))
        states[row[:2]] = "missing" if view is None else "equal" if view == "shown" else view
    for position, outcome in rendered.unsendable.items():
        if outcome.status == "invalid":
            states[position] = "invalid"
    drifts = []
    for record in rendered.updates:
        state, consent = states[record.position], consents_of(spec, record).get(DO_NOT_PROCESS)
        fields = []
        if state == "equal":
            fields = _differences(prepared, record, held[record.key][1])
        elif state == "do_not_process" and consent is not None:
            # The model says itself whether Pendo is to process it.
            states[record.position] = "equal"
            fields = [] if consent else [FieldDiff(DO_NOT_PROCESS, "true", "false", differs=True)]
        if fields:
            states[record.position] = "drifted"
            drifts.append(RowDiff(record.key, None, fields))
    return states, drifts


def _held_values(prepared: Prepared, record: PendoRecord) -> list[Any]:
    """Returns what Pendo has of each mapped field of a record."""
    pairs = zip(prepared.spec.fields, prepared.fields, strict=True)
    held = [(mapping.group, record.metadata.get(mapping.group, {}).get(field.key)) for mapping, field in pairs]
    # A consent that was never set is as good as false.
    return [False if value is None and group == "pendo" else value for group, value in held]


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


def since_when(text: str) -> datetime.datetime:
    """Returns the time that `--since` means: so many days or hours ago, or a date or time, which is UTC without a zone.

    Raises:
        ConfigError: If it is none of them.
    """
    if found := _AGE.fullmatch(text):
        return now() - datetime.timedelta(hours=int(found[1]) * (24 if found[2] == "d" else 1))
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--since {text!r} is no time.", "Write it as `2d`, `12h` or `2026-01-31`.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    if moment > now():
        raise ConfigError(f"--since {text} is still to come.", "Give a time from which on Pendo has updated records.")
    return moment


def verify_syncs(
    context: Context, repair: bool, observer: Observer, since: datetime.datetime | None = None
) -> Iterator[Verified]:
    """Compares what Pendo has with what the warehouse says.

    Args:
        context: The syncs.
        repair: Resend what drifted.
        observer: Watches the resending.
        since: Looks only at records that Pendo updated since then; None for all.
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
        if repair and prepared.another_ledger:
            raise ConfigError(f"{spec.name}: {prepared.another_ledger}.", "`dbt-pendo sync --force` passes.")
        if spec.segment is not None:
            return verify_segment(context, run_id, prepared, repair, observer)
        return _verify(context, run_id, prepared, repair, observer, since)

    return context.each_sync(verify, Verified)


def _verify(
    context: Context, run_id: str, prepared: Prepared, repair: bool, observer: Observer, since: datetime.datetime | None
) -> Verified:
    spec, source, tables = prepared.spec, prepared.source, context.tables(prepared)
    # Not the sync's own change set: what a dead run left in it is for the next sync to recover.
    changes = ChangeSet(context.session, context.schema, spec, source, tables.lock, "compared")
    drift = DriftTable(context.session, context.schema, spec)
    context.log_calls_of(spec, prepared.fields)
    try:
        with tables.locked(run_id):
            verified = compare(prepared, context, changes, run_id, drift if repair else None, since)
        if not repair or not verified.to_repair:
            return verified
        part = replace(prepared, source=drift.part_of(source, changes.changes, with_missing=spec.mode == "upsert"))
        # Who asks for a repair has seen how many there are; but what cannot be undone takes `max_changes` here, too.
        force = DO_NOT_PROCESS not in spec.consents
        result = context.deliver(run_id, part, Options(full_refresh=True, force=force), observer)
        context.log(run_id, [result])
        return replace(verified, repaired=result)
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
