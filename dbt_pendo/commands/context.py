"""What a command works with: its syncs, the warehouse and Pendo."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dbt_pendo.commands.select import Selected, Selection, require_target, select_published, select_syncs
from dbt_pendo.delivery.events import require_moment
from dbt_pendo.delivery.fields import PendoFacts, match_fields, new_fields, offline_fields
from dbt_pendo.delivery.prepare import Prepared, SyncContext, find_source
from dbt_pendo.delivery.results import Counts, Ends, Observer, SyncResult
from dbt_pendo.delivery.segments import Segment, find_segment
from dbt_pendo.delivery.signals import PATIENCE, Stop, stop_on_signals
from dbt_pendo.delivery.subscriptions import ForeignPendoError, Subscriptions
from dbt_pendo.delivery.sync import Options, run_sync
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.history.calls import CallLog
from dbt_pendo.mapping.spec import MappingError, Model, Object, SyncSpec
from dbt_pendo.pendo.client import PendoClient, PendoError
from dbt_pendo.records.masking import BodyMask, body_mask
from dbt_pendo.records.render import PendoField
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.runs import log_runs
from dbt_pendo.warehouse.session import Session, WarehouseError, open_session
from dbt_pendo.warehouse.tables import SyncTables
from dbt_pendo.wording import number

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Invocation:
    """Where a command works, and on what, as its flags say."""

    project_dir: Path
    # dbt's target folder, where the manifest is and our results go.
    target_path: Path
    # The first folder in which dbt looks for models.
    models_path: Path
    connection: Connection
    settings: Settings
    selection: Selection
    # Where the syncs come from, if not from dbt's target folder; no run and no job of dbt Cloud has the id 0.
    published: bool = False
    dbt_cloud_run_id: int = 0
    dbt_cloud_job_id: int = 0


class Finding(Protocol):
    """What a command says of one sync; ``error`` is why it could not do its work."""

    @property
    def title(self) -> str:
        """What the sync is called in a line."""

    @property
    def error(self) -> DbtPendoError | None:
        """Why the command could not do its work."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the sync's entry under ``results``."""


@dataclass(frozen=True, slots=True)
class SyncFinding:
    """What a command says of a sync whose mapping it understands."""

    spec: SyncSpec
    error: DbtPendoError | None = None

    @property
    def title(self) -> str:
        """The kind of its object, and its name."""
        return f"{self.spec.object} {self.spec.name}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the sync's entry under ``results``."""
        return {
            "sync": self.spec.name,
            "unique_id": self.spec.unique_id,
            "object": self.spec.object,
            "status": "error" if self.error else "success",
            "message": str(self.error) if self.error else None,
            **self.details(),
        }

    def details(self) -> dict[str, Any]:
        """Returns what the entry of this command has beside or instead of that."""
        return {}


