"""Track events."""

import time

import pytest


def event(**changes):
    body = {
        **{"type": "track", "event": "Registered", "visitorId": "v1", "accountId": "a1"},
        **{"timestamp": int(time.time() * 1000), "properties": {"plan": "Pro"}, "context": {}},
        **changes,
    }
    return {k: v for k, v in body.items() if v is not ...}


WRONG = {
    **{"type": ["page", ...], "event": ["", ..., 5], "visitorId": ["", ..., 5], "accountId": [None]},
    **{"timestamp": [..., "2024-01-01T00:00:00Z", 1.5, True, 0], "properties": [[]], "context": ["x"]},
}
INVALID = ["text", None, *(event(**{key: value}) for key, values in WRONG.items() for value in values)]


def test_an_event_is_kept_as_it_came(pendo, sandbox):
    first, second = event(), event(event="Other", properties=..., context=..., accountId=...)
    for body in (first, second, first):
        answer = pendo.track(body)
        assert (answer.status_code, answer.content) == (200, b"")
    assert sandbox.events == [first, second, first]
    assert not any(r.late or r.ignored or r.warnings for r in sandbox.receipts)
    received_at = [r.received_at for r in sandbox.receipts]
    assert received_at == sorted(received_at)


@pytest.mark.parametrize("body", INVALID)
def test_an_invalid_event_is_400_and_an_array_is_atomic(pendo, sandbox, body):
    answer = pendo.call("POST", "/data/track", json=body)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (400, "application/json")
    assert pendo.track([event(), body, event()]).status_code == 400
    assert sandbox.events == []


def test_an_array_is_taken_whole_or_for_what_is_valid_or_not_at_all(pendo, sandbox):
    good = [event(), event(event="Other")]
    assert pendo.track(good).status_code == 200
    pendo.switch(event_arrays="accept")
    assert pendo.track([event(event="Third"), event(type="page"), event(event="Fourth")]).status_code == 200
    assert [e["event"] for e in sandbox.events] == ["Registered", "Other", "Third", "Fourth"]
    pendo.switch(event_arrays="reject", track_reply="json")
    assert pendo.track([event()]).status_code == 400
    assert pendo.track(event()).json() == {"status": "ok"}
    assert pendo.call("POST", "/data/track", data=b"{").status_code == 400
    assert len(sandbox.events) == 5


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


def test_late_and_future_events_are_taken_and_flagged(pendo, sandbox):
    now = int(time.time() * 1000)
    week, hour, minute = 7 * 24 * 3600 * 1000, 3600 * 1000, 60_000
    assert pendo.track(event(timestamp=now - week - minute)).status_code == 200
    # A late event defines no type.
    assert pendo.get("/api/v1/tracktype").json() == []
    for timestamp in (now - week + minute, now, now + minute, now + hour):
        assert pendo.track(event(timestamp=timestamp)).status_code == 200
    assert [(r.late, r.future) for r in sandbox.receipts] == [(True, False), *[(False, False)] * 3, (False, True)]
    pendo.switch(refuse_late_events=True, refuse_future_events=True)
    assert pendo.track(event(timestamp=now - week - minute)).status_code == 400
    assert pendo.track(event(timestamp=now + hour)).status_code == 400
    assert pendo.track(event()).status_code == 200


def test_names_beyond_the_limit_of_an_app_are_taken_and_flagged(pendo, sandbox):
    for name, app in (("A", ""), ("B", ""), ("A", ""), ("A", "web")):
        pendo.track(event(event=name), key=sandbox.track_secrets[app])
    types = pendo.get("/api/v1/tracktype?expand=*").json()
    default, web = sandbox.app_ids[""], sandbox.app_ids["web"]
    assert [(t["name"], t["appId"]) for t in types] == [("A", default), ("B", default), ("A", web)]
    assert pendo.get(f"/api/v1/tracktype?id={types[2]['id']}").json() == [types[2]]
    # Without a word of apps only those of the default one.
    assert pendo.get("/api/v1/tracktype").json() == pendo.get(f"/api/v1/tracktype?appId={default}").json() == types[:2]
    assert pendo.get(f"/api/v1/tracktype?appId={web}").json() == types[2:]
    for start in range(0, 5000, 1000):
        names = [f"E{number}" for number in range(start, start + 1000)]
        assert pendo.track([event(event=name) for name in names]).status_code == 200
    pendo.track(event(event="E0"))
    pendo.track(event(event="E4999"), key=sandbox.track_secrets["web"])
    assert [r.body["event"] for r in sandbox.receipts if r.warnings] == ["E4998", "E4999"]
    assert len(pendo.get("/api/v1/tracktype?expand=*").json()) == 5002


def test_what_pendo_holds_against_properties_is_a_warning(pendo, sandbox):
    properties = [
        *({"a" * 32: 1, "_x9": 1}, {"x": "y" * 504}),
        *({"a" * 33: 1}, {"9x": 1}, {"with space": 1}, {"__x__": 1}, {"x": "y" * 505}),
    ]
    for one in properties:
        assert pendo.track(event(properties=one)).status_code == 200
    assert [bool(receipt.warnings) for receipt in sandbox.receipts] == [False] * 2 + [True] * 5
    sandbox.reset()
    # Keys beyond the limit of an app.
    numbers = [list(range(start, start + 50)) for start in range(0, 10_000, 50)]
    for start in range(0, len(numbers), 50):
        pendo.track([event(properties={f"p{n}": 1 for n in some}) for some in numbers[start : start + 50]])
    pendo.track(event(properties={"p7": 1}))
    pendo.track(event(properties={"p7": 1, "new": 1}))
    flagged = [r.body["properties"] for r in sandbox.receipts if "more than 10000 property keys" in r.warnings]
    assert flagged == [{"p7": 1, "new": 1}]


def test_an_event_that_lacks_a_field_may_be_dropped_in_silence(pendo, sandbox):
    pendo.switch(incomplete_events="drop")
    for key in ("type", "event", "visitorId", "timestamp"):
        assert pendo.track(event(**{key: ...})).status_code == 200
    assert (pendo.track({}).status_code, pendo.track([event(event=""), event()]).status_code) == (200, 200)
    assert len(sandbox.events) == 1
    # What is there is judged.
    assert pendo.track(event(timestamp="soon")).status_code == 400
