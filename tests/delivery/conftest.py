"""A small shop that dbt builds once a worker, copied for each test, beside a sandbox of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dbt_pendo.pendo import client, pacing
from dbt_pendo.sandbox import Sandbox

pytest.register_assert_rewrite("shop")

from shop import FILES, Shop, set_scene  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def macros_loaded_once() -> Iterator[None]:
    """Two thirds of a run on a small table is dbt reading its own macros, the same ones for every run."""
    from dbt.parser.manifest import ManifestLoader

    with pytest.MonkeyPatch.context() as patch:
        load = ManifestLoader.load_macros
        loaded: dict[str, object] = {}

        def load_once(config: Any, *args: object, **kwargs: object) -> object:
            warehouse = config.credentials.type
            if warehouse not in loaded:
                loaded[warehouse] = load(config, *args, **kwargs)
            return loaded[warehouse]

        patch.setattr(ManifestLoader, "load_macros", load_once)
        yield


@pytest.fixture(scope="session")
def built_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    build = subprocess.run(
        [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "build", "--profiles-dir", "."],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PENDO_"))},
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "SHOP_DUCKDB_PATH": str(folder / "shop.duckdb"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


@pytest.fixture(autouse=True)
def user_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of dbt's or ours in the environment, and waits so short that nobody notices them."""
    for name in os.environ:
        if name.startswith(("DBT_", "PENDO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PENDO_RETRIES", "2")
    monkeypatch.setenv("PENDO_TIMEOUT", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(pacing, "PAUSE", 0.01)
    monkeypatch.setattr(pacing, "SLOWEST_RATE", 200.0)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A stand-in for Pendo that knows the shop's fields and most of its users."""
    with Sandbox() as running:
        set_scene(running)
        monkeypatch.setenv("PENDO_API_URL", running.url)
        monkeypatch.setenv("PENDO_INTEGRATION_KEY", running.integration_key)
        monkeypatch.setenv("PENDO_TRACK_SECRET", running.track_secrets[""])
        yield running


@pytest.fixture
def shop(built_shop: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Shop:
    folder = tmp_path / "shop"
    shutil.copytree(built_shop, folder, ignore=shutil.ignore_patterns("logs", "compiled", "run", "*.msgpack"))
    monkeypatch.setenv("SHOP_DUCKDB_PATH", str(folder / "shop.duckdb"))
    monkeypatch.setenv("DBT_PROJECT_DIR", str(folder))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    return Shop(folder, sandbox)
