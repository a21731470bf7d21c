"""The tables dbt-pendo keeps in the warehouse: ledger, change set, run log."""

import datetime
import re
from collections import Counter

import pytest
from harness import CLICK_ROWS, CLICKS, PEOPLE, SmallProject, add_fields, expect_in, planned, refuse, writes

from dbt_pendo.sandbox import Fault, Sandbox

# Every status at once: `a` is delivered, `stranger` missing, `bad` rejected, and all others are invalid.
ROWS = """
    select * from (values ('a', '3'), ('stranger', '3'), ('bad', '4'), ('twice', '3'), ('twice', '3'), ('far', 'x'),
        (null, '3'), ('  ', '3'), ('_PENDO_T_1', '3'), ('VISITOR-UNIQUE-ID', '3')) rows(id, plan)"""
ONE = "select 'a' as id, '3' as plan"


@pytest.fixture
def people(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    sandbox.add_field("visitor", "custom", "plan", "integer")
    sandbox.add_visitors(["a", "bad", "b"])
    project.model("people", PEOPLE, ROWS)
    return project


@pytest.fixture
def one(people: SmallProject, sandbox: Sandbox) -> SmallProject:
    """A project with one row, which has been delivered."""
    people.build("people", ONE)
    people.sync()
    sandbox.forget_requests()
    return people


def test_the_ledger_says_what_happened_to_each_row(people, sandbox, monkeypatch):
    # Its clock is UTC.
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    refuse(sandbox, "bad", "no such luck")
    ended = people.sync(status=1)
    assert (ended.planned, ended.outcome) == (planned(added=3, invalid=7), ("partial", 1, 1, 1))
    entries = {entry["record_key"]: entry for entry in people.ledger("people")}
    invalid = {
        "twice": "2 rows have this key",
        "far": "plan: 'x' is not a whole number",
        "  ": "the key is empty",
        **dict.fromkeys(("_PENDO_T_1", "VISITOR-UNIQUE-ID"), "an anonymous visitor id"),
    }
    assert {key: (entry["status"], entry["detail"]) for key, entry in entries.items()} == {
        "a": ("delivered", None),
        "stranger": ("missing", "Pendo does not know this id"),
        "bad": ("rejected", "HTTP 400: no such luck"),
        **{key: ("invalid", reason) for key, reason in invalid.items()},
    }
    columns = ["record_key", "row_hash", "change", "status", "detail", "attempts", "run_id", "logged_at"]
    assert list(entries["a"])[:8] == columns
    changes = {"invalid": None, **dict.fromkeys(("delivered", "missing", "rejected"), "added")}
    assert {entry["status"]: entry["change"] for entry in entries.values()} == changes
    reasons = ("2 rows have this key (2, e.g. twice)", "an anonymous visitor id (2", "the key is empty (1")
    expect_in(ended.result()["message"], *reasons)
    assert {entry["run_id"] for entry in entries.values()} == {ended.json["metadata"]["run_id"]}
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert all(abs(entry["logged_at"] - now) < datetime.timedelta(hours=1) for entry in entries.values())
    # What is invalid is counted in each run and logged once, for another reason once more; and sent when mended.
    sandbox.clear_faults()
    sandbox.add_visitors(["twice", "far"])
    for value in ("x", "y"):
        people.sql("update main.people set plan = ? where id = 'far'", [value])
        assert people.sync().planned["invalid"] == 7
    logged = [
        (entry["record_key"], entry["detail"]) for entry in people.ledger("people") if entry["status"] == "invalid"
    ]
    assert sorted(logged) == sorted([*invalid.items(), ("far", "plan: 'y' is not a whole number")])
    people.build("people", "select * from (values ('a', '3'), ('twice', '3'), ('far', '5')) rows(id, plan)")
    assert people.sync().planned == planned(added=2, removed=1, unchanged=1)


def test_show_lists_each_row_that_was_not_delivered(people, sandbox):
    refuse(sandbox, "bad", "no such luck")
    people.build("people", f"{ROWS} union all select 'far' || i, 'x' from range(25) r(i)")
    # The ledger logs an invalid row in the first run only.
    people.run("sync").expect(1)
    (hint,) = re.findall("`dbt-pendo (show [0-9a-f]{6} --rows)` lists the rows", people.run("sync").expect(1).stdout)
    every = people.run(*hint.split(), "--output", "json").expect(0).json
    told = Counter((row["status"], row["key"] and row["key"].rstrip("0123456789")) for row in every)
    invalid = {"far": 26, "twice": 2, None: 1, "  ": 1, "_PENDO_T_": 1, "VISITOR-UNIQUE-ID": 1}
    failed = {("rejected", "bad"): 1, ("missing", "stranger"): 1}
    assert told == {**failed, **{("invalid", key): rows for key, rows in invalid.items()}}
    of_far = {row["detail"] for row in every if (row["key"] or "").startswith("far")}
    assert of_far == {"plan: 'x' is not a whole number"}
    assert len(people.run("show", "--rows", "--output", "csv").expect(0).stdout.splitlines()) == 1 + len(every)
    told = people.run("show").expect(0).stdout
    expect_in(told, "bad", "rejected  HTTP 400: no such luck", "invalid", "  … and 14 more; --rows lists them")


def test_a_failed_sync_says_why_rows_are_invalid(people, sandbox, monkeypatch):
    monkeypatch.setenv("PENDO_RETRIES", "0")
    sandbox.fail(Fault(status=503, path="/value", times=None))
    failed = people.run("sync").expect(1).stdout
    expect_in(
        failed, "[ERROR, 0 delivered, 7 invalid in", "in 1 attempt; the last: HTTP 503", "2 rows have this key (2, e.g."
    )
    expect_in(
        people.run("show").expect(0).stdout, "2 rows have this key (2, e.g. twice)", "_PENDO_T_1         invalid  an an"
    )


def test_a_changed_mapping_resends_visitors(project, sandbox):
    add_fields(sandbox, plan="string", source="string", team="string")
    sandbox.add_visitors(["a", "b"])
    mapping = {**PEOPLE, "fields": {"plan": "plan", "source": {"value": "dbt"}}}
    project.model("people", mapping, "select * from (values ('a', 'x', 'y'), ('b', 'x', null)) rows(id, plan, other)")
    project.sync()
    for change in (
        {"fields": {"plan": "other"}},
        {"fields": {"plan": "plan", "source": {"value": "elsewhere"}}},
        {"nulls": "skip"},
        {"on_invalid": None},
        {"fields": {"plan": "plan", "source": {"value": "dbt"}, "team": "other"}},
    ):
        project.annotate("people", {**mapping, **change})
        assert project.sync().planned == planned(changed=2), change
    assert project.sync().planned == planned(unchanged=2)


def test_what_sends_nothing_else_resends_nothing(one, sandbox):
    guards = {"max_changes": 3, "max_removals": "5%"}
    one.annotate("people", {**PEOPLE, **guards, "batch_size": 7, "on_removed": "clear", "create_fields": True})
    assert one.sync().planned == planned(unchanged=1)
    # Nor does a column that is not mapped, or another place of one that is.
    for columns_now in ("'a' as id, '3' as plan, 1 as other", "2 as other, '3' as plan, 'a' as id, 3 as another"):
        one.build("people", f"select {columns_now}")
        assert one.sync().planned == planned(unchanged=1)
    assert writes(sandbox.requests) == []


def test_the_run_log(people, sandbox):
    people.model("orgs", {"object": "account", "account_id": "id", "mode": "upsert"}, "select 'o' as id")
    people.model("broken", {**PEOPLE, "fields": {"plan": "nowhere"}}, ROWS)
    refuse(sandbox, "bad")
    documents = [people.sync(status=1).json, people.sync("--select", "orgs").json]
    rows = people.rows("main_pendo.pendo_runs order by logged_at, sync")
    told = {(row["run_id"], row["sync"]): row for row in rows}
    assert len(told) == len(rows) == 4
    for document in documents:
        for result in document["results"]:
            row = told[document["metadata"]["run_id"], result["sync"]]
            flat = {**result, **result["planned"]}
            flat |= {name: result["delivered_by"][name] for name in ("deleted", "cleared")}
            for name in ("planned", "duration", "delivered_by", "created_fields"):
                del flat[name]
            assert {name: row[name] for name in flat} == flat
            assert row["duration"] == pytest.approx(result["duration"], abs=0.001)


def test_a_plan_stores_nothing(people, sandbox):
    before = people.schemas()
    document = people.plan("--show", "10").json
    assert document["results"][0]["planned"] == planned(added=4, invalid=6)
    # A dry run is a plan.
    assert people.run("sync", "--dry-run", "--json").expect(0).json == people.plan().json
    people.run("sync", "--dry-run", "--full-refresh").expect(0)
    people.run("check").expect(0)
    assert people.schemas() == before == set()
    assert writes(sandbox.requests) == []
    assert not (people.target / "pendo_results.json").exists()
    # Nor after a sync.
    people.sync()
    before = [people.rows(f"main_pendo.{table}") for table in sorted(people.tables())]
    people.sql("update main.people set plan = '7' where id = 'a'")
    assert people.plan().planned == planned(added=2, changed=1, unchanged=1, invalid=6)
    assert [people.rows(f"main_pendo.{table}") for table in sorted(people.tables())] == before


def test_events_of_a_renamed_model_are_not_sent_again_without_a_word(project, sandbox):
    project.model("clicks", CLICKS, CLICK_ROWS)
    project.sync()
    sent = len(sandbox.events)
    project.annotate("clicks", None)
    project.model("taps", CLICKS, CLICK_ROWS.replace("12", "13"))
    project.model("others", CLICKS, CLICK_ROWS.replace("'e'", "'o'"))

    (others, taps) = project.plan().json["results"]
    assert others["note"] is None
    expect_in(
        taps["note"],
        "blocked:",
        f"the ledger of clicks, a sync that the project does not have, has {sent} of its {sent + 1} event ids",
        "ledger of clicks",
        'main_pendo"."clicks__ledger" rename to taps__ledger`',
    )
    assert taps["note"] in project.check().result("taps")["warnings"]
    assert project.sync(status=1).statuses == {"others": "success", "taps": "blocked"}
    assert len(sandbox.events) == 2 * sent

    project.sql("alter table main_pendo.clicks__ledger rename to taps__ledger")
    assert project.sync().result("taps")["delivered"] == 1
    assert len(sandbox.events) == 2 * sent + 1

    # A model of other events is free, and who wants them twice may have them.
    project.annotate("taps", None)
    project.model("more", CLICKS, CLICK_ROWS.replace("'e'", "'m'"))
    project.model("again", CLICKS, CLICK_ROWS)
    assert project.sync(status=1).statuses == {"again": "blocked", "more": "success", "others": "success"}
    assert project.sync("--force").result("again")["delivered"] == sent
