"""The one place a request leaves from, against a real server: retries, refusals, and secrets that stay secret."""

from __future__ import annotations

import datetime
import html
import re
import threading
import traceback
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from raw_server import RawServer, ok

from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.pendo import advice
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import KeyRefusedError, PendoClient, PendoError, Request, Traffic, UnavailableError
from dbt_pendo.pendo.metadata import values_request
from dbt_pendo.pendo.track import track_request
from dbt_pendo.sandbox import Fault, Sandbox
from dbt_pendo.secret import Secret, Secrets
from dbt_pendo.settings import INTEGRATION_KEY, REGIONS, TRACK_SECRET, Settings

VALUES = "/api/v1/metadata/visitor/custom/value"
BODY = orjson.dumps([{"visitorId": "v1", "values": {"plan": "pro"}}])
EVENT = {
    "type": "track",
    "event": "Paid",
    "visitorId": "v1",
    "timestamp": 1680373680000,
    "properties": {},
    "context": {},
}
FOREVER = None


def write(client: PendoClient) -> Any:
    return client.send(Request("POST", VALUES, BODY))


def plan(sandbox: Sandbox) -> Any:
    return sandbox.visitors["v1"]["custom"].get("plan")


def in_order(fault: Fault, sandbox: Sandbox, *more: Fault) -> None:
    for one in (fault, *more):
        sandbox.fail(one)


# What is sent.


def test_a_call_carries_the_integration_key_to_the_api(sandbox, client):
    answer = write(client)
    assert (answer.status, answer.ok, answer.json["updated"]) == (200, True, 1)
    (request,) = sandbox.requests
    assert (request.method, request.path, request.query) == ("POST", "/api/v1/metadata/visitor/custom/value", "")
    assert (request.key, request.body) == ("integration", BODY)
    assert plan(sandbox) == "pro"


def test_a_query_and_a_get_without_a_body_arrive_as_they_are(sandbox, client):
    client.send(Request("POST", f"{VALUES}?create=true", BODY))
    client.send(Request("GET", "/api/v1/token/verify"))
    assert [(r.path, r.query, r.size) for r in sandbox.requests] == [
        ("/api/v1/metadata/visitor/custom/value", "create=true", len(BODY)),
        ("/api/v1/token/verify", "", 0),
    ]


@pytest.mark.parametrize(("app", "owner"), [(None, "track"), ("web", "track:web"), ("WEB", "track:web")])
def test_events_carry_the_secret_of_their_app(sandbox, client, app, owner):
    assert client.send(track_request(app, orjson.dumps(EVENT))).ok
    (request,) = sandbox.requests
    assert (request.method, request.path, request.key) == ("POST", "/data/track", owner)
    assert sandbox.events == [EVENT]


def test_events_go_to_the_data_host_and_the_rest_to_the_api(sandbox, connect):
    with Sandbox() as other:
        client = connect(data_url=other.url)
        client.send(track_request(None, orjson.dumps(EVENT)))
        client.send(Request("GET", "/api/v1/token/verify"))
        assert [request.path for request in other.requests] == ["/data/track"]
    assert [request.path for request in sandbox.requests] == ["/api/v1/token/verify"]


def test_a_base_url_may_have_a_path(sandbox, connect):
    assert connect(api_url=f"{sandbox.url}/proxy").send(Request("GET", "/api/v1/token/verify")).status == 404
    assert sandbox.requests[0].path == "/proxy/api/v1/token/verify"


def test_any_bytes_arrive_as_they_are(sandbox, client):
    body = orjson.dumps([{"visitorId": "Zoë 🚀\n\"'\\", "values": {"plan": "\u2028{{ x }}"}}])
    client.send(Request("POST", f"{VALUES}?create=true", body))
    assert sandbox.requests[0].body == body
    assert sandbox.visitors["Zoë 🚀\n\"'\\"]["custom"] == {"plan": "\u2028{{ x }}"}


def test_without_a_secret_nothing_is_sent(sandbox, connect):
    client = connect(integration_key=None, track_secrets={})
    with pytest.raises(ConfigError, match="No Pendo integration key is set"):
        write(client)
    with pytest.raises(ConfigError, match="No Track Event shared secret is set"):
        client.send(track_request("web", b"{}"))
    assert sandbox.requests == []
    assert client.traffic == Traffic()


