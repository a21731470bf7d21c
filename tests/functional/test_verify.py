"""``dbt-pendo verify``: what Pendo holds against what the warehouse says, and the repair of what drifted."""

from typing import Any

import pytest
from harness import PEOPLE, SmallProject, add_fields, chosen, custom, expect_in, planned, sent_ids

from dbt_pendo.pendo import records as readback
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.sandbox import Sandbox

TYPES = {"name": "string", "seats": "integer", "mrr": "float", "score": "float", "joined": "time", "born": "time"}
TYPES["admin"] = "boolean"
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
    return {"object": kind, f"{kind}_id": "id", "fields": {name: name for name in TYPES}, **more}


@pytest.fixture
def pendo(sandbox: Sandbox) -> Sandbox:
    for kind in ("visitor", "account"):
        for name, type_ in TYPES.items():
            sandbox.add_field(kind, "custom", name, type_)
    return sandbox


@pytest.fixture
def synced(project: SmallProject, pendo: Sandbox) -> SmallProject:
    """A project whose sixty visitors Pendo holds as the warehouse has them."""
    project.model("people", mapping(mode="upsert"), ROWS)
    project.sync()
    return project


def verify(project: SmallProject, *args: str, status: int = 0) -> dict[str, Any]:
    result = project.run("verify", "--json", *args).expect(status).result()
    # The document tells what the exit status does.
    assert (result["status"] in ("success", "skipped")) == (status == 0), result
    assert (result["status"] == "skipped") == (result["note"] is not None)
    return result


def counts(result: dict[str, Any]) -> tuple[int, int, int, int]:
    return result["equal"], result["drifted"], result["missing"], result["only_in_pendo"]


def write(sandbox: Sandbox, key: str, **values: Any) -> None:
    """Somebody changes values in Pendo."""
    sandbox.add_visitors({key: {"custom": values}})


@pytest.mark.parametrize("kind", ["visitor", "account"])
def test_what_was_just_synced_is_equal(project, pendo, kind, monkeypatch):
    monkeypatch.setattr(readback, "RECORDS_PER_PAGE", 7)
    project.model("people", mapping(kind, mode="upsert"), ROWS)
    project.sync()
    pendo.forget_requests()
    result = verify(project)
    assert (counts(result), result["fields"], result["examples"]) == ((60, 0, 0, 0), {}, [])
    # Nothing but reading, and pages of seven take ten requests: the last is empty.
    paths = [request.path for request in pendo.requests if request.method != "GET"]
    assert paths == ["/api/v1/aggregation"] * 10
    assert not {name for name in project.tables() if name.endswith(("__compared", "__drift"))}
    # A page that is too large is asked for in parts.
    monkeypatch.setattr(readback, "RECORDS_PER_PAGE", 1000)
    monkeypatch.setattr(PendoClient, "largest_answer", 4_000)
    assert counts(verify(project)) == (60, 0, 0, 0)
    getattr(pendo, f"add_{kind}s")({"v3": {"custom": {"name": "x" * 4_000}}})
    refused = project.run("verify").expect(1).output
    assert "did not take POST /api/v1/aggregation in 1 attempt; the last: the answer is larger than" in refused


def test_a_changed_value_is_found_and_repaired(synced, pendo):
    held = custom(pendo.visitors)
    write(pendo, "v1", name="Eve", seats=99)
    write(pendo, "v2", joined=0)
    write(pendo, "v3", admin=True, mrr=3.76)
    write(pendo, "v7", name="not null any more")
    result = verify(synced, status=1)
    assert counts(result) == (56, 4, 0, 0)
    assert (result["status"], result["message"]) == ("drifted", None)
    assert result["fields"] == {"name": 2, "seats": 1, "joined": 1, "mrr": 1, "admin": 1}
    found = {example["key"]: example["fields"] for example in result["examples"]}
    assert found["v1"]["name"] == {"warehouse": 'Name 1 "ö😀', "pendo": "Eve"}
    assert found["v7"] == {"name": {"warehouse": None, "pendo": "not null any more"}}
    assert found["v3"]["admin"] == {"warehouse": "false", "pendo": "true"}
    pendo.forget_requests()
    repaired = verify(synced, "--repair")["repaired"]
    assert (repaired["planned"], repaired["delivered"]) == (planned(changed=4), 4)
    assert (sent_ids(pendo.requests, "visitor"), custom(pendo.visitors)) == (["v1", "v2", "v3", "v7"], held)
    assert counts(verify(synced)) == (60, 0, 0, 0)
    # The ledger goes on as if nothing had been.
    assert synced.sync().planned == planned(unchanged=60)


