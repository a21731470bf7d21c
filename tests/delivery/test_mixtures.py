"""Faults on the whole path, for every kind of sync; and all at once, drawn by chance, until there is nothing to do."""

import os
import random
from dataclasses import replace

import pytest
from harness.pendo import chosen
from shop import KINDS, Kind, at, be_strict, kinds

from dbt_pendo.sandbox import Fault

SEEDS = range(int(os.environ.get("SOAK", "2")))
MOST_RUNS = 60

FAULTS = (
    *(Fault(status=status) for status in (403, 408, 413, 429, 500, 503)),
    *(Fault(status=429, headers={"Retry-After": "0"}), Fault(status=502, when="after"), Fault("garbage")),
    *(replace(Fault(action), when=when) for action in ("reset", "close", "truncate") for when in ("before", "after")),
)


@kinds
def test_a_fault_that_passes_and_a_key_refused_in_mid_run(shop, sandbox, kind):
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


@pytest.mark.parametrize("kind", [KINDS["visitor"], KINDS["account"]], ids=["visitor", "account"])
def test_a_bulk_write_that_takes_pendo_too_long_is_neither_lost_nor_rejected(shop, sandbox, kind):
    sandbox.switches = chosen(latency_ms=(30.0, 30.0), bulk_write_seconds=0.02)

    run = shop.sync(kind, status="error")

    assert "HTTP 408: the call took too long" in run.result["message"]
    assert {request.status for request in run.writes} == {408}
    assert (run.verdicts, shop.statuses(kind)) == ({}, {})
    sandbox.switches = chosen()
    assert not shop.sync(kind).rejected
    shop.check_delivered(kind)


@kinds
def test_the_row_at_fault_has_pendos_own_words_and_comes_last(shop, sandbox, kind):
    new, *refused = sorted(shop.keys(kind))[::3][:9]
    shop.sql(f"create table newcomer as select * from {kind.model} where {kind.key} = '{new}'")
    shop.sql(f"delete from {kind.model} where {kind.key} = '{new}'")
    for key in refused:
        words = f"record {key}:\nno"
        sandbox.fail(replace(at(kind, Fault(status=400, body=words, times=None)), body_contains=f'"{key}"'))
    assert shop.sync(kind, status="partial").rejected == set(refused)
    assert {key: shop.latest(kind)[key]["detail"] for key in refused} == {
        key: f"HTTP 400: record {key}: no" for key in refused
    }
    shop.check_pendo(kind, without=[new, *refused])
    shop.sql(f"insert into {kind.model} select * from newcomer")

    # Nobody takes the sync for hopeless: those that were refused before do not keep new ones back.
    run = shop.sync(kind, status="partial")

    assert run.verdicts == dict.fromkeys(refused, "rejected") | {new: "delivered"}


def draw(dice: random.Random, kind: Kind) -> list[Fault]:
    """Some faults, each of which hits some of the requests of a run."""
    faults = []
    for fault in dice.sample(FAULTS, dice.randint(2, 6)):
        times, seed = dice.choice([1, 2, 5, None]), dice.randrange(2**31)
        faults.append(at(kind, replace(fault, times=times, probability=dice.uniform(0.02, 0.2), seed=seed)))
    return faults


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_mixture_of_faults_ends_well(shop, sandbox, seed, monkeypatch):
    dice = random.Random(seed)
    monkeypatch.setenv("PENDO_RETRIES", str(dice.randint(0, 3)))
    monkeypatch.setenv("PENDO_CONCURRENCY", str(dice.randint(1, 6)))
    monkeypatch.setenv("PENDO_MAX_ATTEMPTS", "1000")
    # In what order the syncs take their turns is chance, too.
    for kind in dice.sample(list(KINDS.values()), len(KINDS)):
        sandbox.switches = sandbox.switches.with_changes(
            {
                "null": dice.choice(["clear", "error"]),
                "refuse_late_events": dice.random() < 0.5,
                "error_items": dice.choice(["named", "unnamed", "object"]),
                "error_bodies": dice.choice(["text", "json", "empty"]),
                "omit_empty_lists": dice.random() < 0.5,
            }
        )
        for _ in range(MOST_RUNS):
            # Each run meets other faults; a run that is all success has brought everything it could.
            sandbox.clear_faults()
            for fault in draw(dice, kind):
                sandbox.fail(fault)
            run = shop.sync(kind, status=None)
            if run.result["status"] in ("success", "warn"):
                break
            # Pendo relents, or the rows it rejects would come for ever.
            if dice.random() < 0.3:
                be_strict(sandbox, False)
        sandbox.clear_faults()
        be_strict(sandbox, False)
        shop.sync(kind)
        shop.check_delivered(kind)
