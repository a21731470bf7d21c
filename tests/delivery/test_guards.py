"""What keeps a sync from doing harm, and from doing the same in vain over and over."""

from collections.abc import Iterable

import pytest
from harness import run_cli
from shop import KINDS, STRANGERS, Shop, be_strict, kinds

from dbt_pendo.delivery.send import Sender

USERS = KINDS["visitor"]


def change(shop: Shop, keys: Iterable[str]) -> None:
    shop.sql(f"update users set plan = plan || '+' where user_id in ({str(['', *sorted(keys)])[1:-1]})")


def known(shop: Shop) -> list[str]:
    return sorted(shop.keys(USERS) - STRANGERS)


@kinds
def test_a_first_run_is_blocked_by_a_number_and_not_by_a_percentage(shop, kind):
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


def test_max_changes_to_the_row(shop):
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
    # Those who leave are a matter of max_removals.
    shop.annotate(USERS, max_changes=0)
    shop.sql(f"delete from users where user_id = '{known(shop)[0]}'")
    assert run_cli("sync", "--json", "--select", "users").expect(0).planned["removed"] == 1


@pytest.mark.parametrize(("share", "status"), [("0.2", "error"), ("0.5", "partial")])
def test_too_large_a_share_of_rejected_rows_stops_a_sync(shop, sandbox, share, status, monkeypatch):
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


def test_a_sync_that_the_breaker_stops_comes_to_its_end_in_time(shop, sandbox, monkeypatch):
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


def go_back(shop: Shop, hours: float) -> None:
    """Lets everything in the ledger have happened earlier."""
    shop.sql(f"update main_pendo.users__ledger set logged_at = logged_at - interval '{hours} hours'")


def test_missing_rows_are_tried_once_a_day_or_as_often_as_is_set(shop, monkeypatch):
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
    dry = run_cli("sync", "--json", "--dry-run", "--select", "users", "--retry-held")
    assert (dry.planned["held"], dry.planned["added"]) == (0, 2)
    assert shop.sync(USERS, "--retry-held").verdicts == dict.fromkeys(STRANGERS, "missing")
    monkeypatch.setenv("PENDO_MISSING_RETRY", "0.5")
    for hours, tried in ((0.4, False), (0.2, True), (0.0, False)):
        go_back(shop, hours)
        assert bool(shop.sync(USERS).writes) == tried
