"""Which values are equal, and which rows cannot be compared, when Pendo is read back."""

from harness import CLICKS, PEOPLE, custom, expect_in
from test_verify import counts, pendo, synced, verify, write  # noqa: F401 - fixtures

from dbt_pendo.sandbox import Fault


def test_what_is_not_sent_is_not_compared(project, pendo):
    pendo.add_visitors({"a": {"custom": {"name": "theirs"}}, "b": {}})
    rows = "('a', null), ('b', 'y'), ('b', 'z'), (null, 'n'), ('', 'e'), ('_PENDO_T_1', 't')"
    mapping = {**PEOPLE, "fields": {"name": "name"}, "nulls": "skip"}
    project.model("people", mapping, f"select * from (values {rows}) rows(id, name)")
    project.sync()
    result = verify(project)
    assert (counts(result)[:3], result["rows"], result["invalid"], result["not_there"]) == ((1, 0, 0), 6, 5, 3)
    assert "3 of 6 rows are not there: 3 invalid" in project.run("verify").expect(0).stdout


def test_what_cannot_be_sent_is_neither_equal_nor_adopted(project, pendo):
    pendo.add_visitors({key: {"custom": {"seats": 12, "score": 1.0}} for key in "abc"})
    project.model(
        "people",
        {**PEOPLE, "fields": {"seats": "seats", "score": "score"}, "mode": "upsert"},
        "select * from (values ('a', '12', 1.0::double), ('b', 'x', 2), ('c', '5', 'nan'::double), ('new', 'x', 1)) "
        "r(id, seats, score)",
    )
    result = verify(project)
    assert (counts(result), result["invalid"]) == ((1, 0, 0, 0), 3)
    told = project.run("verify").expect(0).stdout
    expect_in(told, "WARN verified", "[1 equal, 3 invalid]", "    1 of 4 rows is not there: 1 invalid")
    adopted = project.run("reset", "--all", "--from-pendo", "--json").expect(0).result()
    assert (adopted["adopted"], adopted["drifted"], adopted["missing"]) == (1, 0, 0)
    assert set(project.statuses("people")) == set("abc")
    # So the next sync says what is wrong with them.
    assert project.sync().planned["invalid"] == 3
    assert project.statuses("people") == {"a": "delivered", **dict.fromkeys(("b", "c", "new"), "invalid")}


def test_texts_are_told_apart_by_every_character(project, pendo):
    """Also a NUL, which not every warehouse can hold, line ends of every kind, and the forms of one letter."""
    odd = ["nul \0", "\0", "\ufffd", "\u2028\u2029\x85\x0b\r\n", "\x01\x1f\x7f\ufeff\u200b"]
    odd += ["e\u0301", "\u00e9", " x ", "\\0"]
    mapping = {**PEOPLE, "fields": {"name": "name"}, "mode": "upsert"}
    project.model("people", mapping, "select 'x' as id, '' as name")
    project.sql(
        "create or replace table main.people as select 'v' || row_number() over () || chr(0) as id, name "
        "from (select unnest(?::varchar[]) as name)",
        [odd],
    )
    assert project.sync().result()["delivered"] == len(odd)
    assert sorted(record["name"] for record in custom(pendo.visitors).values()) == sorted(odd)
    assert counts(verify(project)) == (len(odd), 0, 0, 0)
    write(pendo, "v6\0", name="\u00e9")
    write(pendo, "v8\0", name=" x")
    assert counts(verify(project, status=1)) == (len(odd) - 2, 2, 0, 0)


def test_numbers_are_told_apart_to_the_last_digit(project, pendo):
    # A whole number keeps its digits in a float field, too.
    fields = {"seats": "seats", "score": "score", "mrr": "seats"}
    project.model(
        "people",
        {**PEOPLE, "fields": fields, "mode": "upsert"},
        "select * from (values ('a', 9007199254740993, 1e-10::double), ('b', 7, 0.1::double + 0.2), ('c', 0, 0)) "
        "r(id, seats, score)",
    )
    project.sync()
    assert counts(verify(project)) == (3, 0, 0, 0)
    write(pendo, "c", score=-0.0)
    assert counts(verify(project)) == (3, 0, 0, 0)
    write(pendo, "a", seats=9007199254740992, mrr=float(9007199254740993))
    write(pendo, "b", score=0.3)
    assert verify(project, status=1)["fields"] == {"seats": 1, "mrr": 1, "score": 1}
    write(pendo, "a", seats=9007199254740993, score=2e-10, mrr=9007199254740993)
    assert verify(project, status=1)["fields"] == {"score": 2}


def test_a_text_that_looks_like_the_value_is_told_apart(synced, pendo):
    """A field of another type once, say: Pendo holds a text where the warehouse has a number, a boolean or a time."""
    held = custom(pendo.visitors)
    write(pendo, "v1", score="0.3333333333333333", mrr="1.250000000")
    write(pendo, "v2", seats="2", admin="true", joined="soon")
    found = {example["key"]: example["fields"] for example in verify(synced, status=1)["examples"]}
    assert {(key, name): (*value.values(),) for key, fields in found.items() for name, value in fields.items()} == {
        ("v1", "score"): ("0.3333333333333333", '"0.3333333333333333"'),
        ("v1", "mrr"): ("1.25", '"1.250000000"'),
        ("v2", "seats"): ("2", '"2"'),
        ("v2", "admin"): ("true", '"true"'),
        ("v2", "joined"): ("2026-01-01T12:00:00.123Z", '"soon"'),
    }
    verify(synced, "--repair")
    assert custom(pendo.visitors) == held
    # What says when in words says when.
    write(pendo, "v1", joined="2026-01-01T12:00:00.123+01:00")
    assert counts(verify(synced)) == (60, 0, 0, 0)


def test_what_a_repair_says(people, sandbox):
    people.annotate("people", {**PEOPLE, "create_fields": True, "fields": {"new_one": "plan"}})
    # It creates the fields that a sync would, and claims no more than Pendo said.
    out = people.run("verify", "--repair").expect(0).stdout
    assert "Pendo took what differed. `dbt-pendo verify` shows what it holds now." in out
    assert custom(sandbox.visitors)["a"] == {"new_one": "pro"}
    assert "Pendo holds what the warehouse says." in people.run("verify").expect(0).stdout
    write(sandbox, "a", new_one=":heart:")
    sandbox.fail(Fault(status=400, body="no", path="/value", times=None))
    assert "a: new_one: pro in the warehouse, :heart: in Pendo" in people.run("verify").expect(1).stdout
    result = verify(people, "--repair", status=1)
    assert (result["status"], result["repaired"]["status"]) == ("drifted", "partial")
    # A plan shows texts as they are, too.
    people.build("people", "select 'a' as id, ':smile:' as plan")
    assert '"new_one": ":smile:"' in people.run("plan", "--show", "1").expect(0).stdout


def test_what_cannot_be_read_back_is_not_called_equal(project):
    parents = {"object": "parent_account", "parent_account_id": "id", "fields": {"plan": "plan"}}
    project.model("org", parents, "select 'a' as id, 'x' as plan")
    project.model("clicks", CLICKS, "select '1' as id, now() as at")
    result = verify(project, "--select", "clicks")
    assert (counts(result), "events" in result["note"]) == ((0, 0, 0, 0), True)
    out = project.run("verify").expect(0).stdout
    assert "There was nothing to verify." in out
    assert "Pendo holds" not in out
