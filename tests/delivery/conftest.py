"""A small shop that dbt builds once a worker, copied for each test, beside a sandbox of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import chosen, enter, environment_of, quick_dbt, without_dbt_or_pendo, write_files
from harness.postgres import begin_anew, build_on, built_once, small_server  # noqa: F401

from dbt_pendo.delivery import pages
from dbt_pendo.pendo import client, pacing
from dbt_pendo.sandbox import Sandbox
from dbt_pendo.warehouse import tables

pytest.register_assert_rewrite("sending", "shop")

from shop import FILES, Shop, set_scene  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def macros() -> Iterator[None]:
    with quick_dbt():
        yield


@pytest.fixture(scope="session")
def built_shop(tmp_path_factory: pytest.TempPathFactory, server: Path | None) -> Path:
    def build(folder: Path) -> None:
        write_files(folder, FILES)
        build_on(server, folder)

    return built_once(tmp_path_factory, "delivery_shop", build, server)


@pytest.fixture(autouse=True)
def user_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of a user, and waits so short that nobody notices them."""
    without_dbt_or_pendo(monkeypatch, tmp_path, PENDO_RETRIES="2", PENDO_TIMEOUT="20")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(pacing, "PAUSE", 0.01)
    monkeypatch.setattr(pacing, "SLOWEST_RATE", 200.0)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A stand-in for Pendo that knows the shop's fields and most of its users."""
    with Sandbox(switches=chosen()) as running:
        set_scene(running)
        for name, value in environment_of(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def shop(
    built_shop: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, server: Path | None
) -> Shop:
    shop = enter(built_shop, tmp_path / "shop", monkeypatch, Shop)
    if server is not None:
        begin_anew(server)
        monkeypatch.setenv("SMALL_HOST", str(server))
        shop.server = server
    shop.sandbox = sandbox
    return shop


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 11 rows, and statements that name five exceptions."""
    for name, value in {"BATCHES_PER_PAGE": 1, "SMALLEST_PAGE": 11, "LARGEST_PAGE": 11, "WRITTEN_ROWS": 1}.items():
        monkeypatch.setattr(pages, name, value)
    monkeypatch.setattr(tables, "EXCEPTIONS_PER_STATEMENT", 5)
