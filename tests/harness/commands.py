"""dbt-pendo's commands, in this process or in one of their own, and how they ended."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from dbt_pendo.cli import main

# Where dbt-pendo keeps what it has parsed, for all runs of tests: not in the user's own place.
CACHE = {"DBT_PENDO_CACHE": str(Path(__file__).resolve().parents[2] / ".pytest_cache")}


def expect_in(text: str, *parts: str) -> None:
    """Checks that a text has each of some parts."""
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in:\n{text}"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    args: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def json(self) -> Any:
        """The one document on stdout; anything beside it is a failure."""
        return json.loads(self.stdout)

    def expect(self, status: int) -> Ended:
        assert self.status == status, f"{self.args} ended with {self.status}:\n{self.output}"
        assert "Traceback" not in self.output
        return self

    def says(self, *parts: str) -> Ended:
        expect_in(self.output, *parts)
        return self

    def result(self, sync: str | None = None) -> dict[str, Any]:
        """The entry of one sync, or of the only one."""
        results = self.json["results"]
        (found,) = [result for result in results if sync in (None, result["sync"])]
        return found

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each sync."""
        return {result["sync"]: result["status"] for result in self.json["results"]}

    @property
    def messages(self) -> dict[str, Any]:
        """The message of each sync."""
        return {result["sync"]: result["message"] for result in self.json["results"]}

    @property
    def planned(self) -> dict[str, int]:
        """The planned rows of the only sync."""
        return self.result()["planned"]

    @property
    def outcome(self) -> tuple[str, int, int, int]:
        """The only sync's status, and how many rows were delivered, missing and rejected."""
        result = self.result()
        return result["status"], result["delivered"], result["missing"], result["rejected"]


def run_cli(*args: str) -> Ended:
    """Runs dbt-pendo in this process, as its entry point does; an exception that escapes is the test's failure."""
    stdout, stderr = io.StringIO(), io.StringIO()
    status = 0
    with (
        mock.patch.object(sys, "argv", ["dbt-pendo", *args]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Ended(args, status, stdout.getvalue(), stderr.getvalue())


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that dbt or dbt-pendo reads, but where things are kept."""
    ours = ("DBT_", "PENDO_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | CACHE
