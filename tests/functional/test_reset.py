"""``dbt-pendo reset``: a ledger forgotten, taken over, or made from what Pendo holds."""

from harness import PEOPLE, PEOPLE_ROWS, planned, sent_ids, writes


def test_all_of_a_selection_is_sent_again(people, sandbox):
    people.model("others", PEOPLE, PEOPLE_ROWS)
    people.sync()
    assert "[forgotten]" in people.run("reset", "--select", "others").expect(0).output
    assert "others__ledger" not in people.tables()
    counts = {result["sync"]: result["planned"] for result in people.sync().json["results"]}
    assert counts == {"people": planned(unchanged=2), "others": planned(added=2)}
    sandbox.forget_requests()
    assert "[2 rows adopted]" in people.run("reset", "--all", "--adopt").expect(0).output
    assert writes(sandbox.requests) == []
    assert "exclude each other" in people.run("reset", "--adopt", "--from-pendo").expect(2).output


def test_from_pendo_sends_only_real_differences(people, sandbox):
    sandbox.add_visitors({"a": {"custom": {"plan": "pro"}}, "b": {"custom": {"plan": "old"}}, "z": {}})
    people.annotate("people", {**PEOPLE, "mode": "upsert", "on_removed": "clear"})
    people.build("people", f"{PEOPLE_ROWS} union all select 'new', 'free'")
    assert people.run("reset", "--all", "--from-pendo", "--json").expect(0).result()["adopted"] == 1
    assert people.plan().planned == planned(added=1, changed=1, unchanged=1)
    sandbox.forget_requests()
    people.sync()
    # Nobody whom only Pendo has is taken for one that left the model.
    assert sent_ids(sandbox.requests, "visitor") == ["b", "new"]
    assert people.tables() == {"pendo_subscriptions", "pendo_runs", "people__ledger", "people__changes"}
