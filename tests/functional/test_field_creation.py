"""`dbt-pendo fields --create`, and syncs that create their fields."""

import json
from typing import Any

import pytest
from harness import PEOPLE_ROWS, bodies, chosen, custom, writes
from test_fields import ROWS, fields, mapped, notes, states

from dbt_pendo.sandbox import Fault

MAPPING = {"plan": "plan", "Seat_Count": "seats", "mrr": "mrr", "active": "active", "since": "since"}
VARIANTS: list[dict[str, Any]] = [
    {"drop_underscores": True, "undocumented_replies": "json"},
    {"number_becomes": "integer", "error_bodies": "empty"},
    {"field_reply": "list", "invalid_field": "create others"},
    {"field_reply": "empty"},
]


def created(**fields: Any) -> dict[str, Any]:
    return {**mapped(**fields), "create_fields": True}


@pytest.mark.parametrize("switches", VARIANTS, ids=json.dumps)
def test_missing_fields_are_created_with_the_type_of_the_column(project, sandbox, switches):
    sandbox.switches = chosen(**switches)
    sandbox.add_visitors(["a"])
    sandbox.add_field("visitor", "custom", "plan", "string")
    seen = {"seen": {"column": "since", "group": "agent"}, "source": {"value": "dbt"}, "n": {"value": 3}}
    project.model("people", mapped(**MAPPING, **seen), ROWS)
    names = [*MAPPING, *seen]
    assert states(fields(project, status=2)) == {"plan": "ok", **dict.fromkeys(names[1:], "missing")}
    assert writes(sandbox.requests) == []
    ended = fields(project, "--create")
    assert states(ended) == {"plan": "ok", **dict.fromkeys(names[1:], "created")}
    number = switches.get("number_becomes", "float")
    seats = "seatcount" if switches.get("drop_underscores") else "seat_count"
    assert {(field["name"], field["group"], field["key"], field["type"]) for field in ended.result()["fields"]} == {
        ("plan", "custom", "plan", "string"),
        ("Seat_Count", "custom", seats, number),
        ("mrr", "custom", "mrr", number),
        ("active", "custom", "active", "boolean"),
        ("since", "custom", "since", "time"),
        ("seen", "agent", "seen", "time"),
        ("source", "custom", "source", "string"),
        ("n", "custom", "n", number),
    }
    assert len(writes(sandbox.requests)) == 2
    # By now they are there, and a sync fills them.
    assert set(states(fields(project, "--create")).values()) == {"ok"}
    assert len(writes(sandbox.requests)) == 2
    assert fields(project).json["unmapped"] == []
    if number == "float":
        assert project.sync().result()["delivered"] == 1
        assert custom(sandbox.visitors)["a"][seats] == 3


def test_what_may_have_been_meant_is_said_of_new_fields_too(people, sandbox):
    """`create_fields` makes a field of every slip: one of another group, or almost one that is there."""
    sandbox.add_field("visitor", "agent", "tier", "string")
    people.annotate("people", created(plan="plan", tier="plan", plans="plan", x="id"))
    assert "`tier` is a new custom field. There is one in the group" in people.run("fields").expect(0).stdout
    for args, state in (([], "to create"), (["--create"], "created")):
        assert writes(sandbox.requests) == []
        ended = fields(people, *args)
        assert states(ended) == {"plan": "ok", "tier": state, "plans": state, "x": state}
        assert {name: notes(ended)[name] for name in ("tier", "plans", "x")} == {
            "tier": "`tier` is a new custom field. There is one in the group `agent`.",
            "plans": "`plans` is a new custom field. Did you mean `plan`?",
            "x": None,
        }
    # Of two syncs that want the same field one creates it.
    sandbox.forget_requests()
    for name in ("people", "more"):
        people.model(name, mapped(Rank="plan"), PEOPLE_ROWS)
    ended = fields(people, "--create")
    assert sorted(states(ended, sync)["Rank"] for sync in ("people", "more")) == ["created", "ok"]
    assert len(writes(sandbox.requests)) == 1


