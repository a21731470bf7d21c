"""What comes over the wire, against a server that sends any bytes: no answer is taken for another, and each ends."""

import contextlib
import gzip
import io
import logging
import socket
import time
from collections.abc import Iterator

import orjson
import pytest
from raw_server import RawRequest, RawServer, Step, drip, flood, head, ok

from dbt_pendo import network, settings
from dbt_pendo.pendo import deletion, metadata, records, segments
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import PendoClient, Request, UnavailableError

PATH = "/api/v1/metadata/visitor/custom/value"


def send(client: PendoClient, body: bytes = b"x") -> Answer:
    return client.send(Request("POST", PATH, body))


def echo(request: RawRequest) -> bytes:
    return ok(orjson.dumps({"to": request.body.decode()}))


def key_of(request: RawRequest) -> str:
    return str(request.headers["x-pendo-integration-key"])


def test_a_request_has_its_key_and_says_that_it_is_json(connect):
    with RawServer(lambda request: [echo(request)]) as server:
        send(client := connect(api_url=server.url))
    (request,) = server.requests
    key = client.settings.require_integration_key().reveal()
    assert (key_of(request), request.headers["content-type"]) == (key, "application/json")


INTERIM = head(status="103 Early Hints")


@pytest.mark.parametrize(
    "interim",
    [
        head("Link: </style.css>", status="103 Early Hints"),
        *(head(status=status) for status in ("102 Processing", "100 Continue", "199 Odd")),
        INTERIM * 20 + head(status="100 Continue") + INTERIM,
    ],
)
@pytest.mark.parametrize("pause", [0.0, 0.01])
def test_an_interim_answer_is_no_answer(connect, interim, pause):
    with RawServer(lambda request: [interim, pause, echo(request)]) as server:
        client = connect(api_url=server.url)
        for body in "1234567":
            assert send(client, body.encode()).json == {"to": body}
    assert (set(server.connections), client.traffic.retries) == ({1}, 0)


def test_a_protocol_that_nobody_asked_for_is_a_fault(connect):
    upgrade = head("Upgrade: h2c", status="101 Switching Protocols")
    with RawServer(lambda request: [upgrade if request.connection == 1 else echo(request)]) as server:
        assert send(connect(api_url=server.url)).json == {"to": "x"}
    assert server.connections == [1, 2]


STRAY = ok(b'{"to": "nobody"}')


def in_chunks(request: RawRequest, *headers: str) -> bytes:
    body = b'{"to": "%s"}' % request.body
    return head("Transfer-Encoding: chunked", *headers) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda request: [echo(request) + STRAY], id="an answer to nobody"),
        pytest.param(lambda request: [echo(request) + STRAY[:20], 0.1, STRAY[20:]], id="half of one at first"),
        pytest.param(lambda request: [echo(request), 0.05, STRAY], id="an answer to nobody, later"),
        pytest.param(lambda request: [echo(request) + b"!"], id="a body longer than its length"),
        pytest.param(lambda request: [in_chunks(request) + STRAY], id="something after the last chunk"),
        pytest.param(lambda request: [in_chunks(request, "Content-Length: 3")], id="two lengths"),
        pytest.param(lambda request: [in_chunks(request, "no header")], id="a header that is none"),
        pytest.param(lambda request: [ok(b"{}", status="204 No Content")], id="a body of a 204"),
    ],
)
def test_a_connection_with_something_left_is_not_used_again(connect, answer):
    with RawServer(answer) as server:
        client = connect(api_url=server.url)
        for body in ("1", "2", "3"):
            found = send(client, body.encode())
            assert (found.status, found.json) in ((200, {"to": body}), (204, None))
            time.sleep(0.1)
    assert (server.connections, client.traffic.retries) == ([1, 2, 3], 0)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda request: [head("Content-Length: 10", "Content-Length: 2") + b"{}"], id="two lengths"),
        pytest.param(lambda request: [b"no HTTP at all\r\n\r\n"], id="no HTTP"),
        pytest.param(lambda request: [b"HTTP/1.1 999999 What\r\n\r\n"], id="no status"),
        pytest.param(lambda request: [ok(b"not gzip", "Content-Encoding: gzip")], id="not gzip"),
        pytest.param(lambda request: [ok(b"{}", "Content-Encoding: br")], id="an encoding nobody asked for"),
        pytest.param(lambda request: [ok(b"{}", "Content-Encoding: gzip, gzip")], id="encoded twice"),
        pytest.param(lambda request: [head("Transfer-Encoding: chunked") + b"zz\r\n{}\r\n", None], id="no chunk"),
        pytest.param(lambda request: [b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n"], id="a long first line"),
        pytest.param(lambda request: [head("X: " + "x" * 70_000)], id="a long header"),
        pytest.param(lambda request: [head(*["X: x"] * 200)], id="many headers"),
    ],
)
def test_an_answer_that_is_none_is_a_fault_in_a_line(connect, answer):
    with RawServer(answer) as server, pytest.raises(UnavailableError, match="in 2 attempts; the last: ") as caught:
        send(connect(api_url=server.url, retries=1))
    assert len(server.requests) == 2
    assert len(caught.value.message) < 600
    assert "\n" not in caught.value.message


