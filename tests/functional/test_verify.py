"""``dbt-pendo verify``: what Pendo holds against what the warehouse says, and the repair of what drifted."""

from __future__ import annotations

from typing import Any

import pytest
from harness import PEOPLE, SmallProject, custom, expect_in, sent_ids

from dbt_pendo.pendo import records as readback
from dbt_pendo.sandbox import Fault, Sandbox, Switches

FIELDS = {
    "name": ("name", "string", "varchar"),
    "seats": ("seats", "integer", "bigint"),
    "mrr": ("mrr", "float", "decimal(12, 2)"),
    "score": ("score", "float", "double"),
    "joined": ("joined", "time", "timestamp"),
    "born": ("born", "time", "date"),
    "admin": ("admin", "boolean", "boolean"),
}
ROWS = """
select
    'v' || i as id,
    case when i % 7 = 0 then null else 'Name ' || i || ' "ö😀' end as name,
    i as seats,
    cast(i * 1.25 as decimal(12, 2)) as mrr,
    i / 3.0 as score,
    timestamp '2026-01-01 10:00:00.123456' + interval (i) hour as joined,
    date '1960-01-01' + cast(i as integer) as born,
    i % 2 = 0 as admin
from generate_series(1, 60) series(i)
"""


def mapping(kind: str = "visitor", **more: Any) -> dict[str, Any]:
    return {
        "object": kind,
        f"{kind}_id": "id",
        "fields": {name: column for name, (column, _, _) in FIELDS.items()},
        **more,
    }


@pytest.fixture
def pendo(sandbox: Sandbox) -> Sandbox:
    for kind in ("visitor", "account"):
        for name, (_, type_name, _) in FIELDS.items():
            sandbox.add_field(kind, "custom", name, type_name)
    return sandbox


def verify(project: SmallProject, *args: str, status: int = 0) -> dict[str, Any]:
    result = project.run("verify", "--json", *args).expect(status).result()
    # The document tells what the exit status does.
    assert (result["status"] in ("success", "skipped")) == (status == 0), result
    assert (result["status"] == "skipped") == (result["note"] is not None)
    return result


def counts(result: dict[str, Any]) -> tuple[int, int, int, int]:
    return result["equal"], result["drifted"], result["missing"], result["only_in_pendo"]


def write(sandbox: Sandbox, kind: str, key: str, **values: Any) -> None:
    """Somebody changes values in Pendo."""
    with sandbox.pendo.lock:
        sandbox.pendo.records[kind].add(key, {"custom": values})


@pytest.mark.parametrize("kind", ["visitor", "account"])
def test_what_was_just_synced_is_equal(project, pendo, kind, monkeypatch):
    monkeypatch.setattr(readback, "RECORDS_PER_PAGE", 7)
    project.model("people", mapping(kind, mode="upsert"), ROWS)
    project.sync()
    before = len(pendo.requests)
    result = verify(project)
    assert counts(result) == (60, 0, 0, 0)
    assert (result["fields"], result["examples"]) == ({}, [])
    # Nothing but reading, and pages of seven take ten requests: the last is empty.
    paths = [request.path for request in pendo.requests[before:] if request.method != "GET"]
    assert paths == ["/api/v1/aggregation"] * 10
    assert not {name for name in project.tables() if name.endswith(("__readback", "__drift"))}


