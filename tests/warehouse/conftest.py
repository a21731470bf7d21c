"""Each engine's file brings an ``engine``; the contract's tests get an empty schema of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("acme", "contract", "engine", "whole_path")

from engine import Engine, Store  # noqa: E402
from harness.dbt import quick_dbt, without_dbt_or_pendo  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def frames() -> Iterator[None]:
    with quick_dbt():
        yield


@pytest.fixture(autouse=True)
def user_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of dbt's or ours in the environment."""
    without_dbt_or_pendo(monkeypatch, tmp_path, PENDO_MISSING_RETRY="0")


@pytest.fixture
def store(engine: Engine, tmp_path: Path) -> Iterator[Store]:
    with engine.store(tmp_path / "store") as opened:
        yield opened
