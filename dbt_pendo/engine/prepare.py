"""Before the first row: does the mapping fit the model, the warehouse and Pendo?"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dbt_pendo.errors import ConfigError
from dbt_pendo.pendo.client import PendoClient, PendoError
from dbt_pendo.pendo.metadata import KINDS, Schema, create_fields, read_schema, verify_key
from dbt_pendo.project.artifacts import Model
from dbt_pendo.records.render import PendoField
from dbt_pendo.settings import INTEGRATION_KEY
from dbt_pendo.spec.sync import Column, FieldType, Group, Mapping, Object, SyncSpec
from dbt_pendo.warehouse.ledger import Source
from dbt_pendo.warehouse.session import Session, TableColumn

# The words adapters have for types, and the kind of value such a column holds. The first that matches counts.
_DTYPES: Sequence[tuple[str, str]] = (
    (r"\[\]|^array|^list|^super", "list"),
    (r"struct|^record|^object|^map|json|variant", "nested"),
    (r"^bool", "boolean"),
    (r"^(tiny|small|medium|big|huge|u|byte)*int(eger|\d+)?\b|^(big)?serial|^long$|^short$", "integer"),
    (r"^(numeric|decimal|number|bignumeric)\(\d+(, *0)?\)|^fixed\(\d+, *0\)", "integer"),
    (r"^(numeric|decimal|number|bignumeric|dec)|^(float|double|real)", "float"),
    (r"^(date|timestamp)", "time"),
    (r"^(bytes|binary|varbinary|blob|bytea)", "bytes"),
)
# Values that can never become a field of that type, whatever the row.
_UNFIT: frozenset[tuple[str, FieldType]] = frozenset(
    {
        ("boolean", "integer"),
        ("boolean", "float"),
        ("boolean", "time"),
        ("time", "boolean"),
        ("time", "integer"),
        ("time", "float"),
        ("list", "string"),
        ("list", "boolean"),
        ("list", "integer"),
        ("list", "float"),
        ("list", "time"),
    }
)
_IDENTIFIED: frozenset[Object] = frozenset(KINDS)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sync that may start.

    Attributes:
        spec: The mapping.
        source: The model's table and columns.
        fields: What Pendo knows of each of ``spec.fields``; by the columns' own types while Pendo was not asked.
    """

    spec: SyncSpec
    source: Source
    fields: tuple[PendoField, ...]


class Pendo:
    """Pendo's side of all preparations of a run, asked once for each thing."""

    def __init__(self, client: PendoClient) -> None:
        self.client = client
        self._schemas: dict[Object, Schema] = {}
        self._writable: bool | None = None
        self._unavailable: PendoError | None = None

    def require_write_access(self) -> None:
        """Makes sure that the integration key may write.

        Raises:
            ConfigError: If it is not set, or read-only.
            KeyRefusedError: If Pendo does not know it.
        """
        self.client.settings.require_integration_key()
        if self._unavailable is not None:
            raise self._unavailable
        if self._writable is None:
            try:
                self._writable = verify_key(self.client)
            except PendoError as error:
                # Each sync of the run needs the key; the others need not wait through all retries again.
                self._unavailable = error
                raise
        if not self._writable:
            raise ConfigError(
                "The integration key may only read.",
                f"Create one with write access in Pendo (Settings > Integrations) and put it in {INTEGRATION_KEY}.",
            )

    def schema(self, object_: Object) -> Schema:
        """Returns the fields of a kind of object."""
        if object_ not in self._schemas:
            self._schemas[object_] = read_schema(self.client, object_)
        return self._schemas[object_]

    def create_fields(self, object_: Object, group: Group, types: dict[str, FieldType]) -> None:
        """Creates fields, and forgets the schema that did not have them."""
        create_fields(self.client, object_, group, types)
        self._schemas.pop(object_, None)


def refuse_unsupported(spec: SyncSpec) -> None:
    """Refuses what a mapping may say, and this release or Pendo's API does not do.

    Raises:
        ConfigError: If the sync wants such a thing.
    """
    where = f"{spec.file}: {spec.name}"
    if spec.object == "parent_account" and spec.on_removed == "delete":
        raise ConfigError(f"{where}: Pendo's API deletes visitors and accounts only.", "Use `on_removed: clear`.")


def find_source(session: Session, model: Model, spec: SyncSpec) -> Source:
    """Finds the model's table and the mapped columns in the warehouse.

    Raises:
        ConfigError: If the model was not built, or a column is not there.
    """
    build = f"Run `dbt build --select {spec.name.partition('.')[0]}`."
    if model.materialized == "ephemeral" or not model.relation_name:
        raise ConfigError(
            f"{spec.file}: {spec.name} is {model.materialized or 'not materialised'}: there is no table to read.",
            "Give it `materialized: table` or `view`.",
        )
    columns = session.columns(model.database, model.schema, model.identifier)
    if not columns:
        raise ConfigError(f"{spec.name}: {model.relation_name} is not in the warehouse.", build)
    missing = []
    found: dict[str, TableColumn] = {}
    for name in (spec.key, *([spec.parent_key] if spec.parent_key else []), *spec.columns):
        column = _find_column(name, columns)
        if column is None:
            missing.append(_missing_column(name, columns))
        else:
            found[name] = column
    if missing:
        raise ConfigError(
            "\n".join(f"{spec.file}: {spec.name}: {model.relation_name} {line}" for line in dict.fromkeys(missing)),
            f"Fix the mapping. If the column is new, the table is older than the model: {build}",
        )
    return Source(
        model.relation_name,
        found[spec.key],
        tuple(found[name] for name in spec.columns),
        found[spec.parent_key] if spec.parent_key else None,
    )


