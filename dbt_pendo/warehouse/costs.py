"""How many bytes a query scans, as far as the warehouse says so before it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from dbt_pendo.warehouse.session import Session, WarehouseError

# A scan of a table in PostgreSQL's and Redshift's plans: of one table expression, it would be no table's.
_SCAN = re.compile(
    r"(?P<parallel>Parallel )?(?:\bSeq|(?<!Bitmap )\bIndex|\bOnly|\bHeap|\bForeign) Scan\b"
    r".* rows=(?P<rows>\d+) width=(?P<width>\d+)\)"
)
_WORKERS = re.compile(r"Workers Planned: (\d+)")
# A table in Spark's plans.
_RELATION = re.compile(
    r"^[ :+|-]*\w*Relation\w*[ (\[].*Statistics\(sizeInBytes=([\d.E+]+) ([KMGTPE]?)i?B", re.MULTILINE
)
_UNITS = " KMGTPE"
# What Spark takes a table of unknown size for is more.
_SPARK_KNOWS = 1024**6
# Bytes of a value in DuckDB's memory: a text has 16 and more, most others 8 or fewer.
_DUCKDB_VALUE = 16


def bytes_scanned(session: Session, query: str) -> int | None:
    """Returns about how many bytes a query scans; None where the warehouse does not say, or may not be asked."""
    try:
        if (exact := session.dry_run(query)) is not None:
            return exact
        explain = session.sql("pendo_explain", statement=query)
        rows = session.rows(explain) if explain else []
    except WarehouseError:
        return None
    # DuckDB has a kind of plan before the plan.
    plan = "\n".join(str(row[-1]) for row in rows)
    read = {"snowflake": _snowflake, "duckdb": _duckdb, "spark": _spark, "databricks": _spark}
    try:
        return read.get(session.adapter_type, _postgres)(plan) if plan else None
    except (ValueError, TypeError, LookupError):
        # A version of the warehouse that has other words.
        return None


def _snowflake(plan: str) -> int:
    return int(orjson.loads(plan)["GlobalStats"]["bytesAssigned"])


def _postgres(plan: str) -> int | None:
    sizes, processes = [], 1.0
    for line in plan.splitlines():
        if workers := _WORKERS.search(line):
            # The process that starts them helps, the less the more there are.
            processes = int(workers[1]) + max(1 - 0.3 * int(workers[1]), 0)
        if scan := _SCAN.search(line):
            sizes.append(int(scan["rows"]) * int(scan["width"]) * (processes if scan["parallel"] else 1))
    return round(sum(sizes)) if sizes else None


def _spark(plan: str) -> int | None:
    sizes = [float(size) * 1024 ** _UNITS.index(unit or " ") for size, unit in _RELATION.findall(plan)]
    return round(sum(sizes)) if sizes and max(sizes) < _SPARK_KNOWS else None


def _duckdb(plan: str) -> int | None:
    scans = [node["extra_info"] for node in _nodes(orjson.loads(plan)) if node["name"].strip().endswith("_SCAN")]
    sizes = [
        int(scan["Estimated Cardinality"]) * len(_listed(scan.get("Projections", []))) * _DUCKDB_VALUE
        for scan in scans
        if "Table" in scan
    ]
    return sum(sizes) if sizes else None


def _nodes(plan: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in plan:
        yield node
        yield from _nodes(node["children"])


def _listed(columns: str | list[str]) -> list[str]:
    """Returns a list of DuckDB's, which writes one of a single element without brackets."""
    return [columns] if isinstance(columns, str) else columns
