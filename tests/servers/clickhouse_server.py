"""ClickHouse's HTTP interface, in front of ClickHouse itself as a library in this process (chdb).

It knows what clickhouse-connect asks for. As with a balancer before several servers, nothing of a session is kept from
one request to the next. Runs as a process of its own: it prints its port, and ends with its standard input.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb

# What a request says of itself, and not to the engine.
OF_THE_REQUEST = {
    *("database", "query", "query_id", "session_id", "session_timeout", "wait_end_of_query", "default_format"),
    *("client_protocol_version", "compress", "send_progress_in_http_headers", "http_headers_progress_interval_ms"),
    *("enable_http_compression", "buffer_size"),
}
ANSWERED = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:select|with|show|describe|exists)\b", re.IGNORECASE | re.DOTALL)
CODE = re.compile(r"Code: (\d+)")
SESSION_IS_LOCKED = "Code: 373. DB::Exception: Session is locked by a concurrent client. (SESSION_IS_LOCKED)"


class Engine:
    """The engine, and its connections that are not in use, with the settings that each has."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._free: list[tuple[Any, dict[str, str]]] = []
        self._sessions: set[str] = set()

    def answer(self, sql: str, options: dict[str, str]) -> bytes:
        """Runs a statement.

        Raises:
            RuntimeError: If it is refused.
        """
        wanted = {name: value for name, value in options.items() if name not in OF_THE_REQUEST}
        with self._session(options.get("session_id")), self._connection() as (connection, settings):
            for name in settings.keys() | wanted.keys():
                if settings.get(name) != wanted.get(name):
                    value = f"'{wanted[name]}'" if name in wanted else "default"
                    connection.query(f"set {name} = {value}", "TabSeparated")
            settings.clear()
            settings.update(wanted)
            connection.query(f"use `{options.get('database') or 'default'}`", "TabSeparated")
            return connection.query(sql, "TabSeparated").bytes() or b""

    def close(self) -> None:
        """Closes the connections; no request may be under way."""
        for connection, _ in self._free:
            connection.close()

    @contextlib.contextmanager
    def _session(self, name: str | None) -> Iterator[None]:
        with self._lock:
            if name in self._sessions:
                raise RuntimeError(SESSION_IS_LOCKED)
            if name:
                self._sessions.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._sessions.discard(name or "")

    @contextlib.contextmanager
    def _connection(self) -> Iterator[tuple[Any, dict[str, str]]]:
        with self._lock:
            free = self._free.pop() if self._free else (chdb.connect(self._folder), {})
        try:
            yield free
        finally:
            with self._lock:
                self._free.append(free)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # An answer leaves as a whole.
    wbufsize = -1
    disable_nagle_algorithm = True
    engine: Engine

    def do_POST(self) -> None:
        options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        sql = "\n".join(filter(None, (options.get("query"), body)))
        try:
            answer = self.engine.answer(sql, options)
        except Exception as error:
            code = CODE.search(str(error))
            self._send(500, str(error).encode(), {"X-ClickHouse-Exception-Code": code[1] if code else "1002"})
        else:
            self._send(200, answer, {"X-ClickHouse-Format": "TabSeparated"} if ANSWERED.match(sql) else {})

    do_GET = do_POST  # noqa: N815

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "X-ClickHouse-Summary": "{}"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Handler.engine = Engine(folder)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.shutdown()
        Handler.engine.close()


if __name__ == "__main__":
    main()
