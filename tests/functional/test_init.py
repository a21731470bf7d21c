"""`dbt-pendo init`: what it prints is a mapping that dbt, check and sync take as it is."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from harness import Ended, Project, add_fields, custom, dbt_build, epoch_ms, expect_in, run_process, writes

from dbt_pendo.sandbox import Sandbox

MODELS = {
    "dim_users": """\
select 'u-1' as user_id, 'pro' as plan_name, 3 as seats, true as is_admin, timestamp '2026-01-02 03:04:05' as signed_up,
       'a@example.com' as email, 1 as "Größe, ca.", ['x'] as tags, {'a': 1} as settings, 'boss' as role,
       '2026-01-05' as flag
""",
    "org_facts": "select 'o-1' as org_key, 'o-1' as org_id, 'acme' as name, 12.5 as mrr, '1 High Street' as address",
    "fct_invoice_payments": """\
select 'i-1' as invoice_id, 'u-1' as user_id, 'o-1' as org_id, current_date as day, current_timestamp as paid_at,
       9.5 as amount, '10.0.0.1' as ip
""",
    "usage": """\
select 'e-1' as event_id, 'opened' as event_name, 'u-1' as user_id, current_timestamp as occurred_at, 'f' as "on",
       now() as loaded_at
""",
    "trials": "select 'u-1' as visitor_id",
    "versioned_v1": "select 'u-1' as user_id, 'v1' as plan_name",
    "versioned_v2": "select 'u-1' as user_id, 'v2' as plan_name",
    "passing": "{{ config(materialized='ephemeral') }} select 'a' as user_id",
    "done": "{{ config(meta={'pendo': {'object': 'segment', 'segment': 's', 'visitor_id': 'user_id'}}) }} "
    "select 'a' as user_id",
    "done_at_column": "select 'a' as user_id, 'pro' as plan_name",
    "keyed": "{{ config(unique_key='person_key') }} select 'k-1' as person_key, 'pro' as plan_name",
    "nothing": "select 'x' as email, 1 as n",
}
YAML: dict[str, Any] = {
    "models": [
        {
            "name": "dim_users",
            "config": {"meta": {"owner": "somebody"}},
            "columns": [{"name": "user_id", "data_tests": ["unique", "not_null"]}, {"name": "plan_name"}],
        },
        {
            "name": "usage",
            "columns": [
                *({"name": name, "data_type": "varchar"} for name in ("event_id", "event_name", "user_id", "on")),
                {"name": "occurred_at", "data_type": "timestamp"},
            ],
        },
        {"name": "passing", "columns": [{"name": "user_id", "data_type": "varchar"}]},
        {"name": "versioned", "latest_version": 2, "versions": [{"v": 1}, {"v": 2}]},
        {"name": "done_at_column", "columns": [{"name": "plan_name", "config": {"meta": {"pendo": True}}}]},
    ]
}


class Shop(Project):
    """A built project most of whose models have no mapping yet."""

    def init(self, *args: str, status: int = 0) -> Ended:
        return self.run("init", *args).expect(status)

    def paste(self, printed: str) -> None:
        """Puts a printed ``config`` into the model's entry, as the comment above it asks a user to."""
        path = self.folder / "models" / "models.yml"
        properties = yaml.safe_load(path.read_text(encoding="utf-8"))
        (model,) = yaml.safe_load(printed)["models"]
        (entry,) = [entry for entry in properties["models"] if entry["name"] == model["name"]]
        for version in model.get("versions", []):
            (into,) = [into for into in entry["versions"] if into["v"] == version["v"]]
            into.update(version)
        if "config" in model:
            entry.setdefault("config", {}).setdefault("meta", {}).update(model["config"]["meta"])
        path.write_text(yaml.safe_dump(properties, sort_keys=False, allow_unicode=True), encoding="utf-8")


