"""`dbt-pendo exposures`: what it writes, real dbt reads; what others wrote stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import PEOPLE, SMALL_PROFILE, Ended, Project, expect_in, project_yaml, write_files

from dbt_pendo.sandbox import Sandbox

PROJECT = project_yaml("shop", "model-paths: [marts, more_marts]\nmodels: {+materialized: table}")
# Names that YAML, Jinja and Markdown would make something else of.
ODD_NAME = "{{ 1 / 0 }} {% if %} {# Größe: 'x' \"y\" #} 🚀"
ODD_SEGMENT = "on: {{{ true }}} # 1"
MODELS = {
    **dict.fromkeys(("people", "teams", "secret", "plain"), "select 'a' as id, 'pro' as plan"),
    "clicks": "select 'e1' as id, 'a' as who, timestamp '2026-05-01' as done_at, 'x' as page",
    "trials": "select 'a' as id",
    **{f"versioned_v{version}": f"select 'a' as id, 'v{version}' as plan" for version in (1, 2)},
}
MAPPED: dict[str, Any] = {"meta": {"pendo": PEOPLE}}
TEAMS = [
    {
        **{"name": "facts-1", "object": "account", "account_id": {"parent": "id", "child": "id"}, "mode": "upsert"},
        "on_removed": "clear",
        "fields": {"plan": {"column": "plan", "group": "agent"}, "source": {"value": True}},
    },
    {"name": "off", "enabled": False, "object": "account", "account_id": "id", "mode": "upsert"},
]
CLICKS = {
    **{"object": "track_event", "event": f"{{% raw %}}{ODD_NAME}{{% endraw %}}", "event_id": "id", "visitor_id": "who"},
    **{"account_id": {"value": "acme"}, "timestamp": "done_at", "properties": {"on": "page"}},
}
TRIALS = {"object": "segment", "segment": f"{{% raw %}}{ODD_SEGMENT}{{% endraw %}}", "visitor_id": "id"}
YAML: dict[str, Any] = {
    "groups": [{"name": "finance", "owner": {"name": "Finance", "email": "finance@example.com"}}],
    "models": [
        {"name": "people", "config": MAPPED},
        {"name": "teams", "config": {"group": "finance", "meta": {"pendo": TEAMS}}},
        {"name": "secret", "config": {"group": "finance", "access": "private", **MAPPED}},
        {"name": "clicks", "config": {"meta": {"pendo": CLICKS}}},
        {"name": "trials", "config": {"meta": {"pendo": TRIALS}}},
        {"name": "versioned", "latest_version": 2, "config": MAPPED, "versions": [{"v": 1}, {"v": 2}]},
    ],
    "seeds": [{"name": "a_seed", "config": MAPPED}],
}
SNAPSHOT = """\
{% snapshot a_snapshot %}
{{ config(target_schema='main', unique_key='id', strategy='check', check_cols='all',
          meta={'pendo': {'object': 'visitor', 'visitor_id': 'id', 'fields': {'plan': 'plan'}}}) }}
select * from {{ ref('plain') }}
{% endsnapshot %}
"""
BOUGHT = """\
{{ config(meta={'pendo': {'object': 'parent_account', 'parent_account_id': 'id', 'on_removed': 'keep',
                          'fields': {'plan': 'plan'}}}) }}
select 'a' as id, 'pro' as plan
"""
HUMANS = """\
exposures:
  - name: weekly   # ours
    type: dashboard
    depends_on: [ref('people')]
    owner: {name: somebody}
