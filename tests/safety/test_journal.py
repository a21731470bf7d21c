"""The journal a killed run leaves: taken up once, worth nothing when it is damaged or not this change set's."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import chosen
from lab import MODELS, Lab, wait_until

from dbt_pendo.delivery.journal import Journal, journal_path, read_remains
from dbt_pendo.warehouse.pages import Span

EVENTS = 60
ENOUGH = 20


def fill(lab: Lab) -> set[str]:
    lab.only("clicks")
    return lab.click(EVENTS)


def kill_in_the_midst(lab: Lab) -> Path:
    """Kills a run when Pendo has taken some events and nothing of it is committed; returns the journal."""
    lab.sandbox.switches = chosen(latency_ms=(5, 10))
    run = lab.start("sync", "--json", PENDO_CONCURRENCY="2")
    wait_until(run, lambda: len(lab.sandbox.events) >= ENOUGH)
    run.kill()
    assert lab.statuses("clicks") == {}
    (journal,) = (lab.target / "dbt_pendo").glob("clicks.*.journal")
    # It has keys, and Pendo's words about them.
    assert (journal.stat().st_mode & 0o777, journal.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    return journal


def test_what_pendo_had_acknowledged_is_committed_as_what_it_was(lab):
    """The mapping is another by then, and what a dead run sent as events is delivered as nothing else."""
    fill(lab)
    kill_in_the_midst(lab)
    before = len(lab.sandbox.events)
    mapping = {"object": "visitor", "visitor_id": "id", "mode": "upsert", "fields": {"plan": "person"}}
    lab.annotate("clicks", mapping)
    assert lab.sync()["clicks"]["delivered"] == EVENTS
    lab.annotate("clicks", MODELS["clicks"][0])
    result = lab.sync()["clicks"]
    # Two requests may have been in flight.
    assert EVENTS - before <= result["delivered"] <= EVENTS - before + 2


def test_the_next_run_says_what_it_took_over_from_a_dead_one(lab):
    fill(lab)
    journal = kill_in_the_midst(lab)
    dead = json.loads(journal.read_bytes().splitlines()[0])["run_id"]
    result = lab.sync()["clicks"]
    ((noted,),) = lab.sql("select count(*) from main_pendo.clicks__ledger where run_id = ?", [dead])
    assert 0 < noted == EVENTS - result["delivered"]
    assert result["message"].splitlines()[0] == (
        f"run {dead} died: noted in the ledger what Pendo had answered for {noted} rows of it; events of its last "
        "requests may reach Pendo twice"
    )
    assert lab.sync()["clicks"]["message"] is None


def flip(journal: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(journal)
    for _ in range(20):
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def shuffle(journal: bytes, dice: random.Random) -> bytes:
    lines = journal.splitlines(keepends=True)
    return b"".join(dice.sample(lines, len(lines)))


OTHER_JSON = b'[]\n{"page": 0}\n{"page": {}, "span": 3}\n{"page": 0, "span": {"first": "\'; drop table x"}}\nnull\n'
DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": lambda journal, dice: journal[: dice.randrange(len(journal))],
    "flipped": flip,
    "shuffled": shuffle,
    "noise": lambda journal, dice: dice.randbytes(len(journal)),
    "empty": lambda journal, dice: b"",
    "other JSON": lambda journal, dice: journal.splitlines(keepends=True)[0] + OTHER_JSON,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_no_error_and_loses_nothing(lab, damage):
    names = fill(lab)
    journal = kill_in_the_midst(lab)
    journal.write_bytes(DAMAGES[damage](journal.read_bytes(), random.Random(5)))
    taken = Counter(lab.sandbox_event_ids())

    assert lab.sync()["clicks"]["status"] == "success"

    sent = Counter(lab.sandbox_event_ids())
    assert set(sent) == names
    # At worst everything that was acknowledged comes again, once.
    assert max((sent - taken).values()) == 1
    assert lab.statuses("clicks") == dict.fromkeys(names, "delivered")
    assert not journal.exists()


def test_a_journal_does_not_speak_for_a_later_change_set(lab):
    """A run elsewhere, on a machine that does not have the journal, comes between; rows stand elsewhere by then."""
    names = fill(lab)
    kill_in_the_midst(lab)
    elsewhere = lab.folder / "elsewhere"
    elsewhere.mkdir()
    for artifact in ("manifest.json", "run_results.json"):
        (elsewhere / artifact).write_bytes((lab.target / artifact).read_bytes())
    # That run delivers some of the rest, and leaves a change set with other rows at the same places.
    lab.run("sync", "--json", "--target-path", str(elsewhere), "--limit", "30").expect(0)
    more = {f"m{number}" for number in range(40)}
    lab.fill("clicks", [(name, "u1") for name in sorted(names | more)])

    assert lab.sync()["clicks"]["status"] == "success"

    assert set(lab.sandbox_event_ids()) == names | more
    assert Counter(name for name in lab.sandbox_event_ids() if name in more) == Counter(more)
    assert lab.statuses("clicks") == dict.fromkeys(names | more, "delivered")


def test_each_ledger_has_its_own_journal(lab):
    names = fill(lab)
    journal = kill_in_the_midst(lab)
    before = len(lab.sandbox.events)

    # Another schema, another ledger: it has delivered nothing yet.
    lab.run("sync", "--json", "--schema", "another", "--force").expect(0)

    assert len(lab.sandbox.events) - before == EVENTS
    assert journal.exists()
    lab.sync()
    assert not journal.exists()
    assert lab.statuses("clicks") == dict.fromkeys(names, "delivered")


def test_without_room_for_a_journal_nothing_is_sent(lab):
    fill(lab)
    (lab.target / "dbt_pendo").write_text("a file in the way")

    result = lab.sync(status=1)["clicks"]

    assert result["status"] == "error"
    assert "The journal" in result["message"]
    assert lab.sandbox.events == []
    assert not any(table.endswith("__lock") for table in lab.tables())


def test_a_run_that_was_taken_for_dead_and_comes_back_leaves_the_next_ones_journal_alone(tmp_path):
    path = journal_path(tmp_path, "clicks", "warehouse")
    sleeper = Journal(path, "sleeper", "track_event")
    sleeper.begin_page(0, Span("000", "fff"))
    other = Journal(path, "other", "track_event")
    other.begin_page(0, Span("000", "fff"))
    sleeper.note(0, [("001", 1)], {})
    sleeper.close(keep=False)
    other.note(0, [("002", 2)], {})
    remains = read_remains(path)
    assert remains is not None
    assert remains.run_id == "other"
    assert [set(outcomes) for _, outcomes in remains.pages] == [{("002", 2)}]
    other.close(keep=False)
    assert not path.exists()
