"""What a run has changed, by what it did and what the runs before did; and how that is put."""

import json
from collections.abc import Sequence
from dataclasses import replace

from dbt_pendo.alerts.changes import RUNS_READ, Alert, Change, changes_of
from dbt_pendo.alerts.message import message_of
from dbt_pendo.channels import Channel
from dbt_pendo.delivery.results import Ends, Note, SyncResult, SyncStatus
from dbt_pendo.delivery.sync import Options
from dbt_pendo.settings import PendoHost
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import LoggedSync

ALL = Channel("PENDO_ALERT_URL", None)
CALM = Planned(unchanged=1000)


def result(status: SyncStatus = "success", planned: Planned = CALM, sync: str = "users", **more: object) -> SyncResult:
    return SyncResult(sync, f"model.shop.{sync}", "visitor", status, planned=planned, **more)


def logged(status: str = "success", planned: Planned = CALM, sync: str = "users") -> LoggedSync:
    return LoggedSync(
        *("r0", sync, f"model.shop.{sync}", "visitor", status, None, planned),
        *(0, 0, 0, 0, 0, 0, 0.0, "prod", "https://app.pendo.io", 0, 0, "2026-01-02T03:04:05Z"),
    )


def events_of(
    now: SyncResult, before: Sequence[LoggedSync], options: Options | None = None, channel: Channel = ALL
) -> tuple[str, ...]:
    changes = changes_of([now], {now.sync: before}, options or Options(), channel)
    return changes[0].events if changes else ()


def test_a_change_of_state_is_told_once():
    for now, told, before in [
        ("error", ("failure",), [None, "success", "partial", "blocked"]),
        ("partial", ("partial",), [None, "success", "error"]),
        ("blocked", ("blocked",), [None, "success"]),
        ("success", ("recovery",), ["error", "partial", "blocked"]),
        ("success", (), [None, "success", "warn"]),
        ("warn", (), [None, "success", "warn"]),
        ("warn", ("recovery",), ["error", "partial", "blocked"]),
        ("skipped", (), ["error", "success"]),
        ("interrupted", (), ["error", "success"]),
        *((status, (), [status]) for status in ("error", "partial", "blocked")),
    ]:
        for status in before:
            runs = [] if status is None else [logged(status)]
            changes = changes_of([result(now)], {"users": runs}, Options(), ALL)
            assert [(change.events, change.before) for change in changes] == ([(told, status)] if told else [])


def test_each_sync_has_its_own_state():
    results = [result("error", sync="a"), result("error", sync="b"), result("success", sync="c"), result(sync="d")]
    past = {"a": [logged("error")], "b": [logged()], "c": [logged("error")]}
    changes = changes_of(results, past, Options(), ALL)
    assert [(change.result.sync, change.events) for change in changes] == [("b", ("failure",)), ("c", ("recovery",))]


ALL_AGAIN = Planned(changed=900, added=100)
A_FEW_AGAIN = Planned(changed=3)
ALL_NEW = Planned(added=1000)


def test_a_full_resync_is_told_once():
    for before, now, full_refresh, told in [
        ([CALM], ALL_AGAIN, False, True),  # another mapping
        ([ALL_NEW], ALL_AGAIN, False, True),  # right after the first sync
        ([ALL_AGAIN, CALM], ALL_AGAIN, False, False),  # again
        ([CALM], Planned(changed=100), False, False),  # a small model
        ([CALM], Planned(changed=101), False, True),  # a model that is just no small one
        ([CALM], A_FEW_AGAIN, True, True),  # --full-refresh of a small model
        ([A_FEW_AGAIN], A_FEW_AGAIN, True, False),  # --full-refresh again
        ([], ALL_NEW, False, False),  # the first sync
        ([], ALL_NEW, True, False),  # the first sync, with --full-refresh
        ([CALM], ALL_NEW, False, True),  # the ledger is gone
        ([CALM], Planned(changed=999, unchanged=1), False, False),  # nearly all
        ([Planned(added=500)], ALL_NEW, False, False),  # other rows each time
    ]:
        runs = [logged(planned=planned) for planned in before]
        assert ("full_resync" in events_of(result(planned=now), runs, Options(full_refresh=full_refresh))) == told
    # What was not sent is none, and a segment is replaced without a word.
    assert events_of(result("error", ALL_AGAIN), [logged()]) == ("failure",)
    assert events_of(result("blocked", ALL_AGAIN), [logged()]) == ("blocked",)
    assert events_of(replace(result(planned=ALL_AGAIN), object="segment"), [logged()]) == ()


