"""kill -9 at random moments, then runs until all is quiet: nothing is lost, and next to nothing sent twice."""

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from harness import Started, chosen, custom, sent_events
from lab import Lab, pendo, small_pages, wait_until

from dbt_pendo.sandbox import Sandbox

SEEDS = range(int(os.environ.get("SOAK", "2")))
KILLS = 14
KILLS_A_ROUND = 7
CONCURRENCY = 4
# A track secret for each run, so that the sandbox knows which run a request came from.
MOST_RUNS = 4 * KILLS
# Small data in many pages, commits of several statements, and a ledger that is often compacted.
SHRINK = {
    **small_pages(15),
    "dbt_pendo.delivery.pages.BATCHES_PER_PAGE": 2,
    "dbt_pendo.warehouse.tables.EXCEPTIONS_PER_STATEMENT": 3,
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with pendo(apps=[f"run{number}" for number in range(MOST_RUNS)]) as running:
        running.switches = chosen(latency_ms=(2, 12))
        yield running


@dataclass
class World:
    """What the models hold, and what they held before."""

    dice: random.Random
    people: dict[str, tuple[str | None, float | None]] = field(default_factory=dict)
    companies: dict[str, str] = field(default_factory=dict)
    events: dict[str, dict[str, str]] = field(default_factory=lambda: {"clicks": {}, "views": {}})
    former_people: set[str] = field(default_factory=set)
    former_companies: dict[str, str] = field(default_factory=dict)

    def move_on(self) -> None:
        """Some of everything is added, changed and removed; events are only added."""
        for name in [f"p{number}" for number in range(60)]:
            chance = self.dice.random()
            if chance < 0.1 and self.people.pop(name, None):
                self.former_people.add(name)
            elif chance < 0.6:
                plan = self.dice.choice(["free", "team", None])
                self.people[name] = (plan, self.dice.choice([0.5, 1e9, None]))
                self.former_people.discard(name)
        for name in [f"c{number}" for number in range(40)]:
            chance = self.dice.random()
            if chance < 0.1 and name in self.companies:
                self.former_companies[name] = self.companies.pop(name)
            elif chance < 0.6:
                self.companies[name] = f"Company {self.dice.randrange(10)}"
                self.former_companies.pop(name, None)
        for model, count in (("clicks", 30), ("views", 150)):
            held = self.events[model]
            for number in range(len(held), len(held) + count):
                held[f"{model[0]}{number}"] = f"u{self.dice.randrange(60)}"

    def build(self, lab: Lab) -> None:
        rows: dict[str, list[tuple[Any, ...]]] = {
            "people": [(name, *values) for name, values in self.people.items()],
            "companies": list(self.companies.items()),
            **{model: list(held.items()) for model, held in self.events.items()},
        }
        for model, held in rows.items():
            lab.fill(model, held)


@dataclass
class History:
    """The runs so far."""

    killed: set[int] = field(default_factory=set)
    runs: int = 0
    # Seconds that a whole run takes here and now.
    usual: float = 1.0


def run_once(lab: Lab, history: History, dice: random.Random, kill: bool) -> bool:
    """Runs a sync; returns whether it came to its end."""
    number = history.runs
    history.runs += 1
    started_at = time.monotonic()
    run = lab.start(
        "sync",
        "--json",
        PENDO_TRACK_SECRET=lab.sandbox.track_secrets[f"run{number}"],
        PENDO_CONCURRENCY=str(CONCURRENCY),
    )
    if kill:
        wait_for_moment(lab, run, dice, history.usual)
        run.send(signal.SIGKILL)
    ended = run.wait()
    if ended.status == -signal.SIGKILL:
        history.killed.add(number)
        return False
    ended.expect(0)
    history.usual = time.monotonic() - started_at
    return True


def wait_for_moment(lab: Lab, run: Started, dice: random.Random, usual: float) -> None:
    """Any moment of the run, or one soon after a request, when others are in flight and answers are on their way."""
    if dice.random() < 0.5:
        time.sleep(dice.uniform(0.0, 1.1) * usual)
        return
    wanted = len(lab.sandbox.requests) + dice.choice([1, 2, 5, 10, 20, 40])
    wait_until(run, lambda: len(lab.sandbox.requests) >= wanted)
    time.sleep(dice.uniform(0.0, 0.04))


def check_duplicates(lab: Lab, history: History) -> None:
    """Of each killed run at most the requests in flight came again, of others none."""
    first_run: dict[str, int] = {}
    to_blame: dict[int, set[int]] = defaultdict(set)
    holders: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for at, request in enumerate(lab.sandbox.requests):
        if request.path == "/data/track" and request.status == 200:
            run = int(request.key.removeprefix("track:run"))
            for event in sent_events([request]):
                holders[event["properties"]["id"]].append((run, at))
    for event_id, requests in holders.items():
        first_run[event_id] = requests[0][0]
        runs = [run for run, _ in requests]
        assert len(runs) == len(set(runs)), f"{event_id} came twice in one run"
        for run, at in sorted(requests)[:-1]:
            to_blame[run].add(at)
    assert set(to_blame) <= history.killed
    assert all(len(requests) <= CONCURRENCY for requests in to_blame.values()), dict(to_blame)


def check_claims(lab: Lab) -> None:
    """At any time: what the ledger calls delivered, Pendo has."""
    taken = set(lab.sandbox_event_ids())
    for model in ("clicks", "views"):
        assert {key for key, status in lab.statuses(model).items() if status == "delivered"} <= taken
    delivered = {key for key, status in lab.statuses("companies").items() if status == "delivered"}
    assert delivered <= set(lab.sandbox.accounts)


def check_all(lab: Lab, world: World, known: set[str]) -> None:
    """Once all is quiet: Pendo is what the models say, and the ledger knows it."""
    visitors = {
        name: {key: value for key, value in zip(("plan", "mrr"), values, strict=True) if value is not None}
        for name, values in world.people.items()
    }
    held = custom(lab.sandbox.visitors)
    # Those who only sent events are named u…
    assert {name: held[name] for name in held if name[0] == "p"} == {name: visitors.get(name, {}) for name in known}
    accounts = {**world.former_companies, **world.companies}
    assert custom(lab.sandbox.accounts) == {name: {"name": value} for name, value in accounts.items()}
    for model, event in (("clicks", "Clicked"), ("views", "Viewed")):
        sent = {
            found["properties"]["id"]: found["visitorId"] for found in lab.sandbox.events if found["event"] == event
        }
        assert sent == world.events[model]
        assert lab.statuses(model) == dict.fromkeys(world.events[model], "delivered")
    assert lab.statuses("people") == {
        **{name: "delivered" if name in known else "missing" for name in world.people},
        **{name: "removed" if name in known else "missing" for name in world.former_people},
    }
    assert lab.statuses("companies") == {
        **dict.fromkeys(world.former_companies, "removed"),
        **dict.fromkeys(world.companies, "delivered"),
    }
    assert not [table for table in lab.tables() if table.endswith("__lock") or "__new_" in table or "__old_" in table]
    assert not list((lab.target / "dbt_pendo").glob("*.journal"))


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_next_to_nothing_sent_twice(lab, seed):
    dice = random.Random(seed)
    known = {f"p{number}" for number in range(60) if number % 6}
    lab.sandbox.add_visitors(known)
    lab.shrink = SHRINK
    world, history = World(dice), History()
    while len(history.killed) < KILLS:
        world.move_on()
        world.build(lab)
        kills = min(KILLS_A_ROUND, KILLS - len(history.killed))
        target = len(history.killed) + kills
        while len(history.killed) < target:
            if run_once(lab, history, dice, kill=True):
                break
            if dice.random() < 0.3:
                check_claims(lab)
        run_once(lab, history, dice, kill=False)
        check_all(lab, world, known)
        check_duplicates(lab, history)
        assert run_once(lab, history, dice, kill=False)
        assert all(result["requests"] == 0 for result in lab.results()["results"])
    assert len(history.killed) == KILLS
