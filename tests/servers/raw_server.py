"""A server on loopback that answers with any bytes at any pace: what no HTTP server would let happen."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

# Bytes to send, seconds to wait, or None to hang up.
Step: TypeAlias = bytes | float | None


@dataclass(frozen=True)
class RawRequest:
    """A request: the number of its connection from 1, its first line, its headers in lower case, its body."""

    connection: int
    line: str
    headers: dict[str, str]
    body: bytes


Answer: TypeAlias = Callable[[RawRequest], Iterable[Step]]


class RawServer:
    """The server; `answer` says what it does about a request, step by step, and may never end."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[RawRequest] = []
        # How many bytes.
        self.sent = 0
        self._answer = answer
        self._over = threading.Event()
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # Wakes the acceptor.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            pass
        self._acceptor.join()
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    @property
    def connections(self) -> list[int]:
        """The number of the connection of each request."""
        return [request.connection for request in self.requests]

    def _accept(self) -> None:
        while not self._over.is_set():
            connection, _ = self._listener.accept()
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, len(self._connections)), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError):
            for request in _requests(connection, number):
                self.requests.append(request)
                for step in self._answer(request):
                    if step is None or self._over.is_set():
                        return
                    if isinstance(step, float):
                        self._over.wait(step)
                    else:
                        connection.sendall(step)
                        self.sent += len(step)


def _requests(connection: socket.socket, number: int) -> Iterator[RawRequest]:
    with connection.makefile("rb") as incoming:
        while line := incoming.readline():
            headers = {}
            while (header := incoming.readline().strip()) != b"":
                name, _, value = header.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            body = incoming.read(int(headers.get("content-length", 0)))
            yield RawRequest(number, line.decode().strip(), headers, body)


def ok(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer as it should be."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def head(*headers: str, status: str = "200 OK") -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers]).encode() + b"\r\n\r\n"


def drip(start: bytes, drop: bytes, every: float = 0.05) -> Iterator[Step]:
    """An answer that goes on for ever, a drop now and then."""
    yield start
    while True:
        yield drop
        yield every


def flood(start: bytes, wave: bytes) -> Iterator[Step]:
    """An answer that goes on for ever, as fast as it is read."""
    yield start
    while True:
        yield wave
