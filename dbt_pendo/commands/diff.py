"""Shows rows that would be sent beside what Pendo holds of them (`plan --diff`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dbt_pendo.commands.verify import held_values, sent_beside
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.records import PendoRecord, read_record
from dbt_pendo.records.convert import comparable_text, readable_text
from dbt_pendo.records.masking import BodyMask
from dbt_pendo.records.render import render
from dbt_pendo.secret import HIDDEN
from dbt_pendo.warehouse.pages import Row


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
        for name, type_, *values in sent_beside(prepared, record, held_values(prepared, held or PendoRecord(key, {}))):
            sent, pendo = (readable_text(comparable_text(value, type_), type_) for value in values)
            differs = sent != pendo
            if name in mask.names:
                sent, pendo = (text if text is None else HIDDEN for text in (sent, pendo))
            fields.append(FieldDiff(name, pendo, sent, differs))
        yield RowDiff(mask.key(key), None if held else "Pendo does not know this id", fields)
