"""The flow for Prefect, run by Prefect with a server of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recipe import ACCOUNTS, PASSWORD, RECIPES, VISITORS, Shop

pytest.importorskip("prefect")


def run_flow(shop: Shop, home: Path, **environment: str) -> tuple[int, str]:
    programs = Path(sys.executable).parent
    given = {
        **shop.places,
        **{"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "PREFECT_HOME": str(home / "prefect")},
        **{"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"},
        **{"DBT_PROJECT_DIR": str(shop.folder), "DBT_PROFILES_DIR": str(shop.folder)},
        **{"DBT_ENV_SECRET_WAREHOUSE_PASSWORD": PASSWORD, "PENDO_INTEGRATION_KEY": shop.sandbox.integration_key},
        **environment,
    }
    command = [sys.executable, str(RECIPES / "prefect_flow.py")]
    ended = subprocess.run(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return ended.returncode, ended.stdout


def test_the_flow_builds_and_syncs_and_fails_as_the_command_does(shop, tmp_path):
    status, printed = run_flow(shop, tmp_path, SHOP_IS_BROKEN="1")
    assert status != 0, printed
    assert "dbt-pendo build ended with exit status 1." in printed
    # What was built is in Pendo.
    assert shop.plans == (VISITORS, {})

    status, printed = run_flow(shop, tmp_path)
    assert status == 0, printed
    assert "INFO" in printed
    assert "Delivered 1 row in 1 request" in printed
    assert shop.plans == (VISITORS, ACCOUNTS)
