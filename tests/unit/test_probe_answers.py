"""What a probe learns of each sandbox there may be, and that nothing of it stays there."""

import dataclasses
import random
import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from harness.pendo import chosen

from dbt_pendo.commands.probe import QUESTIONS, UNKNOWN, Probed, ask_pendo
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.pendo.client import Call
from dbt_pendo.pendo.probe import Names
from dbt_pendo.sandbox import Fault, Sandbox, Switches
from dbt_pendo.secret import Secret
from dbt_pendo.settings import Settings

HINTS = get_type_hints(Switches)
NAMES = [question.name for question in QUESTIONS]
STATUSES = {
    "wrong_key_status": (401, 403),
    "read_only_write_status": (401, 402, 403),
    "wrong_track_secret_status": (400, 401, 403),
}
# What each test needs of Pendo, where no source says.
BASE: dict[str, Any] = {"type_mismatch": "record error", "deletion_end": "complete", "deletion_seconds": 0.0}
# Of switches that a probe does not ask about.
MORE: dict[str, tuple[Any, ...]] = {"read_lag_seconds": (0.0, 0.02), "latency_ms": ((0, 0), (0, 3))}
# With them nothing is deleted, or none can look.
KEPT = ("deletion_end", "keep_bodies")


def variants(name: str) -> tuple[Any, ...]:
    """The values of a switch."""
    hint = HINTS[name]
    if get_origin(hint) is Literal:
        return get_args(hint)
    if hint is bool:
        return (False, True)
    literal = next((one for one in get_args(hint) if get_origin(one) is Literal), None)
    return get_args(literal) if literal else STATUSES[name]


ASKED = {name: variants(name) for name in NAMES if name in HINTS}
Ask = Callable[..., Probed]


def fields(sandbox: Sandbox) -> list[str]:
    """The fields of visitors that are not deleted, of the groups a probe may write to."""
    schema = sandbox.pendo.records["visitor"].schema.as_json()
    return [key for group in ("custom", "agent") for key, one in schema[group].items() if not one["isDeleted"]]


@pytest.fixture
def ask(sandbox: Sandbox) -> Ask:
    """Asks a sandbox that holds data of others, and checks that it holds that and nothing else afterwards."""
    sandbox.add_accounts({"a1": {"custom": {"plan": "pro"}}})
    sandbox.add_segment("theirs", ["v1"])
    secret = Secret(sandbox.track_secrets[""], "PENDO_TRACK_SECRET")
    plain = Settings(
        api_url=sandbox.url,
        data_url=sandbox.url,
        integration_key=Secret(sandbox.integration_key, "PENDO_INTEGRATION_KEY"),
        read_only_key=Secret(sandbox.read_only_key, "PENDO_READ_ONLY_KEY"),
        track_secrets={"": secret},
        retries=0,
        timeout=20.0,
    )

    def ask(
        switches: Switches | None = None,
        told: list[str] | None = None,
        stop: Stop | None = None,
        watch: Callable[[Call], None] = lambda _: None,
        **changes: Any,
    ) -> Probed:
        held = (sandbox.visitors, sandbox.accounts, sandbox.segments, fields(sandbox))
        sandbox.switches = switches or chosen(**BASE)
        told = [] if told is None else told
        settings = dataclasses.replace(plain, **changes)
        try:
            return ask_pendo(settings, Names(), told.append, stop, watch, patience=0.1)
        finally:
            assert told or held == (sandbox.visitors, sandbox.accounts, sandbox.segments, fields(sandbox))

    return ask


@pytest.mark.parametrize("name", ASKED)
def test_each_variant_of_each_switch_is_found(ask, name):
    for value in ASKED[name]:
        probed = ask(chosen(**{**BASE, name: value}))
        assert (probed.answers[name], probed.answers.keys()) == (value, set(NAMES))


def settled(switches: Switches) -> dict[str, Any]:
    """What a probe can learn of a sandbox, by its switches."""
    expected = {name: getattr(switches, name) for name in ASKED}
    items = switches.type_mismatch == "record error" or expected["unknown_agent_field"] == "record error"
    return expected | ({} if items else {"error_items": "none seen"})


