"""Before the first row: does the mapping fit the model, the warehouse and Pendo, and is the ledger of that Pendo?"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from dbt_pendo.delivery.journal import journal_path
from dbt_pendo.delivery.results import Counts, Observer
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.describe import key_reading
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation, MappingError, Model, Object, Problem, SyncSpec
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.records import read_record
from dbt_pendo.project.artifacts import LastRun
from dbt_pendo.records.render import PendoField
from dbt_pendo.warehouse.ledger import LedgerTable
from dbt_pendo.warehouse.names import TableColumn, table_name
from dbt_pendo.warehouse.notes import Subscription, read_subscriptions, subscription_name, subscription_names
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.plan import ModelTable, PlanOptions
from dbt_pendo.warehouse.runs import History
from dbt_pendo.warehouse.session import Session, UnreadableError, WarehouseError
from dbt_pendo.warehouse.tables import SyncTables
from dbt_pendo.wording import did_you_mean, host_and_port, listing, number

# Delivered records to look for in Pendo when the key is another one.
RECORDS_LOOKED_UP = 5


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


class ForeignPendoError(ConfigError):
    """A ledger is of another Pendo: its rows were delivered there."""


class Subscriptions:
    """The Pendos that the ledgers of a schema are of; each sync is judged once.

    Args:
        session: The warehouse.
        schema: The schema of our tables.
        client: The Pendo that syncs deliver to.
        target_path: dbt's target folder, for what a dead run left.
        tables: The names of the schema's tables when the command began.
        annotations: The mappings of the whole project; empty if they are not known.
    """

    def __init__(
        self,
        session: Session,
        schema: str,
        client: PendoClient,
        target_path: Path,
        tables: Collection[str],
        annotations: Collection[Annotation],
    ) -> None:
        self._session = session
        self._schema = schema
        self._client = client
        self._settings = client.settings
        self._history = History(session, schema)
        self._target_path = target_path
        self._tables = tables
        self._annotations = annotations
        self._judged: dict[str, tuple[Subscription | None, str]] = {}

    @cached_property
    def _noted(self) -> Mapping[str, Subscription | None]:
        """What is noted with the ledgers, by ``subscription_name``; read when it is first asked for."""
        return read_subscriptions(self._session, self._schema, self._tables)

    def current(self, spec: SyncSpec) -> Subscription:
        """Returns the Pendo that a sync delivers to now; its fingerprint is empty if its key is not set."""
        url, secret = self._settings.api_url, self._settings.integration_key
        if spec.event is not None:
            url, secret = self._settings.data_url, self._settings.track_secrets.get((spec.event.app or "").upper())
        return Subscription(host_and_port(url), secret.fingerprint(spec.name) if secret else "", self._session.schema)

    def require(self, spec: SyncSpec) -> tuple[Subscription | None, str]:
        """Makes sure that the ledger of a sync is of the Pendo that it delivers to.

        Another key of the same host is a new key of the same subscription if Pendo knows a record that was delivered.

        Returns:
            The subscription to note with the ledger, if another one is noted, and what to tell about that, if anything.

        Raises:
            ForeignPendoError: If it is another Pendo's.
        """
        if spec.name not in self._judged:
            self._judged[spec.name] = self._judge(spec)
        return self._judged[spec.name]

    def _judge(self, spec: SyncSpec) -> tuple[Subscription | None, str]:
        noted, now = self._noted.get(subscription_name(spec)), self.current(spec)
        if noted == now or (noted is None and not now.fingerprint):
            return None, ""
        ledger = LedgerTable(self._session, self._schema, spec.name)
        if noted is None and any(name in self._noted for name in subscription_names(spec.name)):
            # It was delivered as something else, to another host.
            return now, ""
        if not self._has_delivered(spec, ledger):
            return now, ""
        start = f"{spec.name}: its ledger, {ledger.relation}, is of"
        hint = (
            f"Look at the key, PENDO_REGION and PENDO_API_URL. To give it to this Pendo, `dbt-pendo reset --select "
            f"{spec.name.partition('.')[0]}`: the next sync then sends every row."
        )
        if noted is not None and noted.host != now.host:
            raise ForeignPendoError(f"{start} the Pendo at {noted.host}, and this one is at {now.host}.", hint)
        if not now.fingerprint:
            return None, ""
        if noted is not None and noted.fingerprint == now.fingerprint:
            return now, ""
        # An earlier version noted nothing.
        what = f"another key for {now.host} than before" if noted else f"its ledger does not say if it is of {now.host}"
        delivered = self._delivered(spec)
        if not delivered:
            return now, f"{what}: nothing tells whether it is the same subscription"
        if not any(read_record(self._client, object_, key) for object_, key in delivered):
            raise ForeignPendoError(
                f"{start} another subscription than this at {now.host}, which knows none of {len(delivered)} records "
                f"that were delivered (such as {delivered[0][1]}): {what}.",
                hint,
            )
        return now, f"{what}; it is the same subscription"

    def with_subscription(self, prepared: Prepared) -> Prepared:
        """Returns a prepared sync with what is to be said and noted about the Pendo of its ledger."""
        spec, name = prepared.spec, subscription_name(prepared.spec)
        new, about = self.require(spec)
        noted = self._noted.get(name)
        prepared = replace(prepared, noted_subscription=noted, new_subscription=new, about_subscription=about)
        if found := self._renamed_from(prepared):
            return replace(prepared, another_ledger=found)
        if new is None or self._settings.targets is not None or self._settings.pendo.sandbox:
            return prepared
        found = ""
        if noted is not None and noted.target_schema.lower() != new.target_schema.lower():
            found = f"its ledger is of the target schema {noted.target_schema}, and this one is {new.target_schema}"
        elif name not in self._noted and (others := self._ledgers_elsewhere(prepared, new)):
            has = "has" if len(others) == 1 else "have"
            found = (
                f"{listing(others)} {has} a ledger of this sync, and this first run would begin one in {self._schema}"
            )
        if not found:
            return prepared
        found += ": two targets would write to one Pendo. Name those that may under `targets`"
        return replace(prepared, another_ledger=found)

    def _renamed_from(self, prepared: Prepared) -> str:
        """Returns why a first run would send events twice: a sync of another name sent them, and is no more."""
        spec = prepared.spec
        own = LedgerTable(self._session, self._schema, spec.name)
        if spec.event is None or not self._annotations or own.has_begun(self._tables):
            return ""
        specs, problems = parse_syncs(self._annotations)
        known = {self._session.folded(table_name(one.name, "ledger")) for one in specs}
        # Of a mapping that cannot be read, each table that may be of the model.
        flawed = tuple(self._session.folded(table_name(one.sync.partition(".")[0], "")) for one in problems)
        for table in sorted(self._tables):
            sync = table.removesuffix("__ledger")
            if sync == table or table in known or table.startswith(flawed) or not self._may_have_events(sync, spec):
                continue
            tables = SyncTables(self._session, self._schema, replace(spec, name=sync), prepared.source)
            with contextlib.suppress(WarehouseError):
                planned = sum((bucket.planned for bucket in tables.plan(PlanOptions())), Planned())
                # Some new ones come with a new name; other events may have a few of the same ids by chance.
                if planned.unchanged > planned.added:
                    return (
                        f"the ledger of {sync}, a sync that the project does not have, has {planned.unchanged:,} of "
                        f"its {number(planned.in_model, 'event id')}, so that events may be sent twice. If that sync "
                        f"was renamed: `alter table {tables.ledger} rename to {own.name}`"
                    )
        return ""

    def _may_have_events(self, sync: str, spec: SyncSpec) -> bool:
        """Returns whether the ledger of another sync may have events that were sent to the same Pendo."""
        names = subscription_names(sync)
        noted = self._noted.get(names[1])
        if noted is None:
            # An earlier version noted nothing.
            return names[0] not in self._noted
        return noted.host == self.current(spec).host

    def _ledgers_elsewhere(self, prepared: Prepared, new: Subscription) -> list[str]:
        """Returns the schemas with a ledger of a sync that has none here, without those of another Pendo."""
        name = subscription_name(prepared.spec)
        tables = SyncTables(self._session, self._schema, prepared.spec, prepared.source)
        is_begun = LedgerTable(self._session, self._schema, prepared.spec.name).has_begun(self._tables)
        others = [] if is_begun else tables.ledgers_elsewhere()
        noted = {schema: read_subscriptions(self._session, schema).get(name) for schema in others}
        return [schema for schema, there in noted.items() if there is None or there.host == new.host]

    def _has_delivered(self, spec: SyncSpec, ledger: LedgerTable) -> bool:
        """Returns whether a sync has delivered anything: by its ledger, or by what a dead run left."""
        if ledger.has_begun(self._tables) and self._history.open_rows(spec.name, ["delivered", "removed"], limit=1):
            return True
        return journal_path(self._target_path, spec.name, ledger.address).exists()

    def _delivered(self, spec: SyncSpec) -> list[tuple[Object, str]]:
        """Returns a few records that a sync has delivered and that can be read back, each with its kind."""
        object_: Object = "visitor" if spec.segment is not None else spec.object
        if not OBJECTS[object_].is_readable:
            return []
        entries = self._history.open_rows(spec.name, ["delivered"], RECORDS_LOOKED_UP)
        return [(object_, entry.key) for entry in entries]
