"""What machines read of a run: log lines with names that stay, and the summary of a GitHub Actions step."""

import json

import pytest
from harness import PEOPLE, SmallProject, refuse, select

# What `dbt --log-format json` writes under `info`.
DBT_INFO = {"category", "code", "extra", "level", "msg", "name", "pid", "thread", "ts"}


@pytest.fixture
def people(people: SmallProject) -> SmallProject:
    for name in ("people", "other|*people*"):
        people.model(name, PEOPLE, select("id, plan", ("a", "pro"), ("b", "free"), ("c", "pro")))
    return people


def logged(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_line_of_a_sync_is_an_object_with_the_name_of_what_happened(people, sandbox):
    refuse(sandbox, "b", "no")
    lines = logged(people.run("sync", "-s", "people", "--log-format", "json").expect(1).stdout)
    assert all(set(line) == {"data", "info"} and set(line["info"]) == DBT_INFO for line in lines)
    named = {line["info"]["name"]: line for line in lines if line["info"]["name"] != "Note"}
    assert list(named) == ["CommandStarted", "SyncsFound", "Opened", "SyncStarted", "SyncFinished", "RunFinished"]
    assert named["SyncsFound"]["data"]["syncs"] == ["people"]
    assert named["SyncFinished"]["data"]["result"] == people.results()["results"][0]
    assert named["SyncFinished"]["info"]["level"] == "error"
    assert named["RunFinished"]["data"]["run_id"] == people.results()["metadata"]["run_id"]


def test_other_commands_tell_the_entry_of_their_document(people, sandbox):
    selected = ("-s", "people")
    for event, command in {
        "SyncPlanned": ("plan", *selected),
        "SyncChecked": ("check", *selected),
        "FieldsCompared": ("fields", *selected),
        "SyncVerified": ("verify", *selected),
        "SyncReset": ("reset", *selected),
        "LockShown": ("unlock", *selected),
        "ExposureShown": ("exposures",),
        "MappingStarted": ("init", "template"),
    }.items():
        document = people.run(*command, "--json").json
        lines = logged(people.run(*command, "--log-format", "json").stdout)
        assert [line["data"] for line in lines if line["info"]["name"] == event] == document["results"]


def test_a_step_of_github_actions_gets_a_table(people, sandbox, tmp_path, monkeypatch):
    refuse(sandbox, "b")
    path = tmp_path / "summary.md"
    path.write_text("# Before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    people.sync(status=1)
    before, *lines = path.read_text(encoding="utf-8").splitlines()
    assert before == "# Before"
    rows = [line for line in lines if line.startswith("|")]
    assert rows[0] == "| | sync | object | status | delivered | missing | rejected | invalid | held | seconds |"
    assert [row.split(" | ")[1:8] for row in rows[2:]] == [
        ["other\\|\\*people\\*", "visitor", "partial", "1", "1", "1", "0"],
        ["people", "visitor", "partial", "1", "1", "1", "0"],
    ]
    people.sync("--full-refresh", status=1)
    assert len(path.read_text(encoding="utf-8").splitlines()) > 2 * len(lines) - 2
    # One that cannot be written fails nothing.
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "folder" / "summary.md"))
    sandbox.clear_faults()
    people.sync()