def test_missing_ones_are_made_anew_where_the_mapping_says_so(synced, pendo):
    held = custom(pendo.visitors)
    with pendo.pendo.lock:
        for key in ("v5", "v6"):
            pendo.pendo.records["visitor"].remove(key, pendo.switches)
    pendo.add_visitors(["stranger", "_PENDO_T_anonymous"])
    synced.annotate("people", mapping())
    result = verify(synced)
    # Nobody is to be created: they are told of, and that is all.
    assert counts(result) == (58, 0, 2, 1)
    told = synced.run("verify").expect(0).stdout
    expect_in(told, "WARN verified", "    2 of 60 rows are not there: 2 missing", "2 of 60 rows are not there. Of")
    synced.annotate("people", mapping(mode="upsert"))
    assert counts(verify(synced, status=1)) == (58, 0, 2, 1)
    assert verify(synced, "--repair")["repaired"]["delivered"] == 2
    assert custom({k: v for k, v in pendo.visitors.items() if k in held}) == held
    assert "stranger" in pendo.visitors


def test_values_that_only_the_client_can_judge(project, sandbox):
    add_fields(sandbox, day="time", amount="float", label="string", tags="list", loose="")
    sandbox.add_field("visitor", "agent", "level", "integer")
    sandbox.add_visitors(["a", "b", "c"])
    fields = {name: name for name in ("day", "amount", "tags", "loose")}
    fields |= {"label": "number", "level": {"value": 3, "group": "agent"}}
    project.model(
        "people",
        {**PEOPLE, "fields": fields},
        "select * from (values ('a', '2026-01-01', '1.50', 1e21, ['x', null, 'y'], [1.5, null]),"
        " ('b', null, '2', 0.1, [null], null), ('c', '2026-01-01T00:00:00+02:00', null, null, null, null))"
        " rows(id, day, amount, number, tags, loose)",
    )
    assert project.sync().result()["delivered"] == 3
    # Nulls in lists are left out.
    held = custom(sandbox.visitors)
    assert (held["a"]["tags"], held["a"]["loose"], held["b"]["tags"]) == (["x", "y"], [1.5], [])
    assert counts(verify(project)) == (3, 0, 0, 0)
    values = project.run("row", "people", "a", "--json").expect(0).json["results"][0]["values"]
    assert ["x", None, "y"] in [value["warehouse"] for value in values]
    printed = project.run("row", "people", "a").expect(0).stdout
    assert ('["x",null,"y"]' in printed, "Decimal" in printed) == (True, False)
    sandbox.add_visitors({"b": {"custom": {"tags": ["z"]}, "agent": {"level": 4}}})
    result = verify(project, "--repair")
    assert (result["drifted"], result["fields"]) == (1, {"tags": 1, "level": 1})
    assert counts(verify(project)) == (3, 0, 0, 0)


@pytest.mark.parametrize("needs_write", [False, True])
def test_a_key_that_may_only_read(synced, pendo, monkeypatch, needs_write):
    """Whether reading back needs write access, sources disagree; nothing else of a verification does."""
    write(pendo, "v1", seats=99)
    monkeypatch.setenv("PENDO_INTEGRATION_KEY", pendo.read_only_key)
    pendo.switches = chosen(aggregation_needs_write=needs_write, error_bodies="empty")
    for command, status in (("verify", 1), ("reset --all --from-pendo", 0)):
        told = synced.run(*command.split(), "--json").expect(2 if needs_write else status).result()
        if needs_write:
            expect_in(told["message"], "be read back (HTTP 403), though it knows the integration key", "write access")
            assert (told["status"], set(synced.statuses("people").values())) == ("error", {"delivered"})
        else:
            assert told["drifted"] == 1
    assert "may only read" in verify(synced, "--repair", status=2)["message"]