def test_a_changed_value_is_found_and_repaired(project, pendo):
    project.model("people", mapping(mode="upsert"), ROWS)
    project.sync()
    held = custom(pendo.visitors)
    write(pendo, "visitor", "v1", name="Eve", seats=99)
    write(pendo, "visitor", "v2", joined=0)
    write(pendo, "visitor", "v3", admin=True, mrr=3.76)
    write(pendo, "visitor", "v7", name="not null any more")
    result = verify(project, status=1)
    assert counts(result) == (56, 4, 0, 0)
    assert (result["status"], result["message"]) == ("drifted", None)
    assert result["fields"] == {"name": 2, "seats": 1, "joined": 1, "mrr": 1, "admin": 1}
    found = {example["key"]: example["fields"] for example in result["examples"]}
    assert found["v1"]["name"] == {"warehouse": 'Name 1 "ö😀', "pendo": "Eve"}
    assert found["v7"] == {"name": {"warehouse": None, "pendo": "not null any more"}}
    assert found["v3"]["admin"] == {"warehouse": "false", "pendo": "true"}

    pendo.forget_requests()
    repaired = verify(project, "--repair")
    assert repaired["repaired"]["delivered"] == 4
    assert (sent_ids(pendo.requests, "visitor"), custom(pendo.visitors)) == (["v1", "v2", "v3", "v7"], held)
    assert counts(verify(project)) == (60, 0, 0, 0)
    # The ledger goes on as if nothing had been.
    assert project.sync().planned["unchanged"] == 60


def test_a_pendo_that_shows_writes_late(project, pendo):
    """Too early, what was just written looks like drift; a repair then writes the same again, and harms nothing."""
    project.model("people", mapping(mode="upsert"), ROWS)
    project.sync()
    pendo.switches = Switches(read_lag_seconds=3600)
    project.sql("update main.people set name = 'new' where id in ('v1', 'v2')")
    project.sync()
    held = custom(pendo.visitors)
    result = verify(project, status=1)
    assert counts(result) == (58, 2, 0, 0)
    assert {example["key"]: example["fields"]["name"]["pendo"] for example in result["examples"]} == {
        "v1": 'Name 1 "ö😀',
        "v2": 'Name 2 "ö😀',
    }
    assert verify(project, "--repair")["repaired"]["delivered"] == 2
    assert custom(pendo.visitors) == held


def test_missing_ones_are_made_anew_where_the_mapping_says_so(project, pendo):
    project.model("people", mapping(mode="upsert"), ROWS)
    project.sync()
    held = custom(pendo.visitors)
    with pendo.pendo.lock:
        for key in ("v5", "v6"):
            pendo.pendo.records["visitor"].remove(key, pendo.switches)
    pendo.add_visitors(["stranger", "_PENDO_T_anonymous"])
    project.annotate("people", mapping())
    result = verify(project)
    # Nobody is to be created: they are told of, and that is all.
    assert counts(result) == (58, 0, 2, 1)
    project.annotate("people", mapping(mode="upsert"))
    assert counts(verify(project, status=1)) == (58, 0, 2, 1)
    assert verify(project, "--repair")["repaired"]["delivered"] == 2
    assert custom({k: v for k, v in pendo.visitors.items() if k in held}) == held
    assert "stranger" in pendo.visitors


def test_what_is_not_sent_is_not_compared(project, pendo):
    project.model("people", mapping(mode="upsert", nulls="skip"), ROWS)
    project.sync()
    write(pendo, "visitor", "v7", name="theirs")
    assert counts(verify(project)) == (60, 0, 0, 0)


def test_rows_that_can_not_be_in_pendo_are_not_compared(project, pendo):
    pendo.add_visitors(["a", "b"])
    project.model(
        "people",
        {"object": "visitor", "visitor_id": "id", "fields": {"name": "name"}},
        "select * from (values ('a', 'x'), ('b', 'y'), ('b', 'z'), (null, 'n'), ('', 'e'), ('_PENDO_T_1', 't'))"
        " rows(id, name)",
    )
    project.sync()
    assert counts(verify(project)) == (1, 0, 0, 0)