def test_requests_go_through_the_environments_proxy(sandbox, connect, monkeypatch):
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", sandbox.url)
    connect(api_url="http://pendo.invalid").send(Request("GET", "/api/v1/token/verify"))
    assert sandbox.requests[0].path == "http://pendo.invalid/api/v1/token/verify"


# Retries.

PASSING = [
    *(pytest.param(Fault("status", status=status), id=str(status)) for status in (408, 429, 500, 502, 503, 504)),
    *(pytest.param(Fault(action), id=action) for action in ("reset", "close", "truncate")),
]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_that_passes_is_tried_again_with_the_same_request(sandbox, client, waits, fault, when):
    in_order(replace(fault, when=when, times=2), sandbox)
    assert write(client).json["updated"] == 1
    assert plan(sandbox) == "pro"
    assert [(r.method, r.path, r.key, r.body) for r in sandbox.requests] == [
        ("POST", f"{VALUES}", "integration", BODY)
    ] * 3
    assert client.traffic.retries == 2
    assert len(waits) >= 2
    assert sandbox.faults == []


@pytest.mark.parametrize("status", [501, 505, 507, 520, 529, 599])
def test_every_5xx_is_tried_again(sandbox, client, status):
    sandbox.fail(Fault("status", status=status))
    assert write(client).ok


def test_no_answer_in_time_is_tried_again(sandbox, connect, waits):
    sandbox.fail(Fault("hang"))
    assert write(connect(timeout=0.3)).ok
    assert (len(sandbox.requests), len(waits)) == (2, 1)


def test_mixed_faults_are_all_got_over(sandbox, client):
    in_order(Fault("reset"), sandbox, Fault("status", status=503), Fault("close", "after"), Fault("status", status=429))
    assert write(client).ok
    assert client.traffic.retries == 4


@pytest.mark.parametrize(("when", "copies"), [("before", 1), ("after", 2)])
def test_an_event_whose_answer_was_lost_is_sent_again(sandbox, client, when, copies):
    sandbox.fail(Fault("close", when))
    assert client.send(track_request(None, orjson.dumps(EVENT))).ok
    assert sandbox.events == [EVENT] * copies


@pytest.mark.parametrize("status", [400, 404, 409, 410, 413, 415, 422])
def test_an_answer_about_the_body_is_the_callers_to_judge(sandbox, client, waits, status):
    sandbox.fail(Fault("status", status=status, body="not\nlike  this"))
    answer = write(client)
    assert (answer.status, answer.ok, answer.json) == (status, False, None)
    assert answer.message == f"HTTP {status}: not like this"
    assert (len(sandbox.requests), waits) == (1, [])


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_good(sandbox, client, status):
    sandbox.fail(Fault("status", status=status))
    answer = write(client)
    assert (answer.ok, answer.json, answer.message) == (True, None, f"HTTP {status}")


def test_a_200_that_is_no_json_is_not_tried_again(sandbox, client):
    sandbox.fail(Fault("garbage"))
    answer = write(client)
    assert (answer.ok, answer.json) == (True, None)
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"total": 3, "upd', ""])
def test_a_200_that_does_not_say_what_was_done_is_tried_again(sandbox, client, body):
    sandbox.fail(Fault("status", status=200, body=body, times=2))
    assert client.send(values_request("visitor", "custom", BODY, False, ["v1"])).json["updated"] == 1
    assert client.traffic.retries == 2


def test_a_200_that_stays_unclear_ends_the_sync(sandbox, connect):
    sandbox.fail(Fault("garbage", times=FOREVER))
    with pytest.raises(
        UnavailableError, match=r"in 3 attempts; the last: an answer that does not say what was done \(HTTP 200: <h"
    ):
        connect(retries=2).send(values_request("visitor", "custom", BODY, False, ["v1"]))


@pytest.mark.parametrize("status", [400, 404, 413])
def test_a_refusal_needs_not_say_more(sandbox, client, status):
    sandbox.fail(Fault("status", status=status, body="no"))
    assert client.send(values_request("visitor", "custom", BODY, False, ["v1"])).message == f"HTTP {status}: no"
    assert client.traffic.retries == 0


@pytest.mark.parametrize("status", [408, 500, 503])
def test_waits_double_up_to_a_minute_with_jitter(sandbox, connect, waits, status):
    sandbox.fail(Fault("status", status=status, times=9))
    assert write(connect(retries=9)).ok
    longest = [min(0.5 * 2**attempt, 60.0) for attempt in range(9)]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, longest, strict=True))
    assert len(set(waits)) > 1


