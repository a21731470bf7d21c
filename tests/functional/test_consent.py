"""`donotprocess` and `blacklistguides`: sent one by one, only where they changed, and never by accident."""

from typing import Any

import pytest
from harness import SmallProject, chosen, custom, expect_in, planned

from dbt_pendo.sandbox import Fault, Sandbox

CONSENT = {"column": "optout", "group": "pendo"}
MAPPING = {
    **{"object": "visitor", "visitor_id": "id", "max_changes": 100},
    "fields": {"plan": "plan", "donotprocess": CONSENT},
}
LOSES = "Pendo then throws all their data away, which cannot be undone"


def rows(**optouts: bool | None) -> str:
    """The select of visitors, each with a plan and a consent."""
    said = (f"('{name}', 'pro', {'null' if value is None else value})" for name, value in optouts.items())
    return f"select id, plan, optout::boolean as optout from (values {', '.join(said)}) rows(id, plan, optout)"


def puts(sandbox: Sandbox) -> list[tuple[str, bytes]]:
    """The single values that Pendo was sent since the last look, each with the end of its path, sorted."""
    start = "/api/v1/metadata/visitor/pendo/value/"
    found = sorted((one.path.removeprefix(start), one.body) for one in sandbox.requests if one.method == "PUT")
    sandbox.forget_requests()
    return found


def consents(sandbox: Sandbox, kind: str = "visitors") -> dict[str, Any]:
    return {key: record["pendo"] for key, record in getattr(sandbox, kind).items()}


