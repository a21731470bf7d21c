"""Deletions whose answers are lost, or that wait already: nobody is rejected, and exactly those meant are deleted."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from harness.pendo import bodies, chosen
from sending import SECRETS, VISITORS, Settled

from dbt_pendo.delivery import deletions
from dbt_pendo.delivery.send import Batch, Sender
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.delivery.writers import make_writers
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.outcomes import QUEUED_DELETION
from dbt_pendo.pendo import deletion
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.records.render import Record
from dbt_pendo.sandbox import Fault, Sandbox
from dbt_pendo.settings import Settings

PATH = "/api/v1/bulkdelete/visitor"
STAYING = {"s1", "s2"}
LEAVING = [f"r{number:04}" for number in range(1200)]
CALLS = [LEAVING[at : at + 500] for at in range(0, 1200, 500)]
LOST = {
    **{"502": Fault(status=502, body="<html>Bad Gateway</html>"), "408": Fault(status=408)},
    **{"503": Fault(status=503, headers={"Retry-After": "0"}), "garbage": Fault("garbage")},
    **{name: Fault(name) for name in ("reset", "close", "truncate")},
    "a 200 without a job": Fault(status=200, body="{}"),
}
LOST |= {f"{name} after": replace(fault, when="after") for name, fault in LOST.items()}
# Whether the list of open deletions names ids, in which form it comes, and how many calls share a job.
LISTS = {
    "ids": {"deletion_list_names_ids": True, "deletion_list": "array", "deletion_calls_per_job": 1},
    "ids of one job": {"deletion_list_names_ids": True, "deletion_list": "object", "deletion_calls_per_job": 9},
    "no ids": {"deletion_list_names_ids": False, "deletion_list": "array", "deletion_calls_per_job": 1},
    "no ids, one job": {"deletion_list_names_ids": False, "deletion_list": "by id", "deletion_calls_per_job": 9},
}
lists = pytest.mark.parametrize("shown", LISTS.values(), ids=LISTS)


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(switches=chosen()) as sandbox:
        yield sandbox


@pytest.fixture
def pendo(running: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    monkeypatch.setattr(deletion, "SECONDS_BETWEEN_DELETIONS", 0.0)
    monkeypatch.setattr(deletions, "DELETION_PATIENCE", 0.0)
    running.reset()
    running.add_visitors([*STAYING, *LEAVING])
    return running


def switch(pendo: Sandbox, **changes: Any) -> None:
    pendo.switches = chosen(
        **{"deletion_seconds": None, "deletion_calls_per_job": 1, "error_bodies": "text", **changes}
    )


def delete(pendo: Sandbox, keys: Sequence[str], retries: int = 3, size: int = 500) -> Settled:
    """Deletes visitors as a sync does; keeps what each of them was told."""
    settled = Settled()
    records = [Record(("000", number), key, ()) for number, key in enumerate(keys)]
    settings = Settings(api_url=pendo.url, data_url=pendo.url, retries=retries, **SECRETS)
    with PendoClient(settings) as client:
        sender = Sender(Stop().check, client.settings.max_error_share)
        (writer,) = make_writers(client, VISITORS, Stop()).deletions
        for at in range(0, len(records), size):
            sender.send(Batch(records[at : at + size]), [writer.write], settled)
    return settled


def sent(pendo: Sandbox) -> list[int]:
    """How many ids each call for a deletion had."""
    return [len(body["visitors"]) for body in bodies(pendo.requests, PATH)]


def jobs(settled: Settled, job: str = "delete-") -> int:
    """How many were told that they are queued as a job."""
    return sum((one.detail or "").startswith(f"{QUEUED_DELETION}{job}") for one in settled.outcomes.values())


def check(pendo: Sandbox, settled: Settled, leaving: Sequence[str] = LEAVING) -> None:
    """Nobody is rejected, and once Pendo has carried its jobs out, it holds those who stay, and nobody else."""
    assert settled.statuses() == ["delivered"] * len(leaving)
    pendo.switches = replace(pendo.switches, deletion_seconds=0.0)
    assert pendo.visitors.keys() == STAYING


@lists
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_a_lost_answer_rejects_nobody(pendo, fault, shown):
    """Each of the three calls is hit once."""
    switch(pendo, **shown)
    for call in CALLS:
        pendo.fail(replace(fault, path=PATH, method="POST", body_contains=f'"{call[0]}"'))
    settled = delete(pendo, LEAVING)
    assert jobs(settled) == 1200
    # Lost and taken: the list says so, or a few of the ids that are sent alone.
    again = [0] if fault.when == "before" else [] if shown["deletion_list_names_ids"] else [0, *[1] * deletions.SAMPLE]
    expected = [[len(call), *(size or len(call) for size in again)] for call in CALLS]
    assert (sent(pendo), pendo.faults) == (list(itertools.chain(*expected)), [])
    check(pendo, settled)


@lists
@pytest.mark.parametrize("seconds", [0.0, None])
def test_lost_answers_at_each_call_and_at_what_asks_after_them(pendo, shown, seconds):
    switch(pendo, **shown, deletion_seconds=seconds)
    for call in CALLS:
        for fault in (Fault("close", when="after"), Fault(status=502, when="after"), Fault("reset")):
            pendo.fail(replace(fault, path=PATH, method="POST", body_contains=f'"{call[0]}"'))
    pendo.fail(Fault(status=503, path="/bulkdelete$", method="GET", times=2))
    pendo.fail(Fault("reset", path="/bulkdelete/delete-", method="GET", times=2))
    check(pendo, delete(pendo, LEAVING))


@pytest.mark.parametrize("status", [403, 404])
def test_a_lost_answer_where_pendo_does_not_list_its_deletions(pendo, status):
    switch(pendo)
    pendo.fail(Fault(status=status, path="/bulkdelete$", method="GET", times=None))
    pendo.fail(Fault("close", when="after", path=PATH))
    settled = delete(pendo, LEAVING)
    assert (jobs(settled, "unknown"), jobs(settled)) == (500, 700)
    check(pendo, settled)


@pytest.mark.parametrize("bodies", ["text", "json", "empty"])
@lists
def test_those_that_wait_already_are_found_and_count_as_queued(pendo, shown, bodies):
    switch(pendo, **shown, error_bodies=bodies)
    before = [LEAVING[number] for number in (0, 1, 250, 499, 777)]
    delete(pendo, before)
    pendo.forget_requests()
    settled = delete(pendo, LEAVING)
    assert jobs(settled) == 1200
    if shown["deletion_list_names_ids"]:
        assert sent(pendo) == [500, 496, 500, 499, 200]
        assert jobs(settled, "delete-1") == (5 if shown["deletion_calls_per_job"] == 1 else 1200)
    else:
        assert len(sent(pendo)) < 100
    check(pendo, settled)


def test_a_lost_call_that_pendo_did_not_take_is_not_taken_for_one_that_waits(pendo):
    """Its answer is lost, it is refused when it is sent again, and all but few of its ids do not wait."""
    switch(pendo, deletion_list_names_ids=False)
    delete(pendo, LEAVING[:2])
    pendo.fail(Fault("close", path=PATH))
    check(pendo, delete(pendo, LEAVING))


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        *(("", True), ("Bad Request", True), ('{"error": "the visitor is already queued"}', True)),
        *(("invalid request: deletion already requested", True), ("invalid visitor id", False)),
        *(('{"message": "malformed id"}', False), ("id is not a valid visitor id", False)),
    ],
)
def test_what_a_400_says_of_one_id(pendo, said, waits):
    switch(pendo)
    pendo.fail(Fault(status=400, body=said, path=PATH, body_contains='"r0003"', times=None))
    settled = delete(pendo, LEAVING[:8])
    outcome = settled.outcomes.pop(("000", 3))
    assert outcome.status == ("delivered" if waits else "rejected")
    assert waits or outcome.detail.startswith("HTTP 400: ")
    assert set(settled.statuses()) == {"delivered"}


@pytest.mark.parametrize("said", ["", "Bad Request", "the visitor is already queued"])
@pytest.mark.parametrize("count", [1, 8])
def test_a_400_of_one_id_where_no_deletion_is_open(pendo, said, count):
    """Nobody waits, as Pendo carries out at once what it takes: a visitor that stays there is not deleted."""
    switch(pendo, deletion_seconds=0.0)
    pendo.fail(Fault(status=400, body=said, path=PATH, body_contains='"r0000"', times=None))
    settled = delete(pendo, LEAVING[:count])
    assert settled.statuses() == ["rejected", *["delivered"] * (count - 1)]
    assert pendo.visitors.keys() == {*STAYING, "r0000", *LEAVING[count:]}


def test_a_400_of_one_id_where_no_deletion_is_open_any_more(pendo):
    """A lost answer has shown an open deletion; all have ended by the time of the refusal."""
    switch(pendo, deletion_seconds=0.0)
    pendo.fail(Fault("close", when="after", path=PATH))
    pendo.fail(Fault(status=200, body='[{"id": "delete-1"}]', method="GET", path="/bulkdelete$"))
    pendo.fail(Fault(status=400, path=PATH, body_contains='"r0007"', times=None))
    settled = delete(pendo, LEAVING[:8], size=4)
    assert settled.statuses() == [*["delivered"] * 7, "rejected"]
    assert pendo.visitors.keys() == {*STAYING, "r0007", *LEAVING[8:]}


def test_a_deletion_is_not_repeated_for_ever(pendo):
    switch(pendo)
    pendo.fail(Fault(status=502, path=PATH, times=None))
    with pytest.raises(DbtPendoError, match=r"did not take POST /api/v1/bulkdelete/visitor .*HTTP 502"):
        delete(pendo, LEAVING, retries=2)
    assert sent(pendo) == [500] * 3
    # Without retries the answer is not asked for again.
    pendo.forget_requests()
    with pytest.raises(DbtPendoError, match="HTTP 502"):
        delete(pendo, LEAVING, retries=0)
    assert sent(pendo) == [500]
    assert pendo.visitors.keys() == {*STAYING, *LEAVING}


def test_the_jobs_of_several_calls_may_be_one_and_it_may_fail(pendo, monkeypatch):
    switch(pendo, deletion_calls_per_job=3)
    settled = delete(pendo, LEAVING)
    assert jobs(settled, "delete-1") == 1200
    check(pendo, settled)
    pendo.reset()
    pendo.add_visitors(LEAVING)
    switch(pendo, deletion_seconds=0.0, deletion_end="failed", deletion_states=("waiting", "over", "aborted"))
    with pytest.raises(DbtPendoError, match="Pendo's deletion delete-1 ended as aborted"):
        delete(pendo, LEAVING)
    assert len(pendo.visitors) == 1200
