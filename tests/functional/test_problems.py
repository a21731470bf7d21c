"""``check`` tells all problems of all mappings in one go: file, line and key, whatever finds them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import CLICKS, SMALL_PROFILE, Project, add_fields, expect_in, project_yaml, run_dbt, write_files, writes

# A line with `# @name` is where the problem of that name is.
FILES = {
    "models/users.yml": """\
models:
  - name: users
    config:
      meta:
        pendo:
          object: visitor
          visitor_id: id
          mode: upset  # @mode
          fields:
            plan: plam  # @column
            nosuch: plan  # @field
            seats:  # @type
              column: flag
            team: {column: plan,
                   tipe: string}  # @option
    columns:
      - name: plan
      - name: flag
        meta:
          pendo: unheard_of  # @own
      - name: id
        meta:
          pendo: {not: a name}  # @form
""",
    "models/more/several.yml": """\
models:
  - name: other
    meta: &shared
      pendo: &mapping  # @empty
        object: visitor
        visitor_id: id
  - name: merged
    meta:
      <<: *shared
      pendo:
        <<: *mapping
        nulls: drop  # @nulls
        fields: {plan: plan}
  - name: alias
    meta: {<<: *shared}
  - name: listed
    config:
      meta:
        pendo:
          - name: facts  # @facts
            object: account
            fields: {plan: plan}
          - object: account
            account_id: id
            mode: upsert
          - {name: "trial", object: segment, segment: One,
             visitor_id: idd}  # @trial
  - name: versioned
    latest_version: 2
    config: {meta: {pendo: {object: visitor, visitor_id: id, fields: {plan: planned}}}}  # @latest
    versions:
      - v: 1
        config:
          meta:
            pendo:
              object: visitor
              visitor_id: id
              fields:
                plan: plan
                a.b: plan  # @dots
      - v: 2
""",
    "seeds/_seeds.yml": """\
seeds:
  - name: seeded
    config: {meta: {pendo: {
      objekt: visitor,  # @object
      visitor_id: id}}}
""",
    "packages.yml": "packages: [{local: extra}]\n",
    "extra/models/there.yml": """\
models:
  - name: packed
    config:
      meta:
        pendo:
          object: visitor
          visitor_id: id
          fields:
            plan: nowhere  # @package
""",
}
ROWS = "select 'a' as id, 'pro' as plan, true as flag"
IN_SQL = json.dumps({"pendo": {"object": "visitor", "visitor_id": "id", "fields": {"plan": "elsewhere"}}})
SQL = {
    **{
        f"models/{name}.sql": ROWS
        for name in ("users", "other", "merged", "alias", "listed", "versioned_v1", "versioned_v2")
    },
    "models/inherited/inherits.sql": ROWS,
    "models/in_sql.sql": f"{{{{ config(meta={IN_SQL}) }}}} {ROWS}",
    "extra/models/packed.sql": ROWS,
    "seeds/seeded.csv": "id,plan\na,pro\n",
}
PROJECT = project_yaml(
    "flawed",
    """\
