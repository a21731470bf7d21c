"""The contract on DuckDB, in process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from contract import *  # noqa: F403
from contract import TestExactKeys as ForEachEngine
from engine import TYPES, Engine
from published_path import *  # noqa: F403
from whole_path import *  # noqa: F403


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine("duckdb", {"type": "duckdb", "path": str(tmp_path / "contract.duckdb")}, {**TYPES, "real": "double"})


class TestFoldedKeys(ForEachEngine):
    """A database that folds case."""

    @pytest.fixture
    def engine(self, engine: Engine) -> Engine:
        return replace(engine, output={**engine.output, "settings": {"default_collation": "nocase"}})
