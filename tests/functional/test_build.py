"""``dbt-pendo build``: a real dbt in a process of its own, and then what it has built."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from harness import run_cli, run_process, start, writes
from harness.warm import dbt_program
from test_gates import Gated, gated  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def asked(gated: Gated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the `dbt` on the PATH writes its arguments into; it need not parse what it has parsed."""
    monkeypatch.chdir(gated.folder)
    monkeypatch.setenv("SMALL_DUCKDB_PATH", gated.database.name)
    folder = tmp_path / "bin"
    folder.mkdir()
    dbt_program(folder, before='printf \'%s\\n\' "$@" > "$ASKED"; printf %s "$DBT_TARGET_PATH" > "$ASKED.path"')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    return tmp_path / "asked"


def test_what_was_built_is_synced_under_one_summary(gated, written, asked):
    ended = run_process("build", "--require-tests").expect(1)
    assert asked.read_text().split() == ["build"]
    assert Path(f"{asked}.path").read_text() == str(gated.target)
    assert written() == {"sound", "untested", "warned", "made_of_numbers"}
    lines = [line.split("  ", 1)[1] for line in ended.stdout.splitlines()[-2:]]
    assert (lines[0][:14], lines[1]) == ("Done. dbt: OK=", "Done. Pendo: OK=4 WARN=0 ERROR=0 SKIP=5 TOTAL=9")
    assert ended.stdout.index("Completed with") < ended.stdout.index("Running with dbt-pendo")


def test_dbt_gets_its_arguments_as_they_are_and_none_of_ours(gated, written, asked):
    args = ("-s", "sound", "warned", "--threads", "2", "--exclude-resource-type", "unit_test", "--vars", "{a: 'b c'}")
    ended = run_process(
        "build", *args, "--concurrency", "2", "--region=us", "--no-require-tests", "--json", "--warn-error"
    )
    assert asked.read_text().splitlines() == ["build", *args, "--warn-error"]
    # A test that warns is an error to dbt then; what was built is synced all the same, and the status tells.
    assert (ended.status, written()) == (1, {"sound", "warned"})
    assert {sync for sync, status in ended.statuses.items() if status == "success"} == {"sound", "warned"}
    assert "Running with dbt=" in ended.stderr


def test_slim_ci_syncs_what_it_has_built(gated, written, asked):
    shutil.copytree(gated.target, gated.folder / "state")
    args = ("--select", "untested", "--defer", "--state", str(gated.folder / "state"), "--target", "other")
    # What was not selected is no warning, and not listed.
    ended = run_cli("build", *args, "--warn-error").expect(0)
    assert asked.read_text().splitlines() == ["build", *args, "--warn-error"]
    assert "Done. Pendo: OK=1 WARN=0 ERROR=0 SKIP=0 TOTAL=1" in ended.stdout
    assert [result["sync"] for result in gated.results()["results"]] == ["untested"]
    assert written() == {"untested"}


def test_what_was_selected_and_is_not_built_is_told(gated, written):
    # `related` and others have failures of an earlier build, and are not selected now.
    ended = run_process("build", "--select", "untested", "broken+", "--json").expect(1)
    assert ended.statuses == {"untested": "success", "broken": "skipped", "after_broken": "skipped"}
    for sync, status in (("broken", "error"), ("after_broken", "skipped")):
        assert f"the last dbt run left the model in status '{status}'" in ended.messages[sync]
    # What is made of a model that failed was not selected either.
    assert run_process("build", "--select", "broken", "--json").expect(1).statuses == {"broken": "skipped"}
    assert written() == {"untested"}


def test_a_build_without_rows_or_models_leaves_pendo_alone(gated, sandbox):
    run_cli("build", "--select", "sound", "--empty").expect(0).says("`dbt build --empty` built it without all its rows")
    ended = run_cli("build", "--select", "nobody").expect(0)
    assert "Nothing to do: the selection holds no enabled sync." in ended.stdout
    assert " SKIP " not in ended.stdout.partition("Running with dbt-pendo")[2]
    # A project that does not parse leaves older results alone.
    (gated.folder / "models" / "marts" / "wrong.sql").write_text("select {{ ref('nobody') }}")
    told = "`dbt build` ended with exit status 2 before it built anything; nothing was synced."
    assert told in run_cli("build").expect(2).output
    assert writes(sandbox.requests) == []


def test_a_build_that_nothing_can_be_read_of_is_an_error(gated, sandbox, tmp_path):
    dbt = tmp_path / "bin" / "dbt"
    dbt.write_text("#!/bin/sh\nexit 0\n")
    told = f"`dbt build` ended well and has written nothing to {gated.target}; nothing was synced."
    run_cli("build").expect(1).says(told, "--target-path")
    assert writes(sandbox.requests) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_is_told_to_stop_syncs_nothing(gated, sandbox, asked, number):
    build = start("dbt-pendo", "build", "--select", "sound", cwd=gated.folder, env=os.environ)
    while not asked.exists():
        time.sleep(0.05)
    build.send(number)
    build.wait().expect(1).says("nothing was synced")
    assert writes(sandbox.requests) == []
