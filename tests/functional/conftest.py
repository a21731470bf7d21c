"""dbt projects built once a run, copied for each test; a sandbox for each test; the environment of a user."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import segments
from cloud_server import DbtCloud, build_artifacts
from endpoint import Endpoint
from harness import (
    PEOPLE,
    PEOPLE_ROWS,
    Project,
    SmallProject,
    build_once,
    chosen,
    dbt_build,
    enter,
    environment_of,
    quick_dbt,
    without_dbt_or_pendo,
)

from dbt_pendo.pendo import client
from dbt_pendo.sandbox import Sandbox


@pytest.fixture(scope="session", autouse=True)
def macros() -> Iterator[None]:
    with quick_dbt():
        yield


@pytest.fixture(autouse=True)
def user_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of a user, with a home of one's own."""
    # Missing rows come again at once; the sample project shows the default.
    settings = {"PENDO_RETRIES": "1", "PENDO_MISSING_RETRY": "0", "PENDO_TIMEOUT": "20"}
    without_dbt_or_pendo(monkeypatch, tmp_path, **settings)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.05)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A stand-in for Pendo, and the environment that points at it."""
    with Sandbox(switches=chosen(), apps=["web"]) as running:
        for name, value in environment_of(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def written(sandbox: Sandbox) -> Callable[[], set[str]]:
    """The visitors that a sync has written, of those whose plan was old."""
    return lambda: {name for name, held in sandbox.visitors.items() if held["custom"] == {"plan": "new"}}


@pytest.fixture
def copy_of(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Copies a project for one test; the first test of a run that asks for it builds it."""

    def copy_of(kind: type[Project], name: str, build: Callable[[Path], None], **more: Any) -> Project:
        return enter(build_once(tmp_path_factory, name, build), tmp_path / name, monkeypatch, kind, **more)

    return copy_of


@pytest.fixture
def project(copy_of: Callable[..., SmallProject], sandbox: Sandbox) -> SmallProject:
    """A project without an annotated model yet, beside an empty sandbox."""
    return copy_of(SmallProject, "small", dbt_build("small", {"models/template.sql": "select 1 as id"}))


@pytest.fixture
def plans(sandbox: Sandbox) -> Sandbox:
    """A Pendo with a field `plan` for visitors and accounts, and no record yet."""
    for kind in ("visitor", "account"):
        sandbox.add_field(kind, "custom", "plan", "string")
    return sandbox


@pytest.fixture
def people(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """A project with one sound sync, `people`, of two visitors Pendo knows."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a", "b"])
    project.model("people", PEOPLE, PEOPLE_ROWS)
    return project


@pytest.fixture
def trial(project: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project whose sync `trial` has filled a segment with v0 to v9; Pendo has forgotten by which requests."""
    project.model("trial", segments.TRIAL, segments.ids(10))
    project.sync()
    assert segments.members(sandbox) == segments.names(10)
    sandbox.forget_requests()
    return project


@pytest.fixture(scope="session")
def built_in_cloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once(tmp_path_factory, "in_cloud", build_artifacts)


@pytest.fixture
def in_cloud(built_in_cloud: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without a target folder, the tables that dbt Cloud built, and a Pendo that knows the visitors."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a", "b", "c", "d"])
    return enter(built_in_cloud, tmp_path / "in_cloud", monkeypatch, Project)


@pytest.fixture
def dbt_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[DbtCloud]:
    """An account of dbt Cloud without a run yet, and the environment that points at it."""
    with DbtCloud() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """A receiver of alerts, and the environment that points at it."""
    receiver = Endpoint()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PENDO_ALERT_URL", receiver.url)
    yield receiver
    receiver.close()
