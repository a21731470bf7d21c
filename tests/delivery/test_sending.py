"""Every fault and every refusal, on every kind of sync, below the warehouse: each row is told the truth once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from harness.pendo import chosen
from sending import KINDS, Kind, Settled, deliver_all, held, most_requests, record, set_up, wanted

from dbt_pendo.delivery.send import EverythingRefusedError
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.sandbox import Fault, Sandbox

# Faults that pass when the request is sent again; those with "after" hit the answer only.
PASSING = {
    "408": Fault(status=408, body="call took too long and timed out"),
    "429": Fault(status=429),
    "500": Fault(status=500, body="Internal Server Error"),
    "502": Fault(status=502, body="<html>Bad Gateway</html>"),
    "503": Fault(status=503, headers={"Retry-After": "0"}),
    "520": Fault(status=520, body="Web server returned an unknown error"),
    "reset": Fault("reset"),
    "close": Fault("close"),
    "truncated": Fault("truncate"),
    "no JSON": Fault("garbage"),
}
LATER = ("408", "502", "reset", "close", "truncated", "no JSON")
PASSING |= {f"{name} after": replace(PASSING[name], when="after") for name in LATER}

kinds = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(switches=chosen()) as sandbox:
        yield sandbox


@pytest.fixture
def pendo(running: Sandbox) -> Sandbox:
    set_up(running)
    running.add_visitors([one.key for one in KINDS["visitor"].records])
    return running


@kinds
@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in PASSING.items()])
def test_a_fault_passes_or_stays(pendo, kind, fault):
    check_fault(pendo, kind, fault, timeout=20)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_that_hangs(pendo, when):
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


@kinds
@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_the_row_at_fault_stands_alone_with_pendos_own_words(pendo, kind, status):
    key = kind.marked.key
    pendo.fail(kind.at(Fault(status=status, body=f"record {key}:\n'{status}' is why", times=None), key))

    settled = deliver_all(pendo, kind.spec, kind.records, kind.size)

    assert settled.outcomes.pop(kind.marked.position).detail == f"HTTP {status}: record {key}: '{status}' is why"
    assert set(settled.statuses()) == {"delivered"}
    assert held(pendo, kind) == wanted(kind, [key])
    assert len(pendo.requests) <= most_requests(kind.calls, 1 if kind.is_event else 2, kind.size)


@pytest.mark.parametrize(
    ("status", "words"), [(400, "mapping"), (422, "mapping"), (404, "PENDO_API_URL"), (413, "smaller batch_size")]
)
def test_the_advice_when_every_row_is_refused_fits_the_status(pendo, status, words):
    kind = KINDS["visitor"]
    pendo.fail(Fault(status=status, body='{"errors": [{"message": "no"}]}', times=None))
    with pytest.raises(EverythingRefusedError, match=f"for one reason: HTTP {status}: no") as caught:
        deliver_all(pendo, kind.spec, kind.records, kind.size, proven=False)
    assert words in caught.value.hint
    assert ("mapping" in caught.value.hint) == (status in (400, 422))


def test_text_that_is_no_unicode_is_invalid_and_its_neighbours_are_delivered(pendo):
    kind = KINDS["visitor"]
    records = kind.records
    records[3] = record(kind.spec, 3, "\ud800")
    settled = deliver_all(pendo, kind.spec, records, kind.size)
    assert settled.statuses() == ["invalid" if one is records[3] else "delivered" for one in records]
    assert held(pendo, kind) == {**wanted(kind), "r3": {"health": 1}}
