"""The contract for Databricks: rendered by its adapter, run by Spark in ANSI mode."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from contract import *  # noqa: F403
from elsewhere import ElsewhereEngine, adapter_of
from engine import Engine
from test_rendered import DIALECTS
from test_spark import PROCESS_ZONE, TYPES, spark_settings

pyspark_sql = pytest.importorskip("pyspark.sql")
pytest.importorskip("dbt.adapters.databricks")

# What is not of these adapters' making.
pytestmark = pytest.mark.filterwarnings("ignore")


class Spark:
    """Spark, which runs Databricks' statements on Parquet's tables; it has one catalog, which needs no name."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        # It replaces no table of Parquet's.
        if sql.startswith("create or replace table"):
            self.session.sql(f"drop table if exists {sql.split()[4]}".replace("`main`.", ""))
            sql = sql.replace(" or replace", "", 1)
        found = self.session.sql(sql.replace("`main`.", ""))
        return found.columns, [tuple(row) for row in found.collect()]

    def schemas(self) -> list[str]:
        return [row[0] for row in self.session.sql("show schemas").collect()]

    def tables(self, schema: str) -> list[str]:
        with contextlib.suppress(Exception):
            return [row.tableName for row in self.session.sql(f"show tables in `{schema}`").collect()]
        return []

    def columns(self, schema: str, table: str) -> list[tuple[str, str]]:
        described = self.session.sql(f"describe table `{schema}`.`{table}`").collect()
        return [(row.col_name, row.data_type) for row in described if row.col_name and not row.col_name.startswith("#")]

    def create_schema(self, schema: str) -> None:
        self.session.sql(f"create schema if not exists `{schema}`")

    def drop_schema(self, schema: str) -> None:
        self.session.sql(f"drop schema if exists `{schema}` cascade")

    def rename(self, schema: str, old: str, new: str) -> None:
        self.session.sql(f"alter table `{schema}`.`{old}` rename to `{schema}`.`{new}`")

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", PROCESS_ZONE)
        time.tzset()
        settings = spark_settings(tmp_path_factory.mktemp("spark")) | {"spark.sql.ansi.enabled": "true"}
        session = pyspark_sql.SparkSession.builder.config(map=settings).getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()
    time.tzset()


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    folder = tmp_path_factory.mktemp("databricks") / "project"
    with adapter_of("databricks", DIALECTS["databricks"].output, folder) as found:
        yield found


@pytest.fixture
def engine(loaded: tuple[Any, Any], spark: Any) -> Engine:
    names = tuple(name for name in Engine.sync_names if name.isascii())
    return ElsewhereEngine(
        "databricks",
        DIALECTS["databricks"].output,
        TYPES,
        sync_names=names,
        has_values=True,
        step=7,
        loaded=loaded,
        start=lambda: Spark(spark),
    )
