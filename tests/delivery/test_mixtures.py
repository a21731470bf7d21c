"""Faults of all kinds at once, drawn by chance: run after run, until there is nothing left to do."""

import os
import random

import pytest
from shop import KINDS, Kind, Shop, at

from dbt_pendo.sandbox import Fault, Sandbox

SEEDS = range(int(os.environ.get("SOAK", "2")))
MOST_RUNS = 60

FAULTS = (
    Fault(status=408),
    Fault(status=413),
    Fault(status=429),
    Fault(status=429, headers={"Retry-After": "0"}),
    Fault(status=500),
    Fault(status=502, when="after"),
    Fault(status=503),
    Fault(status=403),
    Fault("reset"),
    Fault("reset", when="after"),
    Fault("close"),
    Fault("close", when="after"),
    Fault("truncate"),
    Fault("truncate", when="after"),
    Fault("garbage"),
)


def draw(dice: random.Random, kind: Kind) -> list[Fault]:
    """Some faults, each of which hits some of the requests of a run."""
    return [
        at(
            kind,
            Fault(
                **{
                    **vars(fault),
                    "times": dice.choice([1, 2, 5, None]),
                    "probability": dice.uniform(0.02, 0.2),
                    "seed": dice.randrange(2**31),
                }
            ),
        )
        for fault in dice.sample(FAULTS, dice.randint(2, 6))
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mixture_of_faults_ends_well(
    shop: Shop, sandbox: Sandbox, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
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
                sandbox.switches = sandbox.switches.with_changes({"null": "clear", "refuse_late_events": False})
        sandbox.clear_faults()
        sandbox.switches = sandbox.switches.with_changes({"null": "clear", "refuse_late_events": False})
        shop.sync(kind)
        shop.check_delivered(kind)
