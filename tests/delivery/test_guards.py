"""What keeps a sync from doing harm, and from doing the same in vain over and over."""

from collections.abc import Iterable

import pytest
from harness import run_cli
from shop import KINDS, STRANGERS, Kind, Shop, at

from dbt_pendo.delivery.send import Sender
from dbt_pendo.sandbox import Fault, Sandbox

USERS = KINDS["visitor"]
kinds = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])


def be_strict(sandbox: Sandbox, strict: bool = True) -> None:
    """Lets Pendo reject the rows that hold a null, and events that are old."""
    sandbox.switches = sandbox.switches.with_changes(
        {"null": "error" if strict else "clear", "refuse_late_events": strict, "error_items": "object"}
    )


def change(shop: Shop, keys: Iterable[str]) -> None:
    shop.sql(f"update users set plan = plan || '+' where user_id in ({str(sorted(keys))[1:-1]})")


def known(shop: Shop) -> list[str]:
    return sorted(shop.keys(USERS) - STRANGERS)


# max_changes, max_removals.


@kinds
def test_a_first_run_is_blocked_by_a_number_and_not_by_a_percentage(shop: Shop, kind: Kind) -> None:
    rows = len(shop.keys(kind))
    shop.annotate(kind, max_changes=rows - 1)

    run = shop.sync(kind, status="blocked")

    assert run.status == 1
    for part in (f"{rows} added", f"max_changes allows {rows - 1};", "--force"):
        assert part in run.result["message"]
    # Nothing was sent.
    assert (run.planned, shop.plan(kind)) == ({"added": rows}, {"added": rows})
    assert not run.writes
    assert not shop.ledger(kind)
    shop.annotate(kind, max_changes="0%")
    shop.sync(kind)
    shop.check_delivered(kind)


def test_max_changes_to_the_row(shop: Shop) -> None:
    """58 of the 60 users are known to Pendo: 10 % are 5.8."""
    shop.sync(USERS)
    for changed, limits in (
        (5, {"10%": "success"}),
        (6, {"10%": "blocked", "0%": "blocked", 0: "blocked", 5: "blocked", 6: "success"}),
        (58, {57: "blocked", "100%": "success"}),
        (0, {0: "success"}),
        (1, {"0%": "blocked"}),
    ):
        change(shop, known(shop)[:changed])
        for limit, status in limits.items():
            shop.annotate(USERS, max_changes=limit)
            run = shop.sync(USERS, status=status)
            assert run.result["planned"]["changed"] == changed
            assert bool(run.writes) == (status == "success" and changed > 0)
    shop.sync(USERS, "--force")
    shop.check_delivered(USERS)


def test_max_removals_to_the_row(shop: Shop, sandbox: Sandbox) -> None:
    """Of deletions, and with --force: functional/test_removals.py."""
    shop.annotate(USERS, on_removed="clear", max_changes=3)
    shop.sync(USERS, "--force")
    gone = known(shop)[10:16]
    shop.sql(f"delete from users where user_id in ({str(gone)[1:-1]})")
    change(shop, known(shop)[:3])
    for less in ("10%", 5):
        shop.annotate(USERS, max_removals=less)
        run = shop.sync(USERS, status="blocked")
        assert "max_removals allows 5; --force" in run.result["message"]
        assert not run.writes
    shop.annotate(USERS, max_removals="11%")
    run_cli("sync", "--json", "--select", "users").expect(0)
    assert {shop.statuses(USERS)[key] for key in gone} == {"removed"}
    shop.check_pendo(USERS)
    assert [sandbox.visitors[key]["custom"] for key in gone] == [{"own": "kept"}] * 6


# The share of errors during a sync.


@pytest.mark.parametrize(("share", "status"), [("0.2", "error"), ("0.5", "partial")])
def test_too_large_a_share_of_rejected_rows_stops_a_sync(
    shop: Shop, sandbox: Sandbox, share: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sender, "judged_before_breaking", 10)
    monkeypatch.setenv("PENDO_MAX_ERROR_SHARE", share)
    monkeypatch.setenv("PENDO_CONCURRENCY", "1")
    be_strict(sandbox)
    shop.sql("update users set seats = null where right(user_id, 1) in ('2', '5', '8')")
    spoilt = {row["user_id"] for row in shop.rows("users") if row["seats"] is None}

    run = shop.sync(USERS, status=status)

    # What Pendo has said is in the ledger, also of the answer that was too much.
    assert run.rejected
    assert run.result["delivered"] > 0
    if status == "error":
        assert "of 20 rows, the last for: " in run.result["message"]
        assert "PENDO_MAX_ERROR_SHARE" in run.result["message"]
        assert len(run.requests) == 1
    else:
        assert run.rejected == spoilt - STRANGERS
    be_strict(sandbox, False)
    shop.sync(USERS)
    shop.check_delivered(USERS)


