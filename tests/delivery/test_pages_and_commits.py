"""What is read, sent and committed together: each row ends in the ledger once, with its own outcome and words."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from harness import run_cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop import KINDS, STRANGERS, Kind, Shop

from dbt_pendo.delivery import pages as page_delivery
from dbt_pendo.mapping.spec import Column, Field, SyncSpec
from dbt_pendo.outcomes import DELIVERED, UNSENT, Outcome
from dbt_pendo.sandbox import Fault, Sandbox
from dbt_pendo.warehouse import ledger
from dbt_pendo.warehouse.adapter import Connection
from dbt_pendo.warehouse.ledger import SyncTables
from dbt_pendo.warehouse.plan import EVERYTHING, ModelTable, PlanOptions, cut_pages
from dbt_pendo.warehouse.session import Session, TableColumn, WarehouseError, open_session

USERS = KINDS["visitor"]
kinds = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])

# What breaks statements, templates, logs and drivers.
AWKWARD = ["it's", "'; drop table users; --", "''", "\\", "\\'", "\\n", "C:\\new\\table\\'", '"quoted"', "`ticks`"]
AWKWARD += ["{{ 1 / 0 }}", "{% raw %}", "{# gone #}", "%s %(x)s 100%", ":name $1 $$ ?", "line\nbreak\r\nand\ttab"]
AWKWARD += ["/* comment */ -- too", "a\u2028b\u2029c\u00a0d", "naïve Ω ж 漢 ی", "👩\u200d👩\u200d👧 🚀"]
AWKWARD += ["\x01\x1b[31mred\x7f", " leading and trailing ", "null", "x" * 400]


# By the command line.


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 11 rows, and statements that name five exceptions."""
    monkeypatch.setattr(page_delivery, "BATCHES_PER_PAGE", 1)
    monkeypatch.setattr(page_delivery, "SMALLEST_PAGE", 11)
    monkeypatch.setattr(page_delivery, "LARGEST_PAGE", 11)
    monkeypatch.setattr(page_delivery, "WRITTEN_ROWS", 1)
    monkeypatch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", 5)
    monkeypatch.setenv("PENDO_MAX_ERROR_SHARE", "1")