def pendo_of(printed: str) -> dict[str, Any]:
    """The printed ``meta.pendo``."""
    (entries,) = yaml.safe_load(printed).values()
    (entry,) = entries
    return entry.get("versions", [entry])[0]["config"]["meta"]["pendo"]


@pytest.fixture
def shop(copy_of: Callable[..., Shop], sandbox: Sandbox) -> Shop:
    """The project, beside a Pendo that knows some of the fields and all of the ids."""
    add_fields(sandbox, plan_name="string", email="string", flag="time", is_admin="time")
    sandbox.add_field("visitor", "custom", "signedup", "time", display_name="Signed up")
    sandbox.add_field("visitor", "custom", "groesse", "integer", display_name="Größe, ca.")
    sandbox.add_field("visitor", "agent", "role", "string")
    sandbox.add_visitors(["u-1", "k-1"])
    sandbox.add_accounts(["o-1"])
    files = {f"models/{name}.sql": sql for name, sql in MODELS.items()}
    files |= {"models/models.yml": yaml.safe_dump(YAML, sort_keys=False)}
    files |= {"seeds/raw_users.csv": "user_id,plan_name\nu-1,seeded\n"}
    return copy_of(Shop, "shop", dbt_build("shop", files))


def test_a_mapping_with_a_key(shop, sandbox):
    if "primary_key" in shop.manifest()["nodes"]["model.shop.dim_users"]:
        why, key = "its key is `user_id`", "the model's primary key"
    else:
        # dbt 1.8 does not tell.
        why, key = "by the model's name", "by its name"
    ended = shop.init("dim_users")
    assert ended.stderr == ""
    expected = f"""\
# A starter for dim_users, made by `dbt-pendo init`. Read it through: what is guessed says so.
# Its columns are those of its table.
# Columns are mapped to those of Pendo's fields that have the same key or display name.
# models/models.yml has an entry of dim_users, and dbt takes one: paste `config` into that.
# If it has a `meta` already, `pendo` goes there. Then `dbt build` and `dbt-pendo check`.
models:
  - name: dim_users
    config:
      meta:
        pendo:
          object: visitor      # guessed: {why}
          visitor_id: user_id  # guessed: {key}; must be the id that your product gives to Pendo
          # create_fields: true  # creates fields that Pendo lacks, with the first sync
          fields:
            plan_name: plan_name  # varchar(256); Pendo: string
            signedup: signed_up   # timestamp; Pendo: Signed up, time
            groesse: Größe, ca.   # integer; Pendo: Größe, ca., integer
            flag: flag            # varchar(256); Pendo: time
            # Pendo has no such fields yet:
            # seats: seats  # integer
            # Pendo has them as agent fields, which its snippet overwrites with the next page view:
            # role: {{column: role, group: agent}}  # varchar(256)
            # To be decided:
            # is_admin: is_admin  # column is_admin is boolean, which the time field is_admin cannot hold.
            # Perhaps personal data; uncomment what Pendo should have:
            # email: email  # varchar(256); Pendo: string
            # Lists, structures and bytes, which most fields cannot hold:
            # tags: tags          # varchar[]
            # settings: settings  # struct(a integer)
"""
    assert ended.stdout == expected
    assert writes(sandbox.requests) == []


def test_a_mapping_without_a_key(shop, sandbox, monkeypatch):
    monkeypatch.delenv("PENDO_INTEGRATION_KEY")
    printed = shop.init("org_facts").stdout
    expect_in(
        printed,
        "\n# Pendo was not asked which fields it has: PENDO_INTEGRATION_KEY is not set.\n",
        "\n# Save it where dbt reads YAML, as models/org_facts.yml for example.",
        "\n          object: account     # guessed: it has `org_id`\n",
        "\n            mrr: mrr          # decimal(3,1)\n",
        "\n            # address: address  # varchar(256)\n",
    )
    assert pendo_of(printed)["fields"] == {"org_key": "org_key", "name": "name", "mrr": "mrr"}
    # Of columns that would be one field the first is taken.
    shop.sql("""create or replace table main.org_facts as select 'o-1' as org_id, 1 as "net total", 2 as net_total""")
    printed = shop.init("org_facts").stdout
    assert pendo_of(printed)["fields"] == {"net_total": "net total"}
    assert "# To be decided:\n            # net_total: net_total  # integer\n" in printed
    assert sandbox.requests == []


