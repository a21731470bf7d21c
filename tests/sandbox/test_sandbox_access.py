"""Keys, paths, limits: what stands before Pendo's rules."""

from __future__ import annotations

import pytest

VERIFY = "/api/v1/token/verify"
VALUES = "/api/v1/metadata/visitor/custom/value"
EVENT = {"type": "track", "event": "E", "visitorId": "v1", "timestamp": 1_680_373_680_000}


def test_verify_tells_write_access(pendo, sandbox):
    assert pendo.get(VERIFY).json() == {"valid": True, "writeAccess": True}
    assert pendo.get(VERIFY, key=sandbox.read_only_key).json() == {"valid": True, "writeAccess": False}
    headers = {"X-Pendo-Integration-Key": sandbox.integration_key}
    assert pendo.session.get(sandbox.url + VERIFY, headers=headers, timeout=20).status_code == 200
    assert pendo.session.get(sandbox.url + VERIFY, timeout=20).status_code == 403
    body = {"request": {"pipeline": [{"source": {"visitors": None}}]}}
    assert pendo.post("/api/v1/aggregation", body, key=sandbox.read_only_key).status_code == 200
    pendo.switch(aggregation_needs_write=True)
    assert pendo.post("/api/v1/aggregation", body, key=sandbox.read_only_key).status_code == 403
    assert pendo.post("/api/v1/aggregation", body).status_code == 200


@pytest.mark.parametrize("path", [VERIFY, "/api/v1/metadata/schema/visitor", "/api/v1/segment"])
def test_a_wrong_key_is_a_403_without_a_body(pendo, path):
    for key in ("", "garbage", "sandbox-track-secret"):
        answer = pendo.get(path, key=key)
        assert (answer.status_code, answer.content) == (403, b"")
    pendo.switch(wrong_key_status=401)
    assert pendo.get(path, key="garbage").status_code == 401


WRITES = [
    ("POST", VALUES, [{"visitorId": "v1", "values": {"plan": "x"}}]),
    ("POST", "/api/v1/metadata/schema/visitor/custom", [{"name": "n", "type": "string"}]),
    ("DELETE", "/api/v1/metadata/schema/visitor/custom/plan", None),
    ("PUT", "/api/v1/metadata/visitor/custom/value/v1/plan", "x"),
    ("POST", "/api/v1/segment/upload", {"name": "S", "visitors": ["v1"]}),
    ("POST", "/api/v1/bulkdelete/visitor", {"visitors": ["v1"]}),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_a_read_only_key_cannot_write(pendo, sandbox, method, path, body):
    before = sandbox.visitors
    answer = pendo.call(method, path, body, key=sandbox.read_only_key)
    assert (answer.status_code, answer.content) == (403, b"")
    assert (sandbox.visitors, sandbox.segments) == (before, {})
    pendo.switch(read_only_write_status=401)
    assert pendo.call(method, path, body, key=sandbox.read_only_key).status_code == 401


def test_track_wants_a_track_secret(pendo, sandbox):
    for key in ("garbage", "", sandbox.integration_key, sandbox.read_only_key):
        answer = pendo.track(EVENT, key=key)
        assert (answer.status_code, answer.content) == (403, b"")
    assert sandbox.events == []
    for app, secret in sandbox.track_secrets.items():
        assert pendo.track(EVENT, key=secret).status_code == 200
        assert sandbox.receipts[-1].app == app
    pendo.switch(wrong_track_secret_status=401)
    assert pendo.track(EVENT, key=sandbox.integration_key).status_code == 401


@pytest.mark.parametrize("path", ["/", "/api/v1/nothing", "/api/v1/visitor/", "/api/v1/metadata/schema/page"])
def test_unknown_paths_are_404(pendo, path):
    for bodies, expected in (("text", "not found"), ("json", '{"error":"not found"}'), ("empty", "")):
        pendo.switch(error_bodies=bodies)
        answer = pendo.get(path)
        assert (answer.status_code, answer.text) == (404, expected)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/data/track", "POST"),
        ("PUT", VALUES, "POST"),
        ("POST", "/api/v1/segment/x", "DELETE, GET, PUT"),
        ("HEAD", VERIFY, "GET"),
        ("OPTIONS", VERIFY, "GET"),
    ],
)
def test_wrong_methods_are_405(pendo, method, path, allowed):
    answer = pendo.call(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert pendo.get(VERIFY).status_code == 200  # the connection is still good


def test_calls_that_are_too_large_are_refused(pendo, sandbox):
    item = {"visitorId": "v1", "values": {"plan": "x" * 1000}}
    pendo.switch(max_body_bytes=1000)
    assert pendo.post(VALUES, [item]).status_code == 413
    assert sandbox.visitors["v1"]["custom"] == {}
    pendo.switch(max_body_bytes=9000, max_records_per_call=2, event_arrays="accept")
    for status in (413, 400):
        pendo.switch(too_many_records_status=status)
        assert pendo.post(VALUES, [item] * 3).status_code == status
        assert pendo.track([EVENT] * 3).status_code == status
    assert sandbox.events == []
    assert pendo.post(VALUES, [item] * 2).status_code == 200
    assert pendo.track([EVENT] * 2).status_code == 200
    # A body in chunks is refused.
    headers = {"x-pendo-integration-key": sandbox.integration_key}
    assert pendo.session.post(sandbox.url + VALUES, data=iter([b"[]"]), headers=headers, timeout=20).status_code == 411


def test_latency_and_the_rate_limit(pendo, sandbox):
    pendo.switch(latency_ms=(60, 80))
    pendo.get(VERIFY)
    assert sandbox.requests[0].seconds >= 0.055
    pendo.switch(latency_ms=(0, 0), requests_per_second=0.001, burst=3)
    answers = [pendo.get(VERIFY) for _ in range(5)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
    assert "Retry-After" not in answers[-1].headers
    pendo.switch(retry_after=7)
    assert pendo.get(VERIFY).headers["Retry-After"] == "7"
    # It refills.
    pendo.switch(requests_per_second=50)
    answers = []
    while answers[-2:] != [429, 200]:
        assert len(answers) < 5000
        answers.append(pendo.get(VERIFY).status_code)
    pendo.switch(requests_per_second=None)
    assert {pendo.get(VERIFY).status_code for _ in range(10)} == {200}