def test_clients_that_fail_together_do_not_come_back_together(sandbox, connect, waits):
    for _ in range(20):
        sandbox.fail(Fault("status", status=503))
        write(connect(retries=1))
    assert len(set(waits)) > 10


@pytest.mark.parametrize("status", [408, 429, 500, 503])
@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("0", 0.0), (" 12 ", 12.0), ("900", 900.0)])
def test_retry_after_in_seconds_is_honoured(sandbox, connect, fake_time, status, header, seconds):
    client = connect(retry_time=1000.0)
    sandbox.fail(Fault("status", status=status, headers={"Retry-After": header}))
    assert write(client).ok
    # After a 429 nothing is sent for a second, whatever Pendo says.
    assert seconds <= fake_time.waited <= max(seconds, 1.0)
    assert client.traffic == Traffic(requests=2, retries=1, bytes=2 * len(BODY))


@pytest.mark.parametrize(
    ("hours", "least", "most"), [(0.05, 60, 180), (0.25, 800, 900), (-1, 0, 1)], ids=["soon", "later", "past"]
)
def test_retry_after_as_a_date_is_honoured(sandbox, connect, fake_time, hours, least, most):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
    sandbox.fail(Fault("status", status=429, headers={"Retry-After": format_datetime(moment, usegmt=True)}))
    assert write(connect(retry_time=1000.0)).ok
    assert least <= fake_time.waited <= most


@pytest.mark.parametrize("header", ["", "soon", "Mon", "1.5", "-3", "1;2", "nan", "inf", "-inf", "1e999"])
def test_a_retry_after_that_makes_no_sense_is_passed_over(sandbox, client, waits, header):
    sandbox.fail(Fault("status", status=503, headers={"Retry-After": header}))
    assert write(client).ok
    assert len(waits) == 1
    assert 0.25 <= waits[0] <= 0.5


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
def test_a_retry_after_beyond_the_time_for_retries_ends_the_sync_at_once(sandbox, connect, waits, status):
    sandbox.fail(Fault("status", status=status, headers={"Retry-After": "61"}))
    with pytest.raises(UnavailableError, match="asked again in 61 seconds, and PENDO_RETRY_TIME is 60"):
        write(connect(retry_time=60.0))
    assert (len(sandbox.requests), waits) == (1, [])


@pytest.mark.parametrize("form", ["31536000", "Fri, 31 Dec 9999 23:59:59 GMT"], ids=["a year", "a date"])
def test_a_retry_after_of_a_year_is_waited_for_by_nobody(sandbox, connect, fake_time, form):
    client = connect(retry_time=3600.0)
    sandbox.fail(Fault("status", status=429, headers={"Retry-After": form}))
    with pytest.raises(UnavailableError, match="in 1 attempt;"):
        write(client)
    # Nor by a request that comes later.
    assert client.send(track_request(None, orjson.dumps(EVENT))).ok
    assert fake_time.waited <= 1.0


# The pace.


def test_a_calm_pendo_is_never_waited_for(sandbox, client, waits):
    for _ in range(10):
        write(client)
    assert waits == []


def test_the_ceiling_holds_for_every_second(sandbox, connect, fake_time):
    client = connect(requests_per_second=5.0)
    for sent in range(11):
        write(client)
        assert fake_time.waited == pytest.approx(0.2 * sent)


def test_the_ceiling_holds_for_retries_too(sandbox, connect, fake_time):
    sandbox.fail(Fault("status", status=503, headers={"Retry-After": "0"}, times=5))
    assert write(connect(requests_per_second=2.0)).ok
    assert fake_time.waited == pytest.approx(2.5)


def test_a_long_wait_for_its_turn_is_no_retry(sandbox, connect):
    """A ceiling of a request in twenty seconds: the second has used up its time before it is sent at all."""
    client = connect(requests_per_second=0.05, retry_time=15.0)
    write(client)
    sandbox.fail(Fault("status", status=503, headers={"Retry-After": "0"}))
    assert write(client).ok