def counts(*rows: int, status: str = "success") -> list[LoggedSync]:
    return [logged(status, Planned(unchanged=count)) for count in rows]


def test_a_row_count_far_off_is_told_once():
    for before, rows, told in [
        ([1000] * 5, 2001, True),  # more than twice as many
        ([1000] * 5, 2000, False),  # twice as many
        ([1000] * 5, 499, True),  # less than half
        ([1000] * 5, 500, False),  # half
        ([1000] * 5, 0, True),  # none at all
        ([1000] * 4, 0, False),  # too few runs to know
        ([20] * 10, 120, False),  # a hundred rows more
        ([20] * 10, 121, True),  # more than a hundred rows more
        ([90_000, *[1000] * 5], 1000, False),  # outliers do not matter
        ([3000, *[1000] * 10], 3000, False),  # told in the run before
        ([100, *[1000] * 10], 3000, True),  # the other way in the run before
        ([1000] * 10 + [5000] * 30, 2500, True),  # what is long past
        ([], 10_000, False),  # the first run
    ]:
        assert events_of(result(planned=Planned(unchanged=rows)), counts(*before)) == (("row_count",) if told else ())


def test_only_runs_that_ran_through_are_compared():
    before = [*counts(0, 0, 0, status="error"), *counts(1000, 1000, 1000, 1000, 1000), *counts(0, 0, status="blocked")]
    assert events_of(result("success", Planned(unchanged=1000)), before) == ("recovery",)
    assert events_of(result("success", Planned(unchanged=10)), before) == ("recovery", "row_count")
    asked = replace(ALL, events=("row_count", "failure"))
    assert events_of(result("success", Planned(unchanged=10)), before, channel=asked) == ("row_count",)
    assert events_of(result("error", Planned()), before) == ()
    assert events_of(result("blocked", Planned()), before) == ("blocked",)
    # Nor is a part of the rows.
    assert events_of(result(planned=Planned(added=10)), counts(*[1000] * 5), Options(limit=10)) == ()
    # As many runs are read as are compared.
    assert events_of(result(planned=Planned(unchanged=3000)), counts(3000, *[1000] * 10)[:RUNS_READ]) == ()
    # All rows of the model count.
    planned = Planned(added=100, changed=200, removed=5000, unchanged=300, invalid=200, held=200)
    assert "row_count" not in events_of(result(planned=planned), counts(*[1000] * 5))
    past = [*counts(*[0] * 6, status="error"), *counts(*[900] * 5)]
    (change,) = changes_of([result("success", planned)], {"users": past}, Options(), ALL)
    assert (change.rows, change.usual_rows) == (1000, 900)


PENDO = PendoHost("https://app.eu.pendo.io", "eu", False)
ENDS = Ends("prod", "analytics_pendo", PENDO)


def alert(*changes: Change) -> Alert:
    return Alert("20260102T030405000000Z-abcdef", ENDS, changes)


def test_many_invalid_or_held_rows_are_told_once():
    few, many = Planned(unchanged=990, invalid=5, held=5), Planned(unchanged=950, invalid=30, held=20)
    for before, now, missing, share, told in [
        ([few], many, 0, 1, ("invalid", "held")),
        ([few], many, 0, 2, ("invalid",)),
        ([few], many, 0, 3, ()),  # as many as the share is not above it
        ([], many, 0, 1, ("invalid", "held")),
        ([many, few], many, 0, 1, ()),  # told in the run before
        ([few], few, 0, 0.4, ()),
        ([few], few, 6, 1, ("held",)),  # those who are missing now will be held
        ([many], few, 20, 1, ()),  # held rows that were tried again in vain
        ([CALM], Planned(invalid=1), 0, 99, ("invalid",)),
        ([CALM], Planned(), 0, 0, ()),  # no rows at all
    ]:
        channel = replace(ALL, events=("invalid", "held"), share=float(share))
        runs = [logged(planned=planned) for planned in before]
        assert events_of(result(planned=now, missing=missing), runs, channel=channel) == told
    assert events_of(result(planned=many), [logged()], Options(limit=1000)) == ()
    assert events_of(result("blocked", planned=many), [logged("blocked")]) == ()


