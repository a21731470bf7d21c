"""A starter mapping as YAML for people: what is guessed stands in comments beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from dbt_pendo.commands.guesses import (
    Guess,
    guess_event_id,
    guess_event_name,
    guess_id,
    guess_moment,
    guess_object,
    guess_reference,
    is_personal,
    title_of,
)
from dbt_pendo.delivery.fields import MatchedField, allow_creation, kind_of, match, short_dtype
from dbt_pendo.delivery.prepare import find_columns, require_table
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.mapping.keys import column_target, id_key
from dbt_pendo.mapping.objects import field_name_spelling
from dbt_pendo.mapping.spec import Column, Field, Object, SyncSpec
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.metadata import Schema, read_schema
from dbt_pendo.project.manifest import ModelDescription
from dbt_pendo.settings import INTEGRATION_KEY, Settings
from dbt_pendo.visible import visible
from dbt_pendo.warehouse.plan import ModelTable
from dbt_pendo.warehouse.session import Connection, TableColumn, open_session

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


# Why a column is not mapped, in the order in which one is told.
LACKING = "Pendo has no such fields yet:"
AGENT = "Pendo has them as agent fields, which its snippet overwrites with the next page view:"
UNCLEAR = "To be decided:"
PERSONAL = "Perhaps personal data; uncomment what Pendo should have:"
UNFIT = "Lists, structures and bytes, which most fields cannot hold:"
REASONS = (LACKING, AGENT, UNCLEAR, PERSONAL, UNFIT)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a mapping.

    Attributes:
        key: Pendo's word.
        value: A column, a constant, or the long form; None where nothing could be guessed.
        remark: What it is, or why it is guessed.
    """

    key: str
    value: Any
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A mapping that is to be read through.

    Attributes:
        object: What the rows become in Pendo.
        head: The lines before fields or properties.
        mapped: The columns that become fields or properties.
        left_out: The columns that do not, by the reason.
        creates: Whether fields that Pendo lacks are created; None where it lacks none.
    """

    object: Object
    head: Sequence[Entry]
    mapped: Sequence[Entry] = ()
    left_out: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    creates: bool | None = None

    @property
    def section(self) -> str | None:
        """What columns are mapped under: ``fields`` or ``properties``; None where the object has neither."""
        target = column_target(self.object)
        return target[0] if target else None


@dataclass(frozen=True, slots=True)
class Starter:
    """A starter mapping of a model.

    Attributes:
        described: The model.
        draft: The mapping.
        sources: What it was made from, as sentences.
    """

    described: ModelDescription
    draft: Draft
    sources: Sequence[str]


def start_mapping(
    described: ModelDescription, connection: Connection, settings: Settings, object_: Object | None
) -> Starter:
    """Reads a model's columns and Pendo's fields, and drafts a mapping.

    Args:
        described: The model.
        connection: Where the warehouse is; it is asked unless the project says all of the columns and their types.
        settings: How to reach Pendo, which is asked if a key is set.
        object_: What the rows become in Pendo; None leaves it to a guess.

    Raises:
        ConfigError: If the model is annotated already, or its columns cannot be had.
        PendoError: If Pendo refuses the key, or does not answer.
    """
    if described.is_annotated:
        raise ConfigError(
            f"{described.model.annotation.file}: {described.model.annotation.model} carries meta.pendo already.",
            "`dbt-pendo fields` shows what it maps beside Pendo's fields.",
        )
    require_table(described.model)
    columns, origin = _read_columns(described, connection)
    object_guess = Guess(object_, "") if object_ else guess_object(described.model.name, described.key, columns)
    if object_guess.value == "segment":
        return Starter(described, _segment(described, columns, object_guess), [origin])
    if object_guess.value == "track_event":
        return Starter(described, _event(described, columns, object_guess), [origin])
    schema = None
    asked = f"Pendo was not asked which fields it has: {INTEGRATION_KEY} is not set."
    if settings.integration_key is not None:
        with PendoClient(settings) as client:
            schema = read_schema(client, object_guess.value)
        asked = "Columns are mapped to those of Pendo's fields that have the same key or display name."
    return Starter(described, _record(described, columns, object_guess, schema), [origin, asked])


def _read_columns(described: ModelDescription, connection: Connection) -> tuple[Sequence[TableColumn], str]:
    """Returns the columns as the project describes them; as the warehouse has them where it does not say all."""
    said = [TableColumn(column.name, column.dtype or "") for column in described.columns]
    if said and all(column.dtype for column in said):
        return said, f"Its columns are those that {described.entry} describes."
    try:
        with open_session(connection) as session:
            return find_columns(session, described.model), "Its columns are those of its table."
    except DbtPendoError as error:
        if not said:
            raise
        why = " ".join(error.message.split())
        return (
            said,
            f"Its columns are those that {described.entry} describes; of what type they are is not known. {why}",
        )


def _segment(described: ModelDescription, columns: Sequence[TableColumn], object_guess: Guess[Object]) -> Draft:
    name = Entry("segment", title_of(described.model.name), "guessed: by the model's name")
    visitor = _filled("visitor_id", guess_id("segment", described.key, columns))
    return Draft("segment", [_object(object_guess), name, visitor])


def _event(described: ModelDescription, columns: Sequence[TableColumn], object_guess: Guess[Object]) -> Draft:
    named = guess_event_name(columns)
    if named is not None:
        event = Entry("event", {"column": named.value}, f"guessed: {named.why}")
    else:
        event = Entry("event", title_of(described.model.name), "guessed: by the model's name")
    found = {
        "event_id": guess_event_id(described.key, columns),
        "visitor_id": guess_reference("visitor", columns),
        "account_id": guess_reference("account", columns),
        "timestamp": guess_moment(columns),
    }
    head = [
        _object(object_guess),
        event,
        # An event may do without an account.
        *(_filled(key, guess) for key, guess in found.items() if guess or key != "account_id"),
    ]
    used = {guess.value for guess in (named, *found.values()) if guess}
    mapped, left_out = _sorted_out(
        (_why_unfit(column), Entry(_pendos_name(column.name), column.name, short_dtype(column.dtype)))
        for column in columns
        if column.name not in used
    )
    return Draft("track_event", head, mapped, left_out)


def _record(
    described: ModelDescription, columns: Sequence[TableColumn], object_guess: Guess[Object], schema: Schema | None
) -> Draft:
    object_ = object_guess.value
    id_ = guess_id(object_, described.key, columns)
    others = [column for column in columns if id_ is None or column.name != id_.value]
    matched = _match(described, object_, others, schema or Schema({}))
    knows_some = any(
        one.state == "ok" and not is_personal(column.name) for column, one in zip(others, matched, strict=True)
    )
    mapped, left_out = _sorted_out(
        _judged(column, one, schema, knows_some) for column, one in zip(others, matched, strict=True)
    )
    creates = None
    if schema is None or LACKING in left_out:
        creates = False
    elif not knows_some and mapped:
        # A mapping without fields is none; one may as well see what it would look like.
        creates = True
    head = [_object(object_guess), _filled(id_key(object_), id_, "must be the id that your product gives to Pendo")]
    return Draft(object_, head, mapped, left_out, creates)


def _match(
    described: ModelDescription, object_: Object, columns: Sequence[TableColumn], schema: Schema
) -> Sequence[MatchedField]:
    """Finds the field of Pendo's that each column may fill, or could fill if it were created."""
    names = {
        column.name: column.name if schema.candidates("custom", column.name) else _pendos_name(column.name)
        for column in columns
    }
    model = described.model
    spec = SyncSpec(
        name=model.annotation.model,
        unique_id=model.unique_id,
        file=model.annotation.file,
        object=object_,
        key="",
        fields=tuple(Field(name, Column(column)) for column, name in names.items()),
    )
    source = ModelTable(require_table(model), TableColumn("", ""), tuple(columns))
    return allow_creation(match(spec, source, schema))


