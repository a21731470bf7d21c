"""Dagster's definitions, loaded and materialized in a process of their own."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from recipe import ACCOUNTS, PASSWORD, RECIPES, VISITORS, Shop, path_of, run

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

    @property
    def synced(self) -> dict[str, str]:
        """The status of each sync."""
        return {result["sync"]: result["status"] for result in self.made["pendo"]["results"]}


Materialize: TypeAlias = Callable[..., Materialized]


@pytest.fixture
def materialize(shop: Shop, tmp_path: Path) -> Materialize:
    """Materializes some assets, or all."""
    environment = {
        **{**shop.places, "HOME": str(tmp_path), "PATH": path_of(Path(sys.executable).parent)},
        **{"PYTHONPATH": str(RECIPES), "DAGSTER_DISABLE_TELEMETRY": "1", "DBT_PROJECT_DIR": str(shop.folder)},
        **{"DBT_ENV_SECRET_WAREHOUSE_PASSWORD": PASSWORD, "PENDO_INTEGRATION_KEY": shop.sandbox.integration_key},
    }
    subprocess.run(["dbt", "parse"], cwd=shop.folder, env=environment, check=True, capture_output=True)

    def run_job(*assets: str, **changed: str) -> Materialized:
        told = tmp_path / "told.json"
        command = [sys.executable, "-W", "ignore", "-c", MATERIALIZE, str(told), *assets]
        ended = run(command, Path("/"), {**environment, **changed})
        assert ended.returncode == 0, ended.stdout
        return Materialized(**json.loads(told.read_text()))

    return run_job


def test_the_sync_is_an_asset_after_the_models(materialize, shop):
    ran = materialize()
    assert (ran.success, set(ran.made)) == (True, {"dim_users", "dim_accounts", "pendo"})
    assert shop.plans == (VISITORS, ACCOUNTS)
    assert [ran.made["pendo"][name] for name in ("delivered", "missing", "rejected")] == [3, 0, 0]
    assert ran.synced == {"dim_users": "success", "dim_accounts": "success"}


def test_nothing_is_synced_when_a_model_failed(materialize, shop):
    ran = materialize(SHOP_IS_BROKEN="1")
    assert (ran.success, set(ran.made), shop.writes) == (False, {"dim_users"}, 0)
    # Alone it goes by what dbt did last.
    assert materialize("pendo").synced == {"dim_users": "success", "dim_accounts": "skipped"}
    assert shop.plans == (VISITORS, {})


def test_a_sync_that_failed_fails_its_asset(materialize):
    ran = materialize(PENDO_INTEGRATION_KEY="another key")
    assert (ran.failed, set(ran.made)) == (["pendo"], {"dim_users", "dim_accounts"})