def test_values_that_only_the_client_can_judge(project, sandbox):
    for name, kind in (("day", "time"), ("amount", "float"), ("label", "string"), ("tags", "list"), ("loose", "")):
        sandbox.add_field("visitor", "custom", name, kind)
    sandbox.add_field("visitor", "agent", "level", "integer")
    sandbox.add_visitors(["a", "b", "c"])
    fields = {
        "day": "day",
        "amount": "amount",
        "label": "number",
        "tags": "tags",
        "loose": "loose",
        "level": {"value": 3, "group": "agent"},
    }
    project.model(
        "people",
        {"object": "visitor", "visitor_id": "id", "fields": fields},
        "select * from (values ('a', '2026-01-01', '1.50', 1e21, ['x', 'y'], 1), ('b', null, '2', 0.1, [], 2),"
        " ('c', '2026-01-01T00:00:00+02:00', null, null, null, null)) rows(id, day, amount, number, tags, loose)",
    )
    assert project.sync().result()["delivered"] == 3
    assert counts(verify(project)) == (3, 0, 0, 0)
    with sandbox.pendo.lock:
        sandbox.pendo.records["visitor"].add("b", {"custom": {"tags": ["z"]}, "agent": {"level": 4}})
    result = verify(project, status=1)
    assert (result["drifted"], result["fields"]) == (1, {"tags": 1, "level": 1})
    assert verify(project, "--repair")["drifted"] == 1
    assert counts(verify(project)) == (3, 0, 0, 0)


def test_nulls_in_lists_are_left_out(project, sandbox):
    for name, kind in (("tags", "list"), ("loose", "")):
        sandbox.add_field("visitor", "custom", name, kind)
    sandbox.add_visitors(["a", "b"])
    project.model(
        "people",
        {"object": "visitor", "visitor_id": "id", "fields": {"tags": "tags", "loose": "scores"}},
        "select * from (values ('a', ['x', null, 'y'], [1.5, null]), ('b', [null], null)) rows(id, tags, scores)",
    )
    assert project.sync().result()["delivered"] == 2
    assert custom(sandbox.visitors) == {"a": {"tags": ["x", "y"], "loose": [1.5]}, "b": {"tags": []}}
    assert counts(verify(project)) == (2, 0, 0, 0)
    told = project.run("row", "people", "a", "--json").expect(0).json["results"][0]["values"]
    assert told[0]["warehouse"] == ["x", None, "y"]
    printed = project.run("row", "people", "a").expect(0).stdout
    assert '["x",null,"y"]' in printed
    assert "Decimal" not in printed


def test_a_repair_leaves_other_changes_to_the_sync(project, pendo):
    project.model("people", mapping(mode="upsert", on_removed="clear"), ROWS)
    project.sync()
    project.build("people", f"select * from ({ROWS}) where id <> 'v1'")
    write(pendo, "visitor", "v2", seats=0)
    pendo.forget_requests()
    verify(project, "--repair")
    assert sent_ids(pendo.requests, "visitor") == ["v2"]
    assert project.sync().planned["removed"] == 1


def test_events_cannot_be_read_back(project, sandbox):
    project.model(
        "clicks",
        {"object": "track_event", "event": "Click", "event_id": "id", "visitor_id": "id", "timestamp": "at"},
        "select '1' as id, now() as at",
    )
    result = verify(project)
    assert "events" in result["note"]
    assert counts(result) == (0, 0, 0, 0)


@pytest.mark.parametrize("needs_write", [False, True])
def test_a_key_that_may_only_read(project, pendo, monkeypatch, needs_write):
    """Whether reading back needs write access, sources disagree; nothing else of a verification does."""
    project.model("people", mapping(mode="upsert"), ROWS)
    project.sync()
    write(pendo, "visitor", "v1", seats=99)
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", pendo.read_only_key)
    pendo.switches = Switches(aggregation_needs_write=needs_write)
    for command in (["verify"], ["reset", "--from-pendo"]):
        result = project.run(*command, "--json").expect((1 if command == ["verify"] else 0) if not needs_write else 2)
        told = result.result()
        assert (told["status"] == "error") == needs_write
        if needs_write:
            expect_in(told["message"], "be read back (HTTP 403), though it knows the integration key", "write access")
            assert set(project.statuses("people").values()) == {"delivered"}
        else:
            assert told["drifted"] == 1
    assert "may only read" in verify(project, "--repair", status=2)["message"]


