"""Each engine's file brings an ``engine``; the contract's tests get an empty schema of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("acme", "contract", "engine", "published_path", "whole_path")

from engine import Engine, Store  # noqa: E402


@pytest.fixture(autouse=True)
def user_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of dbt's or ours in the environment."""
    for name in os.environ:
        if name.startswith(("DBT_", "PENDO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PENDO_MISSING_RETRY", "0")


@pytest.fixture
def store(engine: Engine, tmp_path: Path) -> Iterator[Store]:
    with engine.store(tmp_path / "store") as opened:
        yield opened
