"""The names of metadata fields: what Pendo takes for a new one (pendo-api.md 3, Names and values)."""

from __future__ import annotations

import re
import unicodedata

FIELD_NAME_RULE = "letters, digits and underscores, starting with a letter or underscore"

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_field_name(name: str) -> bool:
    """Returns whether Pendo's API creates a field of that name; a display name may hold anything."""
    return _FIELD_NAME.fullmatch(name) is not None


def field_name_spelling(name: str) -> str:
    """Returns the name a field could be created under, as close to the one given as Pendo allows."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    spelled = re.sub(r"[^A-Za-z0-9_]+", "_", bare).strip("_") or "field"
    return f"_{spelled}" if spelled[0].isdigit() else spelled