def test_what_comes_before_a_body_is_quoted_by_no_library(connect):
    log = io.StringIO()
    # dbt's libraries put one there.
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)

    try:
        with RawServer(lambda request: [ok(b"{}", f"\x1b[2J no header, and the key {key_of(request)}")]) as server:
            assert send(connect(api_url=server.url)).json == {}
    finally:
        logging.getLogger().removeHandler(handler)
    assert log.getvalue() == ""
    # Nor is a secret that a fault quotes shown, even in part.
    told = pytest.raises(UnavailableError, match=r"BadStatusLine \(x{290}\*\*\*\)")
    with RawServer(lambda request: [b"x" * 290 + key_of(request).encode() + b"\r\n\r\n"]) as server, told:
        send(connect(api_url=server.url, retries=0))


def test_gzip_and_json_of_any_depth_are_read(connect):
    body = orjson.dumps({"to": "x" * 100_000})
    # Of two members, which is allowed.
    parts = gzip.compress(body[:10]) + gzip.compress(body[10:])
    with RawServer(lambda request: [ok(parts, "Content-Encoding: gzip")]) as server:
        assert send(connect(api_url=server.url)).content == body
    assert server.requests[0].headers["accept-encoding"] == "gzip"
    with RawServer(lambda request: [ok(b"[" * 900 + b"]" * 900)]) as server:
        assert send(connect(api_url=server.url)).json in (None, orjson.loads(b"[" * 900 + b"]" * 900))


def stalled(request: RawRequest) -> Iterator[Step]:
    while True:
        yield 0.05


