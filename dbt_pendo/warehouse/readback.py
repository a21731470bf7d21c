"""Scratch tables of what Pendo holds, to compare with the model where the model is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.warehouse.ledger import ModelTable, Row
from dbt_pendo.warehouse.names import aliases_of, table_name
from dbt_pendo.warehouse.pages import Bucket, Planned, Span, cut_pages
from dbt_pendo.warehouse.reading import Wanted, read_span
from dbt_pendo.warehouse.session import Session

# The shortest statement limit known is 1 MiB (Snowflake, BigQuery), and each byte may have to be escaped.
ROWS_PER_STATEMENT = 1_000
BYTES_PER_STATEMENT = 400_000
ROWS_PER_PAGE = 25_000


@dataclass(frozen=True, slots=True)
class HeldField:
    """A mapped field, and how the warehouse can say what Pendo will hold of it.

    Attributes:
        column: The mapped column; None for a constant.
        form: How the column becomes the text of what is held; None where only the client can tell.
        constant: The text of a constant; None for null.
    """

    column: str | None
    form: str | None
    constant: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the warehouse found at first sight.

    Attributes:
        sound: Rows of the model that could be in Pendo.
        missing: Those that Pendo does not hold.
        suspects: Those that Pendo may hold with other values.
        only_in_pendo: Records that the model does not have.
        missing_example: A key of the missing ones.
        only_example: A key of those that only Pendo has.
    """

    sound: int
    missing: int
    suspects: int
    only_in_pendo: int
    missing_example: str | None
    only_example: str | None


class ReadBack:
    """What Pendo holds of one sync's records, beside the model; gone again with ``drop``."""

    def __init__(self, session: Session, schema: str, spec: SyncSpec, source: ModelTable) -> None:
        self._session = session
        self._schema = schema
        self._spec = spec
        self._source = source
        self._aliases = dict(zip(spec.columns, aliases_of(source.columns), strict=True))
        self._readback = table_name(spec.name, "readback")
        self._drift = table_name(spec.name, "drift")
        self._buckets: list[Bucket] = []

    @property
    def drift(self) -> str:
        """The relation of what has drifted, for ``SyncTables.adopt``."""
        return self._session.relation(self._schema, self._drift)

    def create(self) -> None:
        """Creates the empty table of what Pendo holds."""
        readback = self._session.relation(self._schema, self._readback)
        self._session.create(
            self._schema, self._readback, self._session.sql("pendo_create_readback", readback=readback)
        )

    def add(self, rows: Sequence[tuple[str, str]]) -> None:
        """Adds records: key, and the text of what is held of the fields."""
        readback = self._session.relation(self._schema, self._readback)
        for part in _parts(rows):
            self._session.run(self._session.sql("pendo_add_readback", readback=readback, rows=part))

    def compare(self, fields: Sequence[HeldField]) -> Comparison:
        """Compares the model with what was added."""
        session = self._session
        sides = {"model": self._source.relation, "key": self._key()}
        readback = session.relation(self._schema, self._readback)
        anonymous = self._spec.object == "visitor"
        create = session.sql(
            "pendo_create_drift",
            drift=self.drift,
            readback=readback,
            anonymous=anonymous,
            columns=self._columns(),
            fields=[self._field(field) for field in fields],
            **sides,
        )
        session.create(self._schema, self._drift, create)
        missing = 0
        suspects: list[Bucket] = []
        for bucket, change, rows in session.rows(session.sql("pendo_count_drift", drift=self.drift)):
            if change == "missing":
                missing += rows
            else:
                suspects.append(Bucket(bucket, Planned(changed=int(rows))))
        self._buckets = suspects
        ((sound,),) = session.rows(session.sql("pendo_count_sound_rows", anonymous=anonymous, **sides))
        ((only, only_example),) = session.rows(session.sql("pendo_only_in_pendo", readback=readback, **sides))
        return Comparison(
            sound=int(sound),
            missing=int(missing),
            suspects=sum(bucket.rows for bucket in suspects),
            only_in_pendo=int(only),
            missing_example=self._first_missing() if missing else None,
            only_example=only_example,
        )

    def suspects(self) -> Iterator[list[Row]]:
        """Yields those that Pendo may hold with other values: rows of bucket, key, what is held, mapped columns."""
        # Rows of a scratch table have no seq: a bucket of more rows than a page is read whole, once.
        spans = dict.fromkeys(Span(span.first, span.last) for span in cut_pages(self._buckets, ROWS_PER_PAGE))
        for span in spans:
            yield self._read(span, "drifted", None)

    def note_equal(self, keys: Sequence[str]) -> None:
        """Takes records off the list of what has drifted."""
        for part in _parts([(key, "") for key in keys]):
            sql = self._session.sql("pendo_add_equal", drift=self.drift, keys=[key for key, _ in part])
            self._session.run(sql)

    def drifted_source(self, with_missing: bool) -> ModelTable:
        """Returns the part of the model that has drifted, to plan with."""
        changes = ["drifted", "missing"] if with_missing else ["drifted"]
        relation = self._session.sql(
            "pendo_drifted_rows", model=self._source.relation, key=self._key(), drift=self.drift, changes=changes
        )
        return replace(self._source, relation=f"{relation} drifted_rows", is_part=True)

    def drop(self) -> None:
        """Drops the scratch tables."""
        for table in (self._readback, self._drift):
            self._session.drop(self._schema, table)

    def _first_missing(self) -> str:
        ((_, key, *_),) = self._read(Span("000", "fff"), "missing", 1)
        return str(key)

    def _read(self, span: Span, change: str, limit: int | None) -> list[Row]:
        def read(part: Span, columns: Sequence[Wanted]) -> list[Row]:
            return self._session.rows(
                self._session.sql(
                    "pendo_read_drift",
                    drift=self.drift,
                    columns=[asdict(column) for column in columns],
                    span=asdict(part),
                    change=change,
                    row_limit=limit,
                )
            )

        return read_span(read, span, [Wanted(column["alias"], column["dtype"]) for column in self._columns()])

    def _key(self) -> list[dict[str, str]]:
        return [asdict(column) for column in (self._source.parent, self._source.key) if column]

    def _columns(self) -> list[dict[str, str]]:
        return [
            {**asdict(column), "alias": alias}
            for column, alias in zip(self._source.columns, self._aliases.values(), strict=True)
        ]

    def _field(self, field: HeldField) -> dict[str, str | None]:
        if field.column is None:
            return {"form": "constant", "constant": field.constant}
        dtypes = dict(zip(self._spec.columns, self._source.columns, strict=True))
        return {"form": field.form, "alias": self._aliases[field.column], "dtype": dtypes[field.column].dtype}


def _parts(rows: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    part: list[tuple[str, str]] = []
    size = 0
    for key, held in rows:
        weight = len(key.encode()) + len(held.encode())
        if part and (len(part) == ROWS_PER_STATEMENT or size + weight > BYTES_PER_STATEMENT):
            yield part
            part, size = [], 0
        part.append((key, held))
        size += weight
    if part:
        yield part