"""
DEPENDS_ON = {
    **{"pendo_a_seed": "seed.shop.a_seed", "pendo_a_snapshot": "snapshot.shop.a_snapshot"},
    "pendo_bought_accounts": "model.bought.bought_accounts",
    **{"pendo_clicks": "model.shop.clicks", "pendo_people": "model.shop.people"},
    **{"pendo_teams__facts_1": "model.shop.teams", "pendo_trials": "model.shop.trials"},
    **{"pendo_versioned_v1": "model.shop.versioned.v1", "pendo_versioned_v2": "model.shop.versioned.v2"},
}
OWNER = "Data {{ team }} <data@example.com>"
FILE = Path("marts") / "pendo_exposures.yml"


# With it dbt holds properties against the schema of its next generation, which it else does for some adapters only.
STRICT = {"DBT_ENV_PRIVATE_RUN_JSONSCHEMA_VALIDATIONS": "true"}


class Lineage(Project):
    """A project with a sync of each kind, and an exposure that a human wrote."""

    def exposures(self, *args: str, status: int = 0) -> Ended:
        return self.run("exposures", *args).expect(status)

    @property
    def file(self) -> Path:
        return self.folder / FILE

    def written(self) -> dict[str, Any]:
        """The exposures of the file."""
        document = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        return {exposure["name"]: exposure for exposure in document["exposures"]}

    def known(self) -> dict[str, Any]:
        """The exposures of the manifest."""
        return {exposure["name"]: exposure for exposure in self.manifest()["exposures"].values()}


def build(folder: Path) -> None:
    files = {f"marts/{name}.sql": sql for name, sql in MODELS.items()}
    files |= {"dbt_project.yml": PROJECT, "profiles.yml": SMALL_PROFILE}
    files |= {"packages.yml": "packages: [{local: bought}]"}
    files |= {"bought/dbt_project.yml": 'name: bought\nversion: "1.0.0"\nconfig-version: 2\n'}
    files |= {"bought/models/bought_accounts.sql": BOUGHT, "seeds/a_seed.csv": "id,plan\na,seeded\n"}
    files |= {"snapshots/a_snapshot.sql": SNAPSHOT, "marts/dashboards.yml": HUMANS}
    files |= {"marts/models.yml": yaml.safe_dump(YAML, sort_keys=False, allow_unicode=True)}
    write_files(folder, files)
    (folder / "more_marts").mkdir()
    project = Lineage(folder, folder / "small.duckdb")
    project.dbt("deps", "parse", **STRICT)
    ended = project.exposures("--owner", OWNER, "--project-dir", str(folder))
    assert (ended.stderr, f"Wrote {FILE}" in ended.stdout) == ("", True)
    # Since dbt 1.9 a build has something to say of exposures as well: no-op.
    project.dbt("build --warn-error --no-partial-parse", **STRICT)


@pytest.fixture
def told(copy_of: Callable[..., Lineage], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Lineage:
    """The project after dbt has read our file."""
    # The sandbox is no app that one could open.
    monkeypatch.delenv("PENDO_API_URL")
    return copy_of(Lineage, "lineage", build, without=["logs"])


@pytest.fixture
def lineage(told: Lineage) -> Lineage:
    """The project before it has a file of ours."""
    told.file.unlink()
    told.write_manifest({**told.manifest(), "exposures": {}})
    return told


def test_dbt_reads_an_exposure_of_each_sync(told, sandbox, monkeypatch):
    exposures = told.known()
    nodes = {name: exposure["depends_on"]["nodes"] for name, exposure in exposures.items()}
    assert nodes == {**{name: [node] for name, node in DEPENDS_ON.items()}, "weekly": ["model.shop.people"]}
    # A package's model by both names, for another package may have one as well.
    refs = {name: exposure["depends_on"] for name, exposure in told.written().items()}
    assert refs["pendo_bought_accounts"] == ["ref('bought', 'bought_accounts')"]
    assert refs["pendo_versioned_v1"] == ["ref('versioned', v=1)"]
    del exposures["weekly"]
    about = {(one["type"], one["url"], one["original_file_path"]) for one in exposures.values()}
    assert about == {("application", "https://app.pendo.io", str(FILE))}
    # Syncs can be selected by them.
    monkeypatch.setenv("PENDO_API_URL", sandbox.url)
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a"])
    assert told.sync("--only-built", "--select", "+exposure:pendo_versioned_v2").statuses == {"versioned_v2": "success"}
    assert sandbox.visitors["a"]["custom"] == {"plan": "v2"}


def test_what_an_exposure_says(told):
    known = told.known()
    said = {name: (one["label"], one["description"]) for name, one in known.items() if name != "weekly"}
    assert said["pendo_teams__facts_1"] == (
        "Pendo accounts (teams.facts-1)",
        "Pendo accounts by the id in `id` and `id`; ids that Pendo does not know are created. Of those that leave the "
        "model the fields are emptied.\n\nFields:\n\n- `plan` (agent): `plan`\n- `source`: always `true`",
    )
    assert said["pendo_clicks"] == (
        f"Pendo event {ODD_NAME} (clicks)",
        f"Pendo track events called `{ODD_NAME}`, one for each `id`: of the visitor in `who`, for the account `acme`, "
        f"at the time in `done_at`.\n\nProperties:\n\n- `on`: `page`",
    )
    assert said["pendo_trials"] == (
        f"Pendo segment {ODD_SEGMENT} (trials)",
        f"The Pendo segment `{ODD_SEGMENT}` holds exactly the visitors in `id`.",
    )
    assert said["pendo_people"][1] == (
        "Pendo visitors by the id in `id`; ids that Pendo does not know are skipped.\n\nFields:\n\n- `plan`: `plan`"
    )
    owners = {name: (one["owner"]["name"], one["owner"]["email"]) for name, one in known.items()}
    assert owners["pendo_people"] == ("Data {{ team }}", "data@example.com")
    assert owners["pendo_teams__facts_1"] == ("Finance", "finance@example.com")


def test_the_owner_is_that_of_the_models_group_else_the_one_that_is_set(lineage):
    def people(*args: str) -> tuple[Any, str]:
        lineage.exposures(*args)
        assert lineage.written()["pendo_teams__facts_1"]["owner"]["name"] == "Finance"
        exposure = lineage.written()["pendo_people"]
        return exposure["owner"], exposure["url"]

    assert people() == ({"name": "shop"}, "https://app.pendo.io")
    assert people("--owner", "data@example.com")[0] == {"email": "data@example.com"}
    both = {"name": "Data team", "email": "data@example.com"}
    assert people("--owner", " Data team <data@example.com>", "--region", "au") == (both, "https://app.au.pendo.io")
    lineage.settings("vars: {dbt_pendo: {owner: of the project, region: eu}}")
    assert people() == ({"name": "of the project"}, "https://app.eu.pendo.io")
    assert people("--api-url", "https://adopt.example.com/")[1] == "https://adopt.example.com"


def test_the_same_project_gives_the_same_file_to_the_byte(told):
    manifest = told.manifest()
    for part in ("nodes", "exposures"):
        manifest[part] = dict(reversed(manifest[part].items()))
    told.write_manifest(manifest)
    before = (told.file.read_bytes(), told.file.stat().st_mtime_ns)
    assert f"{FILE} is up to date" in told.exposures("--owner", OWNER).stdout
    assert (told.file.read_bytes(), told.file.stat().st_mtime_ns) == before


def test_exposures_come_and_go_with_the_mappings(told):
    result = told.exposures("--json").result("secret")
    assert (result["status"], result["exposure"]) == ("skipped", "pendo_secret")
    assert "private" in result["message"]
    assert sorted(told.written()) == list(told.written()) == list(DEPENDS_ON)
    # With a model that is gone the project does not parse; the file's head says what to do.
    head = told.file.read_text(encoding="utf-8").splitlines()[1]
    assert "delete this file, run `dbt parse`, then `dbt-pendo exposures`" in head
    for model, pendo in (("people", None), ("trials", {**TRIALS, "enabled": False}), ("plain", PEOPLE)):
        told.annotate(model, pendo)
    told.exposures()
    assert set(told.written()) == set(DEPENDS_ON) - {"pendo_people", "pendo_trials"} | {"pendo_plain"}
    # The last one goes as well.
    manifest = told.manifest()
    for node in manifest["nodes"].values():
        node["config"]["meta"] = node["meta"] = {}
    told.write_manifest(manifest)
    told.exposures()
    assert told.written() == {}
    told.dbt("parse --warn-error", **STRICT)
    assert set(told.known()) == {"weekly"}
    # Without a file of ours there is nothing to be brought up to date.
    told.file.unlink()
    told.write_manifest(manifest)
    assert "carries meta.pendo" in told.exposures(status=2).stderr
    assert not told.file.exists()


def test_check_tells_whether_the_file_is_up_to_date(lineage):
    before = {path: path.read_bytes() for path in lineage.folder.rglob("*") if path.is_file()}
    assert f"{FILE} is not up to date" in lineage.exposures("--check", status=1).stdout
    for file in ("deep/exposures.yml", "elsewhere.yml"):
        lineage.exposures("--output", file)
        assert set(yaml.safe_load(Path(file).read_text(encoding="utf-8"))) == {"exposures"}
    # Others are not touched.
    assert {path: path.read_bytes() for path in lineage.folder.rglob("*") if path.is_file()} == before
    assert lineage.exposures("--json").json["status"] == "written"
    document = lineage.exposures("--check", "--json").json
    assert (document["file"], document["status"]) == (str(FILE), "unchanged")
    about = {"sync": "bought_accounts", "unique_id": "model.bought.bought_accounts", "object": "parent_account"}
    about |= {"status": "success", "message": None, "exposure": "pendo_bought_accounts"}
    assert document["results"][2] == about
    # As git writes it on Windows.
    lineage.file.write_bytes(lineage.file.read_bytes().replace(b"\n", b"\r\n"))
    lineage.exposures("--check")
    edited = lineage.file.read_bytes().replace(b"skipped", b"created")
    lineage.file.write_bytes(edited)
    assert lineage.exposures("--check", "--json", status=1).json["status"] == "outdated"
    assert lineage.file.read_bytes() == edited


def test_a_file_of_somebody_else_is_left_as_it_is(lineage):
    for before in (HUMANS.encode(), b"", b"# Written by a human\n", b"\xff\xfe\x00"):
        lineage.file.write_bytes(before)
        for more in ([], ["--check"]):
            expect_in(lineage.exposures(*more, status=2).stderr, f"{FILE} was not written by dbt-pendo", "--output")
        assert lineage.file.read_bytes() == before
    # Only dbt can read these model paths.
    for paths in ("['{{ env_var(\"WHERE\") }}']", "[]", "marts"):
        (lineage.folder / "dbt_project.yml").write_text(PROJECT.replace("[marts, more_marts]", paths))
        lineage.exposures()
        (lineage.folder / "models" / "pendo_exposures.yml").unlink()


def test_a_name_that_is_taken(told):
    # By ourselves, in a file of another name: dbt would find both.
    stderr = told.exposures("--output", "marts/other.yml", status=2).stderr
    assert f"{FILE} has an exposure pendo_a_seed already" in stderr
    manifest = told.manifest()
    exposures = manifest["exposures"]
    exposures["exposure.shop.pendo_people"]["original_file_path"] = "marts/dashboards.yml"
    told.write_manifest(manifest)
    before = told.file.read_bytes()
    for more in ([], ["--check"]):
        assert "marts/dashboards.yml has an exposure pendo_people already" in told.exposures(*more, status=2).stderr
    assert told.file.read_bytes() == before
    # An exposure of a package is another one, as is that of a model that gets none.
    exposures["exposure.bought.pendo_people"] = exposures.pop("exposure.shop.pendo_people") | {"package_name": "bought"}
    exposures["exposure.shop.pendo_secret"] = {**exposures["exposure.shop.weekly"], "name": "pendo_secret"}
    told.write_manifest(manifest)
    told.exposures()


def test_what_is_refused(lineage):
    (lineage.folder / "a_file").write_text("x")
    for place in ("a_file/x.yml", ""):
        assert "cannot be" in lineage.exposures("--output", str(lineage.folder / place), status=2).stderr
    # Two syncs that would be one exposure.
    lineage.annotate("teams", [{**PEOPLE, "name": "facts-1"}, {**PEOPLE, "name": "facts_1"}])
    same = "teams.facts_1 would both be the exposure pendo_teams__facts_1"
    expect_in(lineage.exposures(status=2).stderr, "teams.facts-1", same)
    assert not lineage.file.exists()
