"""Each recipe runs on a clean copy of the shop, beside a sandbox of its own."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("recipe")

from harness import chosen  # noqa: E402
from recipe import ACCOUNTS, REPOSITORY, VISITORS, Shop, copy_project, machine  # noqa: E402

from dbt_pendo.sandbox import Sandbox  # noqa: E402


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    copy_project(tmp_path / "shop")
    with Sandbox(switches=chosen()) as sandbox:
        for kind in ("visitor", "account"):
            sandbox.add_field(kind, "custom", "plan", "string")
        sandbox.add_visitors(list(VISITORS))
        sandbox.add_accounts(list(ACCOUNTS))
        yield Shop(tmp_path / "shop", tmp_path / "shop.duckdb", sandbox)


@pytest.fixture(scope="session")
def bare_machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A machine without dbt-pendo."""
    return machine(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dbt-pendo's source archive."""
    return build("sdist", REPOSITORY, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dbt-pendo's wheel, made of the source archive alone."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.unpack_archive(sdist, folder, filter="data")
    return build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)


def build(target: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built
