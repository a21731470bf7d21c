"""The pages of docs/ show what their commands print."""

import difflib
import sys

import pytest
from harness import REPOSITORY, chosen
from harness.warm import warm_python

sys.path.insert(0, str(REPOSITORY / "docs"))

import capture

PAGES = {page.relative_to(capture.DOCS).as_posix(): page for page in capture.pages()}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_shows_what_its_commands_print(name):
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
