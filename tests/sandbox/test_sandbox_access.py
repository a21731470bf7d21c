"""Keys, paths, limits: what stands before Pendo's rules (pendo-api.md 2)."""

import socket

import pytest
from harness.pendo import chosen

from dbt_pendo.sandbox import Switches

VERIFY = "/api/v1/token/verify"
VALUES = "/api/v1/metadata/visitor/custom/value"
EVENT = {"type": "track", "event": "E", "visitorId": "v1", "timestamp": 1_680_373_680_000}


def test_verify_tells_write_access(pendo, sandbox):
    assert pendo.get(VERIFY).json() == {"valid": True, "writeAccess": True}
    assert pendo.get(VERIFY, key=sandbox.read_only_key).json() == {"valid": True, "writeAccess": False}
    headers = {"X-Pendo-Integration-Key": sandbox.integration_key}
    assert pendo.session.get(sandbox.url + VERIFY, headers=headers, timeout=20).status_code == 200
    reading = ("/api/v1/aggregation", {"request": {"pipeline": [{"source": {"visitors": None}}]}})
    pendo.switch(aggregation_needs_write=False)
    assert pendo.post(*reading, key=sandbox.read_only_key).status_code == 200
    pendo.switch(aggregation_needs_write=True, read_only_write_status=403)
    assert pendo.post(*reading, key=sandbox.read_only_key).status_code == 403
    assert pendo.post(*reading).status_code == 200


def test_an_invalid_key_is_a_401_and_of_verify_a_403(pendo, sandbox):
    paths = (VERIFY, "/api/v1/metadata/schema/visitor", "/api/v1/segment")
    for keys in ({"key": "garbage"}, {"key": "sandbox-track-secret"}, {"key": ""}):
        answers = [pendo.get(path, **keys) for path in paths]
        assert [answer.status_code for answer in answers] == [403, 401, 401]
        assert {answer.text for answer in answers} == {'{"error":"the integration key is invalid"}'}
    assert [pendo.session.get(sandbox.url + path, timeout=20).status_code for path in paths] == [403, 401, 401]
    pendo.switch(wrong_key_status=403)
    assert {pendo.get(path, key="garbage").status_code for path in paths} == {403}


def test_what_pendo_documents_is_the_default(pendo, sandbox):
    sandbox.switches = chosen(event_arrays="reject", parent_account_id_key=Switches().parent_account_id_key)
    # Bodies are JSON, and a bulk answer has both lists (3). Metadata is of visitors and accounts (3).
    assert pendo.write({"v1": {"plan": "x"}}).json().items() >= {"updated": 1, "missing": [], "errors": []}.items()
    assert isinstance(pendo.call("PUT", f"{VALUES}/v1/plan", "y").json(), str)
    assert pendo.get("/api/v1/metadata/schema/parentAccount").status_code == 404
    assert pendo.write([{"parentAccountId": "p1", "values": {}}], kind="parentAccount").status_code == 404
    # One event a call (4).
    assert (pendo.track(EVENT).json(), pendo.track([EVENT]).status_code) == ({"status": "ok"}, 400)
    assert sandbox.events == [EVENT]
    # A bulk write takes any number of records in five minutes (3), a segment ten million members (5), and the status of
    # its load is kept for four hours (5).
    assert pendo.write({f"n{number}": {} for number in range(20_000)}, create=True).json()["updated"] == 20_000
    limits = sandbox.switches.bulk_write_seconds, sandbox.switches.segment_status_seconds
    assert (limits, sandbox.switches.max_segment_visitors) == ((5 * 60, 4 * 60 * 60), 10_000_000)


WRITES = [
    ("POST", VALUES, [{"visitorId": "v1", "values": {"plan": "x"}}]),
    ("POST", "/api/v1/metadata/schema/visitor/custom", [{"name": "n", "type": "string"}]),
    ("DELETE", "/api/v1/metadata/schema/visitor/custom/plan", None),
    ("PUT", "/api/v1/metadata/visitor/custom/value/v1/plan", "x"),
    ("POST", "/api/v1/segment/upload", {"name": "S", "visitors": ["v1"]}),
    ("POST", "/api/v1/bulkdelete/visitor", {"visitors": ["v1"]}),
]


@pytest.mark.parametrize("write", WRITES)
def test_a_read_only_key_cannot_write(pendo, sandbox, write):
    before = sandbox.visitors
    for status in (401, 402, 403):
        pendo.switch(read_only_write_status=status)
        answer = pendo.call(*write, key=sandbox.read_only_key)
        assert (answer.status_code, answer.json()) == (status, {"error": "the integration key may only read"})
    assert (sandbox.visitors, sandbox.segments) == (before, {})


def test_track_wants_a_track_secret(pendo, sandbox):
    for status in (403, 401, 400, 200):
        pendo.switch(wrong_track_secret_status=status)
        for key in ("garbage", "", sandbox.integration_key, sandbox.read_only_key):
            answer = pendo.track(EVENT, key=key)
            assert (answer.status_code, answer.content == b"") == (status, status == 200)
    assert (sandbox.events, sandbox.receipts) == ([], [])
    for app, secret in sandbox.track_secrets.items():
        assert pendo.track(EVENT, key=secret).status_code == 200
        assert sandbox.receipts[-1].app == app


