"""Property tests without deadlines: nothing here measures time. And clients of a real sandbox that never wait."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

import hypothesis
import pytest
from harness import chosen

from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.sandbox import Sandbox
from dbt_pendo.secret import Secret
from dbt_pendo.settings import INTEGRATION_KEY, TRACK_SECRET, Settings

hypothesis.settings.register_profile("unit", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("unit")

Connect: TypeAlias = Callable[..., PendoClient]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Sandbox(switches=chosen(), apps=["web"]) as running:
        running.add_field("visitor", "custom", "plan", "string")
        running.add_field("visitor", "custom", "seats", "integer")
        running.add_visitors(["v1", "v2", "v3"])
        yield running


class FakeTime:
    """Time that nothing but waiting moves on, so that minutes pass in no time."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"nobody can wait {seconds} seconds")
        self.waits.append(seconds)
        # Lets the other threads go on, for whose places this one may be waiting.
        time.sleep(0)

    def clock(self) -> float:
        return 1000.0 + sum(self.waits)

    @property
    def waited(self) -> float:
        """Seconds of all waits together, those that keep the pace among them."""
        return round(sum(self.waits), 6)


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def waits(fake_time: FakeTime) -> list[float]:
    """The seconds of each wait of the client."""
    return fake_time.waits


@pytest.fixture
def connect(sandbox: Sandbox, fake_time: FakeTime) -> Iterator[Connect]:
    """Makes clients of the sandbox; keywords change their settings."""
    variables = {app: f"{TRACK_SECRET}_{app.upper()}" if app else TRACK_SECRET for app in sandbox.track_secrets}
    settings = Settings(
        api_url=sandbox.url,
        data_url=sandbox.url,
        integration_key=Secret(sandbox.integration_key, INTEGRATION_KEY),
        track_secrets={app.upper(): Secret(sandbox.track_secrets[app], name) for app, name in variables.items()},
        timeout=20.0,
    )
    with contextlib.ExitStack() as opened:
        yield lambda tell=print, **changes: opened.enter_context(
            PendoClient(replace(settings, **changes), wait=fake_time.wait, clock=fake_time.clock, tell=tell)
        )


@pytest.fixture
def client(connect: Connect) -> PendoClient:
    return connect()


@pytest.fixture
def by_proxy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the proxy of the environment, for a host that is not on this machine."""
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def set_proxy(url: str) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, url)

    return set_proxy
