"""Every fault and every refusal, on every kind of sync, below the warehouse: each row is told the truth once."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sending import KINDS, Kind, Settled, deliver_all, held, most_requests, set_up, wanted

from dbt_pendo.delivery.send import EverythingRefusedError, Sender
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.sandbox import Fault, Sandbox

FEW = 30
# Faults that pass when the request is sent again; those with "after" hit the answer only.
PASSING = {
    "408": Fault(status=408, body="call took too long and timed out"),
    "429": Fault(status=429),
    "500": Fault(status=500, body="Internal Server Error"),
    "502": Fault(status=502, body="<html>Bad Gateway</html>"),
    "503": Fault(status=503, headers={"Retry-After": "0"}),
    "520": Fault(status=520, body="Web server returned an unknown error"),
    "hang": Fault("hang"),
    "reset": Fault("reset"),
    "close": Fault("close"),
    "truncated": Fault("truncate"),
    "no JSON": Fault("garbage"),
}
PASSING |= {
    f"{name} after": replace(PASSING[name], when="after")
    for name in ("502", "hang", "reset", "close", "truncated", "no JSON")
}

kinds = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
# An event alone has nothing to be split from.
batches = pytest.mark.parametrize("kind", [pytest.param(KINDS[n], id=n) for n in ("visitor", "account", "batch")])


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def pendo(running: Sandbox) -> Sandbox:
    set_up(running)
    running.add_visitors([one.key for one in KINDS["visitor"].records])
    return running


@kinds
@pytest.mark.parametrize(
    "fault", [pytest.param(fault, id=name) for name, fault in PASSING.items() if fault.action != "hang"]
)
def test_a_fault_passes_or_stays(pendo: Sandbox, kind: Kind, fault: Fault) -> None:
    check_fault(pendo, kind, fault, timeout=20)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_that_hangs(pendo: Sandbox, when: Any) -> None:
    # Events may not be taken for lost because this machine is slow.
    check_fault(pendo, KINDS["batch"], Fault("hang", when=when), timeout=1)


def check_fault(pendo: Sandbox, kind: Kind, fault: Fault, timeout: float) -> None:
    """Once it costs a retry; later it stays, and ends the sync: what is open then comes with the next."""
    fault = kind.at(fault, kind.marked.key)
    pendo.fail(fault)
    settled = deliver_all(pendo, kind.spec, kind.records, kind.size, retries=1, timeout=timeout)
    assert settled.statuses() == ["delivered"] * kind.count
    assert (len(pendo.requests), pendo.faults) == (kind.calls + 1, [])
    once = wanted(kind)
    if kind.is_event and fault.when == "after":
        at = kind.count // 2 // kind.size * kind.size
        once |= {one.key: 2 for one in kind.records[at : at + kind.size]}
    assert held(pendo, kind) == once

    set_up(pendo)
    pendo.add_visitors(list(once))
    pendo.fail(replace(fault, times=None))
    settled = Settled()
    with pytest.raises(DbtPendoError, match="did not take"):
        deliver_all(pendo, kind.spec, kind.records, kind.size, settled=settled, retries=1, timeout=timeout)
    assert set(settled.statuses()) == {"delivered"}
    assert sum(request.fault is not None for request in pendo.requests) == 2
    pendo.clear_faults()
    rest = [one for one in kind.records if one.position not in settled.outcomes]
    assert kind.marked in rest
    deliver_all(pendo, kind.spec, rest, kind.size, settled=settled)
    assert settled.statuses() == ["delivered"] * kind.count
    found = held(pendo, kind)
    assert found.keys() == once.keys()
    # What was in the request that failed may have come thrice.
    assert {key for key in found if found[key] != wanted(kind)[key]} <= {key for key in once if once[key] == 2}


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        pytest.param("visitor", 200, "{}", id="visitor, an empty object"),
        pytest.param("visitor", 202, "{}", id="visitor, 202"),
        pytest.param("visitor", 200, '{"total":10,"updated":0,"failed":0}', id="visitor, nobody updated"),
        pytest.param("account", 200, '{"error": "service unavailable"}', id="account, an error"),
        pytest.param("single", 200, "<!doctype html><title>Log in</title>", id="single, a page"),
        pytest.param("batch", 200, '{"error": "service unavailable"}', id="batch, an error"),
    ],
)
def test_a_2xx_that_does_not_say_what_was_done_delivers_nothing(
    pendo: Sandbox, kind: str, status: int, body: str
) -> None:
    sync, settled = KINDS[kind], Settled()
    pendo.fail(sync.at(Fault(status=status, body=body, times=None), sync.marked.key))
    words = rf"in 2 attempts; the last: an answer that does not say what was done \(HTTP {status}"
    with pytest.raises(DbtPendoError, match=words):
        deliver_all(pendo, sync.spec, sync.records, sync.size, settled=settled, retries=1)
    assert sync.marked.position not in settled.outcomes


@pytest.mark.parametrize("counted", [True, False])
def test_created_records_may_be_counted_in_the_total_only(pendo: Sandbox, counted: bool) -> None:
    kind = KINDS["account"]
    pendo.switches = pendo.switches.with_changes({"created_counts_as_updated": counted})
    settled = deliver_all(pendo, kind.spec, kind.records, kind.size)
    assert settled.statuses() == ["delivered"] * kind.count
    assert (held(pendo, kind), len(pendo.requests)) == (wanted(kind), kind.calls)


@kinds
@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_the_row_at_fault_stands_alone_with_pendos_own_words(pendo: Sandbox, kind: Kind, status: int) -> None:
    key = kind.marked.key
    pendo.fail(kind.at(Fault(status=status, body=f"record {key}:\n'{status}' is why", times=None), key))

    settled = deliver_all(pendo, kind.spec, kind.records, kind.size)

    assert settled.outcomes.pop(kind.marked.position).detail == f"HTTP {status}: record {key}: '{status}' is why"
    assert set(settled.statuses()) == {"delivered"}
    assert held(pendo, kind) == wanted(kind, [key])
    assert len(pendo.requests) <= most_requests(kind.calls, 1 if kind.is_event else 2, kind.size)


@batches
def test_several_rows_at_fault_each_have_their_own_message(pendo: Sandbox, kind: Kind) -> None:
    wrong = [one.key for one in kind.records[3::4]]
    for key in wrong:
        pendo.fail(kind.at(Fault(status=400, body=f"no {key}", times=None), key))

    settled = deliver_all(pendo, kind.spec, kind.records, kind.size)

    # A batch is refused for the first of its rows; alone, each is refused for itself.
    rejected = [one for one in kind.records if settled.outcomes[one.position].status == "rejected"]
    assert {one.key: settled.outcomes[one.position].detail for one in rejected} == {
        key: f"HTTP 400: no {key}" for key in wrong
    }
    assert settled.statuses().count("delivered") == kind.count - len(wrong)


@batches
@pytest.mark.parametrize(
    "switches",
    [
        pytest.param({"max_body_bytes": 130}, id="bytes"),
        *(
            pytest.param({"max_records_per_call": 3, "too_many_records_status": status}, id=f"records, {status}")
            for status in (400, 413)
        ),
        pytest.param({"event_arrays": "reject"}, id="no arrays of events"),
    ],
)
def test_batches_too_large_for_pendo_are_made_smaller(pendo: Sandbox, kind: Kind, switches: dict[str, Any]) -> None:
    pendo.switches = pendo.switches.with_changes(switches)
    settled = deliver_all(pendo, kind.spec, kind.records, kind.size)
    assert settled.statuses() == ["delivered"] * kind.count
    assert held(pendo, kind) == wanted(kind)
    assert (len(pendo.requests) > kind.calls) == ("event_arrays" not in switches or kind.is_event)


@kinds
def test_a_wrong_field_stops_the_sync_after_few_requests(
    pendo: Sandbox, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is KINDS["single"]:
        # Nothing is split; it is the share of errors that stops it.
        monkeypatch.setattr(Sender, "judged_before_breaking", 3)
    pendo.fail(kind.at(Fault(status=400, body="unknown field 'seats' in group 'custom'", times=None)))
    settled = Settled()
    with pytest.raises(EverythingRefusedError, match="unknown field 'seats' in group 'custom'"):
        deliver_all(pendo, kind.spec, kind.records, kind.size, proven=False, settled=settled)
    # The few that were tried are rejected.
    assert set(settled.statuses()) <= {"rejected"}
    assert len(pendo.requests) <= FEW
