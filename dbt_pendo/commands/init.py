"""Makes a starter mapping as YAML for people, with comments beside what is guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from dbt_pendo.commands.context import write_text
from dbt_pendo.commands.guesses import Guess, columns_of, guess_keys, guess_object, is_personal
from dbt_pendo.delivery.fields import MatchedField, allow_creation, kind_of, match, short_dtype
from dbt_pendo.delivery.prepare import find_columns, require_table
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.mapping.objects import OBJECTS, field_name_spelling
from dbt_pendo.mapping.spec import Column, Field, Object, SyncSpec
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.metadata import Schema, read_schema
from dbt_pendo.project.artifacts import ModelDescription
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.warehouse.session import open_session
from dbt_pendo.wording import visible

# Why a column is not mapped, in the order in which the reasons are written.
LACKING = "Pendo has no such fields yet:"
AGENT = "Pendo has them as agent fields, which its snippet overwrites with the next page view:"
UNCLEAR = "To be decided:"
PERSONAL = "Perhaps personal data; uncomment what Pendo should have:"
UNFIT = "Lists, structures and bytes, which most fields cannot hold:"
REASONS = (LACKING, AGENT, UNCLEAR, PERSONAL, UNFIT)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a mapping."""

    key: str  # Pendo's word
    value: Any  # a column, a constant, or the long form; None where nothing could be guessed
    remark: str = ""  # what it is, or why it is guessed


@dataclass(frozen=True, slots=True)
class Starter:
    """A starter mapping of a model, which is to be read through."""

    described: ModelDescription
    object: Object
    sources: Sequence[str]  # sentences that say what it was made from
    head: Sequence[Entry]  # the lines before fields or properties
    mapped: Sequence[Entry] = ()
    left_out: Mapping[str, Sequence[Entry]] = field(default_factory=dict)  # columns that are not mapped, by the reason
    creates: bool | None = None  # whether fields that Pendo lacks are created; None where it lacks none

    def to_dict(self, text: str, file: Path | None) -> dict[str, Any]:
        """Returns its entry under ``results``: the YAML, and where it was written."""
        model = self.described.model
        return {
            "model": model.annotation.model,
            "unique_id": model.unique_id,
            "object": self.object,
            "status": "success",
            "message": None,
            "yaml": text,
            "file": str(file) if file else None,
            "entry": self.described.entry,
        }


def start_mapping(
    described: ModelDescription,
    connection: Connection,
    settings: Settings,
    object_: Object | None,
    tell: Callable[[str], None],
) -> Starter:
    """Reads a model's columns and Pendo's fields, and drafts a mapping.

    Args:
        described: The model.
        connection: Where the warehouse is; it is asked unless the project says all of the columns and their types.
        settings: How to reach Pendo, which is asked if a key is set.
        object_: What the rows become in Pendo; None leaves it to a guess.
        tell: Says something at once to whoever waits.

    Raises:
        ConfigError: If the model is annotated already, or its columns cannot be read.
        PendoError: If Pendo refuses the key, or does not answer.
    """
    model = described.model
    if model.is_annotated:
        raise ConfigError(
            f"{model.annotation.file}: {model.annotation.model} carries meta.pendo already.",
            "`dbt-pendo fields` shows what it maps beside Pendo's fields.",
        )
    require_table(model)
    columns, origin = _read_columns(described, connection)
    guess = Guess(object_, "") if object_ else guess_object(model.name, described.key, columns)
    keys = guess_keys(guess.value, model.name, described.key, columns)
    head = [_entry_of("object", guess), *(_entry_of(key, found) for key, found in keys.items())]
    used = columns_of(keys)
    others = [column for column in columns if column.name not in used]
    if guess.value == "segment":
        return Starter(described, guess.value, [origin], head)
    if guess.value == "track_event":
        judged = [(_why_unfit(column), _entry(column)) for column in others]
        return Starter(described, guess.value, [origin], head, *_sort_out(judged))
    schema = None
    asked = f"Pendo was not asked which fields it has: {settings.integration_key_variable} is not set."
    if settings.integration_key is not None:
        with PendoClient(settings, tell=tell) as client:
            schema = read_schema(client, guess.value)
        asked = "Columns are mapped to those of Pendo's fields that have the same key or display name."
    matched = list(zip(others, _match(described, guess.value, others, schema or Schema({})), strict=True))
    knows_some = any(one.state == "ok" and not is_personal(column.name) for column, one in matched)
    mapped, left_out = _sort_out(_judge(column, one, schema, knows_some) for column, one in matched)
    creates = None
    if schema is None or LACKING in left_out:
        creates = False
    elif not knows_some and mapped:
        # A mapping has to have fields, so those that Pendo lacks are shown.
        creates = True
    return Starter(described, guess.value, [origin, asked], head, mapped, left_out, creates)


def _read_columns(described: ModelDescription, connection: Connection) -> tuple[Sequence[TableColumn], str]:
    """Returns the columns as the project describes them; as the warehouse has them where it does not say all."""
    said = [TableColumn(name, dtype) for name, dtype in described.columns.items()]
    origin = f"Its columns are those that {described.entry} describes"
    if said and all(column.dtype for column in said):
        return said, f"{origin}."
    try:
        with open_session(connection) as session:
            return find_columns(session, described.model), "Its columns are those of its table."
    except DbtPendoError as error:
        if not said:
            raise
        return said, f"{origin}; of what type they are is not known. {' '.join(error.message.split())}"


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
    return allow_creation(match(spec, {column.name: column for column in columns}, schema))


