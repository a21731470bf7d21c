"""Each kind of object and each option of a mapping: what Pendo is sent, and what it holds in the end."""

from __future__ import annotations

import json

import pytest
from harness import PEOPLE, bodies, custom, epoch_ms, planned, sent_ids, writes

from dbt_pendo.sandbox import Fault, Sandbox, Switches


def people(*rows: tuple[str | None, str | None]) -> str:
    """The select of ids and plans."""

    def literal(text: str | None) -> str:
        return "cast(null as varchar)" if text is None else "'" + text.replace("'", "''") + "'"

    values = ", ".join(f"({literal(key)}, {literal(plan)})" for key, plan in rows)
    return f"select * from (values {values}) rows(id, plan)"


@pytest.fixture
def plans(sandbox: Sandbox) -> Sandbox:
    """A Pendo with a field `plan` for visitors and accounts, and no record yet."""
    for kind in ("visitor", "account"):
        sandbox.add_field(kind, "custom", "plan", "string")
    return sandbox


def test_update_leaves_out_ids_that_pendo_does_not_know(project, plans):
    plans.add_visitors(["a", "b"])
    project.model("people", PEOPLE, people(("a", "pro"), ("b", None), ("stranger", "pro")))
    result = project.sync().result()
    assert result["planned"] == planned(added=3)
    assert (result["delivered"], result["missing"], result["rejected"]) == (2, 1, 0)
    assert "stranger" in result["message"]
    assert custom(plans.visitors) == {"a": {"plan": "pro"}, "b": {}}


@pytest.mark.parametrize("kind", ["visitor", "account"])
def test_upsert_creates_them(project, plans, kind):
    mapping = {"object": kind, f"{kind}_id": "id", "mode": "upsert", "fields": {"plan": "plan"}}
    project.model("people", mapping, people(("a", "pro"), ("b", None)))
    result = project.sync().result()
    assert (result["object"], result["delivered"], result["missing"]) == (kind, 2, 0)
    assert custom(getattr(plans, f"{kind}s")) == {"a": {"plan": "pro"}, "b": {}}
    (request,) = writes(plans.requests)
    assert (request.path, request.query) == (f"/api/v1/metadata/{kind}/custom/value", "create=true")
    assert sorted(record[f"{kind}Id"] for record in json.loads(request.body)) == ["a", "b"]


def test_upsert_without_fields_creates_records(project, plans):
    project.model(
        "people", {"object": "visitor", "visitor_id": "id", "mode": "upsert"}, people(("a", None), ("b", "x"))
    )
    assert project.sync().result()["delivered"] == 2
    assert custom(plans.visitors) == {"a": {}, "b": {}}


def test_accounts_are_updated(project, plans):
    plans.add_accounts({"a": {"custom": {"plan": "free"}}, "b": {"custom": {"plan": "free"}}})
    project.model(
        "orgs",
        {"object": "account", "account_id": "id", "fields": {"plan": "plan"}},
        people(("a", "pro"), ("c", "pro")),
    )
    result = project.sync().result()
    assert (result["delivered"], result["missing"]) == (1, 1)
    assert custom(plans.accounts) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}


def test_each_group_is_a_request_of_its_own(project, sandbox):
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_field("visitor", "agent", "plan", "string")
    sandbox.add_field("visitor", "agent", "seats", "integer")
    sandbox.add_visitors(["a", "b"])
    project.model(
        "people",
        {**PEOPLE, "group": "agent", "fields": {"plan": {"column": "plan", "group": "custom"}, "seats": "seats"}},
        "select * from (values ('a', 'pro', 3), ('b', 'free', 4)) rows(id, plan, seats)",
    )
    result = project.sync().result()
    assert (result["delivered"], result["requests"]) == (2, 2)
    assert sorted(request.path for request in writes(sandbox.requests)) == [
        "/api/v1/metadata/visitor/agent/value",
        "/api/v1/metadata/visitor/custom/value",
    ]
    assert custom(sandbox.visitors) == {"a": {"plan": "pro"}, "b": {"plan": "free"}}
    assert custom(sandbox.visitors, "agent") == {"a": {"seats": 3}, "b": {"seats": 4}}


