"""Bodies that the warehouse has written → Pendo records: what ``render.py`` makes of a page, where SQL can do it.

It spares the way of every value through the driver and Python, most of what a row costs. The bodies are the same to
the byte; the macro ``pendo_body`` leaves out what it cannot write so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from dbt_pendo.records.render import ID_KEYS, LEADING_COLUMNS, PendoField, Record, Rendered
from dbt_pendo.spec.body import BodyField, BodyLayout
from dbt_pendo.spec.sync import Column, SyncSpec


def body_layouts(spec: SyncSpec, fields: Sequence[PendoField]) -> tuple[BodyLayout, ...]:
    """Returns the bodies of a sync, one a metadata group; none when only ``render`` can write them."""
    if any(mapping.nulls == "skip" or not isinstance(mapping.source, Column) for mapping in spec.fields):
        return ()
    return tuple(
        BodyLayout(
            _json(ID_KEYS[spec.object]),
            tuple(
                BodyField(_json(field.key), mapping.source.name, field.type)
                for mapping, field in zip(spec.fields, fields, strict=True)
                if mapping.group == group and isinstance(mapping.source, Column)
            ),
        )
        for group in spec.groups
    )


def is_odd(row: Sequence[Any]) -> bool:
    """Returns whether the warehouse left out a body of a row."""
    return None in row[LEADING_COLUMNS:]


def records_of(rows: Sequence[tuple[Any, ...]], odd: Rendered) -> Rendered:
    """Returns the records of a page.

    Args:
        rows: Tuples of bucket, seq, change, record key and a body a metadata group.
        odd: What ``render`` makes of those rows that are odd.
    """
    if not rows:
        return odd
    buckets, seqs, _, keys, *bodies = zip(*rows, strict=True)
    positions = zip(buckets, seqs, strict=True)
    fragments = [map(orjson.Fragment, texts) for texts in bodies]
    # Not Record(...), which takes as long as all the rest.
    records = map(partial(tuple.__new__, Record), zip(positions, keys, zip(*fragments, strict=True), strict=True))
    if not any(map(is_odd, rows)):
        return Rendered(updates=list(records))
    rendered = {record.position: record for record in odd.updates}
    in_order = (
        rendered.get(record.position) if is_odd(row) else record for row, record in zip(rows, records, strict=True)
    )
    return replace(odd, updates=[record for record in in_order if record is not None])


def _json(text: str) -> str:
    return orjson.dumps(text).decode()
