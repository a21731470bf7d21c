"""Write into docs/output.md what its commands print.

    .venv/bin/python docs/capture.py

A code block of the page that begins with ``$ command`` gets that command's output; the commands run in order, in a
copy of the sample project, against the sandbox. Between them, a comment such as ``<!-- $ dbt build --quiet -->`` runs
a command that is not shown, and ``<!-- pendo {"fail": {…}} -->`` makes the sandbox misbehave (``Fault``) or change a
value by itself. tests/functional/test_output_page.py compares all but what differs from run to run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

import requests

from dbt_pendo.cli.sandbox import DEMO
from dbt_pendo.sandbox import Fault, Sandbox, Switches, load_subscription

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "output.md"
PROGRAMS = {"dbt": "from dbt.cli.main import cli; cli()", "dbt-pendo": "from dbt_pendo.cli import main; main()"}
STEP = re.compile(
    r"<!-- \$ (?P<hidden>.+?) -->|<!-- pendo (?P<pendo>\{.+?\}) -->|```text\n\$ (?P<shown>.+?)\n.*?```", re.DOTALL
)
CHANGING = (
    (re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{6}"), "20260101T090000000000Z-abcdef"),
    (re.compile(r"(?<=show )[0-9a-f]{6}(?= --rows)"), "abcdef"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "2026-01-01T09:00:00.000Z"),
    (re.compile(r"\d{4}-\d\d-\d\d (?=\d\d:\d\d:\d\d)"), "2026-01-01 "),
    (re.compile(r"\d\d:\d\d:\d\d(\.\d+)?"), "09:00:00"),
    (re.compile(r"\d+\.\d+s\b"), "0.00s"),
    (re.compile(r"(?<=^slowest: ).*", re.MULTILINE), "#1 1 ms"),
    (re.compile(r"\b\d+ ms\b"), "1 ms"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:8090"),
)


class Stage:
    """The sample project and a sandbox, for commands to run in; ``python`` runs them."""

    def __init__(self, python: str, switches: Switches) -> None:
        self._python = python
        self._sandbox = Sandbox(switches=switches)

    def __enter__(self) -> Stage:
        self._scratch = tempfile.TemporaryDirectory()
        self._project = Path(self._scratch.name) / "sample_project"
        unwanted = shutil.ignore_patterns("target", "logs", "*.duckdb*", ".user.yml")
        shutil.copytree(DOCS.parent / "sample_project", self._project, ignore=unwanted)
        self._sandbox.start()
        load_subscription(self._sandbox, self._project / "pendo_subscription.json")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PENDO_", "GITHUB_"))},
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "SAMPLE_DUCKDB_PATH": str(self._project / "sample.duckdb"),
            "PENDO_API_URL": self._sandbox.url,
            "PENDO_INTEGRATION_KEY": self._sandbox.integration_key,
            "PENDO_TRACK_SECRET": self._sandbox.track_secrets[""],
            # One after the other, so that the calls have an order.
            "PENDO_CONCURRENCY": "1",
        }
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sandbox.stop()
        self._scratch.cleanup()

    def run(self, command: str) -> str:
        """Runs a command, and returns what it prints."""
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [self._python, "-c", PROGRAMS[program], *arguments],
            cwd=self._project,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines()).rstrip("\n")

    def pendo(self, what: dict[str, dict[str, object]]) -> None:
        """Lets something happen in Pendo: ``fail`` takes the fields of a fault, ``set`` a path and a value."""
        if fault := what.get("fail"):
            self._sandbox.fail(Fault(**fault))  # type: ignore[arg-type]
        if change := what.get("set"):
            headers = {"x-pendo-integration-key": self._sandbox.integration_key}
            url = f"{self._sandbox.url}/api/v1/metadata/{change['path']}"
            requests.put(url, json=change["value"], headers=headers, timeout=10).raise_for_status()
        if "clear" in what:
            self._sandbox.clear_faults()


def captured(page: str, python: str = sys.executable, switches: Switches = DEMO) -> str:
    """Returns the page with what its commands print now."""
    with Stage(python, switches) as stage:

        def step(found: re.Match[str]) -> str:
            if command := found["hidden"]:
                stage.run(command)
            elif what := found["pendo"]:
                stage.pendo(json.loads(what))
            else:
                return f"```text\n$ {found['shown']}\n{stage.run(found['shown'])}\n```"
            return found[0]

        return STEP.sub(step, page)


def comparable(page: str) -> str:
    """Returns a page without what differs from run to run; columns may then be of other widths."""
    for pattern, instead in CHANGING:
        page = pattern.sub(instead, page)
    return re.sub(r" {2,}", "  ", page)


if __name__ == "__main__":
    PAGE.write_text(captured(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
