"""Output that cannot be written: the run goes on, its results are written, and its exit status tells of it alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from harness import PEOPLE, Ended, SmallProject, custom, expect_in, run_cli, start

from dbt_pendo.sandbox import Fault, Sandbox

ID = "zoë→💥"
Started: TypeAlias = "subprocess.Popen[str]"


@pytest.fixture
def shop(project: SmallProject, plans: Sandbox) -> SmallProject:
    """Two visitors of which Pendo takes one; neither ASCII nor cp1252 has all characters of their ids."""
    plans.add_visitors([f"{ID}1", f"{ID}2"])
    rows = f"select '{ID}1' as id, 'pro →' as plan union all select '{ID}2', 'free'"
    project.model("people", PEOPLE, rows)
    plans.fail(Fault(status=400, body=f"no {ID}", path="/custom/value", body_contains=f"{ID}2", times=None))
    return project


def run_python(*args: str, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE, **env: str) -> Started:
    """Starts a command with a Python of its own."""
    command = [sys.executable, "-m", "dbt_pendo", *args]
    return subprocess.Popen(command, stdout=stdout, stderr=stderr, env={**os.environ, **env}, text=True)


def fork(folder: Path, *args: str, stdout: str | None = None, stderr: str | None = None, **env: str) -> Ended:
    """Runs a command in a process that has all imported."""
    outputs = {"stdout": stdout, "stderr": stderr}
    return start("dbt-pendo", *args, cwd=folder, env={**os.environ, **env}, **outputs).wait()


def finish(process: Started) -> Ended:
    stdout, stderr = process.communicate(timeout=120)
    assert "Traceback" not in (stderr or "")
    return Ended((), process.returncode, stdout or "", stderr or "")


def expect_done(shop: SmallProject, sandbox: Sandbox) -> None:
    """All rows were sent and judged, and the results say so."""
    assert custom(sandbox.visitors) == {f"{ID}1": {"plan": "pro →"}, f"{ID}2": {}}
    (result,) = shop.results()["results"]
    assert (result["status"], result["delivered"], result["rejected"]) == ("partial", 1, 1)
    assert shop.statuses("people") == {f"{ID}1": "delivered", f"{ID}2": "rejected"}


def test_characters_that_a_terminal_does_not_have(shop, sandbox):
    assert r"\u2192\U0001f4a5" in fork(shop.folder, "sync", PYTHONIOENCODING="cp1252").expect(1).stdout
    expect_done(shop, sandbox)
    ended = fork(shop.folder, "sync", "--log-format", "json", PYTHONIOENCODING="ascii").expect(1)
    assert ended.stdout.isascii()
    logged = [json.loads(line) for line in ended.stdout.splitlines()]
    assert any(ID in line["info"]["msg"] for line in logged)


LOST = "Not all output could be written: "


def test_a_full_disk(shop, sandbox):
    for args in (["--log-format", "json"], ["--full-refresh"]):
        ended = fork(shop.folder, "sync", *args, stdout="/dev/full").expect(1)
        assert ended.stderr.count(f"{LOST}No space left on device.") == 1
        expect_done(shop, sandbox)
    # An error of two lines, on stderr alone.
    fork(shop.folder, "sync", "--region", "mars", stdout="/dev/full", stderr="/dev/full").expect(2)


def test_a_reader_that_left(shop, sandbox):
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as disk, os.fdopen(writer, "wb") as pipe:
        ended = finish(run_python("sync", "--json", stdout=pipe))
        assert (ended.status, ended.stderr.count(f"{LOST}Broken pipe.")) == (1, 1)
        expect_done(shop, sandbox)
        # Nor can that be told.
        assert finish(run_python("sync", "--full-refresh", stdout=disk, stderr=pipe)).status == 1
        expect_done(shop, sandbox)


def test_a_reader_that_leaves_after_the_first_line(shop, sandbox):
    process = run_python("sync", PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    assert "Running with" in process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert finish(process).status == 1
    expect_done(shop, sandbox)


COMMANDS = [
    *("check", "plan --show 2", "show", "show --failed", "runs", f"row people {ID}2", "report", "verify", "fields"),
    *("init plain", "exposures", "unlock", "reset --all", "check --json", "plan --log-format json", "schema"),
    "sandbox --switches",
]


@pytest.mark.parametrize(("stdout", "encoding"), [(None, "ascii"), ("/dev/full", "utf-8")], ids=["ascii", "full"])
def test_every_command_ends_as_it_would(shop, stdout, encoding):
    shop.model("plain", None, f"select '{ID}' as id, 1 as seats")
    shop.sync(status=1)
    for command in COMMANDS:
        # Of some the output is all there is: a disk that has no room for it is a failure.
        status = 1 if command == "verify" or (stdout and command in ("schema", "init plain")) else 0
        fork(shop.folder, *command.split(), stdout=stdout, PYTHONIOENCODING=encoding).expect(status)


def test_results_that_cannot_be_written_stop_nothing(shop, sandbox, receiver):
    shop.settings("vars: {dbt_pendo: {alerts: [{url: PENDO_ALERT_URL}]}}")
    (shop.target / "pendo_results.json" / "in_the_way").mkdir(parents=True)
    ended = run_cli("sync").expect(1)
    assert "1 sync had rows rejected" in receiver.told()
    told = "pendo_results.json cannot be written: Is a directory."
    expect_in(ended.stderr, told, "The ledger has what happened to the rows: `dbt-pendo show 2")
    assert "Delivered 1 row in" in ended.stdout
    assert shop.statuses("people") == {f"{ID}1": "delivered", f"{ID}2": "rejected"}
    assert not list(shop.target.glob("pendo_results.json.*"))
    # Nor was anything to be sent.
    shop.build("people", f"select '{ID}1' as id, 'pro →' as plan")
    for args in (("--exclude", "people"), ()):
        ended = run_cli("sync", "--json", *args).expect(1)
        # The document is whole; the error is beside it.
        assert len(ended.json["results"]) == (0 if args else 1)
        assert f"{told}\nNo row was sent.\n" in ended.stderr
        assert "Completed successfully" not in run_cli("sync", *args).expect(1).stdout
