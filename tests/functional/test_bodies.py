"""What DuckDB writes as a request body is, to the byte, what Python makes of the same values."""

from __future__ import annotations

import dataclasses
import math
import random
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, get_args

import pytest
from harness import SmallProject

from dbt_pendo.mapping.spec import Column, Field, FieldType, SyncSpec
from dbt_pendo.records.batches import Batch, SqlBatch, body_layouts
from dbt_pendo.records.render import PendoField, render
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.plan import EVERYTHING, ModelTable, PlanOptions
from dbt_pendo.warehouse.session import Session, open_session

ROWS = 2_000
TYPES: tuple[FieldType | None, ...] = (*get_args(FieldType), None)
COLUMNS = {
    "text": "varchar",
    "flag": "boolean",
    "tiny": "tinyint",
    "small": "smallint",
    "whole": "integer",
    "big": "bigint",
    "unsigned": "uinteger",
    "huge": "hugeint",
    "real": "double",
    "single": "float",
    "money": "decimal(18, 2)",
    "micro": "decimal(38, 10)",
    "share": "decimal(9, 9)",
    "round": "decimal(38, 0)",
    "moment": "timestamp",
    "zoned": "timestamptz",
    "day": "date",
}
NUMBERS = {"tiny", "small", "whole", "big", "unsigned"}
WRITTEN = {
    *(("text", type_) for type_ in ("string", None)),
    *(("flag", type_) for type_ in ("boolean", None)),
    *((name, type_) for name in NUMBERS for type_ in ("integer", "float", None)),
    *((name, type_) for name in ("real", "money", "micro", "share") for type_ in ("float", None)),
    ("round", "float"),
    *((name, type_) for name in ("moment", "day") for type_ in ("time", None)),
}


def _texts(chance: random.Random) -> Iterator[str | None]:
    yield from (None, "", " ", "null", "Ünïcödé 🚀", 'a "quoted" \\ word', "\\u0041", "'", "</script>", "{{ x }}")
    # Every character that an encoder may treat in its own way.
    yield from (f"<{chr(point)}>" for point in (*range(0x300), 0x2028, 0x2029, 0xFEFF, 0xFFFD, 0x1F600, 0x10FFFF))
    while True:
        yield "".join(chr(chance.choice((chance.randrange(32, 127), chance.randrange(0xA0, 0xD800)))) for _ in range(9))


def _numbers(chance: random.Random, bits: int, signed: bool) -> Iterator[int | None]:
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    yield from (None, lowest, highest, 0, 1, max(lowest, -1))
    while True:
        number = chance.randint(lowest, highest) >> chance.randrange(bits)
        yield min(max(number, lowest), highest)


def _doubles(chance: random.Random) -> Iterator[float | None]:
    yield from (None, math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, 0.1, 1e15, 1e16, 1e-4, 9.9e-5, 5e-324, 1.8e308)
    yield from (999999999999999.9, 123456789012345.6, -1e15, 0.00012345678901234567)
    while True:
        yield struct.unpack("d", struct.pack("Q", chance.getrandbits(64)))[0]
        yield round(chance.uniform(-1e5, 1e5), 2)
        yield chance.uniform(-10, 10) * 10 ** chance.randint(-6, 17)


def _decimals(chance: random.Random, digits: int, places: int) -> Iterator[str | None]:
    most = 10**digits - 1
    yield from (None, "0", str(Decimal(most).scaleb(-places)), str(Decimal(-most).scaleb(-places)))
    while True:
        yield format(Decimal(chance.randint(-most, most) // 10 ** chance.randrange(digits)).scaleb(-places), "f")


def _moments(chance: random.Random, clock: bool) -> Iterator[str | None]:
    yield from (None, "infinity", "-infinity", "0001-01-01", "0999-12-31", "1000-01-01", "1969-12-31", "9999-12-31")
    yield from ("0044-03-15 (BC)", "12345-06-07", "9998-12-31", "1582-10-10", "2024-02-29")
    while True:
        day = f"{chance.randint(1, 9999):04}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
        time = f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}"
        fraction = chance.choice(("", f".{chance.randrange(10**6):06}", f".{chance.randrange(1000):03}"))
        yield f"{day} {time}{fraction}" if clock else day


@pytest.fixture(scope="module")
def values() -> dict[str, list[Any]]:
    chance = random.Random(20261123)
    made: dict[str, Iterator[Any]] = {
        "text": _texts(chance),
        "flag": iter(lambda: chance.choice((True, False, None)), "never"),
        "tiny": _numbers(chance, 8, True),
        "small": _numbers(chance, 16, True),
        "whole": _numbers(chance, 32, True),
        "big": _numbers(chance, 64, True),
        "unsigned": _numbers(chance, 32, False),
        "huge": _numbers(chance, 64, True),
        "real": _doubles(chance),
        "single": iter(lambda: round(chance.uniform(-1e3, 1e3), 2), None),
        "money": _decimals(chance, 18, 2),
        "micro": _decimals(chance, 38, 10),
        "share": _decimals(chance, 9, 9),
        "round": _decimals(chance, 38, 0),
        "moment": _moments(chance, True),
        "zoned": iter(lambda: f"2026-03-29 00:{chance.randrange(60):02}:00+00", None),
        "day": _moments(chance, False),
    }
    return {name: [next(column) for _ in range(ROWS)] for name, column in made.items()}


@pytest.fixture
def session(project: SmallProject, values: dict[str, list[Any]]) -> Iterator[Session]:
    as_texts = {name: [None if value is None else str(value) for value in column] for name, column in values.items()}
    columns = ", ".join(f"unnest(?::varchar[])::{dtype} as {name}" for name, dtype in COLUMNS.items())
    project.sql(
        "create table odd_values as select unnest(range(?))::varchar as id, " + columns, [ROWS, *as_texts.values()]
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
    assert written == WRITTEN
