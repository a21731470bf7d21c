"""Bulk deletion (pendo-api.md 7): what is refused, which calls share a job, and how the jobs are shown."""

import pytest

ROOT = "/api/v1/bulkdelete"
DELETION = f"{ROOT}/visitor"
EVENT = {"type": "track", "event": "E", "visitorId": "v1", "timestamp": 1}


def delete(pendo, *ids, kind="visitor"):
    return pendo.post(f"{ROOT}/{kind}", {f"{kind}s": list(ids)})


def state(pendo, job):
    return pendo.get(f"{ROOT}/{job}").json()["status"]


def test_a_deletion_that_is_carried_out_at_once(pendo):
    pendo.switch(deletion_seconds=0.0)
    for kind, record_id in (("visitor", "v1"), ("account", "a1")):
        job = delete(pendo, record_id, "nobody", kind=kind).json()["id"]
        assert pendo.get(f"/api/v1/{kind}/{record_id}").status_code == 404
        # It is kept for ever, and not listed any more.
        assert (state(pendo, job), pendo.get(ROOT).json()) == ("complete", [])
        # Marked Do Not Process: not even create brings it back.
        assert pendo.write({record_id: {}}, kind=kind, create=True).json()["missing"] == [record_id]
        # It has ended, so it may be requested again.
        assert delete(pendo, record_id, kind=kind).ok
    assert pendo.get(f"{ROOT}/none").status_code == 404


def test_500_ids_a_call_and_none_that_waits(pendo, sandbox):
    pendo.switch(deletion_seconds=None)
    for body in ({}, [], {"visitors": []}, {"visitors": [1]}, {"accounts": ["a1"]}, {"visitors": ["x"] * 501}):
        assert pendo.post(DELETION, body).status_code == 400
    assert delete(pendo, *map(str, range(500))).ok
    # One that waits spoils its call: nothing of it is taken.
    assert delete(pendo, "v1", "7").status_code == 400
    assert "v1" in sandbox.visitors
    assert delete(pendo, "v1").ok
    assert delete(pendo, "v1").status_code == 400
    # An account may have the id of a visitor.
    assert delete(pendo, "v1", kind="account").ok


def test_calls_of_a_kind_share_a_job_until_it_begins(pendo):
    pendo.switch(deletion_seconds=None, deletion_calls_per_job=2)
    found = [delete(pendo, f"x{at}").json() for at in range(3)]
    account = delete(pendo, "a1", kind="account").json()["id"]
    first, shared, second = (one["id"] for one in found)
    assert (first, found[1]["count"]) == (shared, 2)
    assert len({first, second, account}) == 3
    pendo.switch(deletion_seconds=0.0)
    assert {state(pendo, job) for job in (first, second, account)} == {"complete"}
    assert delete(pendo, "x4").json()["id"] not in {first, second, account}


@pytest.mark.parametrize("names_ids", [False, True])
def test_forms_of_the_list_and_words_of_the_state(pendo, names_ids):
    pendo.switch(deletion_seconds=None, deletion_calls_per_job=1, deletion_states=("waits", "over", "broken"))
    pendo.switch(deletion_list_names_ids=names_ids)
    jobs = [delete(pendo, "v1").json()["id"], delete(pendo, "a1", kind="account").json()["id"]]
    pendo.switch(deletion_list="array")
    array = pendo.get(ROOT).json()
    assert [(one["id"], one["kind"], one["status"]) for one in array] == [
        *((jobs[0], "visitor", "waits"), (jobs[1], "account", "waits"))
    ]
    named = [one.get("visitors", one.get("accounts")) for one in array]
    assert named == ([["v1"], ["a1"]] if names_ids else [None, None])
    pendo.switch(deletion_list="object")
    assert pendo.get(ROOT).json() == {"bulkDeletes": array}
    pendo.switch(deletion_list="by id")
    assert [{"id": job, **one} for job, one in pendo.get(ROOT).json().items()] == array
    pendo.switch(deletion_seconds=0.0, deletion_end="failed")
    assert (pendo.get(ROOT).json(), [state(pendo, job) for job in jobs]) == ({}, ["broken", "broken"])


def test_deletion_may_take_a_while_or_for_ever_or_fail(pendo, sandbox):
    pendo.switch(deletion_seconds=None, deletion_end="failed", deletion_states=("queued", "complete", "failed"))
    fails = delete(pendo, "v1").json()
    assert (fails["status"], pendo.get("/api/v1/visitor/v1").status_code) == ("queued", 200)
    pendo.track(EVENT)
    pendo.switch(deletion_seconds=0)
    assert (state(pendo, fails["id"]), "v1" in sandbox.visitors) == ("failed", True)
    # And the mark is off.
    pendo.track(EVENT)
    pendo.switch(deletion_seconds=0.1, deletion_end="complete")
    lasts = delete(pendo, "v1").json()
    assert lasts["status"] == "queued"
    pendo.until(lambda: pendo.get("/api/v1/visitor/v1").status_code == 404)
    assert state(pendo, lasts["id"]) == "complete"
    # Events of the deleted are taken and dropped.
    assert pendo.track(EVENT).status_code == 200
    assert [receipt.ignored for receipt in sandbox.receipts] == [True, False, True]
    assert ("v1" in sandbox.visitors, pendo.get("/api/v1/tracktype").json()) == (False, [])
