import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from harness.pendo import chosen

from dbt_pendo.sandbox import Sandbox

VERIFY = "/api/v1/token/verify"
TRACK = "/data/track"
# Short, for tests that are not about them.
BODIES = {"undocumented_replies": "empty", "track_reply": "empty", "omit_empty_lists": True}


class Client:
    """Calls a sandbox over HTTP with the key the path wants."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, headers: Any = (), **more: Any
    ) -> requests.Response:
        if key is None:
            key = self.sandbox.track_secrets[""] if path == TRACK else self.sandbox.integration_key
        if body is not None:
            more["json"] = body
        headers = {"x-pendo-integration-key": key, **dict(headers)}
        return self.session.request(method, self.sandbox.url + path, headers=headers, **{"timeout": 20, **more})

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.call("GET", path, **more)

    def verify(self) -> int:
        """The status of a call that does nothing."""
        return self.get(VERIFY).status_code

    def post(self, path: str, body: Any, **more: Any) -> requests.Response:
        return self.call("POST", path, body, **more)

    def write(self, values: Any, *, kind: str = "visitor", group: str = "custom", create: bool = False) -> Any:
        """A bulk write of ``{id: values}``, or of the items themselves."""
        if isinstance(values, dict):
            values = [{f"{kind}Id": record_id, "values": v} for record_id, v in values.items()]
        query = "?create=true" if create else ""
        return self.post(f"/api/v1/metadata/{kind}/{group}/value{query}", values)

    def track(self, body: Any, **more: Any) -> requests.Response:
        return self.post(TRACK, body, **more)

    def custom(self, visitor: str = "v1") -> Any:
        return self.sandbox.visitors[visitor]["custom"]

    def until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not reached():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def switch(self, **changes: Any) -> None:
        self.sandbox.switches = replace(self.sandbox.switches, **changes)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(switches=chosen(**BODIES), apps=["web"]) as running:
        for kind in ("visitor", "account", "parentAccount"):
            running.add_field(kind, "custom", "plan", "string")
            running.add_field(kind, "custom", "seats", "integer")
        running.add_visitors(["v1", "v2"])
        running.add_accounts(["a1"])
        running.add_parent_accounts(["p1"])
        yield running


@pytest.fixture
def pendo(sandbox: Sandbox) -> Iterator[Client]:
    client = Client(sandbox)
    with client.session:
        yield client
