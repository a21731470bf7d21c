"""Before the first row: does the mapping fit the model and its table?"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from dbt_pendo.delivery.journal import journal_path
from dbt_pendo.delivery.results import Counts, Observer
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.mapping.describe import key_reading
from dbt_pendo.mapping.spec import MappingError, Model, Problem, SyncSpec
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.project.artifacts import LastRun
from dbt_pendo.records.render import PendoField
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.warehouse.notes import Subscription
from dbt_pendo.warehouse.plan import ModelTable
from dbt_pendo.warehouse.session import Session, UnreadableError
from dbt_pendo.warehouse.tables import SyncTables
from dbt_pendo.wording import did_you_mean


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sync that may start."""

    spec: SyncSpec
    source: ModelTable
    # What Pendo knows of each of ``spec.fields``; by the columns' own types while Pendo was not asked.
    fields: tuple[PendoField, ...]
    # The fields that were created for it, or are to be: name, group and type.
    new_fields: Sequence[Mapping[str, str]] = ()
    # The Pendo that is noted with the ledger, and the one to note; None if it is noted already, or no key is set.
    noted_subscription: Subscription | None = None
    new_subscription: Subscription | None = None
    # What to tell about that; empty for nothing.
    about_subscription: str = ""
    # Why a first run is held back: another of dbt's targets may deliver the same sync to the same Pendo, or a sync of
    # another name has sent the same events.
    another_ledger: str = ""


def require_table(model: Model) -> str:
    """Returns a model's table or view, rendered.

    Raises:
        MappingError: If it is to have none.
    """
    if model.materialized == "ephemeral" or not model.relation.name:
        materialized = model.materialized or "not materialised"
        raise MappingError(
            [_about_table(model, f"{model.annotation.model} is {materialized}: there is no table to read.")],
            "Give it `materialized: table` or `view`.",
        )
    return model.relation.name


def find_columns(session: Session, model: Model, last_run: LastRun | None = None) -> Sequence[TableColumn]:
    """Finds the columns of a model's table or view in the warehouse.

    Args:
        session: The warehouse.
        model: The model.
        last_run: What is known of dbt's last command, to say what can be done where there is no table.

    Raises:
        MappingError: If there is none, the model was not built, or it may not be read.
    """
    relation, place = require_table(model), model.relation
    try:
        columns = session.columns(place.database, place.schema, place.identifier)
    except UnreadableError as error:
        role = _role(session)
        raise MappingError(
            [_about_table(model, f"{relation} is in the warehouse, but {role} cannot read it ({error}).")],
            f"If a right is missing, grant `select` on it, and `usage` on its schema, to {role}. If not: "
            f"{_build(model, last_run)}",
        ) from None
    if not columns:
        raise MappingError([_about_table(model, f"{relation} is not in the warehouse.")], _build(model, last_run))
    return columns


def find_mapped(session: Session, model: Model, spec: SyncSpec) -> dict[str, TableColumn]:
    """Returns the mapped columns that are in the warehouse, by the names that the user gave them.

    Raises:
        MappingError: If the model's table is not there, or may not be read.
    """
    return _mapped(spec, find_columns(session, _where_dbt_finds(session, model)))


def _mapped(spec: SyncSpec, columns: Sequence[TableColumn]) -> dict[str, TableColumn]:
    names = dict.fromkeys((*spec.identifier.columns, *spec.columns))
    return {name: column for name in names if (column := _find_column(name, columns)) is not None}


def _about_table(model: Model, message: str) -> Problem:
    annotation = model.annotation
    return Problem(annotation.file, annotation.model, "", message, unique_id=model.unique_id, shows_key=False)


def find_source(session: Session, model: Model, spec: SyncSpec, last_run: LastRun) -> ModelTable:
    """Finds the model's table and the mapped columns in the warehouse.

    Args:
        session: The warehouse.
        model: The model.
        spec: The sync.
        last_run: What is known of dbt's last command.

    Raises:
        MappingError: If the model was not built, or a column is not there.
    """
    model = _where_dbt_finds(session, model)
    columns = find_columns(session, model, last_run)
    there, found = [column.name for column in columns], _mapped(spec, columns)
    if missing := [name for name in (*spec.identifier.columns, *spec.columns) if name not in found]:
        raise _without_columns(session, model, spec, list(dict.fromkeys(missing)), there)
    place = model.relation
    return ModelTable(
        _rows_to_read(session, model, spec, columns),
        found[spec.key],
        tuple(found[name] for name in spec.columns),
        found[spec.parent_key] if spec.parent_key else None,
        is_view=model.materialized == "view",
        has_rowid=session.is_table(place.database, place.schema, place.identifier)
        and "rowid" not in (name.lower() for name in there),
    )


def _without_columns(
    session: Session, model: Model, spec: SyncSpec, missing: Sequence[str], there: Sequence[str]
) -> MappingError:
    """Returns the error of a sync whose table does not have, or does not show, all mapped columns."""
    place, relation, role = model.relation, require_table(model), _role(session)

    def about(column: str, message: str) -> Problem:
        return Problem(*(spec.file, spec.name, key_reading(spec, column), message, column), unique_id=spec.unique_id)

    # PostgreSQL lists only the columns that a role may read.
    all_names = session.all_column_names(place.database, place.schema, place.identifier)
    lacking = [
        about(name, f"{relation} has no column `{name}`. {did_you_mean(name, there, 'Its columns')}")
        for name in missing
        if name not in all_names
    ]
    hidden = [
        about(name, f"{role} cannot read the column `{name}` of {relation}.") for name in missing if name in all_names
    ]
    if hidden:
        return MappingError([*lacking, *hidden], f"Grant `select` on it to {role}.")
    return MappingError(
        lacking, f"Fix the mapping. If the column is new, the table is older than the model: {_build(model)}"
    )


def _where_dbt_finds(session: Session, model: Model) -> Model:
    """Returns a model in the place where dbt reads it: a deferred one is elsewhere if it has no table of its own."""
    if model.deferred_to is None or model.materialized == "ephemeral":
        return model
    own = model.relation
    with contextlib.suppress(UnreadableError):
        if not session.columns(own.database, own.schema, own.identifier):
            return replace(model, relation=model.deferred_to)
    return model


def _rows_to_read(session: Session, model: Model, spec: SyncSpec, columns: Sequence[TableColumn]) -> str:
    """Returns what to select from: the model's table; of a snapshot's its current rows, unless each row is an event.

    Raises:
        MappingError: If a snapshot's table does not say which rows are current.
    """
    relation, current = require_table(model), model.current_rows
    if current is None or spec.event is not None:
        return relation
    valid_to = _find_column(current.valid_to, columns)
    if valid_to is None:
        raise MappingError(
            [
                _about_table(
                    model,
                    f"{relation} has no column `{current.valid_to}`, which says until when a row of a snapshot was "
                    "current.",
                )
            ],
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


def _role(session: Session) -> str:
    return session.role or "the role of dbt-pendo"


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
    # Sends the requests of all syncs of the run.
    senders: Executor
    # The names of the schema's tables when the run began.
    listed: Collection[str]
    counts: Counts

    @property
    def spec(self) -> SyncSpec:
        """The mapping."""
        return self.prepared.spec

    @property
    def journal_path(self) -> Path:
        """The path of the journal."""
        return journal_path(self.target_path, self.spec.name, self.tables.address)
