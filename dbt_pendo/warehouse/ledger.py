"""One sync's tables: its change set and its ledger. Plans, reads pages, commits outcomes."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.event_limits import (
    FUTURE_SECONDS,
    LARGEST_PROPERTIES,
    OLDEST_SECONDS,
    EventCounts,
    PropertySizes,
)
from dbt_pendo.mapping.spec import BodyLayout, Column, SyncSpec
from dbt_pendo.outcomes import DELIVERED, QUEUED_DELETION, Outcome, Position
from dbt_pendo.warehouse.entries import Commits, carried_entries, ledger_entries
from dbt_pendo.warehouse.ledger_table import LedgerTable
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.names import aliases_of, table_name
from dbt_pendo.warehouse.pages import Bucket, Span, buckets_from_counts
from dbt_pendo.warehouse.reading import Wanted, read_span
from dbt_pendo.warehouse.segments import SegmentNotes
from dbt_pendo.warehouse.session import Session, TableColumn, WarehouseError

# An exception costs about 150 bytes of SQL, and its detail, each byte of which may have to be escaped. The shortest
# statement limit known is 1 MiB (Snowflake, BigQuery).
EXCEPTIONS_PER_STATEMENT = 1_000
DETAIL_BYTES_PER_STATEMENT = 400_000
DETAIL_LENGTH = 500
EVERYTHING = Span("000", "fff")

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How to compare.

    Attributes:
        full_refresh: Take every row for new.
        max_attempts: A row that failed so often as it is is held; None holds no row.
        missing_retry: Hours for which a row whose id Pendo does not know is held.
    """

    full_refresh: bool = False
    max_attempts: int | None = None
    missing_retry: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelTable:
    """The model's side of a sync: its relation, and its columns under the warehouse's own names.

    Attributes:
        relation: The model's table or view, rendered.
        key: The key column.
        columns: The other mapped columns, in the order of ``SyncSpec.columns``.
        parent: The column with the parent's id, where the id is of the form ``Parent::Child``.
        is_part: Whether it is a part of the model, so that a record it does not have has not left the model.
    """

    relation: str
    key: TableColumn
    columns: tuple[TableColumn, ...]
    parent: TableColumn | None = None
    is_part: bool = False


