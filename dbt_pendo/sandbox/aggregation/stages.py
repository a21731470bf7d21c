"""The stages of an aggregation, each of which makes rows of the rows before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import orjson

from dbt_pendo.sandbox.aggregation.expressions import Comparison, Expression, Literal, Path, parse
from dbt_pendo.sandbox.exchange import RefusedError
from dbt_pendo.sandbox.metadata import Records
from dbt_pendo.sandbox.switches import Switches
from dbt_pendo.sandbox.track import DEFAULT_APP_ID


class _Source(NamedTuple):
    """A source: of which kind, and whether it has those that Pendo does not process."""

    kind: str
    id_key: str
    ignored: bool = False


_SOURCES = {
    "visitors": _Source("visitor", "visitorId"),
    "accounts": _Source("account", "accountId"),
    "doNotProcessVisitors": _Source("visitor", "visitorId", ignored=True),
    "doNotProcessAccounts": _Source("account", "accountId", ignored=True),
}
# Ids that Pendo gives to anonymous visitors (section 8).
_ANONYMOUS = re.compile("|_?PENDO_T.*|VISITOR-UNIQUE-ID", re.DOTALL)
_EXPANDED = re.compile(r"expandAppIds\((.*)\)", re.DOTALL)
_APP_ID = re.compile(r"-?\d+", re.ASCII)
# Whether the rows are on the exclude list; None for either.
_EXCLUDED = {"apply": False, "ignore": None, "only": True}

Members = Callable[[str], "list[str]"]
"""The visitors of a segment, by its id; raises RefusedError 404."""


def aggregate(
    payload: Any, records: Mapping[str, Records], members: Members, switches: Switches
) -> list[dict[str, Any]]:
    """Runs a pipeline: a source, then any number of sort, filter, segment, limit, count and select, in their order.

    There is no page token: clients page by sort, filter and limit (TAP).

    Args:
        payload: ``{"request": {"pipeline": [{"source": {"visitors": null}}, …]}}``.
        records: The records by kind.
        members: Looks a segment up.
        switches: What the sources take, and what they leave out.

    Returns:
        The rows of ``results``.

    Raises:
        RefusedError: 400 for a stage or expression that is not understood.
    """
    try:
        first, *stages = payload["request"]["pipeline"]
        sources: dict[str, Any] = first["source"]
        names = ", ".join(sources.keys())
    except (AttributeError, KeyError, TypeError, ValueError):
        raise RefusedError(400, "the pipeline must start with a source") from None
    if names not in _SOURCES:
        raise RefusedError(400, f"the sandbox has the sources {', '.join(_SOURCES)}, one a pipeline; not {names}")
    ((name, options),) = sources.items()
    source = _SOURCES[name]
    ids = _chosen(records[source.kind], source, {} if options is None else options, switches)
    rows = _Rows(records[source.kind], source, ids)
    for stage in stages:
        if not isinstance(stage, dict) or len(stage) != 1:
            raise RefusedError(400, "a stage is an object with one key")
        ((name, argument),) = stage.items()
        if name == "count":
            rows.replace([{"count": len(rows.rows)}])
        elif name == "sort" and isinstance(argument, list) and all(isinstance(path, str) for path in argument):
            rows.sort(argument)
        elif name == "filter" and isinstance(argument, str):
            rows.filter(parse(argument))
        elif name == "limit" and type(argument) is int and argument >= 0:
            rows.rows = rows.rows[:argument]
        elif name == "segment" and isinstance(argument, dict) and isinstance(argument.get("id"), str):
            chosen = set(members(argument["id"]))
            rows.rows = [row for row in rows.rows if rows.value(row, ("visitorId",)) in chosen]
        elif name == "select" and isinstance(argument, dict) and argument:
            columns = {out: parse(str(expression)) for out, expression in argument.items()}
            lookups = [partial(rows.value, row) for row in rows.rows]
            rows.replace([{out: one.value(lookup) for out, one in columns.items()} for lookup in lookups])
        else:
            raise RefusedError(400, f"the sandbox does not do the stage {name!r} like that, or not at all")
    return [held for row in rows.rows if (held := rows.held(row)) is not None]


def _chosen(records: Records, source: _Source, options: Any, switches: Switches) -> list[str]:
    """The ids that a source has by its options.

    Raises:
        RefusedError: 400 for an option that is not understood.
    """
    known = {"identified", "appId", "since", "blacklist"}
    if switches.exclude_list_option == "refused":
        known.remove("blacklist")
    if not isinstance(options, dict) or options.keys() - known:
        raise RefusedError(400, f"the options of a source are {', '.join(sorted(known))}")
    identified, since = options.get("identified", False), options.get("since")
    blacklist = options.get("blacklist", "apply")
    if type(identified) is not bool or type(since) not in (int, type(None)) or blacklist not in tuple(_EXCLUDED):
        raise RefusedError(400, "identified is true or false, since epoch ms, blacklist apply, ignore or only")
    is_account, default_app = source.kind == "account", {str(DEFAULT_APP_ID)}
    apps = default_app if is_account and switches.accounts_without_app_id == "default app" else None
    if "appId" in options:
        apps = _apps(options["appId"])
    excluded = _EXCLUDED[blacklist if switches.exclude_list_option == "taken" else "apply"]
    ids = records.ignored_ids() if source.ignored else records.visible_ids()
    if excluded is not None and (records.excluded or excluded):
        ids = [i for i in ids if (i in records.excluded) is excluded]
    if identified:
        ids = [i for i in ids if not _ANONYMOUS.fullmatch(i)]
    if is_account and switches.child_accounts_only:
        ids = [i for i in ids if "::" in i]
    if apps is not None:
        # What no app has seen, as it came by the API, belongs to the default one.
        ids = [i for i in ids if (records.apps_of(i) or default_app) & apps]
    if since is not None:
        updated = {i: (records.visible(i) or {}).get("auto", {}).get("lastupdated", 0) for i in ids}
        ids = [i for i in ids if updated[i] >= since]
    return ids


def _apps(wanted: Any) -> set[str] | None:
    """The apps that a source is asked for, by their ids; None for all.

    Raises:
        RefusedError: 400, it names none.
    """
    if isinstance(wanted, str) and (expanded := _EXPANDED.fullmatch(wanted)):
        try:
            wanted = orjson.loads(expanded[1])
        except orjson.JSONDecodeError:
            wanted = None
        if wanted == "*":
            return None
    ids = list(map(str, wanted if isinstance(wanted, list) else [wanted]))
    if not ids or not all(map(_APP_ID.fullmatch, ids)):
        raise RefusedError(400, 'appId is a number, a list of them, or expandAppIds("*")')
    return set(ids)


class _Rows:
    """The rows of a pipeline: ids of records, for a page of a long table must not build every row, or made rows."""

    def __init__(self, records: Records, source: _Source, ids: list[str]) -> None:
        self.rows: list[Any] = ids
        self._has_ids = True
        self._records = records
        self._source = source

    def replace(self, rows: list[dict[str, Any]]) -> None:
        """Goes on with rows that a stage has made."""
        self.rows, self._has_ids = rows, False

    def held(self, row: Any) -> dict[str, Any] | None:
        """A row with all that it holds; None for a record that is gone."""
        if not self._has_ids:
            made: dict[str, Any] = row
            return made
        metadata = self._records.visible(row)
        if metadata is None and self._source.ignored:
            metadata = {"auto": {"id": row}, "pendo": {"donotprocess": True}}
        return None if metadata is None else {self._source.id_key: row, "metadata": metadata}

    def value(self, row: Any, path: tuple[str, ...]) -> Any:
        """What a row holds at a path; None for nothing."""
        if self._has_ids and path == (self._source.id_key,):
            return row
        value: Any = self.held(row)
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def sort(self, paths: list[str]) -> None:
        """Sorts by several paths, of which the first counts most."""
        # Stable sorts, last path first; missing values come first, and types do not mix in a comparison.
        for path in reversed(paths):
            descending, parts = path.startswith("-"), tuple(path.lstrip("-").split("."))
            if self._has_ids and parts == (self._source.id_key,):
                # The records keep their ids sorted: sorting 100,000 of them again for each page is slow.
                self.rows = self._records.in_order(self.rows)
                if descending:
                    self.rows.reverse()
                continue
            self.rows = sorted(self.rows, key=lambda row: _rank(self.value(row, parts)), reverse=descending)

    def filter(self, expression: Expression) -> None:
        """Keeps the rows for which an expression is true."""
        if (
            isinstance(expression, Comparison)
            and self._has_ids
            and expression.left == Path((self._source.id_key,))
            and isinstance(expression.right, Literal)
            and isinstance(expression.right.of, str)
        ):
            # What clients page with.
            compare, text = expression.compare, expression.right.of
            self.rows = [row for row in self.rows if compare(row, text)]
        else:
            self.rows = [row for row in self.rows if expression.value(partial(self.value, row)) is True]


def _rank(value: Any) -> tuple[str, Any]:
    if value is None:
        return ("", 0)
    return ("number", value) if isinstance(value, (bool, int, float)) else ("text", str(value))
