"""What runs have noted of Pendo, each in one table for all syncs of a schema.

Which Pendo the ledger of a sync belongs to, which of Pendo's segments it fills, and whether its ledger has the members.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.warehouse.session import ConnectionLostError, Session, WarehouseError

SUBSCRIPTIONS_TABLE = "pendo_subscriptions"
SEGMENTS_TABLE = "pendo_segments"
MEMBERS_KNOWN, MEMBERS_IN_DOUBT = "known", "in doubt"
# Stands for the id of a segment that a run is about to make.
NO_ID_YET = ""


@dataclass(frozen=True, slots=True)
class Subscription:
    """The Pendo that a ledger's rows were delivered to."""

    host: str  # with its port
    fingerprint: str  # of the key, which it does not show
    target_schema: str  # of dbt's target, whose models these are


def subscription_names(sync: str) -> tuple[str, str]:
    """Returns the names under which the Pendo of a sync's records, and of its events, is noted."""
    return sync, f"{sync} (events)"


def subscription_name(spec: SyncSpec) -> str:
    """Returns the name of the two that counts: events go to another host, by another key."""
    return subscription_names(spec.name)[spec.event is not None]


def read_subscriptions(
    session: Session, schema: str, tables: Collection[str] | None = None
) -> dict[str, Subscription | None]:
    """Returns what is noted, by ``subscription_name``: None where a reset has forgotten it.

    Args:
        session: The warehouse.
        schema: The schema of our tables.
        tables: The names of its tables; None lists them anew.
    """
    if session.folded(SUBSCRIPTIONS_TABLE) not in (session.tables(schema) if tables is None else tables):
        return {}
    rows = session.table("pendo_read_subscriptions", subscriptions=session.relation(schema, SUBSCRIPTIONS_TABLE))
    return {row.pop("sync"): Subscription(**row) if row["host"] else None for row in rows}


def ensure_subscriptions(session: Session, schema: str, tables: Collection[str]) -> None:
    """Creates the schema of our tables and the table of the notes, unless it is one of ``tables``."""
    session.ensure_schema(schema)
    if session.folded(SUBSCRIPTIONS_TABLE) not in tables:
        session.make("pendo_create_subscriptions", subscriptions=session.relation(schema, SUBSCRIPTIONS_TABLE))


def note_subscription(session: Session, schema: str, name: str, subscription: Subscription | None) -> None:
    """Notes whose the ledger of a sync is from now on, under its ``subscription_name``; None for nobody's."""
    subscriptions = session.relation(schema, SUBSCRIPTIONS_TABLE)
    noted = asdict(subscription) if subscription else dict.fromkeys(("host", "fingerprint", "target_schema"))
    note = session.sql("pendo_note_subscription", subscriptions=subscriptions, sync=name, **noted)
    try:
        session.run(note)
    except ConnectionLostError:
        raise
    except WarehouseError:
        session.make("pendo_create_subscriptions", subscriptions=subscriptions)
        session.run(note)


@dataclass(frozen=True, slots=True)
class NotedSegment:
    """A segment of Pendo's as we have noted it: its id, and whether the ledger has its members."""

    id: str
    known: bool


class SegmentNotes:
    """The notes of one sync and the name of its segment; the latest of them counts."""

    def __init__(self, session: Session, schema: str, sync: str, segment: str) -> None:
        self._session = session
        self._schema = schema
        self._segments = session.relation(schema, SEGMENTS_TABLE)
        self._sync = sync
        self._segment = segment

    def latest(self) -> NotedSegment | None:
        """Returns the segment that the sync fills; None when no run has noted one."""
        row = self._first("pendo_read_segment", sync=self._sync, segment=self._segment)
        return NotedSegment(row["segment_id"], row["members"] == MEMBERS_KNOWN) if row else None

    def note(self, segment: NotedSegment) -> None:
        """Notes Pendo's id of the segment, by which it is found even under another name."""
        if (notes := self._notes()) != self._segments:
            change = "pendo_number_segments" if notes else "pendo_create_segments"
            self._session.make(change, segments=self._segments)
        self._session.execute(
            "pendo_note_segment",
            segments=self._segments,
            sync=self._sync,
            segment=self._segment,
            segment_id=segment.id,
            members=MEMBERS_KNOWN if segment.known else MEMBERS_IN_DOUBT,
        )

    def filler(self, segment_id: str) -> str | None:
        """Returns the sync that has noted a segment last, in any project; None when none has."""
        return self._latest_of_all("sync", "segment_id", segment_id)

    def claim(self) -> None:
        """Puts the members in doubt, and makes this sync the one to replace them, even if another filled it before."""
        noted = self.latest()
        segment_id = noted.id if noted else self._latest_of_all("segment_id", "segment", self._segment)
        if segment_id:
            self.note(NotedSegment(segment_id, known=False))

    def _latest_of_all(self, wanted: str, column: str, value: str) -> str | None:
        row = self._first("pendo_latest_segment_note", wanted=wanted, column=column, value=value)
        return str(row[wanted]) if row else None

    def _first(self, macro: str, **arguments: str) -> dict[str, Any] | None:
        notes = self._notes()
        rows = self._session.table(macro, segments=notes, **arguments) if notes else []
        return rows[0] if rows else None

    def _notes(self) -> str | None:
        """Returns what to select notes from; None when there are none."""
        if self._session.has_columns(self._schema, SEGMENTS_TABLE, ("note_number",)):
            return self._segments
        if self._session.exists(self._schema, SEGMENTS_TABLE):
            # An earlier version made it, and no sync has written to it since.
            return self._session.sql("pendo_unnumbered_segments", segments=self._segments)
        return None
