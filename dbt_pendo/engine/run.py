"""One command over all its syncs: check, plan, or sync."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dbt_pendo.engine.alerts import RUNS_READ, Alert, changes_of
from dbt_pendo.engine.call_log import CallLog
from dbt_pendo.engine.fields import (
    MatchedField,
    SyncFields,
    UnmappedField,
    agent_warnings,
    allow_creation,
    match,
    unmapped,
    unusable,
)
from dbt_pendo.engine.gates import Gates
from dbt_pendo.engine.gather import Gathered, Selection
from dbt_pendo.engine.history import Past
from dbt_pendo.engine.hygiene import count_events, require_moment
from dbt_pendo.engine.interrupts import InterruptedRunError, Stop, stop_on_signals
from dbt_pendo.engine.mask import body_mask
from dbt_pendo.engine.observer import Observer
from dbt_pendo.engine.prepare import (
    IDENTIFIED,
    Pendo,
    Prepared,
    create_missing,
    find_source,
    match_fields,
    offline_fields,
    refuse_unsupported,
)
from dbt_pendo.engine.preview import PreviewedRequest, preview_requests
from dbt_pendo.engine.published import gather_published
from dbt_pendo.engine.results import RunResults, SyncResult, failed_before_start
from dbt_pendo.engine.row import RowStory, tell_row
from dbt_pendo.engine.segment import SegmentWriter
from dbt_pendo.engine.sync import Options, SyncRun, blocked_by, plan_options
from dbt_pendo.engine.verify import Verified, compare, drifted_part, require_readable, why_unreadable
from dbt_pendo.engine.webhooks import tell
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.pendo.client import KeyRefusedError, PendoClient, PendoError
from dbt_pendo.pendo.metadata import FieldsRefusedError
from dbt_pendo.project.artifacts import Model
from dbt_pendo.records.render import render
from dbt_pendo.settings import Settings
from dbt_pendo.spec.event_warnings import count_warnings, property_name_warnings
from dbt_pendo.spec.sync import SyncSpec
from dbt_pendo.warehouse.builds import Build, take_builds
from dbt_pendo.warehouse.history import History
from dbt_pendo.warehouse.ledger import NotedSegment, PlanOptions, SyncTables, sync_lock
from dbt_pendo.warehouse.lock import Holder
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.readback import ReadBack
from dbt_pendo.warehouse.run_log import log_run
from dbt_pendo.warehouse.session import Connection, Session, WarehouseError, open_session


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check or a plan says of one sync.

    Attributes:
        spec: The sync.
        error: Why it cannot run; None when it can.
        planned: What a sync would do; zeros for a mere check.
        note: Why a sync would hold it back all the same; None when it would not.
        requests: The first requests a sync would send.
        warnings: What Pendo would take and then not use.
        left_out: Events that are older than the sync's ``max_age``.
    """

    spec: SyncSpec
    error: DbtPendoError | None = None
    planned: Planned = field(default_factory=Planned)
    note: str | None = None
    requests: Sequence[PreviewedRequest] = ()
    warnings: Sequence[str] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Reset:
    """What a sync's ledger became: empty, or so many rows taken for delivered."""

    spec: SyncSpec
    error: DbtPendoError | None = None
    adopted: int = 0
    known: Verified | None = None


@dataclass(frozen=True, slots=True)
class Unlocked:
    """What became of a sync's lock: who held it (None: nobody), and whether it was broken."""

    sync: str
    holder: Holder | None
    broken: bool


