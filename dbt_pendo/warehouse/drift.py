"""The rows of a model that Pendo has otherwise, or lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.outcomes import Position
from dbt_pendo.warehouse.names import table_name
from dbt_pendo.warehouse.plan import ModelTable
from dbt_pendo.warehouse.session import Session

DRIFT_PER_STATEMENT = 10_000


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
