"""The contract on DuckDB, in process."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract import *  # noqa: F403
from engine import TYPES, Engine
from published_path import *  # noqa: F403
from whole_path import *  # noqa: F403


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine("duckdb", {"type": "duckdb", "path": str(tmp_path / "contract.duckdb")}, {**TYPES, "real": "double"})
