"""A starter mapping as YAML for people: what is guessed stands in comments beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import yaml

from dbt_pendo.engine.starter import Draft, Entry, Starter
from dbt_pendo.visible import visible

_STEP = "  "


def as_yaml(starter: Starter) -> str:
    """Returns the properties of a model as dbt's YAML has them, comments included."""
    return "\n".join(_lines(starter)) + "\n"


def _lines(starter: Starter) -> Iterator[str]:
    described = starter.described
    model = described.model
    name = model.annotation.model
    yield _comment(f"A starter for {name}, made by `dbt-pendo init`. Read it through: what is guessed says so.")
    yield from map(_comment, (*starter.sources, *_place(starter)))
    yield f"{described.kind}s:"
    yield f"  - name: {_scalar(model.name)}"
    above = ["config:", "meta:", "pendo:"]
    depth = 2
    if model.version is not None:
        # Above them it would hold for all versions, and each would be a sync of the same records.
        yield "    versions:"
        yield f"      - v: {_scalar(model.version)}"
        depth = 4
    for key in above:
        yield f"{_STEP * depth}{key}"
        depth += 1
    yield from (f"{_STEP * depth}{line}" for line in _mapping(starter.draft))


def _place(starter: Starter) -> Iterator[str]:
    """Yields where the mapping belongs."""
    described = starter.described
    model = described.model
    if described.entry is not None:
        into = "that" if model.version is None else "its version there"
        yield f"{described.entry} has an entry of {model.name}, and dbt takes one: paste `config` into {into}."
        yield "If it has a `meta` already, `pendo` goes there. Then `dbt parse` and `dbt-pendo check`."
    else:
        beside = PurePosixPath(model.annotation.file).with_suffix(".yml")
        yield f"Save it where dbt reads YAML, as {beside} for example. Then `dbt parse` and `dbt-pendo check`."


def _mapping(draft: Draft) -> Iterator[str]:
    yield from _aligned(draft.head)
    if draft.creates:
        yield "create_fields: true  # Pendo has none of these fields yet: the first sync creates them"
    elif draft.creates is False:
        yield "# create_fields: true  # creates fields that Pendo lacks, with the first sync"
    if draft.section is None or not (draft.mapped or draft.left_out):
        return
    # Nothing below it is an empty value to YAML, which no section can be.
    yield f"{'' if draft.mapped else '# '}{draft.section}:"
    yield from (f"{_STEP}{line}" for line in _aligned(draft.mapped))
    for reason, entries in draft.left_out.items():
        yield f"{_STEP}# {reason}"
        yield from (f"{_STEP}# {line.removeprefix('# ')}" for line in _aligned(entries))


def _aligned(entries: Iterable[Entry]) -> Iterator[str]:
    """Yields the lines of entries, their remarks below one another."""
    lines = [(_line(entry), entry.remark) for entry in entries]
    width = max((len(line) for line, _ in lines), default=0)
    for line, remark in lines:
        yield f"{line.ljust(width)}  {_comment(remark)}" if remark else line


def _comment(text: str) -> str:
    """Returns a comment; what Pendo and the warehouse say may hold characters that end one, or that no YAML has."""
    return "# " + visible("".join(letter if letter.isprintable() else " " for letter in text))


def _line(entry: Entry) -> str:
    if entry.value is None:
        return f"# {_scalar(entry.key)}:"
    return f"{_scalar(entry.key)}: {_value(entry.value)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_scalar(each, flow=True)}" for key, each in value.items()) + "}"
    return _scalar(value)


def _scalar(value: Any, flow: bool = False) -> str:
    """Returns a scalar as YAML wants it, on one line."""
    # Quoted, it neither begins nor holds what a log would obey; in quotes YAML takes the same escapes.
    style = None if not isinstance(value, str) or visible(value) == value else '"'
    written = yaml.safe_dump([value], default_style=style, default_flow_style=flow, allow_unicode=True, width=10**6)
    return visible(written.strip().removeprefix("[" if flow else "- ").removesuffix("]" if flow else ""))