class SyncTables:
    """The change set and the ledger of one sync.

    A page's rows are tuples of bucket, seq, change, record key, and the mapped columns in the order of
    ``SyncSpec.columns``.
    """

    def __init__(self, session: Session, schema: str, spec: SyncSpec, source: ModelTable) -> None:
        self._session = session
        self._schema = schema
        self._spec = spec
        self._source = source
        self._changes = table_name(spec.name, "changes")
        self._aliases = aliases_of(source.columns)
        self._commits = Commits(session)
        # Of a run that has taken it; nothing is written that another run could have a right to once it is lost.
        self.lock = SyncLock(session, schema, spec.name)
        self._ledger = LedgerTable(session, schema, spec.name)

    @property
    def address(self) -> str:
        """What tells this ledger from that of the same sync in another warehouse, database or schema."""
        return f"{self._session.server} {self.ledger}"

    @property
    def ledger(self) -> str:
        """The ledger's relation, for people who want to query it."""
        return self._ledger.relation

    def ensure_schema(self) -> None:
        """Creates the schema of the bookkeeping on a first run."""
        self._session.ensure_schema(self._schema)

    @contextlib.contextmanager
    def locked(self, run_id: str) -> Iterator[SyncLock]:
        """Holds the sync's lock inside the block; a warehouse that is gone keeps it, and it goes stale."""
        self.ensure_schema()
        self.lock.acquire(run_id)
        try:
            yield self.lock
        finally:
            with contextlib.suppress(DbtPendoError):
                self.lock.release()

    def prepare(self) -> None:
        """Creates the ledger on a first run, and undoes what a dead run has half done to it."""
        self._ledger.ensure()
        self._read_commits()

    def earlier_destination(self) -> str | None:
        """Returns what the ledger's last rows were delivered as, if the sync delivers to something else now."""
        if self._commits.entries is None and (entries := self._known_entries()) is not None:
            self._commits.read(entries)
        return None if self._commits.destination == self._spec.destination else self._commits.destination

    def plan(self, options: PlanOptions) -> list[Bucket]:
        """Compares the model with the ledger, and stores nothing."""
        return self._count(self._plan_alone(options))

    def write_changes(self, run_id: str, options: PlanOptions) -> list[Bucket]:
        """Compares the model with the ledger, and writes the change set down."""
        changes = self._session.relation(self._schema, self._changes)
        # By its own name: without a ledger, every row would be new.
        plan = self._plan_sql(self.ledger, options, run_id)
        self.lock.confirm()
        with self.lock.alive():
            self._session.create(
                self._schema, self._changes, self._session.sql("pendo_create_changes", relation=changes, plan=plan)
            )
            if index := self._session.sql("pendo_index_changes", changes=changes):
                self._session.run(index)
        return self._count(changes)

    def preview(self, options: PlanOptions, rows: int) -> list[Row]:
        """Returns the first rows of a plan that would be sent, without storing anything."""
        removals = self._spec.sends_removals
        return self._read(self._plan_alone(options), EVERYTHING, rows, removals=removals)

    def change_set_run(self) -> str | None:
        """Returns the run that wrote the change set; None when there is none, or it is empty."""
        if not self._session.exists(self._schema, self._changes):
            return None
        changes = self._session.relation(self._schema, self._changes)
        ((run_id,),) = self._session.rows(self._session.sql("pendo_change_set_run", changes=changes))
        return None if run_id is None else str(run_id)

    def read_page(self, span: Span, limit: int | None = None) -> list[Row]:
        """Returns the rows of a page that have to be sent, or the first ``limit`` of them."""
        return self._read(self._session.relation(self._schema, self._changes), span, limit)

    def writes_bodies(self, layouts: Sequence[BodyLayout]) -> bool:
        """Returns whether the warehouse can write such bodies at all."""
        return bool(self._bodies_sql(EVERYTHING, layouts))

    def read_bodies(self, span: Span, layouts: Sequence[BodyLayout]) -> list[Row]:
        """Returns the rows of a page as bodies, one a layout, in the order of their positions.

        A body is None where the warehouse cannot write it to the byte as ``records.render`` does.
        """
        return self._session.rows(self._bodies_sql(span, layouts))

    def read_positions(self, span: Span) -> list[Position]:
        """Returns the positions of a page's rows, whose columns another mapping may have written."""
        rows = self._read(self._session.relation(self._schema, self._changes), span, None, with_columns=False)
        return [(row[0], row[1]) for row in rows]

    def invalid_reasons(self) -> list[tuple[str, int, str | None]]:
        """Returns why rows of the change set are invalid: the reason, how many rows, and one of their keys."""
        changes = self._session.relation(self._schema, self._changes)
        rows = self._session.rows(self._session.sql("pendo_invalid_reasons", changes=changes))
        return [(str(reason), int(count), key) for reason, count, key in rows]

    def count_events(self, sizes: PropertySizes, options: PlanOptions | None = None) -> EventCounts:
        """Counts the events of which Pendo would make nothing.

        Args:
            sizes: What the properties take.
            options: The plan whose events to send are looked at; None looks at those of the change set.
        """
        event, columns = self._spec.event, self._columns()
        if event is None:
            raise ValueError(f"{self._spec.name} is no sync of events")
        written = self._session.relation(self._schema, self._changes)
        (counts,) = self._session.rows(
            self._session.sql(
                "pendo_event_concerns",
                changes=written if options is None else self._plan_alone(options),
                model=self._source.relation,
                event=columns[event.name.name] if isinstance(event.name, Column) else None,
                moment=self._moment(),
                sizes={
                    "fixed": sizes.fixed,
                    "columns": [{**asdict(size), **columns[size.column]} for size in sizes.columns],
                },
                limits={"oldest": OLDEST_SECONDS, "future": FUTURE_SECONDS, "properties": LARGEST_PROPERTIES},
                max_age=self._spec.max_age,
            )
        )
        return EventCounts(*map(int, counts))

    def commit(
        self,
        run_id: str,
        span: Span,
        positions: Sequence[Position],
        outcomes: Mapping[Position, Outcome],
        destination: str | None = None,
    ) -> None:
        """Writes what happened to the rows of a span into the ledger, and logs the span's invalid rows.

        Args:
            run_id: The run.
            span: The page.
            positions: The rows of the page that were to be sent.
            outcomes: The outcome of each row; a row that is not there was delivered.
            destination: What the rows were delivered as; None for what the sync delivers to now.
        """
        usual = _most_common(positions, outcomes)
        if usual is DELIVERED:
            exceptions = list(outcomes.items())
        else:
            exceptions = [
                (position, outcome) for position in positions if (outcome := outcomes.get(position, DELIVERED)) != usual
            ]
        for part, named in _statements(span, exceptions):
            self._session.run(
                self._session.sql(
                    "pendo_commit",
                    ledger=self.ledger,
                    changes=self._session.relation(self._schema, self._changes),
                    run_id=run_id,
                    status=usual.status,
                    detail=_shortened(usual.detail),
                    exceptions=[
                        {"bucket": bucket, "seq": seq, "status": outcome.status, "detail": _shortened(outcome.detail)}
                        for (bucket, seq), outcome in named
                    ],
                    span=asdict(part),
                    destination=destination or self._spec.destination,
                    commit_number=self._next_commit(),
                )
            )

    def forget(self) -> None:
        """Drops the ledger, its change set, and what a dead run left; a segment's members are in doubt then."""
        self.lock.confirm()
        if self._spec.segment is not None:
            self.segment_notes().claim()
        self._session.drop(self._schema, self._changes)
        self._ledger.drop()
        self._commits = Commits(self._session)

    def adopt(self, run_id: str, drift: str | None = None) -> None:
        """Begins the ledger anew, with the rows of the change set as delivered without sending them.

        What was delivered to other destinations stays: the mapping may be set back.

        Args:
            run_id: The run.
            drift: What Pendo was seen to hold otherwise (``ReadBack.drift``); None takes all for equal.
        """
        changes = self._session.relation(self._schema, self._changes)
        number = self._next_commit()

        def adopted(ledger: str) -> bool:
            self._session.run(self._session.sql("pendo_create_ledger", ledger=ledger))
            self._session.run(
                self._session.sql(
                    "pendo_adopt",
                    ledger=ledger,
                    changes=changes,
                    run_id=run_id,
                    destination=self._spec.destination,
                    commit_number=number,
                    drift=drift,
                )
            )
            others = self._session.sql("pendo_other_entries", ledger=self.ledger, destination=self._spec.destination)
            self._session.run(self._session.sql("pendo_carry_on", ledger=ledger, entries=others))
            return True

        self._replace(adopted)

    def queued_deletions(self) -> dict[str, int]:
        """Returns the rows of each of Pendo's deletions that is not known to have ended, by the id of its job."""
        sql = self._session.sql(
            "pendo_queued_deletions", ledger=self.ledger, queued=QUEUED_DELETION, destination=self._spec.destination
        )
        return {str(detail).removeprefix(QUEUED_DELETION): int(rows) for detail, rows in self._session.rows(sql)}

    def end_deletion(self, run_id: str, job: str, detail: str, is_undone: bool) -> None:
        """Notes how a deletion ended.

        Args:
            run_id: The run.
            job: Pendo's id of the deletion.
            detail: How it ended, in words.
            is_undone: Whether its rows are in Pendo still, and have to be removed again.
        """
        self._session.run(
            self._session.sql(
                "pendo_end_deletion",
                ledger=self.ledger,
                queued=QUEUED_DELETION,
                destination=self._spec.destination,
                job=job,
                run_id=run_id,
                detail=_shortened(detail),
                is_undone=is_undone,
                commit_number=self._next_commit(),
            )
        )

    def compact(self, keys: int) -> None:
        """Rewrites the ledger without its dead rows, when they are more than the living.

        Args:
            keys: About how many keys the sync knows; a ledger shorter than twice that is left alone.
        """
        ledger = self.ledger
        ((entries,),) = self._session.rows(f"select count(*) from {ledger}")
        if entries <= 2 * keys + EXCEPTIONS_PER_STATEMENT:
            return
        if self._spec.max_age is None:
            # Those who left the model are known as well: no copy is made to learn that next to nothing is dead.
            ((known,),) = self._session.rows(self._session.sql("pendo_count_known", ledger=ledger))
            if entries <= 2 * known:
                return
        try:
            self._replace(partial(self._compacted, entries))
        except WarehouseError:
            self.lock.confirm()
            if not self._ledger.is_there():
                raise
            # A view of somebody's that reads it, on PostgreSQL say: better a long ledger than no view, or no sync.

    def _compacted(self, entries: int, compacted: str) -> bool:
        """Writes a copy of the ledger without its dead rows, and returns whether that is worth it."""
        self._session.run(
            self._session.sql("pendo_compact_ledger", compacted=compacted, ledger=self.ledger, **self._forgetting())
        )
        ((living,),) = self._session.rows(f"select count(*) from {compacted}")
        return bool(entries > 2 * living)

    def segment_notes(self) -> SegmentNotes:
        """Returns what runs have noted of the segment that the sync fills."""
        if self._spec.segment is None:
            raise ValueError(f"{self._spec.name} fills no segment")
        return SegmentNotes(self._session, self._schema, self._spec.name, self._spec.segment)

    def _plan_alone(self, options: PlanOptions) -> str:
        """Returns a plan that is stored nowhere, as something to select from."""
        return f"({self._plan_sql(self._known_entries(), options)})"

    def _plan_sql(self, ledger: str | None, options: PlanOptions, run_id: str | None = None) -> str:
        spec, source = self._spec, self._source
        return self._session.sql(
            "pendo_plan",
            model=self._planned_rows(),
            ledger=ledger,
            destination=spec.destination,
            key=[asdict(column) for column in (source.parent, source.key) if column],
            columns=[
                {**asdict(column), "alias": alias} for column, alias in zip(source.columns, self._aliases, strict=True)
            ],
            fingerprint=spec.fingerprint,
            anonymous=spec.object in ("visitor", "segment"),
            members=spec.segment is not None,
            deliver_once=spec.object == "track_event",
            removals=spec.tracks_removals and not source.is_part,
            full_refresh=options.full_refresh,
            run_id=run_id,
            max_attempts=options.max_attempts,
            missing_retry=round(options.missing_retry * 3600),
        )

    def _planned_rows(self) -> str:
        """Returns what a plan selects from: the model, or its events within ``max_age``."""
        return self._source.relation if self._spec.max_age is None else self._recent(self._spec.max_age)

    def _recent(self, seconds: int) -> str:
        return self._session.sql("pendo_recent", model=self._source.relation, moment=self._moment(), max_age=seconds)

    def _forgetting(self) -> dict[str, Any]:
        """Returns what a compaction has to know to drop keys that no plan will read again."""
        if self._spec.max_age is None:
            return {}
        # Not before Pendo would drop the event itself: a `max_age` raised from an hour to a day must send none twice.
        seconds = max(self._spec.max_age, OLDEST_SECONDS)
        return {
            "recent": self._recent(seconds),
            "key": [asdict(self._source.key)],
            "max_age": seconds,
            "destination": self._spec.destination,
            "earlier": self._commits.earlier,
        }

    def _moment(self) -> dict[str, str] | None:
        """Returns the column that says when an event happened; None when its type does not tell."""
        if self._spec.event is None:
            return None
        name = self._spec.event.timestamp.name
        column = self._source.columns[self._spec.columns.index(name)]
        return self._columns()[name] if column.is_moment else None

    def _columns(self) -> dict[str, dict[str, str]]:
        """Returns the mapped columns by the names users have for them: their own, that in the change set, the type."""
        return {
            name: {**asdict(column), "alias": alias}
            for name, alias, column in zip(self._spec.columns, self._aliases, self._source.columns, strict=True)
        }

    def _known_entries(self) -> str | None:
        """Returns what the ledger's entries are selected from; a dead run may have left it under another name."""
        if self._commits.entries is not None:
            return self._commits.entries
        found = self._ledger.find()
        return ledger_entries(self._session, self._schema, found, self._spec.destination) if found else None

    def _read_commits(self) -> None:
        """Learns where the ledger's commits end; carries a ledger on that an earlier version made."""
        try:
            self._commits.read(self.ledger)
        except WarehouseError:
            entries = carried_entries(self._session, self._schema, self._ledger.name, self._spec.destination)
            if entries is None:
                raise
            self._carry_on(entries)
            self._commits.read(self.ledger)

    def _next_commit(self) -> int:
        if self._commits.entries is None:
            self._read_commits()
        return self._commits.next()

    def _replace(self, make: Callable[[str], bool]) -> None:
        # Should this end in its midst, the ledger may have another name.
        entries, self._commits.entries = self._commits.entries, None
        self._ledger.replace(make, self.lock)
        self._commits.entries = entries

    def _carry_on(self, entries: str) -> None:
        """Rewrites a ledger with the columns it lacked."""

        def carried(ledger: str) -> bool:
            self._session.run(self._session.sql("pendo_create_ledger", ledger=ledger))
            self._session.run(self._session.sql("pendo_carry_on", ledger=ledger, entries=entries))
            return True

        try:
            self._replace(carried)
        except WarehouseError as error:
            self.lock.confirm()
            if not self._ledger.is_there():
                raise
            raise WarehouseError(
                f"{self.ledger} is of an earlier version of dbt-pendo and has to be written anew: {error.message}",
                "Drop the view that reads it, and run again. Nothing was sent.",
            ) from None

    def _count(self, changes: str) -> list[Bucket]:
        rows = self._session.rows(self._session.sql("pendo_count_changes", changes=changes))
        return buckets_from_counts((row[0], row[1], row[2], row[3]) for row in rows)

    def _bodies_sql(self, span: Span, layouts: Sequence[BodyLayout]) -> str:
        changes = self._session.relation(self._schema, self._changes)
        return self._session.sql("pendo_read_bodies", changes=changes, bodies=self._bodies(layouts), span=asdict(span))

    def _bodies(self, layouts: Sequence[BodyLayout]) -> list[dict[str, Any]]:
        """Returns layouts with the columns' names in the change set, and their types."""
        columns = {
            name: {"column": alias, "dtype": column.dtype}
            for name, alias, column in zip(self._spec.columns, self._aliases, self._source.columns, strict=True)
        }
        return [
            {
                "id_key": layout.id_key,
                "fields": [{"key": field.key, "type": field.type, **columns[field.column]} for field in layout.fields],
            }
            for layout in layouts
        ]

    def _read(
        self, changes: str, span: Span, limit: int | None, with_columns: bool = True, removals: bool = True
    ) -> list[Row]:
        def read(part: Span, columns: Sequence[Wanted]) -> list[Row]:
            return self._session.rows(
                self._session.sql(
                    "pendo_read_page",
                    changes=changes,
                    columns=[asdict(column) for column in columns],
                    span=asdict(part),
                    row_limit=limit,
                    removals=removals,
                )
            )

        columns = zip(self._aliases, self._source.columns, strict=True) if with_columns else ()
        return read_span(read, span, [Wanted(alias, column.dtype) for alias, column in columns])