ENDLESS = {
    "nothing": stalled,
    "a body": lambda request: drip(head("Content-Length: 100000"), b" "),
    "a body without a length": lambda request: drip(head(), b" "),
    "chunks": lambda request: drip(head("Transfer-Encoding: chunked"), b"1\r\n \r\n"),
    "a chunk's length": lambda request: drip(head("Transfer-Encoding: chunked"), b"0"),
    "a trailer": lambda request: drip(head("Transfer-Encoding: chunked") + b"0\r\n", b"X: x\r\n"),
    "a header": lambda request: drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers": lambda request: drip(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n", 0.02),
    "a first line": lambda request: drip(b"HTTP/1.1 2", b"0"),
    "interim answers": lambda request: drip(b"", INTERIM),
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_a_request_has_its_time_as_a_whole(connect, answer):
    with RawServer(answer) as server:
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="in 2 attempts; the last: no answer in time"):
            send(connect(api_url=server.url, retries=1, timeout=0.2))
        assert 0.4 <= time.monotonic() - started < 5
    assert server.connections == [1, 2]


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of 60 and 300 seconds."""
    monkeypatch.setattr(settings, "TIMEOUT", 0.2)
    monkeypatch.setattr(settings, "LONG_TIMEOUT", 20.0)


def test_calls_on_which_pendo_works_for_minutes_have_their_time(connect, short_times):
    with RawServer(lambda request: [0.5, echo(request)]) as server:
        client = connect(api_url=server.url, retries=0, timeout=None)
        assert client.send(Request("POST", PATH, b"x", is_long=True)).ok
        with pytest.raises(UnavailableError, match="no answer in time"):
            send(client)
        # PENDO_TIMEOUT is that of all.
        with pytest.raises(UnavailableError, match="no answer in time"):
            connect(api_url=server.url, retries=0, timeout=0.2).send(Request("POST", PATH, b"x", is_long=True))
        assert send(connect(api_url=server.url, retries=0, timeout=20.0)).ok
    assert (network.LONGEST_STEP, len(server.requests)) == (10.0, 4)


def test_which_calls_pendo_works_on_for_minutes(connect, sandbox, monkeypatch):
    """Bulk metadata, segments and reading back; not what asks, deletes or tracks."""
    client, sent = connect(), list[tuple[str, bool]]()
    client.watch = lambda call: sent.append((call.request.path.split("?")[0], call.request.is_long))
    segment = sandbox.add_segment("S", ["v1"])
    client.send(metadata.values_request("visitor", "custom", b'[{"visitorId":"v1","values":{}}]', True, ["v1"]))
    client.send(segments.replace_request("T", None, ["v1"]))
    client.send(segments.replace_request("S", segment, ["v1"]))
    client.send(segments.patch_request(segment, {"add": ["v2"]}))
    segments.count_members(client, segment, lambda _: None)
    list(records.read_records(client, "visitor"))
    metadata.verify_key(client)
    metadata.read_schema(client, "visitor")
    client.send(deletion.deletion_request("visitor", ["v1"]))
    short = {path for path, is_long in sent if not is_long}
    root = f"/api/v1/segment/{segment}"
    assert {path for path, is_long in sent if is_long} == {
        *(PATH, "/api/v1/aggregation", "/api/v1/segment/upload", root, f"{root}/visitor", f"{root}/visitors"),
        next(path for path, _ in sent if path.endswith("/csv")),
    }
    assert {path.split("/")[3] for path in short} == {"token", "metadata", "bulkdelete", "segment"}


@pytest.mark.parametrize(
    ("scheme", "backlog", "body"),
    [
        pytest.param("http", 5, b"x" * 50_000_000, id="does not read what it is sent"),
        pytest.param("http", 0, b"x", id="lets nobody in"),
        pytest.param("https", 5, b"x", id="shakes no hands"),
    ],
)
def test_a_silent_host_has_its_time(connect, monkeypatch, scheme, backlog, body):
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener, contextlib.ExitStack() as waiting:
        if not backlog:
            fill_queue(listener, waiting)
        if body == b"x":
            # A connection has less time than the whole.
            monkeypatch.setattr(network, "LONGEST_STEP", 0.2)
        seconds = 20.0 if body == b"x" else 0.2
        client = connect(api_url=f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", retries=0, timeout=seconds)
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="no answer in time"):
            send(client, body)
        assert time.monotonic() - started < 5


def fill_queue(listener: socket.socket, waiting: contextlib.ExitStack) -> None:
    """Lets another connection be neither made nor refused."""
    for _ in range(3):
        one = waiting.enter_context(socket.socket())
        one.setblocking(False)
        one.connect_ex(listener.getsockname())


def test_an_address_that_is_silent_leaves_time_for_the_next(connect, sandbox, monkeypatch):
    """The host's first address lets nobody in, as that of a broken IPv6 does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        fill_queue(listener, waiting)
        # The resolver's answer is the one thing here that cannot be had for real.
        port = int(sandbox.url.rpartition(":")[2])
        here = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)
        found = [(*here[0][:4], listener.getsockname()), *here]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert connect(timeout=1.5, retries=0).send(Request("GET", "/api/v1/token/verify")).ok


CHUNKED = head("Transfer-Encoding: chunked")
BOMB = gzip.compress(bytes(2**24))
TOO_LARGE = {
    "gzip": lambda request: [ok(BOMB, "Content-Encoding: gzip")],
    "a body": lambda request: flood(head(), bytes(2**20)),
    "interim answers": lambda request: flood(b"", INTERIM * 10_000),
    "a trailer": lambda request: flood(CHUNKED + b"0\r\n", b"X: x\r\n" * 10_000),
    "a line of a trailer": lambda request: flood(CHUNKED + b"0\r\nX: ", b"x" * 2**20),
}


@pytest.mark.parametrize("answer", TOO_LARGE.values(), ids=TOO_LARGE)
def test_an_answer_has_a_largest_size(connect, answer):
    with RawServer(answer) as server:
        client = connect(api_url=server.url, retries=0)
        # In place of 64 MiB, which takes seconds.
        client.largest_answer = 2**20
        with pytest.raises(UnavailableError, match=r"the answer|the last"):
            send(client)
    # The rest was not read.
    assert server.sent < 16 * 2**20


def test_an_answer_of_the_largest_size_is_read(connect, monkeypatch):
    monkeypatch.setattr(network, "_PART", 1000)
    body = b" " * (2**21 - 200)
    with RawServer(lambda request: [ok(body)]) as server:
        client, request = connect(api_url=server.url), Request("GET", "/api/v1/segment")
        client.largest_answer = 2**21
        assert client.send(request).content == body
        client.largest_answer = 2**20
        with pytest.raises(UnavailableError, match="segment in 1 attempt; the last: the answer is larger than 1 MiB"):
            client.send(request)
    # It would be as large again.
    assert len(server.requests) == 2
