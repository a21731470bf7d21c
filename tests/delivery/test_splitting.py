"""Any rows at fault, any size of batch, any way to say it: every row is judged, and those at fault stand alone."""

import math
import os
import string
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from harness.pendo import chosen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sending import EVENTS, VISITORS, Settled, deliver_all, event, most_requests, record, set_up

from dbt_pendo.delivery.send import HOPELESS, EverythingRefusedError, Sender
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.records.render import Record
from dbt_pendo.sandbox import Fault, Sandbox

quickly = settings(
    max_examples=int(os.environ.get("SOAK", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def pendo() -> Iterator[Sandbox]:
    with Sandbox(switches=chosen()) as running:
        yield running


def visitor(number: int, seats: Any, health: Any = None) -> Record:
    return record(VISITORS, number, seats, health)


# What is wrong with a row: nothing, its value, or that Pendo does not know it.
troubles = st.lists(
    st.sampled_from(["delivered", "delivered", "delivered", "rejected", "missing"]), min_size=1, max_size=70
)
sizes = st.integers(1, 70)
styles = st.fixed_dictionaries(
    {
        "error_items": st.sampled_from(["named", "unnamed", "object"]),
        "type_mismatch": st.sampled_from(["record error", "refuse call"]),
        "error_bodies": st.sampled_from(["text", "json", "empty"]),
        "omit_empty_lists": st.booleans(),
    }
)


@quickly
@given(troubles, sizes, styles)
def test_each_row_is_judged_rightly_and_reported_once(pendo, wanted, size, style):
    set_up(pendo, **style)
    pendo.add_visitors([f"r{number}" for number, status in enumerate(wanted) if status != "missing"])
    records = [
        visitor(number, f"many-{number}" if status == "rejected" else number) for number, status in enumerate(wanted)
    ]

    settled = deliver_all(pendo, VISITORS, records, size)

    assert settled.statuses() == wanted
    held = {key: record["custom"] for key, record in pendo.visitors.items() if key != "rproof"}
    assert held == {
        f"r{number}": {"seats": number} if status == "delivered" else {}
        for number, status in enumerate(wanted)
        if status != "missing"
    }
    for number, status in enumerate(wanted):
        detail = settled.outcomes["000", number].detail
        assert (detail is None) == (status == "delivered")
        if status == "rejected" and not (style["type_mismatch"] == "refuse call" and style["error_bodies"] == "empty"):
            assert f"many-{number}'" in detail
    calls = math.ceil(len(records) / size)
    # Texts that seem to name a record are made sure of, once a batch.
    named = style["type_mismatch"] == "record error" and style["error_items"] == "named"
    most = 2 * calls if named else most_requests(calls, wanted.count("rejected"), size)
    if style["type_mismatch"] == "record error" and style["error_items"] == "object":
        most = calls
    assert len(pendo.requests) <= most


@quickly
@given(
    st.lists(
        st.tuples(st.sampled_from(["good", "bad", "none"]), st.sampled_from(["good", "bad"])), min_size=1, max_size=40
    ),
    sizes,
    styles,
    st.booleans(),
)
def test_a_row_of_two_groups_is_as_bad_as_its_worse_one(pendo, rows, size, style, turned):
    set_up(pendo, **style)
    pendo.add_visitors([f"r{number}" for number in range(len(rows))])
    values = {"good": 1, "bad": "many", "none": None}
    pairs = [(health, seats) if turned else (seats, health) for seats, health in rows]
    records = [visitor(number, values[seats], values[health]) for number, (seats, health) in enumerate(pairs)]

    settled = deliver_all(pendo, VISITORS, records, size)

    assert settled.statuses() == ["rejected" if "bad" in pair else "delivered" for pair in pairs]
    for number, (seats, health) in enumerate(pairs):
        held = pendo.visitors[f"r{number}"]
        assert held["custom"] == ({"seats": 1} if seats == "good" else {})
        assert held["agent"] == ({"health": 1} if health == "good" else {})


@quickly
@given(st.lists(st.booleans(), min_size=1, max_size=70), sizes, st.sampled_from(["text", "json", "empty"]))
def test_atomic_refusals_deliver_each_neighbour_exactly_once(pendo, wanted, size, bodies):
    set_up(pendo, error_bodies=bodies)
    records = [event(EVENTS, number, at=int(good)) for number, good in enumerate(wanted)]

    settled = deliver_all(pendo, EVENTS, records, size)

    assert settled.statuses() == ["delivered" if good else "rejected" for good in wanted]
    received = Counter(event["visitorId"] for event in pendo.events if event["visitorId"] != "rproof")
    assert received == {f"r{number}": 1 for number, good in enumerate(wanted) if good}
    if bodies == "text":
        details = {outcome.detail for outcome in settled.outcomes.values()} - {None}
        assert details <= {"HTTP 400: timestamp must be a whole number of milliseconds"}
    assert len(pendo.requests) <= most_requests(math.ceil(len(records) / size), wanted.count(False), size)


@quickly
@given(st.lists(st.integers(1, 400), min_size=1, max_size=50), st.integers(60, 1500), sizes)
def test_batches_of_any_size_end_up_below_what_pendo_takes(pendo, lengths, limit, size):
    set_up(pendo, max_body_bytes=limit)
    records = [event(EVENTS, number, name="x" * length) for number, length in enumerate(lengths)]
    alone = [
        len(f'{{"type":"track","event":"","visitorId":"r{n}","timestamp":1}}') + length
        for n, length in enumerate(lengths)
    ]

    settled = Settled()
    try:
        settled = deliver_all(pendo, EVENTS, records, size, proven=False)
    except EverythingRefusedError:
        # The first few were all too large.
        assert all(length > limit for length in sorted(alone)[-HOPELESS:])
        return

    assert settled.statuses() == ["delivered" if length <= limit else "rejected" for length in alone]
    received = Counter(event["visitorId"] for event in pendo.events)
    assert received == {f"r{number}": 1 for number, length in enumerate(alone) if length <= limit}


@pytest.mark.parametrize("size", [1, 7, 500])
@pytest.mark.parametrize("type_mismatch", ["record error", "refuse call"])
@pytest.mark.parametrize("error_items", ["named", "unnamed", "object"])
def test_when_every_row_is_of_the_wrong_type_the_sync_stops_after_few_requests(pendo, size, type_mismatch, error_items):
    set_up(pendo, type_mismatch=type_mismatch, error_items=error_items)
    pendo.add_visitors([f"r{number}" for number in range(500)])
    # Each says something else that is wrong.
    values = [f"{letter}{number}" for number in range(20) for letter in string.ascii_lowercase][:500]
    records = [visitor(number, value) for number, value in enumerate(values)]

    with pytest.raises(EverythingRefusedError, match="expected a whole number"):
        deliver_all(pendo, VISITORS, records, size, proven=False)

    assert len(pendo.requests) <= Sender.judged_before_breaking


@pytest.mark.parametrize("size", [1, 20])
def test_bad_events_at_the_front_do_not_sink_the_others(pendo: Sandbox, size: int) -> None:
    """Ten rows refused for one reason, before any other had its turn."""
    set_up(pendo)
    records = [event(EVENTS, number, at=int(number >= 10)) for number in range(40)]
    settled = deliver_all(pendo, EVENTS, records, size, proven=False)
    assert settled.statuses() == ["rejected"] * 10 + ["delivered"] * 30
    assert len(pendo.events) == 30


def test_events_delivered_before_their_batch_failed_are_told_so(pendo: Sandbox) -> None:
    """A batch is halved for one bad event; its first half is taken, then Pendo is gone."""
    set_up(pendo)
    pendo.fail(Fault(status=400, body="the request holds an invalid event", body_contains='"r0"'))
    pendo.fail(Fault(status=503, body_contains='"r19"', times=None))
    settled = Settled()
    with pytest.raises(DbtPendoError, match="did not take"):
        deliver_all(pendo, EVENTS, [event(EVENTS, number) for number in range(20)], 20, settled=settled)
    assert settled.statuses() == ["delivered"] * 10
    assert sorted(one["visitorId"] for one in pendo.events if one["visitorId"] != "rproof") == sorted(
        f"r{number}" for number in range(10)
    )


@pytest.mark.parametrize("bystander", ["seats", "many"], ids=["a field's name", "a value"])
def test_a_bystander_that_a_text_seems_to_name_is_delivered(pendo, bystander):
    set_up(pendo, error_items="unnamed")
    pendo.add_visitors([bystander, "r1", "r2", "r3"])
    innocent = Record(("000", 0), bystander, ({"visitorId": bystander, "values": {"seats": 7}}, None))

    settled = deliver_all(pendo, VISITORS, [innocent, visitor(1, 7), visitor(2, "many"), visitor(3, 7)], 10)

    assert settled.statuses() == ["delivered", "delivered", "rejected", "delivered"]
    assert settled.outcomes["000", 2].detail == "field 'seats': expected a whole number, got 'many'"
    assert pendo.visitors[bystander]["custom"] == {"seats": 7}
