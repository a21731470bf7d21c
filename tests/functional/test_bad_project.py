"""Settings, profiles, projects, warehouses and selections that cannot be used.

Each message of a setting is in tests/unit/test_settings.py.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from harness import writes
from test_bad_input import check_untouched, refused


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("PENDO_REGION", "mars", ("'mars' is not a Pendo region", "us, us1, eu, jpn, au")),
        ("PENDO_API_URL", "app.pendo.io", ("PENDO_API_URL", "'app.pendo.io'", "https://")),
        ("PENDO_API_URL", "http://127.0.0.1:notaport", ("PENDO_API_URL",)),
        ("PENDO_API_URL", "https://user:sandbox-integration-key@app.pendo.io", ("PENDO_API_URL", "password")),
        ("PENDO_CONCURRENCY", "many", ("PENDO_CONCURRENCY", "'many' is not a whole number")),
        ("PENDO_TIMEOUT", "-1", ("PENDO_TIMEOUT", "above zero")),
        ("PENDO_REQUESTS_PER_SECOND", "inf", ("PENDO_REQUESTS_PER_SECOND",)),
    ],
)
def test_settings_that_make_no_sense(people, sandbox, monkeypatch, name, value, parts):
    monkeypatch.setenv(name, value)
    refused(people, sandbox, *parts)


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("regoin: eu", ("dbt_project.yml", "vars.dbt_pendo.regoin", "Did you mean `region`?")),
        ("3: eu", ("dbt_project.yml", "vars.dbt_pendo.3: unknown setting")),
        # Refused, and not repeated.
        ("integration_key: sandbox-integration-key", ("vars.dbt_pendo.integration_key",)),
    ],
)
def test_settings_of_the_project(people, sandbox, setting, parts):
    people.settings(f"vars: {{dbt_pendo: {{{setting}}}}}")
    refused(people, sandbox, *parts)


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("sync", "--concurrency", "many"), ("--concurrency", "'many'")),
        (("sync", "--limit", "many"), ("--limit",)),
        (("sync", "--nonsense"), ("--nonsense",)),
        (("sink",), ("sink",)),
        (("sync", "--vars", "[1]"), ("--vars",)),
        (("sync", "--vars", "{a: "), ("--vars",)),
        (("sync", "--target", "prod"), ("prod", "dev")),
        (("sync", "--select", "nosuchmethod:x"), ("selection", "nosuchmethod")),
        (("sync", "--selector", "nosuch"), ("nosuch", "selectors.yml")),
    ],
)
def test_a_flag_that_makes_no_sense(people, sandbox, args, parts):
    people.run(*args).expect(2).says(*parts)
    check_untouched(people, sandbox)


def test_no_project(people, sandbox, monkeypatch, tmp_path):
    monkeypatch.setenv("DBT_PROJECT_DIR", str(tmp_path / "nowhere"))
    refused(people, sandbox, "There is no dbt_project.yml in", str(tmp_path / "nowhere"), "--project-dir")


@pytest.mark.parametrize("content", ["name: [", "- a list", "", "name: \x00"])
def test_a_broken_project_file(people, sandbox, content):
    (people.folder / "dbt_project.yml").write_text(content)
    refused(people, sandbox, "dbt_project.yml")


PROFILES = {
    "no file": None,
    "broken": "small: [",
    "another profile": "large: {target: dev, outputs: {dev: {type: duckdb, path: x.duckdb}}}",
    "no target": "small: {target: gone, outputs: {dev: {type: duckdb, path: x.duckdb}}}",
    "no type": "small: {target: dev, outputs: {dev: {path: x.duckdb}}}",
    "another adapter": "small: {target: dev, outputs: {dev: {type: nosuchadapter}}}",
    "a missing variable": "small: {target: dev, outputs: {dev: {type: duckdb, path: \"{{ env_var('NOWHERE') }}\"}}}",
}


@pytest.mark.parametrize("content", PROFILES.values(), ids=PROFILES)
def test_a_profile_that_cannot_be_used(people, sandbox, content):
    profiles = people.folder / "profiles.yml"
    profiles.unlink()
    if content is not None:
        profiles.write_text(content)
    refused(people, sandbox, "rofile")


def test_a_warehouse_that_cannot_be_opened(people, sandbox):
    people.database.write_bytes(b"this is no DuckDB file" * 1000)
    people.run("sync").expect(1).says("warehouse")
    assert writes(sandbox.requests) == []


def test_a_warehouse_that_another_process_holds(people, sandbox):
    program = (
        f"import duckdb, sys; held = duckdb.connect({str(people.database)!r}); print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        people.run("sync").expect(1).says("warehouse", "lock")
    finally:
        holder.communicate()
    assert writes(sandbox.requests) == []
    people.sync()


@pytest.mark.parametrize("damage", ["null", "a list of columns", "no checksum"])
def test_a_manifest_that_dbt_cannot_select_from(people, sandbox, damage):
    manifest = people.manifest()
    nodes = manifest["nodes"]
    if damage == "null":
        nodes["model.small.odd"] = None
    elif damage == "a list of columns":
        nodes["model.small.template"]["columns"] = ["id"]
    else:
        nodes["model.small.template"].pop("checksum")
    people.write_manifest(manifest)
    ended = people.run("sync", "--select", "people").expect(2).says("manifest.json: dbt ", "cannot select from it")
    assert len(ended.output) < 600
    check_untouched(people, sandbox)


@pytest.mark.parametrize("command", ["check", "plan", "sync"])
def test_a_selection_without_a_sync(people, sandbox, command):
    people.run(command, "--select", "template").expect(0).says("Nothing to do")
    assert people.run(command, "--select", "template", "--json").expect(0).json["results"] == []
    assert sandbox.requests == []
