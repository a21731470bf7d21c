"""Keys, paths, limits: what stands before Pendo's rules."""

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
    reading = ("/api/v1/aggregation", {"request": {"pipeline": [{"source": {"visitors": None}}]}})
    assert pendo.post(*reading, key=sandbox.read_only_key).status_code == 200
    pendo.switch(aggregation_needs_write=True)
    assert pendo.post(*reading, key=sandbox.read_only_key).status_code == 403
    assert pendo.post(*reading).status_code == 200


def test_a_wrong_key_is_a_403_without_a_body(pendo):
    paths = (VERIFY, "/api/v1/metadata/schema/visitor", "/api/v1/segment")
    for path in paths:
        for key in ("", "garbage", "sandbox-track-secret"):
            answer = pendo.get(path, key=key)
            assert (answer.status_code, answer.content) == (403, b"")
    pendo.switch(wrong_key_status=401)
    assert {pendo.get(path, key="garbage").status_code for path in paths} == {401}


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
    for status in (403, 401):
        pendo.switch(read_only_write_status=status)
        answer = pendo.call(*write, key=sandbox.read_only_key)
        assert (answer.status_code, answer.content) == (status, b"")
    assert (sandbox.visitors, sandbox.segments) == (before, {})


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


def test_unknown_paths_are_404_and_wrong_methods_405(pendo):
    for bodies, expected in (("text", "not found"), ("json", '{"error":"not found"}'), ("empty", "")):
        pendo.switch(error_bodies=bodies)
        for path in ("/", "/api/v1/nothing", "/api/v1/visitor/", "/api/v1/metadata/schema/page"):
            answer = pendo.get(path)
            assert (answer.status_code, answer.text) == (404, expected)
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
    # A body in chunks is refused.
    assert pendo.call("POST", VALUES, data=iter([b"[]"])).status_code == 411


def test_latency_and_the_rate_limit(pendo, sandbox):
    pendo.switch(latency_ms=(60, 80))
    pendo.verify()
    assert sandbox.requests[0].seconds >= 0.055
    pendo.switch(latency_ms=(0, 0), requests_per_second=0.001, burst=3)
    assert [pendo.verify() for _ in range(4)] == [200, 200, 200, 429]
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
