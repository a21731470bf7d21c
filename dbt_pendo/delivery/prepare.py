"""Before the first row: does the mapping fit the model, the warehouse and Pendo?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dbt_pendo.delivery.fields import GROUPS, MatchedField, after_creation, allow_creation, match, unusable
from dbt_pendo.delivery.journal import journal_path
from dbt_pendo.delivery.results import Counts, Observer
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import FieldType, Group, Model, Object, SyncSpec
from dbt_pendo.pendo.client import PendoClient, PendoError, UnavailableError
from dbt_pendo.pendo.metadata import FieldsRefusedError, Schema, create_fields, read_schema, verify_key
from dbt_pendo.pendo.track import verify_secret
from dbt_pendo.project.run_results import LastRun
from dbt_pendo.records.render import PendoField
from dbt_pendo.secret import Secret
from dbt_pendo.settings import INTEGRATION_KEY, Settings
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.plan import ModelTable
from dbt_pendo.warehouse.session import Session, TableColumn, UnreadableError
from dbt_pendo.wording import did_you_mean


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sync that may start."""

    spec: SyncSpec
    source: ModelTable
    # What Pendo knows of each of ``spec.fields``; by the columns' own types while Pendo was not asked.
    fields: tuple[PendoField, ...]


class PendoFacts:
    """What Pendo says of keys and fields, asked once in a run.

    A key that Pendo refuses, or does not answer for, is not asked about again: other syncs need not wait through all
    retries.
    """

    def __init__(self, client: PendoClient) -> None:
        self.client = client
        self._schemas: dict[Object, Schema] = {}
        # Whether a key or secret may write, or why it cannot be used.
        self._keys: dict[Secret, bool | PendoError] = {}

    def require_key(self, writes: bool = True) -> None:
        """Makes sure that the integration key is good, and may write if it has to.

        Raises:
            ConfigError: If it is not set, or read-only where that does not do.
            KeyRefusedError: If Pendo does not know it.
        """
        key = self.client.settings.require_integration_key()
        if not self._ask(key, verify_key) and writes:
            raise ConfigError(
                "The integration key may only read.",
                f"Create one with write access in Pendo (Settings > Integrations) and put it in {INTEGRATION_KEY}.",
            )

    def require_track_secret(self, app: str | None) -> None:
        """Makes sure that Pendo knows the Track Event shared secret of an app.

        Raises:
            ConfigError: If it is not set.
            KeyRefusedError: If Pendo does not know it.
        """
        secrets = self.client.settings.track_secrets.values()
        try:
            self._ask(self.client.settings.require_track_secret(app), partial(verify_secret, app=app))
        except UnavailableError as error:
            # It will not answer for another app's secret either.
            self._keys |= dict.fromkeys(secrets, error)
            raise

    def schema(self, object_: Object) -> Schema:
        """Returns the fields of a kind of object."""
        if object_ not in self._schemas:
            self._schemas[object_] = read_schema(self.client, object_)
        return self._schemas[object_]

    def create_fields(self, object_: Object, group: Group, types: dict[str, FieldType]) -> None:
        """Creates fields, and forgets the schema that did not have them."""
        self._schemas.pop(object_, None)
        create_fields(self.client, object_, group, types)

    def _ask(self, key: Secret, verify: Callable[[PendoClient], bool]) -> bool:
        if key not in self._keys:
            try:
                self._keys[key] = verify(self.client)
            except PendoError as error:
                self._keys[key] = error
        found = self._keys[key]
        if isinstance(found, PendoError):
            raise found
        return found


def refuse_unsupported(spec: SyncSpec) -> None:
    """Refuses what a mapping may say, and this release or Pendo's API does not do.

    Raises:
        ConfigError: If the sync wants such a thing.
    """
    where = f"{spec.file}: {spec.name}"
    if spec.on_removed == "delete" and not OBJECTS[spec.object].is_deletable:
        raise ConfigError(f"{where}: Pendo's API deletes visitors and accounts only.", "Use `on_removed: clear`.")


