"""Compares the members of a segment with the visitors of its model (`verify`), and patches the difference."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dbt_pendo.commands.context import Context
from dbt_pendo.commands.verify import DRIFTS_SHOWN, ROWS_PER_PAGE, Verified
from dbt_pendo.delivery.members import compare_members
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.delivery.results import Observer
from dbt_pendo.delivery.sync import Options
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.warehouse.pages import Planned, cut_pages
from dbt_pendo.warehouse.plan import ChangeSet, PlanOptions
from dbt_pendo.warehouse.session import WarehouseError


@dataclass(frozen=True, slots=True)
class VerifiedSegment(Verified):
    """What was found about one segment: a member is there or not, and holds nothing that could drift."""

    # Some visitors of the model who are no members, and some members who are not in the model.
    missing_examples: Sequence[str] = ()
    only_examples: Sequence[str] = ()
    # Visitors of the model that are one member with another, for Pendo trims ids and may make them lower case.
    merged: int = 0

    @property
    def to_repair(self) -> int:
        """Members that a sync would add or remove."""
        return self.missing + self.only_in_pendo

    @property
    def in_order(self) -> bool:
        """Whether the segment holds the model's visitors, or Pendo has taken all additions and removals."""
        if self.error is not None or self.repaired is None:
            return self.error is None and self.to_repair == 0
        return self.repaired.status in ("success", "warn")

    def details(self) -> dict[str, Any]:
        """See ``Verified``; with examples of members that are missing and too many."""
        examples = {"missing": list(self.missing_examples), "only_in_pendo": list(self.only_examples)}
        return {**Verified.details(self), "merged": self.merged, "members": examples}


def verify_segment(
    context: Context, run_id: str, prepared: Prepared, repair: bool, observer: Observer
) -> VerifiedSegment:
    """Compares Pendo's members with the model.

    Args:
        context: The syncs.
        run_id: The run.
        prepared: The sync.
        repair: Whether to add and remove members as the model says, without replacing the others.
        observer: Watches that.

    Raises:
        DbtPendoError: If Pendo or the warehouse cannot be read, or the segment may not be written.
    """
    spec, tables = prepared.spec, context.tables(prepared)
    segment = context.find_segment(prepared)
    if segment is None or segment.id is None:
        members: set[str] = set()
    else:
        members = segment.read_members()
    if repair and segment is not None and segment.blocked:
        raise DbtPendoError(f"{spec.file}: {spec.name}: {segment.blocked}.")
    changes = ChangeSet(context.session, context.schema, spec, prepared.source, tables.lock, "compared")
    try:
        with tables.locked(run_id):
            buckets = changes.write_changes(run_id, PlanOptions(full_refresh=True))
            invalid = sum((bucket.planned for bucket in buckets), Planned()).invalid

            def keys() -> Iterator[str]:
                for span in cut_pages(buckets, ROWS_PER_PAGE):
                    changes.lock.renew()
                    yield from (row[3] for row in changes.read_page(span))

            found = compare_members(keys(), members)
    finally:
        with contextlib.suppress(WarehouseError):
            changes.drop_changes()
    absent, extra = sorted(found.absent), sorted(found.extra)
    verified = VerifiedSegment(
        spec,
        # A difference of capitals alone is likely that of a subscription that has none.
        equal=found.equal + len(found.cased),
        invalid=invalid,
        missing=len(absent),
        not_there=len(absent) + invalid,
        only_in_pendo=len(extra),
        first={"missing": absent[0]} if absent else {},
        only_example=next(iter(extra), None),
        missing_examples=absent[:DRIFTS_SHOWN],
        only_examples=extra[:DRIFTS_SHOWN],
        merged=found.merged,
    )
    if not repair or not verified.to_repair:
        return verified
    part = replace(prepared, spec=replace(spec, replace=False))
    result = context.deliver(run_id, part, Options(full_refresh=True, force=True), observer)
    context.log(run_id, [result])
    return replace(verified, repaired=result)
