"""What the flags of `sync`, and those of `check` and `plan` beside it, do."""

from harness import CLICK_ROWS, CLICKS, PEOPLE, PEOPLE_ROWS, custom, sent_ids, writes


def test_limit_sends_a_part_of_all_changes_and_the_next_run_the_rest(project, plans, sandbox):
    mapping = {**PEOPLE, "mode": "upsert", "on_removed": "clear"}
    project.model("people", mapping, "select 'v' || i as id, 'x' as plan from range(40) r(i)")
    project.sync()
    # Ten leave, twenty change, ten come.
    project.build(
        "people",
        "select 'v' || i as id, if(i < 30, 'y', 'x') as plan from range(10, 50) r(i) union all select null, 'x'",
    )
    seen: set[str] = set()
    for expected in (15, 15, 10, 0):
        sandbox.forget_requests()
        result = project.sync("--limit", "15").result()
        ids = sent_ids(sandbox.requests, "visitor")
        assert (result["delivered"], len(ids), seen & set(ids)) == (expected, expected, set())
        # The row without a key is as wrong in each of them.
        assert (result["status"], result["planned"]["invalid"]) == ("warn", 1)
        seen.update(ids)
        waiting = 40 - len(seen)
        assert (f"{waiting} more rows wait (--limit)" in result["message"]) == (waiting > 0)
    assert custom(sandbox.visitors) == {
        f"v{at}": {} if at < 10 else {"plan": "y" if at < 30 else "x"} for at in range(50)
    }
    assert project.sync("--limit", "0", "--full-refresh").result()["delivered"] == 0
    assert writes(sandbox.requests) == []
    # It is for each sync.
    project.model("clicks", CLICKS, CLICK_ROWS)
    project.sync("--limit", "1", "--full-refresh")
    assert (len(sandbox.events), len(sent_ids(sandbox.requests, "visitor"))) == (1, 1)


def test_a_blocked_sync_does_not_stop_the_others(people, sandbox):
    people.model("clicks", {**CLICKS, "max_changes": 3}, CLICK_ROWS)
    assert people.sync(status=1).statuses == {"clicks": "blocked", "people": "success"}
    assert sandbox.events == []
    assert people.sync("--fail-fast", status=1).json["results"][1]["status"] == "skipped"


def test_check_tells_of_every_sync(people):
    people.model("one", {**PEOPLE, "fields": {"plan": "nowhere"}}, PEOPLE_ROWS)
    people.model("two", {**PEOPLE, "fields": {"nothing": "plan"}}, PEOPLE_ROWS)
    parts = ("no column `nowhere`", "no custom visitor field `nothing`", "2 of 3 mappings cannot be synced")
    people.run("check").expect(2).says(*parts)
