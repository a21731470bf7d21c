"""Track events."""

from __future__ import annotations

import time

import pytest


def event(**changes):
    body = {
        "type": "track",
        "event": "Registered",
        "visitorId": "v1",
        "accountId": "a1",
        "timestamp": int(time.time() * 1000),
        "properties": {"plan": "Pro"},
        "context": {},
    }
    body.update(changes)
    return {k: v for k, v in body.items() if v is not ...}


INVALID = [
    event(type="page"),
    event(type=...),
    event(event=""),
    event(event=...),
    event(event=5),
    event(visitorId=""),
    event(visitorId=...),
    event(visitorId=5),
    event(timestamp=...),
    event(timestamp="2024-01-01T00:00:00Z"),
    event(timestamp=1.5),
    event(timestamp=True),
    event(timestamp=0),
    event(accountId=None),
    event(properties=[]),
    event(context="x"),
    "text",
    None,
]


def test_an_event_is_kept_as_it_came(pendo, sandbox):
    first, second = event(), event(event="Other", properties=..., context=..., accountId=...)
    for body in (first, second, first):
        answer = pendo.track(body)
        assert (answer.status_code, answer.content) == (200, b"")
    assert sandbox.events == [first, second, first]
    receipts = sandbox.receipts
    assert [r.received_at for r in receipts] == sorted(r.received_at for r in receipts)
    assert not any(r.late or r.ignored or r.warnings for r in receipts)


@pytest.mark.parametrize("body", INVALID)
def test_invalid_events_are_400(pendo, sandbox, body):
    answer = pendo.call("POST", "/data/track", json=body)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (400, "text/plain")
    assert sandbox.events == []


def test_malformed_json_is_400(pendo):
    assert pendo.call("POST", "/data/track", data=b"{").status_code == 400


@pytest.mark.parametrize("body", INVALID)
def test_an_array_is_atomic(pendo, sandbox, body):
    assert pendo.track([event(), body, event()]).status_code == 400
    assert sandbox.events == []
    good = [event(), event(event="Other")]
    assert pendo.track(good).status_code == 200
    assert sandbox.events == good


def test_an_array_may_be_accepted_for_what_is_valid(pendo, sandbox):
    pendo.switch(event_arrays="accept")
    assert pendo.track([event(), event(type="page"), event(event="Other")]).status_code == 200
    assert [e["event"] for e in sandbox.events] == ["Registered", "Other"]


def test_arrays_may_be_refused(pendo, sandbox):
    pendo.switch(event_arrays="reject")
    assert pendo.track([event()]).status_code == 400
    assert sandbox.events == []
    assert pendo.track(event()).status_code == 200


def test_a_first_event_creates_the_visitor(pendo, sandbox):
    pendo.track(event(visitorId="new", timestamp=5000, accountId="a1"))
    pendo.track(event(visitorId="new", timestamp=4000, accountId="a2"))
    automatic = sandbox.visitors["new"]["auto"]
    assert (automatic["firstvisit"], automatic["lastvisit"]) == (4000, 5000)
    assert (automatic["accountid"], automatic["accountids"]) == ("a2", ["a1", "a2"])
    assert sandbox.accounts["a1"]["auto"]["lastvisit"] == 5000
    assert "a2" not in sandbox.accounts
    pendo.switch(events_create_accounts=True)
    pendo.track(event(accountId="a2"))
    assert "a2" in sandbox.accounts


def test_late_events_are_taken_and_flagged(pendo, sandbox):
    now = int(time.time() * 1000)
    week = 7 * 24 * 3600 * 1000
    for timestamp in (now - week + 60_000, now - week - 60_000, now + 60_000):
        assert pendo.track(event(timestamp=timestamp)).status_code == 200
    assert [r.late for r in sandbox.receipts] == [False, True, False]
    pendo.switch(refuse_late_events=True)
    assert pendo.track(event(timestamp=now - week - 60_000)).status_code == 400
    assert pendo.track(event()).status_code == 200


@pytest.mark.parametrize(
    ("properties", "warned"),
    [
        ({"a" * 32: 1, "_x9": 1}, False),
        ({"a" * 33: 1}, True),
        ({"9x": 1}, True),
        ({"with space": 1}, True),
        ({"__x__": 1}, True),
        ({"x": "y" * 504}, False),
        ({"x": "y" * 505}, True),
    ],
)
def test_what_pendo_holds_against_properties_is_a_warning(pendo, sandbox, properties, warned):
    assert pendo.track(event(properties=properties)).status_code == 200
    assert bool(sandbox.receipts[0].warnings) is warned


def test_events_of_the_future_are_taken_and_flagged(pendo, sandbox):
    ahead = int(time.time() * 1000) + 3600 * 1000
    pendo.track(event())
    pendo.track(event(timestamp=ahead))
    assert [r.future for r in sandbox.receipts] == [False, True]
    pendo.switch(refuse_future_events=True)
    assert pendo.track(event(timestamp=ahead)).status_code == 400
    assert pendo.track(event()).status_code == 200


def test_names_beyond_the_limit_of_an_app_are_taken_and_flagged(pendo, sandbox):
    names = [f"E{number}" for number in range(5001)]
    for start in range(0, len(names), 1000):
        assert pendo.track([event(event=name) for name in names[start : start + 1000]]).status_code == 200
    pendo.track(event(event="E0"))
    pendo.track(event(event="E5000"), key=sandbox.track_secrets["web"])
    assert [r.body["event"] for r in sandbox.receipts if r.warnings] == ["E5000"]
    assert len(pendo.get("/api/v1/tracktype").json()) == 5001


def test_keys_beyond_the_limit_are_taken_and_flagged(pendo, sandbox):
    for start in range(0, 10_000, 50):
        pendo.track(event(properties={f"p{number}": 1 for number in range(start, start + 50)}))
    pendo.track(event(properties={"p7": 1}))
    pendo.track(event(properties={"p7": 1, "new": 1}))
    flagged = [r.body["properties"] for r in sandbox.receipts if "more than 10000 property keys" in r.warnings]
    assert flagged == [{"p7": 1, "new": 1}]


def test_a_late_event_defines_no_type(pendo):
    pendo.track(event(timestamp=5000))
    assert pendo.get("/api/v1/tracktype").json() == []
    pendo.track(event())
    assert [t["name"] for t in pendo.get("/api/v1/tracktype").json()] == ["Registered"]


def test_track_switches(pendo):
    pendo.switch(track_reply="json", context_required=True)
    assert pendo.track(event()).json() == {"status": "ok"}
    assert pendo.track(event(context=...)).status_code == 400


def test_track_types_are_listed(pendo, sandbox):
    for name, app in (("A", ""), ("B", ""), ("A", ""), ("A", "web")):
        pendo.track(event(event=name), key=sandbox.track_secrets[app])
    types = pendo.get("/api/v1/tracktype").json()
    assert [(t["name"], t["app"]) for t in types] == [("A", ""), ("B", ""), ("A", "web")]
    assert pendo.get(f"/api/v1/tracktype?id={types[1]['id']}").json() == [types[1]]