@dataclass(frozen=True, slots=True)
class Context:
    """The syncs of a command, the warehouse they read and the Pendo they write."""

    selected: Selected
    settings: Settings
    # dbt's target folder.
    target_path: Path
    session: Session
    # Of our tables.
    schema: str
    client: PendoClient
    pendo: PendoFacts
    calls: CallLog
    stop: Stop
    # Whose the ledgers are.
    subscriptions: Subscriptions
    # The names of the schema's tables when the command began.
    listed: frozenset[str]
    # Sends the requests of all syncs.
    senders: Executor
    # Held by a sync that asks Pendo what others may ask as well: each question is asked once, and logged with its sync.
    asking: threading.Lock = field(default_factory=threading.Lock)

    def each_sync(
        self, work: Callable[[Model, SyncSpec], Found], failed: Callable[[SyncSpec, DbtPendoError], Found]
    ) -> Iterator[Found]:
        """Yields what ``work`` returns for each sync, or what ``failed`` makes of its error.

        Raises:
            InterruptedRunError: Between two syncs, if the command has to end.
            ForeignPendoError: If the ledger of one is another Pendo's.
        """
        for model, spec in self.selected.syncs:
            self.stop.check()
            try:
                answer = work(model, spec)
            except ForeignPendoError:
                # The other syncs may be meant for another Pendo as well.
                raise
            except DbtPendoError as error:
                answer = failed(spec, self.located(error))
            yield answer

    def located(self, error: DbtPendoError) -> DbtPendoError:
        """Returns an error; that of a mapping with the lines of its problems."""
        return self.selected.positions.located_error(error) if isinstance(error, MappingError) else error

    @property
    def ends(self) -> Ends:
        """Where rows come from and where they go."""
        return Ends(self.session.target, self.schema, self.settings.pendo)

    def begin(self) -> str:
        """Begins a run whose calls are kept, and returns its id."""
        run_id = new_run_id()
        self.calls.begin(self.target_path, run_id, self.settings.keep_runs)
        return run_id

    def deliver(self, run_id: str, prepared: Prepared, options: Options, observer: Observer) -> SyncResult:
        """Runs a sync; its result shows no secret."""
        spec = prepared.spec
        mask = self._mask(spec, prepared.fields)
        log_call = partial(self.calls.write_of, spec.name, mask)
        client = self.client.part(watch=log_call, is_patient=True)
        sync = SyncContext(
            run_id,
            prepared,
            self.tables(prepared),
            client,
            self.target_path,
            self.stop,
            observer,
            self.senders,
            self.listed,
            Counts(mask or BodyMask()),
        )
        return run_sync(sync, options).without(self.settings.secrets)

    def log(self, run_id: str, results: Sequence[SyncResult]) -> None:
        """Adds results to the run log."""
        rows = [{**result.to_row(run_id), **self.ends.to_row()} for result in results]
        # The run log is a convenience; a schema that cannot be written has failed the syncs already.
        with contextlib.suppress(WarehouseError):
            log_runs(self.session, self.schema, rows, self.listed)

    def log_calls_of(self, spec: SyncSpec, fields: tuple[PendoField, ...] = ()) -> None:
        """Tells the call log which sync the next calls are for; fields, once known, may have to be masked."""
        self.calls.about(spec.name, self._mask(spec, fields))

    def _mask(self, spec: SyncSpec, fields: tuple[PendoField, ...]) -> BodyMask | None:
        return body_mask(self.settings.mask, spec, fields) if self.settings.mask else None

    def prepare(
        self,
        model: Model,
        spec: SyncSpec,
        may_create: bool,
        ask_pendo: bool = True,
        writes: bool = True,
        of_any_pendo: bool = False,
        force: bool = False,
    ) -> Prepared:
        """Makes sure that a sync may start; several may be asked about at once.

        Args:
            model: The model.
            spec: The sync.
            may_create: Whether fields that Pendo lacks may be created.
            ask_pendo: Whether Pendo is asked at all.
            writes: Whether the key has to be one that may write.
            of_any_pendo: Whether its ledger may be another Pendo's.
            force: Whether it may begin a second ledger.

        Raises:
            DbtPendoError: If it may not.
        """
        source = find_source(self.session, model, spec, self.selected.last_run)
        columns = source.named(spec)
        require_moment(spec, columns)
        prepared = Prepared(spec, source, offline_fields(spec))
        if ask_pendo and spec.event is not None:
            self.settings.require_track_secret(spec.event.app)
        elif ask_pendo:
            with self.asking:
                self.log_calls_of(spec)
                self.pendo.require_key(writes)
        if not of_any_pendo:
            prepared = self.subscriptions.with_subscription(prepared)
        if not ask_pendo:
            return prepared
        if spec.event is not None:
            return replace(prepared, fields=())
        with self.asking:
            self.log_calls_of(spec)
            # A sync that is held back creates nothing.
            matched = match_fields(self.pendo, spec, columns, may_create and (force or not prepared.another_ledger))
        return replace(prepared, fields=tuple(one.field for one in matched), new_fields=new_fields(matched))

    def require_writable(self) -> None:
        """Makes sure, before anything is written, that dbt's target may write and that each ledger is of this Pendo.

        Raises:
            ConfigError: If the project names targets, and not this one.
            ForeignPendoError: If the ledger of a sync that may run is another Pendo's.
        """
        self.settings.require_listed(self.session.target)
        for _, spec in self.selected.syncs:
            if self.selected.verdicts[spec.unique_id].may_run:
                # What else Pendo says against a sync fails that one alone.
                with contextlib.suppress(PendoError):
                    self.subscriptions.require(spec)

    def find_segment(self, prepared: Prepared, is_taken_over: bool = False) -> Segment | None:
        """Finds the segment that a sync fills; None for other syncs.

        Args:
            prepared: The sync.
            is_taken_over: Whether it may be a segment that another sync fills.
        """
        if prepared.spec.segment is None:
            return None
        return find_segment(self.client, prepared.spec, self.stop, self.tables(prepared), is_taken_over)

    def tables(self, prepared: Prepared) -> SyncTables:
        """Returns the tables of a sync."""
        interval = self.settings.lock_interval
        return SyncTables(self.session, self.schema, prepared.spec, prepared.source, interval)