def test_guesses(shop):
    """Objects, keys, fields to create, what nothing can be guessed for, and the version that is mapped."""
    parents = pendo_of(shop.init("org_facts", "--object", "parent_account").stdout)
    assert (parents["object"], parents["parent_account_id"]) == ("parent_account", "org_id")
    assert "visitor_id: person_key  # guessed: the model's primary key" in shop.init("keyed").stdout
    printed = shop.init("org_facts").stdout
    assert "\n          create_fields: true  # Pendo has none of these fields yet" in printed
    assert set(pendo_of(printed)["fields"]) == {"org_key", "name", "mrr"}
    printed = shop.init("nothing", "--object", "track_event").stdout
    expect_in(printed, *(f"\n          # {key}: " for key in ("event_id", "visitor_id", "timestamp")))
    assert pendo_of(printed) == {"object": "track_event", "event": "Nothing", "properties": {"n": "n"}}
    (model,) = yaml.safe_load(shop.init("versioned").stdout)["models"]
    assert (model["versions"][0]["v"], "config" in model) == (2, False)
    assert yaml.safe_load(shop.init("versioned.v1").stdout)["models"][0]["versions"][0]["v"] == 1


def test_dbt_check_and_sync_take_it_as_it_is(shop, sandbox):
    for model in ("org_facts", "fct_invoice_payments", "trials", "raw_users"):
        file = shop.folder / ("seeds" if model == "raw_users" else "models") / f"{model}.yml"
        assert f"Wrote {file}" in shop.init(model, "--output", str(file)).stdout
    for model in ("dim_users", "usage", "versioned"):
        shop.paste(shop.init(model).stdout)
    shop.dbt("parse --warn-error")
    syncs = {"org_facts", "fct_invoice_payments", "trials", "raw_users", "dim_users", "usage", "versioned_v2"}
    # Two are no starters of ours.
    started = ("--exclude", "done", "done_at_column", "raw_users", "versioned")
    assert shop.check(*started[:3]).statuses == dict.fromkeys(syncs, "success")
    assert {result["delivered"] for result in shop.sync(*started).json["results"]} == {1}
    assert custom(sandbox.accounts) == {"o-1": {"org_key": "o-1", "name": "acme", "mrr": 12.5}}
    fields = {"plan_name": "pro", "groesse": 1}
    fields |= {"signedup": epoch_ms("2026-01-02T03:04:05"), "flag": epoch_ms("2026-01-05")}
    assert custom(sandbox.visitors)["u-1"] == fields
    paid, opened = sorted(sandbox.events, key=lambda event: str(event["event"]))
    assert (paid["event"], paid["accountId"], paid["properties"].keys()) == (
        "Invoice payments",
        "o-1",
        {"day", "amount"},
    )
    assert (opened["event"], opened["properties"]) == ("opened", {"on": "f"})
    assert sorted(segment["name"] for segment in sandbox.segments.values()) == ["Trials"]


def test_columns_that_the_project_describes_need_no_warehouse(shop, sandbox, monkeypatch):
    shop.database.unlink()
    monkeypatch.setenv("DBT_PROFILES_DIR", str(shop.folder / "nowhere"))
    printed = shop.init("usage").stdout
    assert "# Its columns are those that models/models.yml describes.\n" in printed
    assert pendo_of(printed)["properties"] == {"on": "on"}
    # Pendo has no schema of events.
    assert sandbox.requests == []
    # Where types are not said, the warehouse is asked; and done without if it cannot be.
    printed = shop.init("dim_users").stdout
    assert "of what type they are is not known. The profile in" in printed
    fields = {"plan_name": "plan_name"}
    assert pendo_of(printed) == {"object": "visitor", "visitor_id": "user_id", "fields": fields}
    assert "The profile in" in shop.init("org_facts", status=2).stderr


