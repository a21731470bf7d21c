"""What is read, sent and committed together: each row ends in the ledger once, with its own outcome and words."""

import json
from typing import Any

import pytest
from harness import Project, bodies, run_cli
from harness.postgres import IS_POSTGRES
from shop import KINDS, STRANGERS, SYNCS, be_strict

from dbt_pendo.delivery import pages as page_delivery
from dbt_pendo.sandbox import Fault
from dbt_pendo.warehouse.session import WarehouseError
from dbt_pendo.warehouse.tables import SyncTables

USERS = KINDS["visitor"]

AWKWARD = ["it's", "'; drop table users; --", "C:\\new\\table\\'", "{{ 1 / 0 }} %s 100%", "line\nbreak", "naïve 🚀"]


def test_wide_rows_come_in_small_pages(shop, monkeypatch):
    monkeypatch.setattr(page_delivery, "PAGE_BYTES", 40_000)
    monkeypatch.setattr(page_delivery, "FEW_ROWS", 50)
    shop.sql("update users set plan = repeat('wide', 1000)")
    shop.sync(USERS)
    shop.check_pendo(USERS)
    rows_by_page = [rows for (rows,) in shop.sql("select count(*) from main_pendo.users__ledger group by logged_at")]
    assert 4 <= max(rows_by_page) <= 10


@pytest.mark.parametrize("given", [{}, {"batch_size": 500}])
def test_requests_of_later_pages_are_larger_unless_the_mapping_says_how_large(shop, sandbox, monkeypatch, given):
    for name, value in {"BATCHES_PER_PAGE": 1, "SMALLEST_PAGE": 1_000, "WRITTEN_ROWS": 1}.items():
        monkeypatch.setattr(page_delivery, name, value)
    mapping = {key: value for key, value in SYNCS["users"].items() if key != "batch_size"}
    Project.annotate(shop, "users", mapping | given)
    shop.sql("insert into users select 'n' || i, 'free', i, true from generate_series(0, 4999) r(i)")
    sandbox.add_visitors([f"n{at}" for at in range(5000)])
    run_cli("sync", "--select", "users").expect(0)
    held = {name: record["custom"] for name, record in sandbox.visitors.items() if name.startswith("n")}
    assert held == {f"n{at}": {"plan": "free", "seats": at, "active": True} for at in range(5000)}
    sizes = [len(body) for body in bodies(sandbox.requests, "/api/v1/metadata/visitor/")]
    assert sum(sizes) == 5060
    # The second page is on its way when the first has been answered.
    if IS_POSTGRES:
        # Its pages are whole buckets, of about as many rows.
        assert max(sizes[:4]) == 500
        assert max(sizes) in ([500] if given else range(900, 1_001))
    else:
        assert set(sizes[:4]) == {500}
        assert max(sizes) == (500 if given else 1_000)


@pytest.mark.usefixtures("small_pages")
def test_all_kinds_of_outcomes_on_each_page(shop, sandbox):
    be_strict(sandbox)
    shop.sql("insert into users select 'twice', plan, seats, active from users limit 3")
    shop.sql("insert into users select '_PENDO_T_' || user_id, plan, seats, active from users limit 20")
    shop.sql("insert into users select null, plan, seats, active from users limit 4")
    shop.sql("insert into users select '  ', plan, seats, active from users limit 1")
    shop.sql("insert into users select 'unknown' || user_id, plan, seats, active from users where user_id like 'v-%'")

    run = shop.sync(USERS, status="partial")

    assert run.planned["invalid"] == 3 + 20 + 4 + 1
    assert {entry["status"] for entry in shop.ledger(USERS)} == {"delivered", "missing", "rejected", "invalid"}
    assert run.rejected == USERS.spoilt
    invalid = {entry["record_key"]: entry["detail"] for entry in shop.ledger(USERS) if entry["status"] == "invalid"}
    # The ledger names each key once; rows without a key it cannot name.
    assert invalid["twice"] == "3 rows have this key"
    assert invalid["  "] == "the key is empty"
    assert len(invalid) == 1 + 20 + 1
    before = len(shop.ledger(USERS))
    shop.sync(USERS, status="partial")
    # What is known is not written down again.
    assert len(shop.ledger(USERS)) == before + len(USERS.spoilt)


def is_gone(*_: Any) -> None:
    raise WarehouseError("the warehouse is gone")


def test_a_journal_of_awkward_words_is_committed_by_the_next_run(shop, sandbox, monkeypatch):
    """A run that could not commit: its journal holds what Pendo said, and the next run brings it into the ledger."""
    for text in AWKWARD:
        shop.sql("insert into users values (?, 'free', 1, true)", [text])
    refused, words = AWKWARD[1:3]
    sandbox.fail(Fault(status=400, body=words, times=None, path="/value", body_contains=json.dumps(refused)))
    with monkeypatch.context() as patch:
        patch.setattr(SyncTables, "commit", is_gone)
        run_cli("sync", "--json", "--select", "users").expect(1).says("the warehouse is gone")
    sandbox.clear_faults()
    sandbox.forget_requests()

    run_cli("sync", "--json", "--select", "users")

    # Only what was not delivered is sent again: the refused row; the unknown ones wait for their time.
    (write,) = [request for request in sandbox.requests if request.method == "POST"]
    assert [item["visitorId"] for item in json.loads(write.body)] == [refused]
    first = next(entry for entry in shop.ledger(USERS) if entry["record_key"] == refused)
    assert (first["status"], first["detail"]) == ("rejected", f"HTTP 400: {words}")
    unknown = {key for key, status in shop.statuses(USERS).items() if status == "missing"}
    assert unknown == STRANGERS | set(AWKWARD)
