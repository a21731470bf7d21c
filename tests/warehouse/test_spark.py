"""The contract on Spark: one session for all tests and their processes, for its start takes ten seconds."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from acme import Acme
from contract import *  # noqa: F403
from engine import Engine
from harness import chosen
from whole_path import TestPath  # noqa: F401

from dbt_pendo.sandbox import Sandbox

pyspark_sql = pytest.importorskip("pyspark.sql")

# Neither is UTC, and in each an hour is missing every year and another comes twice: no time may depend on them.
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


# Makes a process a client of the tests' Spark.
ATTACH = """
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway

gateway = launch_gateway()
java = gateway.jvm.org.apache.spark.api.java.JavaSparkContext.fromSparkContext(
    gateway.jvm.org.apache.spark.SparkContext.getOrCreate()
)
SparkContext(gateway=gateway, jsc=java, conf=SparkConf(_jconf=java.getConf()))
"""


def spark_settings(folder: Path) -> dict[str, str]:
    """Of a session whose catalog is in memory, for small data."""
    return {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": SESSION_ZONE,
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder),
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:contract;create=true",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={folder} -XX:+UseSerialGC",
        # For a handful of rows there is nothing to share out, to compile or to adapt to.
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
    }


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """Starts the session that dbt-spark will find; the variables by which other processes find it."""
    settings = spark_settings(tmp_path_factory.mktemp("spark"))
    session = pyspark_sql.SparkSession.builder.config(map=settings).enableHiveSupport().getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    found = session.sparkContext._gateway.gateway_parameters
    yield {"PYSPARK_GATEWAY_PORT": str(found.port), "PYSPARK_GATEWAY_SECRET": found.auth_token}
    session.stop()


@pytest.fixture
def engine(gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("TZ", PROCESS_ZONE)
    time.tzset()
    # Spark's catalog takes only ASCII letters, digits and _ in a table's name, quoted or not.
    names = tuple(name for name in Engine.sync_names if name.isascii())
    output = {"type": "spark", "method": "session", "host": "NA"}
    # It replaces a table in two statements, and has no list of all tables.
    yield Engine("spark", output, TYPES, sync_names=names, statements=(17, 8, 12), step=7)
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def acme(engine, gateway, tmp_path):
    with Sandbox(switches=chosen()) as sandbox:
        # The catalog is that of the session, and another test's runs would be in the run log.
        project = Acme(engine, tmp_path / "acme", f"acme_{uuid.uuid4().hex[:8]}", sandbox)
        project.env |= gateway
        project.prelude = ATTACH
        project.build()
        yield project