def _judge(column: TableColumn, one: MatchedField, schema: Schema | None, knows_some: bool) -> tuple[str | None, Entry]:
    """Returns why a column is not mapped (None: it is), and its line."""
    dtype = short_dtype(column.dtype)
    if one.found is not None and one.state == "ok":
        name = f"{one.found.display_name}, " if one.found.display_name != one.found.key else ""
        remark = f"Pendo: {name}{one.found.type or 'no type yet'}"
        entry = Entry(one.found.key, column.name, f"{dtype}; {remark}" if dtype else remark)
        return PERSONAL if is_personal(column.name) else None, entry
    entry = _entry(column, one.mapping.name)
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


def _sort_out(judged: Iterable[tuple[str | None, Entry]]) -> tuple[list[Entry], dict[str, list[Entry]]]:
    """Separates the lines that are mapped from the others, which it groups by reason."""
    mapped: dict[str, Entry] = {}
    left_out: dict[str, list[Entry]] = {reason: [] for reason in REASONS}
    for reason, entry in judged:
        if reason is None and entry.key.lower() not in mapped:
            mapped[entry.key.lower()] = entry
        else:
            left_out[reason or UNCLEAR].append(entry)
    return list(mapped.values()), {reason: entries for reason, entries in left_out.items() if entries}


def _entry(column: TableColumn, name: str = "") -> Entry:
    return Entry(name or _pendos_name(column.name), column.name, short_dtype(column.dtype))


def _entry_of(key: str, guess: Guess[Any] | None) -> Entry:
    if guess is None:
        return Entry(key, None, "no column looks like it; name one")
    return Entry(key, guess.value, guess.why and f"guessed: {guess.why}")


def _pendos_name(column: str) -> str:
    """Returns a name for what a column fills; in lower case if the warehouse writes all names in upper case."""
    return field_name_spelling(column.lower() if column.isupper() else column)


def write_starter(described: ModelDescription, text: str, file: Path) -> None:
    """Writes a starter mapping to a new file.

    Raises:
        ConfigError: If the model has an entry elsewhere, the file exists, or it cannot be written.
    """
    if described.entry is not None:
        raise ConfigError(
            f"{described.entry} has an entry of {described.model.name} already, and dbt takes one a model.",
            "Print the mapping without --output, and paste it there.",
        )
    if file.exists():
        raise ConfigError(f"{file} exists, and is left as it is.", "Name another file.")
    write_text(file, text)


def as_yaml(starter: Starter) -> str:
    """Returns the properties of a model as dbt's YAML has them, comments included."""
    described, model = starter.described, starter.described.model
    name = model.annotation.model
    title = f"A starter for {name}, made by `dbt-pendo init`. Read it through: what is guessed says so."
    lines = list(map(_comment, (title, *starter.sources, *_place(described))))
    lines += [f"{described.kind}s:", f"  - name: {_scalar(model.name)}"]
    indent = "    "
    if model.version is not None:
        # Above them it would hold for all versions, and each would be a sync of the same records.
        lines += ["    versions:", f"      - v: {_scalar(model.version)}"]
        indent = "        "
    mapping = ["config:", "  meta:", "    pendo:", *(f"      {line}" for line in _mapping(starter))]
    return "\n".join([*lines, *(f"{indent}{line}" for line in mapping)]) + "\n"


def _place(described: ModelDescription) -> Sequence[str]:
    """Returns where the mapping belongs."""
    model, then = described.model, "Then `dbt build` and `dbt-pendo check`."
    if described.entry is None:
        beside = PurePosixPath(model.annotation.file).with_suffix(".yml")
        return [f"Save it where dbt reads YAML, as {beside} for example. {then}"]
    into = "that" if model.version is None else "its version there"
    return [
        f"{described.entry} has an entry of {model.name}, and dbt takes one: paste `config` into {into}.",
        f"If it has a `meta` already, `pendo` goes there. {then}",
    ]


def _mapping(starter: Starter) -> Iterator[str]:
    yield from _aligned(starter.head)
    if starter.creates:
        yield "create_fields: true  # Pendo has none of these fields yet: the first sync creates them"
    elif starter.creates is False:
        yield "# create_fields: true  # creates fields that Pendo lacks, with the first sync"
    section = OBJECTS[starter.object].section
    if section is None or not (starter.mapped or starter.left_out):
        return
    # Nothing below it is an empty value to YAML, which no section can be.
    yield f"{'' if starter.mapped else '# '}{section}:"
    yield from (f"  {line}" for line in _aligned(starter.mapped))
    for reason, entries in starter.left_out.items():
        yield f"  # {reason}"
        yield from (f"  # {line.removeprefix('# ')}" for line in _aligned(entries))


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
    value = entry.value
    if isinstance(value, dict):
        flow = ", ".join(f"{key}: {_scalar(each, flow=True)}" for key, each in value.items())
        return f"{_scalar(entry.key)}: {{{flow}}}"
    return f"{_scalar(entry.key)}: {_scalar(value)}"


def _scalar(value: Any, flow: bool = False) -> str:
    """Returns a scalar as YAML wants it, on one line."""
    # Quoted, it neither begins nor holds what a log would obey; in quotes YAML takes the same escapes.
    style = None if not isinstance(value, str) or visible(value) == value else '"'
    written = yaml.safe_dump([value], default_style=style, default_flow_style=flow, allow_unicode=True, width=10**6)
    return visible(written.strip("\n").removeprefix("[" if flow else "- ").removesuffix("]" if flow else ""))
