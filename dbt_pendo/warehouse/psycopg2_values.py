"""Has psycopg2 read every value of every type: one that it cannot read would fail a whole page.

A value that Python cannot hold is ``unreadable``, and an array of any type is a list. Adapters with another driver
are left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from dbt_pendo.outcomes import UNREADABLE, unreadable

# Makes a value of PostgreSQL's text for it, which is None for null.
Read: TypeAlias = Callable[[Any, Any], Any]

_CLOCKS = ("time", "timetz")
# The types of which psycopg2 cannot read some values, and what is wrong with those.
_GUARDED = {
    **dict.fromkeys(("date", "timestamp", "timestamptz"), "is outside the years 1 to 9999"),
    **dict.fromkeys(("interval", "json", "jsonb"), "cannot be read"),
}
# Arrays of boxes have semicolons between them, which psycopg2 does not know.
_BOXES = {UNREADABLE: "an array of boxes cannot be sent"}
_TYPES = "select oid, typname, typtype, typbasetype, typarray, typdelim from pg_catalog.pg_type"


def read_every_type(connection: Any) -> None:
    """Registers how values are read on a connection of psycopg2's; does nothing with one of another driver's.

    Args:
        connection: The driver's own connection.
    """
    psycopg2 = sys.modules.get("psycopg2")
    if psycopg2 is None or not isinstance(connection, psycopg2.extensions.connection):
        return
    extensions = psycopg2.extensions
    try:
        with connection.cursor() as cursor:
            cursor.execute(_TYPES)
            types = cursor.fetchall()
    except psycopg2.Error:
        # A server that is merely like PostgreSQL.
        types = []
    # dbt begins its transactions itself.
    connection.rollback()
    # The types that domains are made of; 0 for any other type.
    bases = {oid: base for oid, _, _, base, _, _ in types}
    readers: dict[int, Any] = dict(extensions.string_types)
    for oid, name, kind, *_ in types:
        if (read := _reader(name, kind, readers.get(oid))) is not None:
            readers[oid] = extensions.new_type((oid,), name, read)
            extensions.register_type(readers[oid], connection)
    for oid, name, _, _, array, delimiter in types:
        # psycopg2 reads arrays of the commonest types as fast as it can.
        if array and not (array in extensions.string_types and readers.get(oid) is extensions.string_types.get(oid)):
            while bases.get(oid):
                oid = bases[oid]
            if delimiter == ",":
                made = extensions.new_array_type((array,), f"{name}[]", readers.get(oid, extensions.UNICODE))
            else:
                made = extensions.new_type((array,), f"{name}[]", lambda text, _: text and _BOXES)
            extensions.register_type(made, connection)


def _reader(name: str, kind: str, usual: Read | None) -> Read | None:
    """Returns how values of a type are read; None when psycopg2 needs no help."""
    if name == "bpchar":
        return lambda text, _: text and text.rstrip(" ")
    if usual is None:
        return None
    if name in _CLOCKS:
        # The end of a day, which Python takes for its beginning.
        return lambda text, cursor: text if text and text.startswith("24:") else usual(text, cursor)
    if kind == "r":
        return lambda text, _: text and unreadable(text, "is a range")
    return _guarded(usual, _GUARDED[name]) if name in _GUARDED else None


def _guarded(usual: Read, what: str) -> Read:
    def read(text: Any, cursor: Any) -> Any:
        if text in ("infinity", "-infinity"):
            return {UNREADABLE: "infinite"}
        try:
            value = usual(text, cursor)
            if isinstance(value, str):
                # A text in JSON may be half a character, which cannot be written.
                value.encode()
            return value
        except Exception:
            return unreadable(text, what)

    return read