def test_a_row_is_delivered_when_all_its_groups_are(project, sandbox):
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_field("visitor", "agent", "seats", "")
    sandbox.add_visitors(["a", "b"])
    mapping = {**PEOPLE, "fields": {"plan": "plan", "seats": {"column": "seats", "group": "agent"}}}
    project.model("people", mapping, "select * from (values ('a', 'pro', 3), ('b', 'free', 4)) rows(id, plan, seats)")
    sandbox.fail(Fault("status", status=400, body="no", path="/agent/", body_contains='"b"', times=None))
    result = project.sync(status=1).result()
    assert (result["status"], result["delivered"], result["rejected"]) == ("partial", 1, 1)
    assert project.statuses("people") == {"a": "delivered", "b": "rejected"}
    sandbox.clear_faults()
    sandbox.forget_requests()
    # Both groups again: it is the row that was not delivered.
    assert project.sync().result()["delivered"] == 1
    assert sent_ids(sandbox.requests, "visitor") == ["b", "b"]
    assert custom(sandbox.visitors, "agent") == {"a": {"seats": 3}, "b": {"seats": 4}}


@pytest.mark.parametrize("nulls", ["clear", "skip"])
def test_a_null_clears_the_field_or_is_left_out(project, plans, nulls):
    plans.add_visitors({"a": {"custom": {"plan": "old"}}})
    project.model("people", {**PEOPLE, "nulls": nulls}, people(("a", None)))
    assert project.sync().result()["delivered"] == 1
    if nulls == "clear":
        assert bodies(plans.requests) == [[{"visitorId": "a", "values": {"plan": None}}]]
        assert custom(plans.visitors) == {"a": {}}
    else:
        # A record without a value has nothing to say, and Pendo refuses a call without values.
        assert (bodies(plans.requests), custom(plans.visitors)) == ([], {"a": {"plan": "old"}})


def test_nulls_of_one_field_differ_from_the_syncs(project, plans):
    plans.add_field("visitor", "custom", "team", "string")
    plans.add_visitors({"a": {"custom": {"plan": "old", "team": "old"}}})
    mapping = {**PEOPLE, "nulls": "skip", "fields": {"plan": "plan", "team": {"column": "team", "nulls": "clear"}}}
    project.model("people", mapping, "select 'a' as id, cast(null as varchar) as plan, cast(null as varchar) as team")
    project.sync()
    assert custom(plans.visitors) == {"a": {"plan": "old"}}


def test_on_removed_keep(project, plans):
    """Who left the model is recorded, once and without a request; whoever comes back is sent."""
    plans.add_visitors(["a", "b"])
    project.model("people", PEOPLE, people(("a", "pro"), ("b", "pro")))
    project.sync()
    plans.forget_requests()
    project.build("people", people(("a", "pro")))
    assert project.plan().planned == planned(removed=1, unchanged=1)
    result = project.sync().result()
    assert result["planned"] == planned(removed=1, unchanged=1)
    assert (result["status"], result["delivered"]) == ("success", 1)
    assert result["message"] == "1 left the model: noted in the ledger, kept in Pendo"
    assert (writes(plans.requests), project.statuses("people")) == ([], {"a": "delivered", "b": "removed"})
    # Once is enough.
    entries = len(project.ledger("people"))
    assert project.sync().planned == planned(unchanged=1)
    assert len(project.ledger("people")) == entries
    assert custom(plans.visitors) == {"a": {"plan": "pro"}, "b": {"plan": "pro"}}
    # And back again.
    project.build("people", people(("a", "pro"), ("b", "pro")))
    assert project.sync().planned == planned(added=1, unchanged=1)
    assert sent_ids(plans.requests, "visitor") == ["b"]
    assert project.sync().planned == planned(unchanged=2)


def test_on_removed_clear(project, plans):
    plans.add_field("visitor", "custom", "team", "string")
    plans.add_visitors({"a": {}, "b": {"custom": {"team": "x"}}})
    project.model("people", {**PEOPLE, "on_removed": "clear"}, people(("a", "pro"), ("b", "pro")))
    project.sync()
    plans.forget_requests()
    project.build("people", people(("a", "pro")))
    result = project.sync().result()
    assert (result["planned"], result["delivered"]) == (planned(removed=1, unchanged=1), 1)
    assert bodies(plans.requests) == [[{"visitorId": "b", "values": {"plan": None}}]]
    assert custom(plans.visitors) == {"a": {"plan": "pro"}, "b": {"team": "x"}}
    assert project.statuses("people") == {"a": "delivered", "b": "removed"}
    # Once is enough.
    plans.forget_requests()
    assert project.sync().planned == planned(unchanged=1)
    assert writes(plans.requests) == []
    # And back again.
    project.build("people", people(("a", "pro"), ("b", "pro")))
    assert project.sync().planned == planned(added=1, unchanged=1)
    assert custom(plans.visitors) == {"a": {"plan": "pro"}, "b": {"team": "x", "plan": "pro"}}