def test_a_refusal_of_reading_is_none_of_the_key(project, pendo):
    project.model("people", mapping(mode="upsert"), ROWS)
    project.sync()
    pendo.fail(Fault(status=403, body="not in your plan", path="/aggregation", times=None))
    message = verify(project, status=2)["message"]
    assert "does not let visitors be read back (HTTP 403: not in your plan), though it knows the" in message
    assert "refused the integration key" not in message


def test_in_the_terminal(project, pendo):
    project.model("people", mapping(mode="upsert"), ROWS)
    project.sync()
    assert "Pendo holds what the warehouse says." in project.run("verify").expect(0).output
    write(pendo, "visitor", "v1", name="<b>[red]Eve[/red]")
    ended = project.run("verify").expect(1)
    assert "[59 equal, 1 drifted]" in ended.output
    assert 'v1: name: Name 1 "ö😀 in the warehouse, <b>[red]Eve[/red] in Pendo' in ended.output
    assert "dbt-pendo verify --repair" in ended.output


ODD_VALUES = (
    "select * from (values ('a', '12', 1.0::double), ('b', 'no number', 2.0), ('c', '5', 'nan'::double)) "
    "r(id, seats, score)"
)
ODD_MAPPING = {"object": "visitor", "visitor_id": "id", "fields": {"seats": "seats", "score": "score"}}


def test_what_cannot_be_sent_is_neither_equal_nor_adopted(project, pendo):
    pendo.add_visitors({key: {"custom": {"seats": 12, "score": 1.0}} for key in "abc"})
    project.model("people", ODD_MAPPING, ODD_VALUES)
    result = verify(project)
    assert (counts(result), result["invalid"]) == ((1, 0, 0, 0), 2)
    assert "[1 equal, 2 invalid]" in project.run("verify").expect(0).stdout
    adopted = project.run("reset", "--from-pendo", "--json").expect(0).result()
    assert (adopted["adopted"], adopted["drifted"], adopted["missing"]) == (1, 0, 0)
    # So the next sync says what is wrong with them.
    assert project.sync().planned["invalid"] == 2
    assert project.statuses("people") == {"a": "delivered", "b": "invalid", "c": "invalid"}


def test_moments_beyond_the_calendar_are_invalid(project, sandbox):
    for name, kind in (("born", "time"), ("seen", "time"), ("label", "string"), ("closes", "string")):
        sandbox.add_field("visitor", "custom", name, kind)
    sandbox.add_visitors(list("abcdef"))
    project.model(
        "people",
        {**PEOPLE, "fields": {"born": "born", "seen": "seen", "label": "born", "closes": "closes"}},
        "select * from (values ('a', '9999-12-31', '2026-01-02 00:00+00', '24:00:00'), ('b', 'infinity', null, null),"
        " ('c', null, '-infinity', null), ('d', '0044-03-15 (BC)', null, null), ('e', '5881580-07-10', null, null),"
        " ('f', null, '9999-12-31 23:59:59-12', null)) rows(id, born, seen, closes)",
    )
    types = "id, cast(born as date) as born, cast(seen as timestamptz) as seen, cast(closes as time) as closes"
    project.sql(f"create or replace table main.people as select {types} from main.people")
    assert project.sync().planned["invalid"] == 5
    assert custom(sandbox.visitors) == {
        **{key: {} for key in "bcdef"},
        "a": {"born": 253402214400000, "seen": 1767312000000, "label": "9999-12-31", "closes": "24:00:00"},
    }
    assert {entry["record_key"]: entry["detail"] for entry in project.ledger("people") if entry["detail"]} == {
        "b": "born: infinite",
        "c": "seen: infinite",
        "d": "born: 0044-03-15 (BC) is outside the years 1 to 9999",
        "e": "born: 5881580-07-10 is outside the years 1 to 9999",
        "f": "seen: 10000-01-01 11:59:59 is outside the years 1 to 9999",
    }
    verified = verify(project)
    assert (counts(verified), verified["invalid"]) == ((1, 0, 0, 0), 5)
    told = project.run("row", "people", "b", "--json").expect(0).json["results"][0]["values"]
    assert [value["warehouse"] for value in told] == ["infinite", None, "infinite", None]