def test_a_sync_that_the_breaker_stops_comes_to_its_end_in_time(
    shop: Shop, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run gets further, for rows that failed often enough are held."""
    monkeypatch.setattr(Sender, "judged_before_breaking", 10)
    monkeypatch.setenv("PENDO_MAX_ATTEMPTS", "2")
    be_strict(sandbox)
    shop.sql("update users set seats = null where plan <> 'team'")

    for _ in range(10):
        if shop.sync(USERS, status=None).result["status"] in ("success", "warn"):
            break

    statuses = shop.statuses(USERS)
    good = {row["user_id"] for row in shop.rows("users") if row["plan"] == "team"} - STRANGERS
    assert {key for key, status in statuses.items() if status == "delivered"} == good
    assert shop.plan(USERS) == {"held": 60 - len(good), "unchanged": len(good)}


# Held rows.


@kinds
def test_a_row_that_failed_too_often_is_held(
    shop: Shop, sandbox: Sandbox, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENDO_MAX_ATTEMPTS", "3")
    be_strict(sandbox)
    strangers = STRANGERS if kind is USERS else frozenset()

    for attempt in (1, 2, 3):
        run = shop.sync(kind, status="partial")
        assert run.rejected == kind.spoilt
        assert {shop.latest(kind)[key]["attempts"] for key in kind.spoilt} == {attempt}

    delivered = len(shop.keys(kind)) - len(kind.spoilt) - len(strangers)
    held = {"unchanged": delivered, "held": len(kind.spoilt) + len(strangers)}
    assert shop.plan(kind) == held
    run = shop.sync(kind)
    assert run.planned == held
    assert not run.writes
    assert {entry["attempts"] for entry in shop.ledger(kind) if entry["status"] == "delivered"} == {None}
    # Nothing brings it back by itself, not even a Pendo that would take it now.
    be_strict(sandbox, False)
    assert shop.sync(kind).planned == held


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        *((USERS, way) for way in ("--retry-held", "mapping", "data", "setting")),
        *((KINDS["account"], way) for way in ("--full-refresh", "data")),
        *((KINDS["batch"], way) for way in ("--full-refresh", "mapping", "data")),
    ],
    ids=str,
)
def test_a_held_row_comes_again(
    shop: Shop, sandbox: Sandbox, kind: Kind, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENDO_MAX_ATTEMPTS", "1")
    be_strict(sandbox)
    shop.sync(kind, status="partial")
    assert shop.sync(kind).planned["held"] >= len(kind.spoilt)
    args: list[str] = []
    if way == "mapping":
        # The hash covers the mapping.
        fields = {"users": {"plan": "plan"}, "orgs": {"tier": "tier"}}
        shop.annotate(kind, **({"properties": {"id": kind.key}} if kind.is_event else {"fields": fields[kind.model]}))
    elif way == "data":
        column = {"users": "seats", "orgs": "health"}.get(kind.model, "amount")
        shop.sql(f"update {kind.model} set {column} = 77 where {kind.key} in ({str(sorted(kind.spoilt))[1:-1]})")
    elif way == "setting":
        monkeypatch.setenv("PENDO_MAX_ATTEMPTS", "2")
    else:
        args = [way]
    if way.startswith("--"):
        assert run_cli("sync", "--json", "--dry-run", "--select", kind.model, *args).planned["held"] == 0
    if way == "--full-refresh" and kind.is_event:
        # Everything comes again, on demand.
        shop.acknowledged.clear()
        shop.unacknowledged.clear()
        sandbox.pendo.events.accepted.clear()

    run = shop.sync(kind, *args, status=None)

    assert kind.spoilt <= run.verdicts.keys()
    rejected = {entry["attempts"] for entry in shop.latest(kind).values() if entry["status"] == "rejected"}
    # It counts anew for a row that is another, if Pendo has anything left against it.
    anew = {1} if kind.is_event else set()
    assert rejected == (anew if way in ("mapping", "data") else {2})
    be_strict(sandbox, False)
    shop.sync(kind, "--retry-held")
    if way != "mapping":
        assert set(shop.statuses(kind).values()) <= {"delivered", "missing"}


def test_attempts_count_from_the_last_success(shop: Shop, sandbox: Sandbox) -> None:
    key = known(shop)[0]
    refuse = Fault(status=400, body="no", times=None, path="/value", body_contains=f'"{key}"')

    def attempts(status: str) -> int | None:
        shop.sync(USERS, status=status)
        return shop.latest(USERS)[key]["attempts"]

    sandbox.fail(refuse)
    assert [attempts("partial") for _ in range(3)] == [1, 2, 3]
    sandbox.clear_faults()
    assert attempts("success") is None
    sandbox.fail(refuse)
    change(shop, [key])
    assert [attempts("partial") for _ in range(2)] == [1, 2]
    change(shop, [key])
    assert attempts("partial") == 1
    # As it was when Pendo last took it; what the vain attempts have left there nobody knows.
    shop.sql(f"update users set plan = rtrim(plan, '+') where user_id = '{key}'")
    assert attempts("partial") == 1
    sandbox.clear_faults()
    assert attempts("success") is None
    shop.check_delivered(USERS)


# Rows whose id Pendo does not know.


def go_back(shop: Shop, hours: float) -> None:
    """Lets everything in the ledger have happened earlier."""
    shop.sql(f"update main_pendo.users__ledger set logged_at = logged_at - to_seconds({hours * 3600})")


def test_missing_rows_are_tried_once_a_day_or_as_often_as_is_set(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sync(USERS)

    # A held row is no change to the guards, either.
    for limit in (0, 60):
        shop.annotate(USERS, max_changes=limit)
        assert shop.sync(USERS).planned == {"unchanged": 58, "held": 2}
    assert shop.plan(USERS) == {"unchanged": 58, "held": 2}
    go_back(shop, 23.9)
    assert not shop.sync(USERS).writes
    go_back(shop, 0.2)
    assert shop.plan(USERS) == {"unchanged": 58, "added": 2}
    run = shop.sync(USERS)

    assert run.verdicts == dict.fromkeys(STRANGERS, "missing")
    assert {shop.latest(USERS)[key]["attempts"] for key in STRANGERS} == {2}
    assert shop.sync(USERS).planned == {"unchanged": 58, "held": 2}
    monkeypatch.setenv("PENDO_MISSING_RETRY", "0.5")
    for hours, tried in ((0.4, False), (0.2, True), (0.0, False)):
        go_back(shop, hours)
        assert bool(shop.sync(USERS).writes) == tried


def test_missing_rows_are_held_after_too_many_attempts(
    shop: Shop, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENDO_MISSING_RETRY", "0")
    monkeypatch.setenv("PENDO_MAX_ATTEMPTS", "4")

    runs = [shop.sync(USERS).verdicts.keys() & STRANGERS for _ in range(6)]

    assert runs == [STRANGERS] * 4 + [set()] * 2
    assert shop.sync(USERS, "--retry-held").verdicts == dict.fromkeys(STRANGERS, "missing")


@pytest.mark.parametrize("way", ["--retry-held", "data", "time"])
def test_a_missing_row_is_delivered_once_pendo_knows_the_id(shop: Shop, sandbox: Sandbox, way: str) -> None:
    shop.sync(USERS)
    stranger = min(STRANGERS)
    shop.sql(f"delete from users where user_id in ({str(sorted(STRANGERS - {stranger}))[1:-1]})")
    shop.sql(f"update users set user_id = 'newcomer' where user_id = '{stranger}'")
    assert shop.sync(USERS).verdicts == {"newcomer": "missing"}
    sandbox.add_visitors(["newcomer"])
    args = [way] if way.startswith("--") else []
    if way == "data":
        change(shop, ["newcomer"])
    elif way == "time":
        go_back(shop, 25)

    run = shop.sync(USERS, *args)

    assert run.verdicts["newcomer"] == "delivered"
    entry = shop.latest(USERS)["newcomer"]
    assert (entry["status"], entry["attempts"], entry["detail"]) == ("delivered", None, None)
    assert shop.plan(USERS) == {"unchanged": 59}


def test_a_fault_is_no_attempt(shop: Shop, sandbox: Sandbox) -> None:
    """What Pendo never answered says nothing of the rows."""
    sandbox.fail(at(USERS, Fault(status=503, times=None)))
    for _ in range(2):
        shop.sync(USERS, status="error")
    sandbox.clear_faults()
    shop.sync(USERS)
    shop.check_delivered(USERS)
