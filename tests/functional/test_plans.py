"""What `check` and `plan` foresee: rows that cannot be sent, types that do not fit, how long it takes, what changes."""

import pytest
from harness import CLICK_ROWS, CLICKS, PEOPLE, SmallProject, add_fields, expect_in, writes

from dbt_pendo.sandbox import Sandbox

SEATED = {**PEOPLE, "fields": {"seats": {"column": "chairs"}, "plan": "plan"}}
SEATS = "select 'v' || i as id, case when i % 3 = 0 then 'no ' || i else '7' end as chairs, 'pro' as plan"


@pytest.fixture
def seated(people: SmallProject, sandbox: Sandbox) -> SmallProject:
    """Visitors whose field `seats` is a whole number, in a text column that says so of two in three."""
    add_fields(sandbox, seats="integer")
    people.model("people", SEATED, f"{SEATS} from range(1, 10) r(i) union all select null, '1', 'pro'")
    return people


def test_invalid_rows_are_foreseen(seated, sandbox):
    checked, planned = seated.check().result(), seated.plan().result()
    by_column = {one.pop("column"): one for one in checked["invalid"]}
    assert by_column["id"] == {"reason": "the key is null", "rows": 1, "key": None, "of": 10, "is_sample": False}
    found = by_column["chairs"]
    assert (found["rows"], found["of"], found["key"] in ("v3", "v6", "v9")) == (3, 10, True)
    assert [(one["column"], one["rows"], one["of"]) for one in planned["invalid"]] == [("id", 1, 10), ("chairs", 3, 9)]
    assert planned["planned"]["invalid"] == 1
    told = "4 of 10 rows would be invalid: seats: "
    seated.run("check", "--warn-error").expect(1).says(told, "the key is null (1, column id)", "column chairs)")
    seated.run("plan").expect(0).says("1 of 10 rows would be invalid", "3 of 9 rows would be invalid")
    assert writes(sandbox.requests) == []
    assert seated.sync().planned["invalid"] == 4
    # Of a larger table a sample is converted.
    seated.build("people", f"{SEATS} from range(1, 5001) r(i)")
    for result in (seated.check().result(), seated.plan().result()):
        (found,) = result["invalid"]
        assert (found["of"], found["is_sample"], 250 < found["rows"] < 420) == (1000, True, True)
        assert f"{found['rows']} of 1,000 sampled rows would be invalid" in "".join(result["warnings"])


def test_the_columns_of_values_that_cannot_be_sent(project):
    of_event = {
        "account_id": {"parent": "org", "child": "unit"},
        "properties": {"n": {"column": "m", "type": "integer"}},
    }
    project.model(
        "clicks",
        {**CLICKS, **of_event, "visitor_id": "who"},
        "select *, now()::timestamp as at from (values ('a', null, 'o', 'u', '1'), ('b', 'v', null, 'u', '1'), "
        "('c', 'v', 'o', 'u', 'x')) rows(id, who, org, unit, m)",
    )
    columns = {one["key"]: one["column"] for one in project.check().result()["invalid"]}
    assert columns == {"a": "who", "b": "org", "c": "m"}


def test_the_type_of_a_mapping_beside_that_of_the_field(people, sandbox):
    fitting = {"n": ("integer", "float"), "m": ("float", "integer"), "s": ("string", "time"), "any": ("", "boolean")}
    odd = {"count": ("integer", "string"), "name": ("string", "integer"), "day": ("time", "string")}
    add_fields(sandbox, **{field: declared for field, (declared, _) in {**fitting, **odd}.items()})
    people.build("people", "select 'a' as id, null::varchar as plan")
    for types, status in ((fitting, 0), ({**fitting, **odd}, 2)):
        fields = {field: {"column": "plan", "type": type_} for field, (_, type_) in types.items()}
        people.annotate("people", {**PEOPLE, "fields": fields})
        for command in ("check", "plan", "fields"):
            shown = people.run(command).expect(status).output
            for field, (declared, type_) in types.items():
                told = f"people: `type: {type_}` of `{field}` does not fit Pendo's field, which is of type {declared}."
                assert (told in shown) == (field in odd)
            assert ("remove or correct `type`" in shown) == bool(status)
    assert writes(sandbox.requests) == []


def test_a_plan_says_of_how_many_syncs_it_would_not_be_done(project, plans):
    project.model("clicks", {**CLICKS, "max_changes": 3}, CLICK_ROWS)
    project.run("plan").expect(0).says("Nothing was sent. `dbt-pendo sync` would skip or block all of it: see above.")
    project.model("more", CLICKS, CLICK_ROWS.replace("'e'", "'m'"))
    project.run("plan").expect(0).says(
        "`dbt-pendo sync` does it, in about 12 requests and less than a minute, but for 1 of 2 syncs: see above."
    )


