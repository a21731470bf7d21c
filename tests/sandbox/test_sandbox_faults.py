"""Faults on request."""

import contextlib
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from dbt_pendo.errors import ConfigError
from dbt_pendo.sandbox import Fault

BODY = {"v1": {"plan": "x"}}


def test_a_hang_ends_and_a_reset_is_no_close(pendo, sandbox):
    sandbox.fail(Fault("hang", "after", seconds=0.05))
    assert pendo.write(BODY).status_code == 200
    sandbox.fail(Fault("hang", "before", seconds=0.05))
    with pytest.raises(requests.exceptions.ConnectionError):
        pendo.write(BODY)
    for action in ("reset", "close"):
        sandbox.fail(Fault(action))
        with socket.create_connection(("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1])), timeout=20) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(ConnectionResetError) if action == "reset" else contextlib.nullcontext():
                assert raw.recv(1) == b""


def test_faults_come_in_order_as_often_as_asked_and_where(pendo, sandbox):
    sandbox.fail(Fault(status=500, times=2))
    sandbox.fail(Fault(status=503))
    assert len(sandbox.faults) == 2
    assert [pendo.verify() for _ in range(4)] == [500, 500, 503, 200]
    assert sandbox.faults == []
    sandbox.fail(Fault(status=500, times=None))
    assert [pendo.verify() for _ in range(5)] == [500] * 5
    sandbox.clear_faults()
    assert pendo.verify() == 200
    sandbox.fail(Fault(status=500, path=r"/visitor/\w+/value$", method="post", body_contains='"poison"', times=None))
    assert pendo.verify() == 200
    assert [pendo.write({"v1": {"plan": plan}}).status_code for plan in ("fine", "poison")] == [200, 500]
    assert pendo.write({"a1": {"plan": "poison"}}, kind="account").status_code == 200
    for arguments in ({"action": "explode"}, {"when": "never"}, {"times": 0}, {"path": "("}):
        with pytest.raises(ConfigError):
            Fault(**arguments)


def test_times_are_kept_under_concurrency(sandbox):
    sandbox.fail(Fault(status=500, times=7))

    def statuses(worker):
        with requests.Session() as session:
            return [session.get(f"{sandbox.url}/api/v1/token/verify", timeout=20).status_code for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        assert Counter(status for found in pool.map(statuses, range(4)) for status in found) == {500: 7, 403: 33}


def test_probability_is_repeatable(pendo, sandbox):
    def draw(seed):
        sandbox.clear_faults()
        sandbox.fail(Fault(status=500, times=None, probability=0.5, seed=seed))
        return [pendo.verify() for _ in range(40)]

    first = draw(1)
    assert set(first) == {200, 500}
    assert draw(1) == first
    assert draw(2) != first
