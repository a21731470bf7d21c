"""The syncs of a command, and what they run between."""

from __future__ import annotations

import contextlib
import datetime
import secrets
from collections.abc import Iterator
from pathlib import Path

from dbt_pendo.commands.select import Gates, Selected, Selection, select_published
from dbt_pendo.delivery.events import require_moment
from dbt_pendo.delivery.prepare import (
    PendoFacts,
    Prepared,
    find_source,
    match_fields,
    offline_fields,
    refuse_unsupported,
)
from dbt_pendo.delivery.segments import Segment
from dbt_pendo.delivery.signals import Stop, stop_on_signals
from dbt_pendo.delivery.sync import Options, plan_options
from dbt_pendo.history.calls import CallLog
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.project.manifest import Model
from dbt_pendo.records.masking import body_mask
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.ledger import PlanOptions, SyncTables
from dbt_pendo.warehouse.session import Connection, Session, open_session


class Context:
    """The syncs of a command, with the warehouse and the Pendo between which they run.

    Attributes:
        gathered: The syncs.
        session: The warehouse.
        settings: How to reach Pendo.
        client: Pendo, as requests.
        calls: Keeps the requests of a run.
        stop: Whether the command has to end.
        pendo: Pendo's side of all preparations.
        schema: The schema of the bookkeeping.
    """

    def __init__(
        self, selected: Selected, session: Session, settings: Settings, client: PendoClient, calls: CallLog, stop: Stop
    ) -> None:
        self.selected = selected
        self.session = session
        self.settings = settings
        self.client = client
        self.calls = calls
        self.stop = stop
        self.pendo = PendoFacts(client)
        self.schema = session.own_schema(settings.schema)

    def begin(self, target_path: Path) -> str:
        """Begins a run whose calls are kept, and returns its id."""
        run_id = new_run_id()
        self.calls.begin(target_path, run_id, self.settings.keep_runs)
        return run_id

    def prepare(
        self, model: Model, spec: SyncSpec, may_create: bool, ask_pendo: bool = True, writes: bool = True
    ) -> Prepared:
        """Makes sure that a sync may start.

        Args:
            model: The model.
            spec: The sync.
            may_create: Whether fields that Pendo lacks may be created.
            ask_pendo: Whether Pendo is asked at all.
            writes: Whether the key has to be one that may write.

        Raises:
            DbtPendoError: If it may not.
        """
        self.calls.about(spec.name, body_mask(self.settings.mask, spec))
        refuse_unsupported(spec)
        source = find_source(self.session, model, spec, self.selected.last_run)
        require_moment(spec, source)
        if not ask_pendo:
            return Prepared(spec, source, offline_fields(spec))
        if spec.event is not None:
            self.settings.require_track_secret(spec.event.app)
            return Prepared(spec, source, ())
        self.pendo.require_key(writes)
        return Prepared(spec, source, match_fields(self.pendo, spec, source, may_create))

    def find_segment(self, prepared: Prepared, is_taken_over: bool = False) -> Segment | None:
        """Finds the segment that a sync fills; None for other syncs.

        Args:
            prepared: The sync.
            is_taken_over: Whether it may be one that another sync fills.
        """
        if prepared.spec.segment is None:
            return None
        segment = Segment(self.client, prepared.spec, self.stop, self.tables(prepared))
        segment.find(is_taken_over)
        return segment

    def how(self, options: Options) -> PlanOptions:
        """Returns how a plan compares."""
        return plan_options(options, self.settings.max_attempts, self.settings.missing_retry)

    def tables(self, prepared: Prepared) -> SyncTables:
        """Returns the tables of a sync."""
        return SyncTables(self.session, self.schema, prepared.spec, prepared.source)


@contextlib.contextmanager
def open_context(selected: Selected, connection: Connection, settings: Settings) -> Iterator[Context]:
    """Opens the warehouse and a client of Pendo for one command.

    Raises:
        ConfigError: If the profile cannot be used.
        WarehouseError: If the warehouse cannot be reached.
    """
    with _opened(connection, settings) as (session, client, calls, stop):
        yield Context(selected, session, settings, client, calls, stop)


@contextlib.contextmanager
def open_published(selection: Selection, gates: Gates, connection: Connection, settings: Settings) -> Iterator[Context]:
    """Opens the same for the syncs of what dbt has published in the warehouse.

    Raises:
        ConfigError: If the profile cannot be used, dbt has published nothing, or a mapping is wrong.
        WarehouseError: If the warehouse cannot be reached.
    """
    with _opened(connection, settings) as (session, client, calls, stop):
        selected = select_published(session, session.own_schema(settings.schema), selection, gates)
        yield Context(selected, session, settings, client, calls, stop)


@contextlib.contextmanager
def _opened(connection: Connection, settings: Settings) -> Iterator[tuple[Session, PendoClient, CallLog, Stop]]:
    stop = Stop()
    with (
        stop_on_signals(stop),
        open_session(connection) as session,
        CallLog() as calls,
        PendoClient(settings, wait=stop.wait, watch=calls.write, ends_at=stop.ends_at) as client,
    ):
        yield session, client, calls, stop


def new_run_id() -> str:
    """Returns the id of a run that begins now: sortable by time."""
    return f"{now():%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(3)}"


def now() -> datetime.datetime:
    """Returns the time in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)
