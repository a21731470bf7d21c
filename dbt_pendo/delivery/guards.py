"""What holds a sync back before its first row: more changes or removals than the mapping allows."""

from __future__ import annotations

from dbt_pendo.mapping.spec import Limit, SyncSpec
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.wording import number


def blocked_by(spec: SyncSpec, planned: Planned) -> str | None:
    """Returns why a guard holds a plan back; None when none does."""
    known = planned.changed + planned.removed + planned.unchanged
    if planned.removed and spec.on_removed == "delete" and spec.max_removals is None:
        return (
            f"blocked: {number(planned.removed, spec.object)} would be deleted in "
            "Pendo; set max_removals to allow so many, or --force deletes them"
        )
    changes, changed = planned.added + planned.changed, "added or changed"
    if spec.segment is not None:
        # A member is not changed by being sent again, as it is when all are replaced.
        changes, changed = planned.added, "added"
    for rows, limit, name, what in (
        (changes, spec.max_changes, "max_changes", changed),
        (planned.removed, spec.max_removals, "max_removals", "removed"),
    ):
        allowed = _allowed(limit, known)
        if allowed is not None and rows > allowed:
            return f"blocked: {rows:,} {what}, {name} allows {allowed:,}; --force lets them pass"
    return None


def _allowed(limit: Limit | None, known: int) -> int | None:
    """Returns how many rows a guard lets pass; a percentage says nothing before the first delivery."""
    if limit is None:
        return None
    if limit.rows is not None:
        return limit.rows
    return int(known * (limit.percent or 0) / 100) if known else None
