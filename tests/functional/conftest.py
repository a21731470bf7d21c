"""dbt projects built once a run, copied for each test; a sandbox for each test; the environment of a user."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import segments
from cloud_server import DbtCloud, build_artifacts
from endpoint import Endpoint
from harness import (
    PEOPLE,
    PEOPLE_ROWS,
    SMALL_PROFILE,
    Project,
    SmallProject,
    build_once,
    enter,
    environment_of,
    project_yaml,
    quick_dbt,
    run_dbt,
    without_dbt_or_pendo,
    write_files,
)

from dbt_pendo.sandbox import Sandbox

SMALL = {"SMALL_DUCKDB_PATH": "small.duckdb"}


@pytest.fixture(scope="session", autouse=True)
def macros() -> Iterator[None]:
    with quick_dbt():
        yield


@pytest.fixture(autouse=True)
def user_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of a user, with a home of one's own."""
    # Missing rows come again at once; the sample project shows the default.
    settings = {"PENDO_RETRIES": "1", "PENDO_MISSING_RETRY": "0", "PENDO_TIMEOUT": "20"}
    without_dbt_or_pendo(monkeypatch, tmp_path, **settings)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A stand-in for Pendo, and the environment that points at it."""
    with Sandbox(apps=["web"]) as running:
        for name, value in environment_of(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def written(sandbox: Sandbox) -> Callable[[], set[str]]:
    """The visitors that a sync has written, of those whose plan was old."""
    return lambda: {name for name, held in sandbox.visitors.items() if held["custom"] == {"plan": "new"}}


@pytest.fixture(scope="session")
def built_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        files = {"profiles.yml": SMALL_PROFILE, "models/template.sql": "select 1 as id"}
        write_files(folder, {"dbt_project.yml": project_yaml("small"), **files})
        run_dbt("build", cwd=folder, env=SMALL)

    return build_once(tmp_path_factory, "small", build)


@pytest.fixture
def project(built_small: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project without an annotated model yet, beside an empty sandbox."""
    return enter(built_small, tmp_path / "small", monkeypatch, SmallProject)


@pytest.fixture
def plans(sandbox: Sandbox) -> Sandbox:
    """A Pendo with a field `plan` for visitors and accounts, and no record yet."""
    for kind in ("visitor", "account"):
        sandbox.add_field(kind, "custom", "plan", "string")
    return sandbox


@pytest.fixture
def people(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """A project with one sound sync, `people`, of two visitors Pendo knows."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a", "b"])
    project.model("people", PEOPLE, PEOPLE_ROWS)
    return project


@pytest.fixture
def trial(project: SmallProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project whose sync `trial` has filled a segment with v0 to v9; Pendo has forgotten by which requests."""
    project.model("trial", segments.TRIAL, segments.ids(10))
    project.sync()
    assert segments.members(sandbox) == segments.names(10)
    sandbox.forget_requests()
    return project


@pytest.fixture(scope="session")
def built_in_cloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once(tmp_path_factory, "in_cloud", build_artifacts)


@pytest.fixture
def in_cloud(built_in_cloud: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without a target folder, the tables that dbt Cloud built, and a Pendo that knows the visitors."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a", "b", "c", "d"])
    return enter(built_in_cloud, tmp_path / "in_cloud", monkeypatch, Project)


@pytest.fixture
def dbt_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[DbtCloud]:
    """An account of dbt Cloud without a run yet, and the environment that points at it."""
    with DbtCloud() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """A receiver of alerts, and the environment that points at it."""
    receiver = Endpoint()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PENDO_ALERT_URL", receiver.url)
    yield receiver
    receiver.close()


# A project with something wrong with almost every model.

ODD_MODELS = {
    "good": "select 'a' as id, 'pro' as plan",
    "also_good": "select * from {{ ref('good') }}",
    "broken": "select error('no luck today') as id, 'pro' as plan",
    "after_broken": "select * from {{ ref('broken') }}",
    "unsound": "select 'a' as id, cast(null as varchar) as plan",
    "passing": "{{ config(materialized='ephemeral') }} select 'a' as id, 'pro' as plan",
    "unbuilt": "select 'a' as id, 'pro' as plan",
    "a_view": "{{ config(materialized='view', alias='renamed_view', schema='marts') }} select 'a' as id, 'pro' as plan",
    "versioned_v1": "select 'a' as id, 'v1' as plan",
    "versioned_v2": "select 'a' as id, 'v2' as plan",
    "off": "{{ config(enabled=false) }} select 'a' as id, 'pro' as plan",
}
ODD_YAML = """\
models:
  - name: good
    config: &pendo
      tags: [daily]
      meta: {pendo: {object: visitor, visitor_id: id, fields: {plan: plan}}}
  - name: also_good
    meta: {pendo: {object: visitor, visitor_id: id, fields: {plan: plan}}}
  - {name: broken, config: *pendo}
  - {name: after_broken, config: *pendo}
  - name: unsound
    config: *pendo
    columns: [{name: plan, data_tests: [not_null]}]
  - {name: passing, config: *pendo}
  - {name: unbuilt, config: *pendo}
  - {name: a_view, config: *pendo}
  - {name: "off", config: *pendo}
  - name: versioned
    latest_version: 2
    config: *pendo
    versions: [{v: 1}, {v: 2}]
seeds:
  - {name: a_seed, config: *pendo}
"""
ODD_SNAPSHOT = """\
{% snapshot a_snapshot %}
{{ config(target_schema='main', unique_key='id', strategy='check', check_cols='all',
          meta={'pendo': {'object': 'visitor', 'visitor_id': 'id', 'fields': {'plan': 'plan'}}}) }}
select * from {{ ref('good') }}
{% endsnapshot %}
"""
ODD_SELECTORS = """\
selectors:
  - name: the_good
    definition:
      union:
        - {method: fqn, value: good}
        - {method: fqn, value: also_good}
"""


@pytest.fixture(scope="session")
def built_odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        files = {f"models/{name}.sql": sql for name, sql in ODD_MODELS.items()}
        files |= {"dbt_project.yml": project_yaml("odd"), "profiles.yml": SMALL_PROFILE, "selectors.yml": ODD_SELECTORS}
        files |= {"models/_models.yml": ODD_YAML, "snapshots/a_snapshot.sql": ODD_SNAPSHOT}
        write_files(folder, {**files, "seeds/a_seed.csv": "id,plan\na,seeded\n"})
        run_dbt("build --exclude unbuilt", cwd=folder, env=SMALL, status=1)

    return build_once(tmp_path_factory, "odd", build)


@pytest.fixture
def odd(built_odd: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project after a `dbt build` that failed in places, beside a Pendo that knows the visitor `a`."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a"])
    return enter(built_odd, tmp_path / "odd", monkeypatch, Project)
