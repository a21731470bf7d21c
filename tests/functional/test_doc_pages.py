"""The pages of docs/ show what their commands print."""

import difflib
import importlib.metadata
import json
import re
import sys

import pytest
from harness import REPOSITORY, chosen
from harness.warm import warm_python

sys.path.insert(0, str(REPOSITORY / "docs"))

import capture

PAGES = {page.relative_to(capture.DOCS).as_posix(): page for page in capture.pages()}


# The pages that show what a version of dbt brings: 1.8 names no primary key in its manifest.
NEWER = {"guides/starter-mapping.md": (1, 9)}
DBT = tuple(map(int, re.findall(r"\d+", importlib.metadata.version("dbt-core"))[:2]))


@pytest.mark.parametrize("name", PAGES)
def test_the_page_shows_what_its_commands_print(name):
    if NEWER.get(name, DBT) > DBT:
        pytest.skip("that dbt is too old for the page")
    page = PAGES[name].read_text(encoding="utf-8")
    assert "Traceback" not in page
    texts = (page, capture.captured(page, warm_python(), chosen()))
    before, now = (capture.comparable(text).splitlines() for text in texts)
    changed = list(difflib.unified_diff(before, now, name, "now", lineterm="", n=1))
    assert not changed, "\n".join([f"Run docs/capture.py docs/{name}:", *changed])


def test_the_page_of_outputs_has_each_command_that_answers():
    page = PAGES["reference/output.md"].read_text(encoding="utf-8")
    for command in ("check", "plan", "sync", "runs", "show", "fields", "verify", "init", "exposures"):
        assert f"\n$ dbt-pendo {command}" in page
    first = PAGES["get-started/first-sync.md"].read_text(encoding="utf-8")
    assert all(f"\ndbt-pendo {command}" in first for command in ("check", "plan", "sync"))


@pytest.fixture(scope="module")
def stage():
    with capture.Stage(warm_python(), chosen()) as stage:
        stage.run("dbt build --quiet")
        stage.run("dbt-pendo sync --quiet")
        yield stage


def json_page():
    """The rows of the table: command, keys of an entry, keys beside it."""
    page = (capture.DOCS / "reference" / "json.md").read_text(encoding="utf-8").partition("## Of the others")[2]
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): [set(re.findall(r"`(\w+)`", cell)) for cell in (*row[1:], "")[:2]] for row in rows}


@pytest.mark.parametrize("command", ["check", "plan", "verify", "runs", "show", "show --requests", "fields", "unlock"])
def test_the_documents_have_the_keys_that_the_page_names(stage, command):
    document = json.loads(stage.run(f"dbt-pendo {command} --json"))
    pages = json_page()
    entry, beside = pages[command]
    if command in ("plan", "show"):
        entry |= pages["check" if command == "plan" else "runs"][0]
    common = {"sync", "unique_id", "object", "status", "message"}
    found = set(document["results"][0])
    assert found | common == (entry - {"check", "runs", "members"}) | common
    assert set(document) == {"metadata", "results"} | beside


def test_the_page_of_log_events_has_each_event_that_a_command_names():
    page = (capture.DOCS / "reference" / "log-events.md").read_text(encoding="utf-8")
    named = set()
    for folder in ("output", "cli"):
        for path in (REPOSITORY / "dbt_pendo" / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            named |= set(re.findall(r'(?:event=|, )"([A-Z][a-z]+(?:[A-Z][a-z]+)+|Waiting|Note|Opened|Body)"', text))
    assert named - {name for name in named if f"`{name}`" in page} == set()
