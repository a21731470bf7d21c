"""Dagster's definitions, loaded and materialized in a process of their own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from recipe import ACCOUNTS, PASSWORD, RECIPES, VISITORS, Shop

pytest.importorskip("dagster_dbt")

MATERIALIZE = """\
import json, sys
from dagster import AssetKey
from dagster_definitions import defs
selection = [AssetKey(name) for name in sys.argv[2:]] or None
job = defs.resolve_job_def("dbt_pendo")
ran = job.execute_in_process(asset_selection=selection, raise_on_error=False)
made = {
    event.asset_key.to_user_string(): {
        name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
    }
    for event in ran.get_asset_materialization_events()
}
failed = [event.step_key for event in ran.get_step_failure_events()]
json.dump({"success": ran.success, "made": made, "failed": failed}, open(sys.argv[1], "w"), default=str)
"""


@dataclass(frozen=True)
class Materialized:
    """A run that has ended: each asset that it made, with its metadata, and the steps that failed."""

    success: bool
    made: dict[str, dict[str, Any]]
    failed: list[str]


@dataclass(frozen=True)
class Dagster:
    environment: dict[str, str]
    folder: Path

    def materialize(self, *assets: str, **environment: str) -> Materialized:
        """Materializes some assets, or all."""
        told = self.folder / "told.json"
        command = [sys.executable, "-W", "ignore", "-c", MATERIALIZE, str(told), *assets]
        ended = subprocess.run(
            command, cwd="/", env={**self.environment, **environment}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return Materialized(**json.loads(told.read_text()))


@pytest.fixture
def dagster(shop: Shop, tmp_path: Path) -> Dagster:
    environment = {
        **shop.places,
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "PYTHONPATH": str(RECIPES),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DBT_PROJECT_DIR": str(shop.folder),
        "DBT_ENV_SECRET_WAREHOUSE_PASSWORD": PASSWORD,
        "PENDO_INTEGRATION_KEY": shop.sandbox.integration_key,
    }
    subprocess.run(["dbt", "parse"], cwd=shop.folder, env=environment, check=True, capture_output=True)
    return Dagster(environment, tmp_path)


def test_the_sync_is_an_asset_after_the_models(dagster: Dagster, shop: Shop) -> None:
    ran = dagster.materialize()
    assert ran.success
    assert set(ran.made) == {"dim_users", "dim_accounts", "pendo"}
    assert (shop.visitors, shop.accounts) == (VISITORS, ACCOUNTS)
    told = ran.made["pendo"]
    assert {name: told[name] for name in ("delivered", "missing", "rejected")} == {
        "delivered": 3,
        "missing": 0,
        "rejected": 0,
    }
    assert {result["sync"]: result["status"] for result in told["results"]} == {
        "dim_users": "success",
        "dim_accounts": "success",
    }


def test_nothing_is_synced_when_a_model_failed(dagster: Dagster, shop: Shop) -> None:
    ran = dagster.materialize(SHOP_IS_BROKEN="1")
    assert not ran.success
    assert "dim_users" in ran.made
    assert "pendo" not in ran.made
    assert shop.writes == 0
    # Alone it goes by what dbt did last.
    ran = dagster.materialize("pendo")
    assert {result["sync"]: result["status"] for result in ran.made["pendo"]["results"]} == {
        "dim_users": "success",
        "dim_accounts": "skipped",
    }
    assert (shop.visitors, shop.accounts) == (VISITORS, {})


def test_a_sync_that_failed_fails_its_asset(dagster: Dagster, shop: Shop) -> None:
    ran = dagster.materialize(PENDO_INTEGRATION_KEY="another key")
    assert ran.failed == ["pendo"]
    assert set(ran.made) == {"dim_users", "dim_accounts"}