@pytest.mark.parametrize("kind", ["visitor", "account"])
def test_on_removed_delete(project, plans, kind):
    mapping = {
        "object": kind,
        f"{kind}_id": "id",
        "mode": "upsert",
        "on_removed": "delete",
        "max_removals": 2,
        "fields": {"plan": "plan"},
    }
    project.model("people", mapping, people(("a", "pro"), ("b", "pro"), ("c", "pro")))
    project.sync()
    plans.forget_requests()
    project.build("people", people(("a", "pro"), ("d", "new")))
    result = project.sync().result()
    assert result["planned"] == planned(added=1, removed=2, unchanged=1)
    assert (result["delivered"], result["missing"], result["rejected"]) == (3, 0, 0)
    ((deleted),) = bodies(plans.requests, "/bulkdelete/")
    assert {name: sorted(ids) for name, ids in deleted.items()} == {f"{kind}s": ["b", "c"]}
    assert sorted(getattr(plans, f"{kind}s")) == ["a", "d"]
    assert project.statuses("people") == {"a": "delivered", "b": "removed", "c": "removed", "d": "delivered"}
    plans.forget_requests()
    assert project.sync().planned == planned(unchanged=2)
    assert writes(plans.requests) == []


def test_a_row_that_was_never_delivered_is_not_removed(project, plans):
    plans.add_visitors(["a"])
    project.model("people", {**PEOPLE, "on_removed": "delete"}, people(("a", "pro"), ("stranger", "pro")))
    project.sync()
    project.build("people", people(("a", "pro")))
    assert project.sync().planned == planned(unchanged=1)


def test_fields_are_created_on_request(project, sandbox):
    sandbox.add_visitors(["a"])
    mapping = {
        **PEOPLE,
        "create_fields": True,
        "fields": {
            "Plan": "plan",
            "seats": "seats",
            "mrr": "mrr",
            "active": "active",
            "since": "since",
            "seen": {"column": "seen", "group": "agent"},
        },
    }
    project.model(
        "people",
        mapping,
        "select 'a' as id, 'pro' as plan, 3 as seats, 1.5::decimal(10, 2) as mrr, true as active, "
        "date '2026-01-02' as since, timestamptz '2026-01-02 03:04:05+02' as seen",
    )
    assert project.check().result()["status"] == "success"
    assert writes(sandbox.requests) == []
    assert project.plan("--show", "1").planned == planned(added=1)
    assert writes(sandbox.requests) == []
    assert project.sync().result()["delivered"] == 1
    created = {
        request.path: {field["name"]: field["type"] for field in json.loads(request.body)}
        for request in writes(sandbox.requests)
        if "/schema/" in request.path
    }
    assert created == {
        "/api/v1/metadata/schema/visitor/custom": {
            "Plan": "string",
            "seats": "number",
            "mrr": "number",
            "active": "boolean",
            "since": "time",
        },
        "/api/v1/metadata/schema/visitor/agent": {"seen": "time"},
    }
    assert custom(sandbox.visitors) == {
        "a": {"plan": "pro", "seats": 3, "mrr": 1.5, "active": True, "since": epoch_ms("2026-01-02")}
    }
    assert custom(sandbox.visitors, "agent") == {"a": {"seen": epoch_ms("2026-01-02T01:04:05")}}
    # They are there now; nobody creates them again.
    sandbox.forget_requests()
    project.sync()
    assert writes(sandbox.requests) == []


def test_constants(project, sandbox):
    for name, type_ in {
        "text": "string",
        "seats": "integer",
        "share": "float",
        "on": "boolean",
        "tags": "list",
    }.items():
        sandbox.add_field("visitor", "custom", name, type_)
    sandbox.add_field("visitor", "custom", "gone", "string")
    sandbox.add_visitors({"a": {"custom": {"gone": "old"}}})
    constants = {"text": "it's", "seats": 3, "share": 0.5, "on": False, "tags": ["x", "y"], "gone": None}
    mapping = {**PEOPLE, "fields": {name: {"value": value} for name, value in constants.items()}}
    project.model("people", mapping, people(("a", None)))
    project.sync()
    del constants["gone"]
    assert custom(sandbox.visitors) == {"a": constants}


