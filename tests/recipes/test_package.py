"""The source archive and the wheel made of it: what they hold, what an index shows of them, and that the wheel runs."""

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest
from recipe import REPOSITORY, run

FROM_REPOSITORY = ("dbt_project.yml", "macros", "sample_project")


def tracked(*folders: str) -> set[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    return set(subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split())


def test_the_archive_holds_what_a_wheel_is_built_from_and_the_dbt_package(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    own = {"PKG-INFO", ".gitignore", "pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md"}
    assert names == tracked("dbt_pendo", "models", "data_tests", *FROM_REPOSITORY) | own
    assert sdist.stat().st_size < 600_000


def test_the_wheel_of_the_archive_alone_has_all_and_runs_the_demo(wheel, bare_machine, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    carried = {
        f"dbt_pendo/{'' if name.startswith('sample_project') else 'dbt_package/'}{name}"
        for name in tracked(*FROM_REPOSITORY)
    }
    assert names == tracked("dbt_pendo") | carried
    assert "dbt_pendo/py.typed" in names

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    environment = {**bare_machine, "HOME": str(tmp_path)}
    environment["PATH"] = f"{tmp_path / 'venv' / 'bin'}:{environment['PATH']}"
    installed = run(["env", "pip", "install", f"{wheel}[duckdb]"], tmp_path, environment)
    assert installed.returncode == 0, installed.stdout
    demo = run(["env", "dbt-pendo", "demo"], tmp_path, environment)
    assert demo.returncode == 0, demo.stdout
    assert "track events" in demo.stdout


def test_what_an_index_shows(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        shown = email.message_from_bytes(archive.read(name))
    text = shown.get_payload()
    assert shown["Description-Content-Type"] == "text/markdown"
    # An index has no other files of the repository.
    site = shown.get_all("Project-URL")[0].partition(", ")[2]
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [link for link in links if not link.startswith("https://")] == []
    pages = [re.sub("#.*", "", link).removeprefix(site).strip("/") for link in links if link.startswith(site)]
    for page in pages:
        places = (f"docs/{page}.md", f"docs/{page}/index.md", f"docs/{page}")
        assert any((REPOSITORY / place).is_file() for place in places), page
    # Each adapter that has an extra is named.
    for extra in shown.get_all("Provides-Extra"):
        assert f"`{extra}`" in text


def test_the_site_is_built_by_a_file_of_the_schema_that_is_published_for_it():
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.readthedocs"]
    ended = run([*command, str(REPOSITORY / ".readthedocs.yaml")], REPOSITORY, os.environ)
    assert ended.returncode == 0, ended.stdout
