"""The longest statements that dbt-pendo makes, in each dialect, beside what its warehouse takes."""

from collections.abc import Callable

import pytest
from engine import people
from test_rendered import PLAIN, RETRIES, Recorder, dialect, loaded, recorder, tsql  # noqa: F401 - fixtures

from dbt_pendo.mapping.spec import Column, Field, SyncSpec
from dbt_pendo.outcomes import Outcome
from dbt_pendo.warehouse.builds import Build, take_builds
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.warehouse.pages import Span
from dbt_pendo.warehouse.plan import DRIFT_PER_STATEMENT, EVERYTHING, DriftTable, ModelTable, PlanOptions
from dbt_pendo.warehouse.runs import History, log_runs
from dbt_pendo.warehouse.tables import SyncTables

# What is not of these adapters' making.
pytestmark = pytest.mark.filterwarnings("ignore")

# Bytes of a statement, by the documentation of each warehouse.
LIMITS = {
    "bigquery": 1_000_000,
    "snowflake": 1_000_000,
    "redshift": 16 * 2**20,
    "databricks": 16 * 2**20,
    "trino": 1_000_000,
    "athena": 262_144,
    "clickhouse": 262_144,
    # Times the packets of the network, by default of 4 KB. Fabric documents no limit of its own.
    "sqlserver": 65_536 * 4_096,
    "fabric": 65_536 * 4_096,
}
# As long as the ledger keeps it, of characters that have to be escaped or take four bytes.
HOSTILE = {"backslashes": "\\" * 500, "quotes": "'" * 500, "lines": "\r\n" * 250, "rockets": "🚀" * 500}
MAPPED, MODELS, REJECTED = 300, 1_000, 1_500


def wide(recorder: Recorder) -> tuple[SyncSpec, ModelTable]:
    """A sync of many columns with names as long as PostgreSQL's may be, of each type in turn."""
    types = recorder.types
    columns = [TableColumn(f"column_{at:03}_".ljust(63, "x"), types[at % len(types)]) for at in range(MAPPED)]
    fields = tuple(Field(f"f{at}", Column(column.name)) for at, column in enumerate(columns))
    return people(fields=fields), recorder.model(TableColumn("id", types[0]), *columns)


def plans(recorder: Recorder) -> None:
    for recorder.there in (False, True):
        tables = SyncTables(recorder, "pendo", *wide(recorder))
        tables.write_changes("r1", RETRIES)
        tables.write_changes("r1", PlanOptions(full_refresh=True))
        tables.preview(PLAIN, 5)
        tables.read_page(EVERYTHING)
        History(recorder, "pendo").model_rows(wide(recorder)[1], "a")


def rejections(recorder: Recorder) -> None:
    tables = recorder.sync()
    for text in HOSTILE.values():
        rows = [("0ab", at) for at in range(REJECTED)]
        # Most rows were delivered; and each is rejected for a reason of its own.
        for refused in (rows[::3], rows):
            outcomes = {row: Outcome("rejected", f"{row[1]:04}{text[4:]}") for row in refused}
            tables.commit("r1", Span("0aa", "0ac"), rows, outcomes)


def drifted_rows(recorder: Recorder) -> None:
    spec, _ = recorder.people()
    DriftTable(recorder, "pendo", spec).add({("0ab", at): "drifted" for at in range(20_000)})


def run_log(recorder: Recorder) -> None:
    numbers = ("added", "changed", "removed", "unchanged", "invalid", "held", "delivered", "missing", "rejected")
    row = dict.fromkeys((*numbers, "requests", "retries", "bytes", "duration", "deleted", "cleared"), 10**12)
    row |= dict.fromkeys(("run_id", "sync", "unique_id", "object", "status", "target", "pendo_host"), "x" * 100)
    messages = [{**row, "message": text * 4} for text in HOSTILE.values()]
    log_runs(recorder, "pendo", messages * (MODELS // len(messages)))
    History(recorder, "pendo").recent([f"sync {at:04}".ljust(60, "x") for at in range(MODELS)], "r1", 11)


def builds(recorder: Recorder) -> None:
    """A thousand models with a hundred fields each, and many that have thousands of tests."""
    mapping = '{"object": "visitor", "fields": {' + ", ".join(f'"field{at}": "column_{at}"' for at in range(100)) + "}}"
    tests = "{" + ", ".join(f'"test.shop.not_null_column_{at}": "pass"' for at in range(1_000)) + "}"
    published = [
        {
            **dict.fromkeys(("invocation_id", "command", "model", "file", "identifier", "relation_name"), "x" * 60),
            "action": "published",
            "unique_id": f"model.shop.{at}",
            "tests": tests if at % 10 == 0 else HOSTILE["backslashes"],
            "mapping": mapping,
            "build_order": at,
        }
        for at in range(MODELS)
    ]
    adapter = recorder._adapter
    parts = adapter.execute_macro("pendo_build_parts", project="dbt_pendo", kwargs={"rows": published})
    assert [row for part in parts for row in part] == published
    for part in parts:
        recorder.run(recorder.sql("pendo_add_builds", builds=recorder.pendos("pendo_builds"), rows=part))
    take_builds(recorder, "pendo", [Build(f"model.shop.{at}", *["x"] * 16) for at in range(MODELS)], "r1")


def events(recorder: Recorder) -> None:
    recorder.there = True
    moment = recorder.moments[0]
    tables = recorder.events(moment, max_age=3600)
    tables.write_changes("r1", RETRIES)


CASES: list[Callable[[Recorder], None]] = [plans, rejections, drifted_rows, run_log, builds, events]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_longest_statements_are_taken(recorder, dialect, case):
    case(recorder)
    longest = max(len(sql.encode()) for sql in recorder.statements)
    assert 1_000 < longest <= LIMITS[dialect]


def test_lists_of_values_are_taken(recorder, dialect):
    drifted_rows(recorder)
    longest = max(sql.count("'drifted'") for sql in recorder.statements)
    assert 0 < longest <= (tsql.MOST_VALUES if dialect in tsql.TSQL else DRIFT_PER_STATEMENT)