@pytest.mark.parametrize("seed", range(12))
def test_all_questions_are_settled_of_any_pendo_and_the_sandbox_is_then_like_it(ask, sandbox, seed):
    dice = random.Random(seed)
    others = [name for name, hint in HINTS.items() if get_origin(hint) is Literal or hint is bool]
    values = {name: variants(name) for name in (*ASKED, *others) if name not in KEPT} | MORE
    switches = chosen(**BASE | {name: dice.choice(choices) for name, choices in values.items()})
    first = ask(switches)
    assert first.reasons == {}
    assert {name: first.answers[name] for name in ASKED} == settled(switches)
    # The document alone makes a sandbox that answers the same.
    known = {name: answer for name, answer in first.to_dict()["answers"].items() if answer in ASKED.get(name, ())}
    sandbox.reset()
    assert ask(chosen(**known)).answers == first.answers


def test_the_document_holds_answers_alone(ask, sandbox):
    seen: list[Call] = []
    document = ask(chosen(**BASE, refuse_late_events=False), watch=seen.append).to_dict()
    assert set(document) == {"metadata", "answers", "reasons"}
    assert set(document["metadata"]) == {"dbt_pendo_version", "generated_at", "region"}
    tag = re.search(r"dbt-pendo-probe-(\w{8})", " ".join(call.request.path for call in seen))
    assert tag
    text = str(document)
    for part in (tag[1], "dbt-pendo-probe", "127.0.0.1", "sandbox-", sandbox.integration_key, "v1"):
        assert part not in text
    # Its events are too old to be processed, so that they define no name.
    assert len(sandbox.receipts) > 2
    assert all(event.late for event in sandbox.receipts)
    # Nothing of Pendo's is read but the probe's own.
    for call in seen:
        assert b'"v1"' not in call.answer
        assert b'"a1"' not in call.answer


def test_names_of_headers_about_limits_are_kept(ask, sandbox):
    headers = {"Retry-After": "0", "X-RateLimit-Remaining": "12", "X-Request-Id": "7"}
    sandbox.fail(Fault(status=429, headers=headers, body_contains='"never"'))
    probed = ask(chosen(**BASE, event_arrays="atomic"), retries=3)
    assert (probed.answers["limit_headers"], probed.reasons) == (["retry-after", "x-ratelimit-remaining"], {})


def test_without_a_secret_and_a_second_key_their_questions_are_left_open(ask, sandbox):
    probed = ask(track_secrets={}, read_only_key=None)
    events = {"refuse_late_events", "track_reply", "incomplete_events", "event_arrays"}
    assert set(probed.reasons) == {*events, "read_only_write_status", "aggregation_needs_write"}
    assert {probed.answers[name] for name in probed.reasons} == {UNKNOWN}
    assert set(probed.reasons.values()) == {"PENDO_TRACK_SECRET is not set", "PENDO_READ_ONLY_KEY is not set"}
    assert sandbox.events == []
    # A key that may write says nothing of one that may not.
    key = Secret(sandbox.integration_key, "PENDO_READ_ONLY_KEY")
    assert "may write" in ask(read_only_key=key).reasons["read_only_write_status"]


def test_a_key_that_may_not_write_changes_nothing(ask, sandbox):
    key = Secret(sandbox.read_only_key, "PENDO_INTEGRATION_KEY")
    with pytest.raises(ConfigError, match="PENDO_INTEGRATION_KEY may not write"):
        ask(integration_key=key)
    assert [request.path for request in sandbox.requests] == ["/api/v1/token/verify"]