def test_a_429_slows_all_requests_to_what_pendo_was_seen_to_take(sandbox, client, fake_time):
    for _ in range(30):
        write(client)
        fake_time.wait(0.1)
    sandbox.fail(Fault("status", status=429))
    before = fake_time.waited
    assert write(client).ok
    assert fake_time.waited - before == pytest.approx(1.0)
    before = fake_time.waited
    for _ in range(10):
        client.send(Request("GET", "/api/v1/token/verify"))
    # It took ten a second.
    assert 0.9 <= fake_time.waited - before <= 1.5


def test_a_retry_after_of_one_request_holds_for_the_others(sandbox, connect, fake_time):
    client = connect(retries=0)
    sandbox.fail(Fault("status", status=429, headers={"Retry-After": "40"}))
    with pytest.raises(UnavailableError):
        write(client)
    assert fake_time.waited == 0
    assert client.send(track_request(None, orjson.dumps(EVENT))).ok
    assert fake_time.waited == pytest.approx(40)


def test_a_429_after_answers_in_one_instant_is_got_over(sandbox, client):
    for _ in range(3):
        write(client)
    sandbox.fail(Fault("status", status=429))
    assert write(client).ok


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(
            Fault("status", status=503, times=FOREVER, body="down for\nmaintenance"),
            "HTTP 503: down for maintenance",
            id="503",
        ),
        pytest.param(Fault("status", status=429, times=FOREVER), "HTTP 429", id="429"),
        pytest.param(Fault("reset", times=FOREVER), "reset", id="reset"),
        pytest.param(Fault("close", times=FOREVER), "closed", id="close"),
        pytest.param(Fault("truncate", times=FOREVER), "IncompleteRead", id="truncate"),
    ],
)
@pytest.mark.parametrize(("retries", "attempts"), [(0, "1 attempt"), (1, "2 attempts"), (4, "5 attempts")])
def test_a_fault_that_stays_ends_the_sync_after_so_many_retries(
    sandbox, connect, waits, fault, words, retries, attempts
):
    sandbox.fail(fault)
    with pytest.raises(UnavailableError) as caught:
        write(connect(retries=retries))
    assert caught.value.message.startswith(
        f"Pendo at {sandbox.url} did not take POST {VALUES} in {attempts}; the last: "
    )
    assert words in caught.value.message
    assert "PENDO_API_URL" in caught.value.hint
    assert caught.value.exit_code == 1
    assert len(sandbox.requests) == retries + 1
    assert len(waits) >= retries


def test_a_host_that_never_answers_in_time_ends_the_sync(sandbox, connect):
    sandbox.fail(Fault("hang", times=FOREVER))
    with pytest.raises(UnavailableError, match="in 2 attempts; the last: no answer in time"):
        write(connect(timeout=0.3, retries=1))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://pendo.invalid", "http://[::1]:1"], ids=["port", "name", "IPv6"]
)
def test_a_host_that_is_not_there_is_named_without_the_librarys_internals(connect, url):
    with pytest.raises(UnavailableError, match=re.escape(f"Pendo at {url} did not take")) as caught:
        write(connect(api_url=url, retries=0))
    assert "HTTPConnectionPool" not in str(caught.value)
    assert "object at 0x" not in str(caught.value)


# Refusals.


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("prefix", ["", "DBT_ENV_SECRET_"])
def test_a_refused_key_stops_at_once_and_names_its_variable(sandbox, connect, waits, status, prefix):
    sandbox.switches = replace(sandbox.switches, wrong_key_status=status, wrong_track_secret_status=status)
    client = connect(
        integration_key=Secret("wrong-hunter2", prefix + INTEGRATION_KEY),
        track_secrets={"WEB": Secret("wrong-hunter3", f"{prefix}{TRACK_SECRET}_WEB")},
    )
    with pytest.raises(KeyRefusedError, match=rf"refused the integration key \(HTTP {status}\)") as of_api:
        write(client)
    assert f"Look at {prefix}PENDO_INTEGRATION_KEY:" in of_api.value.hint
    assert "write access" in of_api.value.hint
    with pytest.raises(KeyRefusedError, match=rf"refused the Track Event shared secret \(HTTP {status}\)") as of_track:
        client.send(track_request("web", orjson.dumps(EVENT)))
    assert f"Look at {prefix}PENDO_TRACK_SECRET_WEB:" in of_track.value.hint
    assert "App Details" in of_track.value.hint
    for error in (of_api.value, of_track.value):
        assert "PENDO_REGION" in error.hint
        assert sandbox.url in error.message
        assert error.exit_code == 2
    assert (len(sandbox.requests), waits) == (2, [])


