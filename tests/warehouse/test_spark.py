"""The contract on Spark: one session in this process for all tests, for its start takes ten seconds."""

import contextlib
import io
import json
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acme import Acme
from contract import *  # noqa: F403
from engine import Engine
from whole_path import TestPath as ForEachEngine

from dbt_pendo.cli import main
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


def settings(folder: Path, catalog: str) -> dict[str, str]:
    """Spark's settings, with all its files in a folder; ``catalog`` is Derby's name of the database for it."""
    return {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": SESSION_ZONE,
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:{catalog};create=true",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={folder} -XX:+UseSerialGC",
        # For a handful of rows there is nothing to share out, to compile or to adapt to.
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
    }


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The session that dbt-spark will find; its catalog is in memory."""
    builder = pyspark_sql.SparkSession.builder.enableHiveSupport()
    for name, value in settings(tmp_path_factory.mktemp("spark"), "memory:contract").items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield
    session.stop()


@pytest.fixture
def engine(spark: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("TZ", PROCESS_ZONE)
    time.tzset()
    # Spark's catalog takes only ASCII letters, digits and _ in a table's name, quoted or not.
    names = tuple(name for name in Engine.sync_names if name.isascii())
    yield Engine("spark", {"type": "spark", "method": "session", "host": "NA"}, TYPES, sync_names=names, step=7)
    monkeypatch.undo()
    time.tzset()


class AcmeHere(Acme):
    """Runs every command in this process: another would start a session of its own for each."""

    def build(self) -> None:
        from dbt.cli.main import dbtRunner

        built = dbtRunner().invoke(["--quiet", "--log-level-file", "none", "build"])
        assert built.success, built

    def run(self, *args: str) -> Any:
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            patch.setattr(sys, "argv", ["dbt-pendo", *args, "--json"])
            with contextlib.suppress(SystemExit):
                main()
        return json.loads(printed.getvalue())


@pytest.fixture
def acme(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Acme]:
    with Sandbox() as sandbox:
        # The catalog is that of the session, and another test's runs would be in the run log.
        project = AcmeHere(engine, tmp_path / "acme", f"acme_{uuid.uuid4().hex[:8]}", sandbox)
        for name, value in project.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(project.folder)
        project.build()
        yield project


class TestPath:
    test_check_plan_and_syncs_and_the_models_of_the_package = (
        ForEachEngine.test_check_plan_and_syncs_and_the_models_of_the_package
    )


class TestKill:
    """Processes of their own, with a catalog on disk that they share."""

    @pytest.fixture
    def acme(self, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Acme]:
        lines = "".join(f"{name} {value}\n" for name, value in settings(tmp_path, str(tmp_path / "catalog")).items())
        (tmp_path / "spark-defaults.conf").write_text(lines, encoding="utf-8")
        monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
        with Sandbox() as sandbox:
            project = Acme(engine, tmp_path / "acme", "acme", sandbox)
            project.build()
            yield project

    test_a_kill_in_the_midst_loses_nothing = ForEachEngine.test_a_kill_in_the_midst_loses_nothing
