"""A report as a test reads it: what the file holds, before any browser sees it."""

import base64
import hashlib
import json
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


@dataclass
class Element:
    """A ``script`` or ``style`` of the page."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""

    @property
    def hash(self) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(self.text.encode()).digest()).decode()}'"


class Report(HTMLParser):
    """The file: its text, its tags, and what its scripts hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[Element] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inline.append(Element(tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.inline[-1].text += data

    @property
    def data(self) -> dict[str, Any]:
        return self._script("data")

    @property
    def bodies(self) -> list[list[str | None]]:
        return self._script("bodies")

    def rows(self, **wanted: Any) -> list[dict[str, Any]]:
        """The rows not delivered, by name; those with some values."""
        names = ("sync", "key", "status", "detail", "attempts", "run_id", "logged_at", "call")
        rows = [dict(zip(names, row, strict=True)) for row in self.data["rows"]["items"]]
        return [row for row in rows if wanted.items() <= row.items()]

    def calls(self, **wanted: Any) -> list[dict[str, Any]]:
        return [call for call in self.data["calls"]["items"] if wanted.items() <= call.items()]

    def sync(self, name: str) -> dict[str, Any]:
        (found,) = [sync for sync in self.data["syncs"] if sync["name"] == name]
        return found

    def _script(self, id_: str) -> Any:
        (found,) = [element for element in self.inline if element.attributes.get("id") == id_]
        return json.loads(found.text)


def read_report(path: Path) -> Report:
    return Report(path.read_text(encoding="utf-8"))
