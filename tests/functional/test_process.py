"""The process of the command line, which ends without waiting for Python to free what dbt loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dbt_pendo import __version__


@pytest.mark.parametrize(
    ("arguments", "status", "printed", "complained"),
    [
        (["--version"], 0, f"dbt-pendo, version {__version__}\n", ""),
        (["sync", "--nope"], 2, "", "No such option"),
        (["check", "--offline"], 2, "", "Error: "),
    ],
)
def test_all_that_was_said_arrives_with_the_exit_status(tmp_path, arguments, status, printed, complained):
    ended = subprocess.run(
        [sys.executable, "-m", "dbt_pendo", *arguments], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (status, printed)
    assert complained in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_reader_that_has_seen_enough_is_no_error_worth_a_traceback(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "dbt_pendo", "schema"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 1)
