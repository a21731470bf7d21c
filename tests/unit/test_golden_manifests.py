"""What each version of dbt makes of one project is the same to us; see tests/projects/annotated."""

import json
from pathlib import Path

import pytest

from dbt_pendo.commands.select import Selection, select_syncs
from dbt_pendo.mapping.spec import Column, CurrentRows, Field

PROJECT = Path(__file__).resolve().parents[1] / "projects" / "annotated"
MANIFESTS = sorted((PROJECT / "manifests").glob("*.json"))
PLAN = (Field("plan", Column("plan")),)


def as_dbt_2(path: Path) -> str:
    """A manifest as dbt v2 is said to write it, which could not be had: meta in config only, and nulls for nothing."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["metadata"]["dbt_version"] = "2.0.0"
    for node in manifest["nodes"].values():
        node["meta"] = None
        for column in node["columns"].values():
            column["config"] = {**column.get("config", {}), "meta": column.pop("meta", None) or None}
        if not node["config"].get("meta"):
            node["config"]["meta"] = None
    return json.dumps(manifest)


@pytest.fixture(params=[*MANIFESTS, "as dbt 2"], ids=lambda path: getattr(path, "stem", path))
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    newest = next(path for path in MANIFESTS if path.stem.startswith("dbt-1.12"))
    text = as_dbt_2(newest) if request.param == "as dbt 2" else request.param.read_text(encoding="utf-8")
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    return tmp_path


def test_every_version_that_is_claimed_has_one() -> None:
    assert {path.stem.rpartition(".")[0] for path in MANIFESTS} == {"dbt-1.8", "dbt-1.10", "dbt-1.11", "dbt-1.12"}


def test_the_same_syncs_come_from_every_version(target: Path) -> None:
    syncs = select_syncs(PROJECT, target, Selection()).syncs
    assert {spec.name: (spec.object, spec.file, model.materialized) for model, spec in syncs} == {
        "people.facts": ("visitor", "models/models.yml", "table"),
        "people.agent": ("visitor", "models/models.yml", "table"),
        "clicks": ("track_event", "models/models.yml", "table"),
        "passing": ("visitor", "models/models.yml", "ephemeral"),
        "versioned_v1": ("account", "models/models.yml", "table"),
        "versioned_v2": ("account", "models/models.yml", "table"),
        "a_seed": ("visitor", "models/models.yml", "seed"),
        "a_snapshot": ("visitor", "snapshots/a_snapshot.sql", "snapshot"),
    }
    fields = {spec.name: spec.fields for _, spec in syncs}
    assert fields["people.facts"] == fields["passing"] == fields["a_seed"] == fields["a_snapshot"] == PLAN
    assert fields["people.agent"] == (Field("plan", Column("plan"), group="agent"),)
    # Mapped at the column, and inherited by each version of the model.
    assert fields["versioned_v1"] == fields["versioned_v2"] == PLAN
    clicks = next(spec for _, spec in syncs if spec.name == "clicks")
    assert clicks.event is not None
    assert clicks.event.properties == (Field("Größe 🚀", Column("plan")),)
    assert {model.relation.name for model, _ in syncs} >= {None, '"memory"."main"."people"'}
    snapshots = {spec.name: model.current_rows for model, spec in syncs if model.current_rows}
    assert snapshots == {"a_snapshot": CurrentRows()}

    # dbt's selectors work on every version.
    for select, names in (("tag:daily", ["people.agent", "people.facts"]), ("clicks", ["clicks"])):
        syncs = select_syncs(PROJECT, target, Selection(select=(select,))).syncs
        assert sorted(spec.name for _, spec in syncs) == names
