"""Compares a model with a ledger: the plan, and the change set, which is a plan written down page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from dbt_pendo.mapping.objects import (
    CONSENTS,
    DO_NOT_PROCESS,
    FUTURE_SECONDS,
    LARGEST_PROPERTIES,
    OLDEST_SECONDS,
    ConsentCounts,
    EventCounts,
    PropertySizes,
)
from dbt_pendo.mapping.spec import BodyLayout, Column, SyncSpec
from dbt_pendo.outcomes import Position
from dbt_pendo.warehouse.costs import bytes_scanned
from dbt_pendo.warehouse.lock import SyncLock
from dbt_pendo.warehouse.names import TableColumn, aliases_of, table_name
from dbt_pendo.warehouse.pages import SENDABLE, Bucket, Row, Span, Wanted, buckets_from_counts, read_span
from dbt_pendo.warehouse.session import ConnectionLostError, Session, WarehouseError

EVERYTHING = Span("000", "fff")
DRIFT_PER_STATEMENT = 10_000


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How to compare."""

    full_refresh: bool = False
    # A row that failed so often as it is is held; None holds no row.
    max_attempts: int | None = None
    # Hours for which a row whose id Pendo does not know is held.
    missing_retry: float = 0.0
    # Plan with at most so many rows of the model and without the ledger; None for the whole.
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class ModelTable:
    """The model's side of a sync: its relation, and its columns under the warehouse's own names."""

    relation: str
    key: TableColumn
    # The other mapped columns, in the order of `SyncSpec.columns`.
    columns: tuple[TableColumn, ...]
    # The column with the parent's id, where the id is of the form `Parent::Child`.
    parent: TableColumn | None = None
    # A record that a part of a model does not have has not left the model.
    is_part: bool = False
    # A view is computed anew for each scan of it.
    is_view: bool = False
    # Whether the relation is a table, of which no column is named `rowid`: DuckDB then has one of its own for each row.
    has_rowid: bool = False

    @property
    def keys(self) -> list[TableColumn]:
        """The key column, or the two of ``Parent::Child``."""
        return [column for column in (self.parent, self.key) if column]

    def named(self, spec: SyncSpec) -> dict[str, TableColumn]:
        """Returns the mapped columns beside the key by the names that the user gave them."""
        return dict(zip(spec.columns, self.columns, strict=True))


