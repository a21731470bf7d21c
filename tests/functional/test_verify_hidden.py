"""Records that Pendo has and hides, those of other apps, and those that it updated of late (`verify --since`)."""

import time

import pytest
from harness import chosen, custom, expect_in, planned, sent_ids
from test_verify import counts, mapping, pendo, synced, verify, write  # noqa: F401 - fixtures

from dbt_pendo.pendo import records as readback
from dbt_pendo.sandbox import Fault, Sandbox


@pytest.fixture
def hiding(synced, pendo) -> Sandbox:
    """A Pendo that has one record otherwise, lacks one, and hides four: excluded, not processed, and deleted."""
    pendo.switches = chosen(exclude_list_option="taken", deletion_seconds=0)
    write(pendo, "v1", seats=99)
    with pendo.pendo.lock:
        visitors = pendo.pendo.records["visitor"]
        for key in ("v2", "v6"):
            visitors.remove(key, pendo.switches)
        visitors.forget("v6")
    pendo.exclude_visitors(["v3", "v4", "stranger"])
    pendo.add_visitors({"v5": {"pendo": {"donotprocess": True}}, "stranger": {}})
    pendo.forget_requests()
    return pendo


def hidden(result) -> tuple[int, int, int]:
    return result["excluded"], result["do_not_process"], result["not_there"]


def test_what_pendo_hides_is_neither_missing_nor_sent_anew(synced, hiding, monkeypatch):
    monkeypatch.setattr(readback, "RECORDS_PER_PAGE", 1)
    before = custom(hiding.visitors)
    result = verify(synced, status=1)
    assert (counts(result), hidden(result), result["rows"]) == ((54, 1, 1, 0), (2, 2, 1), 60)
    assert result["warnings"] == []
    told = synced.run("verify").expect(1).stdout
    expect_in(told, "[54 equal, 1 drifted, 1 missing, 4 hidden]", "1 of 60 rows is not there: 1 missing (e.g. v2)")
    expect_in(told, "Pendo has 4 rows and hides them: 2 on its exclude list (e.g. v", "2 marked Do Not Process (e.g. v")
    result = verify(synced, "--repair")
    assert (result["repaired"]["planned"]["added"] + result["repaired"]["planned"]["changed"], hidden(result)[2]) == (
        2,
        1,
    )
    assert sent_ids(hiding.requests, "visitor") == ["v1", "v2"]
    after = custom(hiding.visitors)
    assert {key: after[key] for key in before if key != "v1"} == {k: v for k, v in before.items() if k != "v1"}
    assert after["v2"]["seats"] == 2
    result = verify(synced)
    assert (counts(result), hidden(result)) == ((56, 0, 0, 0), (2, 2, 0))
    expect_in(synced.run("verify").expect(0).stdout, "4 rows cannot be compared, as Pendo hides them. Of the others")


def test_what_pendo_hides_is_not_adopted_as_the_warehouse_has_it(synced, hiding):
    adopted = synced.run("reset", "--all", "--from-pendo", "--json").expect(0).result()
    assert (adopted["adopted"], adopted["drifted"], adopted["missing"]) == (54, 1, 1)
    assert synced.plan().planned == planned(added=1, changed=5, unchanged=54)


@pytest.mark.parametrize(
    ("switch", "words"),
    [
        ("refused", "exclude list (Pendo does not let visitors be read (HTTP 400"),
        ("ignored", "exclude list (it takes no notice of the option `blacklist`)"),
    ],
)
def test_an_exclude_list_that_cannot_be_seen(synced, hiding, switch, words):
    hiding.switches = chosen(exclude_list_option=switch, error_bodies="json")
    result = verify(synced, status=1)
    assert (counts(result), hidden(result)) == ((54, 1, 3, 0), (0, 2, 3))
    (warning,) = result["warnings"]
    expect_in(warning, "Pendo does not say which visitors are on its ", words, "a missing one may be such")
    assert warning in synced.run("verify").expect(1).stdout


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_source_that_pendo_does_not_have(synced, hiding, status):
    hiding.fail(Fault(status=status, body="no", path="/aggregation", body_contains="doNotProcess", times=None))
    result = verify(synced, status=1)
    assert (counts(result), hidden(result)) == ((54, 1, 3, 0), (2, 0, 3))
    assert [f"HTTP {status}" in warning for warning in result["warnings"]] == [True]