class Run:
    """A warehouse and a Pendo, and what to do with the syncs between them.

    Attributes:
        gathered: The syncs.
    """

    def __init__(
        self,
        gathered: Gathered,
        session: Session,
        settings: Settings,
        client: PendoClient,
        calls: CallLog,
        stop: Stop,
    ) -> None:
        self.gathered = gathered
        self._session = session
        self._settings = settings
        self._client = client
        self._calls = calls
        self._stop = stop
        self._pendo = Pendo(client)
        self._schema = session.own_schema(settings.schema)

    def check(self) -> Iterator[Checked]:
        """Compares each mapping with the warehouse and with Pendo."""
        for model, spec in self.gathered.syncs:
            self._stop.check()
            warnings = [*agent_warnings(spec), *property_name_warnings(spec)]
            try:
                prepared = self._prepare(model, spec, may_create=False)
                self._find_segment(prepared)
                counts = count_events(prepared, self._tables(prepared), self._how(Options()))
                if spec.event is not None:
                    self._pendo.require_track_secret(spec.event.app)
            except DbtPendoError as error:
                yield Checked(spec, error, warnings=warnings)
            else:
                warnings += count_warnings(counts)
                yield Checked(spec, warnings=warnings, left_out=counts.left_out)

    def plan(self, options: Options, show: int) -> Iterator[Checked]:
        """Says what a sync would do; sends and stores nothing.

        Args:
            options: As for the sync.
            show: How many records to show as the requests they would be sent in.
        """
        for model, spec in self.gathered.syncs:
            self._stop.check()
            warnings = property_name_warnings(spec)
            if not (verdict := self.gathered.verdicts[spec.unique_id]).may_run:
                yield Checked(spec, note=f"skipped: {verdict.reason}", warnings=warnings)
                continue
            try:
                prepared = self._prepare(
                    model, spec, may_create=False, ask_pendo=self._settings.integration_key is not None
                )
                tables = self._tables(prepared)
                segment = self._find_segment(prepared) if self._settings.integration_key else None
                whole = options.full_refresh or (segment is not None and not segment.known)
                how = self._how(replace(options, full_refresh=whole))
                buckets = tables.plan(how)
                counts = count_events(prepared, tables, how)
                rows = tables.preview(how, show) if show else []
                planned = sum((bucket.planned for bucket in buckets), Planned())
                rendered = render(spec, rows, prepared.fields)
                segment_id, replaced = None, False
                if segment is not None:
                    segment_id, replaced = segment.id, segment.is_replaced(options.full_refresh, planned)
                requests = list(preview_requests(spec, rendered, segment_id, replaced))
                note = None if options.force else blocked_by(spec, planned)
            except DbtPendoError as error:
                yield Checked(spec, error, warnings=warnings)
            else:
                warnings += count_warnings(counts)
                yield Checked(spec, None, planned, note, requests, warnings, counts.left_out)

    def sync(self, options: Options, fail_fast: bool, target_path: Path, observer: Observer) -> RunResults:
        """Delivers, logs each sync in the warehouse, and writes ``pendo_results.json``.

        All syncs are prepared before the first row is sent.
        """
        started = time.monotonic()
        run_id = self._begin(target_path)
        ready: dict[str, Prepared | SyncResult] = {
            spec.name: self._ready_or_result(model, spec) for model, spec in self.gathered.syncs
        }
        results: list[SyncResult] = []
        for index, (_, spec) in enumerate(self.gathered.syncs, start=1):
            verdict = self.gathered.verdicts[spec.unique_id]
            if verdict.may_run:
                observer.sync_started(index, len(self.gathered.syncs), spec, verdict.reason)
            prepared = ready[spec.name]
            if fail_fast and any(result.status not in ("success", "skipped") for result in results):
                result = SyncResult(
                    spec.name, spec.unique_id, spec.object, "skipped", "an earlier sync failed (--fail-fast)"
                )
            elif isinstance(prepared, SyncResult):
                result = prepared
            else:
                tables = self._tables(prepared)
                self._calls.about(spec.name, body_mask(self._settings.mask, spec, prepared.fields))
                result = SyncRun(
                    run_id, prepared, tables, self._client, options, target_path, self._stop, observer
                ).run()
            results.append(result)
            observer.sync_finished(index, len(self.gathered.syncs), result)
            # The run log is a convenience; a schema that cannot be written has failed the sync already.
            with contextlib.suppress(WarehouseError):
                log_run(self._session, self._schema, result.to_row(run_id))
        run = RunResults(
            run_id,
            self.gathered.invocation_id,
            results,
            time.monotonic() - started,
            _now(),
            tuple(filter(None, [self._calls.fault])),
        )
        run.write(target_path)
        faults = self._tell(run, options)
        take_builds(self._session, self._schema, self._done(results, options), run_id)
        return replace(run, notes=(*run.notes, *faults))

    def _tell(self, run: RunResults, options: Options) -> list[str]:
        """Tells the channels what a run has changed, and returns what went wrong with that: no run fails for it."""
        channels = self._settings.alerts
        if not channels:
            return []
        try:
            history = History(self._session, self._schema)
            past = history.recent([result.sync for result in run.results], run.run_id, RUNS_READ)
        except WarehouseError:
            # Better told twice than not at all.
            past = {}
        try:
            changes = changes_of(list(map(self._without_quotes, run.results)), past, options)
            alert = Alert(run.run_id, self._session.target, self._session.schema, changes)
            return tell(alert, channels, self._settings.allow_http)
        except Exception as error:
            return [f"No alert: something is wrong with alerts themselves ({type(error).__name__})."]

    def _without_quotes(self, result: SyncResult) -> SyncResult:
        """Returns a result without a message that may quote a masked value, as Pendo's words may in any way."""
        masked = any(
            spec.name == result.sync and body_mask(self._settings.mask, spec) for _, spec in self.gathered.syncs
        )
        return replace(result, message=None) if masked and result.status == "error" else result

    def _done(self, results: Sequence[SyncResult], options: Options) -> list[Build]:
        """Returns the published builds that nothing more will come of: synced, or held back as they were published."""
        if options.limit is not None:
            return []
        to_come = {
            result.unique_id
            for result in results
            if result.status not in ("success", "partial") and self.gathered.verdicts[result.unique_id].may_run
        }
        return [build for build in self.gathered.builds if build.unique_id not in to_come]

    def fields(self, create: bool) -> tuple[list[SyncFields], list[UnmappedField]]:
        """Puts the mapped fields beside those of Pendo.

        Args:
            create: Create those that Pendo lacks, whatever ``create_fields`` says.

        Returns:
            The fields of each sync, and those of Pendo that no sync writes.
        """
        found = [self._fields(model, spec, create) for model, spec in self.gathered.syncs]
        # Mapped by name, so a sync whose table is not there counts as well; but not without an answer of Pendo's.
        asked = dict.fromkeys(
            one.spec.object for one in found if one.spec.object in IDENTIFIED and (one.matched or one.error is None)
        )
        specs = [spec for _, spec in self.gathered.syncs]
        left = [
            field
            for object_ in asked
            for field in unmapped(
                object_, (spec for spec in specs if spec.object == object_), self._pendo.schema(object_)
            )
        ]
        return found, left

    def _fields(self, model: Model, spec: SyncSpec, create: bool) -> SyncFields:
        self._stop.check()
        matched: tuple[MatchedField, ...] = ()
        if spec.object not in IDENTIFIED:
            return SyncFields(spec)
        try:
            source = find_source(self._session, model, spec)
            self._pendo.require_write_access()
            matched = match(spec, source, self._pendo.schema(spec.object))
            if create or spec.create_fields:
                matched = allow_creation(matched)
            if create:
                matched = create_missing(self._pendo, spec, source, matched)
        except FieldsRefusedError as error:
            return SyncFields(spec, error, match(spec, source, self._pendo.schema(spec.object)))
        except DbtPendoError as error:
            return SyncFields(spec, error, matched)
        return SyncFields(spec, unusable(spec, matched), matched)

    def verify(self, repair: bool, target_path: Path, observer: Observer) -> Iterator[Verified]:
        """Compares what Pendo holds with what the warehouse says.

        Args:
            repair: Resend what drifted.
            target_path: dbt's target folder, for the journal.
            observer: Watches the resending.
        """
        run_id = self._begin(target_path)
        for model, spec in self.gathered.syncs:
            self._stop.check()
            if (unreadable := why_unreadable(spec)) is not None:
                yield Verified(spec, note=unreadable)
                continue
            if not (verdict := self.gathered.verdicts[spec.unique_id]).may_run:
                # What its table holds is not what the model says.
                yield Verified(spec, note=verdict.reason)
                continue
            try:
                prepared = self._prepare(model, spec, may_create=repair)
                yield self._verify(run_id, prepared, repair, target_path, observer)
            except DbtPendoError as error:
                yield Verified(spec, error)

    def _verify(self, run_id: str, prepared: Prepared, repair: bool, target_path: Path, observer: Observer) -> Verified:
        tables = self._tables(prepared)
        readback = ReadBack(self._session, self._schema, prepared.spec, prepared.source)
        self._calls.about(prepared.spec.name, body_mask(self._settings.mask, prepared.spec, prepared.fields))
        try:
            with self._locked(tables, run_id) as keep:
                verified = compare(prepared, self._client, readback, keep)
            if not repair or not verified.to_repair:
                return verified
            part = drifted_part(prepared, readback)
            # Whoever asks for a repair has seen how many there are.
            options = Options(full_refresh=True, force=True)
            result = SyncRun(
                run_id, part, self._tables(part), self._client, options, target_path, self._stop, observer
            ).run()
            with contextlib.suppress(WarehouseError):
                log_run(self._session, self._schema, result.to_row(run_id))
            return replace(verified, repaired=result)
        finally:
            with contextlib.suppress(WarehouseError):
                readback.drop()

    def reset(self, adopt: bool, from_pendo: bool) -> Iterator[Reset]:
        """Forgets what was delivered.

        Args:
            adopt: Take every row of the model for delivered.
            from_pendo: Take those for delivered that Pendo holds as the warehouse says.
        """
        run_id = _new_run_id()
        for model, spec in self.gathered.syncs:
            self._stop.check()
            try:
                if from_pendo:
                    require_readable(spec)
                verdict = self.gathered.verdicts[spec.unique_id]
                if (adopt or from_pendo) and not verdict.may_run:
                    raise ConfigError(
                        f"{spec.name}: {verdict.reason}; its rows are not taken for delivered.", "Build it first."
                    )
                # Whose ledger is to tell the members must be known to be there.
                adopts_segment = adopt and spec.segment is not None
                prepared = self._prepare(model, spec, may_create=False, ask_pendo=from_pendo or adopts_segment)
                yield self._reset(run_id, prepared, adopt, from_pendo)
            except DbtPendoError as error:
                yield Reset(spec, error)

    def _reset(self, run_id: str, prepared: Prepared, adopt: bool, from_pendo: bool) -> Reset:
        spec = prepared.spec
        tables = self._tables(prepared)
        readback = ReadBack(self._session, self._schema, spec, prepared.source)
        segment = self._find_segment(prepared) if adopt else None
        if segment is not None and segment.id is None:
            raise ConfigError(
                f"{spec.name}: Pendo has no segment {spec.segment}; there is nothing to adopt.", "A sync makes it."
            )
        try:
            with self._locked(tables, run_id) as keep:
                # Before anything is forgotten, for it may fail.
                known = compare(prepared, self._client, readback, keep) if from_pendo else None
                tables.forget()
                if not adopt and known is None:
                    return Reset(spec)
                tables.prepare()
                buckets = tables.write_changes(run_id, PlanOptions(full_refresh=True))
                tables.adopt(run_id, readback.drift if known else None)
                if segment is not None and segment.id is not None:
                    tables.note_segment(NotedSegment(segment.id, known=True))
                adopted = known.equal if known else sum(bucket.planned.to_send for bucket in buckets)
                return Reset(spec, adopted=adopted, known=known)
        finally:
            if from_pendo:
                with contextlib.suppress(WarehouseError):
                    readback.drop()

    @contextlib.contextmanager
    def _locked(self, tables: SyncTables, run_id: str) -> Iterator[Callable[[], None]]:
        """Holds a sync's lock inside the block, and gives what keeps it for longer."""
        tables.ensure_schema()
        lock = tables.lock()
        lock.acquire(run_id)
        try:
            yield lock.renew
        finally:
            with contextlib.suppress(DbtPendoError):
                lock.release()

    def row(self, sync: str, key: str, target_path: Path) -> RowStory:
        """Finds out what happened to one row.

        Args:
            sync: The sync's name.
            key: The row's key, as the ledger's ``record_key`` has it.
            target_path: dbt's target folder, with the calls of runs on this machine.

        Raises:
            ConfigError: If there is no such sync, or nobody knows the row.
        """
        found = next(((model, spec) for model, spec in self.gathered.syncs if spec.name == sync), None)
        if found is None:
            names = ", ".join(spec.name for _, spec in self.gathered.syncs)
            raise ConfigError(f"There is no sync {sync}.", f"Syncs: {names or 'none'}.")
        try:
            # Pendo's schema has the keys of fields that are mapped by their display names.
            asked = self._settings.integration_key is not None
            prepared = self._prepare(*found, may_create=False, ask_pendo=asked)
        except PendoError:
            prepared = self._prepare(*found, may_create=False, ask_pendo=False)
        past = Past(History(self._session, self._schema), target_path)
        return tell_row(past, prepared, key, self._client)

    def unlock(self, force: bool) -> Iterator[Unlocked]:
        """Breaks the locks that dead runs left.

        Args:
            force: Break those of living runs as well.
        """
        for _, spec in self.gathered.syncs:
            lock = sync_lock(self._session, self._schema, spec.name)
            holder = lock.holder()
            broken = holder is not None and (force or holder.is_dead)
            if broken:
                lock.break_()
            yield Unlocked(spec.name, holder, broken)

    def _begin(self, target_path: Path) -> str:
        """Begins a run whose calls are kept, and returns its id."""
        run_id = _new_run_id()
        self._calls.begin(target_path, run_id, self._settings.keep_runs)
        return run_id

    def _ready_or_result(self, model: Model, spec: SyncSpec) -> Prepared | SyncResult:
        if not (verdict := self.gathered.verdicts[spec.unique_id]).may_run:
            message, asked_for = f"skipped: {verdict.reason}", verdict.asked_for
            return SyncResult(spec.name, spec.unique_id, spec.object, "skipped", message, asked_for=asked_for)
        try:
            return self._prepare(model, spec, may_create=True)
        except InterruptedRunError as error:
            return SyncResult(spec.name, spec.unique_id, spec.object, "interrupted", str(error))
        except DbtPendoError as error:
            misconfigured = isinstance(error, ConfigError | KeyRefusedError)
            return failed_before_start(spec, str(error), misconfigured)

    def _prepare(self, model: Model, spec: SyncSpec, may_create: bool, ask_pendo: bool = True) -> Prepared:
        self._calls.about(spec.name, body_mask(self._settings.mask, spec))
        refuse_unsupported(spec)
        source = find_source(self._session, model, spec)
        require_moment(spec, source)
        if not ask_pendo:
            return Prepared(spec, source, offline_fields(spec))
        if spec.event is not None:
            self._settings.require_track_secret(spec.event.app)
            return Prepared(spec, source, ())
        self._pendo.require_write_access()
        return Prepared(spec, source, match_fields(self._pendo, spec, source, may_create))

    def _find_segment(self, prepared: Prepared) -> SegmentWriter | None:
        if prepared.spec.segment is None:
            return None
        segment = SegmentWriter(self._client, prepared.spec, self._stop)
        segment.find(self._tables(prepared).segment())
        return segment

    def _how(self, options: Options) -> PlanOptions:
        return plan_options(options, self._settings.max_attempts, self._settings.missing_retry)

    def _tables(self, prepared: Prepared) -> SyncTables:
        return SyncTables(self._session, self._schema, prepared.spec, prepared.source)


