"""Faults and refusals on the whole path, for every kind of sync: Pendo and the ledger end up right."""

from dataclasses import replace

import pytest
from shop import KINDS, Kind, Shop, at

from dbt_pendo.sandbox import Fault, Sandbox

# One of each sort, each with two kinds of sync; all of them are sent for all kinds in test_sending.py.
FAULTS = {
    # Bounded in time, too: not worth waiting for.
    "429": (Fault(status=429, headers={"Retry-After": "1"}), "visitor", "single"),
    "502 after": (Fault(status=502, when="after"), "account", "batch"),
    "reset": (Fault("reset"), "visitor", "batch"),
    "truncated after": (Fault("truncate", when="after"), "account", "single"),
    "403": (Fault(status=403), "visitor", "batch"),
}
FAULTS_AND_KINDS = [
    pytest.param(fault, KINDS[kind], id=f"{name}, {kind}") for name, (fault, *some) in FAULTS.items() for kind in some
]
kinds = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])


@pytest.mark.parametrize(("fault", "kind"), FAULTS_AND_KINDS)
def test_a_fault_that_stays_ends_the_sync_and_the_next_run_brings_the_rest(
    shop: Shop, sandbox: Sandbox, kind: Kind, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENDO_RETRIES", "1")
    monkeypatch.setenv("PENDO_RETRY_TIME", "0.5")
    sandbox.fail(at(kind, replace(fault, times=None), marked=True))

    run = shop.sync(kind, status="error")

    assert kind.marked not in shop.statuses(kind)
    refused = fault.status == 403
    assert ("HTTP 403" if refused else "did not take") in run.result["message"]
    assert sum(request.fault is not None for request in run.requests) == (1 if refused or fault.headers else 2)
    sandbox.clear_faults()
    shop.sync(kind)
    shop.check_delivered(kind, again=False)


@kinds
def test_a_fault_that_passes_and_a_key_refused_in_mid_run(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    # From the second request on, whichever that is.
    sandbox.fail(at(kind, Fault(status=408)))
    sandbox.fail(at(kind, Fault(status=401, times=None)))

    run = shop.sync(kind, status="error")

    assert "HTTP 401" in run.result["message"]
    # No request begins once one was refused: at most those in flight at that moment come on top.
    assert sum(request.status == 401 for request in run.requests) <= 4
    sandbox.clear_faults()
    sandbox.fail(at(kind, Fault("reset", when="after"), marked=True))
    assert shop.sync(kind).result["retries"] == 1
    assert not sandbox.faults
    shop.check_delivered(kind)


@kinds
def test_the_row_at_fault_has_pendos_own_words_and_comes_last(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    new, *refused = sorted(shop.keys(kind))[::3][:9]
    shop.sql(f"create table newcomer as from {kind.model} where {kind.key} = '{new}'")
    shop.sql(f"delete from {kind.model} where {kind.key} = '{new}'")
    for key in refused:
        words = f"record {key}:\nno"
        sandbox.fail(replace(at(kind, Fault(status=400, body=words, times=None)), body_contains=f'"{key}"'))
    assert shop.sync(kind, status="partial").rejected == set(refused)
    assert {key: shop.latest(kind)[key]["detail"] for key in refused} == {
        key: f"HTTP 400: record {key}: no" for key in refused
    }
    shop.check_pendo(kind, without=[new, *refused])
    shop.sql(f"insert into {kind.model} from newcomer")

    # Nobody takes the sync for hopeless: those that were refused before do not keep new ones back.
    run = shop.sync(kind, status="partial")

    assert run.verdicts == dict.fromkeys(refused, "rejected") | {new: "delivered"}


def test_a_wrong_field_stops_the_sync_and_all_comes_again(shop: Shop, sandbox: Sandbox) -> None:
    users = KINDS["visitor"]
    sandbox.fail(at(users, Fault(status=400, body="unknown field 'plan' in group 'custom'", times=None)))

    run = shop.sync(users, status="error")

    assert "unknown field 'plan' in group 'custom'" in run.result["message"]
    assert run.result["delivered"] == 0
    sandbox.clear_faults()
    shop.sync(users)
    shop.check_delivered(users)
