"""Reading back through ``POST /api/v1/aggregation``: the few stages a client pages with (section 6)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from .exchange import RefusedError
from .metadata import Records

_SOURCES = {"visitors": ("visitor", "visitorId"), "accounts": ("account", "accountId")}
_ANONYMOUS = ("_PENDO_T_", "VISITOR-UNIQUE-ID")  # section 8
_TERM = re.compile(
    r"""\s* (?P<path>[A-Za-z_][\w.]*) \s* (?P<operator>==|!=|>=|<=|>|<) \s*
        (?P<literal>"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null) \s* (?P<more>&&|$)""",
    re.VERBOSE,
)
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}

Members = Callable[[str], "list[str]"]
"""The visitors of a segment, by its id; raises RefusedError 404."""


def aggregate(payload: Any, records: Mapping[str, Records], members: Members) -> list[dict[str, Any]]:
    """Runs a pipeline: source (visitors or accounts), then sort, filter, segment, limit, count, select.

    There is no page token: clients page by sort, filter and limit (TAP).

    Args:
        payload: ``{"request": {"pipeline": [{"source": {"visitors": null}}, …]}}``.
        records: The records by kind.
        members: Looks a segment up.

    Returns:
        The rows of ``results``.

    Raises:
        RefusedError: 400 for a stage or expression that is not understood.
    """
    try:
        source, *stages = payload["request"]["pipeline"]
        ((name, options),) = source["source"].items()
        kind, id_key = _SOURCES[name]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise RefusedError(400, "the pipeline must start with a source of visitors or accounts") from None
    if options not in (None, {}, {"identified": True}, {"identified": False}):
        raise RefusedError(400, f"unknown options of source {name}")
    table = _Table(records[kind], id_key)
    if options == {"identified": True}:
        table.ids = [i for i in table.ids if not i.startswith(_ANONYMOUS)]
    for stage in stages:
        if not isinstance(stage, dict) or len(stage) != 1:
            raise RefusedError(400, "a stage is an object with one key")
        ((name, argument),) = stage.items()
        if name == "count":
            return [{"count": len(table.ids)}]
        if name == "sort" and isinstance(argument, list) and all(isinstance(p, str) for p in argument):
            table.sort(argument)
        elif name == "filter" and isinstance(argument, str):
            table.filter(argument)
        elif name == "limit" and type(argument) is int and argument >= 0:
            table.ids = table.ids[:argument]
        elif name == "segment" and isinstance(argument, dict) and isinstance(argument.get("id"), str):
            chosen = set(members(argument["id"]))
            table.ids = [i for i in table.ids if i in chosen]
        elif name == "select" and isinstance(argument, dict) and argument:
            return [{out: table.value(i, str(path)) for out, path in argument.items()} for i in table.ids]
        else:
            raise RefusedError(400, f"stage {name!r} is not understood")
    return [row for i in table.ids if (row := table.row(i)) is not None]


class _Table:
    """The rows of a pipeline, held as ids: reading pages of a long table must not build every row."""

    def __init__(self, records: Records, id_key: str) -> None:
        self.ids = records.visible_ids()
        self._records = records
        self._id_key = id_key

    def row(self, record_id: str) -> dict[str, Any] | None:
        metadata = self._records.visible(record_id)
        return None if metadata is None else {self._id_key: record_id, "metadata": metadata}

    def value(self, record_id: str, path: str) -> Any:
        if path == self._id_key:
            return record_id
        value: Any = self.row(record_id)
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def sort(self, paths: list[str]) -> None:
        # Stable sorts, last path first; missing values come first, and types do not mix in a comparison.
        for path in reversed(paths):
            descending, path = path.startswith("-"), path.lstrip("-")
            if path == self._id_key:
                # The records keep their ids sorted: sorting 100,000 of them again for each page is slow.
                chosen = set(self.ids)
                self.ids = [i for i in self._records.sorted_ids() if i in chosen]
                if descending:
                    self.ids.reverse()
                continue
            values = {i: self.value(i, path) for i in self.ids}
            self.ids = sorted(self.ids, key=lambda i: _rank(values[i]), reverse=descending)

    def filter(self, expression: str) -> None:
        position = 0
        more = True
        while more:
            term = _TERM.match(expression, position)
            if term is None:
                raise RefusedError(400, f"filter {expression!r} is not understood")
            position, more = term.end(), term["more"] == "&&"
            self._keep(term["path"], _OPERATORS[term["operator"]], orjson.loads(term["literal"]))

    def _keep(self, path: str, compare: Callable[[Any, Any], Any], literal: Any) -> None:
        if path == self._id_key and isinstance(literal, str):
            self.ids = [i for i in self.ids if compare(i, literal)]
            return

        def fits(record_id: str) -> bool:
            try:
                return bool(compare(self.value(record_id, path), literal))
            except TypeError:  # a missing value is neither above nor below anything
                return False

        self.ids = [i for i in self.ids if fits(i)]


def _rank(value: Any) -> tuple[str, Any]:
    if value is None:
        return ("", 0)
    return ("number", value) if isinstance(value, (bool, int, float)) else ("text", str(value))
