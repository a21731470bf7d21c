"""What dbt works out at a start is kept, is never needed and never trusted; and Pendo is asked meanwhile, as ever."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from harness import PEOPLE, SmallProject, run_cli

from dbt_pendo.errors import ConfigError
from dbt_pendo.sandbox import Fault, Sandbox
from dbt_pendo.warehouse import adapter
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.session import open_session

FORGED = "{% macro default__pendo_longest_name() %}{{ return(4242) }}{% endmacro %}"
VERIFY, SCHEMA = "/api/v1/token/verify", "/api/v1/metadata/schema/visitor"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files are kept."""
    monkeypatch.setenv("DBT_PENDO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dbt_pendo"


@pytest.fixture
def start(project: SmallProject, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """Opens the adapter as a new process does; returns all macros, and SQL that some of them make."""

    def start() -> dict[str, str]:
        monkeypatch.setattr(adapter, "_MACROS", {})
        with open_session(Connection(project.folder, project.folder)) as session:
            made = {
                "longest": session.sql("pendo_longest_name"),
                "schema": session.own_schema(None),
                "columns": str(session.columns(None, "main", "template")),
            }
        return made | {name: macro.macro_sql for name, macro in adapter._MACROS["duckdb"].macros.items()}

    return start


def kept(folder: Path, what: str) -> Path:
    (path,) = folder.glob(f"{what}-*.json")
    return path


def rewrite(path: Path, change: Callable[[Any, Any], Any]) -> None:
    """Writes a file as a run would, with another value: ``change(state, value)`` returns both."""
    content = orjson.dumps(change(*orjson.loads(path.read_bytes().partition(b"\n")[2])))
    path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def forge(path: Path) -> None:
    """Has a macro say something else, which shows in SQL if the file is used."""

    def change(state: Any, macros: list[dict[str, str]]) -> Any:
        for macro in macros:
            if macro["name"] == "default__pendo_longest_name":
                macro["macro_sql"] = FORGED
        return [state, macros]

    rewrite(path, change)


def test_a_start_keeps_what_the_next_one_takes(start, folder, monkeypatch):
    monkeypatch.setenv("DBT_PENDO_CACHE", "false")
    without = start()
    assert not folder.exists()
    assert not Path("false").exists()
    monkeypatch.setenv("DBT_PENDO_CACHE", str(folder.parent))
    assert [start(), start()] == [without, without]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600, 0o600]
    forge(kept(folder, "macros"))
    assert start()["longest"] == "4242"
    # A schema to which no profile conforms.
    rewrite(
        kept(folder, "schemas"),
        lambda state, all_: [state, {name: [of, {"not": {}}] for name, (of, _) in all_.items()}],
    )
    with pytest.raises(ConfigError, match="cannot be used"):
        start()


def other_state(path: Path) -> None:
    rewrite(path, lambda state, value: [["0.0.1", *state[1:]], value])


def give_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(path, 12345, 12345)


SPOILT: dict[str, Callable[[Path], Any]] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "changed by hand": lambda path: path.write_text(path.read_text().replace("4242", "4243")),
    "no JSON": lambda path: path.write_bytes(hashlib.sha256(b"{").hexdigest().encode() + b"\n{"),
    "of another kind": lambda path: rewrite(path, lambda state, _: [state, "4242"]),
    "of another version": other_state,
    "written by anybody": lambda path: path.chmod(0o622),
    "in a folder for anybody": lambda path: path.parent.chmod(0o770),
    "of another user": give_away,
    "in a folder of another user": lambda path: give_away(path.parent),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("what", ["macros", "schemas"])
def test_a_file_that_cannot_be_trusted_is_not_used(start, folder, how, what, capfd):
    first = start()
    path = kept(folder, what)
    if what == "macros":
        forge(path)
    SPOILT[how](path)
    assert start() == first
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("place", ["file", "file/below", "\0"])
def test_a_place_where_nothing_can_be_kept(start, tmp_path, monkeypatch, place, capfd):
    (tmp_path / "file").write_text("a user's")
    if place == "\0":
        # Nor is there a home.
        monkeypatch.setenv("DBT_PENDO_CACHE", "")
        monkeypatch.setenv("HOME", str(tmp_path / "file"))
    else:
        monkeypatch.setenv("DBT_PENDO_CACHE", str(tmp_path / place))
    assert start()["schema"] == "main_pendo"
    assert (tmp_path / "file").read_text() == "a user's"
    assert capfd.readouterr() == ("", "")


def test_without_a_place_it_is_the_users_own(start, tmp_path, monkeypatch):
    monkeypatch.setenv("DBT_PENDO_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    start()
    assert len(list((tmp_path / "xdg" / "dbt_pendo").iterdir())) == 2


def test_a_changed_macro_counts_at_once(start, folder, tmp_path, monkeypatch):
    package = adapter._dbt_package()
    (mine := tmp_path / "package").mkdir()
    shutil.copy(package / "dbt_project.yml", mine)
    shutil.copytree(package / "macros", mine / "macros")
    monkeypatch.setattr(adapter, "_dbt_package", lambda: mine)
    assert start()["longest"] != "4242"
    # A file more, and then another.
    for said in ("4242", "4343"):
        (mine / "macros" / "more.sql").write_text(FORGED.replace("default", "duckdb").replace("4242", said))
        assert start()["longest"] == said
    (mine / "macros" / "more.sql").unlink()
    assert start()["longest"] not in ("4242", "4343")


def test_dbt_without_what_is_kept(start, folder, monkeypatch):
    import dbt.adapters.factory
    import dbt.node_types

    first = start()
    for module, name in ((dbt.adapters.factory, "get_include_paths"), (dbt.node_types, "NodeType")):
        with monkeypatch.context() as patch:
            patch.delattr(module, name)
            assert start() == first


def test_files_that_no_run_has_written_for_long_are_removed(start, folder):
    folder.mkdir(parents=True)
    month_ago, day_ago = (time.time() - days * 24 * 3600 for days in (31, 1))
    names = {"macros-duckdb-0123456789abcdef.json": month_ago, "schemas-0123456789abcdef.json.x.tmp": month_ago}
    stay = {"macros-spark-0123456789abcdef.json": day_ago, "people.0.journal": month_ago}
    for name, written in {**names, **stay}.items():
        (folder / name).write_text("")
        os.utime(folder / name, (written, written))
    start()
    left = {path.name for path in folder.iterdir()}
    assert stay.keys() <= left
    assert not names.keys() & left


WRITE = """
from dbt_pendo.warehouse.cache import _Kept
for number in range(200):
    _Kept("macros-duckdb", ["state"]).write([{number}] * 20_000)
"""


def test_two_processes_may_write_at_once(folder):
    from dbt_pendo.warehouse.cache import _Kept

    programs = [WRITE.replace("{number}", str(number)) for number in (1, 2)]
    writers = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    found = []
    while any(writer.poll() is None for writer in writers):
        found.append(_Kept("macros-duckdb", ["state"]).read())
    assert [writer.wait() for writer in writers] == [0, 0]
    assert all(value is None or value in ([1] * 20_000, [2] * 20_000) for value in found)
    assert None not in found[found.index(next(filter(None, found))) :]
    assert [path.suffix for path in folder.iterdir()] == [".json"]


def asked(sandbox: Sandbox) -> list[str]:
    return [request.path for request in sandbox.requests]


def test_key_and_fields_are_asked_once_and_their_calls_are_the_first_syncs(people, sandbox):
    people.model("others", {**PEOPLE, "batch_size": 1}, "select 'b' as id, 'new' as plan")
    people.sync()
    assert (asked(sandbox).count(VERIFY), asked(sandbox).count(SCHEMA)) == (1, 1)
    (log,) = (people.target / "dbt_pendo" / "runs").glob("*/requests.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    first = people.results()["results"][0]["sync"]
    assert [(line["path"], line["sync"]) for line in lines[:2]] == [(VERIFY, first), (SCHEMA, first)]
    assert len(lines) == len(sandbox.requests)


@pytest.mark.parametrize("command", ["sync", "plan", "check", "fields"])
def test_a_key_that_does_not_do_is_the_only_question(people, sandbox, monkeypatch, command):
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "another")
    ended = run_cli(command).expect(2)
    assert ended.output.count("refused the") == 1
    assert asked(sandbox) == [VERIFY]


def test_pendo_is_asked_nothing_for_a_sync_that_may_not_run(people, sandbox):
    people.model("others", PEOPLE, "select 'b' as id, 'new' as plan")
    run_cli("sync", "--only-built", "--select", "others").expect(0)
    assert asked(sandbox) == []


def test_a_profile_that_is_wrong_waits_for_no_answer(people, sandbox):
    sandbox.fail(Fault("hang", path="verify", seconds=15.0))
    (people.folder / "profiles.yml").write_text("small: {target: dev, outputs: {dev: {type: nothing}}}")
    begun = time.monotonic()
    run_cli("sync").expect(2).says("The profile in")
    assert time.monotonic() - begun < 10
