from dbt_pendo.delivery.events import count_warnings, property_name_warnings
from dbt_pendo.mapping.objects import EventCounts

EVENT = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "v", "timestamp": "t"}


def test_names_pendo_cannot_show(parse):
    faults = {
        "p" * 33: "has more than 32 characters",
        **dict.fromkeys(["amount (usd)", "größe"], "has more than letters, digits and underscores"),
        **{"2fa": "starts with a digit", "__plan__": "stands between double underscores"},
    }
    fine = dict.fromkeys(["p" * 32, "_plan_", "__plan", "plan2", "Plan"])
    (spec,), _ = parse({**EVENT, "properties": dict.fromkeys({**faults, **fine}, "x")})
    assert property_name_warnings(spec) == [
        f"Pendo accepts the event property `{name}` but cannot show it: its name {fault}"
        for name, fault in faults.items()
    ]
    # A visitor has no properties.
    (spec,), _ = parse({"object": "visitor", "visitor_id": "id", "fields": {"p" * 33: "x"}})
    assert property_name_warnings(spec) == []


def test_counts_in_words():
    assert count_warnings(EventCounts(late=1200, future=2, oversized=3, names=5001)) == [
        "1,200 events older than 7 days: Pendo answers 200 and drops such events; `max_age: 7 days` leaves them out",
        "2 events in the future: what Pendo does with such events is not documented",
        "3 events with properties of more than about 512 bytes: Pendo answers 200 and shows that they are too large",
        "the model has 5,001 event names: Pendo answers 200 and keeps 5,000 an app",
    ]
    assert count_warnings(EventCounts(late=1, future=1, oversized=1)) == [
        "1 event older than 7 days: Pendo answers 200 and drops such events; `max_age: 7 days` leaves them out",
        "1 event in the future: what Pendo does with such events is not documented",
        "1 event with properties of more than about 512 bytes: Pendo answers 200 and shows that they are too large",
    ]
    for calm in (EventCounts(), EventCounts(names=5000), EventCounts(left_out=7)):
        assert count_warnings(calm) == []
