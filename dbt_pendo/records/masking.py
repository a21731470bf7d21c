"""Replaces personal values in the bodies of requests and answers that are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dbt_pendo.mapping.spec import ParentChild, Source, SyncSpec
from dbt_pendo.records.render import PendoField
from dbt_pendo.secret import HIDDEN

# Where a body has ids: in fields of these names, or in lists of them (pendo-api.md 3, 5 and 6).
# The filter of a page that is read back has the last id of the page before.
ID_NAMES = frozenset({"visitorId", "accountId", "parentAccountId", "filter"})
ID_LISTS = frozenset({"visitors", "accounts", "missing", "value"})
# The keys of a mapping that a body calls otherwise.
_IN_BODIES = {"visitor_id": "visitorId", "account_id": "accountId"}
# In place of a reason, which may quote any value of a row, in any form.
HIDDEN_REASON = "hidden: columns of this sync are masked"
# A shorter value is replaced where it stands alone, not inside of other words.
SHORTEST_QUOTED = 3


@dataclass(frozen=True, slots=True)
class BodyMask:
    """What to hide in the bodies of one sync."""

    names: frozenset[str] = frozenset()  # the names in a body whose values are hidden
    ids: bool = False  # whether the records' ids are hidden as well
    whole: bool = False  # whether nothing of a body may show

    def __bool__(self) -> bool:
        return bool(self.names) or self.ids

    def hide(self, document: Any) -> tuple[Any, frozenset[str]]:
        """Returns a body without the values, and the values, for what may quote them."""
        values: set[str] = set()
        if self.whole and document is not None:
            return HIDDEN, frozenset(_texts(document))
        hidden = self._hide(document, values)
        return hidden, frozenset(values)

    def hide_body(self, document: Any, path: str) -> tuple[Any, frozenset[str]]:
        """Returns the same of a body that may be a single value, which the end of its path names."""
        if not isinstance(document, dict | list) and path.rpartition("/")[2] in self.names:
            return HIDDEN, frozenset()
        return self.hide(document)

    def key(self, key: str) -> str:
        """Returns a record's key as it is kept: itself, or where ids are hidden a hash of it."""
        return f"#{hashlib.blake2b(key.encode(errors='replace'), digest_size=8).hexdigest()}" if self.ids else key

    def _hide(self, document: Any, values: set[str]) -> Any:
        if isinstance(document, list):
            return [self._hide(item, values) for item in document]
        if not isinstance(document, dict):
            return document
        hidden: dict[str, Any] = {}
        for name, value in document.items():
            if name in self.names or (self.ids and name in ID_NAMES):
                values.update(_texts(value))
                hidden[name] = None if value is None else HIDDEN
            elif self.ids and name in ID_LISTS and isinstance(value, list):
                values.update(_texts(value))
                hidden[name] = [HIDDEN] * len(value)
            else:
                hidden[name] = self._hide(value, values)
        return hidden


def body_mask(columns: Collection[str], spec: SyncSpec, fields: Sequence[PendoField] = ()) -> BodyMask:
    """Returns what to hide in the bodies of a sync.

    Args:
        columns: The columns whose values are personal, in any case.
        spec: The sync.
        fields: Its mapped fields as Pendo's schema has them.
    """
    personal = {column.lower() for column in columns}

    def is_personal(source: Source | ParentChild) -> bool:
        return not personal.isdisjoint(map(str.lower, source.columns))

    named = [(mapping.name, mapping.source) for mapping in spec.mapped]
    named += [(field.key, mapping.source) for mapping, field in zip(spec.fields, fields, strict=bool(fields))]
    ids = spec.event.ids.items() if spec.event else ()
    names = {name for name, source in named if is_personal(source)}
    names |= {_IN_BODIES.get(key, key) for key, source in ids if is_personal(source)}
    return BodyMask(frozenset(names), is_personal(spec.identifier))


def hide_quoted(text: str, values: Collection[str]) -> str:
    """Returns a text, such as Pendo's answer, without the values it quotes of a request."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= SHORTEST_QUOTED:
            text = text.replace(value, HIDDEN)
        else:
            for quote in "\"'`":
                text = text.replace(f"{quote}{value}{quote}", f"{quote}{HIDDEN}{quote}")
    return text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
