"""What an answer of Pendo's says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from dbt_pendo import network
from dbt_pendo.network import LOOKED_AT
from dbt_pendo.pendo import advice
from dbt_pendo.secret import Secrets

# What an answer without a documented body may say instead of JSON.
_WORDS = frozenset({b"ok", b"success", b"accepted", b"true"})
# Bytes of it. Much JSON takes fifty times its size in memory, in each thread.
LARGEST_ACKNOWLEDGEMENT = 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """Pendo's answer to one request: a 2xx, or a 4xx that concerns the body of the request."""

    status: int
    content: bytes
    # What Pendo may have echoed, to be hidden.
    secrets: Secrets = field(default_factory=Secrets)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx; failures may still stand inside the body."""
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """The body as JSON, or None when it is none: errors may be empty or plain text (pendo-api.md 2).

        It is as Pendo wrote it, as a field or a visitor may have a name that is a secret elsewhere.
        """
        return network.read_json(self.content)

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object in a 2xx, as Pendo wrote it; empty when there is none."""
        document = self.json if self.ok else None
        return document if isinstance(document, dict) else {}

    def acknowledges(self) -> bool:
        """Returns whether a 2xx of no documented body is Pendo's, not a proxy's: empty, or JSON without an error."""
        text = self.content.strip()
        if not text or text.lower().strip(b'"') in _WORDS:
            return True
        if len(text) > LARGEST_ACKNOWLEDGEMENT:
            return False
        items = document if isinstance(document := self.json, list) else [document]
        return all(isinstance(item, dict) and not network.reports_error(item) for item in items) or text == b"null"

    def told(self, part: Any) -> str:
        """Returns a part of the body's JSON as words for people, without the secrets that Pendo has quoted."""
        text = part if isinstance(part, str) else orjson.dumps(part).decode()
        return self.secrets.hidden_in(text)

    @property
    def message(self) -> str:
        """Pendo's own words, in one line; of an error in JSON its message alone."""
        content = self.content[:LOOKED_AT]
        words = "" if self.ok else advice.words_of(network.read_json(content))
        text = self.secrets.first_line(words or content.decode(errors="replace"))
        return f"HTTP {self.status}: {text}".removesuffix(": ")