def _judged(
    column: TableColumn, one: MatchedField, schema: Schema | None, knows_some: bool
) -> tuple[str | None, Entry]:
    """Returns why a column is not mapped (None: it is), and its line."""
    dtype = short_dtype(column.dtype)
    if one.found is not None and one.state == "ok":
        pendos = [one.found.display_name] if one.found.display_name != one.found.key else []
        remark = f"Pendo: {', '.join([*pendos, one.found.type or 'no type yet'])}"
        entry = Entry(one.found.key, column.name, f"{dtype}; {remark}" if dtype else remark)
        return PERSONAL if is_personal(column.name) else None, entry
    entry = Entry(one.mapping.name, column.name, dtype)
    if why := _why_unfit(column):
        return why, entry
    if one.state != "to create":
        return UNCLEAR, Entry(entry.key, entry.value, one.note)
    if schema is not None and (agent := schema.find("agent", column.name)):
        return AGENT, Entry(agent.key, {"column": column.name, "group": "agent"}, dtype)
    return LACKING if knows_some else None, entry


def _why_unfit(column: TableColumn) -> str | None:
    if is_personal(column.name):
        return PERSONAL
    return UNFIT if kind_of(column.dtype) in ("list", "nested", "bytes") else None


def _sorted_out(judged: Iterable[tuple[str | None, Entry]]) -> tuple[list[Entry], dict[str, list[Entry]]]:
    """Parts the lines that are mapped from those that are not, by the reason."""
    mapped: list[Entry] = []
    left_out: dict[str, list[Entry]] = {}
    for reason, entry in judged:
        if reason is None and any(entry.key.lower() == other.key.lower() for other in mapped):
            reason = UNCLEAR
        (mapped if reason is None else left_out.setdefault(reason, [])).append(entry)
    return mapped, {reason: left_out[reason] for reason in REASONS if reason in left_out}


def _object(guess: Guess[Object]) -> Entry:
    return Entry("object", guess.value, f"guessed: {guess.why}" if guess.why else "")


def _filled(key: str, guess: Guess[str] | None, rule: str = "") -> Entry:
    if guess is None:
        return Entry(key, None, "no column looks like it; name one")
    return Entry(key, guess.value, "; ".join(filter(None, (f"guessed: {guess.why}", rule))))


def _pendos_name(column: str) -> str:
    """Returns a name for what a column fills; a warehouse that shouts need not be heard in Pendo."""
    return field_name_spelling(column.lower() if column.isupper() else column)
