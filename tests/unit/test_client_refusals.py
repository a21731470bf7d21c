"""What a client says of refusals, redirects and proxies, against a real server; and secrets that stay secret."""

import html
import re
import urllib.parse
from dataclasses import replace

import orjson
import pytest
from calls import FOREVER, VALUES, everything_told, send_event, write
from harness.pendo import chosen
from raw_server import RawServer, ok

from dbt_pendo.errors import ConfigError
from dbt_pendo.pendo import advice, segments
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import KeyRefusedError, PendoClient, PendoError
from dbt_pendo.sandbox import Fault, Sandbox
from dbt_pendo.secret import Secret, Secrets
from dbt_pendo.settings import INTEGRATION_KEY, REGIONS, TRACK_SECRET, Settings


def read(client: PendoClient) -> set[str]:
    return segments.read_members(client, "segment-1", client.wait, 1.0)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("prefix", ["", "DBT_ENV_SECRET_"])
def test_a_refused_key_stops_at_once_and_names_its_variable(sandbox, connect, waits, status, prefix):
    sandbox.switches = replace(sandbox.switches, wrong_key_status=status, wrong_track_secret_status=status)
    client = connect(
        integration_key=Secret("wrong-hunter2", prefix + INTEGRATION_KEY),
        track_secrets={"WEB": Secret("wrong-hunter3", f"{prefix}{TRACK_SECRET}_WEB")},
    )
    for call, app, refused, hint in [
        (write, (), "integration key", "PENDO_INTEGRATION_KEY:.*write access"),
        (send_event, ("web",), "Track Event shared secret", "PENDO_TRACK_SECRET_WEB:.*App Details"),
    ]:
        with pytest.raises(KeyRefusedError, match=rf"{sandbox.url} refused the {refused} \(HTTP {status}") as caught:
            call(client, *app)
        assert re.search(f"Look at {prefix}{hint}.*PENDO_REGION", caught.value.hint)
        assert caught.value.exit_code == 2
    assert (len(sandbox.requests), waits) == (2, [])


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/segment-1$", lambda client: segments.segment_exists(client, "segment-1")),
        *((f"/segment-1/{path}", read) for path in ("visitors$", "visitors/.*/status$", "visitors/.*/csv$")),
    ],
)
def test_a_403_of_one_segment_is_not_the_keys_fault(sandbox, client, path, call):
    sandbox.add_segment("S", ["v1"])
    sandbox.fail(Fault(status=403, path=path))
    with pytest.raises(PendoError, match="HTTP 403") as caught:
        call(client)
    assert not isinstance(caught.value, KeyRefusedError)


def test_a_403_of_a_write_of_a_segment(sandbox, client):
    segment = sandbox.add_segment("S", ["v1"])
    sandbox.fail(Fault(status=403, path="/segment", times=None))
    assert segments.load_job(client, segment).state == "unknown"
    assert client.send(segments.replace_request("S", segment, ["v1"])).status == 403
    assert client.send(segments.patch_request(segment, {"add": ["v2"]})).status == 403
    # What is about no segment that is there is about the key.
    for call in (segments.list_segments, lambda client: client.send(segments.replace_request("T", None, ["v1"]))):
        with pytest.raises(KeyRefusedError):
            call(client)


@pytest.mark.parametrize("region", REGIONS)
def test_a_refused_key_may_be_one_of_another_region(connect, region):
    api_url, data_url = REGIONS[region]
    client = connect(region=region, api_url=api_url, data_url=data_url)
    error = client.key_refused(Answer(403, b""), Secret("k", INTEGRATION_KEY))
    assert api_url in error.message
    regions = "us, us1, eu, jpn, au"
    assert f"PENDO_REGION, which is {region} (the regions are {regions}): a key is good in one region" in error.hint
    assert "PENDO_API_URL" not in error.hint


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed_and_says_where_to_and_no_more(sandbox, client, waits, status):
    nowhere, look_at = "to no host it names", "look at PENDO_API_URL"
    with Sandbox(switches=chosen()) as elsewhere:
        for location, where, hint in [
            (f"{elsewhere.url}{VALUES}", f"to {elsewhere.url} (HTTP {status})", "set PENDO_API_URL to it"),
            ("https://user:hunter2@proxy.example:8443/log?token=hunter2", "to https://proxy.example:8443 (", look_at),
            ("//proxy.example/hunter2", "to http://proxy.example (", look_at),
            ("/log-in?next=hunter2", "to another page of http://127.0.0.1:", look_at),
            ("https://[::1]:8443/#hunter2", "to https://[::1]:8443 (", look_at),
            *((odd, nowhere, look_at) for odd in ("https://[half/hunter2", "https://proxy.example:hunter2/", "", None)),
            *((odd, nowhere, look_at) for odd in ("https://pr\xf6xy\x1b[2J/hunter2", "ftp://proxy.example/hunter2")),
        ]:
            for call in (write, send_event):
                sandbox.fail(Fault("status", status=status, headers={} if location is None else {"Location": location}))
                with pytest.raises(PendoError, match="with a redirect") as caught:
                    call(client)
                assert where in caught.value.message
                assert hint in caught.value.hint
                assert "hunter2" not in str(caught.value)
        assert elsewhere.requests == []
    assert waits == []
    assert sandbox.visitors["v1"]["custom"].get("plan") is None
    # One to another region names it.
    us = Settings(region="us")
    where, hint = advice.of_redirect(us, us.api_url, "/api/v1/segment", "https://app.eu.pendo.io/login")
    assert (where, hint) == ("to https://app.eu.pendo.io", "Set PENDO_REGION to eu, where that host is.")


