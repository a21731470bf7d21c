"""The one place a request leaves from, against a real server: what is sent, retries, the pace, and the account."""

import datetime
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import format_datetime

import orjson
import pytest
from calls import BODY, EVENT, FOREVER, VALUES, VERIFY, send_event, verify, write
from harness.pendo import chosen

from dbt_pendo.pendo.client import Request, Traffic, UnavailableError
from dbt_pendo.pendo.metadata import values_request
from dbt_pendo.sandbox import Fault, Sandbox


@pytest.mark.parametrize(("app", "owner"), [(None, "track"), ("web", "track:web"), ("WEB", "track:web")])
def test_events_carry_the_secret_of_their_app_to_the_data_host(sandbox, connect, app, owner):
    with Sandbox(switches=chosen(), apps=["web"]) as other:
        client = connect(api_url=f"{other.url}/proxy")
        assert verify(client).status == 404
        assert [request.path for request in other.requests] == [f"/proxy{VERIFY}"]
        assert send_event(client, app).ok
    (request,) = sandbox.requests
    assert (request.method, request.path, request.key) == ("POST", "/data/track", owner)
    assert sandbox.events == [EVENT]


PASSING = [
    *(Fault("status", status=status) for status in (408, 429, 500, 501, 502, 503, 504, 505, 507, 529, 599)),
    *(Fault(action) for action in ("reset", "close", "truncate")),
]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_that_passes_is_tried_again_with_the_same_request(sandbox, client, waits, fault, when):
    sandbox.fail(replace(fault, when=when, times=2))
    assert write(client).json["updated"] == 1
    assert sandbox.visitors["v1"]["custom"] == {"plan": "pro"}
    assert [(r.method, r.path, r.key, r.body) for r in sandbox.requests] == [("POST", VALUES, "integration", BODY)] * 3
    assert (client.traffic.retries, len(waits) >= 2, sandbox.faults) == (2, True, [])


def test_a_429_in_the_first_instant_is_tried_again(sandbox, client):
    write(client)
    sandbox.fail(Fault("status", status=429))
    assert write(client).ok


def test_an_answer_about_the_body_is_the_callers_to_judge(sandbox, client, waits):
    for status in (400, 404, 409, 410, 413, 415, 422):
        sandbox.fail(Fault("status", status=status, body="not\nlike  this", times=2))
        for answer in (write(client), client.send(values_request("visitor", "custom", BODY, False, ["v1"]))):
            assert (answer.status, answer.ok, answer.json) == (status, False, None)
            assert answer.message == f"HTTP {status}: not like this"
    # Every 2xx is good, whether it is JSON or not.
    for status in (200, 201, 202, 204):
        sandbox.fail(Fault("status", status=status))
        answer = write(client)
        assert (answer.ok, answer.json, answer.message) == (True, None, f"HTTP {status}")
    sandbox.fail(Fault("garbage"))
    answer = write(client)
    assert (answer.ok, answer.json) == (True, None)
    assert (len(sandbox.requests), waits) == (19, [])


@pytest.mark.parametrize("status", [408, 500, 503])
def test_waits_double_from_a_second_up_to_a_minute_with_jitter(sandbox, connect, waits, status):
    sandbox.fail(Fault("status", status=status, times=9))
    assert write(connect(retries=9, retry_time=1000.0)).ok
    shortest = [min(2.0**attempt, 30.0) for attempt in range(9)]
    assert all(least <= wait <= 2 * least for wait, least in zip(waits, shortest, strict=True))
    # Clients that fail together do not come back together.
    for _ in range(20):
        sandbox.fail(Fault("status", status=status))
        write(connect(retries=1))
    assert len(set(waits[9:])) > 10


SECONDS = {"7": 7.0, "0": 0.0, " 12 ": 12.0, "900": 900.0}
DATES = {"soon": (0.05, 60, 180), "later": (0.25, 800, 900), "past": (-1, 1, 1)}
NONSENSE = ["", "soon", "Mon", "Wed, 32 Foo 2026 99:99:99 GMT", "1.5", "-3", "1;2", "nan", "inf", "-inf", "1e999"]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        # Nothing is sent again within a second, whatever Pendo says.
        *((header, max(seconds, 1.0), max(seconds, 1.0)) for header, seconds in SECONDS.items()),
        *((header, 1.0, 2.0) for header in NONSENSE),
        *DATES.values(),
    ],
)
def test_retry_after_is_honoured_where_it_makes_sense(sandbox, connect, fake_time, status, header, least, most):
    if isinstance(header, float | int):
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=header)
        header = format_datetime(moment, usegmt=True)
    client = connect(retry_time=1000.0)
    sandbox.fail(Fault("status", status=status, headers={"Retry-After": header}))
    assert write(client).ok
    assert least <= fake_time.waited <= most
    assert client.traffic == Traffic(requests=2, retries=1, bytes=2 * len(BODY))


