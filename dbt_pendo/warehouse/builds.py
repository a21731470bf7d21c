"""The table ``pendo_builds``: what dbt has published from inside (``macros/publish.sql``), and what was taken of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbt_pendo.errors import ConfigError
from dbt_pendo.warehouse.session import Session, WarehouseError

BUILDS_TABLE = "pendo_builds"


@dataclass(frozen=True, slots=True)
class Build:
    """A model as one dbt invocation left it: the columns of ``pendo_read_builds``.

    Attributes:
        unique_id: dbt's id of the model.
        invocation_id: The dbt invocation.
        command: Its command, such as ``build``.
        status: dbt's status of the model; None when it was published as it is.
        partial: The flag by which it was built without all its rows, such as ``--empty``; None when it was not.
        tests: JSON: dbt's status of each test of it that ran in the same invocation, by the test's id.
        model: The model's name, with its version if it has one.
        file: The file that carries the mapping.
        database: The database dbt built it in.
        schema: The schema dbt built it in.
        identifier: The table's name in the warehouse.
        relation_name: The table or view, quoted for the adapter; None when nothing is materialised.
        materialized: ``table``, ``view``, ``ephemeral`` …
        mapping: JSON: what stands under ``meta.pendo`` of the model; None when only columns are mapped.
        column_mappings: JSON: what stands under ``meta.pendo`` of each mapped column, by its name.
        snapshot: JSON: what the config of a snapshot says of its current rows; None for others, and where an older
            release of the dbt package published it.
    """

    unique_id: str
    invocation_id: str
    command: str
    status: str | None
    partial: str | None
    tests: str | None
    model: str
    file: str
    database: str | None
    schema: str
    identifier: str
    relation_name: str | None
    materialized: str
    mapping: str | None
    column_mappings: str
    snapshot: str | None


def read_builds(session: Session, schema: str) -> list[Build]:
    """Returns of each model the latest build, unless it was taken; in the order in which they were built.

    Args:
        session: The warehouse.
        schema: The schema of the bookkeeping.

    Raises:
        ConfigError: If dbt has never published anything there.
        WarehouseError: If the warehouse refuses it.
    """
    sql = session.sql("pendo_read_builds", builds=session.relation(schema, BUILDS_TABLE))
    try:
        rows = session.rows(sql)
    except WarehouseError:
        if session.exists(schema, BUILDS_TABLE):
            raise
        raise ConfigError(
            f"There is no table {schema}.{BUILDS_TABLE}: dbt has published nothing there.",
            'Install the dbt package, write `on-run-end: "{{ dbt_pendo.publish(results) }}"` into dbt_project.yml, and '
            "run dbt; the README shows how.",
        ) from None
    return [Build(*row) for row in rows]


def take_builds(session: Session, schema: str, builds: Sequence[Build], run_id: str) -> None:
    """Notes that a run is through with some builds, so that they are not read again.

    Args:
        session: The warehouse.
        schema: The schema of the bookkeeping.
        builds: The builds.
        run_id: The run.

    Raises:
        WarehouseError: If the warehouse refuses it.
    """
    taken = [
        {"action": "taken", "unique_id": build.unique_id, "invocation_id": build.invocation_id, "run_id": run_id}
        for build in builds
    ]
    if taken:
        session.run(session.sql("pendo_add_builds", builds=session.relation(schema, BUILDS_TABLE), rows=taken))
