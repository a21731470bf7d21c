"""From the builds that dbt has published in the warehouse to the syncs of a run: no manifest, no dbt project."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from dbt_pendo.engine.gates import Gates, Verdict, judge
from dbt_pendo.engine.gather import Gathered, Selection, read_specs, refuse_shared_segments
from dbt_pendo.errors import ConfigError
from dbt_pendo.project.artifacts import Model, as_mapping, read_current_rows
from dbt_pendo.project.run_results import LastRun
from dbt_pendo.spec.annotation import Annotation
from dbt_pendo.warehouse.builds import BUILDS_TABLE, Build, read_builds
from dbt_pendo.warehouse.session import Session


def gather_published(session: Session, schema: str, selection: Selection, gates: Gates) -> Gathered:
    """Reads what was published and not taken yet, and parses the mappings.

    Args:
        session: The warehouse.
        schema: The schema of the bookkeeping.
        selection: Which models, by name.
        gates: What dbt must have done to them.

    Raises:
        ConfigError: If dbt has published nothing at all, or the selection is more than names.
        MappingError: If a mapping is wrong.
    """
    names, left_out = _names(selection.select), _names(selection.exclude)
    if selection.selector:
        raise ConfigError(f"--selector {selection.selector}: {_NO_GRAPH}", _NAMES_ONLY)
    builds = [
        build
        for build in read_builds(session, schema)
        if (not names or names & _names_of(build)) and not left_out & _names_of(build)
    ]
    models = {build.unique_id: _model(build) for build in builds}
    specs = read_specs(models.values())
    refuse_shared_segments({spec.name for spec in specs}, [spec for spec in specs if spec.enabled])
    return Gathered(
        f"{schema}.{BUILDS_TABLE}",
        builds[-1].invocation_id if builds else "",
        [(models[spec.unique_id], spec) for spec in specs if spec.enabled],
        LastRun(),
        {build.unique_id: _verdict(build, models[build.unique_id], gates) for build in builds},
        builds,
    )


_NO_GRAPH = "what was published does not say how models hang together."
_NAMES_ONLY = "With --published, name models alone: --select dim_users dim_accounts."


def _names(selected: Sequence[str]) -> set[str]:
    """Returns the models' names of a selection; dbt, too, takes several in one value."""
    names = {name for value in selected for name in value.split()}
    for name in sorted(names):
        if not re.fullmatch(r"[\w-]+", name):
            raise ConfigError(f"--select or --exclude {name}: {_NO_GRAPH}", _NAMES_ONLY)
    return names


def _names_of(build: Build) -> set[str]:
    """Returns what a model goes by: its name, and that with its version."""
    return {build.model, *build.unique_id.split(".")[2:3]}


def _model(build: Build) -> Model:
    mapping, columns, tests = (_decoded(text, build) for text in (build.mapping, build.column_mappings, build.tests))
    _, package, name = f"{build.unique_id}..".split(".")[:3]
    return Model(
        unique_id=build.unique_id,
        package=package,
        name=name,
        # Only what refers to a model in SQL or YAML has to know it.
        version=None,
        relation_name=build.relation_name,
        database=build.database,
        schema=build.schema,
        identifier=build.identifier,
        materialized=build.materialized,
        annotation=Annotation(build.unique_id, build.model, build.file, mapping, as_mapping(columns)),
        tests=frozenset(as_mapping(tests)),
        current_rows=read_current_rows(as_mapping(_decoded(build.snapshot, build))) if build.snapshot else None,
    )


def _decoded(text: str | None, build: Build) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        raise ConfigError(
            f"{BUILDS_TABLE}: {build.unique_id} in dbt invocation {build.invocation_id} holds what is no JSON: {text}",
            "Somebody has changed it; build the model again.",
        ) from None


def _verdict(build: Build, model: Model, gates: Gates) -> Verdict:
    if build.unique_id.startswith("snapshot.") and model.current_rows is None:
        older = "an older release of the dbt package published it, and did not say which rows of a snapshot are current"
        return Verdict(False, f"{older}: upgrade the package in packages.yml")
    if build.status is not None:
        statuses = {build.unique_id: build.status, **as_mapping(_decoded(build.tests, build))}
        return judge(model, LastRun(build.command, statuses, build.partial or ""), gates)
    unknown = f"published by `dbt {build.command}`, which does not say"
    if gates.only_built:
        return Verdict(False, f"{unknown} whether it was built (--only-built)", asked_for=True)
    if gates.require_tests:
        return Verdict(False, f"{unknown} what its tests said (--require-tests)")
    return Verdict(True, f"its table as it is, published by `dbt {build.command}`")
