"""``ls``, ``debug`` and ``prune``: what there is, whether it works, and what is left of syncs that are no more."""

from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, expect_in, writes


def test_ls_lists_the_syncs_of_a_selection(people):
    people.model("clicks", CLICKS, CLICK_ROWS)
    assert sorted(people.run("ls").expect(0).stdout.splitlines()) == ["clicks", "people"]
    assert people.run("ls", "--select", "clicks").expect(0).stdout == "clicks\n"
    assert people.run("ls", "--exclude", "clicks", "--json").expect(0).json["results"] == [
        {"sync": "people", "object": "visitor", "unique_id": "model.small.people", "file": "models/_models.yml"}
    ]


def test_debug_says_what_works(people, sandbox, monkeypatch):
    people.model("clicks", CLICKS, CLICK_ROWS)
    document = people.run("debug", "--json").expect(0).json
    assert {one["what"]: one["status"] for one in document["results"]} == dict.fromkeys(
        ("profile", "mappings", "warehouse", "rights there", "integration key", "track event secret"), "success"
    )
    assert "pendo_debug" not in people.tables()
    assert (sandbox.events, [one.records for one in writes(sandbox.requests) if one.status < 300]) == ([], [])

    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "wrong")
    monkeypatch.delenv("PENDO_TRACK_SECRET")
    said = people.run("debug").expect(2).output
    expect_in(said, "refused the integration key", "No Track Event shared secret is set", "Not everything works")
    (people.folder / "profiles.yml").write_text("small: {target: dev, outputs: {dev: {type: nothing}}}")
    said = people.run("debug").expect(2).output
    expect_in(said, "profile", "cannot be used", "integration key")
    # It is told once.
    assert said.count("cannot be used") == 1
    expect_in(said, "warehouse", "[SKIP not tried without a profile]", "Not everything works: profile, integration key")
    results = {one["what"]: one for one in people.run("debug", "--json").expect(2).json["results"]}
    assert (results["profile"]["status"], results["warehouse"]["status"]) == ("error", "skipped")
    assert "rights there" not in results


def test_prune_drops_what_is_left_of_syncs_that_are_no_more(people):
    people.model("others", PEOPLE, PEOPLE_ROWS)
    people.model("off", {**PEOPLE, "enabled": False}, PEOPLE_ROWS)
    people.sync()
    kept = people.tables()
    people.run("prune").expect(0).says("no table of a sync that is no more")
    people.annotate("others", None)
    # Nobody can say yes.
    people.run("prune").expect(1).says("others__changes, others__ledger", "Nothing was dropped")
    assert people.tables() == kept
    found = people.run("prune", "--yes", "--json").expect(0).json["results"]
    assert found == [{"sync": "others", "tables": ["others__changes", "others__ledger"], "notes": ["others"]}]
    assert people.tables() == kept - {"others__changes", "others__ledger"}
    assert people.plan().planned["unchanged"] == 2
    people.run("prune").expect(0).says("no table of a sync that is no more")


def noted(people):
    """The Pendo that is noted with each sync; None where it was forgotten."""
    rows = people.rows("main_pendo.pendo_subscriptions order by note_number")
    return {row["sync"]: row["host"] for row in rows}


def test_prune_finds_what_killed_commands_left_and_notes_without_tables(people):
    people.model("clicks", CLICKS, CLICK_ROWS)
    people.model("others", {**PEOPLE, "name": "theirs"}, PEOPLE_ROWS)
    people.sync()
    host = noted(people)["people"]
    assert noted(people) == {"people": host, "clicks (events)": host, "others.theirs": host}
    kept = people.tables()
    for name in ("clicks", "others"):
        people.annotate(name, None)
    people.sql("create table main_pendo.gone__compared as select 1 as one")
    people.sql("drop table main_pendo.clicks__ledger; drop table main_pendo.clicks__changes")
    # Nobody can say yes.
    said = people.run("prune").expect(1)
    said.says("gone__compared", "clicks ", "others__theirs__ledger, a note of its Pendo", "Nothing was dropped")
    assert noted(people) == {"people": host, "clicks (events)": host, "others.theirs": host}
    found = people.run("prune", "--yes", "--json").expect(0).json["results"]
    tables = ["others__theirs__changes", "others__theirs__ledger"]
    assert sorted(found, key=lambda one: one["sync"]) == [
        {"sync": "clicks", "tables": [], "notes": ["clicks (events)"]},
        {"sync": "gone", "tables": ["gone__compared"], "notes": []},
        {"sync": "others__theirs", "tables": tables, "notes": ["others.theirs"]},
    ]
    assert noted(people) == {"people": host, "clicks (events)": None, "others.theirs": None}
    assert people.tables() == kept - {*tables, "clicks__ledger", "clicks__changes"}
    people.run("prune").expect(0).says("no table of a sync that is no more")
