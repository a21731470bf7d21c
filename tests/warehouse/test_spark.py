"""The contract on Spark: one session for all tests and their processes, for its start takes ten seconds."""

import contextlib
import itertools
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acme import Acme
from contract import *  # noqa: F403
from contract.ledger import Killed
from engine import PEOPLE, Engine, Store, deliver, people, planned
from harness import chosen
from whole_path import TestPath  # noqa: F401

from dbt_pendo.sandbox import Sandbox
from dbt_pendo.warehouse.lock import LockedError, SyncLock
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.plan import PlanOptions
from dbt_pendo.warehouse.session import WarehouseError
from dbt_pendo.warehouse.tables import SyncTables

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
    """Of a session for small data, whose catalog is in memory: a metastore of Hive's takes a sixth of the time."""
    return {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": SESSION_ZONE,
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder),
        # The second compiler would take as long as all the rest: what it compiles is run too seldom.
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m",
        # For a handful of rows there is nothing to share out, to compile or to adapt to.
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.leafNodeDefaultParallelism": "1",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.constraintPropagation.enabled": "false",
        # Nobody looks at its plans, and its rules are not what is tested.
        "spark.sql.ui.explainMode": "simple",
        "spark.sql.lightweightPlanChangeValidation": "false",
        "spark.sql.parquet.compression.codec": "uncompressed",
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
    }


@pytest.fixture(scope="session")
def spark_folder(tmp_path_factory):
    """Where the tests' Spark keeps its files."""
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="session")
def gateway(spark_folder):
    """Starts the session that dbt-spark will find; the variables by which other processes find it."""
    settings = spark_settings(spark_folder)
    session = pyspark_sql.SparkSession.builder.config(map=settings).getOrCreate()
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
    yield Engine("spark", output, TYPES, sync_names=names, has_values=True, statements=(17, 8, 12), step=7)
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


class KilledRuns:
    """Runs of a sync that die while Spark writes the change set, and leave its folder."""

    def __init__(self, store: Store, tables: SyncTables, warehouse: Path) -> None:
        self.store = store
        self.tables = tables
        self.warehouse = warehouse
        self.folder = warehouse / f"{store.own_schema}.db" / "people__changes"

    def kill(self, *settings: str, model: str, is_time: Callable[[], bool]) -> None:
        """Has a Spark of its own write, whose catalog goes with it, and kills it in time."""
        store, tables = self.store, self.tables
        plan = tables._plan_sql(tables.ledger, PlanOptions(), "killed")
        create = store.session.sql("pendo_create_changes", relation=tables.changes, plan=plan)
        # As the run does before: what another has left goes.
        tables.write_changes("killed", PlanOptions())
        tables.drop_changes()
        schemas = [f"create schema {schema}" for schema in (store.schema, store.own_schema)]
        statements = [*schemas, f"create view {store.relation('people')} as {model}", self._ledger(), create]
        home = Path(pyspark_sql.__file__).parents[1]
        # An adaptive one would touch the folder only once all is read.
        all_settings = [
            *("spark.master=local[1]", "spark.ui.enabled=false", "spark.sql.catalogImplementation=in-memory"),
            *("spark.sql.adaptive.enabled=false", f"spark.sql.warehouse.dir={self.warehouse}", *settings),
        ]
        process = subprocess.Popen(
            [
                *(str(home / "bin" / "spark-sql"), "--driver-java-options", "-XX:TieredStopAtLevel=1"),
                *itertools.chain.from_iterable(("--conf", setting) for setting in all_settings),
                *("-e", ";\n".join(statements)),
            ],
            env={**os.environ, "SPARK_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # A busy machine may need a minute to start it.
        give_up_at = time.monotonic() + 240
        while not is_time() and process.poll() is None and time.monotonic() < give_up_at:
            time.sleep(0.02)
        process.kill()
        assert process.wait() < 0

        assert list(self.folder.iterdir())
        assert "people__changes" not in store.session.tables(store.own_schema)
        with pytest.raises(WarehouseError, match="LOCATION_ALREADY_EXISTS"):
            store.session.run(create)

    def has_begun(self) -> bool:
        return (self.folder / "_temporary").exists()

    def has_written(self) -> bool:
        return any(file.endswith(".parquet") for _, _, files in os.walk(self.folder) for file in files)

    def _ledger(self) -> str:
        """The ledger, for a catalog that does not know of it."""
        columns = self.store.session.columns(None, self.store.own_schema, "people__ledger")
        assert columns is not None
        listed = ", ".join(f"{column.name} {column.dtype}" for column in columns)
        folder = self.folder.with_name("people__ledger")
        return f"create table {self.tables.ledger} ({listed}) using parquet location '{folder}'"


def test_a_run_goes_on_where_two_were_killed_while_spark_wrote(store, spark_folder):
    store.create("people", PEOPLE, [(f"p{number}", "x") for number in range(40)])
    tables = store.tables(people())
    deliver(tables, "r1")
    store.create("people", PEOPLE, [(f"p{number}", "y" if number < 3 else "x") for number in range(41)])
    killed = KilledRuns(store, tables, spark_folder / "warehouse")
    rows = f"select * from parquet.`{spark_folder / 'warehouse' / store.schema}.db/people`"

    # While the plan is made.
    sleeps = f"{rows} where java_method('java.lang.Thread', 'sleep', 600000L) is null"
    killed.kill(model=sleeps, is_time=killed.has_begun)
    # While its files are written, one after the other.
    killed.kill("spark.sql.shuffle.partitions=500", model=rows, is_time=killed.has_written)

    with tables.locked("r2"):
        assert deliver(tables, "r2") == Planned(added=1, changed=3, unchanged=37)
    assert planned(tables) == Planned(unchanged=41)
    # The table is Spark's own: it goes with its files.
    tables.drop_changes()
    assert not killed.folder.exists()


def test_a_kill_while_a_folder_is_emptied(store, spark_folder, monkeypatch):
    store.create("people", PEOPLE, [("a", "x")])
    tables = store.tables(people())
    left = spark_folder / "warehouse" / f"{store.own_schema}.db" / "people__changes" / "_temporary" / "0"
    run = store.session.run
    for last in itertools.count():
        left.mkdir(parents=True)
        numbers = itertools.count()

        def dies(sql: str, last: int = last, numbers: Iterator[int] = numbers) -> None:
            if next(numbers) == last:
                raise Killed
            run(sql)

        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(store.session, "run", dies)
            tables.write_changes("killed", PlanOptions())
            break
        assert tables.write_changes("r1", PlanOptions())
        tables.drop_changes()
    # It is dropped, refused, emptied in three statements, and made.
    assert last == 6


def test_no_folder_is_emptied_that_may_be_somebody_elses(store, spark_folder):
    store.create("people", PEOPLE, [("a", "x")])
    store.session.ensure_schema(store.own_schema)
    ledger, lock = files = [
        spark_folder / "warehouse" / f"{store.own_schema}.db" / name / "part"
        for name in ("people__ledger", "people__lock")
    ]
    for file in files:
        file.parent.mkdir()
        file.touch()
    with pytest.raises(WarehouseError, match="LOCATION_ALREADY_EXISTS"):
        store.tables(people())
    run = SyncLock(store.session, store.own_schema, "people")
    with pytest.raises(LockedError, match="has files of a lock"):
        run.acquire("r1")
    assert ledger.exists()
    assert lock.exists()
    # Whoever breaks the lock says that nobody is taking it.
    run.break_()
    run.acquire("r2")
    assert ledger.exists()
