"""Which Pendo the ledger of each sync belongs to: one table for all syncs of a schema."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.warehouse.session import Session, WarehouseError

OWNERS_TABLE = "pendo_owners"


@dataclass(frozen=True, slots=True)
class Owner:
    """The Pendo that a ledger's rows were delivered to."""

    host: str  # with its port
    fingerprint: str  # of the key, which it does not show


def owner_name(spec: SyncSpec) -> str:
    """Returns the name under which the owner of a sync's ledger is noted: events go to another host, by another key."""
    return f"{spec.name} (events)" if spec.event is not None else spec.name


def read_owners(session: Session, schema: str) -> dict[str, Owner]:
    """Returns the owners that are noted, by their ``owner_name``."""
    try:
        rows = session.query("pendo_read_owners", owners=session.relation(schema, OWNERS_TABLE))
    except WarehouseError:
        if session.exists(schema, OWNERS_TABLE):
            raise
        return {}
    return {str(sync): Owner(str(host), str(fingerprint)) for sync, host, fingerprint in rows}


def note_owner(session: Session, schema: str, name: str, owner: Owner | None) -> None:
    """Notes whose the ledger of a sync is from now on, under its ``owner_name``; None for nobody's."""
    owners = session.relation(schema, OWNERS_TABLE)
    host, fingerprint = (owner.host, owner.fingerprint) if owner else (None, None)
    note = session.sql("pendo_note_owner", owners=owners, sync=name, host=host, fingerprint=fingerprint)
    try:
        session.run(note)
    except WarehouseError:
        # Another run may make the table right now.
        with contextlib.suppress(WarehouseError):
            session.execute("pendo_create_owners", owners=owners)
        session.run(note)
