"""Airflow runs the DAGs: its own tables in SQLite, its own operators, the keys in connections."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from recipe import ACCOUNTS, PASSWORD, RECIPES, VISITORS, Shop, path_of, run

pytest.importorskip("airflow")

DAGS = {"dbt_pendo": "airflow_dag.py", "dbt_pendo_cosmos": "airflow_cosmos_dag.py"}
ENVIRONMENT = {
    **{"PATH": path_of(Path(sys.executable).parent), "AIRFLOW__CORE__LOAD_EXAMPLES": "false"},
    # Cosmos tells its makers of each task otherwise.
    **{"AIRFLOW__COSMOS__ENABLE_TELEMETRY": "false", "DO_NOT_TRACK": "true", "NO_COLOR": "1"},
}


@dataclass(frozen=True)
class Airflow:
    home: Path
    environment: dict[str, str]

    def run(self, dag: str, status: int = 0, **environment: str) -> str:
        """Puts a DAG's file where Airflow finds it, runs the DAG to its end, and returns the log."""
        shutil.copy(RECIPES / DAGS[dag], self.home / "dags")
        command = [sys.executable, "-m", "airflow", "dags", "test", dag]
        ended = run(command, Path("/"), {**self.environment, **environment})
        assert ended.returncode == status, ended.stdout
        return ended.stdout


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's home with its tables."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {**ENVIRONMENT, "HOME": str(home), "AIRFLOW_HOME": str(home)}
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return home / "airflow.db"


@pytest.fixture
def airflow(migrated: Path, shop: Shop, tmp_path: Path) -> Airflow:
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    shutil.copy(migrated, home)
    environment = {
        **{**ENVIRONMENT, **shop.places, "HOME": str(tmp_path), "AIRFLOW_HOME": str(home)},
        **{"DBT_PROJECT_DIR": str(shop.folder), "DBT_VENV": sys.prefix},
    }
    for name, password in (("PENDO", shop.sandbox.integration_key), ("WAREHOUSE", PASSWORD)):
        environment[f"AIRFLOW_CONN_{name}"] = json.dumps({"conn_type": "generic", "password": password})
    return Airflow(home, environment)


def assert_no_secret(airflow: Airflow, shop: Shop, log: str) -> None:
    """Airflow stores and shows what it gives a task; of connections it hides the password."""
    written = [path.read_bytes() for path in [*airflow.home.rglob("*"), *shop.folder.rglob("*")] if path.is_file()]
    for secret in (PASSWORD, shop.sandbox.integration_key):
        assert secret not in log
        assert not any(secret.encode() in content for content in written)


def test_one_task_builds_and_syncs(airflow, shop):
    log = airflow.run("dbt_pendo", status=1, SHOP_IS_BROKEN="1")
    assert "Command exited with return code 1" in log
    # What was built is synced all the same.
    assert shop.plans == (VISITORS, {})
    log = airflow.run("dbt_pendo")
    assert shop.plans == (VISITORS, ACCOUNTS)
    assert_no_secret(airflow, shop, log)


def test_a_sync_comes_after_all_that_cosmos_built(airflow, shop):
    log = airflow.run("dbt_pendo_cosmos", status=1, SHOP_IS_BROKEN="1")
    assert "no luck today" in log
    assert shop.writes == 0
    log = airflow.run("dbt_pendo_cosmos")
    assert "Tables are taken as they are: there is no run_results.json to say what dbt built." in log
    assert shop.plans == (VISITORS, ACCOUNTS)
    assert_no_secret(airflow, shop, log)