@pytest.mark.parametrize("region", REGIONS)
def test_a_refused_key_may_be_one_of_another_region(connect, region):
    api_url, data_url = REGIONS[region]
    client = connect(region=region, api_url=api_url, data_url=data_url)
    error = client.key_refused(Answer(403, b""), Secret("key", "PENDO_INTEGRATION_KEY"))
    assert api_url in error.message
    assert f"PENDO_REGION, which is {region}: it is good in one region only" in error.hint
    assert "PENDO_API_URL" not in error.hint


def test_the_integration_key_is_refused_where_a_track_secret_belongs(sandbox, connect):
    client = connect(track_secrets={"": Secret(sandbox.integration_key, TRACK_SECRET)})
    with pytest.raises(KeyRefusedError, match="refused the Track Event shared secret"):
        client.send(track_request(None, orjson.dumps(EVENT)))
    assert sandbox.events == []


def test_a_read_only_key_is_refused_when_it_writes(sandbox, connect):
    client = connect(integration_key=Secret(sandbox.read_only_key, INTEGRATION_KEY))
    assert client.send(Request("GET", "/api/v1/token/verify")).json == {"valid": True, "writeAccess": False}
    with pytest.raises(KeyRefusedError, match="refused the integration key"):
        write(client)
    assert plan(sandbox) is None


def test_a_refusal_in_mid_run_is_no_retry(sandbox, client, waits):
    write(client)
    in_order(Fault("status", status=503), sandbox, Fault("status", status=403, body="revoked"))
    with pytest.raises(KeyRefusedError, match=r"\(HTTP 403: revoked\)"):
        write(client)
    assert (len(sandbox.requests), len(waits)) == (3, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(sandbox, client, waits, status):
    with Sandbox() as elsewhere:
        for call in (write, lambda client: client.send(track_request(None, orjson.dumps(EVENT)))):
            sandbox.fail(Fault("status", status=status, headers={"Location": f"{elsewhere.url}{VALUES}"}))
            with pytest.raises(PendoError, match="with a redirect") as caught:
                call(client)
            assert f"to {elsewhere.url} (HTTP {status})" in caught.value.message
            assert "set PENDO_API_URL to it" in caught.value.hint
        assert elsewhere.requests == []
    assert (len(sandbox.requests), waits) == (2, [])
    assert plan(sandbox) is None


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://user:hunter2@proxy.example:8443/log/in?token=hunter2#hunter2", "to https://proxy.example:8443 ("),
        ("//proxy.example/hunter2", "to http://proxy.example ("),
        ("/log-in?next=hunter2", "to another page of http://127.0.0.1:"),
        ("https://[::1]:8443/", "to https://[::1]:8443 ("),
        ("https://[half/hunter2", "to no host it names"),
        ("https://proxy.example:hunter2/", "to no host it names"),
        ("https://pr\xf6xy\x1b[2J/hunter2", "to no host it names"),
        ("ftp://proxy.example/hunter2", "to no host it names"),
        ("", "to no host it names"),
        (None, "to no host it names"),
    ],
)
def test_a_redirect_says_where_to_and_no_more(sandbox, client, location, where):
    sandbox.fail(Fault("status", status=302, headers={} if location is None else {"Location": location}))
    with pytest.raises(PendoError) as caught:
        write(client)
    assert where in caught.value.message
    assert "PENDO_API_URL" in caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_a_redirect_to_another_region_names_it():
    settings = Settings(region="us")
    where, hint = advice.of_redirect(settings, settings.api_url, "/api/v1/segment", "https://app.eu.pendo.io/login")
    assert (where, hint) == ("to https://app.eu.pendo.io", "Set PENDO_REGION to eu, where that host is.")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (402, "Look at|look at PENDO_INTEGRATION_KEY"),
        (405, "PENDO_API_URL"),
        (407, "HTTPS?_PROXY|proxy setting"),
        (411, "proxy"),
        (414, "proxy"),
        (421, "PENDO_API_URL"),
        (426, "https"),
        (451, "legal"),
        (511, "log in with a browser"),
    ],
)
def test_what_no_row_is_to_blame_for_ends_the_sync_with_advice_that_fits(sandbox, client, waits, status, words):
    sandbox.fail(Fault("status", status=status))
    with pytest.raises(PendoError, match=f"HTTP {status}") as caught:
        write(client)
    assert re.search(words, caught.value.hint)
    assert "PENDO_REGION" not in caught.value.hint
    assert (len(sandbox.requests), waits) == (1, [])


