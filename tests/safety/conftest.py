"""A project built once a worker; a copy and a sandbox for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab, build_template, copy_template, pendo

from dbt_pendo.sandbox import Sandbox


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    build_template(folder)
    return folder


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with pendo() as running:
        yield running


@pytest.fixture
def lab(template: Path, tmp_path: Path, sandbox: Sandbox) -> Lab:
    folder = tmp_path / "project"
    copy_template(template, folder)
    return Lab(folder, sandbox)