def test_names_and_columns_no_field_can_be_created_for(people, sandbox):
    people.build("people", "select 'a' as id, 'pro' as plan, ['x'] as tags, 'x'::blob as raw, {'a': 1} as nested")
    wrong = {"Prénom (1st)": "plan", "tags": "tags", "flags": {"value": ["x", "y"]}}
    unfit = {"raw": "raw", "nested": "nested", "since": {"column": "raw", "type": "time"}}
    people.annotate("people", mapped(**wrong, **unfit, tier="plan"))
    ended = fields(people, "--create", status=2)
    # The others are created; what Pendo would refuse is never sent.
    assert states(ended) == {**dict.fromkeys(wrong, "missing"), **dict.fromkeys(unfit, "mismatch"), "tier": "created"}
    assert bodies(sandbox.requests) == [[{"name": "tier", "displayname": "tier", "type": "string"}]]
    assert "write `Prenom_1st`" in notes(ended)["Prénom (1st)"]
    assert "Pendo's API creates no list fields" in notes(ended)["tags"]
    assert "column raw is blob, which the string field raw cannot hold" in notes(ended)["raw"]
    # A sync that could not run creates nothing at all.
    people.annotate("people", created(**{"Prénom (1st)": "plan", "rank": "plan", "tags": "tags"}))
    sandbox.forget_requests()
    for command in ("check", "sync"):
        people.run(command).expect(2).says("write `Prenom_1st`", "creates no list fields")
    assert writes(sandbox.requests) == []
    # In Pendo's pages one can create a list.
    sandbox.add_field("visitor", "custom", "tags", "list")
    people.annotate("people", created(tags="tags"))
    people.sync()
    assert custom(sandbox.visitors)["a"] == {"tags": ["x"]}


def test_a_field_pendo_left_out_is_no_field(people, sandbox):
    """A 200 proves nothing: the schema is what counts."""
    people.annotate("people", created(plan="plan", tier="plan"))
    sandbox.fail(Fault("status", status=200, body="{}", path="/schema/visitor/custom", times=2))
    ended = fields(people, "--create", status=2)
    assert states(ended) == {"plan": "ok", "tier": "missing"}
    assert "took the request to create `tier`, and has no such field" in notes(ended)["tier"]
    result = people.sync(status=2).result()
    assert "took the request to create `tier`, and has no such field" in result["message"]
    assert custom(sandbox.visitors) == {"a": {}, "b": {}}
    # The next run may have more luck.
    assert people.sync().result()["delivered"] == 2
    assert custom(sandbox.visitors)["a"] == {"plan": "pro", "tier": "pro"}


def test_an_answer_that_was_lost(people, sandbox):
    """Sent again, the call is about fields that exist by then, which a Pendo may refuse."""
    people.annotate("people", created(plan="plan", tier="plan"))
    sandbox.fail(Fault("close", when="after", path="/schema/visitor/custom"))
    assert states(fields(people, "--create")) == {"plan": "ok", "tier": "created"}
    people.sync()
    assert custom(sandbox.visitors)["a"] == {"plan": "pro", "tier": "pro"}


@pytest.mark.parametrize("reply", ["object", "list", "empty"])
def test_a_field_somebody_else_made_meanwhile(people, sandbox, reply):
    sandbox.switches = chosen(field_reply=reply)
    sandbox.add_field("visitor", "custom", "tier", "string")
    people.annotate("people", mapped(tier="plan", rank="plan"))
    # The first look at the schema is of before.
    sandbox.fail(Fault("status", status=200, body='{"custom": {}}', path="/metadata/schema/visitor"))
    assert states(fields(people, "--create")) == {"tier": "created", "rank": "created"}
    assert len(writes(sandbox.requests)) == 1
    assert people.sync().result()["delivered"] == 2


