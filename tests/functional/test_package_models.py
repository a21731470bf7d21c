"""The dbt package's sources and models in a project of a user's, with real dbt.

Before the first sync, on every warehouse: tests/warehouse/whole_path.py.
"""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from harness import REPOSITORY, SMALL_PROFILE, Project, build_once, enter, project_yaml, refuse, write_files

from dbt_pendo.sandbox import Sandbox
from dbt_pendo.warehouse.adapter import Connection, load_adapter
from dbt_pendo.warehouse.ledger import ADDED_COLUMNS
from dbt_pendo.warehouse.names import table_name
from dbt_pendo.warehouse.session import Session

LONG = "people_whose_model_has_a_name_that_no_warehouse_takes_as_it_is"
PROJECT = project_yaml(
    "watched",
    """\
models: {watched: {+materialized: table}}
on-run-end: "{{ dbt_pendo.publish(results) }}"
vars:
  dbt_pendo:
    models: true
    ledger: accounts.facts""",
)
VISITOR = "{object: visitor, visitor_id: id, fields: {plan: plan}}"
YAML = f"""\
models:
  - {{name: users, config: {{meta: {{pendo: {VISITOR}}}}}}}
  - name: accounts
    config:
      meta:
        pendo:
          - {{name: facts, object: account, account_id: id, fields: {{plan: plan}}}}
          - {{name: never_synced, enabled: false, object: account, account_id: id, fields: {{plan: plan}}}}
  - {{name: {LONG}, config: {{meta: {{pendo: {VISITOR}}}}}}}
  - {{name: members, config: {{meta: {{pendo: {{object: segment, segment: Members, visitor_id: id}}}}}}}}
  - {{name: other, config: {{meta: {{owner: nobody}}}}}}
"""
MODELS = ("users", "accounts", LONG, "members", "other")


class Watched(Project):
    """A project that has installed the dbt package."""

    def artifact(self, name: str) -> Any:
        return json.loads((self.target / f"{name}.json").read_text(encoding="utf-8"))

    def statuses_of(self) -> dict[str, str]:
        """How each node of the last dbt command ended."""
        return {one["unique_id"].split(".")[2]: one["status"] for one in self.artifact("run_results")["results"]}

    def by_day(self) -> dict[tuple[Any, str], dict[str, Any]]:
        return {(row["ran_on"], row["sync"]): row for row in self.rows("main.pendo_delivery_by_day")}

    def held(self) -> dict[tuple[str, str, str], tuple[int, int | None, str]]:
        """How many rows are held by sync, status and reason; the most attempts and an example."""
        return {
            (row["sync"], row["status"], row["reason"]): (row["row_count"], row["most_attempts"], row["example_key"])
            for row in self.rows("main.pendo_held_rows")
        }


@pytest.fixture(scope="session")
def built_watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        files = {f"models/{name}.sql": "select 'v1' as id, 'pro' as plan" for name in MODELS}
        files |= {"dbt_project.yml": PROJECT, "profiles.yml": SMALL_PROFILE, "models/_models.yml": YAML}
        write_files(folder, {**files, "packages.yml": json.dumps({"packages": [{"local": str(REPOSITORY)}]})})
        Watched(folder, folder / "small.duckdb").dbt("deps", "build")

    return build_once(tmp_path_factory, "watched", build)


