"""A 2xx that does not say what was done: nothing of it is delivered, and the next run sends it again."""

from __future__ import annotations

from typing import Any

import pytest
from shop import KINDS, Kind, Shop, at

from dbt_pendo.sandbox import Fault, Sandbox

LOG_IN = "<!doctype html><title>Log in</title>"


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        pytest.param(KINDS["visitor"], 200, "{}", id="visitor, an empty object"),
        pytest.param(KINDS["visitor"], 202, "{}", id="visitor, 202"),
        # A call of 20 of the 60 visitors, who are not to be created.
        pytest.param(KINDS["visitor"], 200, '{"total":20,"updated":0,"failed":0}', id="visitor, nobody updated"),
        pytest.param(KINDS["account"], 200, '{"error": "service unavailable"}', id="account, an error"),
        pytest.param(KINDS["single"], 200, LOG_IN, id="single, a page"),
        pytest.param(KINDS["batch"], 200, '{"error": "service unavailable"}', id="batch, an error"),
    ],
)
def test_an_answer_that_does_not_say_what_was_done_delivers_nothing(
    shop: Shop, sandbox: Sandbox, kind: Kind, status: int, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENDO_RETRIES", "1")
    sandbox.fail(at(kind, Fault(status=status, body=body, times=None), marked=True))

    run = shop.sync(kind, status="error")

    assert kind.marked not in shop.statuses(kind)
    assert f"in 2 attempts; the last: an answer that does not say what was done (HTTP {status}" in run.result["message"]
    sandbox.clear_faults()
    shop.sync(kind)
    shop.check_delivered(kind, again=False)


@pytest.mark.parametrize("counted", [True, False])
def test_created_records_may_be_counted_in_the_total_only(shop: Shop, sandbox: Sandbox, counted: Any) -> None:
    sandbox.switches = sandbox.switches.with_changes({"created_counts_as_updated": counted})
    shop.sync(KINDS["account"])
    shop.check_delivered(KINDS["account"])
