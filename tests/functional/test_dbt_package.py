"""The repository as a dbt package: installed as dbt's hub and others do it, it adds nothing that nobody asked for."""

import http.server
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml
from harness import REPOSITORY, SMALL_PROFILE, Project, project_yaml, write_files

from dbt_pendo import __version__


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of the repository: all its files, tagged, and the archive of the tag."""
    folder = tmp_path_factory.mktemp("release")
    copied = folder / "dbt-pendo"
    command = ["git", "checkout-index", "--all", f"--prefix={copied}/"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for git in (["init", "-q"], ["add", "--force", "."], [*author, "commit", "-q", "-m", "x"], ["tag", "v1"]):
        subprocess.run(["git", *git], cwd=copied, check=True)
    archive = ["git", "archive", "--prefix=dbt-pendo-1/", f"--output={folder / 'v1.tar.gz'}", "v1"]
    subprocess.run(archive, cwd=copied, check=True)
    return folder


@pytest.fixture
def served(checkout: Path) -> Iterator[str]:
    handler = partial(QuietHandler, directory=str(checkout))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("how", ["git", "tarball"])
def test_a_project_that_installs_it_builds_what_it_did_before(checkout, served, tmp_path, how):
    package = {
        "git": {"git": (checkout / "dbt-pendo").as_uri(), "revision": "v1"},
        "tarball": {"tarball": f"{served}/v1.tar.gz", "name": "dbt_pendo"},
    }
    files = {"dbt_project.yml": project_yaml("shop"), "profiles.yml": SMALL_PROFILE, "models/one.sql": "select 1 as id"}
    write_files(tmp_path / "shop", {**files, "packages.yml": json.dumps({"packages": [package[how]]})})
    project = Project(tmp_path / "shop", tmp_path / "shop" / "small.duckdb")
    project.dbt("deps", "build --warn-error")
    assert project.sql("select schema_name || '.' || table_name from duckdb_tables()") == [("main.one",)]
    results = json.loads((project.target / "run_results.json").read_text(encoding="utf-8"))["results"]
    assert [one["unique_id"] for one in results] == ["model.shop.one"]
    macros = json.loads((project.target / "manifest.json").read_text(encoding="utf-8"))["macros"]
    assert "macro.dbt_pendo.publish" in macros


def test_it_has_what_dbts_hub_asks_for():
    """The hub's rules: https://github.com/dbt-labs/hubcap, the README and the package's best practices."""
    project = yaml.safe_load((REPOSITORY / "dbt_project.yml").read_text(encoding="utf-8"))
    assert re.fullmatch(r"[a-z_]+", project["name"])
    assert project["version"] == __version__
    lowest, highest = project["require-dbt-version"]
    assert (lowest[:2], highest[0]) == (">=", "<")
    # Nothing that could stand in the way of other packages.
    assert not (REPOSITORY / "packages.yml").exists()
    assert not {"profile", "vars", "models", "on-run-end"} & project.keys()
    # Whoever wants the models says so.
    for path in (*(REPOSITORY / "models").glob("*.sql"), *(REPOSITORY / "data_tests").glob("*.sql")):
        assert "enabled=dbt_pendo.pendo_wants_models()" in path.read_text(encoding="utf-8"), path