@pytest.fixture
def watched(built_watched: Path, tmp_path: Path, plans: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Watched:
    plans.add_visitors([f"v{at}" for at in range(10)])
    plans.add_accounts([f"a{at}" for at in range(10)])
    return enter(built_watched, tmp_path / "watched", monkeypatch, Watched, without=["logs"])


def test_delivery_by_day_and_rows_held_by_reason(watched, sandbox):
    def users(more: str = "") -> str:
        return f"select 'v' || i as id, 'pro' as plan from range(10) r(i) {more}"

    def refuse_two() -> None:
        for visitor in ("v3", "v4"):
            refuse(sandbox, visitor, f"visitor {visitor}: no such plan", path="/visitor/custom/")

    unknown = "union all select * from (values ('x1', 'pro'), ('x2', 'pro')) rows(id, plan)"
    watched.build("users", users(f"{unknown} union all select null, 'pro'"))
    watched.build("accounts", "select 'a' || i as id, 'pro' as plan from range(10) r(i)")
    refuse_two()
    runs = [watched.sync(status=1).json["results"]]
    watched.sql("update main_pendo.pendo_runs set logged_at = logged_at - interval 1 day")

    # A day later v4 is taken, v5 is there twice, and an account is gone from Pendo.
    sandbox.clear_faults()
    refuse(sandbox, "v3", "v3", path="/visitor/custom/")
    watched.build("users", users(f"{unknown} union all select 'v5', 'free'"))
    watched.build("accounts", "select 'b' || i as id, 'pro' as plan from range(2) r(i)")
    runs.append(watched.sync(status=1).json["results"])
    watched.dbt("build --select package:dbt_pendo")
    assert set(watched.statuses_of().values()) == {"success", "pass"}

    today = watched.sql("select max(cast(logged_at as date)) from main_pendo.pendo_runs")[0][0]
    yesterday = today - datetime.timedelta(days=1)
    outcomes = ("runs", "delivered", "missing", "rejected")
    found = watched.by_day()
    assert {day_and_sync: [row[name] for name in outcomes] for day_and_sync, row in found.items()} == {
        (day, result["sync"]): [1, *(result[name] for name in outcomes[1:])]
        for day, results in zip((yesterday, today), runs, strict=True)
        for result in results
    }
    # Ten who left the model were noted, and two are not known to Pendo; then nothing was to be delivered.
    rates = {(yesterday, "users"): 8 / 12, (today, "accounts.facts"): 10 / 12, (today, LONG): None}
    assert {at: found[at]["delivery_rate"] for at in rates} == {at: pytest.approx(rate) for at, rate in rates.items()}
    unknown_id = "Pendo does not know this id"
    assert watched.held() == {
        ("users", "missing", unknown_id): (2, 2, "x1"),
        ("users", "rejected", "HTTP 400: <key>"): (1, 2, "v3"),
        ("users", "invalid", "2 rows have this key"): (1, None, "v5"),
        ("accounts.facts", "missing", unknown_id): (2, 1, "b0"),
    }

    # v5 is again as it was delivered, of which the ledger has no entry; and one reason is shared by two rows.
    sandbox.clear_faults()
    refuse_two()
    watched.build("users", f"select id, if(id = 'v4', 'free', plan) as plan from ({users()}) r")
    watched.sync(status=1)
    assert watched.statuses("users")["v5"] == "invalid"
    # Runs that delivered nothing are counted as well; and a ledger of an earlier version is read.
    for status in ("error", "blocked", "interrupted", "skipped", "skipped"):
        another = f"select * replace ('{status}' as status, 'r-' || random() as run_id) from main_pendo.pendo_runs"
        latest = f"where sync = '{LONG}' order by logged_at desc limit 1"
        watched.sql(f"insert into main_pendo.pendo_runs {another} {latest}")
    for column in ADDED_COLUMNS:
        watched.sql(f"alter table main_pendo.accounts__facts__ledger drop column {column}")
    watched.dbt("run --select package:dbt_pendo")
    # x1 and x2 have left the model; the ledger does not say so.
    assert {key[1:]: counts for key, counts in watched.held().items() if key[0] == "users"} == {
        ("missing", unknown_id): (2, 2, "x1"),
        ("rejected", "HTTP 400: visitor <key>: no such plan"): (2, 3, "v3"),
    }
    by_day = watched.by_day()
    for sync, counts in (("users", (2, 0, 0)), (LONG, (7, 3, 2))):
        assert tuple(by_day[today, sync][name] for name in ("runs", "failed_runs", "skipped_runs")) == counts


def test_sources_and_columns_are_documented_and_their_tests_find_what_must_not_be(watched):
    watched.sync()
    watched.dbt("docs generate")
    manifest, catalog = watched.artifact("manifest"), watched.artifact("catalog")
    documented = {
        source["identifier"]: {name: column["description"] for name, column in source["columns"].items()}
        for source in manifest["sources"].values()
        if source["description"]
    }
    there = {
        table["metadata"]["name"]: set(table["columns"])
        for name, table in catalog["sources"].items()
        if name.startswith("source.dbt_pendo.dbt_pendo.")
    }
    ours = {"pendo_runs", "pendo_segments", "pendo_builds", "pendo_subscriptions"}
    assert set(there) == {"accounts__facts__ledger", *ours}
    assert {table: set(documented[table]) for table in there} == there
    assert all(all(documented[table].values()) for table in there)
    # So are the models'.
    models = {name: node for name, node in manifest["nodes"].items() if name.startswith("model.dbt_pendo.")}
    for name, node in models.items():
        assert node["description"]
        assert all(column["description"] for column in node["columns"].values())
        if name in catalog["nodes"]:
            assert list(node["columns"]) == list(catalog["nodes"][name]["columns"])

    ledger = "main_pendo.users__ledger"
    watched.sql(
        "insert into main_pendo.pendo_runs from main_pendo.pendo_runs where sync = 'users'; "
        "update main_pendo.pendo_runs set status = 'fine' where sync = 'members'; "
        f"insert into {ledger} by name select * replace (null as record_key) from {ledger}"
    )
    watched.dbt("build --select package:dbt_pendo", status=1)
    assert {name for name, status in watched.statuses_of().items() if status == "fail"} == {
        "pendo_runs_have_each_sync_once",
        "pendo_runs_end_in_a_known_status",
        "not_null_stg_pendo_ledger_record_key",
    }


def test_they_are_in_the_schema_that_is_set_and_nothing_is_built_unless_it_is_asked_for(watched):
    settings = watched.folder / "dbt_project.yml"

    def schemas() -> set[str]:
        return {source["schema"] for source in watched.artifact("manifest")["sources"].values()}

    assert schemas() == {"main_pendo"}
    settings.write_text(f"{PROJECT}    schema: elsewhere\n")
    watched.sync("--select", "users")
    watched.dbt("run --select package:dbt_pendo")
    assert ("pendo_runs" in watched.tables("elsewhere"), schemas()) == (True, {"elsewhere"})
    assert len(watched.rows("main.pendo_delivery_by_day")) == 1
    # So it is from the run log of an earlier version.
    for column in ("target", "pendo_host", "deleted", "cleared"):
        watched.sql(f"alter table elsewhere.pendo_runs drop column {column}")
    watched.dbt("run --select package:dbt_pendo")
    assert len(watched.rows("main.pendo_delivery_by_day")) == 1
    settings.write_text(PROJECT.replace("models: true", "region: eu"))
    watched.dbt("build --select other package:dbt_pendo", DBT_PENDO_SCHEMA="bookkeeping")
    assert [name for name in watched.statuses_of() if "pendo" in name] == []
    assert schemas() == {"bookkeeping"}


def test_a_ledger_has_the_name_that_syncs_give_it(watched):
    names = ("users", "users.facts", "p" * 50, "p" * 51, "p" * 48 + ".facts", LONG)
    names += ("größe", "ü" * 25, "ü" * 26, "p" * 40 + "ü" * 20, "p" * 41 + "ü" * 20, "🚀" * 13)
    with load_adapter(Connection(watched.folder, watched.folder)) as (adapter, credentials):
        session = Session(adapter, credentials)
        given = [session.sql("pendo_ledger_name", sync=name) for name in names]
    assert given == [table_name(name, "ledger") for name in names]
