"""dbt snapshots: a sync means their current rows, and a sync of events every version of each."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from harness import (
    PEOPLE,
    REPOSITORY,
    SMALL_PROFILE,
    Project,
    build_once,
    custom,
    enter,
    planned,
    project_yaml,
    run_cli,
    sent_events,
    sent_ids,
    write_files,
    writes,
)

from dbt_pendo.sandbox import Sandbox

PROJECT = project_yaml("snapped", 'on-run-end: ["{{ dbt_pendo.publish(results) }}"]')
VERSIONS = {
    **{"name": "versions", "object": "track_event", "event": "Plan changed", "event_id": "dbt_scd_id"},
    **{"visitor_id": "id", "timestamp": "dbt_valid_from", "properties": {"plan": "plan"}},
}
TRIAL = {"name": "trial", "object": "segment", "segment": "Trial", "visitor_id": "id"}
# As dbt 1.8 has them. JSON is Jinja, too.
IN_SQL = {
    name: f"""\
{{% snapshot {name} %}}
{{{{ config(target_schema='main', unique_key='id', strategy='check', check_cols=['plan'], invalidate_hard_deletes=true,
    meta={json.dumps({"pendo": pendo})}) }}}}
select * from {{{{ ref('people_now') }}}}
{{% endsnapshot %}}
"""
    for name, pendo in {"in_sql": PEOPLE, "other": [TRIAL, VERSIONS]}.items()
}
# As dbt 1.9 and newer have them.
IN_YAML: dict[str, dict[str, Any]] = {
    "sentinel": {
        "dbt_valid_to_current": "cast('9999-12-31' as timestamp)",
        "hard_deletes": "invalidate",
        "snapshot_meta_column_names": {"dbt_valid_to": "valid_until"},
    },
    "recorded": {"hard_deletes": "new_record", "snapshot_meta_column_names": {"dbt_is_deleted": "is_gone"}},
}
if version("dbt-core").startswith("1.8."):
    IN_YAML = {}
DAYS = (
    {"a": "free", "b": "free", "c": "free", "d": "free"},
    {"a": "pro", "b": "free"},
    {"a": "pro", "b": "free", "d": "free", "e": "free"},
)
NOW = DAYS[-1]
VISITOR_SYNCS = ("in_sql", *IN_YAML)


class Snapped(Project):
    """Snapshots of one table, taken day by day."""

    def planned(self, *args: str) -> dict[str, tuple[int, int]]:
        """What a plan would send of each sync, and how many of its rows are invalid."""
        results = run_cli("plan", "--json", *args).expect(0).json["results"]
        counts = {result["sync"]: result["planned"] for result in results}
        return {sync: (count["added"] + count["changed"], count["invalid"]) for sync, count in counts.items()}


@pytest.fixture(scope="session")
def built_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once(tmp_path_factory, "snapped", build)


def build(folder: Path) -> None:
    """Takes the snapshots of all days: one changes, two are deleted, one of them comes back."""
    (folder / "dbt_packages").mkdir()
    (folder / "dbt_packages" / "dbt_pendo").symlink_to(REPOSITORY, target_is_directory=True)
    days = [" union all ".join(f"select '{key}' as id, '{plan}' as plan" for key, plan in day.items()) for day in DAYS]
    model = f"{{{{ config(materialized='ephemeral') }}}} {{{{ {json.dumps(days)}[env_var('DAY') | int] }}}}"
    common = {"schema": "main", "unique_key": "id", "strategy": "check", "check_cols": ["plan"]}
    declared = [
        {"name": name, "relation": "ref('people_now')", "config": {**common, **config, "meta": {"pendo": PEOPLE}}}
        for name, config in IN_YAML.items()
    ]
    files = {f"snapshots/{name}.sql": sql for name, sql in IN_SQL.items()}
    files |= {"dbt_project.yml": PROJECT, "profiles.yml": SMALL_PROFILE, "models/people_now.sql": model}
    files |= {"packages.yml": f"packages: [{{local: {json.dumps(str(REPOSITORY))}}}]\n"}
    write_files(folder, {**files, "snapshots/in_yaml.yml": json.dumps({"snapshots": declared})})
    project = Snapped(folder, folder / "small.duckdb")
    for day in range(len(DAYS)):
        project.dbt("snapshot", DAY=str(day))


@pytest.fixture
def snapped(built_days: Path, tmp_path: Path, plans: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Snapped:
    """The project on its last day; Pendo knows everybody."""
    plans.add_visitors(["a", "b", "c", "d", "e"])
    return enter(built_days, tmp_path / "snapped", monkeypatch, Snapped)


def test_the_current_rows_are_planned_and_events_have_every_version(snapped, sandbox):
    assert {result["status"] for result in snapped.check().json["results"]} == {"success"}
    visitors = dict.fromkeys((*VISITOR_SYNCS, "other.trial"), (4, 0))
    # What dbt publishes says as well which rows are current.
    assert snapped.planned() == snapped.planned("--published") == {**visitors, "other.versions": (7, 0)}
    snapped.sync("--select", "other")
    assert sorted((event["visitorId"], event["properties"]["plan"]) for event in sent_events(sandbox.requests)) == [
        *[("a", "free"), ("a", "pro"), ("b", "free"), ("c", "free"), ("d", "free"), ("d", "free"), ("e", "free")]
    ]
    (segment,) = sandbox.segments.values()
    assert sorted(segment["visitors"]) == sorted(NOW)
    # Whose row has ended has left.
    snapped.sync("--select", "in_sql")
    snapped.sql("update main.in_sql set dbt_valid_to = now() where id = 'e'")
    assert snapped.plan("--select", "in_sql").planned == planned(removed=1, unchanged=3)


@pytest.mark.parametrize("sync", VISITOR_SYNCS[1:] or VISITOR_SYNCS)
def test_what_pendo_holds_is_compared_with_the_current_rows(snapped, sandbox, sync):
    snapped.sync("--select", sync)
    held = {key: values for key, values in custom(sandbox.visitors).items() if values}
    assert held == {key: {"plan": plan} for key, plan in NOW.items()}
    # Somebody changes it in Pendo: the current row is sent again, not one of its history.
    sandbox.add_visitors({"a": {"custom": {"plan": "free"}}})
    sandbox.forget_requests()
    found = run_cli("verify", "--select", sync, "--repair")
    assert sent_ids(sandbox.requests, "visitor") == ["a"], found.output
    assert custom(sandbox.visitors)["a"] == {"plan": "pro"}
    for flag in ("--adopt", "--from-pendo"):
        run_cli("reset", "--select", sync, flag).expect(0)
        assert snapped.planned("--select", sync) == {sync: (0, 0)}
    assert "4 equal" in run_cli("verify", "--select", sync).output
    assert "several rows" not in run_cli("row", sync, "a").expect(0).output


def test_a_snapshot_of_which_nothing_says_what_is_current_is_not_synced(snapped, sandbox):
    # As an older package publishes it.
    snapped.sql("delete from main_pendo.pendo_builds where action = 'snapshot'")
    ended = run_cli("sync", "--published").expect(0)
    assert ended.stdout.count("upgrade the package in packages.yml") == len(VISITOR_SYNCS) + 2
    # A table that is no snapshot of dbt's.
    snapped.sql("alter table main.in_sql rename column dbt_valid_to to until")
    run_cli("sync", "--select", "in_sql").expect(2).says(
        "snapshots/in_sql.sql: in_sql: ",
        '"main"."in_sql" has no column `dbt_valid_to`, which says until when a row of a snapshot',
        "snapshot_meta_column_names",
    )
    assert writes(sandbox.requests) == []