@pytest.mark.parametrize(
    ("status", "words"), [(408, "smaller batch_size"), (429, "PENDO_CONCURRENCY"), (504, "PENDO_API_URL")]
)
def test_what_may_pass_and_does_not_has_advice_that_fits(sandbox, connect, status, words):
    sandbox.fail(Fault("status", status=status, times=FOREVER))
    with pytest.raises(UnavailableError) as caught:
        write(connect(retries=1))
    assert words in caught.value.hint


# Proxies.


@pytest.fixture
def by_proxy(monkeypatch):
    """Sets the proxy of the environment, for a host that is not on this machine."""
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def set_proxy(url):
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, url)

    return set_proxy


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_log_in_is_not_pendo(connect, by_proxy, scheme):
    with RawServer(lambda request: [ok(b"", status="407 Proxy Authentication Required")]) as proxy:
        by_proxy(proxy.url.replace("//", "//user:hunter2@"))
        with pytest.raises(PendoError, match=r"proxy on the way to .* wants a log-in") as caught:
            write(connect(api_url=f"{scheme}://pendo.invalid"))
    assert f"{scheme.upper()}_PROXY" in caught.value.hint
    assert "PENDO_REGION" not in caught.value.hint
    assert "hunter2" not in everything_told(caught.value)
    assert len(proxy.requests) == 1


def test_a_proxy_that_does_not_let_one_through_is_named(connect, by_proxy):
    with RawServer(lambda request: [ok(b"", status="403 Forbidden")]) as proxy:
        by_proxy(proxy.url)
        with pytest.raises(UnavailableError, match="Tunnel connection failed: 403") as caught:
            write(connect(api_url="https://pendo.invalid", retries=1))
    assert "HTTPS_PROXY" in caught.value.hint


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:hunter2%E2%82%AC@proxy.example:3128",
        "http://user:hunter2€@proxy.example:3128",
        "http://us\u0119r:hunter2@proxy.example:3128",
        "http://user:hunter2@:3128",
        "http://user:hunter2@proxy.example:99999",
        "http://user:hunter2@proxy.example:port",
        "http://user:hunter2@[proxy.example",
        "ftp://user:hunter2@proxy.example",
        "http://",
    ],
)
def test_a_proxy_that_cannot_be_used_is_found_before_anything_is_sent(sandbox, connect, by_proxy, proxy):
    by_proxy(proxy)
    with pytest.raises(ConfigError, match="HTTPS_PROXY: what it holds is no proxy's URL") as caught:
        write(connect(api_url="https://pendo.invalid"))
    assert "hunter2" not in everything_told(caught.value)


def test_a_bundle_of_certificates_that_is_not_there_is_found_before_anything_is_sent(connect, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ConfigError, match=r"REQUESTS_CA_BUNDLE: there is no /nowhere/ca\.pem"):
        write(connect())


@pytest.mark.parametrize("host", ["https://*.pendo.io", f"https://\xfc{'x' * 70}.io"])
def test_a_host_that_nothing_can_be_sent_to_is_found_before_anything_is_sent(connect, host):
    with pytest.raises(ConfigError, match="PENDO_API_URL does not name a host"):
        connect(api_url=host)


# What is counted.


def test_traffic_counts_requests_retries_and_bytes(sandbox, client):
    assert client.traffic == Traffic()
    write(client)
    assert client.traffic == Traffic(requests=1, retries=0, bytes=len(BODY))
    before = client.traffic
    in_order(Fault("status", status=503), sandbox, Fault("reset"))
    write(client)
    client.send(Request("GET", "/api/v1/token/verify"))
    assert client.traffic - before == Traffic(requests=4, retries=2, bytes=3 * len(BODY))
    assert (client.traffic.requests, client.traffic.bytes) == (sandbox.counters["requests"], sandbox.counters["bytes"])


def test_traffic_counts_what_failed_too(sandbox, connect):
    client = connect(retries=2)
    sandbox.fail(Fault("status", status=500, times=FOREVER))
    with pytest.raises(UnavailableError):
        write(client)
    assert client.traffic == Traffic(requests=3, retries=2, bytes=3 * len(BODY))