@pytest.mark.parametrize("status", [429, 503])
def test_retries_end_when_their_time_is_over_however_many_are_left(sandbox, connect, fake_time, status):
    sandbox.fail(Fault("status", status=status, times=FOREVER))
    client = connect(retries=1000, retry_time=60.0)
    with pytest.raises(UnavailableError, match=f"the last: HTTP {status}"):
        write(client)
    assert 3 <= client.traffic.requests <= 30
    # The slowest pace, a request in ten seconds, may put off the last one.
    assert 20 <= fake_time.waited <= 70


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("header", ["61", "31536000", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_beyond_the_time_for_retries_ends_the_sync_at_once(sandbox, connect, fake_time, status, header):
    client = connect(retry_time=60.0)
    sandbox.fail(Fault("status", status=status, headers={"Retry-After": header}))
    with pytest.raises(UnavailableError, match=r"asked again in [\d,]+ seconds, and PENDO_RETRY_TIME is 60"):
        write(client)
    assert (len(sandbox.requests), fake_time.waits) == (1, [])
    # Nor is it waited for by a request that comes later.
    assert send_event(client).ok
    assert fake_time.waited <= 1.0


def test_a_retry_after_of_one_request_holds_for_the_others(sandbox, connect, fake_time):
    client = connect(retries=0)
    sandbox.fail(Fault("status", status=429, headers={"Retry-After": "40"}))
    with pytest.raises(UnavailableError):
        write(client)
    assert fake_time.waited == 0
    assert send_event(client).ok
    assert fake_time.waited == pytest.approx(40)


def test_the_ceiling_holds_for_retries_too(sandbox, connect, fake_time):
    sandbox.fail(Fault("status", status=503, headers={"Retry-After": "0"}, times=5))
    assert write(connect(requests_per_second=0.5)).ok
    assert fake_time.waited == pytest.approx(10.0)
    # At a request in twenty seconds the second has used up its time before it is sent at all: that is no retry.
    client = connect(requests_per_second=0.05, retry_time=15.0)
    write(client)
    sandbox.fail(Fault("status", status=503, headers={"Retry-After": "0"}))
    assert write(client).ok


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("status", status=503, body="down for\nmaintenance"), "HTTP 503: down for maintenance"),
        (Fault("status", status=429), "HTTP 429"),
        *((Fault("reset"), "reset"), (Fault("close"), "closed"), (Fault("truncate"), "IncompleteRead")),
    ],
)
@pytest.mark.parametrize("retries", [0, 1, 4])
def test_a_fault_that_stays_ends_the_sync_after_so_many_retries(sandbox, connect, waits, fault, words, retries):
    attempts = f"{retries + 1} attempts" if retries else "1 attempt"
    sandbox.fail(replace(fault, times=FOREVER))
    client = connect(retries=retries)
    beginning = f"Pendo at {sandbox.url} did not take POST {VALUES} in {attempts}; the last: "
    with pytest.raises(UnavailableError, match=f"^{re.escape(beginning)}.*{words}") as caught:
        write(client)
    assert "PENDO_API_URL" in caught.value.hint
    assert caught.value.exit_code == 1
    assert client.traffic == Traffic(retries + 1, retries, (retries + 1) * len(BODY))
    assert len(waits) >= retries


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://pendo.invalid", "http://[::1]:1"])
def test_a_host_that_is_not_there_is_told_of_and_given_up_until_a_sync_has_begun(connect, fake_time, url):
    told: list[str] = []
    client = connect(api_url=url, data_url="http://127.0.0.1:1", tell=told.append)
    with pytest.raises(UnavailableError, match=re.escape(f"Pendo at {url} did not take")) as caught:
        verify(client)
    assert not re.search("HTTPConnectionPool|object at 0x", "\n".join([str(caught.value), *told]))
    attempts = client.traffic.requests
    assert attempts > 3
    beginnings = [f"Pendo at {url} cannot be reached (attempt {at}): " for at in range(1, attempts + 1)]
    assert [text[: len(start)] for text, start in zip(told, beginnings, strict=True)] == beginnings
    # Another one is not waited for as long again.
    with pytest.raises(UnavailableError):
        send_event(client)
    assert 5 <= fake_time.waited <= 30
    client.is_patient = True
    with pytest.raises(UnavailableError, match="in 9 attempts;"):
        verify(client)
    assert fake_time.waited > 60


def test_several_threads_share_one_client_and_all_is_counted(sandbox, client):
    together = threading.Barrier(4)

    def work(thread: int) -> list[int]:
        together.wait(timeout=20)
        sent = [orjson.dumps([{"visitorId": f"t{thread}-{at}", "values": {"plan": "x"}}]) for at in range(10)]
        return [client.send(Request("POST", f"{VALUES}?create=true", body)).json["updated"] for body in sent]

    assert client.traffic == Traffic()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [[1] * 10] * 4
    assert sum(key.startswith("t") for key in sandbox.visitors) == 40
    before = client.traffic
    assert before == Traffic(requests=40, retries=0, bytes=sandbox.counters["bytes"])
    for fault in (Fault("status", status=503), Fault("reset")):
        sandbox.fail(fault)
    write(client)
    verify(client)
    assert client.traffic == Traffic(requests=40 + 4, retries=2, bytes=before.bytes + 3 * len(BODY))
    assert (client.traffic.requests, client.traffic.bytes) == (sandbox.counters["requests"], sandbox.counters["bytes"])