def test_columns_are_mapped_at_the_column(project, sandbox):
    for name, type_ in {"plan": "string", "admin": "boolean", "seats": "integer"}.items():
        sandbox.add_field("visitor", "custom", name, type_)
    sandbox.add_visitors(["a"])
    project.model(
        "people",
        PEOPLE,
        "select 'a' as id, 'pro' as plan, true as is_admin, 3 as seats, 'x' as team",
        columns={"is_admin": "admin", "seats": True, "team": False},
    )
    project.sync()
    assert custom(sandbox.visitors) == {"a": {"plan": "pro", "admin": True, "seats": 3}}


def test_a_model_has_several_syncs(project, plans):
    plans.add_visitors(["a", "b"])
    plans.add_field("visitor", "agent", "plan", "string")
    syncs = [
        {**PEOPLE, "name": "ours"},
        {**PEOPLE, "name": "agents", "group": "agent"},
        {"name": "orgs", "object": "account", "account_id": "id", "mode": "upsert", "fields": {"plan": "plan"}},
        {**PEOPLE, "name": "off", "enabled": False},
    ]
    project.model("people", syncs, people(("a", "pro"), ("b", "free")))
    document = project.sync().json
    assert [(result["sync"], result["object"]) for result in document["results"]] == [
        ("people.ours", "visitor"),
        ("people.agents", "visitor"),
        ("people.orgs", "account"),
    ]
    expected = {"a": {"plan": "pro"}, "b": {"plan": "free"}}
    assert custom(plans.visitors) == custom(plans.visitors, "agent") == custom(plans.accounts) == expected
    assert project.tables() == {
        "pendo_runs",
        *(f"people__{name}__{suffix}" for name in ("ours", "agents", "orgs") for suffix in ("changes", "ledger")),
    }
    # Each has its own ledger: a change of one mapping resends that sync alone.
    plans.add_field("visitor", "custom", "source", "string")
    syncs[0] = {**syncs[0], "fields": {"plan": "plan", "source": {"value": "dbt"}}}
    project.annotate("people", syncs)
    plans.forget_requests()
    project.sync()
    assert [request.path for request in writes(plans.requests)] == ["/api/v1/metadata/visitor/custom/value"]


ODD_IDS = [
    "USR-1",
    "usr-1",
    "Usr-1",
    "o'brien",
    'she said "hi"',
    "back\\slash",
    "line\nbreak",
    "carriage\rreturn",
    "tab\there",
    "{{ jinja }}",
    "{% raw %}",
    "{# gone #}",
    "emoji 🦆👩‍👩‍👧",
    "ünïcödé",
    "李美玲",
    "דנה",
    "percent%20s %s %(x)s",
    "semi;colon -- comment",
    "$1 ? :name",
    " leading and trailing ",
    "null",
    "0",
    "a" * 300,
    "e\u0301",  # the same letter in two spellings: two ids
    "\u00e9",
]


def odd_rows() -> str:
    return people(*((odd, f"plan of {odd}") for odd in ODD_IDS))


def test_odd_ids_are_sent_as_they_are(project, plans):
    known = [odd for at, odd in enumerate(ODD_IDS) if at % 3]
    plans.add_visitors(known)
    project.model("people", PEOPLE, odd_rows())
    result = project.sync().result()
    assert result["planned"] == planned(added=len(ODD_IDS))
    assert (result["delivered"], result["missing"]) == (len(known), len(ODD_IDS) - len(known))
    assert sent_ids(plans.requests, "visitor") == sorted(ODD_IDS)
    assert custom(plans.visitors) == {odd: {"plan": f"plan of {odd}"} for odd in known}
    assert project.statuses("people") == {odd: "delivered" if odd in known else "missing" for odd in ODD_IDS}
    # The ledger knows each of them again.
    plans.forget_requests()
    assert project.sync().planned["unchanged"] == len(known)
    assert sent_ids(plans.requests, "visitor") == sorted(set(ODD_IDS) - set(known))


