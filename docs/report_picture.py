"""Draw docs/report.png: the report of a fortnight of the sample project, as it really looks.

    .venv/bin/python docs/report_picture.py [FOLDER]

Builds the sample project in a scratch folder (or in FOLDER, which is kept), syncs it to the sandbox fourteen times with
changes and faults between, writes the report and takes its picture in headless Chromium. Nothing is edited but the
dates: the runs, a second apart, are put a day apart.
"""

from __future__ import annotations

import datetime
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

from dbt_pendo.cli.sandbox import DEMO
from dbt_pendo.sandbox import Fault, Sandbox, load_subscription

DOCS = Path(__file__).resolve().parent
DAYS = 14
PROGRAMS = {"dbt": "from dbt.cli.main import cli; cli()", "dbt-pendo": "from dbt_pendo.cli import main; main()"}
CHROMIUM = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
)


def main(folder: Path) -> None:
    """Makes the fortnight, the report and its picture."""
    dice = random.Random(7)
    with Sandbox(switches=DEMO) as sandbox:
        project = folder / "sample_project"
        shutil.copytree(DOCS.parent / "sample_project", project, ignore=shutil.ignore_patterns("target", "*.duckdb*"))
        load_subscription(sandbox, project / "pendo_subscription.json")
        database = project / "sample.duckdb"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PENDO_"))},
            "DBT_PROFILES_DIR": str(project),
            "SAMPLE_DUCKDB_PATH": str(database),
            "PENDO_API_URL": sandbox.url,
            "PENDO_INTEGRATION_KEY": sandbox.integration_key,
            "PENDO_TRACK_SECRET": sandbox.track_secrets[""],
            "PENDO_RETRIES": "2",
        }
        _run(project, environment, "dbt", "build", "--quiet")
        for day in range(DAYS):
            sandbox.clear_faults()
            _go_wrong(sandbox, day)
            _run(project, environment, "dbt-pendo", "sync", "--quiet")
            _live(database, dice)
        _spread(database, project / "target" / "dbt_pendo" / "runs")
        # Without the first, which had everything to send and dwarfs the others.
        _run(project, environment, "dbt-pendo", "report", "--runs", str(DAYS - 1))
    _take_picture(project / "target" / "pendo_report.html", DOCS / "report.png", folder)


def _go_wrong(sandbox: Sandbox, day: int) -> None:
    for visitor, body in (
        ("usr-014", "usr-014: plan: no such plan"),
        ("usr-027", "usr-027: role: longer than allowed"),
    ):
        if day >= 2:
            sandbox.fail(Fault(status=400, body=body, body_contains=f'"{visitor}"', times=None))
    if day in (4, 5, 9):
        sandbox.fail(Fault(status=503, body="upstream connect error", path="visitor/custom/value", times=2))
    if day == 6:
        sandbox.fail(Fault(status=403, path="account/custom/value", times=None))
    if day in (8, 11):
        sandbox.fail(
            Fault(status=400, body="properties: too many", path="track", times=None, probability=0.04, seed=day)
        )


def _live(database: Path, dice: random.Random) -> None:
    """Lets a day pass: users log in and change plans, accounts grow, invoices are paid."""
    share = dice.uniform(0.05, 0.5)
    with duckdb.connect(str(database)) as connection:
        connection.execute("select setseed(?)", [dice.random()])
        connection.execute(
            f"update main.pendo_visitors set login_count = login_count + 1 where random() < {share};"
            f"update main.pendo_accounts set seats = seats + 1 where random() < {share / 2} or org_id = 'org-01';"
            "insert into main.pendo_payments by name select * replace (invoice_id || '-' || uuid() as invoice_id, "
            f"now()::timestamp as paid_at) from main.pendo_payments where random() < {share / 3}"
        )


def _spread(database: Path, runs: Path) -> None:
    """Puts the runs a day apart, the last one three hours ago."""
    with duckdb.connect(str(database)) as connection:
        connection.execute("use main_pendo_sandbox")
        found = [run for (run,) in connection.execute("select distinct run_id from pendo_runs").fetchall()]
        ledgers = connection.execute(
            "select table_name from information_schema.tables"
            " where table_name = 'pendo_runs' or table_name like '%__ledger'"
        ).fetchall()
        for age, run in enumerate(sorted(found, reverse=True)):
            began = datetime.datetime.strptime(run[:15], "%Y%m%dT%H%M%S") - datetime.timedelta(days=age, hours=3)
            moved = f"{began:%Y%m%dT%H%M%S}{run[15:]}"
            for (table,) in ledgers:
                connection.execute(
                    f"update {table} set run_id = ?, logged_at = logged_at - to_hours(?) where run_id = ?",
                    [moved, 24 * age + 3, run],
                )
            if (runs / run).exists():
                (runs / run).rename(runs / moved)


def _take_picture(report: Path, picture: Path, folder: Path) -> None:
    # A profile of its own, so that no browser that runs already takes the call.
    profile = f"--user-data-dir={folder / 'chromium'}"
    options = (profile, "--window-size=1280,1380", f"--screenshot={picture}", report.as_uri())
    subprocess.run([*CHROMIUM, *options], capture_output=True, check=True)


def _run(project: Path, environment: dict[str, str], program: str, *arguments: str) -> None:
    command = [sys.executable, "-c", PROGRAMS[program], *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    # A sync of which a row was rejected ends with 1.
    if done.returncode > 1 or (done.returncode and arguments[0] != "sync"):
        sys.exit(f"{program} {arguments[0]} ended with exit status {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
