"""A project built once a run; a copy and a sandbox for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import build_once
from lab import Lab, build_template, pendo

from dbt_pendo.sandbox import Sandbox


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once(tmp_path_factory, "lab", build_template)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with pendo() as running:
        yield running


@pytest.fixture
def lab(template: Path, tmp_path: Path, sandbox: Sandbox) -> Lab:
    folder = tmp_path / "project"
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns("logs", "compiled", "run", "*.msgpack"))
    return Lab(folder, sandbox)