def test_creation_that_pendo_refuses(people, sandbox):
    sandbox.switches = chosen(creatable_types=("string",), drop_underscores=True)
    people.build("people", "select 'a' as id, 'pro' as plan, 3 as seats")
    people.annotate("people", mapped(tier="plan", seats={"column": "seats", "group": "agent"}))
    ended = fields(people, "--create", status=1)
    # What came before it is there.
    assert states(ended) == {"tier": "ok", "seats": "missing"}
    refusal = "Pendo does not create the agent field seats of visitors: field 'seats' cannot have type 'number'."
    assert refusal in ended.result()["message"]
    assert len(writes(sandbox.requests)) == 2
    # Names that Pendo makes one field of.
    people.annotate("people", created(Seat_Count="plan", seatcount="plan"))
    result = people.sync(status=2).result()
    assert "`seatcount` and `Seat_Count` are the same custom field, `seatcount`." in result["message"]
    assert custom(sandbox.visitors) == {"a": {}, "b": {}}


def test_many_fields_are_created_24_a_call(people, sandbox):
    names = [f"f{number}" for number in range(50)]
    people.annotate("people", created(**dict.fromkeys(names, "plan")))
    assert people.sync().outcome == ("success", 2, 0, 0)
    calls = [body for body in bodies(sandbox.requests, "/schema/") if isinstance(body, list)]
    assert list(map(len, calls)) == [24, 24, 2]
    assert custom(sandbox.visitors)["a"] == dict.fromkeys(names, "pro")


@pytest.mark.parametrize("reply", ["object", "list", "empty"])
@pytest.mark.parametrize("invalid", ["refuse call", "create others"])
def test_each_refused_field_is_named_with_its_reason(people, sandbox, reply, invalid):
    """Of a 422 some or none of the others are made, and its body may say nothing: then each is asked for alone."""
    sandbox.switches = chosen(
        creatable_types=("string",), field_reply=reply, invalid_field=invalid, error_bodies="text"
    )
    people.build("people", "select 'a' as id, 'pro' as plan, 3 as seats, true as active")
    people.annotate("people", created(tier="plan", seats="seats", active="active"))
    result = people.sync(status=1).result()
    for name, type_ in (("seats", "number"), ("active", "boolean")):
        why = "HTTP 422" if reply == "empty" else f"field '{name}' cannot have type '{type_}'"
        assert f"Pendo does not create the custom field {name} of visitors: {why}." in result["message"]
    assert "custom field tier" not in result["message"]
    assert people.sync(status=1).result()["status"] == "error"
    assert states(fields(people))["tier"] == "ok"


def test_all_fields_failed(people, sandbox, monkeypatch):
    """A 500 with a verdict on each field is none that may pass."""
    monkeypatch.setenv("PENDO_RETRIES", "5")
    people.annotate("people", created(tier="plan"))
    verdict = {"schema": {"name": "tier"}, "status": "FAILED", "error": {"message": "the limit is reached"}}
    body = json.dumps({"fields": [verdict], "summary": {"failed": 1, "total": 1}})
    sandbox.fail(Fault("status", status=500, body=body, path="/schema/visitor/custom", times=None))
    result = people.sync(status=1).result()
    assert "Pendo does not create the custom field tier of visitors: the limit is reached." in result["message"]
    assert len(writes(sandbox.requests)) == 1
    # Without one it may.
    sandbox.clear_faults()
    sandbox.fail(Fault("status", status=500, body="oops", path="/schema/visitor/custom"))
    assert people.sync().result()["delivered"] == 2


def test_a_field_that_existed_before(people, sandbox):
    people.annotate("people", created(tier="plan"))
    people.sync()
    people.run("fields", "--delete", "tier", "--force", "--json").expect(0)
    people.annotate("people", created(tier="plan", rank="plan"))
    ended = fields(people, "--create")
    again = "It existed before; Pendo brings its old values back within hours."
    assert notes(ended) == {"tier": again, "rank": None}
    # A sync says so, too.
    people.run("fields", "--delete", "tier", "--force", "--json").expect(0)
    result = people.sync().result()
    assert "created the custom field tier (string) in Pendo. It existed before" in result["message"]
    assert result["created_fields"] == [{"name": "tier", "group": "custom", "type": "string", "note": again}]
