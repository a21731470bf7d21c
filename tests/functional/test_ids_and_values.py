"""Odd ids and columns, and values of every type: sent as they are, or invalid with a reason."""

from __future__ import annotations

from harness import PEOPLE, custom, epoch_ms, expect_in, planned, select, sent_ids

ODD_IDS = ["USR-1", "usr-1", "Usr-1", "o'brien", 'she said "hi"', "back\\slash", "line\nbreak", "carriage\rreturn"]
ODD_IDS += ["tab\there", "{{ jinja }}", "{% raw %}", "{# gone #}", "emoji 🦆👩‍👩‍👧", "ünïcödé", "李美玲", "דנה"]
ODD_IDS += ["percent%20s %s %(x)s", "semi;colon -- comment", "$1 ? :name", " leading and trailing ", "null", "0"]
# The last two are the same letter in two spellings: two ids.
ODD_IDS += ["a" * 300, "e\u0301", "\u00e9"]


def test_bad_keys_are_invalid(project, plans):
    keys = ["a", "twice", "twice", None, "", "   ", "_PENDO_T_abc", "VISITOR-UNIQUE-ID", "visitor-unique-id"]
    plans.add_visitors([key for key in keys if key])
    project.model("people", PEOPLE, select("id, plan", *((key, "pro") for key in keys)))
    ended = project.sync()
    assert ended.planned == planned(added=2, invalid=7)
    assert sent_ids(plans.requests, "visitor") == ["a", "visitor-unique-id"]
    reasons = ("2 rows have this key (2, e.g. twice)", "an anonymous visitor id (2", "the key is empty (2)")
    expect_in(ended.result()["message"], *reasons)
    assert {entry["record_key"]: entry["detail"] for entry in project.ledger("people")} == {
        **dict.fromkeys(("a", "visitor-unique-id"), None),
        "twice": "2 rows have this key",
        **dict.fromkeys(("", "   "), "the key is empty"),
        **dict.fromkeys(("_PENDO_T_abc", "VISITOR-UNIQUE-ID"), "an anonymous visitor id"),
    }
    # Account ids may look like that.
    mapping = {"object": "account", "account_id": "id", "mode": "upsert", "fields": {"plan": "plan"}}
    project.model("orgs", mapping, select("id, plan", ("_PENDO_T_abc", "pro")))
    assert project.sync("--select", "orgs").outcome == ("success", 1, 0, 0)


def test_a_key_that_was_doubled_for_a_while_is_sent_when_it_changed(project, plans):
    plans.add_visitors(["a"])
    project.model("people", PEOPLE, select("id, plan", ("a", "free")))
    project.sync()
    for plans_now, counts, held in (
        (("free", "pro"), {"invalid": 2}, "free"),
        (("free",), {"unchanged": 1}, "free"),
        (("pro",), {"changed": 1}, "pro"),
    ):
        project.build("people", select("id, plan", *(("a", plan) for plan in plans_now)))
        assert project.sync().planned == planned(**counts)
        assert custom(plans.visitors) == {"a": {"plan": held}}


def test_a_key_that_is_a_number(project, plans):
    keys = {"1": "x", "9007199254740993": "y", "12": "z"}
    plans.add_visitors(list(keys))
    rows = " union all ".join(f"select {key}::bigint as id, '{plan}' as plan" for key, plan in keys.items())
    project.model("people", PEOPLE, rows)
    project.sync()
    assert custom(plans.visitors) == {key: {"plan": plan} for key, plan in keys.items()}


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
    columns = ", ".join(f"{sql} as c_{name}" for name, (sql, _, _) in fields.items())
    mapping = {**PEOPLE, "fields": {name: f"c_{name}" for name in fields}}
    project.model("people", mapping, f"select 'a' as id, {columns}")
    assert project.sync().result()["message"] is None
    held = {name: (type(value), value) for name, value in custom(sandbox.visitors)["a"].items()}
    assert held == {name: (type(value), value) for name, (_, _, value) in fields.items()}
