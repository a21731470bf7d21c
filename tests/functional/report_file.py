"""A report as a test reads it: what the file holds, before any browser sees it."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
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


@dataclass
class Report:
    """The file."""

    text: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    inline: list[Element] = field(default_factory=list)

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self._script("data").text)

    @property
    def bodies(self) -> list[list[str | None]]:
        return json.loads(self._script("bodies").text)

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

    def _script(self, id_: str) -> Element:
        (found,) = [element for element in self.inline if element.attributes.get("id") == id_]
        return found


def read_report(path: Path) -> Report:
    report = Report(path.read_text(encoding="utf-8"))

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            report.tags.append((tag, dict(attrs)))
            if tag in ("script", "style"):
                report.inline.append(Element(tag, dict(attrs)))

        def handle_data(self, data: str) -> None:
            if report.tags and report.tags[-1][0] in ("script", "style") and self.cdata_elem:
                report.inline[-1].text += data

    reader = Reader(convert_charrefs=True)
    reader.feed(report.text)
    reader.close()
    return report
