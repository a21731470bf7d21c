"""dbt's models as assets, and then an asset that syncs them to Pendo, every morning. See dagster.md."""

import json
import os
import subprocess

from dagster import (
    AssetExecutionContext,
    AssetSelection,
    Definitions,
    Failure,
    MaterializeResult,
    ScheduleDefinition,
    asset,
    define_asset_job,
)
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

project = DbtProject(os.environ.get("DBT_PROJECT_DIR", "/opt/dbt/shop"))
project.prepare_if_dev()
# One folder for every run, in which dbt-pendo finds dbt's artifacts; Dagster would create a new one each time.
TARGET = project.project_dir / project.target_path / "dagster"


@dbt_assets(manifest=project.manifest_path, project=project)
def models(context: AssetExecutionContext, dbt: DbtCliResource):
    """Builds and tests dbt's models."""
    yield from dbt.cli(["build"], context=context, target_path=TARGET).stream()


@asset(deps=[models])
def pendo() -> MaterializeResult:
    """Syncs the models to Pendo."""
    command = ["dbt-pendo", "sync", "--target-path", str(TARGET)]
    with subprocess.Popen(command, cwd=project.project_dir) as sync:
        try:
            status = sync.wait()
        except BaseException:
            sync.terminate()  # Stopping Dagster's run stops the sync gracefully.
            raise
    if status:
        raise Failure(f"`dbt-pendo sync` ended with exit status {status}; its output says why.")
    results = json.loads((TARGET / "pendo_results.json").read_text())["results"]
    counts = {what: sum(result[what] for result in results) for what in ("delivered", "missing", "rejected")}
    return MaterializeResult(metadata={**counts, "results": results})


job = define_asset_job("dbt_pendo", AssetSelection.all())
defs = Definitions(
    assets=[models, pendo],
    jobs=[job],
    schedules=[ScheduleDefinition(job=job, cron_schedule="17 5 * * *")],
    resources={"dbt": DbtCliResource(project)},
)