@contextlib.contextmanager
def open_run(gathered: Gathered, connection: Connection, settings: Settings) -> Iterator[Run]:
    """Opens the warehouse and a client of Pendo for one command.

    Raises:
        ConfigError: If the profile cannot be used.
        WarehouseError: If the warehouse cannot be reached.
    """
    with _opened(connection, settings) as (session, client, calls, stop):
        yield Run(gathered, session, settings, client, calls, stop)


@contextlib.contextmanager
def open_published(selection: Selection, gates: Gates, connection: Connection, settings: Settings) -> Iterator[Run]:
    """Opens the same for the syncs of what dbt has published in the warehouse.

    Raises:
        ConfigError: If the profile cannot be used, dbt has published nothing, or a mapping is wrong.
        WarehouseError: If the warehouse cannot be reached.
    """
    with _opened(connection, settings) as (session, client, calls, stop):
        gathered = gather_published(session, session.own_schema(settings.schema), selection, gates)
        yield Run(gathered, session, settings, client, calls, stop)


@contextlib.contextmanager
def _opened(connection: Connection, settings: Settings) -> Iterator[tuple[Session, PendoClient, CallLog, Stop]]:
    stop = Stop()
    with (
        stop_on_signals(stop),
        open_session(connection) as session,
        CallLog() as calls,
        PendoClient(settings, wait=stop.wait, watch=calls.write) as client,
    ):
        yield session, client, calls, stop


def check_offline(gathered: Gathered) -> Iterator[Checked]:
    """Checks mappings by themselves; that they could be parsed is most of it."""
    for _, spec in gathered.syncs:
        warnings = [*agent_warnings(spec), *property_name_warnings(spec)]
        try:
            refuse_unsupported(spec)
        except ConfigError as error:
            yield Checked(spec, error, warnings=warnings)
        else:
            yield Checked(spec, warnings=warnings)


def nothing_to_sync(gathered: Gathered, target_path: Path) -> RunResults:
    """Writes and returns the results of a run whose selection is empty, without opening anything."""
    run = RunResults(_new_run_id(), gathered.invocation_id, (), 0.0, _now())
    run.write(target_path)
    return run


def _new_run_id() -> str:
    return f"{_now():%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(3)}"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