SCHEMA, VALUE, DELETION = "/metadata/schema/visitor/custom", "/visitor/custom/value", "/bulkdelete/"
FAULTS = [
    Fault(status=500, path=SCHEMA, method="POST", times=None),
    Fault(status=422, path=SCHEMA, method="POST", times=None, body="no"),
    Fault("reset", when="after", path=SCHEMA, method="POST"),
    Fault(status=503, path=VALUE, times=None),
    Fault("reset", when="after", path=VALUE, times=None),
    Fault("garbage", when="after", path=VALUE, times=None),
    Fault("garbage", when="after", body="[1, null]", path="/value", times=None),
    Fault("garbage", when="after", body='{"total": 1, "updated": "x", "errors": {"a": 1}}', path="/value", times=None),
    Fault(status=418, path="/data/track", times=None),
    Fault("close", path="/api/v1/visitor/", times=None),
    Fault("garbage", path="/api/v1/visitor/", body='{"metadata": {"custom": 3}}', times=None),
    Fault("garbage", path="/aggregation", body='{"results": 3}', times=None),
    Fault("truncate", when="after", path="/account/", times=None),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_leaves_its_questions_open_and_nothing_in_pendo(ask, sandbox, fault):
    sandbox.fail(fault)
    probed = ask(track_secrets={}) if "track" not in fault.path else ask()
    assert set(probed.answers) == set(NAMES)
    assert all(reason and "127.0.0.1" not in reason for reason in probed.reasons.values())
    assert probed.answers["wrong_key_status"] in (401, 403)
    assert probed.left == ()


def test_an_answer_that_is_none_of_the_known_ones_is_its_status_alone(ask, sandbox):
    sandbox.fail(Fault(status=418, path="/data/track", times=None))
    assert ask().answers["wrong_track_secret_status"] == 418
    sandbox.clear_faults()
    sandbox.fail(Fault(status=409, body_contains=":null,", path=VALUE))
    sandbox.fail(Fault(status=451, path="/parentAccount/", times=None))
    probed = ask()
    assert (probed.answers["null"], probed.answers["parent_account_id_key"]) == ("other 409", "other 451")


def test_a_lost_answer_is_asked_for_once_as_a_repeat_would_say_something_else(ask, sandbox):
    sandbox.fail(Fault("close", when="after", path=VALUE))
    switches = chosen(**BASE, created_counts_as_updated=False, null="ignore")
    answers = ask(switches, retries=3).answers
    assert (answers["created_counts_as_updated"], answers["null"]) == (UNKNOWN, "ignore")


def test_what_is_not_seen_again_is_not_taken_for_an_answer(ask, sandbox):
    taken = '{"total": 1, "updated": 1, "failed": 0}'
    sandbox.fail(Fault("garbage", body=taken, path=VALUE, body_contains=":null,"))
    probed = ask()
    assert (probed.answers["null"], probed.reasons.keys()) == (UNKNOWN, {"null"})


@pytest.mark.parametrize("refused", [SCHEMA, DELETION])
def test_what_cannot_be_removed_is_named_with_what_to_do(ask, sandbox, refused):
    method = "DELETE" if refused == SCHEMA else "POST"
    sandbox.fail(Fault(status=403, path=refused, method=method, times=None))
    told: list[str] = []
    probed = ask(told=told)
    assert probed.left == tuple(told)
    left = [name for name in (*fields(sandbox), *sandbox.visitors, *sandbox.accounts) if "probe" in name]
    hint = "Settings > Metadata" if refused == SCHEMA else "POST /api/v1/bulkdelete/"
    assert len(left) == len(told) == 2
    assert all(name in one and hint in one for name, one in zip(left, told, strict=True))


@pytest.mark.parametrize(("body", "is_removed"), [("", True), ('{"queued": true}', True), ("<html>", False)])
def test_any_answer_of_pendo_to_a_deletion_will_do_and_none_of_a_proxy(ask, sandbox, body, is_removed):
    for path, method in ((DELETION, "POST"), (SCHEMA, "DELETE")):
        sandbox.fail(
            Fault("garbage" if body else "status", "after", 200, path=path, method=method, body=body, times=None)
        )
    assert bool(ask(told=[]).left) is not is_removed


def test_a_deletion_whose_answer_was_lost_is_repeated_and_waits_already(ask, sandbox):
    sandbox.fail(Fault("close", when="after", path=DELETION))
    sandbox.fail(Fault(status=400, path=DELETION))
    assert ask(retries=1).left == ()


@pytest.mark.parametrize("at", range(1, 41, 5))
def test_a_stop_at_any_call_ends_the_probe_and_removes_what_was_made(ask, sandbox, at):
    stop, calls = Stop(), []

    def watch(call: Call) -> None:
        calls.append(call)
        if len(calls) == at:
            stop.request("SIGTERM")

    probed = ask(stop=stop, watch=watch)
    assert probed.interrupted is not None
    assert len(probed.answers) < len(NAMES)
    assert len(calls) <= at + 8


def test_an_error_of_our_own_leaves_nothing_either(ask, sandbox):
    def watch(call: Call) -> None:
        if "parentAccount" in call.request.path:
            raise DbtPendoError("no")

    with pytest.raises(DbtPendoError):
        ask(watch=watch)