def test_several_threads_share_one_client(sandbox, client):
    together = threading.Barrier(4)

    def work(thread: int) -> list[int]:
        together.wait(timeout=20)
        sent = [orjson.dumps([{"visitorId": f"t{thread}-{at}", "values": {"plan": "x"}}]) for at in range(10)]
        return [client.send(Request("POST", f"{VALUES}?create=true", body)).json["updated"] for body in sent]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [[1] * 10] * 4
    assert (client.traffic.requests, client.traffic.retries) == (40, 0)
    assert client.traffic.bytes == sandbox.counters["bytes"]
    assert sum(key.startswith("t") for key in sandbox.visitors) == 40


# Secrets.


def everything_told(error: BaseException) -> str:
    """All that any log, traceback or results file could show of an error."""
    told = [str(error), repr(error), repr(error.args), *traceback.format_exception(error)]
    if isinstance(error, DbtPendoError):
        told += [error.message, error.hint]
    return "\n".join(told)


@pytest.mark.parametrize(
    "fault",
    [
        *(
            pytest.param(Fault("status", status=status, times=FOREVER), id=str(status))
            for status in (302, 401, 403, 503)
        ),
        *(pytest.param(Fault(action, times=FOREVER), id=action) for action in ("reset", "close", "truncate")),
        pytest.param(Fault("hang", times=FOREVER), id="hang"),
    ],
)
def test_no_error_shows_a_secret(sandbox, connect, fault):
    client = connect(retries=1, timeout=0.3 if fault.action == "hang" else 20.0)
    sandbox.fail(fault)
    for call in (write, lambda client: client.send(track_request("web", orjson.dumps(EVENT)))):
        with pytest.raises(PendoError) as caught:
            call(client)
        told = everything_told(caught.value)
        assert not any(secret in told for secret in (sandbox.integration_key, *sandbox.track_secrets.values()))


@pytest.mark.parametrize("status", [400, 401, 403, 413, 429, 500])
@pytest.mark.parametrize(
    "form", ["{}", '{{"error": "bad key {}"}}', "key={}&x=1", "{}" * 40], ids=["bare", "JSON", "query", "often"]
)
def test_a_secret_that_pendo_echoes_is_not_passed_on(sandbox, connect, status, form):
    secret = sandbox.integration_key
    sandbox.fail(
        Fault(
            "status",
            status=status,
            times=FOREVER,
            body=form.replace("{}", secret).replace("{{", "{").replace("}}", "}"),
        )
    )
    client = connect(retries=1)
    try:
        told = write(client).message
    except PendoError as error:
        told = everything_told(error)
    assert secret not in told
    # Not even in part: a body that is cut may end in the middle of it.
    assert secret[:12] not in told


ODD_SECRET = 'ab1/2"S+<x>&\\9f'


@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(str, id="as it is"),
        pytest.param(str.upper, id="upper case"),
        pytest.param(lambda secret: "".join(f"\\u{ord(one):04x}" for one in secret), id="JSON escapes"),
        pytest.param(lambda secret: orjson.dumps(secret).decode()[1:-1], id="JSON"),
        pytest.param(lambda secret: urllib.parse.quote(secret, safe=""), id="URL"),
        pytest.param(html.escape, id="HTML"),
    ],
)
def test_a_secret_is_hidden_however_an_answer_spells_it(spell):
    spelt = spell(ODD_SECRET)
    document = {"error": f"bad key {spelt}!", spelt: [{"missing": [spelt, 1, None]}]}
    answer = Answer(200, orjson.dumps(document), Secrets([Secret(ODD_SECRET, INTEGRATION_KEY)]))
    assert answer.told(answer.json["error"]) == "bad key ***!"
    assert answer.told(answer.json) == '{"error":"bad key ***!","***":[{"missing":["***",1,null]}]}'
    assert answer.message == 'HTTP 200: {"error":"bad key ***!","***":[{"missing":["***",1,null]}]}'


def test_a_client_shows_no_secret_of_its_own(sandbox, client):
    write(client)
    shown = f"{client!r} {vars(client)!r} {client.settings!r}"
    assert not any(secret in shown for secret in (sandbox.integration_key, *sandbox.track_secrets.values()))
