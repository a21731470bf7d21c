"""What every HTTP client needs: limits of a request in time and size, faults, proxies, certificates, errors in a 2xx.

The timeout of `requests` counts between two bytes, so an answer of a byte a second never ends; and it reads an answer
of any size. Here a deadline counts for the whole request, and its answer has a largest size.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import orjson
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, InvalidHeader, NewConnectionError, SSLError
from urllib3.util import Retry

from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.secret import Secrets
from dbt_pendo.wording import host_of

# The status of a proxy that wants a log-in; no key is to blame.
PROXY_LOGIN = 407
# Bytes of an answer, both as sent and decoded.
LARGEST_ANSWER = 64 * 2**20
LARGEST_FILE = 4 * 2**30  # of one that is not kept in memory
# Bytes of a body that are searched for secrets before a message shows some of it.
LOOKED_AT = 64 * 2**10
# Seconds after which a wait for the network checks whether it has to end. A connection or a TLS handshake cannot check,
# and takes at most the second number.
LOOK_EVERY = 0.5
LONGEST_STEP = 10.0
# Bytes. Gzip makes at most a thousand times as much of them.
_PART = 16 * 2**10
_MOST_INTERIM = 100
_PROXY_EXAMPLE = "http://user:password@proxy.example:3128"
# How proxies and gateways call an error in JSON, in lower case.
_ERRORS = ("error", "errormessage", "errorcode", "errortype", "exception", "fault")
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip"})
# Takes the body of a 2xx in place of memory: is called when an answer begins, and returns what takes its parts.
Sink: TypeAlias = Callable[[], Callable[[bytes], object]]

# What it warns of quotes headers and certificates as they came, with a traceback; it is no line of ours.
logging.getLogger("urllib3").propagate = False

# All that sending a request may raise: not every exception of requests and urllib3 is a RequestException.
FAULTS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)


class UnfitAnswerError(http.client.HTTPException):
    """An answer that is not read to its end, because it is not what was asked for."""


class LargeAnswerError(UnfitAnswerError):
    """An answer that is not read to its end, because it is too large."""


def never() -> float:
    """Returns the end of a request that nothing ends early."""
    return math.inf


class _Bounds:
    """The bounds of the request that a thread is making."""

    def __init__(self, seconds: float, ends_at: Callable[[], float], largest: int, sink: Sink | None) -> None:
        self.largest = largest
        self.sink = sink
        self._deadline = time.monotonic() + seconds
        self._ends_at = ends_at

    def left(self, most: float = math.inf) -> float:
        """Returns the seconds that are left, at most ``most``.

        Raises:
            TimeoutError: If there are none.
        """
        left = min(self._deadline, self._ends_at()) - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        return min(left, most)


# A thread starts without any.
_bounds: ContextVar[_Bounds] = ContextVar("bounds")


@contextlib.contextmanager
def bounded(
    seconds: float, ends_at: Callable[[], float] = never, largest: int = LARGEST_ANSWER, sink: Sink | None = None
) -> Iterator[None]:
    """Bounds the requests that a thread makes by a ``BoundedAdapter``, redirects among them.

    Args:
        seconds: How long they may take in all, from the search for the host to the last byte of the answer.
        ends_at: Returns an earlier end, by ``time.monotonic``; called again and again during waits.
        largest: Bytes of an answer.
        sink: Takes the body of a 2xx in place of memory.
    """
    token = _bounds.set(_Bounds(seconds, ends_at, largest, sink))
    try:
        yield
    finally:
        _bounds.reset(token)


class BoundedAdapter(HTTPAdapter):
    """Sends requests within the bounds that ``bounded`` has set for the thread, and reads their answers.

    Several threads may share one.
    """

    _making = threading.Lock()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Makes the connections bounded."""
        super().init_poolmanager(*args, **kwargs)
        _bound(self.poolmanager, _Connection)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Makes the connections through a proxy bounded."""
        with self._making:
            is_new = proxy not in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **kwargs)
            if is_new:
                # A SOCKS proxy is connected to in another way.
                _bound(manager, _Exchange if proxy.lower().startswith("socks") else _Connection)
            return manager

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, timeout: Any = None, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Sends a request, and reads its answer unless it is a stream.

        Raises:
            requests.RequestException: And others of ``FAULTS``.
        """
        bounds = _bounds.get()
        response = super().send(request, True, bounds.left(), *args, **kwargs)
        if not stream:
            with contextlib.closing(response):
                # As requests does when the content is first asked for.
                response._content = _content(response, bounds)
                response._content_consumed = True  # type: ignore[attr-defined]
        return response

    def add_headers(self, request: requests.PreparedRequest, **_: Any) -> None:
        """Asks for gzip only, as other encodings grow without a limit."""
        request.headers["Accept-Encoding"] = "gzip"


