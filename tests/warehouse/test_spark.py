"""The contract on Spark, in this process: one session for all tests, for its start takes ten seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from contract import *  # noqa: F403
from engine import Engine

pyspark = pytest.importorskip("pyspark")

# Neither is UTC, and an hour is missing in each every year: no time may depend on them.
SESSION_ZONE = "Europe/Berlin"
PROCESS_ZONE = "America/New_York"
TYPES = {
    "text": "string",
    "whole": "bigint",
    "money": "decimal(18, 2)",
    "real": "double",
    "flag": "boolean",
    "day": "date",
    "moment": "timestamp_ntz",
    "zoned": "timestamp",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Settings for the session that dbt-spark will start: its files in a temporary folder, its catalog in memory."""
    folder = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": SESSION_ZONE,
        "spark.sql.shuffle.partitions": "2",
        # For a handful of rows there is nothing to compile and nothing to adapt to.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.local.dir": folder / "local",
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:contract;create=true",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={folder} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    lines = "".join(f"{name} {value}\n" for name, value in settings.items())
    (folder / "spark-defaults.conf").write_text(lines, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        yield
    if session := pyspark.sql.SparkSession.getActiveSession():
        session.stop()


@pytest.fixture
def engine(spark: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("TZ", PROCESS_ZONE)
    time.tzset()
    # Spark's catalog takes only ASCII letters, digits and _ in a table's name, quoted or not.
    names = tuple(name for name in Engine.sync_names if name.isascii())
    yield Engine("spark", {"type": "spark", "method": "session", "host": "NA"}, TYPES, sync_names=names)
    monkeypatch.undo()
    time.tzset()
