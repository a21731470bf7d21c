"""A project built once a run; a copy and a sandbox for each test."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import build_once
from harness.postgres import IS_POSTGRES, postgres
from lab import Lab, PostgresLab, build_template, pendo

from dbt_pendo.sandbox import Sandbox


@pytest.fixture(scope="session")
def server() -> Iterator[Path | None]:
    """The folder of a PostgreSQL server's socket; None for DuckDB, which has none."""
    with postgres() if IS_POSTGRES else contextlib.nullcontext() as folder:
        yield folder


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, server: Path | None) -> Path:
    if server is None:
        return build_once(tmp_path_factory, "lab", build_template)
    folder = tmp_path_factory.mktemp("lab")
    build_template(folder, server)
    return folder


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with pendo() as running:
        yield running


@pytest.fixture
def lab(template: Path, tmp_path: Path, sandbox: Sandbox, server: Path | None) -> Lab:
    folder = tmp_path / "project"
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns("logs", "compiled", "run", "*.msgpack"))
    return Lab(folder, sandbox) if server is None else PostgresLab(folder, sandbox, server)
