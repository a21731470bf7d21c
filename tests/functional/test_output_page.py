"""docs/output.md shows what the commands print."""

import difflib
import sys

from harness import REPOSITORY, chosen
from harness.warm import warm_python

sys.path.insert(0, str(REPOSITORY / "docs"))

import capture


def test_the_page_shows_what_the_commands_print():
    page = capture.PAGE.read_text(encoding="utf-8")
    for command in ("check", "plan", "sync", "runs", "show", "fields", "verify", "init", "exposures"):
        assert f"\n$ dbt-pendo {command}" in page
    assert "Traceback" not in page
    texts = (page, capture.captured(page, warm_python(), chosen()))
    before, now = (capture.comparable(text).splitlines() for text in texts)
    changed = list(difflib.unified_diff(before, now, "docs/output.md", "now", lineterm="", n=1))
    assert not changed, "\n".join(["Run docs/capture.py:", *changed])