def _content(response: requests.Response, bounds: _Bounds) -> bytes:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise UnfitAnswerError("the answer is in an encoding that was not asked for")
    parts: list[bytes] = []
    take: Callable[[bytes], object] = parts.append
    size, largest = 0, bounds.largest
    if bounds.sink is not None:
        largest, take = (largest, bounds.sink()) if response.ok else (LARGEST_ANSWER, take)
    for part in response.iter_content(_PART):
        take(part)
        size += len(part)
        if size > largest:
            raise _too_large(largest)
    if missing := response.raw.length_remaining:
        # Versions 2 and later of urllib3 check this themselves.
        raise http.client.IncompleteRead(b"", missing)
    return b"".join(parts)


def _too_large(largest: int) -> LargeAnswerError:
    return LargeAnswerError(f"the answer is larger than {largest // 2**20} MiB")


class _Wire(io.RawIOBase):
    """The bytes of the answer to one request, read from its connection within its bounds."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Keeps the socket open as long as this object is.
        self._file = sock.makefile("rb", buffering=0)
        self._bounds = _bounds.get()
        self._size = 0
        self._is_read = False

    def makefile(self, *_: Any) -> io.BufferedReader:
        """Returns a buffered reader, which http.client asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads some bytes, as soon as there are any.

        Raises:
            TimeoutError: If the time of the request is over.
            LargeAnswerError: If the answer is too large.
        """
        if self._is_read:
            return 0
        while True:
            self._sock.settimeout(self._bounds.left(LOOK_EVERY))
            try:
                count = self._sock.recv_into(buffer)
            except TimeoutError:
                continue
            self._size += count
            if self._size > self._bounds.largest:
                raise _too_large(self._bounds.largest)
            return count

    def end(self, buffered: io.BufferedReader) -> None:
        """Shuts the connection down if bytes are left after the end of the answer, so that it is not used again."""
        self._is_read = True
        pending = getattr(self._sock, "pending", None)
        if buffered.peek(1) or (pending is not None and pending()):
            # The pool then drops it. A proxy's TLS inside TLS has no shutdown of its own.
            with contextlib.suppress(OSError, AttributeError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the file that keeps the socket open."""
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer within the bounds of its request; skips interim ones (1xx)."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._wire = _Wire(sock)
        super().__init__(cast(socket.socket, self._wire), *args, **kwargs)

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MOST_INTERIM):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= 200:
                return version, status, reason
            if status == 101:
                raise UnfitAnswerError("the answer is in a protocol that was not asked for")
            http.client._read_headers(self.fp)  # type: ignore[attr-defined]
        raise UnfitAnswerError("the answer never came to its end")

    def begin(self) -> None:
        """Reads the head of the answer."""
        super().begin()
        two_lengths = self.chunked and self.headers.get("Content-Length") is not None
        if two_lengths or self.headers.defects:
            # Nobody knows where the other side means it to end.
            self.will_close = True

    def _close_conn(self) -> None:
        if self.fp is not None and not self.will_close:
            self._wire.end(self.fp)
        super()._close_conn()  # type: ignore[misc]


class _Exchange(HTTPConnection):
    """A connection whose requests and answers stay within their bounds."""

    response_class = _Response

    def send(self, data: Any) -> None:
        """Sends bytes, however slowly the other side reads them."""
        if self.sock is None:
            self.connect()
        bounds, sock = _bounds.get(), cast(socket.socket, self.sock)
        left = memoryview(data)
        while left:
            sock.settimeout(bounds.left(LOOK_EVERY))
            with contextlib.suppress(TimeoutError):
                left = left[sock.send(left) :]

    def _tunnel(self) -> None:
        super()._tunnel()
        cast(socket.socket, self.sock).settimeout(_bounds.get().left(LONGEST_STEP))


class _Connection(_Exchange):
    """Also connects within the bounds, however many addresses the host has."""

    def _new_conn(self) -> socket.socket:
        bounds = _bounds.get()
        try:
            addresses = socket.getaddrinfo(self._dns_host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"The host cannot be found: {error}") from error
        fault: OSError = OSError("the host has no address")
        for at, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                # An address that does not answer leaves time for the others.
                sock.settimeout(min(bounds.left() / (len(addresses) - at), LONGEST_STEP))
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.connect(address)
                # A TLS handshake may come next.
                sock.settimeout(bounds.left(LONGEST_STEP))
            except OSError as error:
                sock.close()
                fault = error
            else:
                return sock
        if isinstance(fault, TimeoutError):
            raise ConnectTimeoutError(self, "The host does not answer.") from fault
        raise NewConnectionError(self, f"There is no connection: {fault}") from fault


def _bound(manager: Any, kind: Any) -> None:
    """Makes a pool manager use connections of a kind, on top of its own of each scheme."""
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _bounded_pool(pool, kind) for scheme, pool in pools.items()}


@cache
def _bounded_pool(pool: Any, kind: Any) -> Any:
    connection = type("BoundedConnection", (kind, pool.ConnectionCls), {})
    return type("BoundedPool", (pool,), {"ConnectionCls": connection})