class ChangeSet:
    """The change set of a sync. This one is compared with no ledger: every valid row of the model is new.

    A page's rows are tuples of bucket, seq, change, record key, and the mapped columns in the order of
    ``SyncSpec.columns``.
    """

    # The relation of the ledger that it is compared with.
    ledger: str | None = None

    def __init__(
        self, session: Session, schema: str, spec: SyncSpec, source: ModelTable, lock: SyncLock, suffix: str
    ) -> None:
        self._session = session
        self._schema = schema
        self._spec = spec
        self._source = source
        self._identifier = table_name(spec.name, suffix)
        # Nothing is written that another run could have a right to once the lock is lost.
        self.lock = lock
        self.changes = session.relation(schema, self._identifier)
        # By the names that users have for them: name, dtype, and alias, the name in the change set.
        self._columns = {
            name: {**asdict(column), "alias": alias}
            for name, column, alias in zip(spec.columns, source.columns, aliases_of(source.columns), strict=True)
        }
        # The age in seconds from which events are left out; None if none are, or if the timestamp's type does not tell.
        self._max_age = spec.max_age if self._moment() else None

    @property
    def _entries(self) -> str | None:
        """What a plan that is not written down is compared with: a relation or a subquery."""
        return None

    def plan(self, options: PlanOptions) -> list[Bucket]:
        """Compares the model with the ledger, and stores nothing."""
        return self._count(self._plan_alone(options))

    def bytes_scanned(self, options: PlanOptions) -> int | None:
        """Returns about how many bytes the comparison scans; None where the warehouse does not say so beforehand."""
        return bytes_scanned(self._session, self._plan_sql(self._entries, options))

    def write_changes(self, run_id: str, options: PlanOptions) -> list[Bucket]:
        """Compares the model with the ledger, and writes the change set."""
        plan = self._plan_sql(self.ledger, options, run_id)
        self.lock.renew()
        with self.lock.alive():
            create = self._session.sql("pendo_create_changes", relation=self.changes, plan=plan)
            self._session.create(self._schema, self._identifier, create)
            if index := self._session.sql("pendo_index_changes", changes=self.changes):
                self._session.run(index)
        return self._count_written()

    def drop_changes(self) -> None:
        """Drops the change set if it is there."""
        self._session.drop(self._schema, self._identifier)

    def preview(self, options: PlanOptions, rows: int, kinds: Sequence[str] = ()) -> list[Row]:
        """Returns the first rows of a plan that would be sent, or of some kinds of them, without storing anything."""
        kinds = kinds or (SENDABLE if self._spec.sends_removals else ("added", "changed"))
        return self._read(self._plan_alone(options), EVERYTHING, rows, kinds)

    def change_set_run(self) -> str | None:
        """Returns the run that wrote the change set; None when there is none, or it is empty."""
        if not self._session.exists(self._schema, self._identifier):
            return None
        (written,) = self._session.table("pendo_change_set_run", changes=self.changes)
        run_id: str | None = written["run_id"]
        return run_id

    def read_page(self, span: Span) -> list[Row]:
        """Returns the rows of a page that have to be sent."""
        return self._read(self.changes, span)

    def read_positions(self, span: Span) -> list[Position]:
        """Returns the positions of a page's rows, whose columns another mapping may have written."""
        return [(row[0], row[1]) for row in self._read(self.changes, span, with_columns=False)]

    def read_invalid_keys(self, span: Span) -> list[str]:
        """Returns the keys of a page's invalid rows, those that have one."""
        rows = self._read(self.changes, span, kinds=("invalid",), with_columns=False)
        return [row[3] for row in rows if row[3] is not None]

    def removed_twins(self) -> list[str]:
        """Returns the keys of the model that are those of removed rows but for spaces around them and capitals."""
        model, key = self._source.relation, self._source.keys
        rows = self._session.query("pendo_removed_twins", model=model, key=key, changes=self.changes)
        return [row[0] for row in rows]

    def writes_bodies(self, layouts: Sequence[BodyLayout]) -> bool:
        """Returns whether the warehouse can write such bodies at all."""
        return bool(self._bodies_sql(EVERYTHING, layouts))

    def read_bodies(self, span: Span, layouts: Sequence[BodyLayout]) -> list[Row]:
        """Returns the rows of a page as bodies, one a layout, in the order of their positions.

        A body is None where the warehouse cannot write it to the byte as ``records.render`` does.
        """
        return self._session.rows(self._bodies_sql(span, layouts))

    def invalid_reasons(self, options: PlanOptions | None = None) -> list[tuple[str, int, str | None]]:
        """Returns why rows are invalid: the reason, how many rows, and one of their keys.

        Args:
            options: The plan whose rows are looked at; None looks at those of the change set.
        """
        changes = self.changes if options is None else self._plan_alone(options)
        rows = self._session.table("pendo_invalid_reasons", changes=changes)
        return [(row["detail"], int(row["row_count"]), row["example_key"]) for row in rows]

    def count_events(
        self, sizes: PropertySizes, options: PlanOptions | None = None, span: Span = EVERYTHING
    ) -> EventCounts:
        """Counts the events that Pendo would drop or hide.

        Args:
            sizes: What the properties take.
            options: The plan whose events to send are counted; None counts those of the change set.
            span: The rows of it that are sent.
        """
        event = self._spec.event
        sources = {"event": event.name, "visitor": event.visitor_id} if event else {}
        (counts,) = self._session.table(
            "pendo_event_concerns",
            changes=self.changes if options is None else self._plan_alone(options),
            model=self._source.relation,
            ids={key: self._columns[one.name] for key, one in sources.items() if isinstance(one, Column)},
            moment=self._moment(),
            sizes={
                "fixed": sizes.fixed,
                "columns": [{**asdict(size), **self._columns[size.column]} for size in sizes.columns],
            },
            limits={"oldest": OLDEST_SECONDS, "future": FUTURE_SECONDS, "properties": LARGEST_PROPERTIES},
            max_age=self._max_age,
            span=span,
        )
        return EventCounts(**{name: int(count) for name, count in counts.items()})

    def event_names(self, column: str, limit: int) -> list[str]:
        """Returns the names of the model's events that a column has, at most so many."""
        wanted = {"column": self._columns[column], "row_limit": limit}
        return [row[0] for row in self._session.query("pendo_event_names", model=self._model, **wanted)]

    @property
    def _model(self) -> str:
        """The rows of the model that a sync looks at, to select from."""
        return self._source.relation if self._max_age is None else self._recent(self._max_age)

    def count_consents(self, options: PlanOptions | None = None) -> ConsentCounts:
        """Counts the consents to send: those of a plan, or of the change set; a sync without any has none."""
        aliases = {name: self._columns[column]["alias"] for name, column in self._spec.consents.items()}
        if not aliases:
            return ConsentCounts()
        (counts,) = self._session.table(
            "pendo_count_consents",
            changes=self.changes if options is None else self._plan_alone(options),
            columns=list(aliases.values()),
            ignored=aliases.get(DO_NOT_PROCESS),
        )
        return ConsentCounts(int(counts["calls"]), int(counts["ignored"]), counts["example_key"])

    def _plan_alone(self, options: PlanOptions) -> str:
        """Returns a plan that is stored nowhere, as something to select from."""
        return f"({self._plan_sql(self._entries if options.sample is None else None, options)})"

    def _plan_sql(self, ledger: str | None, options: PlanOptions, run_id: str | None = None) -> str:
        spec, source, model = self._spec, self._source, self._model
        if options.sample is not None:
            model = self._session.sql("pendo_sample", model=model, key=source.keys, row_limit=options.sample)
        return self._session.sql(
            "pendo_plan",
            model=model,
            is_view=source.is_view,
            has_rowid=source.has_rowid and not model.startswith("(") and spec.segment is None,
            ledger=ledger,
            destination=spec.destination,
            key=source.keys,
            columns=list(self._columns.values()),
            fingerprint=spec.fingerprint,
            anonymous=spec.object in ("visitor", "segment"),
            members=spec.segment is not None,
            deliver_once=spec.object == "track_event",
            removals=spec.tracks_removals and not source.is_part and options.sample is None,
            full_refresh=options.full_refresh,
            run_id=run_id,
            max_attempts=options.max_attempts,
            missing_retry=round(options.missing_retry * 3600),
            consents=[self._columns.get(spec.consents.get(name, "")) for name in CONSENTS] if spec.consents else [],
        )

    def _recent(self, seconds: int) -> str:
        """Returns the model's events of the last so many seconds, to select from."""
        return self._session.sql("pendo_recent", model=self._source.relation, moment=self._moment(), max_age=seconds)

    def _moment(self) -> dict[str, str] | None:
        """Returns the column that says when an event happened; None when its type does not tell."""
        if self._spec.event is None:
            return None
        column = self._columns[self._spec.event.timestamp.name]
        return column if TableColumn(column["name"], column["dtype"]).is_moment else None

    def _count_written(self) -> list[Bucket]:
        """Counts the change set, and looks at the lock and the ledger in the same statement."""
        try:
            rows = self._session.query(
                "pendo_count_written", changes=self.changes, lock=self.lock.relation, ledger=self.ledger
            )
        except ConnectionLostError:
            raise
        except WarehouseError:
            # There is no table of a lock that was broken.
            self.lock.confirm()
            raise
        counts = []
        destinations = []
        for name, what, number, last in rows:
            if what == "lock":
                self.lock.seen(name)
            elif what == "ledger":
                destinations.append((name, int(number), int(last)))
            else:
                counts.append((name, what, number, last))
        if self.lock.relation is None:
            self.lock.look()
        self._learn_ledger(destinations)
        return buckets_from_counts(counts)

    def _learn_ledger(self, destinations: Sequence[tuple[str, int, int]]) -> None:
        """Takes what the ledger has of each destination: the number of its entries, and its last commit."""

    def _count(self, changes: str) -> list[Bucket]:
        return buckets_from_counts(self._session.query("pendo_count_changes", changes=changes))

    def _bodies_sql(self, span: Span, layouts: Sequence[BodyLayout]) -> str:
        bodies = [
            {
                "id_key": layout.id_key,
                "fields": [
                    {**self._columns[field.column], "key": field.key, "type": field.type} for field in layout.fields
                ],
            }
            for layout in layouts
        ]
        return self._session.sql("pendo_read_bodies", changes=self.changes, bodies=bodies, span=span)

    def _read(
        self,
        changes: str,
        span: Span,
        limit: int | None = None,
        kinds: Sequence[str] = SENDABLE,
        with_columns: bool = True,
    ) -> list[Row]:
        def read(part: Span, columns: Sequence[Wanted]) -> list[Row]:
            return self._session.query(
                "pendo_read_page", changes=changes, columns=columns, span=part, row_limit=limit, kinds=kinds
            )

        columns = self._columns.values() if with_columns else ()
        return read_span(read, span, [Wanted(column["alias"], column["dtype"]) for column in columns])


