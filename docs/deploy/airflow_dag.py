"""Builds with dbt and syncs what was built to Pendo, every morning. See airflow.md."""

import os

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

PROJECT = os.environ.get("DBT_PROJECT_DIR", "/opt/airflow/dbt/shop")
# The virtual environment of dbt and dbt-pendo; preferably not Airflow's.
VENV = os.environ.get("DBT_VENV", "/opt/airflow/dbt/venv")

with DAG(
    "dbt_pendo", schedule="17 5 * * *", start_date=pendulum.datetime(2026, 1, 1), catchup=False, max_active_runs=1
):
    BashOperator(
        task_id="build_and_sync",
        bash_command=f'PATH="{VENV}/bin:$PATH" dbt-pendo build',
        cwd=PROJECT,
        # The passwords of Airflow connections; Airflow masks them in its logs and pages.
        env={
            "PENDO_INTEGRATION_KEY": "{{ conn.pendo.password }}",
            "DBT_ENV_SECRET_WAREHOUSE_PASSWORD": "{{ conn.warehouse.password }}",
        },
        append_env=True,
    )
