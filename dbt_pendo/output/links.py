"""The place of an error in the documentation."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

# The page's address, and its anchor of each message, with … for what is filled in; docs/generate.py writes it.
FILE = Path(__file__).with_name("links.json")
# Characters of a message that is looked for: one that quotes a page of somebody's would take long.
LONGEST = 800


def link_to(message: str) -> str:
    """Returns the address of what the documentation says of a message.

    Of several mistakes, each in a line, it is that of the first.

    Returns:
        The address; empty if the documentation has no place for the message.
    """
    page, messages = _known()
    for told in (message.partition("\n")[0], " ".join(message.split())):
        for pattern, anchor in messages:
            if len(told) <= LONGEST and pattern.fullmatch(told):
                return f"{page}#{anchor}"
    return ""


@functools.cache
def _known() -> tuple[str, list[tuple[re.Pattern[str], str]]]:
    """Returns the page, and the pattern and anchor of each message: those first that leave the least to fill in."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    anchors = sorted(found["anchors"].items(), key=lambda each: -len(each[0].replace("…", "")))
    # Before a message it may stand where something is wrong.
    patterns = [re.compile(f"(.*: )?{'.*'.join(map(re.escape, text.split('…')))}") for text, _ in anchors]
    return found["page"], list(zip(patterns, (anchor for _, anchor in anchors), strict=True))
