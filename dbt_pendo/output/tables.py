"""Writes small answers as tables for other programs (`--output csv`, `--output json`)."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import agate
from dbt_common.clients.agate_helper import Integer

from dbt_pendo.output.streams import json_for
from dbt_pendo.secret import Secrets, without
from dbt_pendo.wording import visible, visible_json


def write_table(rows: Iterable[Mapping[str, Any]], table_format: str, secrets: Secrets) -> None:
    """Writes rows to stdout; what is a list or a mapping becomes JSON in one cell.

    Args:
        rows: The rows, which need not all have the same columns.
        table_format: ``csv`` or ``json``.
        secrets: What no cell may show.
    """
    records = [without(secrets, row) for row in rows]
    columns = list(dict.fromkeys(name for record in records for name in record))
    # No row spans several lines of a CSV file; JSON has escapes of its own.
    show = visible if table_format == "csv" else str
    cells = [[_cell(record.get(name), show) for name in columns] for record in records]
    types = [_type([row[at] for row in cells]) for at in range(len(columns))]
    table, text = agate.Table(cells, columns, types), io.StringIO()
    if table_format == "csv":
        table.to_csv(text)
        sys.stdout.write(text.getvalue())
    else:
        table.to_json(text, indent=2)
        sys.stdout.write(json_for(sys.stdout, visible_json(text.getvalue())) + "\n")


def _cell(value: Any, show: Any) -> Any:
    if isinstance(value, str):
        return show(value)
    return show(json.dumps(value, ensure_ascii=False)) if isinstance(value, list | tuple | dict) else value


def _type(column: Sequence[Any]) -> agate.data_types.DataType:
    kinds = {type(value) for value in column if value is not None}
    if kinds == {bool}:
        return agate.Boolean()
    if kinds == {int}:
        return Integer()
    return agate.Number() if kinds and kinds <= {int, float} else agate.Text(cast_nulls=False)
