"""HTTP on loopback: bytes into a Call, a Reply into bytes. It knows nothing of Pendo."""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from dbt_pendo.errors import ConfigError

from .exchange import Call, RefusedError, Reply

Answer = Callable[[Call], Reply]

HOST = "127.0.0.1"
_NO_BODY = (204, 304)
# A chunk's first line: its size, and extensions that nobody uses (RFC 9112, 7.1).
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,7})[ \t]*(?:;[^\r\n]*)?\r\n")
_LONGEST_LINE = 2**16


class Server(ThreadingHTTPServer):
    """A thread for each connection; ``close`` ends them all, also those that wait on a kept connection.

    Args:
        port: 0 takes a free one.
        answer: Called on the connection's thread for each request.

    Raises:
        ConfigError: The port cannot be had.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Answer) -> None:
        self.answer = answer
        self._connections: dict[Any, threading.Thread] = {}
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ConfigError(f"The sandbox cannot use port {port}: {error}.", "Choose another.") from error
        self._acceptor = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="pendo-sandbox", daemon=True
        )
        self._acceptor.start()

    def close(self) -> None:
        """Stops listening, hangs up on everyone, and waits for the threads to end."""
        self.shutdown()
        self._acceptor.join()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is gone already
        for thread in self._connections.values():
            thread.join()
        self.server_close()

    # The hooks of socketserver.

    def server_bind(self) -> None:
        """As in HTTPServer, without looking the host's name up, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """As in ThreadingMixIn, and remembers the connection for ``close``."""
        arguments = (request, client_address)
        thread = threading.Thread(target=self.process_request_thread, args=arguments, daemon=True)
        thread.start()
        # Only this thread, the acceptor, touches the dictionary until ``close`` has joined it.
        self._connections = {c: t for c, t in self._connections.items() if t.is_alive()}
        self._connections[request] = thread

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are everyday; anything else is a bug, and is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _exchange(self) -> None:
        body: bytes | None = b""
        problem = None
        try:
            body = self._read_body()
        except RefusedError as refusal:
            problem = refusal
        if body is None or problem is not None:
            self.close_connection = True  # what follows on it makes no sense
        if body is not None:
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._send(self.server.answer(Call(self.command, path, query, headers, body, problem)))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _exchange  # noqa: N815

    def _read_body(self) -> bytes | None:
        """The whole body; None when the client died while sending; RefusedError 400, 411 or 501."""
        encoding, length = self.headers.get("Transfer-Encoding"), self.headers.get("Content-Length")
        if encoding is not None:
            if encoding.strip().lower() != "chunked":
                raise RefusedError(501, f"transfer encoding {encoding!r} is not known")
            return self._read_chunks()
        if length is None and self.command in ("POST", "PUT", "PATCH"):
            raise RefusedError(411)
        length = length or "0"
        if not length.isdecimal():
            raise RefusedError(400, f"Content-Length {length!r} is no number")
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None

    def _read_chunks(self) -> bytes | None:
        """A body in chunks (RFC 9112, 7.1), without its trailer; as ``_read_body``."""
        body = bytearray()
        while head := _CHUNK.fullmatch(self.rfile.readline(_LONGEST_LINE)):
            size = int(head[1], 16)
            if size == 0:
                while (line := self.rfile.readline(_LONGEST_LINE)).strip():
                    continue  # the trailer
                if line == b"\r\n":
                    return bytes(body)
                break
            chunk = self.rfile.read(size + 2)
            if len(chunk) < size + 2:
                return None
            if not chunk.endswith(b"\r\n"):
                break
            body += chunk[:-2]
        raise RefusedError(400, "the chunks of the body are malformed")

    def _send(self, reply: Reply) -> None:
        if reply.ending == "reset":
            self._reset()
        if reply.ending != "keep":
            self.close_connection = True
        if reply.ending in ("keep", "truncate"):
            self.wfile.write(self._rendered(reply))

    def _rendered(self, reply: Reply) -> bytes:
        """Head and body in one piece, so that they leave in one packet if they fit."""
        promised = len(reply.body) + (64 if reply.ending == "truncate" else 0)
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
        if reply.status not in _NO_BODY:
            lines.append(f"Content-Length: {promised}")
        if reply.body:
            lines.append(f"Content-Type: {reply.content_type}")
        if self.close_connection:
            lines.append("Connection: close")
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return head if self.command == "HEAD" or reply.status in _NO_BODY else head + reply.body

    def _reset(self) -> None:
        """Sends a TCP RST: what a client sees when Pendo's side dies."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # socketserver would shut the socket down first, which says a polite goodbye (FIN); with the
        # descriptor gone it finds nothing to shut down.
        os.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silent: the sandbox keeps its own account."""
