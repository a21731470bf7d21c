"""A receiver of webhooks on loopback: what it was told, and what it answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def dripping() -> Iterator[str]:
    """A receiver that answers a byte now and then, for ever; gives its URL."""
    over = threading.Event()

    def drip() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not over.wait(0.05):
                    try:
                        connection.sendall(b"X-Drip: drop\r\n")
                    except OSError:
                        break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{TOKEN}"
        over.set()
        with socket.create_connection(listener.getsockname()):
            pass
        thread.join()