def test_a_host_that_does_not_answer_is_told_with_the_setting_that_names_it():
    (api, data), own = REGIONS["eu"], "https://pendo.acme.example"
    by_region, by_url = Settings(region="eu", api_url=api, data_url=data), Settings(api_url=own, data_url=data)
    for settings, host, told in (
        (by_region, api, "Look at PENDO_REGION (eu) and the network"),
        (by_region, data, "Look at PENDO_REGION (eu) and the network"),
        (by_url, own, "Look at PENDO_API_URL and the network"),
        (by_url, data, "Look at PENDO_DATA_URL and the network"),
    ):
        assert told in advice.of_fault(None, settings, host, by_proxy=False)


@pytest.mark.parametrize(
    ("attempts", "status", "words"),
    [
        *((1, 402, "no fault in the request: the contract.*rights.*PENDO_INTEGRATION_KEY"), (1, 407, "_PROXY|proxy")),
        *((1, 401, "PENDO_INTEGRATION_KEY"), (1, 403, "_KEY: .*write access"), (2, 500, "run it again")),
        *((1, 405, "PENDO_API_URL"), (1, 411, "proxy"), (1, 414, "proxy"), (1, 421, "PENDO_API_URL")),
        *((1, 426, "https"), (1, 451, "legal"), (1, 511, "log in with a browser")),
        *((2, 408, "smaller batch_size"), (2, 429, "PENDO_CONCURRENCY"), (2, 502, "gateway"), (2, 504, "in time")),
    ],
)
def test_what_no_row_is_to_blame_for_ends_the_sync_with_advice_that_fits(sandbox, connect, status, attempts, words):
    sandbox.fail(Fault("status", status=status, times=FOREVER))
    with pytest.raises(PendoError, match=f"HTTP {status}") as caught:
        write(connect(retries=1))
    assert re.search(words, caught.value.hint)
    assert attempts == 2 or status in (401, 403) or "PENDO_REGION" not in caught.value.hint
    assert "mapping" not in str(caught.value)
    assert len(sandbox.requests) == attempts


NESTED = {"error": {"error": "deep"}}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        *(({"error": "no such field"}, "no such field"), ({"message": "no  such\nfield", "code": 3}, "no such field")),
        *(({"errors": ["a", "b", "a"]}, "a; b"), ({"errors": [{"message": "a"}, {"detail": "b"}]}, "a; b")),
        *(({"error": {"code": 400, "message": "a"}}, "a"), ({"Error": "a", "message": "a"}, "a"), (NESTED, "deep")),
        *(({"error": "Bad Request", "message": "plan is unknown"}, "Bad Request: plan is unknown"), (["a", 1], "a")),
        *(({"error": 5}, '{"error":5}'), ({"error": ""}, '{"error":""}'), ({"code": 1}, '{"code":1}'), ("a", "a")),
        *(({"error": "key hunter2!"}, "key ***!"), ({"fault": {"faultstring": "a"}}, "a"), ({}, "{}"), (None, "null")),
    ],
)
def test_an_error_in_json_is_shown_as_its_message(sandbox, connect, body, said):
    client = connect(track_secrets={"": Secret("hunter2", TRACK_SECRET)}, retries=0)
    for status in (400, 422, 500):
        sandbox.fail(Fault("status", status=status, body=orjson.dumps(body).decode(), path=VALUES))
        if status == 500:
            with pytest.raises(PendoError, match=re.escape(f"the last: HTTP {status}: {said}.")):
                write(client)
        else:
            assert write(client).message == f"HTTP {status}: {said}"


def test_an_error_in_json_of_any_depth_is_read():
    text = b'{"error":' * 900 + b'"deep"' + b"}" * 900
    assert Answer(400, text).message.startswith('HTTP 400: {"error":{"error":')


