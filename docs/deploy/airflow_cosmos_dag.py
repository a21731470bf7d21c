"""Builds with dbt through Cosmos, one task per model, then syncs to Pendo, every morning. See airflow.md."""

import os
from pathlib import Path

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig
from cosmos.constants import InvocationMode

PROJECT = Path(os.environ.get("DBT_PROJECT_DIR", "/opt/airflow/dbt/shop"))
# The virtual environment of dbt and dbt-pendo; preferably not Airflow's.
VENV = Path(os.environ.get("DBT_VENV", "/opt/airflow/dbt/venv"))
PROFILE, TARGET = "shop", "prod"
# The password of an Airflow connection; Airflow masks it in its logs and pages.
WAREHOUSE = {"DBT_ENV_SECRET_WAREHOUSE_PASSWORD": "{{ conn.warehouse.password }}"}

with DAG(
    "dbt_pendo_cosmos",
    schedule="17 5 * * *",
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
):
    build = DbtTaskGroup(
        group_id="dbt",
        project_config=ProjectConfig(PROJECT, env_vars=WAREHOUSE),
        profile_config=ProfileConfig(PROFILE, TARGET, profiles_yml_filepath=PROJECT / "profiles.yml"),
        execution_config=ExecutionConfig(
            dbt_executable_path=str(VENV / "bin" / "dbt"), invocation_mode=InvocationMode.SUBPROCESS
        ),
    )
    # Cosmos runs dbt in temporary folders, so `dbt parse` writes the manifest that dbt-pendo needs.
    sync = BashOperator(
        task_id="sync",
        bash_command=f"""
            PATH="{VENV}/bin:$PATH"
            dbt parse --quiet --target {TARGET} && dbt-pendo sync --target {TARGET}
        """,
        cwd=str(PROJECT),
        env={**WAREHOUSE, "PENDO_INTEGRATION_KEY": "{{ conn.pendo.password }}"},
        append_env=True,
    )
    build >> sync
