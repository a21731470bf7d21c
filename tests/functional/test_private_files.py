"""What a run writes is for its owner alone; what is not ours stays as it is.

The journal is in tests/safety/test_journal.py, what comes from dbt Cloud in test_dbt_cloud.py.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import run_cli


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def rights(path: Path) -> str:
    return stat.filemode(path.lstat().st_mode)


def expect_private(target: Path) -> set[str]:
    """Returns the names of all that lies in our folder, which nobody else may look into."""
    found = [target / "dbt_pendo", *(target / "dbt_pendo").rglob("*")]
    for path in found:
        assert rights(path) == ("drwx------" if path.is_dir() else "-rw-------"), path
    return {path.name for path in found}


def test_a_run_writes_for_its_owner(people, sandbox, tmp_path):
    people.target.chmod(0o755)
    people.sync()
    run_cli("report").expect(0)
    run_cli("report", "--output", str(tmp_path / "shared" / "report.html")).expect(0)
    assert {"dbt_pendo", "runs", "requests.jsonl"} <= expect_private(people.target)
    for path in ("small/target/pendo_results.json", "small/target/pendo_report.html", "shared/report.html"):
        assert rights(tmp_path / path) == "-rw-------", path
    # Folders that are not ours are as others want them.
    assert (rights(people.target), rights(tmp_path / "shared")) == ("drwxr-xr-x", "drwxr-xr-x")
    assert rights(people.target / "manifest.json") == "-rw-r--r--"


def test_what_an_earlier_version_left_is_narrowed_and_nothing_is_widened(people, sandbox, tmp_path):
    people.sync()
    ours = people.target / "dbt_pendo"
    for path in (ours, *ours.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (people.target / "pendo_results.json").chmod(0o644)
    (ours / "people.0.journal").write_text("{}", encoding="utf-8")
    (closed := ours / "closed").write_text("", encoding="utf-8")
    closed.chmod(0o400)
    (others := tmp_path / "others").write_text("", encoding="utf-8")
    (ours / "link").symlink_to(others)
    people.sync()
    assert (rights(closed), rights(others)) == ("-r--------", "-rw-r--r--")
    assert rights(people.target / "pendo_results.json") == "-rw-------"
    closed.unlink()
    (ours / "link").unlink()
    assert "people.0.journal" in expect_private(people.target)