def test_odd_ids_are_told_apart_by_halving(project, sandbox):
    # Pendo refuses every call that holds one of these, and does not say which: only halving finds them.
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(ODD_IDS)
    bad = [odd for at, odd in enumerate(ODD_IDS) if at % 3 == 0]
    for odd in bad:
        text = json.dumps(odd, ensure_ascii=False)
        sandbox.fail(Fault("status", status=400, body="bad", body_contains=f'"visitorId":{text}', times=None))
    project.model("people", PEOPLE, odd_rows())
    result = project.sync(status=1).result()
    assert (result["delivered"], result["rejected"]) == (len(ODD_IDS) - len(bad), len(bad))
    assert {key for key, status in project.statuses("people").items() if status == "rejected"} == set(bad)
    assert {odd for odd, fields in custom(sandbox.visitors).items() if not fields} == set(bad)


def test_bad_keys_are_invalid(project, plans):
    keys = ["a", "twice", "twice", None, "", "   ", "_PENDO_T_abc", "VISITOR-UNIQUE-ID", "visitor-unique-id"]
    plans.add_visitors([key for key in keys if key])
    project.model("people", PEOPLE, people(*((key, "pro") for key in keys)))
    result = project.sync().result()
    assert result["planned"] == planned(added=2, invalid=7)
    assert sent_ids(plans.requests, "visitor") == ["a", "visitor-unique-id"]
    assert "2 rows have this key (2, e.g. twice)" in result["message"]
    assert "an anonymous visitor id (2" in result["message"]
    assert "the key is empty (2)" in result["message"]
    assert {entry["record_key"]: entry["detail"] for entry in project.ledger("people")} == {
        "a": None,
        "visitor-unique-id": None,
        "twice": "2 rows have this key",
        "": "the key is empty",
        "   ": "the key is empty",
        "_PENDO_T_abc": "an anonymous visitor id",
        "VISITOR-UNIQUE-ID": "an anonymous visitor id",
    }
    # Account ids may look like that.
    project.model(
        "orgs",
        {"object": "account", "account_id": "id", "mode": "upsert", "fields": {"plan": "plan"}},
        people(("_PENDO_T_abc", "pro")),
    )
    assert project.sync("--select", "orgs").result()["delivered"] == 1


def test_a_row_whose_value_cannot_be_sent_is_invalid_and_its_neighbours_are_not(project, sandbox):
    for name, type_ in {"share": "float", "seats": "integer", "when": "time", "tags": "list"}.items():
        sandbox.add_field("visitor", "custom", name, type_)
    sandbox.add_visitors(list("abcdef"))
    project.model(
        "people",
        {**PEOPLE, "fields": {"share": "share", "seats": "seats", "when": "happened", "tags": "tags"}},
        """
        select * from (values
            ('a', 0.5::double, '3', '2026-01-02T03:04:05Z', ['x', 'y']),
            ('b', 'nan'::double, '3', '2026-01-02T03:04:05Z', ['x']),
            ('c', 'infinity'::double, '3', '2026-01-02T03:04:05Z', ['x']),
            ('d', 0.5::double, 'three', '2026-01-02T03:04:05Z', ['x']),
            ('e', 0.5::double, '9223372036854775808', '2026-01-02T03:04:05Z', ['x']),
            ('f', 0.5::double, '-9223372036854775808', 'yesterday', ['x'])
        ) rows(id, share, seats, happened, tags)""",
    )
    result = project.sync().result()
    assert result["planned"] == planned(added=1, invalid=5)
    assert (result["status"], result["delivered"]) == ("success", 1)
    assert custom(sandbox.visitors)["a"] == {
        "share": 0.5,
        "seats": 3,
        "when": epoch_ms("2026-01-02T03:04:05"),
        "tags": ["x", "y"],
    }
    details = {entry["record_key"]: entry["detail"] for entry in project.ledger("people")}
    assert details == {
        "a": None,
        "b": "share: not a number (NaN)",
        "c": "share: infinite",
        "d": "seats: 'three' is not a whole number",
        "e": "seats: 9223372036854775808 does not fit into 64 bits",
        "f": "when: 'yesterday' is not an ISO 8601 time",
    }


