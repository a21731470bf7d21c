"""`--output csv|json`: the small tables of `runs`, `show` and `fields`, for other programs."""

import csv
import io
import json

from harness import Ended, SmallProject

from dbt_pendo.sandbox import Sandbox


def rows(ended: Ended) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(ended.stdout)))


def test_runs_their_syncs_and_their_calls(people: SmallProject) -> None:
    assert people.run("runs", "--output", "json").expect(0).json == []
    people.run("sync").expect(0)
    (run,) = people.run("runs", "--output", "json").expect(0).json
    assert (run["status"], run["delivered"], run["missing"], run["syncs"]) == ("success", 2, 0, 1)
    (row,) = rows(people.run("runs", "--output", "csv").expect(0))
    assert (list(row), row["run_id"], row["delivered"]) == (list(run), run["run_id"], "2")
    (sync,) = rows(people.run("show", "--output", "csv").expect(0))
    assert (sync["sync"], sync["planned_added"], sync["message"]) == ("people", "2", "")
    calls = people.run("show", "--requests", "--output", "json").expect(0).json
    assert [call["number"] for call in calls] == list(range(1, len(calls) + 1))
    (sent,) = [call for call in calls if call["rows"]]
    assert (sent["status"], json.loads(sent["keys"])) == (200, ["a", "b"])
    # Errors stay errors, and a table has one format.
    for command, told in {
        ("show", "nowhere", "--output", "csv"): "No run nowhere is logged.",
        ("runs", "--output", "csv", "--json"): "--output",
        ("runs", "--output", "xml"): "--output",
    }.items():
        ended = people.run(*command).expect(2)
        assert (ended.stdout, told in ended.stderr) == ("", True)


def test_fields_are_a_row_each_and_the_unmapped_follow(people: SmallProject, sandbox: Sandbox) -> None:
    hostile = '1,5 "x"\n::error::'
    sandbox.add_field("visitor", "custom", "unused", "string", display_name=hostile)
    found = people.run("fields", "--output", "json").expect(0).json
    assert (found[0]["sync"], found[0]["name"], found[0]["state"]) == ("people", "plan", "ok")
    assert [field["display_name"] for field in found if field["key"] == "unused"] == [hostile]
    table = people.run("fields", "--output", "csv").expect(0)
    # No cell spans lines, and none is a command to a CI system.
    assert len(table.stdout.splitlines()) == 1 + len(found)
    assert "\n::" not in table.stdout
    assert [field["state"] for field in rows(table)] == [field["state"] for field in found]
