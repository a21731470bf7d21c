"""The table ``pendo_builds``: what dbt has published from inside (``macros/publish.sql``), and what was taken of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbt_pendo.errors import ConfigError
from dbt_pendo.warehouse.session import Session, WarehouseError

BUILDS_TABLE = "pendo_builds"
# A longer union may be too complex for a warehouse.
TAKEN_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Build:
    """A model as one dbt invocation left it: the columns of ``pendo_read_builds``."""

    unique_id: str
    invocation_id: str
    # Of dbt, such as `build`.
    command: str
    # None when the model was published as it is.
    status: str | None
    # The flag by which it was built without all its rows, such as `--empty`.
    partial: str | None
    # JSON: dbt's status of each test of it that ran in the same invocation, by the test's id.
    tests: str | None
    # With its version if it has one.
    model: str
    # The file that carries the mapping.
    file: str
    database_name: str | None
    schema_name: str
    identifier: str
    # Quoted for the adapter; None when nothing is materialised.
    relation_name: str | None
    materialized: str
    # JSON: the model's own `meta.pendo`; None when only columns are mapped.
    mapping: str | None
    # JSON: the `meta.pendo` of each mapped column, by its name.
    column_mappings: str
    # JSON: what the config of a snapshot says of its current rows; None for others, and where an older release of the
    # dbt package published it.
    snapshot_config: str | None
    # JSON: what marks columns as personal data, by their names; None where nothing does, and where an older release of
    # the dbt package published it.
    marks: str | None


def read_builds(session: Session, schema: str) -> list[Build]:
    """Returns of each model the latest build, unless it was taken; in the order in which they were built.

    Raises:
        ConfigError: If dbt has never published anything there.
    """
    try:
        rows = session.table("pendo_read_builds", builds=session.relation(schema, BUILDS_TABLE))
    except WarehouseError:
        if session.exists(schema, BUILDS_TABLE):
            raise
        raise ConfigError(
            f"There is no table {schema}.{BUILDS_TABLE}: dbt has published nothing there.",
            'Install the dbt package, write `on-run-end: "{{ dbt_pendo.publish(results) }}"` into dbt_project.yml, and '
            "run dbt: docs/deploy/dbt-cloud-inside.md.",
        ) from None
    return [Build(**row) for row in rows]


def take_builds(session: Session, schema: str, builds: Sequence[Build], run_id: str) -> None:
    """Notes that a run is through with some builds, so that they are not read again."""
    taken = [
        {"action": "taken", "unique_id": build.unique_id, "invocation_id": build.invocation_id, "run_id": run_id}
        for build in builds
    ]
    for entry in session.sql_of_rows(
        "pendo_add_builds", taken, TAKEN_AT_ONCE, builds=session.relation(schema, BUILDS_TABLE)
    ):
        session.run(entry)
