"""Output that cannot be written: the run goes on, its results are written, and its exit status tells of it alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import pytest
from harness import PEOPLE, SmallProject, custom, run_cli

from dbt_pendo.sandbox import Fault, Sandbox

ID = "zoë→💥"
Started: TypeAlias = "subprocess.Popen[bytes]"


@pytest.fixture
def shop(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """Two visitors of which Pendo takes one; neither ASCII nor cp1252 has all characters of their ids."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors([f"{ID}1", f"{ID}2"])
    rows = f"select '{ID}1' as id, 'pro →' as plan union all select '{ID}2', 'free'"
    project.model("people", PEOPLE, rows)
    sandbox.fail(Fault(status=400, body=f"no {ID}", path="/custom/value", body_contains=f"{ID}2", times=None))
    return project


@contextmanager
def full() -> Iterator[IO[bytes]]:
    """A disk that has no room left."""
    with Path("/dev/full").open("wb") as file:
        yield file


@contextmanager
def nobody() -> Iterator[IO[bytes]]:
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as file:
        yield file


def start(*args: str, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE, **env: str) -> Started:
    command = [sys.executable, "-m", "dbt_pendo", *args]
    return subprocess.Popen(command, stdout=stdout, stderr=stderr, env={**os.environ, **env})


def finish(process: Started) -> tuple[int, bytes, bytes]:
    stdout, stderr = process.communicate(timeout=120)
    assert b"Traceback" not in (stdout or b"") + (stderr or b""), stderr
    return process.returncode, stdout or b"", stderr or b""


def expect_done(shop: SmallProject, sandbox: Sandbox) -> None:
    """All rows were sent and judged, and the results say so."""
    assert custom(sandbox.visitors) == {f"{ID}1": {"plan": "pro →"}, f"{ID}2": {}}
    (result,) = shop.results()["results"]
    assert (result["status"], result["delivered"], result["rejected"]) == ("partial", 1, 1)
    assert shop.statuses("people") == {f"{ID}1": "delivered", f"{ID}2": "rejected"}


def test_characters_that_a_terminal_does_not_have(shop, sandbox):
    status, stdout, _ = finish(start("sync", PYTHONIOENCODING="cp1252"))
    assert status == 1
    assert rb"\u2192\U0001f4a5" in stdout
    expect_done(shop, sandbox)
    status, stdout, _ = finish(start("sync", "--log-format", "json", PYTHONIOENCODING="ascii"))
    logged = [json.loads(line) for line in stdout.decode("ascii").splitlines()]
    assert any(ID in line["info"]["msg"] for line in logged)


@pytest.mark.parametrize(
    ("output", "place", "why"),
    [
        ((), full, b"No space left on device"),
        (("--json",), nobody, b"Broken pipe"),
        (("--log-format", "json"), nobody, b"Broken pipe"),
    ],
    ids=["text", "json", "log"],
)
def test_a_full_disk_or_a_reader_that_left(shop, sandbox, output, place, why):
    with place() as stdout:
        status, _, stderr = finish(start("sync", *output, stdout=stdout))
    assert (status, stderr.count(b"Not all output could be written: " + why + b".")) == (1, 1)
    expect_done(shop, sandbox)


def test_a_reader_that_leaves_after_the_first_line(shop, sandbox):
    process = start("sync", PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    assert b"Running with" in process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert finish(process)[0] == 1
    expect_done(shop, sandbox)


def test_neither_of_both_can_be_written(shop, sandbox):
    with full() as disk, nobody() as pipe:
        assert finish(start("sync", stdout=disk, stderr=pipe))[0] == 1
        expect_done(shop, sandbox)
        # An error of two lines, on stderr alone.
        assert finish(start("sync", "--region", "mars", stdout=disk, stderr=disk))[0] == 2


COMMANDS = [
    *(["check"], ["plan", "--show", "2"], ["show"], ["show", "--failed"], ["runs"], ["row", "people", f"{ID}2"]),
    *(["report"], ["verify"], ["fields"], ["init", "plain"], ["exposures"], ["unlock"], ["reset"], ["check", "--json"]),
    *(["plan", "--log-format", "json"], ["schema"], ["sandbox", "--switches"]),
]
# Each command in a process of its own, which has dbt loaded already.
EACH = """\
import json, os, sys
import dbt.config.runtime, dbt.parser.manifest
from dbt_pendo.__main__ import run
for command in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        sys.argv = ["dbt-pendo", *command]
        run()
    os.write(3, json.dumps([command, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]).encode() + b"\\n")
"""


@pytest.mark.parametrize("fate", ["ascii", "full"])
def test_every_command_ends_as_it_would(shop, sandbox, monkeypatch, tmp_path, fate):
    shop.model("plain", None, f"select '{ID}' as id, 1 as seats")
    shop.sync(status=1)
    # Of some the output is all there is: a disk that has no room for it is a failure.
    expected = [(list(command), int(fate == "full" and command[0] in ("schema", "init"))) for command in COMMANDS]
    expected = [(command, 1 if command[0] == "verify" else status) for command, status in expected]
    statuses = tmp_path / "statuses"
    with statuses.open("wb") as told, Path("/dev/full").open("wb") as full:
        stdout = {"ascii": subprocess.PIPE, "full": full}[fate]
        script = "import os, sys; os.dup2(int(sys.argv[2]), 3); os.set_inheritable(3, False)\n" + EACH
        ended = subprocess.run(
            [sys.executable, "-c", script, json.dumps(COMMANDS), str(told.fileno())],
            stdout=stdout,  # type: ignore[arg-type]
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": "ascii" if fate == "ascii" else "utf-8"},
            pass_fds=[told.fileno()],
            check=False,
        )
    assert b"Traceback" not in ended.stderr
    assert [tuple(json.loads(line)) for line in statuses.read_text().splitlines()] == expected


def test_results_that_cannot_be_written_stop_nothing(shop, receiver):
    shop.settings("vars: {dbt_pendo: {alerts: [{url: PENDO_ALERT_URL}]}}")
    (shop.target / "pendo_results.json" / "in_the_way").mkdir(parents=True)
    ended = run_cli("sync").expect(1)
    assert "1 sync had rows rejected" in receiver.told()
    assert "pendo_results.json cannot be written: Is a directory." in ended.stderr
    assert "The ledger has what happened to the rows: `dbt-pendo show 2" in ended.stderr
    assert "Delivered 1 row in" in ended.stdout
    assert shop.statuses("people") == {f"{ID}1": "delivered", f"{ID}2": "rejected"}
    assert not list(shop.target.glob("pendo_results.json.*"))


def test_results_that_cannot_be_written_though_nothing_was_sent(shop, sandbox):
    shop.build("people", f"select '{ID}1' as id, 'pro' as plan limit 0")
    (shop.target / "pendo_results.json" / "in_the_way").mkdir(parents=True)
    for args in (("--exclude", "people"), ()):
        ended = run_cli("sync", "--json", *args).expect(1)
        # The document is whole; the error is beside it.
        assert len(ended.json["results"]) == (0 if args else 1)
        assert "pendo_results.json cannot be written: Is a directory.\nNo row was sent.\n" in ended.stderr
        assert "Completed successfully" not in run_cli("sync", *args).expect(1).stdout