def test_values_become_what_pendos_schema_says(project, sandbox):
    fields = {
        "decimal": ("1.10::decimal(38, 10)", "float", 1.1),
        "whole": ("12::decimal(38, 0)", "integer", 12),
        "huge": ("9223372036854775807::bigint", "integer", 2**63 - 1),
        "hugeint": ("9007199254740993::hugeint", "integer", 9007199254740993),
        "text": ("42", "string", "42"),
        "amount": ("1.50::decimal(10, 2)", "string", "1.50"),
        "flag": ("'Yes'", "boolean", True),
        "day": ("date '2026-02-28'", "time", epoch_ms("2026-02-28")),
        "daytext": ("date '2026-02-28'", "string", "2026-02-28"),
        "naive": ("timestamp '2026-02-28 23:59:59.999'", "time", epoch_ms("2026-02-28T23:59:59.999")),
        "zoned": ("timestamptz '2026-02-28 23:59:59-05'", "time", epoch_ms("2026-03-01T04:59:59")),
        "old": ("timestamp '1969-07-20 20:17:40'", "time", -14182940000),
        "tags": ("['b', 'a', 'b']", "list", ["b", "a", "b"]),
        "numbers": ("[1, 2]", "list", [1, 2]),
        "any": ("1.25::decimal(5, 2)", "", 1.25),
        "uuid": ("'6b1f0c1e-0000-4000-8000-000000000001'::uuid", "string", "6b1f0c1e-0000-4000-8000-000000000001"),
        "blank": ("''", "string", ""),
        "zero": ("0", "integer", 0),
        "never": ("false", "boolean", False),
    }
    for name, (_, type_, _) in fields.items():
        sandbox.add_field("visitor", "custom", name, type_)
    sandbox.add_visitors(["a"])
    project.model(
        "people",
        {"object": "visitor", "visitor_id": "id", "fields": {name: f"c_{name}" for name in fields}},
        "select 'a' as id, " + ", ".join(f"{sql} as c_{name}" for name, (sql, _, _) in fields.items()),
    )
    result = project.sync().result()
    assert result["message"] is None
    held = custom(sandbox.visitors)["a"]
    assert held == {name: value for name, (_, _, value) in fields.items()}
    assert {name: type(value) for name, value in held.items()} == {
        name: type(value) for name, (_, _, value) in fields.items()
    }


def test_the_mapping_says_the_type(project, sandbox):
    sandbox.add_field("visitor", "custom", "seats", "")
    sandbox.add_field("visitor", "custom", "since", "")
    sandbox.add_visitors(["a"])
    mapping = {
        **PEOPLE,
        "fields": {"seats": {"column": "seats", "type": "string"}, "since": {"column": "since", "type": "time"}},
    }
    project.model("people", mapping, "select 'a' as id, 3 as seats, '2026-01-02' as since")
    project.sync()
    ((record,),) = bodies(sandbox.requests)
    assert record["values"] == {"seats": "3", "since": "2026-01-02T00:00:00.000+00:00"}


def test_pendos_key_is_found_whatever_the_case(project, sandbox):
    sandbox.switches = Switches(drop_underscores=True)
    sandbox.add_field("visitor", "custom", "Plan_Name", "string")
    sandbox.add_visitors(["a"])
    project.model(
        "people", {"object": "visitor", "visitor_id": "id", "fields": {"Plan_Name": "plan"}}, people(("a", "pro"))
    )
    project.sync()
    assert bodies(sandbox.requests) == [[{"visitorId": "a", "values": {"planname": "pro"}}]]


def test_columns_whose_names_are_ours_or_odd(project, sandbox):
    names = ["bucket", "seq", "change", "record_key", "row_hash", "detail", "invalid_hash", "status", "run_id"]
    names += ["present", "copies", "logged_at", "select", "at", "Mixed Case", "semi;colon", "naïve"]
    for at in range(len(names)):
        sandbox.add_field("visitor", "custom", f"f{at}", "string")
    sandbox.add_visitors(["a", "b"])

    def rows(text: str) -> str:
        columns = ", ".join(f"'{text} {at}' as " + '"' + name.replace('"', '""') + '"' for at, name in enumerate(names))
        return f"select key as id, {columns} from (values ('a'), ('b')) keys(key)"

    mapping = {"object": "visitor", "visitor_id": "id", "fields": {f"f{at}": name for at, name in enumerate(names)}}
    project.model("people", mapping, rows("old"))
    project.sync()
    project.build("people", rows("new"))
    assert project.sync().planned == planned(changed=2)
    assert custom(sandbox.visitors)["b"] == {f"f{at}": f"new {at}" for at in range(len(names))}