def _most_common(positions: Sequence[Position], outcomes: Mapping[Position, Outcome]) -> Outcome:
    """Returns the outcome most rows of a page share, which the commit then need not list."""
    if 2 * len(outcomes) <= len(positions):
        return DELIVERED
    counts = Counter(outcomes.get(position, DELIVERED) for position in positions)
    return counts.most_common(1)[0][0] if counts else DELIVERED


def _statements(
    span: Span, exceptions: Sequence[tuple[Position, Outcome]]
) -> Iterator[tuple[Span, Sequence[tuple[Position, Outcome]]]]:
    """Cuts a span so that no statement names more exceptions than fit; each part is committed on its own."""
    start = span
    named: list[tuple[Position, Outcome]] = []
    size = 0
    for position, outcome in sorted(exceptions, key=lambda exception: exception[0]):
        length = len((_shortened(outcome.detail) or "").encode())
        if len(named) == EXCEPTIONS_PER_STATEMENT or size + length > DETAIL_BYTES_PER_STATEMENT:
            bucket, seq = named[-1][0]
            yield replace(start, last=bucket, last_seq=seq), named
            start = replace(start, first=bucket, first_seq=seq + 1)
            named, size = [], 0
        named.append((position, outcome))
        size += length
    yield start, named


def _shortened(detail: str | None) -> str | None:
    return detail if detail is None else detail.replace("\0", "")[:DETAIL_LENGTH]