def require_table(model: Model) -> str:
    """Returns a model's table or view, rendered.

    Raises:
        ConfigError: If it is to have none.
    """
    if model.materialized == "ephemeral" or not model.relation_name:
        materialized = model.materialized or "not materialised"
        raise ConfigError(
            f"{model.annotation.file}: {model.annotation.model} is {materialized}: there is no table to read.",
            "Give it `materialized: table` or `view`.",
        )
    return model.relation_name


def find_columns(session: Session, model: Model, last_run: LastRun | None = None) -> Sequence[TableColumn]:
    """Finds the columns of a model's table or view in the warehouse.

    Args:
        session: The warehouse.
        model: The model.
        last_run: What is known of dbt's last command, to say what can be done where there is no table.

    Raises:
        ConfigError: If there is none, the model was not built, or it may not be read.
    """
    relation = require_table(model)
    try:
        columns = session.columns(model.database, model.schema, model.identifier)
    except UnreadableError as error:
        role = session.role or "the role of dbt-pendo"
        raise ConfigError(
            f"{model.annotation.model}: {relation} is in the warehouse, but {role} cannot read it ({error}).",
            f"If a right is missing, grant `select` on it, and `usage` on its schema, to {role}. If not: "
            f"{_build(model, last_run)}",
        ) from None
    if not columns:
        message = f"{model.annotation.model}: {relation} is not in the warehouse."
        raise ConfigError(message, _build(model, last_run))
    return columns


def find_source(session: Session, model: Model, spec: SyncSpec, last_run: LastRun) -> ModelTable:
    """Finds the model's table and the mapped columns in the warehouse.

    Args:
        session: The warehouse.
        model: The model.
        spec: The sync.
        last_run: What is known of dbt's last command.

    Raises:
        ConfigError: If the model was not built, or a column is not there.
    """
    relation, columns = require_table(model), find_columns(session, model, last_run)
    missing = []
    found: dict[str, TableColumn] = {}
    names = (spec.key, *([spec.parent_key] if spec.parent_key else []), *spec.columns)
    for name in names:
        column = _find_column(name, columns)
        if column is None:
            missing.append(_missing_column(name, columns))
        else:
            found[name] = column
    if missing:
        # PostgreSQL lists only the columns that a role may read.
        there = session.all_column_names(model.database, model.schema, model.identifier)
        if hidden := [name for name in dict.fromkeys(names) if name not in found and name in there]:
            role = session.role or "the role of dbt-pendo"
            raise ConfigError(
                [f"{spec.file}: {spec.name}: {role} cannot read the column `{name}` of {relation}." for name in hidden],
                f"Grant `select` on it to {role}.",
            )
        raise ConfigError(
            [f"{spec.file}: {spec.name}: {relation} {line}" for line in dict.fromkeys(missing)],
            f"Fix the mapping. If the column is new, the table is older than the model: {_build(model)}",
        )
    return ModelTable(
        _rows_to_read(session, model, spec, columns),
        found[spec.key],
        tuple(found[name] for name in spec.columns),
        found[spec.parent_key] if spec.parent_key else None,
    )


def _rows_to_read(session: Session, model: Model, spec: SyncSpec, columns: Sequence[TableColumn]) -> str:
    """Returns what to select from: the model's table; of a snapshot's its current rows, unless each row is an event.

    Raises:
        ConfigError: If a snapshot's table does not say which rows are current.
    """
    relation, current = require_table(model), model.current_rows
    if current is None or spec.event is not None:
        return relation
    valid_to = _find_column(current.valid_to, columns)
    if valid_to is None:
        raise ConfigError(
            f"{spec.file}: {spec.name}: {relation} has no column `{current.valid_to}`, which says until when a row of "
            "a snapshot was current.",
            "Name it under `snapshot_meta_column_names` of the snapshot, or let dbt make the table: "
            f"`dbt snapshot --select {model.name}`.",
        )
    is_deleted = _find_column(current.is_deleted, columns)
    return session.sql(
        "pendo_current_rows",
        snapshot=relation,
        valid_to=valid_to.name,
        valid_to_current=current.valid_to_current,
        is_deleted=is_deleted.name if is_deleted else None,
    )


