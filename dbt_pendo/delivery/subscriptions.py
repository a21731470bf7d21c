"""Whose the ledgers are: each is of one Pendo, and no other ledger has its rows."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from dbt_pendo.delivery.journal import journal_path
from dbt_pendo.delivery.prepare import Prepared
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation, Object, SyncSpec
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.records import read_record
from dbt_pendo.warehouse.ledger import LedgerTable
from dbt_pendo.warehouse.names import table_name
from dbt_pendo.warehouse.notes import Subscription, read_subscriptions, subscription_name, subscription_names
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.plan import PlanOptions
from dbt_pendo.warehouse.runs import History
from dbt_pendo.warehouse.session import Session, WarehouseError
from dbt_pendo.warehouse.tables import SyncTables
from dbt_pendo.wording import host_and_port, listing, number

# Delivered records to look for in Pendo when the key is another one.
RECORDS_LOOKED_UP = 5


class ForeignPendoError(ConfigError):
    """A ledger is of another Pendo: its rows were delivered there."""


class Subscriptions:
    """The Pendos that the ledgers of a schema are of; each sync is judged once.

    Args:
        session: The warehouse.
        schema: The schema of our tables.
        client: The Pendo that syncs deliver to.
        target_path: dbt's target folder, for what a dead run left.
        tables: The names of the schema's tables when the command began.
        annotations: The mappings of the whole project; empty if they are not known.
    """

    def __init__(
        self,
        session: Session,
        schema: str,
        client: PendoClient,
        target_path: Path,
        tables: Collection[str],
        annotations: Collection[Annotation],
    ) -> None:
        self._session = session
        self._schema = schema
        self._client = client
        self._settings = client.settings
        self._history = History(session, schema)
        self._target_path = target_path
        self._tables = tables
        self._annotations = annotations
        self._judged: dict[str, tuple[Subscription | None, str]] = {}

    @cached_property
    def _noted(self) -> Mapping[str, Subscription | None]:
        """What is noted with the ledgers, by ``subscription_name``; read when it is first asked for."""
        return read_subscriptions(self._session, self._schema, self._tables)

    def current(self, spec: SyncSpec) -> Subscription:
        """Returns the Pendo that a sync delivers to now; its fingerprint is empty if its key is not set."""
        url, secret = self._settings.api_url, self._settings.integration_key
        if spec.event is not None:
            url, secret = self._settings.data_url, self._settings.track_secrets.get((spec.event.app or "").upper())
        return Subscription(host_and_port(url), secret.fingerprint(spec.name) if secret else "", self._session.schema)

    def require(self, spec: SyncSpec) -> tuple[Subscription | None, str]:
        """Makes sure that the ledger of a sync is of the Pendo that it delivers to.

        Another key of the same host is a new key of the same subscription if Pendo knows a record that was delivered.

        Returns:
            The subscription to note with the ledger, if another one is noted, and what to tell about that, if anything.

        Raises:
            ForeignPendoError: If it is another Pendo's.
        """
        if spec.name not in self._judged:
            self._judged[spec.name] = self._judge(spec)
        return self._judged[spec.name]

    def _judge(self, spec: SyncSpec) -> tuple[Subscription | None, str]:
        noted, now = self._noted.get(subscription_name(spec)), self.current(spec)
        if noted == now or (noted is None and not now.fingerprint):
            return None, ""
        ledger = LedgerTable(self._session, self._schema, spec.name)
        if noted is None and any(name in self._noted for name in subscription_names(spec.name)):
            # It was delivered as something else, to another host.
            return now, ""
        if not self._has_delivered(spec, ledger):
            return now, ""
        start = f"{spec.name}: its ledger, {ledger.relation}, is of"
        hint = (
            f"Look at the key, PENDO_REGION and PENDO_API_URL. To give it to this Pendo, `dbt-pendo reset --select "
            f"{spec.name.partition('.')[0]}`: the next sync then sends every row."
        )
        if noted is not None and noted.host != now.host:
            raise ForeignPendoError(f"{start} the Pendo at {noted.host}, and this one is at {now.host}.", hint)
        if not now.fingerprint:
            return None, ""
        if noted is not None and noted.fingerprint == now.fingerprint:
            return now, ""
        # An earlier version noted nothing.
        what = f"another key for {now.host} than before" if noted else f"its ledger does not say if it is of {now.host}"
        delivered = self._delivered(spec)
        if not delivered:
            return now, f"{what}: nothing tells whether it is the same subscription"
        if not any(read_record(self._client, object_, key) for object_, key in delivered):
            raise ForeignPendoError(
                f"{start} another subscription than this at {now.host}, which knows none of {len(delivered)} records "
                f"that were delivered (such as {delivered[0][1]}): {what}.",
                hint,
            )
        return now, f"{what}; it is the same subscription"

    def with_subscription(self, prepared: Prepared) -> Prepared:
        """Returns a prepared sync with what is to be said and noted about the Pendo of its ledger."""
        spec, name = prepared.spec, subscription_name(prepared.spec)
        new, about = self.require(spec)
        noted = self._noted.get(name)
        prepared = replace(prepared, noted_subscription=noted, new_subscription=new, about_subscription=about)
        if found := self._renamed_from(prepared):
            return replace(prepared, another_ledger=found)
        if new is None or self._settings.targets is not None or self._settings.pendo.sandbox:
            return prepared
        found = ""
        if noted is not None and noted.target_schema.lower() != new.target_schema.lower():
            found = f"its ledger is of the target schema {noted.target_schema}, and this one is {new.target_schema}"
        elif name not in self._noted and (others := self._ledgers_elsewhere(prepared, new)):
            has = "has" if len(others) == 1 else "have"
            found = (
                f"{listing(others)} {has} a ledger of this sync, and this first run would begin one in {self._schema}"
            )
        if not found:
            return prepared
        found += ": two targets would write to one Pendo. Name those that may under `targets`"
        return replace(prepared, another_ledger=found)

    def _renamed_from(self, prepared: Prepared) -> str:
        """Returns why a first run would send events twice: a sync of another name sent them, and is no more."""
        spec = prepared.spec
        own = LedgerTable(self._session, self._schema, spec.name)
        if spec.event is None or own.has_begun(self._tables):
            return ""
        for sync in self._syncs_left:
            if not self._may_have_events(sync, spec):
                continue
            tables = SyncTables(self._session, self._schema, replace(spec, name=sync), prepared.source)
            with contextlib.suppress(WarehouseError):
                planned = sum((bucket.planned for bucket in tables.plan(PlanOptions())), Planned())
                # Some new ones come with a new name; other events may have a few of the same ids by chance.
                if planned.unchanged > planned.added:
                    return (
                        f"the ledger of {sync}, a sync that the project does not have, has {planned.unchanged:,} of "
                        f"its {number(planned.in_model, 'event id')}, so that events may be sent twice. If that sync "
                        f"was renamed: `alter table {tables.ledger} rename to {own.name}`"
                    )
        return ""

    @cached_property
    def _syncs_left(self) -> list[str]:
        """The syncs with a ledger that the project does not have; none if its mappings are not known."""
        if not self._annotations:
            return []
        specs, problems = parse_syncs(self._annotations)
        known = {self._session.folded(table_name(one.name, "ledger")) for one in specs}
        # Of a mapping that cannot be read, each table that may be of the model.
        flawed = tuple(self._session.folded(table_name(one.sync.partition(".")[0], "")) for one in problems)
        ledgers = sorted(table for table in self._tables if table.endswith("__ledger"))
        left = [table for table in ledgers if table not in known and not table.startswith(flawed)]
        return [table.removesuffix("__ledger") for table in left]

    def _may_have_events(self, sync: str, spec: SyncSpec) -> bool:
        """Returns whether the ledger of another sync may have events that were sent to the same Pendo."""
        names = subscription_names(sync)
        noted = self._noted.get(names[1])
        if noted is None:
            # An earlier version noted nothing.
            return names[0] not in self._noted
        return noted.host == self.current(spec).host

    def _ledgers_elsewhere(self, prepared: Prepared, new: Subscription) -> list[str]:
        """Returns the schemas with a ledger of a sync that has none here, without those of another Pendo."""
        name = subscription_name(prepared.spec)
        tables = SyncTables(self._session, self._schema, prepared.spec, prepared.source)
        is_begun = LedgerTable(self._session, self._schema, prepared.spec.name).has_begun(self._tables)
        others = [] if is_begun else tables.ledgers_elsewhere()
        noted = {schema: read_subscriptions(self._session, schema).get(name) for schema in others}
        return [schema for schema, there in noted.items() if there is None or there.host == new.host]

    def _has_delivered(self, spec: SyncSpec, ledger: LedgerTable) -> bool:
        """Returns whether a sync has delivered anything: by its ledger, or by what a dead run left."""
        if ledger.has_begun(self._tables) and self._history.open_rows(spec.name, ["delivered", "removed"], limit=1):
            return True
        return journal_path(self._target_path, spec.name, ledger.address).exists()

    def _delivered(self, spec: SyncSpec) -> list[tuple[Object, str]]:
        """Returns a few records that a sync has delivered and that can be read back, each with its kind."""
        object_: Object = "visitor" if spec.segment is not None else spec.object
        if not OBJECTS[object_].is_readable:
            return []
        entries = self._history.open_rows(spec.name, ["delivered"], RECORDS_LOOKED_UP)
        return [(object_, entry.key) for entry in entries]