def test_texts_are_told_apart_by_every_character(project, pendo):
    """Also a NUL, which not every warehouse can hold, line ends of every kind, and the forms of one letter."""
    odd = [
        "nul \0",
        "\0",
        "\ufffd",
        "\u2028\u2029\x85\x0b\r\n",
        "\x01\x1f\x7f\ufeff\u200b",
        "e\u0301",
        "\u00e9",
        " x ",
        "\\0",
    ]
    project.model(
        "people", {**ODD_MAPPING, "fields": {"name": "name"}, "mode": "upsert"}, "select 'x' as id, '' as name"
    )
    project.sql(
        "create or replace table main.people as select 'v' || row_number() over () || chr(0) as id, name "
        "from (select unnest(?::varchar[]) as name)",
        [odd],
    )
    assert project.sync().result()["delivered"] == len(odd)
    assert sorted(record["name"] for record in custom(pendo.visitors).values()) == sorted(odd)
    assert counts(verify(project)) == (len(odd), 0, 0, 0)
    write(pendo, "visitor", "v6\0", name="\u00e9")
    write(pendo, "visitor", "v8\0", name=" x")
    assert counts(verify(project, status=1)) == (len(odd) - 2, 2, 0, 0)


def test_numbers_are_told_apart_to_the_last_digit(project, pendo):
    project.model(
        "people",
        {**ODD_MAPPING, "mode": "upsert"},
        "select * from (values ('a', 9007199254740993, 1e-10::double), ('b', 7, 0.1::double + 0.2), ('c', 0, 0)) "
        "r(id, seats, score)",
    )
    project.sync()
    assert counts(verify(project)) == (3, 0, 0, 0)
    write(pendo, "visitor", "c", score=-0.0)
    assert counts(verify(project)) == (3, 0, 0, 0)
    write(pendo, "visitor", "a", seats=9007199254740992)
    write(pendo, "visitor", "b", score=0.3)
    result = verify(project, status=1)
    assert result["fields"] == {"seats": 1, "score": 1}
    write(pendo, "visitor", "a", seats=9007199254740993, score=2e-10)
    assert verify(project, status=1)["fields"] == {"score": 2}


def test_whole_numbers_that_no_double_holds(project, sandbox):
    for name in ("big", "round", "huge", "cents", "digits"):
        sandbox.add_field("visitor", "custom", name, "float")
    sandbox.add_visitors(["a", "b", "c"])
    fields = {name: name for name in ("big", "round", "huge", "cents", "digits")}
    project.model(
        "people",
        {"object": "visitor", "visitor_id": "id", "fields": fields},
        "select 'a' as id, 9007199254740993 as big, 9007199254740993::decimal(38, 0) as round,"
        " 18446744073709551615::hugeint as huge, 9007199254740993::decimal(38, 2) as cents,"
        " '-9007199254740993' as digits"
        " union all select 'b', 1, 2, 18446744073709551617::hugeint, 0.1, '3'"
        " union all select 'c', 4, 5, 6, 9007199254740993.25, '7'",
    )
    assert project.sync().planned["invalid"] == 2
    digits = 9007199254740993
    whole = {"big": digits, "round": digits, "huge": 18446744073709551615, "cents": digits, "digits": -digits}
    assert custom(sandbox.visitors) == {"a": whole, "b": {}, "c": {}}
    assert {entry["detail"] for entry in project.ledger("people") if entry["status"] == "invalid"} == {
        f"{named} has more digits than a number can carry; a string field keeps them all"
        for named in ("huge: 18446744073709551617", "cents: 9007199254740993.25")
    }
    verified = verify(project)
    assert (counts(verified), verified["invalid"]) == ((1, 0, 0, 0), 2)
    told = project.run("row", "people", "b", "--json").expect(0).json["results"][0]["values"]
    assert [value["warehouse"] for value in told][2] == "18446744073709551617"
    # What a double makes of them.
    for name in whole:
        write(sandbox, "visitor", "a", **{name: float(whole[name])})
    assert verify(project, status=1)["fields"] == dict.fromkeys(whole, 1)


