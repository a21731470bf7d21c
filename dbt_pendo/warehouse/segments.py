"""Which of Pendo's segments a sync fills, and whether its ledger has the members: one table for all syncs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dbt_pendo.warehouse.session import Session

SEGMENTS_TABLE = "pendo_segments"
MEMBERS_KNOWN, MEMBERS_IN_DOUBT = "known", "in doubt"
# Stands for the id of a segment that a run is about to make.
NO_ID_YET = ""


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
