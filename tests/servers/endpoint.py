"""A receiver of webhooks on loopback: what it was told, and what it answers."""

import json
import threading
from typing import Any

from dbt_pendo.sandbox.exchange import Call, Reply
from dbt_pendo.sandbox.server import Server

# Whoever knows it can write there.
TOKEN = "T0s3cr3t/B0p4th"
TAKEN = Reply(200, b"ok", "text/plain")


class Endpoint:
    """A receiver."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replies: list[Reply] = []
        self.hangs = False
        self._over = threading.Event()
        self._server = Server(0, self._answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/{TOKEN}"

    def close(self) -> None:
        self._over.set()
        self._server.close()

    @property
    def messages(self) -> list[Any]:
        """The documents it got."""
        return [json.loads(call.body) for call in self.calls]

    def told(self) -> str:
        """The one message since this was asked last, as text; empty when there was none."""
        messages, self.calls = self.messages, []
        assert len(messages) <= 1, messages
        return messages[0]["text"] if messages else ""

    def _answer(self, call: Call) -> Reply:
        self.calls.append(call)
        if self.hangs:
            self._over.wait(60)
        return self.replies.pop(0) if self.replies else TAKEN
