"""What fields and event properties may be called; and what else is said of events."""

from hypothesis import given
from hypothesis import strategies as st

from dbt_pendo.delivery.events import count_warnings, property_name_warnings
from dbt_pendo.mapping.objects import FIELD_NAME, EventCounts, field_name_spelling

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
    late = "older than 7 days: Pendo answers 200 and drops such events; `max_age: 7 days` leaves them out"
    future = "in the future: what Pendo does with such events is not documented"
    oversized = "with properties of more than about 512 bytes: Pendo answers 200 and shows that they are too large"
    names = "the model has 5,001 event names: Pendo answers 200 and keeps 5,000 an app"
    told = count_warnings(EventCounts(late=1200, future=2, oversized=3, names=5001))
    assert told == [f"1,200 events {late}", f"2 events {future}", f"3 events {oversized}", names]
    told = count_warnings(EventCounts(late=1, future=1, oversized=1))
    assert told == [f"1 event {late}", f"1 event {future}", f"1 event {oversized}"]
    for calm in (EventCounts(), EventCounts(names=5000), EventCounts(left_out=7)):
        assert count_warnings(calm) == []


def test_names_get_a_spelling_pendo_takes() -> None:
    spellings = {
        **{"plan (new)": "plan_new", "2fa": "_2fa", "Größe": "Gro_e", "Prénom": "Prenom"},
        **{"": "field", "名前": "field", "plan\n": "plan"},
    }
    assert {name: field_name_spelling(name) for name in spellings} == spellings
    assert not any(map(FIELD_NAME.fullmatch, spellings))


@given(st.text())
def test_every_spelling_is_a_name(name: str) -> None:
    assert FIELD_NAME.fullmatch(field_name_spelling(name))
    assert all(FIELD_NAME.fullmatch(known) for known in ("plan", "_plan", "SFDC_Profile", "a1"))
