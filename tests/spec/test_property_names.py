from __future__ import annotations

import pytest

from dbt_pendo.spec.property_names import property_name_warnings

EVENT = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "v", "timestamp": "t"}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("p" * 33, "has 33 characters, at most 32 work"),
        ("amount (usd)", "has more than letters, digits and underscores"),
        ("größe", "has more than letters, digits and underscores"),
        ("2fa", "starts with a digit"),
        ("__plan__", "stands between double underscores"),
    ],
)
def test_names_pendo_cannot_show(parse, name, fault):
    specs, _ = parse({**EVENT, "properties": {name: "x", "fine": "y"}})
    assert property_name_warnings(specs[0]) == [
        f"users: Pendo accepts the event property `{name}` but cannot show it: its name {fault}"
    ]


@pytest.mark.parametrize("name", ["p" * 32, "_plan_", "__plan", "plan2", "Plan"])
def test_names_pendo_shows(parse, name):
    specs, _ = parse({**EVENT, "properties": {name: "x"}})
    assert property_name_warnings(specs[0]) == []


def test_a_visitor_has_no_properties(parse):
    specs, _ = parse({"object": "visitor", "visitor_id": "id", "fields": {"p" * 33: "x"}})
    assert property_name_warnings(specs[0]) == []
