"""Every row judged: what is refused as a whole is split until the row at fault stands alone."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop import KINDS, STRANGERS, Kind, Shop, at

from dbt_pendo.delivery import send as deliver
from dbt_pendo.delivery.send import EverythingRefusedError, Sender
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.delivery.writers import make_writers
from dbt_pendo.mapping.spec import Column, Event, Field, SyncSpec
from dbt_pendo.outcomes import DELIVERED, Outcome, Position
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.records.batches import Batch
from dbt_pendo.records.render import Record
from dbt_pendo.sandbox import Fault, Sandbox, Switches
from dbt_pendo.secret import Secret
from dbt_pendo.settings import Settings

FEW = 30

kinds = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
# An event alone has nothing to be split from.
batches = pytest.mark.parametrize("kind", [pytest.param(KINDS[n], id=n) for n in ("visitor", "account", "batch")])


def most_requests(batches: int, bad: int, size: int) -> int:
    """What splitting may cost: the batches, two halves a level for each row at fault, and a look at a few rows."""
    return batches + 2 * bad * math.ceil(math.log2(max(size, 2))) + (deliver.HOPELESS if bad else 0)


# By the command line: whole syncs.


@kinds
@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_the_row_at_fault_stands_alone_with_pendos_own_words(
    shop: Shop, sandbox: Sandbox, kind: Kind, status: int
) -> None:
    body = f"record {kind.marked}:\n'{status}' is why"
    sandbox.fail(at(kind, Fault(status=status, body=body, times=None), marked=True))

    run = shop.sync(kind, status="partial")

    assert run.rejected == {kind.marked}
    assert shop.latest(kind)[kind.marked]["detail"] == f"HTTP {status}: record {kind.marked}: '{status}' is why"
    shop.check_pendo(kind, without=[kind.marked])
    size = {"users": 20, "orgs": 10, "payments": 1, "clicks": 10}[kind.model]
    calls = math.ceil(len(shop.keys(kind)) / size) * (2 if kind.model == "orgs" else 1)
    assert len(run.requests) <= most_requests(calls, 2 if kind.model == "orgs" else 1, size)


@batches
def test_several_rows_at_fault_each_have_their_own_message(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    wrong = sorted(shop.keys(kind))[3::7]
    for key in wrong:
        sandbox.fail(
            Fault(status=400, body=f"no {key}", times=None, path=kind.path, method="POST", body_contains=f'"{key}"')
        )

    run = shop.sync(kind, status="partial")

    # A batch is refused for the first of its rows; alone, each is refused for itself.
    assert {key: shop.latest(kind)[key]["detail"] for key in run.rejected} == {
        key: f"HTTP 400: no {key}" for key in wrong
    }
    shop.check_pendo(kind, without=wrong)


@batches
def test_batches_too_large_for_pendo_are_made_smaller(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    sandbox.switches = sandbox.switches.with_changes({"max_body_bytes": 500})

    run = shop.sync(kind)

    assert any(request.status == 413 for request in run.requests)
    shop.check_delivered(kind)


@batches
@pytest.mark.parametrize("status", [400, 413])
def test_more_records_than_pendo_takes_in_a_call(shop: Shop, sandbox: Sandbox, kind: Kind, status: int) -> None:
    sandbox.switches = sandbox.switches.with_changes({"max_records_per_call": 3, "too_many_records_status": status})

    shop.sync(kind)

    shop.check_delivered(kind)


@kinds
def test_one_huge_record_is_rejected_and_its_neighbours_delivered(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    column = {"users": "plan", "orgs": "tier", "payments": "user_id", "clicks": "user_id"}[kind.model]
    shop.sql(f"update {kind.model} set {column} = repeat('x', 9000) where {kind.key} = '{kind.marked}'")
    sandbox.switches = sandbox.switches.with_changes({"max_body_bytes": 8000})

    run = shop.sync(kind, status="partial")

    assert run.rejected == {kind.marked}
    assert shop.latest(kind)[kind.marked]["detail"] == "HTTP 413: request body is too large"
    shop.check_pendo(kind, without=[kind.marked])


@batches
def test_pendo_without_arrays_of_events_and_with_whole_refusals(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    sandbox.switches = sandbox.switches.with_changes(
        {"event_arrays": "reject", "null": "error", "type_mismatch": "refuse call"}
    )

    run = shop.sync(kind, status="success" if kind.is_event else "partial")

    assert run.rejected == (frozenset() if kind.is_event else kind.spoilt)
    shop.check_pendo(kind, without=run.rejected)


@kinds
def test_a_wrong_field_stops_the_sync_after_few_requests(
    shop: Shop, sandbox: Sandbox, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is KINDS["single"]:
        # Nothing is split; it is the share of errors that stops it.
        monkeypatch.setattr(deliver, "JUDGED_BEFORE_BREAKING", 10)
    sandbox.fail(at(kind, Fault(status=400, body="unknown field 'plan' in group 'custom'", times=None)))

    run = shop.sync(kind, status="error")

    assert "unknown field 'plan' in group 'custom'" in run.result["message"]
    assert len(run.requests) <= FEW
    assert run.result["delivered"] == 0
    # The few that were tried are rejected; all come again.
    sandbox.clear_faults()
    shop.sync(kind)
    shop.check_delivered(kind)


@kinds
def test_rows_that_pendo_always_refuses_do_not_keep_new_ones_back(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    sandbox.add_visitors(STRANGERS)
    new, *refused = sorted(shop.keys(kind))[::3][:9]
    shop.sql(f"create table newcomer as from {kind.model} where {kind.key} = '{new}'")
    shop.sql(f"delete from {kind.model} where {kind.key} = '{new}'")
    for key in refused:
        sandbox.fail(Fault(status=400, body="no", times=None, path=kind.path, method="POST", body_contains=f'"{key}"'))
    assert shop.sync(kind, status="partial").rejected == set(refused)
    shop.sql(f"insert into {kind.model} from newcomer")

    # Those that were refused before come last: nobody takes the sync for hopeless.
    run = shop.sync(kind, status="partial")

    assert run.verdicts == dict.fromkeys(refused, "rejected") | {new: "delivered"}


# By the Sender: any rows at fault, any size of batch, any way to say it.

SECRETS: Mapping[str, Any] = {
    "integration_key": Secret("sandbox-integration-key", "PENDO_INTEGRATION_KEY"),
    "track_secrets": {"": Secret("sandbox-track-secret", "PENDO_TRACK_SECRET")},
}
VISITORS = SyncSpec(
    "users",
    "model.shop.users",
    "users.yml",
    "visitor",
    "id",
    fields=(Field("seats", Column("seats")), Field("health", Column("health"), group="agent")),
)
EVENTS = SyncSpec(
    "clicks",
    "model.shop.clicks",
    "clicks.yml",
    "track_event",
    "id",
    event=Event(Column("name"), Column("visitor"), Column("at")),
)
quickly = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def pendo() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@dataclass
class Settled:
    """Who was told what."""

    outcomes: dict[Position, Outcome] = field(default_factory=dict)
    times: Counter[Position] = field(default_factory=Counter)

    def __call__(self, positions: Sequence[Position], others: Mapping[Position, Outcome]) -> None:
        assert others.keys() <= set(positions)
        self.outcomes.update({position: others.get(position, DELIVERED) for position in positions})
        self.times.update(positions)

    def statuses(self) -> list[str]:
        assert set(self.times.values()) <= {1}
        return [self.outcomes[position].status for position in sorted(self.outcomes)]


def set_up(pendo: Sandbox, **switches: Any) -> None:
    pendo.reset()
    pendo.switches = Switches(**switches)
    pendo.add_field("visitor", "custom", "seats", "integer")
    pendo.add_field("visitor", "agent", "health", "integer")


def deliver_all(pendo: Sandbox, spec: SyncSpec, records: Sequence[Record], size: int, proven: bool = True) -> Settled:
    """Delivers records in batches; ``proven``: Pendo has taken one before, so that nothing looks hopeless."""
    settled = Settled()
    with PendoClient(Settings(api_url=pendo.url, data_url=pendo.url, retries=0, **SECRETS)) as client:
        sender = Sender(Stop().check, client.settings.max_error_share)
        writes = [writer.write for writer in make_writers(client, spec, Stop()).updates]
        if proven:
            good = {"type": "track", "event": "e", "visitorId": "v", "timestamp": 1, "context": {}}
            pendo.add_visitors(["proof"])
            body = good if spec.event else {"visitorId": "proof", "values": {"seats": 1}}
            bodies = (body, *[None] * (len(writes) - 1))
            proof = Settled()
            sender.send(Batch([Record(("fff", 1), "proof", bodies)]), writes, proof)
            assert proof.statuses() == ["delivered"]
        pendo.forget_requests()
        for start in range(0, len(records), size):
            sender.send(Batch(records[start : start + size]), writes, settled)
    return settled


def visitor(number: int, seats: Any, health: Any = None) -> Record:
    """A record of two groups; a None says nothing to its group."""
    key = f"r{number}"
    groups = [("seats", seats), ("health", health)]
    bodies = tuple(None if value is None else {"visitorId": key, "values": {name: value}} for name, value in groups)
    return Record(("000", number), key, bodies)


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
def test_each_row_is_judged_rightly_and_reported_once(
    pendo: Sandbox, wanted: list[str], size: int, style: dict[str, Any]
) -> None:
    set_up(pendo, **style)
    pendo.add_visitors([f"r{number}" for number, status in enumerate(wanted) if status != "missing"])
    records = [
        visitor(number, f"many-{number}" if status == "rejected" else number) for number, status in enumerate(wanted)
    ]

    settled = deliver_all(pendo, VISITORS, records, size)

    assert settled.statuses() == wanted
    held = {key: record["custom"] for key, record in pendo.visitors.items() if key != "proof"}
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
def test_a_row_of_two_groups_is_as_bad_as_its_worse_one(
    pendo: Sandbox, rows: list[tuple[str, str]], size: int, style: dict[str, Any], turned: bool
) -> None:
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
def test_atomic_refusals_deliver_each_neighbour_exactly_once(
    pendo: Sandbox, wanted: list[bool], size: int, bodies: Any
) -> None:
    set_up(pendo, error_bodies=bodies)
    records = [
        Record(
            ("000", number),
            f"e{number}",
            ({"type": "track", "event": "e", "visitorId": f"v{number}", "timestamp": 1 if good else 0, "context": {}},),
        )
        for number, good in enumerate(wanted)
    ]

    settled = deliver_all(pendo, EVENTS, records, size)

    assert settled.statuses() == ["delivered" if good else "rejected" for good in wanted]
    received = Counter(event["visitorId"] for event in pendo.events if event["visitorId"] != "v")
    assert received == {f"v{number}": 1 for number, good in enumerate(wanted) if good}
    if bodies == "text":
        details = {outcome.detail for outcome in settled.outcomes.values()} - {None}
        assert details <= {"HTTP 400: timestamp must be a whole number of milliseconds"}
    assert len(pendo.requests) <= most_requests(math.ceil(len(records) / size), wanted.count(False), size)


@quickly
@given(st.lists(st.integers(1, 400), min_size=1, max_size=50), st.integers(60, 1500), sizes)
def test_batches_of_any_size_end_up_below_what_pendo_takes(
    pendo: Sandbox, lengths: list[int], limit: int, size: int
) -> None:
    set_up(pendo)
    records = [
        Record(
            ("000", number),
            f"e{number}",
            ({"type": "track", "event": "x" * length, "visitorId": f"v{number}", "timestamp": 1},),
        )
        for number, length in enumerate(lengths)
    ]
    pendo.switches = Switches(max_body_bytes=limit)
    alone = [
        len(f'{{"type":"track","event":"","visitorId":"v{n}","timestamp":1}}') + length
        for n, length in enumerate(lengths)
    ]

    settled = Settled()
    try:
        settled = deliver_all(pendo, EVENTS, records, size, proven=False)
    except EverythingRefusedError:
        # The first few were all too large.
        assert all(length > limit for length in sorted(alone)[-deliver.HOPELESS :])
        return

    assert settled.statuses() == ["delivered" if length <= limit else "rejected" for length in alone]
    received = Counter(event["visitorId"] for event in pendo.events)
    assert received == {f"v{number}": 1 for number, length in enumerate(alone) if length <= limit}


@pytest.mark.parametrize("size", [1, 7, 500])
@pytest.mark.parametrize("type_mismatch", ["record error", "refuse call"])
@pytest.mark.parametrize("error_items", ["named", "unnamed", "object"])
def test_when_every_row_is_of_the_wrong_type_the_sync_stops_after_few_requests(
    pendo: Sandbox, size: int, type_mismatch: Any, error_items: Any
) -> None:
    set_up(pendo, type_mismatch=type_mismatch, error_items=error_items)
    pendo.add_visitors([f"r{number}" for number in range(500)])
    # Each says something else that is wrong.
    values = [f"{letter}{number}" for number in range(20) for letter in string.ascii_lowercase][:500]
    records = [visitor(number, value) for number, value in enumerate(values)]

    with pytest.raises(EverythingRefusedError, match="expected a whole number"):
        deliver_all(pendo, VISITORS, records, size, proven=False)

    assert len(pendo.requests) <= deliver.JUDGED_BEFORE_BREAKING


@pytest.mark.parametrize(("size", "most"), [(1, deliver.JUDGED_BEFORE_BREAKING), (10, FEW), (500, FEW)])
def test_when_every_event_is_refused_the_sync_stops_after_few_requests(pendo: Sandbox, size: int, most: int) -> None:
    set_up(pendo)
    records = [
        Record(("000", n), f"e{n}", ({"type": "track", "event": "e", "visitorId": f"v{n}", "timestamp": 0},))
        for n in range(500)
    ]

    with pytest.raises(EverythingRefusedError, match="timestamp must be a whole number of milliseconds"):
        deliver_all(pendo, EVENTS, records, size, proven=False)

    assert len(pendo.requests) <= most


@pytest.mark.parametrize("bystander", ["seats", "many"], ids=["a field's name", "a value"])
def test_a_bystander_that_a_text_seems_to_name_is_delivered(pendo: Sandbox, bystander: str) -> None:
    set_up(pendo, error_items="unnamed")
    pendo.add_visitors([bystander, "r1", "r2", "r3"])
    innocent = Record(("000", 0), bystander, ({"visitorId": bystander, "values": {"seats": 7}}, None))

    settled = deliver_all(pendo, VISITORS, [innocent, visitor(1, 7), visitor(2, "many"), visitor(3, 7)], 10)

    assert settled.statuses() == ["delivered", "delivered", "rejected", "delivered"]
    assert settled.outcomes["000", 2].detail == "field 'seats': expected a whole number, got 'many'"
    assert pendo.visitors[bystander]["custom"] == {"seats": 7}