def test_batches_of_records(project, plans):
    project.model(
        "people", {**PEOPLE, "mode": "upsert", "batch_size": 4}, people(*((f"v{at}", "x") for at in range(10)))
    )
    project.sync()
    assert (sorted(len(body) for body in bodies(plans.requests)), len(plans.visitors)) == ([2, 4, 4], 10)


def test_the_default_batch_holds_500_records(project, plans):
    project.model("people", {**PEOPLE, "mode": "upsert"}, "select 'v' || i as id, 'x' as plan from range(1200) r(i)")
    project.sync()
    assert sorted(len(body) for body in bodies(plans.requests)) == [200, 500, 500]
    assert custom(plans.visitors) == {f"v{at}": {"plan": "x"} for at in range(1200)}


def test_a_visitor_whose_id_was_doubled_for_a_while_is_sent_when_it_changed(project, plans):
    plans.add_visitors(["a"])
    project.model("people", PEOPLE, people(("a", "free")))
    project.sync()
    project.build("people", people(("a", "free"), ("a", "pro")))
    assert project.sync().planned == planned(invalid=2)
    assert custom(plans.visitors) == {"a": {"plan": "free"}}
    project.build("people", people(("a", "free")))
    assert project.sync().planned == planned(unchanged=1)
    project.build("people", people(("a", "pro")))
    assert project.sync().planned == planned(changed=1)
    assert custom(plans.visitors) == {"a": {"plan": "pro"}}


def test_a_doubled_row_has_not_left_the_model(project, plans):
    plans.add_visitors(["a", "b"])
    project.model("people", {**PEOPLE, "on_removed": "delete"}, people(("a", "pro"), ("b", "pro")))
    project.sync()
    project.build("people", people(("a", "pro"), ("b", "pro"), ("b", "pro")))
    assert project.sync().planned == planned(unchanged=1, invalid=2)
    assert sorted(plans.visitors) == ["a", "b"]


def test_a_key_that_is_a_number(project, plans):
    plans.add_visitors(["1", "9007199254740993", "12"])
    project.model(
        "people",
        PEOPLE,
        "select 1::bigint as id, 'x' as plan union all select 9007199254740993, 'y' union all select 12, 'z'",
    )
    project.sync()
    assert custom(plans.visitors) == {"1": {"plan": "x"}, "9007199254740993": {"plan": "y"}, "12": {"plan": "z"}}


def test_an_empty_model(project, plans):
    project.model("people", PEOPLE, f"{people(('a', 'x'))} where false")
    result = project.sync().result()
    assert (result["status"], result["planned"], writes(plans.requests)) == ("success", planned(), [])


def test_a_view_is_read(project, plans):
    plans.add_visitors(["a"])
    project.model("people", PEOPLE, people(("a", "x")))
    project.sql(f"drop table main.people; create view main.people as {people(('a', 'viewed'))}")
    project.sync()
    assert custom(plans.visitors) == {"a": {"plan": "viewed"}}


def test_a_row_changes_and_changes_back(project, plans):
    plans.add_visitors(["a", "b"])
    project.model("people", PEOPLE, people(("a", "x"), ("b", "x")))
    for plan in ("x", "y", "x", "x"):
        project.build("people", people(("a", plan), ("b", "x")))
        project.sync()
        assert custom(plans.visitors) == {"a": {"plan": plan}, "b": {"plan": "x"}}
    assert len(writes(plans.requests)) == 3


def test_limits_of_the_hash_of_a_row(project, sandbox):
    """('ab', 'c') and ('a', 'bc'), null and text, '' and null are different rows."""
    for name in ("x", "y"):
        sandbox.add_field("visitor", "custom", name, "string")
    sandbox.add_visitors(["a"])
    mapping = {"object": "visitor", "visitor_id": "id", "fields": {"x": "x", "y": "y"}}
    project.model("people", mapping, "select 'a' as id, 'ab' as x, 'c' as y")
    project.sync()
    for x, y in (("a", "bc"), ("a", None), (None, "a"), ("-", "a"), ("", "a"), ("1:a", None), ("null", None)):
        project.sql("update main.people set x = ?, y = ?", [x, y])
        assert project.sync().planned == planned(changed=1), (x, y)
        assert custom(sandbox.visitors)["a"] == {n: v for n, v in (("x", x), ("y", y)) if v is not None}
