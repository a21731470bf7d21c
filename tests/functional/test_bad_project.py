"""Settings, profiles, projects, warehouses and selections that cannot be used.

Each message of a setting is in tests/unit/test_settings.py.
"""

from __future__ import annotations

import subprocess
import sys

from harness import writes
from test_bad_input import READING, check_untouched, refused


def test_settings_that_make_no_sense(people, sandbox, monkeypatch):
    with monkeypatch.context() as environment:
        environment.setenv("PENDO_REGION", "mars")
        refused(people, sandbox, "'mars' is not a Pendo region", "us, us1, eu, jpn, au")
    # What is wrong is refused, and not repeated.
    people.settings("vars: {dbt_pendo: {integration_key: sandbox-integration-key}}")
    refused(people, sandbox, "dbt_project.yml: vars.dbt_pendo.integration_key: unknown setting.")


FLAGS = [
    ("sync --concurrency many", ("--concurrency", "'many'")),
    ("sink", ("sink",)),
    ("sync --vars {a:", ("--vars",)),
    ("sync --target prod", ("prod", "dev")),
    ("sync --select nosuchmethod:x", ("selection", "nosuchmethod")),
    ("sync --selector nosuch", ("nosuch", "selectors.yml")),
]


def test_flags_that_make_no_sense_and_a_selection_without_a_sync(people, sandbox):
    for args, parts in FLAGS:
        people.run(*args.split()).expect(2).says(*parts)
        check_untouched(people, sandbox)
    for command in READING:
        people.run(command, "--select", "template").expect(0).says("Nothing to do")
        assert people.run(command, "--select", "template", "--json").expect(0).json["results"] == []
    assert sandbox.requests == []


def test_a_broken_project_file_and_none(people, sandbox, monkeypatch, tmp_path):
    for content in ("name: [", "- a list", "", "name: \x00"):
        (people.folder / "dbt_project.yml").write_text(content)
        refused(people, sandbox, "dbt_project.yml")
    monkeypatch.setenv("DBT_PROJECT_DIR", str(tmp_path / "nowhere"))
    refused(people, sandbox, "There is no dbt_project.yml in", str(tmp_path / "nowhere"), "--project-dir")


def test_profiles_that_cannot_be_used(people, sandbox):
    profiles = people.folder / "profiles.yml"
    for content in (
        "small: [",
        "large: {target: dev, outputs: {dev: {type: duckdb, path: x.duckdb}}}",
        "small: {target: gone, outputs: {dev: {type: duckdb, path: x.duckdb}}}",
        "small: {target: dev, outputs: {dev: {path: x.duckdb}}}",
        "small: {target: dev, outputs: {dev: {type: nosuchadapter}}}",
        "small: {target: dev, outputs: {dev: {type: duckdb, path: \"{{ env_var('NOWHERE') }}\"}}}",
    ):
        profiles.write_text(content)
        refused(people, sandbox, "rofile")
    profiles.unlink()
    refused(people, sandbox, "rofile")


def test_a_warehouse_that_cannot_be_opened(people, sandbox):
    sound = people.database.read_bytes()
    people.database.write_bytes(b"this is no DuckDB file" * 1000)
    people.run("sync").expect(1).says("warehouse")
    people.database.write_bytes(sound)
    # Another process holds it.
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


def test_a_manifest_that_dbt_cannot_select_from(people, sandbox):
    template = people.manifest()["nodes"]["model.small.template"]
    without = {key: value for key, value in template.items() if key != "checksum"}
    for node in (None, {**template, "columns": ["id"]}, without):
        manifest = people.manifest()
        manifest["nodes"]["model.small.template"] = node
        people.write_manifest(manifest)
        ended = people.run("sync", "--select", "people").expect(2).says("manifest.json: dbt ", "cannot select from it")
        assert len(ended.output) < 600
        check_untouched(people, sandbox)