def test_a_table_that_is_not_there(shop):
    shop.sql("drop table main.org_facts; drop table main.dim_users")
    stderr = shop.init("org_facts", status=2).stderr
    expect_in(stderr, "is not in the warehouse", "dbt build --select org_facts")
    assert "is not in the warehouse" in shop.init("dim_users").stdout
    assert "passing is ephemeral: there is no table" in shop.init("passing", status=2).stderr


def test_names_of_models(shop):
    """As in dbt's `ref`, the project's own comes first."""
    manifest = shop.manifest()
    ours = manifest["nodes"]["model.shop.org_facts"]
    for package, name in (("bought", "org_facts"), ("bought", "both"), ("rented", "both")):
        node = {"unique_id": f"model.{package}.{name}", "package_name": package, "name": name}
        manifest["nodes"][node["unique_id"]] = ours | node
    shop.write_manifest(manifest)
    for unique_id, names in {
        "model.shop.dim_users": ["dim_users", "shop.dim_users", "model.shop.dim_users"],
        "model.shop.versioned.v2": ["versioned", "shop.versioned"],
        "model.shop.versioned.v1": ["versioned_v1", "versioned.v1", "shop.versioned.v1"],
        "seed.shop.raw_users": ["raw_users", "seed.shop.raw_users"],
        "model.shop.org_facts": ["org_facts"],
        "model.bought.org_facts": ["bought.org_facts"],
    }.items():
        assert {shop.init(name, "--json").json["results"][0]["unique_id"] for name in names} == {unique_id}
    assert "model.bought.both or model.rented.both" in shop.init("both", status=2).stderr


def test_models_that_cannot_be_mapped(shop, monkeypatch, sandbox):
    """None of that name, one that is mapped already, and no answer from Pendo."""
    expect_in(shop.init("dim_user", status=2).stderr, "There is no model `dim_user` in", "Did you mean `dim_users`?")
    assert "dbt parse" in shop.init("model.shop.off", status=2).stderr
    for model in ("done", "done_at_column"):
        assert f"{model} carries meta.pendo already" in shop.init(model, status=2).stderr
    assert sandbox.requests == []
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "wrong")
    assert "refused the integration key" in shop.init("dim_users", status=2).stderr
    shop.manifest_path.unlink()
    assert "There is no manifest.json" in shop.init("dim_users", status=2).stderr


def test_stdout_is_yaml_and_nothing_else(shop):
    ended = run_process("init", "dim_users").expect(0)
    assert (ended.stderr, list(yaml.safe_load(ended.stdout))) == ("", ["models"])
    assert ended.stdout == shop.init("dim_users", "--quiet").stdout
    (result,) = shop.init("dim_users", "--json").json["results"]
    about = {"model": "dim_users", "unique_id": "model.shop.dim_users", "object": "visitor", "status": "success"}
    about |= {"message": None, "yaml": None, "file": None, "entry": "models/models.yml"}
    assert {**result, "yaml": None} == about
    assert result["yaml"] == ended.stdout


def test_a_file_is_never_overwritten(shop):
    file = shop.folder / "models" / "org_facts.yml"
    file.write_text("# mine\n")
    assert f"{file} exists" in shop.init("org_facts", "--output", str(file), status=2).stderr
    assert file.read_text() == "# mine\n"
    # Nor is one written that dbt would refuse beside the entry there is.
    other = shop.folder / "models" / "other.yml"
    stderr = shop.init("dim_users", "--output", str(other), status=2).stderr
    assert "models/models.yml has an entry of dim_users already" in stderr
    assert not other.exists()
    assert "cannot be written" in shop.init("org_facts", "--output", str(file / "x.yml"), status=2).stderr
