"""Columns that are marked as personal data are not sent unless the mapping says so."""

import re
from pathlib import Path

import pytest
from harness import PEOPLE, REPOSITORY, Project, expect_in, refuse, run_cli, select


def mark(project, column, **marks):
    def change(node):
        node["columns"][column] = {"name": column, **marks}

    project.change_node("model.small.people", change)


def test_a_column_marked_by_its_meta_is_refused_until_the_mapping_allows_it(people, sandbox):
    mark(people, "plan", config={"meta": {"pii": True}})
    said = people.run("check").expect(2).output
    expect_in(said, "people", "`plan` is personal data by `meta.pii`; leave it out, or write `allow_pii: true`")
    # What is only asked sends nothing.
    assert {request.method for request in sandbox.requests} == {"GET"}
    sandbox.forget_requests()
    people.run("sync").expect(2)
    assert sandbox.requests == []
    people.annotate("people", {**PEOPLE, "allow_pii": True}, {})
    mark(people, "plan", config={"meta": {"pii": True}})
    people.sync()


def test_a_column_with_a_tag_that_the_project_refuses(people):
    mark(people, "ID", tags=["gdpr", "pii"])
    people.run("check").expect(0)
    people.settings("vars: {dbt_pendo: {refuse_tags: [gdpr]}}")
    said = people.run("check", "--offline").expect(2).output
    expect_in(said, "`id` is personal data by the tag `gdpr`")
    people.run("check", "--offline", "--vars", "{dbt_pendo: {refuse_tags: [other]}}").expect(0)


def test_a_mark_that_is_false_marks_nothing(people):
    mark(people, "plan", meta={"pii": False}, tags=["fine"])
    people.run("check", "--offline").expect(0)


# Of a row that Pendo takes, does not know, refuses in words that quote it, and that is there twice: id and value.
ROWS = (("id-taken", "value-taken"), ("id-unknown", "value-unknown"), ("id-refused", "value-refused"))
TWICE = ("id-twice", "value-twice")
PAGE = REPOSITORY / "docs" / "guides" / "personal-data.md"


def places(project: Project, folder: Path, word: str) -> set[str]:
    """Where a word is kept, as the page names it: our tables, and files but the warehouse's own."""
    found = set()
    for table, column in project.sql(
        "select table_name, column_name from information_schema.columns where table_schema = 'main_pendo'"
    ):
        if project.sql(f'select 1 from main_pendo."{table}" where contains("{column}"::varchar, ?) limit 1', [word]):
            found.add(table.replace("people__", "<sync>__"))
    for path in folder.rglob("*"):
        if path.is_file() and path != project.database and word.encode() in path.read_bytes():
            name = path.relative_to(project.folder).as_posix()
            found.add("target/dbt_pendo/runs/" if name.startswith("target/dbt_pendo/runs/") else name)
    return found


def named(column: int) -> set[str]:
    """The places of which the page says that they have ids (1) or values (2), of those that a test can look into."""
    rows = [
        line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"
    ]
    cells = {place: row[column] for row in rows for place in re.findall(r"`([^`]+)`", row[0])}
    return {place for place, cell in cells.items() if not cell.startswith("none") and not place.endswith(".journal")}


def sync_everything(people: Project) -> dict[str, str]:
    """Runs what writes files or prints; returns what each command printed."""
    people.model("people", PEOPLE, select("id, plan", *ROWS, TWICE, TWICE))
    printed = {
        " ".join(command): run_cli(*command).output for command in (["plan", "--show", "9"], ["check"], ["sync"])
    }
    run_cli("report").expect(0)
    return {**printed, **{command: run_cli(command).output for command in ("runs", "show", "verify")}}


@pytest.fixture
def refused(people, sandbox):
    sandbox.add_visitors(["id-taken", "id-refused"])
    refuse(sandbox, "id-refused", "id-refused: value-refused is not to our liking")
    return people


def test_ids_and_values_are_kept_only_where_the_page_says(refused, tmp_path):
    printed = sync_everything(refused)
    ids, values = (
        {word for row in (*ROWS, TWICE) for word in row if word.startswith(kind)} for kind in ("id", "value")
    )
    assert set().union(*(places(refused, tmp_path, one) for one in ids)) == named(1)
    assert set().union(*(places(refused, tmp_path, one) for one in values)) == named(2)
    # Of a row that was taken, the results, the run log and what is printed say nothing; of the ledger, nothing but ids.
    less = {"target/pendo_results.json", "pendo_runs"}
    assert places(refused, tmp_path, "id-taken") == named(1) - less
    assert places(refused, tmp_path, "value-taken") == named(2) - less - {"<sync>__ledger"}
    assert [name for name, text in printed.items() if "taken" in text] == ["plan --show 9"]


@pytest.mark.parametrize("mask", ["plan", "id,plan"])
def test_what_is_masked_is_in_the_warehouse_alone(refused, tmp_path, monkeypatch, mask):
    monkeypatch.setenv("DBT_PENDO_MASK", mask)
    printed = sync_everything(refused)
    kinds = ("id", "value") if mask == "id,plan" else ("value",)
    for word in (word for row in (*ROWS, TWICE) for word in row if word.startswith(kinds)):
        assert places(refused, tmp_path, word) <= {"<sync>__ledger", "<sync>__changes"}, word
        # Those that print what is in the warehouse.
        assert [name for name, text in printed.items() if word in text and name not in ("show", "verify")] == []
    assert "hidden: columns of this sync are masked (1, e.g. " in printed["sync"]
    assert "value-refused" in "".join(map(str, refused.ledger("people")))
