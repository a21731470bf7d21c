"""Every fault, on every kind of sync: Pendo and the ledger end up right, and no event comes twice without need."""

from __future__ import annotations

from dataclasses import replace

import pytest
from shop import KINDS, Kind, Shop, at

from dbt_pendo.sandbox import Fault, Sandbox

# Faults that pass when the request is sent again.
PASSING = {
    "408": Fault(status=408, body="call took too long and timed out"),
    "429": Fault(status=429),
    "429 with Retry-After": Fault(status=429, headers={"Retry-After": "1"}),
    "500": Fault(status=500, body="Internal Server Error"),
    "502": Fault(status=502, body="<html>Bad Gateway</html>"),
    "502 after": Fault(status=502, when="after"),
    "503": Fault(status=503, headers={"Retry-After": "0"}),
    "520": Fault(status=520, body="Web server returned an unknown error"),
    "hang": Fault("hang"),
    "hang after": Fault("hang", when="after"),
    "reset": Fault("reset"),
    "reset after": Fault("reset", when="after"),
    "close": Fault("close"),
    "close after": Fault("close", when="after"),
    "truncated": Fault("truncate"),
    "truncated after": Fault("truncate", when="after"),
    "no JSON": Fault("garbage"),
    "no JSON after": Fault("garbage", when="after"),
}

kinds = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
faults = pytest.mark.parametrize(
    ("kind", "fault"),
    [
        pytest.param(kind, fault, id=f"{name}-{fault_name}")
        for name, kind in KINDS.items()
        for fault_name, fault in PASSING.items()
    ],
)


def be_patient(kind: Kind, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault.action == "hang":
        # Events may not be taken for lost because this machine is slow; for others it does not matter.
        monkeypatch.setenv("PENDO_TIMEOUT", "2" if kind.is_event else "1")


@faults
def test_a_fault_that_passes_costs_a_retry(
    shop: Shop, sandbox: Sandbox, kind: Kind, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(kind, fault, monkeypatch)
    sandbox.fail(at(kind, fault, marked=True))

    run = shop.sync(kind)

    assert not sandbox.faults
    assert run.result["retries"] == 1
    shop.check_delivered(kind)


@faults
def test_a_fault_that_stays_ends_the_sync_and_the_next_run_brings_the_rest(
    shop: Shop, sandbox: Sandbox, kind: Kind, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(kind, fault, monkeypatch)
    monkeypatch.setenv("PENDO_RETRIES", "1")
    if fault.headers.get("Retry-After") == "1":
        # Bounded in time, too: not worth waiting for.
        monkeypatch.setenv("PENDO_RETRY_TIME", "0.5")
    sandbox.fail(at(kind, replace(fault, times=None), marked=True))

    run = shop.sync(kind, status="error")

    assert kind.marked not in shop.statuses(kind)
    assert "did not take" in run.result["message"]
    hit = [request for request in run.requests if request.fault]
    assert len(hit) <= 2
    sandbox.clear_faults()
    shop.sync(kind)
    shop.check_delivered(kind, again=False)


@kinds
def test_a_413_is_split_and_everything_delivered(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    sandbox.fail(at(kind, Fault(status=413, body="request body is too large"), marked=True))

    run = shop.sync(kind, status=None)

    if kind is KINDS["single"]:
        # There is nothing to split: the event is refused, and comes again with the next run.
        assert run.verdicts[kind.marked] == "rejected"
        shop.sync(kind)
    else:
        assert run.result["status"] == "success"
    shop.check_delivered(kind)


@kinds
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_refused_in_mid_run_ends_the_sync_at_once(shop: Shop, sandbox: Sandbox, kind: Kind, status: int) -> None:
    # From the second request on, whichever that is.
    sandbox.fail(at(kind, Fault(status=408)))
    sandbox.fail(at(kind, Fault(status=status, times=None)))

    run = shop.sync(kind, status="error")

    assert f"HTTP {status}" in run.result["message"]
    # No request begins once one was refused: at most those in flight at that moment come on top.
    assert sum(request.status == status for request in run.requests) <= 4
    sandbox.clear_faults()
    shop.sync(kind)
    shop.check_delivered(kind)


@kinds
def test_a_single_403_ends_the_sync_and_keeps_what_was_delivered(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    sandbox.fail(at(kind, Fault(status=403), marked=True))

    shop.sync(kind, status="error")

    assert kind.marked not in shop.statuses(kind)
    shop.sync(kind)
    shop.check_delivered(kind)


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        *((KINDS[name], items) for name in ("visitor", "account") for items in ("named", "unnamed", "object")),
        # An event is refused with a status.
        *((KINDS[name], "named") for name in ("single", "batch")),
    ],
)
def test_rows_that_pendo_rejects_come_again(shop: Shop, sandbox: Sandbox, kind: Kind, items: str) -> None:
    sandbox.switches = sandbox.switches.with_changes(
        {"null": "error", "refuse_late_events": True, "error_items": items}
    )

    run = shop.sync(kind, status="partial")

    assert {key for key, verdict in run.verdicts.items() if verdict == "rejected"} == kind.spoilt
    shop.check_pendo(kind, without=kind.spoilt)
    again = shop.sync(kind, status="partial")
    assert again.verdicts == dict.fromkeys(kind.spoilt, "rejected")
    assert {entry["attempts"] for key, entry in shop.latest(kind).items() if key in kind.spoilt} == {2}
    sandbox.switches = sandbox.switches.with_changes({"null": "clear", "refuse_late_events": False})
    shop.sync(kind)
    shop.check_delivered(kind)