def transport_options(url: str) -> dict[str, Any]:
    """Returns the environment's proxies, and the certificates to check hosts against: arguments of ``adapter.send``.

    Raises:
        ConfigError: If they cannot be used. The proxy's URL is not shown, as it may hold a password.
    """
    found = requests.Session().merge_environment_settings(url, {}, None, None, None)
    proxies, bundle = dict(found["proxies"]), found["verify"]
    if isinstance(bundle, str) and not Path(bundle).exists():
        variable = next(name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name))
        raise ConfigError(f"{variable}: there is no {bundle}.", "Name a file or folder of CA certificates.")
    if proxy := requests.utils.select_proxy(url, proxies):
        try:
            proxy = str(requests.utils.prepend_scheme_if_needed(proxy, "http"))  # type: ignore[no-untyped-call]
            BoundedAdapter().proxy_manager_for(proxy)
            is_usable = bool(urlsplit(proxy).hostname) and urlsplit(proxy).port != 0
        except FAULTS:
            is_usable = False
        if not is_usable:
            raise ConfigError(
                f"No request can go by way of the proxy in {proxy_variable(url)}: what it holds is no proxy's URL.",
                f"Write it like {_PROXY_EXAMPLE}: what is no Latin letter, digit or - . _ in the user's name and "
                "password percent-encoded, and nothing in them outside Latin-1. A SOCKS proxy takes the package "
                "PySocks.",
            )
    return {"proxies": proxies, "verify": bundle}


def proxy_variable(url: str) -> str:
    """Returns which environment variable names the proxy of a URL."""
    wanted = (f"{urlsplit(url).scheme}_proxy".lower(), "all_proxy")
    # The lower-case spelling wins.
    named = [name for one in wanted for name in (one, one.upper()) if os.environ.get(name)]
    return named[0] if named else "the system's proxy setting"


def require_no_login(url: str, error: type[DbtPendoError], status: int | None, fault: str = "") -> None:
    """Makes sure that no proxy wants a log-in: it says so in place of the host, or before a tunnel to it.

    Raises:
        DbtPendoError: The error given, if one does. No key is to blame.
    """
    if status == PROXY_LOGIN or f"Tunnel connection failed: {PROXY_LOGIN}" in fault:
        raise error(
            f"The proxy on the way to {host_of(url)} wants a log-in (HTTP 407).",
            f"Look at {proxy_variable(url)}: user name and password belong into it, as in {_PROXY_EXAMPLE}, "
            "percent-encoded.",
        )


def cause_of(error: BaseException) -> BaseException:
    """Returns what an error of requests began with; of a timeout the timeout."""
    while not isinstance(error, requests.Timeout | TimeoutError) and (inner := error.__cause__ or error.__context__):
        error = inner
    return error


def is_unreached(error: BaseException | None) -> bool:
    """Returns whether no connection came about: the host, or its proxy, is not found, refuses, or cannot be trusted."""
    while error is not None and not isinstance(error, NewConnectionError | ConnectTimeoutError | SSLError):
        error = error.__cause__ or error.__context__
    return error is not None


def describe_fault(error: BaseException, secrets: Secrets) -> str:
    """Returns why there is no answer, in a line without secrets, and the URLs and internals that requests puts in."""
    reason = cause_of(error)
    if isinstance(reason, requests.Timeout | TimeoutError):
        return "no answer in time"
    if isinstance(reason, UnfitAnswerError):
        return str(reason)
    # A ValueError may quote a URL with a password. One about a certificate says what is wrong with it.
    quotes = isinstance(reason, ValueError) and not isinstance(reason, OSError)
    text = "" if quotes else secrets.first_line(str(reason))
    return f"{type(reason).__name__} ({text})" if text else type(reason).__name__


def retry_after(header: str | None) -> float | None:
    """Returns the seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3); None for neither."""
    try:
        return float(Retry().parse_retry_after(header)) if header else None
    except (InvalidHeader, ValueError, OverflowError, OSError):
        return None


def reports_error(document: dict[str, Any]) -> bool:
    """Returns whether an answer reports an error under a usual name, whatever its status."""
    by_name = {name.lower(): value for name, value in document.items()}
    return bool(by_name.get("errors") or by_name.get("failed")) or contradicts(document)


def contradicts(document: dict[str, Any]) -> bool:
    """Returns whether an answer says that the request as a whole went wrong, whatever its status and its counts."""
    by_name = {name.lower(): value for name, value in document.items()}
    return (
        any(by_name.get(name) for name in _ERRORS)
        or any(str(by_name.get(name)).lower() == "false" for name in ("success", "ok"))
        or any(_is_bad(by_name.get(name)) for name in ("status", "statuscode", "code"))
    )


def _is_bad(status: Any) -> bool:
    word = str(status).lower()
    return word.startswith(("err", "fail")) or (word.isdecimal() and int(word) >= 400)


def read_json(text: str | bytes) -> Any:
    """Reads a JSON document; None if it is none."""
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, RecursionError):
        return None
