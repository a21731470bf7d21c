"""Finds rows that a sync would find invalid: by their keys, and by converting a sample as a sync does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import REASONS_SHOWN
from dbt_pendo.history.runs import grouped
from dbt_pendo.mapping.spec import Column, ParentChild, Source, SyncSpec
from dbt_pendo.records.masking import BodyMask
from dbt_pendo.records.render import Rendered, Replaced, render
from dbt_pendo.secret import HIDDEN
from dbt_pendo.warehouse.pages import Planned, Row
from dbt_pendo.warehouse.plan import PlanOptions
from dbt_pendo.warehouse.runs import Reason
from dbt_pendo.warehouse.tables import SyncTables
from dbt_pendo.wording import number, visible

# Rows that are converted; a smaller table is converted as a whole.
SAMPLE = 1_000


@dataclass(frozen=True, slots=True)
class InvalidRows:
    """Rows that would be invalid for one reason."""

    reason: str
    rows: int
    # The key of one of them; None for a row without a key.
    key: str | None
    # Where the value comes from; None for a constant.
    column: str | None

    def __str__(self) -> str:
        example = f", e.g. {self.key}" if self.key else ""
        column = f", column {self.column}" if self.column and not self.reason.startswith(f"{self.column}:") else ""
        return f"{self.reason} ({self.rows:,}{example}{column})"


@dataclass(frozen=True, slots=True)
class Look:
    """Rows that were looked at, and those of them that would be invalid, by reason."""

    rows: int
    # Whether there may be more.
    is_sample: bool
    invalid: Sequence[InvalidRows]
    # What is to be said of values that would be replaced or left out (`on_invalid`).
    replaced: Sequence[str] = ()

    def warnings(self) -> list[str]:
        """Returns the warnings about invalid rows and values, if there are any."""
        if not self.invalid:
            return list(self.replaced)
        shown = [*map(str, self.invalid[:REASONS_SHOWN])]
        if more := len(self.invalid) - len(shown):
            shown.append(number(more, "more reason"))
        of = f"{self.rows:,} sampled rows" if self.is_sample else number(self.rows, "row")
        count = sum(one.rows for one in self.invalid)
        return [visible(f"{count:,} of {of} would be invalid: {', '.join(shown)}"), *self.replaced]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns an entry for each reason."""
        return [{**asdict(one), "of": self.rows, "is_sample": self.is_sample} for one in self.invalid]


def look_at_model(prepared: Prepared, tables: SyncTables, mask: BodyMask) -> Look:
    """Looks at a sample of the model's rows, whatever was delivered of them."""
    options = PlanOptions(full_refresh=True, sample=SAMPLE)
    rows = tables.preview(options, SAMPLE)
    keys = _invalid_keys(prepared, tables, options, mask)
    looked_at = len(rows) + sum(one.rows for one in keys)
    rendered = render(prepared.spec, rows, prepared.fields)
    invalid = sorted([*keys, *_invalid_values(prepared, rows, rendered, mask)], key=lambda one: -one.rows)
    return Look(looked_at, looked_at >= SAMPLE, invalid, _replaced_values(rendered, mask))


def look_at_plan(
    prepared: Prepared, tables: SyncTables, options: PlanOptions, planned: Planned, rows: Sequence[Row], mask: BodyMask
) -> list[Look]:
    """Looks at the keys of all rows of a plan, and at the values of those of its rows that were read."""
    keys = _invalid_keys(prepared, tables, options, mask) if planned.invalid else []
    rendered = render(prepared.spec, rows, prepared.fields)
    values = list(_invalid_values(prepared, rows, rendered, mask))
    replaced = _replaced_values(rendered, mask)
    return [Look(planned.in_model, False, keys), Look(len(rows), len(rows) < planned.to_send, values, replaced)]


def _invalid_keys(
    prepared: Prepared, tables: SyncTables, options: PlanOptions, mask: BodyMask
) -> Sequence[InvalidRows]:
    return [
        InvalidRows(reason, rows, key and mask.key(key), prepared.spec.key)
        for reason, rows, key in tables.invalid_reasons(options)
    ]


def _replaced_values(rendered: Rendered, mask: BodyMask) -> list[str]:
    """Returns a line for each field of which values would not be sent, though their rows would."""
    by_name: dict[str, list[Replaced]] = {}
    for one in rendered.replaced:
        by_name.setdefault(one.name, []).append(one)
    lines = []
    for name, (first, *others) in by_name.items():
        what = f"{number(len(others) + 1, 'value')} of {name} would not be sent (on_invalid: {first.on_invalid})"
        lines.append(visible(f"{what}, e.g. {HIDDEN if mask else first.reason} ({mask.key(first.key)})"))
    return lines


def _invalid_values(
    prepared: Prepared, rows: Sequence[Row], rendered: Rendered, mask: BodyMask
) -> Iterator[InvalidRows]:
    keys = {row[:2]: row[3] for row in rows}
    reasons = grouped(
        Reason("invalid", outcome.detail or "", 1, (keys[position],))
        for position, outcome in rendered.unsendable.items()
        if outcome.status == "invalid"
    )
    sources = _sources(prepared.spec)
    for one in reasons:
        # A reason begins with the name of the value, which may have a colon in it, and may quote any value.
        name = max((name for name in sources if one.message.startswith(f"{name}: ")), key=len, default="")
        reason = f"{name}: {HIDDEN}" if mask else one.message
        columns = sources[name].columns if name else ()
        yield InvalidRows(reason, one.rows, mask.key(one.examples[0]), next(iter(columns), None))


def _sources(spec: SyncSpec) -> Mapping[str, Source | ParentChild]:
    """Returns where each value comes from, by the name that a reason gives it."""
    sources = dict(spec.event.ids) if spec.event else {}
    if isinstance(account := sources.get("account_id"), ParentChild):
        sources |= {"account_id.parent": Column(account.parent), "account_id.child": Column(account.child)}
    for section, mapped in spec.sections.items():
        sources |= {one.name if section == "fields" else f"{section}.{one.name}": one.source for one in mapped}
    return sources
