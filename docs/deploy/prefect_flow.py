"""Builds with dbt and syncs what was built to Pendo. See prefect.md."""

import os
import subprocess

from prefect import flow, get_run_logger

PROJECT = os.environ.get("DBT_PROJECT_DIR", "/opt/dbt/shop")
# dbt and dbt-pendo; in an environment of their own, name its program.
DBT_PENDO = os.environ.get("DBT_PENDO_PROGRAM", "dbt-pendo")


@flow(log_prints=True)
def build_and_sync():
    """Runs `dbt-pendo build`, and fails as it does."""
    logger = get_run_logger()
    with subprocess.Popen(
        [DBT_PENDO, "build"], cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        try:
            for line in run.stdout:
                logger.info(line.rstrip())
            status = run.wait()
        except BaseException:
            run.terminate()  # Cancelling the flow stops the sync gracefully.
            raise
    if status:
        raise RuntimeError(f"dbt-pendo build ended with exit status {status}.")


if __name__ == "__main__":
    build_and_sync()