@pytest.fixture
def consenting(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """Three visitors: one who opted out, one who did not, and one who said nothing."""
    sandbox.add_field("visitor", "custom", "plan", "string")
    sandbox.add_visitors(["a", "b", "c"])
    project.model("people", MAPPING, rows(a=True, b=False, c=None))
    return project


def test_a_consent_is_sent_only_where_it_is_new_or_has_changed(consenting, sandbox):
    assert consenting.sync().outcome == ("success", 3, 0, 0)
    assert puts(sandbox) == [("a/donotprocess", b"true"), ("b/donotprocess", b"false")]
    assert consents(sandbox) == {"a": {"donotprocess": True}, "b": {"donotprocess": False}, "c": {}}
    assert custom(sandbox.visitors) == {key: {"plan": "pro"} for key in "abc"}
    assert consenting.sync().planned == planned(unchanged=3)
    assert puts(sandbox) == []
    # Another column of the row is not the consent.
    consenting.build("people", rows(a=True, b=False, c=None).replace("'pro'", "'team'"))
    assert consenting.sync().planned == planned(changed=3)
    assert puts(sandbox) == []
    # Of each change one call; a null leaves what was said.
    consenting.build("people", rows(a=None, b=True, c=False))
    assert consenting.sync().planned == planned(changed=3)
    assert puts(sandbox) == [("b/donotprocess", b"true"), ("c/donotprocess", b"false")]
    assert consents(sandbox) == {"a": {"donotprocess": True}, "b": {"donotprocess": True}, "c": {"donotprocess": False}}
    # A full refresh says everything again, as the ledger may be wrong.
    consenting.sync("--full-refresh")
    assert puts(sandbox) == [("b/donotprocess", b"true"), ("c/donotprocess", b"false")]


def test_a_consent_that_is_mapped_later_is_sent_for_rows_that_were_delivered(consenting, sandbox):
    consenting.annotate("people", {**MAPPING, "fields": {"plan": "plan"}})
    consenting.sync()
    consenting.annotate("people", MAPPING)
    assert consenting.sync().planned == planned(changed=3)
    assert puts(sandbox) == [("a/donotprocess", b"true"), ("b/donotprocess", b"false")]
    # The other one beside it, by its own column: the first is known.
    both = {"donotprocess": CONSENT, "blacklistguides": {"column": "plain", "group": "pendo"}}
    consenting.annotate("people", {**MAPPING, "fields": both})
    consenting.build("people", f"select *, not optout as plain from ({rows(a=True, b=True, c=None)})")
    consenting.sync()
    assert puts(sandbox) == [
        ("a/blacklistguides", b"false"),
        ("b/blacklistguides", b"false"),
        ("b/donotprocess", b"true"),
    ]
    assert consents(sandbox)["b"] == {"donotprocess": True, "blacklistguides": False}


def test_what_cannot_be_undone_needs_max_changes_or_force(consenting, sandbox):
    consenting.build("people", rows(a=True, b=True, c=None))
    told = f"2 visitors would be marked Do Not Process (`donotprocess`) (e.g. a): {LOSES}"
    for limit in (None, "50%"):
        consenting.annotate("people", {**MAPPING, "max_changes": limit} if limit else {**MAPPING} | {"max_invalid": 5})
        if not limit:
            consenting.annotate("people", {key: value for key, value in MAPPING.items() if key != "max_changes"})
        # A percentage says nothing before the first delivery.
        result = consenting.sync(status=1).result()
        assert result["status"] == "blocked"
        expect_in(result["message"], "blocked: 2 visitors would be marked Do Not Process", "set max_changes to a count")
        assert puts(sandbox) == []
    for command in (consenting.check, consenting.plan):
        result = command().result()
        assert (result["do_not_process"], told in result["warnings"]) == (2, True)
    assert "blocked: 2 visitors would be marked" in consenting.plan().result()["note"]
    consenting.run("plan").expect(0).says(told)
    shown = consenting.plan("--show", "3").result()["requests"]
    assert {
        (one["method"], one["path"].rpartition("value/")[2], str(one["body"]))
        for one in shown
        if "pendo" in one["path"]
    } == {("PUT", "a/donotprocess", "True"), ("PUT", "b/donotprocess", "True")}
    assert consenting.plan().result()["estimate"]["requests"] == 3
    # Too many of all changes are too many.
    consenting.annotate("people", {**MAPPING, "max_changes": 2})
    assert "max_changes allows 2" in consenting.sync(status=1).result()["message"]
    consenting.sync("--force")
    assert len(puts(sandbox)) == 2
    # Turning it off needs nothing.
    consenting.annotate("people", {key: value for key, value in MAPPING.items() if key != "max_changes"})
    consenting.build("people", rows(a=False, b=True, c=None))
    assert consenting.sync().outcome[0] == "success"
    assert puts(sandbox) == [("a/donotprocess", b"false")]
    assert consenting.plan().result()["do_not_process"] == 0


def test_verify_sees_a_consent_and_does_not_force_one(consenting, sandbox):
    consenting.sync()
    assert consenting.run("verify", "--json").expect(0).result()["equal"] == 3
    sandbox.add_visitors({"b": {"pendo": {"donotprocess": True}}})
    assert consenting.run("verify", "--json").expect(1).result()["fields"] == {"donotprocess": 1}
    consenting.run("verify", "--repair", "--json").expect(0)
    assert consents(sandbox)["b"] == {"donotprocess": False}
    unguarded = {key: value for key, value in MAPPING.items() if key != "max_changes"}
    consenting.annotate("people", unguarded)
    sandbox.add_visitors({"a": {"pendo": {"donotprocess": False}}})
    repaired = consenting.run("verify", "--repair", "--json").expect(1).result()["repaired"]
    assert repaired["status"] == "blocked"
    assert consents(sandbox)["a"] == {"donotprocess": False}


IDS = ["a/b", "..", ".", "ü😀 x", "100%", "?#", "b64_eA", "a\\b", "Acme::Sales", "x+y"]


@pytest.mark.parametrize("kind", ["visitor", "account"])
def test_odd_ids_in_paths(project, sandbox, kind):
    getattr(sandbox, f"add_{kind}s")(IDS)
    mapping = {"object": kind, f"{kind}_id": "id", "max_changes": 100, "fields": {"donotprocess": CONSENT}}
    values = ", ".join(f"('{name}', true)" for name in IDS)
    project.model("people", mapping, f"select * from (values {values}) rows(id, optout)")
    assert project.sync().outcome == ("success", len(IDS), 0, 0)
    assert consents(sandbox, f"{kind}s") == {key: {"donotprocess": True} for key in IDS}


@pytest.mark.parametrize("switches", [{"undocumented_replies": "json"}, {"error_bodies": "empty"}])
def test_a_call_that_fails_is_about_its_own_row(consenting, sandbox, switches):
    sandbox.switches = chosen(**switches)
    consenting.build("people", rows(a=True, b=True, c=True, nobody=True))
    sandbox.fail(Fault("status", status=422, body="no", path="/value/b/", times=None))
    result = consenting.sync(status=1).result()
    assert (result["status"], result["delivered"], result["missing"], result["rejected"]) == ("partial", 2, 1, 1)
    assert consenting.statuses("people") == {"a": "delivered", "b": "rejected", "c": "delivered", "nobody": "missing"}
    assert consents(sandbox) == {"a": {"donotprocess": True}, "b": {}, "c": {"donotprocess": True}}
    # It is not known to be delivered.
    sandbox.clear_faults()
    sandbox.forget_requests()
    consenting.sync()
    assert ("b/donotprocess", b"true") in puts(sandbox)


def test_a_consent_that_a_failed_attempt_has_changed_is_taken_back(consenting, sandbox):
    quiet = {"column": "quiet", "group": "pendo"}
    consenting.annotate("people", {**MAPPING, "fields": {"donotprocess": CONSENT, "blacklistguides": quiet}})
    said = {value: f"select *, optout as quiet from ({rows(a=value)})" for value in (False, True)}
    consenting.build("people", said[False])
    consenting.sync()
    # Pendo takes the one, and refuses the other.
    consenting.build("people", said[True])
    sandbox.fail(Fault("status", status=422, path="/blacklistguides"))
    assert consenting.sync(status=1).result()["rejected"] == 1
    assert consents(sandbox)["a"] == {"donotprocess": True, "blacklistguides": False}
    # What the model says now was delivered last, and is not what Pendo has.
    consenting.build("people", said[False])
    assert consenting.sync().outcome == ("success", 1, 0, 0)
    assert consents(sandbox)["a"] == {"donotprocess": False, "blacklistguides": False}
    sandbox.forget_requests()
    assert (consenting.sync().planned, puts(sandbox)) == (planned(unchanged=1), [])


def test_a_consent_alone_and_of_records_that_pendo_lacks(project, sandbox):
    sandbox.add_visitors(["a"])
    alone = {"object": "visitor", "visitor_id": "id", "max_changes": 9, "fields": {"donotprocess": CONSENT}}
    project.model("people", alone, rows(a=True, b=False, c=None))
    assert project.sync().outcome == ("warn", 2, 1, 0)
    assert consents(sandbox) == {"a": {"donotprocess": True}}
    # A single value creates nothing: the record comes first.
    project.annotate("people", {**alone, "mode": "upsert"})
    assert project.sync("--full-refresh").outcome == ("success", 3, 0, 0)
    assert consents(sandbox) == {"a": {"donotprocess": True}, "b": {"donotprocess": False}, "c": {}}
    # Who leaves takes nothing back.
    project.annotate("people", {**alone, "mode": "upsert", "on_removed": "clear"})
    project.build("people", rows(b=False, c=None))
    sandbox.forget_requests()
    project.sync()
    assert puts(sandbox) == []
    assert consents(sandbox)["a"] == {"donotprocess": True}


@pytest.mark.parametrize("state", ["off", "off, 403"])
def test_guides_that_pendo_support_has_not_enabled(consenting, sandbox, state):
    sandbox.switches = chosen(guide_exclusion=state)
    consenting.annotate("people", {**MAPPING, "fields": {"blacklistguides": CONSENT}})
    result = consenting.sync(status=1).result()
    assert result["status"] == ("partial" if state == "off" else "error")
    expect_in(result["message"], "Pendo takes `blacklistguides` only where its support has enabled")
    assert consents(sandbox) == {"a": {}, "b": {}, "c": {}}
    # An id that Pendo does not know is another matter.
    if state == "off":
        consenting.build("people", rows(nobody=True))
        assert consenting.sync().result()["missing"] == 1


def test_a_consent_takes_a_boolean_column(consenting, sandbox):
    consenting.build("people", "select 'a' as id, 'pro' as plan, 'yes' as optout")
    for command in ("check", "sync", "fields"):
        ended = consenting.run(command).expect(2)
        ended.says("people: column optout is varchar(256), and the consent donotprocess takes a boolean.")
    assert puts(sandbox) == []


def test_ids_and_consents_that_are_personal_are_not_kept(consenting, sandbox, monkeypatch):
    monkeypatch.setenv("DBT_PENDO_MASK", "id,optout")
    consenting.build("people", rows(secret_person=True))
    sandbox.add_visitors(["secret_person"])
    shown = consenting.run("plan", "--show", "3").expect(0).output
    consenting.sync()
    kept = "".join(path.read_text() for path in consenting.target.rglob("requests.jsonl"))
    assert "value/{id}/donotprocess" in kept
    assert "value/{id}/donotprocess" in shown
    assert "secret_person" not in kept + shown.replace("e.g. secret", "")
    assert '"request":true' not in kept


@pytest.mark.parametrize("deleted", ["missing", "written"])
def test_a_record_that_comes_back_after_its_deletion(consenting, sandbox, deleted):
    sandbox.switches = chosen(deleted_records=deleted)
    mapping = {**MAPPING, "fields": {"plan": "plan"}, "mode": "upsert", "on_removed": "delete", "max_removals": 5}
    consenting.annotate("people", mapping)
    consenting.sync()
    consenting.build("people", rows(a=None, b=None))
    consenting.sync()
    assert set(sandbox.visitors) == {"a", "b"}
    consenting.build("people", rows(a=None, b=None, c=None))
    result = consenting.sync().result()
    came_back = "1 row came back after a deletion in Pendo (e.g. c)"
    why = "and Pendo does not take them" if deleted == "missing" else ", and Pendo throws their data away"
    expect_in(result["message"], came_back, why, "it marks deleted ids Do Not Process")
    assert result["status"] == ("warn" if deleted == "missing" else "success")
    if deleted == "missing":
        # It is said as long as it is so.
        assert came_back in consenting.sync().result()["message"]


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_a_record_that_came_back_and_cannot_be_read_fails_no_sync(consenting, sandbox, status):
    sandbox.switches = chosen(deleted_records="written")
    mapping = {**MAPPING, "fields": {"plan": "plan"}, "mode": "upsert", "on_removed": "delete", "max_removals": 5}
    consenting.annotate("people", mapping)
    consenting.sync()
    consenting.build("people", rows(a=None, b=None))
    consenting.sync()
    consenting.build("people", rows(a=None, b=None, c=None))
    sandbox.fail(Fault("status", status=status, method="GET", path="/api/v1/visitor/c", times=None))
    ended = consenting.sync()
    assert (ended.outcome, ended.result()["message"]) == (("success", 1, 0, 0), None)
    assert consenting.statuses("people")["c"] == "delivered"
    assert custom(sandbox.visitors)["c"] == {"plan": "pro"}