def test_a_text_that_looks_like_the_value_is_told_apart(project, pendo):
    """A field of another type once, say: Pendo holds a text where the warehouse has a number, a boolean or a time."""
    project.model("people", mapping(mode="upsert"), ROWS)
    project.sync()
    held = custom(pendo.visitors)
    write(pendo, "visitor", "v1", score="0.3333333333333333", mrr="1.250000000")
    write(pendo, "visitor", "v2", seats="2", admin="true", joined="soon")
    result = verify(project, status=1)
    assert {example["key"]: example["fields"] for example in result["examples"]} == {
        "v1": {
            "score": {"warehouse": "0.3333333333333333", "pendo": '"0.3333333333333333"'},
            "mrr": {"warehouse": "1.25", "pendo": '"1.250000000"'},
        },
        "v2": {
            "seats": {"warehouse": "2", "pendo": '"2"'},
            "admin": {"warehouse": "true", "pendo": '"true"'},
            "joined": {"warehouse": "2026-01-01T12:00:00.123Z", "pendo": '"soon"'},
        },
    }
    verify(project, "--repair")
    assert custom(pendo.visitors) == held
    # What says when in words says when.
    write(pendo, "visitor", "v1", joined="2026-01-01T12:00:00.123+01:00")
    assert counts(verify(project)) == (60, 0, 0, 0)


def test_a_repair_that_pendo_does_not_take(project, pendo):
    project.model("people", mapping(mode="upsert"), ROWS)
    project.sync()
    write(pendo, "visitor", "v1", seats=99)
    pendo.fail(Fault(status=400, body="no", path="/value", times=None))
    result = verify(project, "--repair", status=1)
    assert (result["status"], result["repaired"]["status"]) == ("drifted", "partial")


def test_a_repair_claims_no_more_than_pendo_said(project, sandbox):
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors({"a": {"custom": {"plan": "pro"}}})
    project.model(
        "people", {"object": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}, "select 'a' as id, 'x' as plan"
    )
    out = project.run("verify", "--repair").expect(0).stdout
    assert "Pendo took what differed. `dbt-pendo verify` shows what it holds now." in out
    assert "Pendo holds what the warehouse says." in project.run("verify").expect(0).stdout


def test_a_repair_creates_the_fields_that_a_sync_would(project, sandbox):
    sandbox.add_visitors(["a"])
    mapping = {"object": "visitor", "visitor_id": "id", "create_fields": True, "fields": {"new_one": "plan"}}
    project.model("people", mapping, "select 'a' as id, 'x' as plan")
    project.run("verify", "--repair").expect(0)
    assert custom(sandbox.visitors) == {"a": {"new_one": "x"}}


def test_nothing_to_verify_is_not_called_equal(project, sandbox):
    project.model(
        "org",
        {"object": "parent_account", "parent_account_id": "id", "fields": {"plan": "plan"}},
        "select 'a' as id, 'x' as plan",
    )
    out = project.run("verify").expect(0).stdout
    assert "There was nothing to verify." in out
    assert "Pendo holds" not in out


def test_texts_are_shown_as_they_are(project, pendo):
    pendo.add_visitors({":smile:": {"custom": {"name": ":heart:"}}})
    project.model(
        "people",
        {"object": "visitor", "visitor_id": "id", "fields": {"name": "name"}},
        "select ':smile:' as id, ':x:' as name",
    )
    assert ":smile:: name: :x: in the warehouse, :heart: in Pendo" in project.run("verify").expect(1).stdout
    assert '"visitorId": ":smile:"' in project.run("plan", "--show", "1").expect(0).stdout
