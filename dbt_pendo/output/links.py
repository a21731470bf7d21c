"""The place of an error in the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

# The page's address, and its anchor of each message, with … for what is filled in; docs/generate.py writes it.
FILE = Path(__file__).with_name("links.json")


def link_to(message: str) -> str:
    """Returns the address of what the documentation says of a message.

    Of several mistakes, each in a line, it is that of the first.

    Returns:
        The address; empty if the documentation has no place for the message.
    """
    found = json.loads(FILE.read_text(encoding="utf-8"))
    known: dict[str, str] = {}
    for told in (message.partition("\n")[0], " ".join(message.split())):
        # Before it may stand where something is wrong; of several, the one that leaves the least to fill in.
        known = known or {
            text.replace("…", ""): text for text in found["anchors"] if re.fullmatch(f"(.*: )?{_pattern(text)}", told)
        }
    if not known:
        return ""
    return f"{found['page']}#{found['anchors'][known[max(known, key=len)]]}"


def _pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split("…")))