def test_how_many_requests_and_how_long(project, plans):
    project.model("clicks", CLICKS, CLICK_ROWS)
    ended = project.plan("--concurrency", "3")
    assert ended.result()["estimate"] == {"requests": 12, "seconds": 1.2, "is_measured": False}
    project.run("plan").expect(0).says("`dbt-pendo sync` does it, in about 12 requests and less than a minute.")
    project.sync()
    assert "does it." in project.run("plan").expect(0).stdout
    # From now on as fast as the last run that tells.
    project.sql("update main_pendo.pendo_runs set requests = 1000, duration = 2000")
    project.build("clicks", CLICK_ROWS.replace("range(12)", "range(3012)"))
    result = project.plan().result()
    assert result["estimate"] == {"requests": 3000, "seconds": 6000, "is_measured": True}
    told = "3,000 requests take about 1.7 hours at the pace of earlier runs: a larger `batch_size`"
    assert any(told in warning for warning in result["warnings"])
    assert project.plan("--requests-per-second", "0.25").result()["estimate"]["seconds"] == 12_000
    # As many requests as there are: of two groups, of records that left, of a segment.
    plans.add_field("visitor", "agent", "plan", "string")
    plans.add_visitors([f"v{i}" for i in range(60)])
    both = {"plan": "plan", "role": {"column": "plan", "group": "agent"}}
    plans.add_field("visitor", "agent", "role", "string")
    for name, mapping in {
        "people": {**PEOPLE, "fields": both, "batch_size": 20, "on_removed": "clear"},
        "members": {"object": "segment", "segment": "All", "visitor_id": "id"},
    }.items():
        project.model(name, mapping, "select 'v' || i as id, 'pro' as plan from range(50) r(i)")
        for rows in (50, 60, 30):
            project.build(name, f"select 'v' || i as id, 'x{rows}' as plan from range({rows}) r(i)")
            expected = project.plan("--select", name).result()["estimate"]["requests"]
            plans.forget_requests()
            project.sync("--select", name)
            assert len(writes(plans.requests)) == expected, (name, rows)


def test_how_much_a_run_scans(project, plans):
    project.model("people", PEOPLE, "select 'v' || i as id, 'pro' as plan from range(50) r(i)")
    # Two columns of fifty rows, and the keys once more; without a ledger there is nothing to compare with.
    first = project.plan().result()["bytes_scanned"]
    assert first == 50 * 3 * 16
    project.run("plan").expect(0).says("    scans about 2.4 kB")
    project.sync()
    assert project.plan().result()["bytes_scanned"] > first
    # Of a model that is not there nothing is said.
    project.sql("drop table main.people")
    ended = project.run("plan", "--json").expect(2)
    assert ended.result()["bytes_scanned"] is None
    assert "scans" not in project.run("plan").expect(2).output


def test_changed_rows_beside_what_pendo_holds(seated, sandbox, monkeypatch):
    # Of three visitors Pendo holds other values than the model now has, and one it has lost.
    sandbox.add_visitors(["v1", "v2", "v4"])
    rows_of_three = "('v1', '1', 'pro'), ('v2', '2', 'pro'), ('v4', '4', 'pro')"
    seated.build("people", f"select * from (values {rows_of_three}) r(id, chairs, plan)")
    seated.sync()
    sandbox.reset()
    add_fields(sandbox, seats="integer", plan="string")
    sandbox.add_visitors({"v1": {"custom": {"seats": 5, "plan": "pro"}}, "v4": {}})
    seated.sql("update main.people set plan = 'free'; update main.people set chairs = 'many' where id = 'v4'")
    sandbox.forget_requests()
    rows = {one["key"]: one for one in seated.plan("--diff", "9").result()["diff"]}
    assert rows["v1"] == {
        "key": "v1",
        "note": None,
        "fields": [
            {"name": "seats", "pendo": "5", "sent": "1", "differs": True},
            {"name": "plan", "pendo": "pro", "sent": "free", "differs": True},
        ],
    }
    assert (rows["v2"]["note"], rows["v2"]["fields"][0]["pendo"]) == ("Pendo does not know this id", None)
    expect_in(rows["v4"]["note"], "would be invalid: seats: ", "many")
    assert len(seated.plan("--diff", "1").result()["diff"]) == 1
    seated.run("plan", "--diff", "9").expect(0).says("  seats  5    →  1\n  plan   pro  →  free\n")
    monkeypatch.setenv("DBT_PENDO_MASK", "plan,chairs")
    shown = seated.plan("--diff", "9", "--show", "9").stdout
    assert not [value for value in ('"free"', '"5"', "many") if value in shown]
    assert '"differs": true' in shown
    assert writes(sandbox.requests) == []
    # What cannot be read back, and without the key to read it.
    seated.model("clicks", CLICKS, CLICK_ROWS)
    told = "--diff shows nothing of it: Pendo's API does not let events be read back"
    seated.run("plan", "--diff", "9").expect(0).says(told, "v2")
    monkeypatch.delenv("PENDO_INTEGRATION_KEY")
    seated.run("plan", "--diff", "1", "--select", "people").expect(2).says("PENDO_INTEGRATION_KEY")
