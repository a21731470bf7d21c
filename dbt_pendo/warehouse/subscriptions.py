"""Which Pendo the ledger of each sync belongs to: one table for all syncs of a schema."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.warehouse.session import ConnectionLostError, Session, WarehouseError

SUBSCRIPTIONS_TABLE = "pendo_subscriptions"


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