def test_a_message_says_what_where_how_many_and_where_to_look():
    failed = result(
        *("error", Planned(added=7, changed=1, unchanged=1200, invalid=2, held=10)),
        notes=(Note("error", "Pendo did not take it."), Note("hint", "Run it again.")),
        **{"delivered": 1234, "missing": 3, "rejected": 4},
    )
    off = result(planned=Planned(unchanged=120), sync="accounts.facts")
    told = alert(Change(failed, ("failure",), "success", 1300), Change(off, ("recovery", "row_count"), "blocked", 1300))
    assert message_of(told, "slack") == {
        "text": "*dbt-pendo*: 1 sync failed, 1 sync recovered, 1 sync with an unusual row count\n"
        "Project `shop`, target `prod`, schema `analytics_pendo`, Pendo `https://app.eu.pendo.io (eu)`\n"
        "• `users` (visitor): failed; the run before was a success. "
        "1,234 delivered, 3 missing, 4 rejected, 2 invalid, 10 held\n"
        "    `Pendo did not take it.`\n"
        "• `accounts.facts` (visitor): recovered; 120 rows, usually about 1,300; the run before was blocked. "
        "0 delivered\n"
        "Look further: `dbt-pendo show 20260102T030405000000Z-abcdef`"
    }
    document = json.loads(json.dumps(message_of(told, "json")))
    users, accounts = document["syncs"]
    assert (
        document.items()
        >= {
            **{"run_id": "20260102T030405000000Z-abcdef", "project": "shop", **ENDS.to_dict()},
            "command": "dbt-pendo show 20260102T030405000000Z-abcdef",
        }.items()
    )
    assert document["events"] == ["failure", "recovery", "row_count"]
    assert users == {
        **{"sync": "users", "unique_id": "model.shop.users", "object": "visitor", "events": ["failure"]},
        **{"status": "error", "status_before": "success", "reason": "Pendo did not take it."},
        "planned": {"added": 7, "changed": 1, "removed": 0, "unchanged": 1200, "invalid": 2, "held": 10},
        **{"delivered": 1234, "missing": 3, "rejected": 4, "rows": 1220, "usual_rows": 1300},
    }
    assert accounts["sync"] == "accounts.facts"


def test_names_and_reasons_are_text_and_nothing_else():
    hostile = "`<!channel>` <https://evil.example|click> & *bold*\t@everyone\x1b[2J\u202e"
    name = f"model.shop.{hostile}"
    failed = SyncResult(hostile, name, "visitor", "error", notes=(Note("error", hostile),))
    told = replace(alert(Change(failed, ("failure",), None)), ends=replace(ENDS, target=hostile, schema=hostile))
    text = message_of(told, "slack")["text"]
    shown = "`'&lt;!channel&gt;' &lt;https://evil.example|click&gt; &amp; *bold* @everyone\\x1b[2J\\u202e`"
    assert text.count(shown) == 4
    rest = text.replace(shown, "")
    assert not [word for word in ("<", "&", "evil", "@everyone", "*bold*") if word in rest]
    # As JSON it is what it is.
    assert message_of(told, "json")["syncs"][0]["sync"] == hostile
    # What names single rows is not told.
    notes = (Note("rejected", "1 rejected: no such plan (1, e.g. ada@example.com)"),)
    told = alert(Change(result("partial", notes=notes, rejected=1), ("partial",), "success"))
    assert "ada@example.com" not in json.dumps([message_of(told, "slack"), message_of(told, "json")])


def test_a_long_message_is_cut():
    failed = [result("error", sync=f"s{at}", notes=(Note("error", "x" * 5000),)) for at in range(30)]
    told = alert(*(Change(one, ("failure",), None) for one in failed))
    text = message_of(told, "slack")["text"]
    words = ("*dbt-pendo*: 30 syncs failed", "and 10 more", "`s19`", "`s20`")
    assert [word in text for word in words] == [True, True, True, False]
    assert max(map(len, text.splitlines())) < 400
    assert len(message_of(told, "json")["syncs"]) == 30
