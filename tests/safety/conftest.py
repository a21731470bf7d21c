"""A project built once a run; a copy and a sandbox for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.postgres import built_once, small_server  # noqa: F401
from lab import Lab, PostgresLab, build_template, pendo

from dbt_pendo.sandbox import Sandbox


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, server: Path | None) -> Path:
    return built_once(tmp_path_factory, "lab", lambda folder: build_template(folder, server), server)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with pendo() as running:
        yield running


@pytest.fixture
def lab(template: Path, tmp_path: Path, sandbox: Sandbox, server: Path | None) -> Lab:
    folder = tmp_path / "project"
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns("logs", "compiled", "run", "*.msgpack"))
    return Lab(folder, sandbox) if server is None else PostgresLab(folder, sandbox, server)
