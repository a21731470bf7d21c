"""What each version of dbt makes of one project is the same to us; see tests/projects/annotated."""

import shutil
from pathlib import Path

import pytest

from dbt_pendo.commands.select import Selection, select_syncs
from dbt_pendo.mapping.spec import Column, CurrentRows, Field

PROJECT = Path(__file__).resolve().parents[1] / "projects" / "annotated"
MANIFESTS = sorted((PROJECT / "manifests").glob("*.json"))
PLAN = (Field("plan", Column("plan")),)


@pytest.fixture(params=MANIFESTS, ids=lambda path: path.stem)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shutil.copy(request.param, tmp_path / "manifest.json")
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
