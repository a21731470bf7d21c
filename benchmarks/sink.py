"""A server that takes Pendo's bulk calls as fast as it can, says that all was well, and counts.

It parses each body, as Pendo has to, and runs in a process of its own: what it costs is not the tool's memory.
"""

from __future__ import annotations

import json
import multiprocessing
import socketserver
import urllib.request
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType

import orjson
from visitors import FIELDS

SCHEMA = {"custom": {name: {"Type": kind, "DisplayName": name} for name, (_, kind) in FIELDS.items()}}


@dataclass(frozen=True)
class Counts:
    """What arrived since the counts were last taken; a request is one that writes."""

    rows: int
    requests: int
    bytes: int


class Sink:
    """The server, for as long as the context lasts."""

    def __enter__(self) -> Sink:
        here, there = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_serve, args=(there,), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{here.recv()}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.join()

    def take_counts(self) -> Counts:
        """Returns what arrived since the last call, and starts again at nought."""
        with urllib.request.urlopen(f"{self.url}/counts") as answer:
            return Counts(**json.load(answer))


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    rbufsize = 1 << 18
    server: _Server

    def handle(self) -> None:
        while line := self.rfile.readline():
            length = 0
            while (header := self.rfile.readline()) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            answer = self.server.answer(line.split()[1], self.rfile.read(length))
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(answer), answer)
            )


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    arrived: list[tuple[int, int]]

    def answer(self, path: bytes, body: bytes) -> bytes:
        if path == b"/counts":
            arrived, self.arrived = self.arrived, []
            rows, sizes = (sum(column) for column in zip(*arrived, strict=True)) if arrived else (0, 0)
            return orjson.dumps({"rows": rows, "requests": len(arrived), "bytes": sizes})
        if path.endswith(b"/schema/visitor"):
            return orjson.dumps(SCHEMA)
        if path.endswith(b"/verify"):
            return b'{"valid":true,"writeAccess":true}'
        rows = len(orjson.loads(body))
        # Appending needs no lock, adding up would.
        self.arrived.append((rows, len(body)))
        return b'{"total":%d,"updated":%d,"failed":0}' % (rows, rows)


def _serve(channel: Connection) -> None:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.arrived = []
        channel.send(server.server_address[1])
        server.serve_forever()