@pytest.mark.parametrize(
    ("scheme", "status", "said", "attempts"),
    [
        ("http", "407 Proxy Authentication Required", "proxy on the way to .* wants a log-in", 1),
        ("https", "407 Proxy Authentication Required", "proxy on the way to .* wants a log-in", 1),
        # It lets nobody through.
        ("https", "403 Forbidden", "Tunnel connection failed: 403", 2),
    ],
)
def test_a_proxy_that_refuses_is_not_pendo(connect, by_proxy, scheme, status, said, attempts):
    with RawServer(lambda request: [ok(b"", status=status)]) as proxy:
        by_proxy(proxy.url.replace("//", "//user:hunter2@"))
        with pytest.raises(PendoError, match=said) as caught:
            write(connect(api_url=f"{scheme}://pendo.invalid", retries=1))
    assert f"{scheme.upper()}_PROXY" in caught.value.hint
    assert attempts == 2 or "PENDO_REGION" not in caught.value.hint
    assert "hunter2" not in everything_told(caught.value)
    assert len(proxy.requests) == attempts
    # Nor is one that is not there any more.
    with pytest.raises(PendoError, match="did not take") as caught:
        write(connect(api_url=f"{scheme}://pendo.invalid", retries=1))
    assert "hunter2" not in everything_told(caught.value)


def test_a_proxy_that_cannot_be_used_is_found_before_anything_is_sent(connect, by_proxy):
    for proxy in [
        *("http://user:hunter2%E2%82%AC@proxy.example:3128", "http://user:hunter2€@proxy.example:3128"),
        *("http://us\u0119r:hunter2@proxy.example:3128", "http://user:hunter2@:3128"),
        *("http://user:hunter2@proxy.example:99999", "http://user:hunter2@proxy.example:port"),
        *("http://user:p/hunter2@proxy.example", "http://user:hunter2@[proxy.example"),
        *("ftp://user:hunter2@proxy.example", "http://"),
    ]:
        by_proxy(proxy)
        with pytest.raises(ConfigError, match="HTTPS_PROXY: what it holds is no proxy's URL") as caught:
            write(connect(api_url="https://pendo.invalid"))
        assert "hunter2" not in everything_told(caught.value)


def test_certificates_and_hosts_that_cannot_be_used_are_found_before_anything_is_sent(connect, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ConfigError, match=r"REQUESTS_CA_BUNDLE: there is no /nowhere/ca\.pem"):
        write(connect())
    for host in ("https://*.pendo.io", f"https://\xfc{'x' * 70}.io"):
        with pytest.raises(ConfigError, match="PENDO_API_URL does not name a host"):
            connect(api_url=host)


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault("status", status=status) for status in (302, 400, 401, 403, 413, 429, 500)),
        *(Fault(action) for action in ("reset", "close", "truncate", "hang")),
    ],
)
@pytest.mark.parametrize("form", ["KEY", '{"error": "bad key KEY"}', "key=KEY&x=1", "KEY" * 40])
def test_a_secret_is_shown_nowhere_even_if_pendo_echoes_it(sandbox, connect, fault, form):
    client = connect(retries=0, timeout=0.1 if fault.action == "hang" else 20.0)
    for call, secret in ((write, sandbox.integration_key), (send_event, sandbox.track_secrets[""])):
        sandbox.fail(replace(fault, body=form.replace("KEY", secret)))
        told = f"{client!r} {vars(client)!r} {client.settings!r}"
        try:
            told += call(client).message
        except PendoError as error:
            told += everything_told(error)
        assert secret not in told
        # Not even in part: a body that is cut may end in the middle of it.
        assert secret[:12] not in told


ODD_SECRET = 'ab1/2"S+<x>&\\9f'


def test_a_secret_is_hidden_however_an_answer_spells_it():
    for spelt in [
        *(ODD_SECRET, ODD_SECRET.upper(), html.escape(ODD_SECRET), urllib.parse.quote(ODD_SECRET, safe="")),
        *("".join(f"\\u{ord(one):04x}" for one in ODD_SECRET), orjson.dumps(ODD_SECRET).decode()[1:-1]),
    ]:
        document = {"error": f"bad key {spelt}!", spelt: [{"missing": [spelt, 1, None]}]}
        answer = Answer(200, orjson.dumps(document), Secrets([Secret(ODD_SECRET, INTEGRATION_KEY)]))
        hidden = '{"error":"bad key ***!","***":[{"missing":["***",1,null]}]}'
        assert answer.told(answer.json["error"]) == "bad key ***!"
        assert (answer.told(answer.json), answer.message) == (hidden, f"HTTP 200: {hidden}")