def choose_syncs(invocation: Invocation) -> Selected:
    """Returns the syncs in dbt's target folder, or in the artifacts of a run of dbt Cloud.

    Raises:
        ConfigError: If the flags contradict each other, artifacts are missing, or a mapping is wrong.
    """
    run_id, job_id = invocation.dbt_cloud_run_id, invocation.dbt_cloud_job_id
    folder, origin = invocation.target_path, ""
    if run_id and job_id:
        raise ConfigError("--dbt-cloud-run-id and --dbt-cloud-job-id name a run each.", "Give one of them.")
    if run_id or job_id:
        from dbt_pendo.project.cloud import DbtCloud
        from dbt_pendo.settings import load_dbt_cloud

        with DbtCloud(load_dbt_cloud()) as cloud:
            folder, origin = cloud.fetch_run(run_id or cloud.latest_good_run(job_id), folder)
    selected = select_syncs(invocation.project_dir, folder, invocation.selection)
    if not origin:
        return selected
    # dbt Cloud has targets of its own.
    return replace(selected, origin=origin, last_run=replace(selected.last_run, target=""))


@contextlib.contextmanager
def open_context(
    invocation: Invocation, on_selected: Callable[[Selected], None], tell: Callable[[str], None], prepares: bool = False
) -> Iterator[tuple[Selected, Context | None]]:
    """Chooses the syncs of a command, and opens the warehouse and Pendo for them.

    Args:
        invocation: Where to find the syncs: in artifacts, or published in the warehouse.
        on_selected: Called with the syncs, before the warehouse is opened if they are known by then.
        tell: Says something at once to whoever waits.
        prepares: Whether the command prepares each sync that may run: it will ask Pendo about key and fields.

    Yields:
        The syncs, and what to run them with: None if there are none.

    Raises:
        ConfigError: If the syncs cannot be read, or the profile cannot be used.
        WarehouseError: If the warehouse cannot be reached.
    """
    selected = None
    if not invocation.published:
        selected = choose_syncs(invocation)
        on_selected(selected)
        if not selected.syncs:
            yield selected, None
            return
    elif invocation.dbt_cloud_run_id or invocation.dbt_cloud_job_id:
        raise ConfigError("--published takes what dbt published itself, and asks dbt Cloud nothing.", "Give one.")
    settings, stop = invocation.settings, Stop()
    # Where targets are named, dbt has to say first whether this one may reach Pendo.
    asked = _objects_of(selected) if selected is not None and prepares and settings.targets is None else ()
    with (
        contextlib.closing(CallLog()) as calls,
        PendoClient(settings, wait=stop.wait, watch=calls.write, ends_at=stop.ends_at, tell=tell) as client,
        stop_on_signals(stop, lambda name: tell(_stopping(name, client.in_flight))),
        (pendo := PendoFacts(client)).asked_ahead(asked),
        open_session(invocation.connection) as session,
    ):
        schema = session.own_schema(settings.schema, settings.pendo.sandbox)
        if selected is not None:
            require_target(selected, session)
        else:
            # dbt publishes beside the real bookkeeping, as it knows no sandbox.
            selected = select_published(session, session.own_schema(settings.schema), invocation.selection)
            on_selected(selected)
        if not selected.syncs:
            yield selected, None
            return
        listed = session.tables(schema)
        subscriptions = Subscriptions(session, schema, client, invocation.target_path, listed, selected.annotations)
        # Its threads begin with the first request.
        with ThreadPoolExecutor(settings.concurrency, thread_name_prefix="dbt-pendo") as senders:
            yield (
                selected,
                Context(
                    selected,
                    settings,
                    invocation.target_path,
                    session,
                    schema,
                    client,
                    pendo,
                    calls,
                    stop,
                    subscriptions,
                    listed,
                    senders,
                ),
            )


def _objects_of(selected: Selected) -> Collection[Object]:
    """Returns what the syncs that may run are of; events are of nothing that Pendo would be asked about."""
    may_run = (spec for _, spec in selected.syncs if selected.verdicts[spec.unique_id].may_run)
    return dict.fromkeys(spec.object for spec in may_run if spec.event is None)


def _stopping(signal: str, in_flight: int) -> str:
    """Returns what a run does after the first signal."""
    waits = "no request is in flight"
    if in_flight:
        waits = f"waiting for {number(in_flight, 'request')} in flight, {PATIENCE:.0f} seconds at most"
    return f"Interrupted by {signal}: {waits}. Press Ctrl-C again to stop at once."


def write_text(file: Path, text: str) -> None:
    """Writes a file of the user's project.

    Raises:
        ConfigError: If it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from None


def new_run_id() -> str:
    """Returns the id of a run that begins now: sortable by time."""
    return f"{now():%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(3)}"


def now() -> datetime.datetime:
    """Returns the time in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)