class DriftTable:
    """A scratch table of the rows of a change set that Pendo has otherwise, or lacks; until ``drop``."""

    def __init__(self, session: Session, schema: str, spec: SyncSpec) -> None:
        self._session = session
        self._schema = schema
        self._name = table_name(spec.name, "drift")
        self.relation = session.relation(schema, self._name)

    def create(self) -> None:
        """Creates the empty table."""
        self._session.create(self._schema, self._name, self._session.sql("pendo_create_drift", drift=self.relation))

    def add(self, rows: Mapping[Position, str]) -> None:
        """Adds rows of the change set, each with its state: ``missing``, or what else is not equal."""
        adds = self._session.sql_of_rows(
            "pendo_add_drift", list(rows.items()), DRIFT_PER_STATEMENT, drift=self.relation
        )
        for add in adds:
            self._session.run(add)

    def part_of(self, source: ModelTable, changes: str, with_missing: bool) -> ModelTable:
        """Returns the rows of the model that are in the table, to plan with."""
        rows = self._session.sql(
            "pendo_drifted_rows",
            model=source.relation,
            key=source.keys,
            changes=changes,
            drift=self.relation,
            with_missing=with_missing,
        )
        return replace(source, relation=f"{rows} drifted_rows", is_part=True)

    def drop(self) -> None:
        """Drops the table if it is there."""
        self._session.drop(self._schema, self._name)
