"""Tries everything that a sync needs: profile, manifest, warehouse and its rights, Pendo's key, region and secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dbt_pendo.commands.context import Invocation, choose_syncs
from dbt_pendo.commands.select import Selected
from dbt_pendo.delivery.fields import PendoFacts
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.settings import Settings
from dbt_pendo.warehouse.adapter import named_target
from dbt_pendo.warehouse.session import Session, open_session
from dbt_pendo.wording import number

# The table that shows the rights to create, fill and drop one.
TRIAL_TABLE = "pendo_debug"


@dataclass(frozen=True, slots=True)
class Tried:
    """One thing that a sync needs: what was found, or why it does not work."""

    what: str
    found: str = ""
    error: DbtPendoError | None = None
    # Whether something that it needs is missing, and is told of.
    left_out: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Returns its entry under ``results``."""
        status = "error" if self.error else "skipped" if self.left_out else "success"
        error = str(self.error) if self.error else None
        return {"what": self.what, "status": status, "found": self.found, "message": error}


def try_everything(invocation: Invocation) -> Iterator[Tried]:
    """Yields what was found of each thing, one after the other; no rights where there is no warehouse."""
    settings = invocation.settings
    yield (profile := _tried("profile", lambda: f"target {named_target(invocation.connection)}"))
    selected: list[Selected] = []

    def read_mappings() -> str:
        selected.append(choose_syncs(invocation))
        return number(len(selected[0].syncs), "sync")

    yield _tried("mappings", read_mappings)
    if profile.error:
        yield Tried("warehouse", "not tried without a profile", left_out=True)
    else:
        yield from _try_warehouse(invocation)
    yield from _try_pendo(settings, selected[0] if selected else None)


def _try_warehouse(invocation: Invocation) -> Iterator[Tried]:
    try:
        with open_session(invocation.connection) as session:
            yield Tried("warehouse", f"{session.adapter_type}, {session.database}.{session.schema}")
            settings = invocation.settings
            schema = session.own_schema(settings.schema, settings.pendo.sandbox)
            yield _tried("rights there", lambda: _try_rights(session, schema))
    except DbtPendoError as error:
        yield Tried("warehouse", error=error)


def _try_rights(session: Session, schema: str) -> str:
    """Creates a table in the schema of our tables, reads it and drops it."""
    session.ensure_schema(schema)
    relation = session.relation(schema, TRIAL_TABLE)
    create = session.sql("pendo_create_table_as", relation=relation, rows="select 1 as one")
    session.create(schema, TRIAL_TABLE, create)
    session.count(relation)
    session.drop(schema, TRIAL_TABLE)
    return f"tables can be made in {schema}"


def _try_pendo(settings: Settings, selected: Selected | None) -> Iterator[Tried]:
    with PendoClient(settings) as client:
        facts = PendoFacts(client)

        def try_key() -> str:
            facts.require_key()
            return f"{settings.integration_key_variable} may write to {settings.pendo}"

        yield _tried("integration key", try_key)
        specs = [spec for _, spec in selected.syncs] if selected else []
        for app in dict.fromkeys(spec.event.app for spec in specs if spec.event is not None):

            def try_secret(app: str | None = app) -> str:
                facts.require_track_secret(app)
                return f"good{f' for the app {app}' if app else ''}"

            yield _tried("track event secret", try_secret)


def _tried(what: str, look: Callable[[], str]) -> Tried:
    try:
        return Tried(what, look())
    except DbtPendoError as error:
        return Tried(what, error=error)
