"""The server itself: its account of requests, its own paths, starting and stopping."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import requests
from harness.pendo import CHOSEN, chosen

from dbt_pendo.errors import ConfigError
from dbt_pendo.sandbox import Fault, Sandbox, Switches, load_subscription, serve

VERIFY = "/api/v1/token/verify"
EVENT = {"type": "track", "event": "E", "visitorId": "v1", "timestamp": 1}


def test_every_request_is_accounted_for(pendo, sandbox):
    before = time.time()
    pendo.write({"v1": {"plan": "x"}, "v2": {"plan": "y"}}, create=True)
    pendo.track(EVENT, key=sandbox.track_secrets["web"])
    pendo.get(VERIFY, key="garbage")
    write, track, _ = sandbox.requests
    assert (write.method, write.path, write.query) == ("POST", "/api/v1/metadata/visitor/custom/value", "create=true")
    assert [(request.records, request.key, request.status, request.fault) for request in sandbox.requests] == [
        *((2, "integration", 200, None), (1, "track:web", 200, None), (0, "unknown", 403, None))
    ]
    assert write.size == len(write.body) > 0
    assert before <= write.at <= time.time()
    assert sandbox.counters == {
        **{"requests": 3, "records": 3, "faults": 0, "bytes": write.size + track.size, "peak_concurrency": 1},
        "by_status": {"200": 2, "403": 1},
    }
    sandbox.forget_requests()
    assert (sandbox.requests, sandbox.counters["requests"]) == ([], 0)
    pendo.switch(keep_bodies=False)
    pendo.track(EVENT)
    assert (sandbox.requests[0].body, sandbox.requests[0].size > 0) == (b"", True)


def test_concurrent_writes_are_all_there_and_their_peak_is_known(pendo, sandbox):
    url = f"{sandbox.url}/api/v1/metadata/visitor/custom/value?create=true"
    headers = {"x-pendo-integration-key": sandbox.integration_key}

    def work(worker):
        with requests.Session() as session:
            for n in range(10):
                items = [{"visitorId": f"{worker}-{n}-{i}", "values": {"seats": i}} for i in range(10)]
                assert session.post(url, json=items, headers=headers, timeout=20).json()["updated"] == 10

    def wait(_):
        with contextlib.suppress(requests.RequestException):  # stopping the sandbox ends the wait
            requests.get(url, timeout=60)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
        assert len(sandbox.visitors) == 2 + 4 * 10 * 10
        sandbox.forget_requests()
        assert sandbox.peak_concurrency == 0
        sandbox.switches = chosen(latency_ms=(60_000, 60_000))
        waits = pool.map(wait, range(3))
        pendo.until(lambda: sandbox.peak_concurrency == 3)
        sandbox.stop()
        list(waits)
    assert sandbox.peak_concurrency == 3


def own(sandbox, method, path, body=None):
    return requests.request(method, f"{sandbox.url}/_sandbox/{path}", json=body, timeout=20)


def test_state_and_requests_over_http(pendo, sandbox):
    # What it shows in Python are copies.
    sandbox.visitors["v1"]["custom"]["plan"] = "changed"
    sandbox.visitors.clear()
    assert sandbox.visitors["v1"]["custom"] == {}
    pendo.write({"v1": {"plan": "x"}})
    pendo.track(EVENT)
    sandbox.add_segment("S", ["v1"])
    sandbox.fail(Fault(times=None))
    state = own(sandbox, "GET", "state").json()
    assert set(state) == {"visitors", "accounts", "parentAccounts", "events", "receipts", "segments"}
    assert state["visitors"]["v1"]["custom"] == {"plan": "x"}
    assert (state["events"], state["receipts"][0]["late"]) == ([EVENT], True)
    assert [s["visitors"] for s in state["segments"].values()] == [["v1"]]
    assert set(own(sandbox, "GET", "state?only=events,accounts").json()) == {"events", "accounts"}
    wrong = {("GET", "state?only=nonsense"): 400, ("GET", "nothing"): 404, ("GET", "seed"): 405}
    assert {(method, path): own(sandbox, method, path).status_code for method, path in wrong} == wrong
    account = own(sandbox, "GET", "requests").json()
    assert (account["counters"]["requests"], account["requests"][1]["path"]) == (2, "/data/track")
    assert '"visitorId"' in account["requests"][1]["body"]
    own(sandbox, "DELETE", "requests")
    assert sandbox.requests == []
    # All but the switches can be forgotten.
    pendo.switch(track_reply="json")
    assert own(sandbox, "POST", "reset").status_code == 200
    held = (sandbox.visitors, sandbox.accounts, sandbox.events, sandbox.segments, sandbox.requests, sandbox.faults)
    assert held == ({}, {}, [], {}, [], [])
    assert pendo.get("/api/v1/metadata/schema/visitor").json()["custom"] == {}
    assert sandbox.switches.track_reply == "json"


def test_faults_and_switches_over_http(pendo, sandbox):
    assert own(sandbox, "POST", "faults", {"action": "status", "status": 503}).status_code == 200
    own(sandbox, "POST", "faults", [{"status": 500, "times": None}, {"action": "garbage"}])
    assert [f["status"] for f in own(sandbox, "GET", "faults").json()] == [503, 500, 500]
    assert [pendo.get(VERIFY).status_code for _ in range(3)] == [503, 500, 500]
    own(sandbox, "DELETE", "faults")
    assert pendo.get(VERIFY).status_code == 200
    expected = replace(sandbox.switches, null="ignore", latency_ms=(0, 1))
    assert own(sandbox, "POST", "switches", {"null": "ignore", "latency_ms": [0, 1]}).json()["null"] == "ignore"
    assert sandbox.switches == expected
    assert own(sandbox, "GET", "switches").json()["latency_ms"] == [0, 1]
    wrong = {
        "faults": [{"action": "explode"}, {"nonsense": 1}, [{"status": 500}, 5]],
        "switches": [{"nul": "ignore"}, {"null": "maybe"}, {"requests_per_second": "fast"}, []],
        "seed": [{"visitor": ["x"]}, 5],
    }
    for path, bodies in wrong.items():
        assert {own(sandbox, "POST", path, body).status_code for body in bodies} == {400}
    assert "Did you mean null?" in own(sandbox, "POST", "switches", {"nul": "ignore"}).text
    assert requests.post(f"{sandbox.url}/_sandbox/faults", data=b"{", timeout=20).status_code == 400
    assert sandbox.faults == []


SUBSCRIPTION = {
    **{
        "visitors": ["s1"],
        "parentAccounts": ["s3"],
        "accounts": {"s2": {"custom": {"plan": "x"}, "auto__-9": {"n": 1}}},
    },
    "segments": [{"name": "S", "visitors": ["s1"]}, {"name": "By hand", "createdByApi": False}],
}
NAMED = {
    "visitor": {"custom": {"Plan": {"type": "string", "displayName": "The plan"}, "seats": "integer"}},
    "account": {"custom": {"plan": "string"}},
}
LISTED = [
    {"kind": "visitor", "group": "custom", "name": "Plan", "type": "string", "displayName": "The plan"},
    {"kind": "visitor", "group": "custom", "name": "seats", "type": "integer"},
    {"kind": "account", "group": "custom", "name": "plan", "type": "string"},
]


@pytest.fixture
def loaded(sandbox, tmp_path):
    """Gives an empty sandbox a subscription, by a file or over HTTP; returns what is wrong with it, or nothing."""

    def load(subscription, by):
        sandbox.reset()
        if by == "seed":
            answer = own(sandbox, "POST", "seed", subscription)
            assert answer.status_code == 400 or answer.json() == {"segmentIds": list(sandbox.segments)}
            return answer.text if answer.status_code == 400 else ""
        file = tmp_path / "subscription.json"
        file.write_text(json.dumps(subscription), encoding="utf-8")
        try:
            load_subscription(sandbox, file)
        except ConfigError as error:
            return error.message.partition(f"{file}: ")[2]
        return ""

    return load


both = pytest.mark.parametrize("by", ["load", "seed"])


@both
@pytest.mark.parametrize("fields", [NAMED, LISTED], ids=["named", "listed"])
def test_a_subscription_comes_from_a_file_or_over_http(pendo, sandbox, loaded, by, fields):
    assert loaded({**SUBSCRIPTION, "fields": fields}, by) == ""
    assert (list(sandbox.visitors), list(sandbox.parent_accounts)) == (["s1"], ["s3"])
    assert (sandbox.accounts["s2"]["custom"], sandbox.accounts["s2"]["auto__-9"]) == ({"plan": "x"}, {"n": 1})
    segments = [(one["name"], one["visitors"], one["createdByApi"]) for one in sandbox.segments.values()]
    assert segments == [("S", ["s1"], True), ("By hand", [], False)]
    schema = pendo.get("/api/v1/metadata/schema/visitor").json()["custom"]
    found = {key: (field["Type"], field["DisplayName"]) for key, field in schema.items()}
    assert found == {"plan": ("string", "The plan"), "seats": ("integer", "seats")}


FIELD = LISTED[0]


@both
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"visitor": ["x"]}, "visitor: did you mean visitors?"),
        ({"parent_accounts": ["x"]}, "parent_accounts: did you mean parentAccounts?"),
        ({"segments": [{"name": "S", "visitor": ["x"]}]}, "segments[0].visitor: did you mean visitors?"),
        ({"segments": [{"name": "S"}, {"name": "T", "createdByAPI": True}]}, "segments[1].createdByAPI: did you mean"),
        ({"segments": [{"visitors": ["x"]}]}, "segments[0]: name is missing"),
        ({"segments": [{"name": "S", "createdByApi": "no"}]}, "segments[0].createdByApi: expected true or false"),
        ({"segments": [{"name": "S", "visitors": "x"}]}, 'segments[0].visitors: expected an array, not "x"'),
        ({"fields": {"visitors": {"custom": {}}}}, "fields.visitors: did you mean visitor?"),
        ({"fields": {"visitor": {"costum": {}}}}, "fields.visitor.costum: did you mean custom?"),
        (
            {"fields": {"visitor": {"custom": {"plan": "sting"}}}},
            'fields.visitor.custom.plan: "sting": did you mean str',
        ),
        (
            {"fields": {"visitor": {"custom": {"plan": {"typ": ""}}}}},
            "fields.visitor.custom.plan.typ: did you mean type?",
        ),
        ({"fields": {"visitor": {"custom": {"plan": {}}}}}, "fields.visitor.custom.plan: type is missing"),
        ({"fields": {"visitor": {"custom": {"plan": 5}}}}, "fields.visitor.custom.plan: expected a text or an object"),
        ({"fields": {"visitor": {"custom": {"a plan": "string"}}}}, "fields.visitor.custom.a plan: invalid field name"),
        ({"fields": {"visitor": 1}}, "fields.visitor: expected an object, not 1"),
        ({"fields": [{**FIELD, "displayname": "x"}]}, "fields[0].displayname: did you mean displayName?"),
        ({"fields": [FIELD, {**FIELD, "kind": "page"}]}, 'fields[1].kind: "page": expected account, parentAcc'),
        ({"fields": [{}]}, "fields[0]: group is missing"),
        ({"visitors": ["x", 5]}, "visitors[1]: expected a text, not 5"),
        ({"visitors": {"v.1": {"custm": {}}}}, "visitors.v.1.custm: did you mean custom?"),
        ({"accounts": {"a1": {"custom": ["x"]}}}, 'accounts.a1.custom: expected an object, not ["x"]'),
        ({"accounts": {"a1": {"auto__x": {}}}}, "accounts.a1.auto__x: did you mean auto?"),
        ({"visitors": None}, "visitors: expected an array or an object, not null"),
        ({"fields": NAMED, "visitors": {"a": {"custom": {"Plan": 1}}}}, "visitors.a.custom.Plan: did you mean plan?"),
        ({"accounts": {"a": {"pendo": {"donotproces": True}}}}, "accounts.a.pendo.donotproces: did you mean donotp"),
        (
            {"fields": NAMED, "parentAccounts": {"a": {"custom": {"plan": "x"}}}},
            "parentAccounts.a.custom.plan: no such field under fields.parentAccount.custom",
        ),
        ([], "the subscription: expected an object, not []"),
    ],
)
def test_a_subscription_that_is_none_is_told_by_its_path(sandbox, loaded, by, wrong, told):
    assert loaded(wrong, by).startswith(told)
    assert (sandbox.visitors, sandbox.accounts, sandbox.segments) == ({}, {}, {})


def test_a_file_that_is_no_json(sandbox, tmp_path):
    file = tmp_path / "subscription.json"
    for content in (b"{", b"\xff", b"", b"[" * 100_000):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"subscription\.json is no JSON"):
            load_subscription(sandbox, file)


def test_impossible_switches():
    for name, wrong in [
        *(("null", "maybe"), ("latency_ms", (1,)), ("latency_ms", ("a", "b")), ("keep_bodies", 1)),
        *(("max_body_bytes", 1.5), ("creatable_types", "string"), ("too_many_records_status", 500)),
        *(("deletion_seconds", "soon"), ("latency_ms", 5)),
    ]:
        with pytest.raises(ConfigError, match=name):
            Switches(**{name: wrong})
    assert all(one["values"] and one["meaning"] for one in Switches.described())


def test_tests_choose_each_switch_whose_default_no_source_gives():
    bodies = {"error_bodies", "undocumented_replies", "track_reply", "omit_empty_lists"}
    segments = {"segment_status_seconds", "segment_command_case", "segment_second_job", "max_segment_visitors"}
    documented = {"wrong_key_status", "bulk_write_seconds", "creatable_types", *bodies, *segments}
    assert {one["switch"] for one in Switches.described()} - documented - {"keep_bodies"} == CHOSEN.keys()


def test_stopping_ends_all_threads_and_connections():
    before = set(threading.enumerate())
    with Sandbox() as sandbox, requests.Session() as idle:
        url = sandbox.url
        assert url.startswith("http://127.0.0.1:")
        assert idle.get(url + VERIFY, timeout=20).status_code == 403
        sandbox.fail(Fault("hang", seconds=600))
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(url + VERIFY, timeout=0.2)
    assert set(threading.enumerate()) <= before
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=20)
    with pytest.raises(RuntimeError):
        _ = sandbox.url
    sandbox.stop()


def test_it_can_start_again_and_keeps_its_data(capfd):
    heard = []
    sandbox = Sandbox(on_request=heard.append)
    sandbox.add_visitors(["v"])
    for _ in range(2):
        with sandbox:
            assert requests.get(sandbox.url + VERIFY, timeout=20).status_code == 403
            port = int(sandbox.url.rsplit(":", 1)[1])
            for start in (Sandbox(port).start, lambda port=port: serve(port)):
                with pytest.raises(ConfigError, match=str(port)):
                    start()
            # A client that dies while sending leaves nothing.
            with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
                raw.sendall(b"POST /data/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert (len(sandbox.requests), list(sandbox.visitors)) == (2, ["v"])
    assert heard == sandbox.requests
    assert capfd.readouterr().err == ""


def test_serve_runs_until_ctrl_c():
    # Shells ignore the signal for jobs in the background.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from dbt_pendo.sandbox import serve; serve(0, on_start=lambda sandbox: print(sandbox.url, flush=True))"
    )
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **outputs) as process:
        url = process.stdout.readline().strip()
        assert requests.get(url + VERIFY, timeout=20).status_code == 403
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