packages-install-path: installed
models:
  flawed: {inherited: {+meta: {pendo: {object: visitor, visitor_id: nobody, fields: {plan: plan}}}}}""",
)
# By the marks: the sync, the key, the column, and a part of the message.
EXPECTED = {
    "mode": ("users", "mode", None, "did you mean `upsert`?"),
    "column": ("users", "fields.plan", "plam", "has no column `plam`. Did you mean `plan`?"),
    "field": ("users", "fields.nosuch", "plan", "Pendo has no custom visitor field `nosuch`."),
    "type": ("users", "fields.seats", "flag", "column flag is boolean, which the integer field seats cannot hold."),
    "option": ("users", "fields.team.tipe", None, "did you mean `type`?"),
    "own": ("users", "fields.unheard_of", "flag", "Pendo has no custom visitor field `unheard_of`."),
    "form": ("users", None, "id", "expected the Pendo name this column fills"),
    "empty": ("other", "fields", None, "maps no fields"),
    "nulls": ("merged", "nulls", None, "expected `clear` or `skip`"),
    "facts": ("listed.facts", "account_id", None, "missing; an account needs it"),
    "trial": ("listed.trial", "visitor_id", "idd", "has no column `idd`"),
    "latest": ("versioned_v2", "fields.plan", "planned", "has no column `planned`"),
    "dots": ("versioned_v1", "fields.a.b", "plan", "Pendo has no custom visitor field `a.b`."),
    "object": ("seeded", "objekt", None, "did you mean `object`?"),
    "package": ("packed", "fields.plan", "nowhere", "has no column `nowhere`"),
}
# Those that are in no YAML of models.
UNPLACED = {
    "inherits": ("visitor_id", "nobody", "has no column `nobody`"),
    "in_sql": ("fields.plan", "elsewhere", "has no column `elsewhere`"),
}


@pytest.fixture
def flawed(copy_of: Callable[..., Project], sandbox) -> Project:
    """A project with a mistake of nearly every kind."""

    def build(folder: Path) -> None:
        files = {"dbt_project.yml": PROJECT, "profiles.yml": SMALL_PROFILE, **FILES, **SQL}
        files["extra/dbt_project.yml"] = project_yaml("extra", "")
        write_files(folder, files)
        run_dbt("deps", "build", cwd=folder, env={"SMALL_DUCKDB_PATH": "small.duckdb"})

    add_fields(sandbox, plan="string", seats="integer", team="string")
    return copy_of(Project, "flawed", build)


def places() -> dict[str, tuple[str, int]]:
    """The file and the line of each mark."""
    return {
        found[1]: (file.removeprefix("extra/"), number)
        for file, text in FILES.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if (found := re.search(r"# @(\w+)$", line))
    }


def test_all_problems_are_told_in_one_round_with_their_lines(flawed, sandbox):
    assert places().keys() == EXPECTED.keys()
    ended = flawed.check(status=2)
    problems = [problem for result in ended.json["results"] for problem in result["problems"]]
    told = {(one["sync"], one["key"], one["column"]): one for one in problems}
    shown = flawed.run("check").expect(2).output
    for mark, (sync, key, column, part) in EXPECTED.items():
        one = told[sync, key, column]
        assert (one["file"], one["line"]) == places()[mark], mark
        assert part in one["message"], mark
        assert len(re.findall(rf"{one['file']}:{one['line']}: {re.escape(sync)}.*{re.escape(part)}", shown)) == 1, mark
    for sync, (key, column, part) in UNPLACED.items():
        one = told[sync, key, column]
        assert (one["line"], part in one["message"]) == (None, True)
        assert f"{one['file']}: {sync}: meta.pendo.{key}: " in shown
    # The unnamed sync of the list has two: of its name, and of what it maps; nothing else is said.
    unnamed = {(one["key"], one["line"]) for one in problems if one["sync"] == "listed"}
    assert unnamed == {("[1].name", places()["facts"][1] + 3)}
    # What is merged is where its anchor is.
    assert (told["alias", "fields", None]["file"], told["alias", "fields", None]["line"]) == places()["empty"]
    assert len(problems) == len(EXPECTED) + len(UNPLACED) + len(unnamed) + 1, shown
    statuses = {result["sync"]: (result["status"], bool(result["problems"])) for result in ended.json["results"]}
    assert set(statuses.values()) == {("error", True)}
    expect_in(shown, "9 problems in meta.pendo; nothing was sent.", f"{len(statuses)} of {len(statuses)} mappings")
    assert writes(sandbox.requests) == []
    # A log has the same objects.
    lines = flawed.run("check", "--log-format", "json").expect(2).stdout.splitlines()
    events = [line["data"] for line in map(json.loads, lines) if line["info"]["name"] == "SyncChecked"]
    assert [problem for event in events for problem in event["problems"]] == problems


def test_without_a_warehouse_the_mappings_are_told_all_the_same(flawed, sandbox, monkeypatch):
    offline = flawed.check("--offline", status=2).json
    assert sandbox.requests == []
    by_sync = {one["sync"]: one["problems"] for one in offline["results"]}
    assert {sync for sync, found in by_sync.items() if found} == {
        *("users", "other", "merged", "alias", "listed", "listed.facts", "seeded")
    }
    assert {one["line"] for one in by_sync["users"]} == {places()[mark][1] for mark in ("mode", "option", "form")}
    (flawed.folder / "profiles.yml").write_text("small: {target: dev, outputs: {dev: {type: nothing}}}")
    ended = flawed.check(status=2)
    expect_in(ended.stderr, "cannot be used")
    expect_in(ended.json["error"]["message"], "models/users.yml:8: users: meta.pendo.mode:", "cannot be used")
    assert [one for one in offline["results"] if one["problems"]] == ended.json["results"]
    # Other commands end with the mappings alone, and send nothing.
    for command in ("sync", "plan"):
        ended = flawed.run(command).expect(2)
        expect_in(ended.stderr, "models/users.yml:8: users: meta.pendo.mode:", "9 problems in meta.pendo")
    assert writes(sandbox.requests) == []


def test_yaml_that_is_not_there_or_cannot_be_read_only_costs_the_line(flawed):
    (flawed.folder / "models" / "more" / "several.yml").unlink()
    (flawed.folder / "seeds" / "_seeds.yml").write_text("seeds: [{name: seeded, config: {{ no yaml }}]\n")
    # The model is not in it any more; what is left of another mapping has no such key.
    users = flawed.folder / "models" / "users.yml"
    users.write_text("models:\n- name: users\n  config:\n    meta:\n      pendo: {fields: {plan: plam}}\n")
    results = flawed.check(status=2).json["results"]
    lines = {(one["sync"], one["key"]): one["line"] for result in results for one in result["problems"]}
    assert (lines["listed.facts", "account_id"], lines["seeded", "objekt"]) == (None, None)
    assert (lines["users", "fields.plan"], lines["users", "fields.nosuch"], lines["users", "mode"]) == (5, 5, 5)
    flawed.run("check").expect(2).says("models/more/several.yml: listed.facts: meta.pendo.account_id: missing")


def test_two_syncs_of_one_name_are_both_in_error(people):
    facts = {**CLICKS, "name": "facts"}
    people.model(
        "listed", [facts, facts, {**facts, "name": "more", "[oops": 1}], "select 'a' as id, current_timestamp as at"
    )
    for arguments in ([], ["--offline"]):
        results = people.check(*arguments, status=2).json["results"]
        found = {(one["sync"], one["status"]) for one in results}
        assert found == {("listed.facts", "error"), ("listed.more", "error"), ("people", "success")}
        assert {one["message"].partition(";")[0] for result in results for one in result["problems"]} == {
            "shares its tables with another sync of the model",
            "unknown key",
        }


def test_what_several_syncs_lack_is_told_once(people, sandbox, monkeypatch):
    for name in ("more", "other"):
        people.model(name, {"object": "account", "account_id": "id", "mode": "upsert"}, "select 'a' as id")
    people.model("clicks", CLICKS, "select 'a' as id, timestamp '2026-01-01' as at")
    monkeypatch.delenv("PENDO_INTEGRATION_KEY")
    missing = "No Pendo integration key is set."
    shown = people.run("check").expect(2).output
    told = f"3 syncs: {missing} Create one with write access in Pendo (Settings > Integrations) and put it in "
    expect_in(shown, f"{told}PENDO_INTEGRATION_KEY.", "3 of 4 mappings cannot be synced.")
    assert shown.count(missing) == 1
    results = people.check(status=2).json["results"]
    assert [one["problems"][0]["message"] for one in results if one["problems"]] == [missing] * 3
    assert {one["file"] for result in results for one in result["problems"]} == {None}
    shown = people.run("sync").expect(1).output
    assert (shown.count(missing), shown.count("The same as for ")) == (1, 2)
    # A plan needs none, and one sync tells it below its own line.
    people.run("plan").expect(0)
    one = people.run("check", "--select", "people").expect(2).output
    assert (one.count(missing), "syncs: " in one) == (1, False)
