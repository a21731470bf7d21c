"""Pendo is asked while there is other work: whoever takes an answer gets it as if it had been asked for only then."""

import threading
import time
from collections.abc import Callable

import pytest

from dbt_pendo.pendo.ahead import Ahead
from dbt_pendo.pendo.client import KeyRefusedError, PendoClient, UnavailableError
from dbt_pendo.pendo.metadata import read_schema, verify_key
from dbt_pendo.sandbox import Fault, Sandbox

VERIFY, SCHEMA = "/api/v1/token/verify", "/api/v1/metadata/schema/visitor"


def fields(client: PendoClient) -> object:
    return read_schema(client, "visitor")


def asked(sandbox: Sandbox) -> list[str]:
    return [request.path for request in sandbox.requests]


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_answers_are_there_before_they_are_taken_and_logged_when_they_are(client, sandbox):
    calls: list[str] = []
    client.watch = lambda call: calls.append(call.request.path)
    with Ahead(client, {"key": verify_key, "fields": fields}) as ahead:
        until(lambda: asked(sandbox) == [VERIFY, SCHEMA])
        assert calls == []
        assert ahead.take("fields", fields) == read_schema(client, "visitor")
        assert calls == [SCHEMA, SCHEMA]
        assert ahead.take("key", verify_key) is True
        assert calls == [SCHEMA, SCHEMA, VERIFY]
        # It is good once: fields may have changed since.
        ahead.take("fields", fields)
    assert asked(sandbox) == [VERIFY, SCHEMA, SCHEMA, SCHEMA]
    # What was asked ahead is no sync's traffic.
    assert client.traffic.requests == 2


@pytest.mark.parametrize(
    "fault", [Fault(status=401, path="verify"), Fault("garbage", body='{"valid": true, "writeAccess": false}')]
)
def test_after_a_key_that_does_not_do_nothing_else_is_asked(client, sandbox, fault):
    sandbox.fail(fault)
    with Ahead(client, {"key": verify_key, "fields": fields}) as ahead:
        if fault.status == 401:
            with pytest.raises(KeyRefusedError):
                ahead.take("key", verify_key)
        else:
            assert ahead.take("key", verify_key) is False
        until(lambda: not ahead._thread.is_alive())
        assert asked(sandbox) == [VERIFY]
        # It is asked when it is wanted all the same.
        ahead.take("fields", fields)
    assert asked(sandbox) == [VERIFY, SCHEMA]


def test_what_is_said_of_a_fault_is_said_to_whoever_takes_the_answer(connect, fake_time):
    told: list[str] = []
    # Nobody listens there.
    client = connect(tell=told.append, api_url="http://127.0.0.1:9", retries=1)
    with Ahead(client, {"key": verify_key}) as ahead:
        until(lambda: not ahead._thread.is_alive())
        assert told == []
        with pytest.raises(UnavailableError):
            ahead.take("key", verify_key)
    assert [line.partition(":")[0] for line in told] == ["Pendo at http"] * 2


@pytest.mark.parametrize("fault", [Fault("hang", seconds=30), Fault(status=503, headers={"Retry-After": "30"})])
def test_the_end_of_the_work_waits_for_no_answer(connect, sandbox, fault):
    sandbox.fail(fault)
    client = connect()
    client.wait, client.clock = threading.Event().wait, time.monotonic
    begun = time.monotonic()
    with Ahead(client, {"key": verify_key, "fields": fields}):
        until(lambda: asked(sandbox) == [VERIFY] or not sandbox.faults)
    assert time.monotonic() - begun < 10
    assert SCHEMA not in asked(sandbox)