@pytest.mark.usefixtures("small_pages")
@kinds
def test_many_small_pages(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    sandbox.switches = sandbox.switches.with_changes({"null": "error", "refuse_late_events": True})
    shop.sync(kind, status="partial")
    sandbox.switches = sandbox.switches.with_changes({"null": "clear", "refuse_late_events": False})
    shop.sync(kind)
    shop.check_delivered(kind)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("kind", [KINDS["account"], KINDS["batch"]], ids=str)
def test_a_sync_that_fails_between_two_pages(
    shop: Shop, sandbox: Sandbox, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One request at a time, and the row whose bucket comes last: all pages but one have been sent.
    monkeypatch.setenv("PENDO_CONCURRENCY", "1")
    last = max(shop.keys(kind), key=lambda key: hashlib.md5(key.encode()).hexdigest())
    sandbox.fail(Fault(status=403, times=None, path=kind.path, method="POST", body_contains=f'"{last}"'))

    run = shop.sync(kind, status="error")

    assert run.verdicts
    assert last not in run.verdicts
    sandbox.clear_faults()
    shop.sync(kind)
    shop.check_delivered(kind)


def test_wide_rows_come_in_small_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_delivery, "PAGE_BYTES", 40_000)
    shop.sql("update users set plan = repeat('wide', 1000)")
    shop.sync(USERS)
    shop.check_pendo(USERS)
    rows_by_page = [rows for (rows,) in shop.sql("select count(*) from main_pendo.users__ledger group by logged_at")]
    assert 4 <= max(rows_by_page) <= 10


@pytest.mark.usefixtures("small_pages")
def test_all_kinds_of_outcomes_on_each_page(shop: Shop, sandbox: Sandbox) -> None:
    sandbox.switches = sandbox.switches.with_changes({"null": "error"})
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


@pytest.mark.parametrize("kind", [KINDS["visitor"], KINDS["single"]], ids=["visitor", "single"])
def test_ids_and_values_travel_unharmed(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    texts = [*AWKWARD, "nul \0 inside"]
    shop.sql(f"delete from {kind.model}")
    for text in texts:
        if kind is USERS:
            sandbox.add_visitors({text: {"custom": {"own": "kept"}}})
            shop.sql("insert into users values (?, ?, 1, true)", [text, text])
        else:
            shop.sql("insert into payments values (?, ?, '2024-01-31 12:00:00', 1)", [text, text])

    shop.sync(kind)

    assert set(shop.statuses(kind)) == set(texts)
    shop.check_delivered(kind)


@pytest.mark.parametrize("kind", [KINDS["visitor"], KINDS["single"]], ids=str)
def test_pendos_words_arrive_unharmed(shop: Shop, sandbox: Sandbox, kind: Kind) -> None:
    said = dict(zip(sorted(shop.keys(kind)), AWKWARD, strict=False))
    for key, text in said.items():
        sandbox.fail(Fault(status=400, body=text, times=None, path=kind.path, method="POST", body_contains=f'"{key}"'))

    run = shop.sync(kind, status="partial")

    # In one line, and not without end.
    words = {key: f"HTTP 400: {' '.join(text.split())[:300]}" for key, text in said.items()}
    assert {key: shop.latest(kind)[key]["detail"] for key in said} == words
    ((message,),) = shop.sql("select message from main_pendo.pendo_runs")
    assert message == run.result["message"]


# By the tables alone.

texts = st.sampled_from([*AWKWARD, "nul \0 inside"]) | st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
outcomes = st.one_of(
    st.just(DELIVERED), st.just(UNSENT), st.builds(Outcome, st.sampled_from(["missing", "rejected", "invalid"]), texts)
)
runs = itertools.count(1)


@pytest.fixture
def session(shop: Shop) -> Iterator[Session]:
    shop.sql("delete from users where user_id >= 'v-015'")
    with open_session(Connection(shop.folder, shop.folder)) as opened:
        yield opened


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data(), rows_per_page=st.integers(3, 20), per_statement=st.integers(1, 15))
def test_a_commit_writes_each_row_once_with_its_outcome(
    session: Session, data: Any, rows_per_page: int, per_statement: int
) -> None:
    run_id = f"run {next(runs):04}"
    spec = SyncSpec("users", "model.shop.users", "x.yml", "visitor", "user_id", (Field("plan", Column("plan")),))
    source = ModelTable("main.users", TableColumn("user_id", "varchar"), (TableColumn("plan", "varchar"),))
    tables = SyncTables(session, "commits", spec, source)
    tables.ensure_schema()
    tables.prepare()
    # What the ledger says already is not written down again.
    session.run(f"delete from {tables.ledger}")
    wanted: Counter[tuple[str, str, str | None]] = Counter()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "EXCEPTIONS_PER_STATEMENT", per_statement)
        buckets = tables.write_changes(run_id, PlanOptions(full_refresh=True))
        pages = list(cut_pages(buckets, rows_per_page))
        # Most rows of a page share one of few outcomes, some have one of their own.
        few = data.draw(st.lists(outcomes, min_size=1, max_size=3))
        seen = []
        for span in pages:
            rows = tables.read_page(span)
            seen += [row[3] for row in rows]
            told = {(row[0], row[1]): data.draw(st.sampled_from(few) | outcomes) for row in rows}
            for row in rows:
                outcome = told[row[0], row[1]]
                if outcome.status != "unsent":
                    detail = outcome.detail
                    wanted[row[3], outcome.status, None if detail is None else detail.replace("\0", "")[:500]] += 1
            tables.commit(run_id, span, list(told), {at: told for at, told in told.items() if told is not DELIVERED})

    assert sorted(seen) == sorted(row[3] for row in tables.read_page(EVERYTHING))
    assert len(seen) == 15
    written = session.rows(f"select record_key, status, detail from {tables.ledger} where run_id = '{run_id}'")
    assert Counter(written) == wanted


def test_a_journal_of_awkward_words_is_committed_by_the_next_run(
    shop: Shop, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that could not commit: its journal holds what Pendo said, and the next run brings it into the ledger."""
    for text in AWKWARD:
        shop.sql("insert into users values (?, 'free', 1, true)", [text])
    refused = AWKWARD[1]
    sandbox.fail(Fault(status=400, body=AWKWARD[6], times=None, path="/value", body_contains=json.dumps(refused)))
    with monkeypatch.context() as patch:
        patch.setattr(SyncTables, "commit", _break)
        run_cli("sync", "--json", "--select", "users").expect(1).says("the warehouse is gone")
    sandbox.clear_faults()
    sandbox.forget_requests()

    run_cli("sync", "--json", "--select", "users")

    # Only what was not delivered is sent again: the refused row; the unknown ones wait for their time.
    (write,) = [request for request in sandbox.requests if request.method == "POST"]
    assert [item["visitorId"] for item in json.loads(write.body)] == [refused]
    first = next(entry for entry in shop.ledger(USERS) if entry["record_key"] == refused)
    assert (first["status"], first["detail"]) == ("rejected", f"HTTP 400: {AWKWARD[6]}")
    unknown = {key for key, status in shop.statuses(USERS).items() if status == "missing"}
    assert unknown == STRANGERS | set(AWKWARD)


def _break(*_: Any) -> None:
    raise WarehouseError("the warehouse is gone")