def offline_fields(spec: SyncSpec) -> tuple[PendoField, ...]:
    """Returns the mapped fields as the user named them, for plans made without asking Pendo."""
    return tuple(PendoField(mapping.name, mapping.type) for mapping in spec.fields)


def match_fields(pendo: Pendo, spec: SyncSpec, source: Source, may_create: bool) -> tuple[PendoField, ...]:
    """Finds each mapped field in Pendo's schema, and creates those that ``create_fields`` allows.

    Args:
        pendo: Pendo.
        spec: The sync.
        source: The model's columns, whose types new fields take.
        may_create: Whether missing fields are created now; else they are taken for created.

    Raises:
        ConfigError: If a field is not there, or cannot hold what the column has.
    """
    if spec.object not in _IDENTIFIED:
        return ()
    schema = pendo.schema(spec.object)
    missing = [mapping for mapping in spec.fields if schema.find(mapping.group, mapping.name) is None]
    dtypes = dict(zip(spec.columns, (column.dtype for column in source.columns), strict=True))
    if missing and not spec.create_fields:
        raise ConfigError(
            "\n".join(f"{spec.file}: {spec.name}: {_missing_field(spec, mapping, schema)}" for mapping in missing),
            "Create them in Pendo (Settings > Data mappings), or let `create_fields: true` do it.",
        )
    if missing and may_create:
        for group in dict.fromkeys(mapping.group for mapping in missing):
            types = {
                mapping.name: mapping.type or _type_of(mapping, dtypes) for mapping in missing if mapping.group == group
            }
            pendo.create_fields(spec.object, group, types)
        schema = pendo.schema(spec.object)
    fields = []
    misfits: list[str] = []
    for mapping in spec.fields:
        found = schema.find(mapping.group, mapping.name)
        field = PendoField(found.key if found else mapping.name, mapping.type or (found.type if found else None))
        fields.append(field)
        misfits += _misfit(spec, mapping, field, dtypes)
    if misfits:
        raise ConfigError("\n".join(misfits), "Cast the column in the model, or map it to another field.")
    return tuple(fields)


def kind_of(dtype: str) -> str | None:
    """Returns the kind of value a column holds, by its type in the warehouse's words; None for text and unknown."""
    lowered = dtype.strip().lower()
    return next((kind for pattern, kind in _DTYPES if re.search(pattern, lowered)), None)


def _type_of(mapping: Mapping, dtypes: dict[str, str]) -> FieldType:
    """Returns the type a new field takes from its column or constant."""
    if isinstance(mapping.source, Column):
        kind = kind_of(dtypes[mapping.source.name])
    else:
        kind = {bool: "boolean", int: "integer", float: "float"}.get(type(mapping.source.value))
    known: dict[str | None, FieldType] = {
        "boolean": "boolean",
        "integer": "integer",
        "float": "float",
        "time": "time",
        "list": "list",
    }
    return known.get(kind, "string")


def _misfit(spec: SyncSpec, mapping: Mapping, field: PendoField, dtypes: dict[str, str]) -> Iterable[str]:
    if not isinstance(mapping.source, Column) or field.type is None:
        return
    dtype = dtypes[mapping.source.name]
    kind = kind_of(dtype)
    if kind in ("bytes", "nested") or (kind, field.type) in _UNFIT:
        yield (
            f"{spec.file}: {spec.name}: column {mapping.source.name} is {dtype.lower()}, which the {field.type} field "
            f"{mapping.name} cannot hold."
        )


def _find_column(name: str, columns: Sequence[TableColumn]) -> TableColumn | None:
    """Returns the column a user means: the exact name, else the only one that differs by case."""
    exact = [column for column in columns if column.name == name]
    folded = [column for column in columns if column.name.lower() == name.lower()]
    for found in (exact, folded):
        if len(found) == 1:
            return found[0]
    return None


def _missing_column(name: str, columns: Sequence[TableColumn]) -> str:
    names = [column.name for column in columns]
    close = difflib.get_close_matches(name.lower(), [known.lower() for known in names], n=1)
    if close:
        meant = next(known for known in names if known.lower() == close[0])
        return f"has no column `{name}`. Did you mean `{meant}`?"
    return f"has no column `{name}`. Its columns: {', '.join(names)}."


def _missing_field(spec: SyncSpec, mapping: Mapping, schema: Schema) -> str:
    known = list(schema.groups.get(mapping.group, {}))
    close = difflib.get_close_matches(mapping.name.lower(), known, n=1)
    advice = f" Did you mean `{close[0]}`?" if close else ""
    groups: tuple[Group, ...] = ("custom", "agent")
    elsewhere = [group for group in groups if group != mapping.group and schema.find(group, mapping.name)]
    if elsewhere:
        advice = f" There is one in the group `{elsewhere[0]}`."
    return f"Pendo has no {mapping.group} {spec.object} field `{mapping.name}`.{advice}"