def offline_fields(spec: SyncSpec) -> tuple[PendoField, ...]:
    """Returns the mapped fields as the user named them, for plans made without asking Pendo."""
    return tuple(PendoField(mapping.name, mapping.type) for mapping in spec.fields)


def match_fields(pendo: PendoFacts, spec: SyncSpec, source: ModelTable, may_create: bool) -> tuple[PendoField, ...]:
    """Finds each mapped field in Pendo's schema, and creates those that ``create_fields`` allows.

    Args:
        pendo: Pendo.
        spec: The sync.
        source: The model's columns, whose types new fields take.
        may_create: Whether missing fields are created now; else they are taken for created.

    Raises:
        ConfigError: If a field is not there, or cannot hold what the column has.
    """
    if not OBJECTS[spec.object].has_fields:
        return ()
    matched = match(spec, source, pendo.schema(spec.object))
    if spec.create_fields:
        matched = allow_creation(matched)
    # Before anything is created: a sync that cannot run anyway leaves nothing behind.
    if error := unusable(spec, matched):
        raise error
    if may_create:
        matched = create_missing(pendo, spec, source, matched)
        if error := unusable(spec, matched):
            raise error
    return tuple(one.field for one in matched)


def create_missing(
    pendo: PendoFacts, spec: SyncSpec, source: ModelTable, matched: tuple[MatchedField, ...]
) -> tuple[MatchedField, ...]:
    """Creates the fields that may be, and returns all of the sync under the keys that Pendo gave them.

    Raises:
        FieldsRefusedError: If Pendo refuses to.
    """
    now = matched
    for group in GROUPS:
        wanted = [one for one in matched if one.state == "to create" and one.mapping.group == group]
        types = {one.mapping.name: one.new_type for one in wanted}
        while types:
            refusal = None
            try:
                pendo.create_fields(spec.object, group, types)
            except FieldsRefusedError as error:
                refusal = error
            now = after_creation(matched, match(spec, source, pendo.schema(spec.object)))
            if refusal is None:
                break
            # One that exists by now, made by somebody else or by an attempt whose answer was lost, may have spoiled
            # the call for all.
            lacking = {one.mapping.name for one in now if one.state == "missing" and one.mapping.group == group}
            left = {name: type_ for name, type_ in types.items() if name in lacking}
            if left == types:
                raise refusal
            types = left
    return now


def _build(model: Model, last_run: LastRun | None = None) -> str:
    command = f"`dbt build --select {model.annotation.model}`"
    if last_run is None or not last_run.left_out(model.unique_id):
        return f"Run {command}."
    return (
        f"The last `dbt {last_run.command}` did not build it, which is as it should be with `--defer`. Leave such "
        f"models out with `--only-built` (of `sync` and `plan`) or `--exclude`, or run {command}."
    )


def _find_column(name: str, columns: Sequence[TableColumn]) -> TableColumn | None:
    """Returns the column a user means: the exact name, else the only one that differs by case."""
    exact = [column for column in columns if column.name == name]
    found = exact or [column for column in columns if column.name.lower() == name.lower()]
    return found[0] if len(found) == 1 else None


def _missing_column(name: str, columns: Sequence[TableColumn]) -> str:
    names = [column.name for column in columns]
    return f"has no column `{name}`. {did_you_mean(name, names, 'Its columns')}"


@dataclass(frozen=True)
class SyncContext:
    """One sync in one run."""

    run_id: str
    prepared: Prepared
    tables: SyncTables
    client: PendoClient
    # dbt's target folder, for the journal.
    target_path: Path
    stop: Stop
    observer: Observer
    counts: Counts = field(default_factory=Counts)

    @property
    def spec(self) -> SyncSpec:
        """The mapping."""
        return self.prepared.spec

    @property
    def settings(self) -> Settings:
        """How to reach Pendo, and how hard to try."""
        return self.client.settings

    @property
    def lock(self) -> SyncLock:
        """The lock of the sync, which this run holds."""
        return self.tables.lock

    @property
    def journal_path(self) -> Path:
        """Where the journal lies."""
        return journal_path(self.target_path, self.spec.name, self.tables.address)