def test_accounts_of_all_apps(project, pendo):
    project.model(
        "orgs", mapping("account", mode="upsert", fields={"name": "id"}), "select 'a' || i as id from range(9) r(i)"
    )
    project.sync()
    with pendo.pendo.lock:
        for number, app in enumerate(("web", "", "web")):
            event = {"type": "track", "event": "E", "visitorId": "v", "accountId": f"a{number}"}
            pendo.pendo.receive_events({**event, "timestamp": int(time.time() * 1000)}, app, pendo.switches)
    pendo.switches = chosen(accounts_without_app_id="default app")
    assert counts(verify(project)) == (9, 0, 0, 0)
    # Or of those that Pendo tells of at once.
    pendo.switches = chosen(accounts_without_app_id="all apps")
    pendo.fail(Fault(status=400, body="no", path="/aggregation", body_contains="appId", times=None))
    assert counts(verify(project)) == (9, 0, 0, 0)


def test_accounts_that_pendo_does_not_tell_of_where_parent_accounts_are_on(project, pendo):
    ids = "select unnest(['p::a', 'p::b', 'p', 'q']) as id"
    project.model("orgs", mapping("account", mode="upsert", fields={"name": "id"}), ids)
    project.sync()
    with pendo.pendo.lock:
        pendo.pendo.records["account"].remove("q", pendo.switches)
    for only_children, missing in ((False, 1), (True, 2)):
        pendo.switches = chosen(child_accounts_only=only_children)
        result = verify(project, status=1)
        told = ["parent accounts are on" in warning for warning in result["warnings"]]
        assert (result["missing"], told) == (missing, [True] * only_children)


def age(sandbox: Sandbox, days: float, *keys: str) -> None:
    """Lets Pendo have updated records so long ago."""
    at = int((time.time() - days * 24 * 3600) * 1000)
    sandbox.add_visitors({key: {"auto": {"lastupdated": at}} for key in keys})


@pytest.mark.parametrize("takes_since", [True, False])
def test_only_what_pendo_updated_of_late(synced, hiding, takes_since):
    age(hiding, 3, *(f"v{number}" for number in range(7, 61)))
    age(hiding, 1, "v1", "v8", "v9", "stranger", "other")
    write(hiding, "v1", seats=99)
    write(hiding, "v10", seats=99)
    if not takes_since:
        hiding.fail(Fault(status=400, body="no", path="/aggregation", body_contains='"since"', times=None))
    result = verify(synced, "--since", "2d", status=1)
    assert (counts(result), result["rows"], hidden(result)) == ((2, 1, 0, 1), 3, (0, 0, 0))
    assert [example["key"] for example in result["examples"]] == ["v1"]
    expect_in(synced.run("verify", "--since", "2d").expect(1).stdout, "looked only at what Pendo updated since", "UTC")
    # What is older is no concern of it.
    hiding.forget_requests()
    assert verify(synced, "--since", "36h", "--repair")["repaired"]["delivered"] == 1
    assert sent_ids(hiding.requests, "visitor") == ["v1"]
    assert (hiding.visitors["v10"]["custom"]["seats"], "v2" in hiding.visitors) == (99, False)
    assert "Of what it updated since then" in synced.run("verify", "--since", "2d").expect(0).stdout
    # The repair itself is an update.
    assert verify(synced, "--since", "12h")["rows"] == 1
    assert verify(synced, "--since", "2001-01-31", status=1)["drifted"] == 1


@pytest.mark.parametrize("wrong", ["2", "d", "2 weeks", "yesterday", "-1d", "2026-02-30", ""])
def test_a_time_that_is_none(synced, wrong):
    told = synced.run("verify", "--since", wrong).expect(2).output
    expect_in(told, f"--since '{wrong}' is no time", "`2d`, `12h` or `2026-01-31`")


def test_a_time_that_is_still_to_come(synced):
    told = synced.run("verify", "--since", "2056-01-31T00:00+02:00").expect(2).output
    expect_in(told, "--since 2056-01-31T00:00+02:00 is still to come", "Give a time")
