"""`dbt-pendo fields`, and names of fields: whatever a user calls a field, its key is what is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness import PEOPLE, PEOPLE_ROWS, Ended, SmallProject, custom, expect_in, writes

from dbt_pendo.sandbox import Fault, Sandbox, Switches

ROWS = "select 'a' as id, 'pro' as plan, 3 as seats, 1.5::double as mrr, true as active, date '2026-01-02' as since"
MAPPING = {
    **PEOPLE,
    "fields": {"plan": "plan", "Seat_Count": "seats", "mrr": "mrr", "active": "active", "since": "since"},
}


def fields(project: SmallProject, *args: str, status: int = 0) -> Ended:
    return project.run("fields", "--json", *args).expect(status)


def states(ended: Ended, sync: str = "people") -> dict[str, str]:
    """The state of each mapped field of a sync."""
    return {field["name"]: field["state"] for field in ended.result(sync)["fields"]}


def field_of(ended: Ended, name: str, sync: str = "people") -> dict[str, Any]:
    (found,) = [field for field in ended.result(sync)["fields"] if field["name"] == name]
    return found


@pytest.fixture
def named(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """A project whose sync maps fields by key and by display name."""
    sandbox.add_visitors(["a"])
    sandbox.add_field("visitor", "custom", "Plan_Name", "string", display_name="Plan Name")
    sandbox.add_field("visitor", "custom", "groesse", "integer", display_name="Größe, ca. (m²)")
    sandbox.add_field("visitor", "custom", "SFDC_Profile", "string")
    sandbox.add_field("visitor", "agent", "f7", "boolean", display_name="is.active")
    mapping = {
        **PEOPLE,
        "fields": {
            "Plan Name": "plan",
            "Größe, ca. (m²)": "seats",
            "sfdc_profile": {"value": "admin"},
            "is.active": {"column": "active", "group": "agent"},
        },
    }
    project.model("people", mapping, ROWS)
    return project


def test_mapped_fields_beside_those_of_pendo(named, sandbox):
    sandbox.add_field("visitor", "custom", "age", "integer", display_name="Age")
    sandbox.add_field("visitor", "agent", "role", "string")
    sandbox.add_field("visitor", "salesforce", "owner", "string")
    sandbox.add_field("account", "custom", "tier", "string")
    document = fields(named).json
    (result,) = document["results"]
    assert {**result, "fields": None, "warnings": None} == {
        "sync": "people",
        "unique_id": "model.small.people",
        "object": "visitor",
        "status": "success",
        "message": None,
        "fields": None,
        "warnings": None,
    }
    assert result["fields"] == [
        {
            "name": "Plan Name",
            "column": "plan",
            "column_type": "character varying(256)",
            "group": "custom",
            "key": "plan_name",
            "display_name": "Plan Name",
            "type": "string",
            "state": "ok",
            "note": None,
        },
        {
            "name": "Größe, ca. (m²)",
            "column": "seats",
            "column_type": "INTEGER",
            "group": "custom",
            "key": "groesse",
            "display_name": "Größe, ca. (m²)",
            "type": "integer",
            "state": "ok",
            "note": None,
        },
        {
            "name": "sfdc_profile",
            "value": "admin",
            "column_type": None,
            "group": "custom",
            "key": "sfdc_profile",
            "display_name": "SFDC_Profile",
            "type": "string",
            "state": "ok",
            "note": None,
        },
        {
            "name": "is.active",
            "column": "active",
            "column_type": "BOOLEAN",
            "group": "agent",
            "key": "f7",
            "display_name": "is.active",
            "type": "boolean",
            "state": "ok",
            "note": None,
        },
    ]
    assert document["unmapped"] == [
        {"object": "visitor", "group": group, "key": key, "display_name": shown, "type": type_, "state": "unmapped"}
        for group, key, shown, type_ in (("custom", "age", "Age", "integer"), ("agent", "role", "role", "string"))
    ]
    # It looks, and touches nothing.
    assert writes(sandbox.requests) == []
    assert "main_pendo" not in named.schemas()


def test_agent_fields_carry_a_warning_once_a_sync(named):
    (warning,) = fields(named).result()["warnings"]
    assert "snippet overwrites" in warning
    ended = named.run("fields").expect(0)
    assert ended.stdout.count("snippet overwrites") == 1
    for flags in ((), ("--offline",)):
        assert warning in named.check(*flags).result()["warnings"]
    named.annotate("people", PEOPLE | {"fields": {"Plan Name": "plan"}})
    assert fields(named).result()["warnings"] == []
    assert named.check().result()["warnings"] == []
    assert "snippet" not in named.run("fields").expect(0).stdout


def test_a_terminal_sees_aligned_rows(named, sandbox):
    sandbox.add_field("visitor", "custom", "age", "integer", display_name="Age")
    ended = named.run("fields").expect(0)
    lines = ended.stdout.splitlines()
    rows = [line for line in lines if line.endswith(" ok")]
    assert rows == [
        "  Plan Name        plan varchar(256)  custom.plan_name                    string   ok",
        "  Größe, ca. (m²)  seats integer      custom.groesse                      integer  ok",
        '  sfdc_profile     "admin"            custom.sfdc_profile (SFDC_Profile)  string   ok',
        "  is.active        active boolean     agent.f7                            boolean  ok",
    ]
    assert "  custom.age (Age)  integer  unmapped" in lines
    assert any("1 of 1 WARN visitor people ..." in line and line.endswith("[4 ok]") for line in lines)
    assert "All mapped fields can be written." in ended.stdout


def test_quiet_and_json_lines(named):
    assert named.run("fields", "--quiet").expect(0).stdout == ""
    named.annotate("people", PEOPLE | {"fields": {"Plan Name": "plan", "plam": "plan"}})
    told = named.run("fields", "--quiet").expect(2).stdout
    assert "no custom visitor field `plam`" in told
    assert "Plan Name" not in told
    for line in named.run("fields", "--log-format", "json").expect(2).stdout.splitlines():
        assert json.loads(line)["info"]["msg"]


def test_fields_no_sync_maps(people, sandbox):
    """Mapped by any sync of the object is mapped; each object has fields of its own."""
    for name in ("seats", "mrr"):
        sandbox.add_field("visitor", "custom", name, "integer")
    sandbox.add_field("account", "custom", "plan", "string")
    more = PEOPLE | {"fields": {"SEATS": "plan"}}
    people.model("more", more, PEOPLE_ROWS)
    people.model("accounts", {"object": "account", "account_id": "id", "mode": "upsert"}, PEOPLE_ROWS)
    found = {(one["object"], one["key"]) for one in fields(people).json["unmapped"]}
    assert found == {("visitor", "mrr"), ("account", "plan")}


def test_events_have_no_fields(people, sandbox, monkeypatch):
    clicks = {"object": "track_event", "event": "E", "event_id": "id", "visitor_id": "id", "timestamp": "at"}
    people.model("clicks", clicks, "select 'a' as id, timestamp '2026-01-01' as at")
    monkeypatch.delenv("PENDO_TRACK_SECRET")
    assert fields(people).result("clicks")["fields"] == []
    assert "[no fields]" in people.run("fields").expect(0).stdout
    sandbox.forget_requests()
    document = fields(people, "--select", "clicks").json
    assert (document["results"][0]["status"], document["unmapped"], sandbox.requests) == ("success", [], [])


def test_missing_fields_and_what_may_have_been_meant(people, sandbox):
    sandbox.add_field("visitor", "custom", "f9", "string", display_name="Customer Segment")
    sandbox.add_field("visitor", "agent", "role", "string")
    sandbox.add_field("visitor", "salesforce", "owner", "string")
    names = ["plan", "plam", "Customer Segmnt", "role", "owner", "firstvisit", "zzz"]
    people.annotate("people", PEOPLE | {"fields": dict.fromkeys(names, "plan")})
    ended = fields(people, status=2)
    assert states(ended) == {"plan": "ok", **dict.fromkeys(names[1:], "missing")}
    notes = {name: field_of(ended, name)["note"] for name in names[1:]}
    start = "Pendo has no custom visitor field"
    assert notes == {
        "plam": f"{start} `plam`. Did you mean `plan`?",
        "Customer Segmnt": f"{start} `Customer Segmnt`. Did you mean `Customer Segment`?",
        "role": f"{start} `role`. There is one in the group `agent`.",
        "owner": f"{start} `owner`. There is one in the group `salesforce`, which no sync can write.",
        "firstvisit": f"{start} `firstvisit`. There is one in the group `auto`, which no sync can write.",
        "zzz": f"{start} `zzz`.",
    }
    # `check` and `sync` say the same.
    for ended in (people.run("fields"), people.run("check"), people.run("sync")):
        ended.expect(2)
        for note in notes.values():
            assert ended.stdout.count(f"people: {note}") == 1, ended.stdout
        assert "dbt-pendo fields --create" in ended.stdout


def test_columns_that_never_fit(people, sandbox):
    sandbox.add_field("visitor", "custom", "seats", "integer")
    sandbox.add_field("visitor", "custom", "anything", "")
    people.build("people", "select 'a' as id, true as plan, 1.5::double as mrr")
    people.annotate("people", PEOPLE | {"fields": {"seats": "plan", "anything": "plan", "plan": "plan"}})
    ended = fields(people, status=2)
    assert states(ended) == {"seats": "mismatch", "anything": "ok", "plan": "ok"}
    assert field_of(ended, "seats")["note"] == ("column plan is boolean, which the integer field seats cannot hold.")
    assert field_of(ended, "anything")["type"] is None
    # What fits in part is usable, with a word of warning.
    people.annotate("people", PEOPLE | {"fields": {"seats": "mrr"}})
    ended = fields(people)
    assert states(ended) == {"seats": "ok"}
    assert "a row with decimals is invalid" in field_of(ended, "seats")["note"]
    assert "a row with decimals is invalid" in people.run("fields").expect(0).stdout


def test_two_names_of_one_field(people, sandbox):
    sandbox.add_field("visitor", "custom", "f7", "string", display_name="Customer Tier")
    sandbox.add_field("visitor", "agent", "f7", "string", display_name="Customer Tier")
    twice = {"f7": "plan", "Customer Tier": "plan", "customer": {"column": "plan", "group": "agent"}}
    people.annotate("people", PEOPLE | {"fields": twice})
    ended = fields(people, status=2)
    assert states(ended) == {"f7": "ok", "Customer Tier": "duplicate", "customer": "missing"}
    for command in ("fields", "check", "sync"):
        told = people.run(command).expect(2).stdout
        expect_in(told, "people: `Customer Tier` and `f7` are the same custom field, `f7`.", "Map each field once.")
    assert writes(sandbox.requests) == []
    # The same name in another group is another field.
    twice = {"f7": "plan", "Customer Tier": {"column": "plan", "group": "agent"}}
    people.annotate("people", PEOPLE | {"fields": twice})
    people.sync()
    assert custom(sandbox.visitors)["a"] == custom(sandbox.visitors, "agent")["a"] == {"f7": "pro"}


def test_a_display_name_of_two_fields(people, sandbox):
    for key in ("f7", "f8"):
        sandbox.add_field("visitor", "custom", key, "string", display_name="Tier")
    people.annotate("people", PEOPLE | {"create_fields": True, "fields": {"Tier": "plan"}})
    assert states(fields(people, status=2)) == {"Tier": "ambiguous"}
    for command in (["fields", "--create"], ["check"], ["sync"]):
        told = people.run(*command).expect(2).stdout
        expect_in(told, "Pendo has 2 custom fields that `Tier` may mean: `f7` or `f8`.", "by its key")
    assert writes(sandbox.requests) == []
    people.annotate("people", PEOPLE | {"fields": {"f8": "plan"}})
    people.sync()
    assert custom(sandbox.visitors)["a"] == {"f8": "pro"}


def test_a_sync_that_cannot_be_looked_at_does_not_hide_the_others(people):
    people.model("unbuilt", PEOPLE, PEOPLE_ROWS)
    people.sql("drop table main.unbuilt")
    ended = fields(people, status=2)
    assert "dbt build --select unbuilt" in ended.result("unbuilt")["message"]
    assert states(ended) == {"plan": "ok"}


def test_a_key_that_is_refused(people, sandbox, monkeypatch):
    people.model("more", PEOPLE, PEOPLE_ROWS)
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", "not-the-key")
    ended = fields(people, status=2)
    assert ({result["status"] for result in ended.json["results"]}, ended.json["unmapped"]) == ({"error"}, [])
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("drop", [False, True])
def test_a_mapping_by_display_name_writes_to_the_key(project, sandbox, request, drop):
    sandbox.switches = Switches(drop_underscores=drop)
    named: SmallProject = request.getfixturevalue("named")
    assert named.check().result()["status"] == "success"
    assert named.sync().result()["delivered"] == 1
    keys = ("planname", "sfdcprofile") if drop else ("plan_name", "sfdc_profile")
    assert custom(sandbox.visitors) == {"a": {keys[0]: "pro", "groesse": 3, keys[1]: "admin"}}
    assert custom(sandbox.visitors, "agent") == {"a": {"f7": True}}
    # Again, by bodies the warehouse writes, and a field cleared.
    named.build("people", ROWS.replace("'pro'", "null"))
    assert named.sync().result()["delivered"] == 1
    assert custom(sandbox.visitors) == {"a": {"groesse": 3, keys[1]: "admin"}}


def test_a_columns_own_mapping_takes_a_display_name(people, sandbox):
    sandbox.add_field("visitor", "custom", "f7", "string", display_name="Plan Name")
    people.annotate("people", {"object": "visitor", "visitor_id": "id"}, columns={"plan": "Plan Name"})
    people.sync()
    assert custom(sandbox.visitors)["a"] == {"f7": "pro"}


def test_read_back_goes_by_the_key_as_well(named, sandbox):
    named.sync()
    assert named.run("verify", "--json").expect(0).result()["equal"] == 1
    sandbox.add_visitors({"a": {"custom": {"plan_name": "changed"}}})
    assert named.run("verify", "--json").expect(1).result()["fields"] == {"Plan Name": 1}
    named.run("verify", "--repair", "--json").expect(0)
    assert custom(sandbox.visitors)["a"]["plan_name"] == "pro"


# --create.

VARIANTS: list[dict[str, Any]] = [
    {},
    {"drop_underscores": True},
    {"number_becomes": "integer"},
    {"undocumented_replies": "json"},
    {"existing_field": "refuse call"},
    {"invalid_field_name": "skip"},
    {"error_bodies": "empty"},
]


@pytest.mark.parametrize("switches", VARIANTS, ids=json.dumps)
def test_missing_fields_are_created_with_the_type_of_the_column(project, sandbox, switches):
    sandbox.switches = Switches().with_changes(switches)
    sandbox.add_visitors(["a"])
    sandbox.add_field("visitor", "custom", "plan", "string")
    seen = {"seen": {"column": "since", "group": "agent"}, "source": {"value": "dbt"}, "n": {"value": 3}}
    project.model("people", MAPPING | {"fields": MAPPING["fields"] | seen}, ROWS)
    names = [*MAPPING["fields"], *seen]
    assert states(fields(project, status=2)) == {"plan": "ok", **dict.fromkeys(names[1:], "missing")}
    assert writes(sandbox.requests) == []

    ended = fields(project, "--create")
    assert states(ended) == {"plan": "ok", **dict.fromkeys(names[1:], "created")}
    number = switches.get("number_becomes", "float")
    seats = "seatcount" if switches.get("drop_underscores") else "seat_count"
    told = {field["name"]: (field["group"], field["key"], field["type"]) for field in ended.result()["fields"]}
    assert told == {
        "plan": ("custom", "plan", "string"),
        "Seat_Count": ("custom", seats, number),
        "mrr": ("custom", "mrr", number),
        "active": ("custom", "active", "boolean"),
        "since": ("custom", "since", "time"),
        "seen": ("agent", "seen", "time"),
        "source": ("custom", "source", "string"),
        "n": ("custom", "n", number),
    }
    assert len(writes(sandbox.requests)) == 2
    # By now they are there, and a sync fills them.
    assert set(states(fields(project, "--create")).values()) == {"ok"}
    assert len(writes(sandbox.requests)) == 2
    assert fields(project).json["unmapped"] == []
    if number == "float":
        assert project.sync().result()["delivered"] == 1
        assert custom(sandbox.visitors)["a"][seats] == 3


def test_a_sync_that_creates_its_fields_says_so(people, sandbox):
    people.annotate("people", PEOPLE | {"create_fields": True, "fields": {"plan": "plan", "tier": "plan"}})
    assert states(fields(people)) == {"plan": "ok", "tier": "to create"}
    assert writes(sandbox.requests) == []
    people.check()
    people.sync()
    assert states(fields(people)) == {"plan": "ok", "tier": "ok"}


def test_what_may_have_been_meant_is_said_of_new_fields_too(people, sandbox):
    """`create_fields` makes a field of every slip: one of another group, or almost one that is there."""
    sandbox.add_field("visitor", "agent", "tier", "string")
    mapping = {**PEOPLE, "create_fields": True, "fields": {"plan": "plan", "tier": "plan", "plans": "plan", "x": "id"}}
    people.annotate("people", mapping)
    assert "`tier` is a new custom field. There is one in the group" in people.run("fields").expect(0).stdout
    for args, state in (([], "to create"), (["--create"], "created")):
        ended = fields(people, *args)
        assert states(ended) == {"plan": "ok", "tier": state, "plans": state, "x": state}
        assert {name: field_of(ended, name)["note"] for name in ("tier", "plans", "x")} == {
            "tier": "`tier` is a new custom field. There is one in the group `agent`.",
            "plans": "`plans` is a new custom field. Did you mean `plan`?",
            "x": None,
        }


@pytest.mark.parametrize("skip", [False, True])
def test_names_no_field_can_be_created_under(people, sandbox, skip):
    sandbox.switches = Switches(invalid_field_name="skip" if skip else "refuse call")
    people.annotate("people", PEOPLE | {"fields": {"Prénom (1st)": "plan", "tier": "plan"}})
    ended = fields(people, "--create", status=2)
    # The others are created; what Pendo would refuse is never sent.
    assert states(ended) == {"Prénom (1st)": "missing", "tier": "created"}
    assert "write `Prenom_1st`" in field_of(ended, "Prénom (1st)")["note"]
    assert [json.loads(request.body) for request in writes(sandbox.requests)] == [
        [{"name": "tier", "displayname": "tier", "type": "string"}]
    ]
    # A sync that could not run creates nothing at all.
    people.annotate("people", PEOPLE | {"create_fields": True, "fields": {"Prénom (1st)": "plan", "rank": "plan"}})
    sandbox.forget_requests()
    for command in ("check", "sync"):
        assert "write `Prenom_1st`" in people.run(command).expect(2).stdout
    assert writes(sandbox.requests) == []


def test_columns_no_field_can_be_created_for(people, sandbox):
    people.build("people", "select 'a' as id, ['x'] as tags, 'x'::blob as raw, {'a': 1} as nested, true as yes")
    mapping = {
        "tags": "tags",
        "raw": "raw",
        "nested": "nested",
        "flags": {"value": ["x", "y"]},
        "since": {"column": "yes", "type": "time"},
    }
    people.annotate("people", PEOPLE | {"fields": mapping})
    ended = fields(people, "--create", status=2)
    assert states(ended) == {
        "tags": "missing",
        "raw": "mismatch",
        "nested": "mismatch",
        "flags": "missing",
        "since": "mismatch",
    }
    assert "Pendo's API creates no list fields" in field_of(ended, "tags")["note"]
    assert "column raw is blob, which the string field raw cannot hold" in field_of(ended, "raw")["note"]
    assert writes(sandbox.requests) == []
    people.annotate("people", PEOPLE | {"create_fields": True, "fields": {"tags": "tags"}})
    assert "creates no list fields" in people.run("check").expect(2).stdout
    # In Pendo's pages one can.
    sandbox.add_field("visitor", "custom", "tags", "list")
    people.sync()
    assert custom(sandbox.visitors)["a"] == {"tags": ["x"]}


def test_a_field_pendo_left_out_is_no_field(people, sandbox):
    """A 200 proves nothing: the schema is what counts."""
    people.annotate("people", PEOPLE | {"create_fields": True, "fields": {"plan": "plan", "tier": "plan"}})
    sandbox.fail(Fault("status", status=200, body="{}", path="/schema/visitor/custom", times=2))
    ended = fields(people, "--create", status=2)
    assert states(ended) == {"plan": "ok", "tier": "missing"}
    assert "took the request to create `tier`, and has no such field" in field_of(ended, "tier")["note"]
    result = people.sync(status=2).result()
    assert "took the request to create `tier`, and has no such field" in result["message"]
    assert custom(sandbox.visitors) == {"a": {}, "b": {}}
    # The next run may have more luck.
    assert people.sync().result()["delivered"] == 2
    assert custom(sandbox.visitors)["a"] == {"plan": "pro", "tier": "pro"}


@pytest.mark.parametrize("existing", ["keep", "refuse call"])
def test_an_answer_that_was_lost(people, sandbox, existing):
    """Sent again, the call is about fields that exist by then, which a Pendo may refuse."""
    sandbox.switches = Switches(existing_field=existing)
    people.annotate("people", PEOPLE | {"create_fields": True, "fields": {"plan": "plan", "tier": "plan"}})
    sandbox.fail(Fault("close", when="after", path="/schema/visitor/custom"))
    assert states(fields(people, "--create")) == {"plan": "ok", "tier": "created"}
    people.sync()
    assert custom(sandbox.visitors)["a"] == {"plan": "pro", "tier": "pro"}


def test_a_field_somebody_else_made_meanwhile(people, sandbox):
    """It spoils the call for its neighbours, once."""
    sandbox.switches = Switches(existing_field="refuse call")
    sandbox.add_field("visitor", "custom", "tier", "string")
    people.annotate("people", PEOPLE | {"fields": {"tier": "plan", "rank": "plan"}})
    # The first look at the schema is of before.
    sandbox.fail(Fault("status", status=200, body='{"custom": {}}', path="/metadata/schema/visitor"))
    assert states(fields(people, "--create")) == {"tier": "created", "rank": "created"}
    calls = [json.loads(request.body) for request in writes(sandbox.requests)]
    assert [[field["name"] for field in call] for call in calls] == [["tier", "rank"], ["rank"]]


def test_creation_that_pendo_refuses(people, sandbox):
    sandbox.switches = Switches(creatable_types=("string",))
    people.build("people", "select 'a' as id, 'pro' as plan, 3 as seats")
    seats = {"column": "seats", "group": "agent"}
    people.annotate("people", PEOPLE | {"fields": {"tier": "plan", "seats": seats}})
    ended = fields(people, "--create", status=1)
    # What came before it is there.
    assert states(ended) == {"tier": "ok", "seats": "missing"}
    assert "does not create the agent fields seats" in ended.result()["message"]
    assert len(writes(sandbox.requests)) == 2


def test_two_syncs_that_want_the_same_field(people, sandbox):
    for name in ("people", "more"):
        people.model(name, PEOPLE | {"fields": {"Tier": "plan"}}, PEOPLE_ROWS)
    ended = fields(people, "--create")
    assert sorted(states(ended, sync)["Tier"] for sync in ("people", "more")) == ["created", "ok"]
    assert len(writes(sandbox.requests)) == 1


def test_names_that_pendo_makes_one_field_of(people, sandbox):
    sandbox.switches = Switches(drop_underscores=True)
    people.annotate("people", PEOPLE | {"create_fields": True, "fields": {"Seat_Count": "plan", "seatcount": "plan"}})
    result = people.sync(status=2).result()
    assert "`seatcount` and `Seat_Count` are the same custom field, `seatcount`." in result["message"]
    assert custom(sandbox.visitors) == {"a": {}, "b": {}}
