"""What DuckDB writes as a request body is, to the byte, what Python makes of the same values."""

import dataclasses
from collections.abc import Iterator
from typing import get_args

import pytest
from harness import SmallProject
from harness.projects import connect

from dbt_pendo.delivery.send import Batch, SqlBatch
from dbt_pendo.delivery.writers import body_layouts
from dbt_pendo.mapping.spec import Column, Field, FieldType, SyncSpec
from dbt_pendo.records.render import PendoField, render
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.plan import EVERYTHING, ModelTable, PlanOptions
from dbt_pendo.warehouse.session import Session, open_session
from dbt_pendo.warehouse.tables import SyncTables

ROWS = 2_000
TYPES: tuple[FieldType | None, ...] = (*get_args(FieldType), None)
# Every character that an encoder may treat in its own way.
CHARACTERS = [f"<{chr(point)}>" for point in (*range(1, 0x300), 0x2028, 0x2029, 0xFEFF, 0xFFFD, 0x1F600, 0x10FFFF)]
TEXTS = ["", " ", "null", "Ünïcödé 🚀", 'a "quoted" \\ word', "\\u0041", "'", "</script>", "{{ x }}", *CHARACTERS]
KEYS = ['say "hi"', "back\\slash", "ünïcödé 🚀", "tab\there", "a:b, c", "</script>"]
DOUBLES = "nan inf -inf 0 -0.0 1 0.1 1e15 1e16 1e-4 9.9e-5 5e-324 1.8e308 999999999999999.9 123456789012345.6 -1e15"
DOUBLES += " 0.00012345678901234567"
ANY_DOUBLE = "if(i % 2 = 0, round((random() - 0.5) * 2e5, 2), (random() - 0.5) * 10 ** (random() * 40 - 20))"
DAYS = "infinity,-infinity,0001-01-01,0999-12-31,1000-01-01,1969-12-31,9999-12-31,0044-03-15 (BC),12345-06-07"
DAYS += ",9998-12-31,1582-10-10,2024-02-29"
ANY_DAY = "date '0001-01-01' + (random() * 3652000)::int"
ANY_MOMENT = f"{ANY_DAY} + to_microseconds((random() * 86400e6)::bigint)"


def whole(bits: int, signed: bool = True) -> tuple[list[str], str]:
    """Odd whole numbers, and the SQL of numbers of all lengths."""
    half = 2 ** (bits - 1)
    odd = [-half, half - 1, 0, 1, -1] if signed else [0, 2 * half - 1, 1]
    return [str(number) for number in odd], f"(random() - {0.5 if signed else 0}) * {half} * random() ** 8"


def exact(digits: int, places: int) -> tuple[list[str], str]:
    """Odd decimals, and the SQL of decimals of all lengths."""
    most = "9" * (digits - places) + "." + "9" * places
    before = f"left(hash(i)::varchar || hash(-i)::varchar, i % {digits - places + 1})"
    after = f"left(hash(i + {ROWS})::varchar, {places})"
    return ["0", most, f"-{most}"], f"if(i % 2 = 0, '-0', '0') || {before} || '.' || {after}"


# Of each column its type, the odd values that come first, and the SQL of all others, where `i` is the row.
COLUMNS: dict[str, tuple[str, list[str], str]] = {
    "text": ("varchar", TEXTS, " || ".join(["chr((32 + random() * if(i % 2 = 0, 95, 55000))::int)"] * 6)),
    "flag": ("boolean", [], "random() < 0.5"),
    "tiny": ("tinyint", *whole(8)),
    "small": ("smallint", *whole(16)),
    "whole": ("integer", *whole(32)),
    "big": ("bigint", *whole(64)),
    "unsigned": ("uinteger", *whole(32, signed=False)),
    "huge": ("hugeint", *whole(64)),
    "real": ("double", DOUBLES.split(), ANY_DOUBLE),
    "single": ("float", [], "round(random() * 1e3, 2)"),
    "money": ("decimal(18, 2)", *exact(18, 2)),
    "micro": ("decimal(38, 10)", *exact(38, 10)),
    "share": ("decimal(9, 9)", *exact(9, 9)),
    "round": ("decimal(38, 0)", *exact(38, 0)),
    "moment": (
        "timestamp",
        DAYS.split(","),
        f"date_trunc(['second', 'millisecond', 'microsecond'][1 + i % 3], {ANY_MOMENT})",
    ),
    "zoned": ("timestamptz", [], "timestamptz '2026-03-29 00:00:00+00' + to_minutes(i % 60)"),
    "day": ("date", DAYS.split(","), ANY_DAY),
}
# Of which columns DuckDB writes which fields.
WRITTEN = {
    ("text",): ("string", None),
    ("flag",): ("boolean", None),
    ("tiny", "small", "whole", "big", "unsigned"): ("integer", "float", None),
    ("real", "money", "micro", "share"): ("float", None),
    ("round",): ("float",),
    ("moment", "day"): ("time", None),
}


@pytest.fixture
def session(project: SmallProject) -> Iterator[Session]:
    columns = ", ".join(
        f"if(i <= len($odd_{name}), $odd_{name}[i]::{dtype}, ({others})::{dtype}) as {name}"
        for name, (dtype, _, others) in COLUMNS.items()
    )
    odd = {f"odd_{name}": [None, *odd] for name, (_, odd, _) in COLUMNS.items()}
    with connect(project.database) as connection:
        connection.execute("select setseed(0.20261123)")
        connection.execute(
            f"create table odd_values as select i || $keys[1 + i % len($keys)] as id, {columns} "
            f"from range(1, {ROWS + 1}) rows(i)",
            {"keys": KEYS, **odd},
        )
    with open_session(Connection(project.folder, project.folder)) as opened:
        yield opened


def test_duckdb_writes_bodies_as_python_does(session):
    spec = SyncSpec(
        *("odd", "model.small.odd", "x.yml", "visitor", "id"), tuple(Field(name, Column(name)) for name in COLUMNS)
    )
    found = session.columns(None, "main", "odd_values")
    assert found is not None
    tables = SyncTables(session, "bodies", spec, ModelTable("main.odd_values", found[0], tuple(found[1:])))
    tables.ensure_schema()
    tables.prepare()
    tables.write_changes("run", PlanOptions())
    rows = tables.read_page(EVERYTHING)
    assert len(rows) == ROWS
    written = set()
    for at, name in enumerate(COLUMNS, start=4):
        alone = dataclasses.replace(spec, fields=(Field(name, Column(name)),))
        for type_ in TYPES:
            # A key that has to be quoted, in JSON and in SQL.
            field = PendoField('it\'s "key"', type_)
            layouts = body_layouts(alone, [field])
            if not tables.writes_bodies(layouts):
                continue
            written.add((name, type_))
            bodies = tables.read_bodies(EVERYTHING, layouts)
            page = [(row, body) for row, body in zip(rows, bodies, strict=True) if body != (None,)]
            # Random bits are odd more often than not; numbers, times and texts as people have them are not.
            assert len(page) > ROWS * 0.2, (name, type_, len(page))
            wanted = render(alone, [(*row[:4], row[at]) for row, _ in page], [field])
            assert not wanted.unsendable
            batch = SqlBatch([row[:2] for row, _ in page], [body for _, body in page], "visitorId")
            assert batch.positions == [record.position for record in wanted.updates]
            assert batch.request(0) == Batch(wanted.updates).request(0), (name, type_)
            assert [record[:2] for record in batch.records] == [record[:2] for record in wanted.updates]
            assert Batch(batch.records).request(0) == batch.request(0)
    assert written == {(name, type_) for names, types in WRITTEN.items() for name in names for type_ in types}