def test_errors_are_json_unless_a_switch_says_other(pendo):
    told = {}
    for form in ("json", "text", "empty"):
        pendo.switch(error_bodies=form, requests_per_second=None)
        answers = [pendo.get("/nothing"), pendo.get(VERIFY, key="x"), pendo.post(VALUES, 5), pendo.track({})]
        pendo.switch(requests_per_second=0.001, burst=1)
        pendo.verify()
        answers.append(pendo.get(VERIFY))
        assert [answer.status_code for answer in answers] == [404, 403, 400, 400, 429]
        told[form] = answers
    assert [answer.content for answer in told["empty"]] == [b""] * 5
    assert [answer.json() for answer in told["json"]] == [{"error": answer.text} for answer in told["text"]]
    kinds = {form: {answer.headers.get("Content-Type") for answer in answers} for form, answers in told.items()}
    assert kinds == {"json": {"application/json"}, "text": {"text/plain; charset=utf-8"}, "empty": {None}}


def test_unknown_paths_are_404_and_wrong_methods_405(pendo):
    for path in ("/", "/api/v1/nothing", "/api/v1/visitor/", "/api/v1/metadata/schema/page"):
        answer = pendo.get(path)
        assert (answer.status_code, answer.json()) == (404, {"error": "not found"})
    for method, path, allowed in [
        *(("GET", "/data/track", "POST"), ("PUT", VALUES, "POST"), ("POST", "/api/v1/segment/x", "DELETE, GET, PUT")),
        *(("HEAD", VERIFY, "GET"), ("OPTIONS", VERIFY, "GET")),
    ]:
        answer = pendo.call(method, path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
        # The connection is still good.
        assert pendo.verify() == 200


def test_calls_that_are_too_large_are_refused(pendo, sandbox):
    item = {"visitorId": "v1", "values": {"plan": "x" * 1000}}
    pendo.switch(max_body_bytes=1000)
    assert pendo.post(VALUES, [item]).status_code == 413
    assert pendo.custom() == {}
    pendo.switch(max_body_bytes=9000, max_records_per_call=2, event_arrays="accept")
    for status in (413, 400):
        pendo.switch(too_many_records_status=status)
        assert [pendo.post(VALUES, [item] * 3).status_code, pendo.track([EVENT] * 3).status_code] == [status] * 2
    assert sandbox.events == []
    assert [pendo.post(VALUES, [item] * 2).status_code, pendo.track([EVENT] * 2).status_code] == [200, 200]


WRITE = b'[{"visitorId": "v1", "values": {"plan": "x"}}]'
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def test_a_body_may_come_in_chunks(pendo, sandbox):
    assert pendo.call("POST", VALUES, data=iter([WRITE[:5], WRITE[5:]])).json()["updated"] == 1
    assert (pendo.custom(), sandbox.requests[0].size, sandbox.requests[0].records) == ({"plan": "x"}, len(WRITE), 1)
    # The connection is still good.
    assert pendo.verify() == 200


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        # In lower case, with an extension and a trailer.
        (CHUNKED.replace(b"chunked", b"Chunked") + b"2e;a=b\r\n" + WRITE + b"\r\n0\r\nA: b\r\n\r\n", 200),
        *((CHUNKED + chunks, 400) for chunks in (b"x\r\n", b"-1\r\n", b"1\r\n[[\r\n" + END, b"\r\n", b"2e\n")),
        (CHUNKED + b"2e\r\n" + WRITE + b"xx" + END, 400),
        *((CHUNKED + chunks, 400) for chunks in (b"2e\r\n" + WRITE + b"\r\n0\r\nx", b"ffffffff\r\n[")),
        (b"Transfer-Encoding: gzip, chunked\r\n\r\n" + END, 501),
        (b"Content-Length: many\r\n\r\n", 400),
        (b"\r\n", 411),
        # Its sender has died.
        (CHUNKED + b"2e\r\n" + WRITE[:9], None),
    ],
)
def test_a_body_without_a_sound_length_is_refused(sandbox, rest, status):
    key = sandbox.integration_key.encode()
    with socket.create_connection(("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1])), timeout=20) as raw:
        raw.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nx-pendo-integration-key: %s\r\n" % (VALUES.encode(), key) + rest)
        raw.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: raw.recv(9999), b"")).decode()
    if status is None:
        assert (answer, sandbox.requests) == ("", [])
        return
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert ('{"error":' in answer, sandbox.visitors["v1"]["custom"] == {}) == (status != 200, status != 200)
    assert [request.status for request in sandbox.requests] == [status]


def test_latency_and_the_rate_limit(pendo, sandbox):
    pendo.switch(latency_ms=(60, 80))
    pendo.verify()
    assert sandbox.requests[0].seconds >= 0.055
    pendo.switch(latency_ms=(0, 0), requests_per_second=0.001, burst=3)
    assert [pendo.verify() for _ in range(4)] == [200, 200, 200, 429]
    pendo.switch(retry_after=None)
    assert "Retry-After" not in pendo.get(VERIFY).headers
    pendo.switch(retry_after=7)
    assert pendo.get(VERIFY).headers["Retry-After"] == "7"
    # It refills.
    pendo.switch(requests_per_second=50)
    statuses = []
    while statuses[-2:] != [429, 200]:
        assert len(statuses) < 5000
        statuses.append(pendo.verify())
    pendo.switch(requests_per_second=None)
    assert {pendo.verify() for _ in range(10)} == {200}
