"""What a bulk answer says of each record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_pendo.delivery.send import Sender
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.delivery.writers import make_writers
from dbt_pendo.mapping.spec import Column, Field, SyncSpec
from dbt_pendo.outcomes import DELIVERED, Outcome, Position
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.pendo.metadata import Judgement, judge_values, values_request
from dbt_pendo.records.batches import Batch
from dbt_pendo.records.render import PendoField, Record, render

IDS = ["v1", "v2", "v3"]
MISSING = Outcome("missing", "Pendo does not know this id")


def rejected(detail: str) -> Outcome:
    return Outcome("rejected", detail)


def judged(document: Any, ids: list[str] = IDS, status: int = 200) -> Judgement:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return judge_values(Answer(status, body), ids)


def whole(message: str) -> Judgement:
    return Judgement(unnamed=[message], refused_whole=True)


def delivered(client: PendoClient, spec: SyncSpec, records: list[Record]) -> dict[Position, Outcome]:
    """The outcome of each record of a batch."""
    outcomes: dict[Position, Outcome] = {}

    def settled(positions: Sequence[Position], others: Mapping[Position, Outcome]) -> None:
        outcomes.update({position: others.get(position, DELIVERED) for position in positions})

    writes = [writer.write for writer in make_writers(client, spec, Stop()).updates]
    Sender(Stop().check, client.settings.max_error_share).send(Batch(records), writes, settled)
    return outcomes


def statuses(outcomes: dict[Position, Outcome]) -> dict[int, str]:
    return {seq: outcome.status for (_, seq), outcome in sorted(outcomes.items())}


# Answers that judge every record.


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"total": 3, "updated": 3, "failed": 0, "missing": [], "errors": []}, id="empty lists"),
        pytest.param({"total": 3, "updated": 3, "failed": 0, "kind": "visitor"}, id="lists omitted"),
        pytest.param({"total": 3, "updated": 3, "failed": 0, "missing": None, "errors": None}, id="null lists"),
        pytest.param({"total": 3, "updated": 0}, id="created records counted in the total alone"),
    ],
)
def test_an_answer_without_failures_delivers_everything(document):
    assert judged(document) == Judgement()


def test_missing_ids_are_missing_and_the_others_delivered():
    document = {"total": 3, "updated": 1, "failed": 2, "missing": ["v1", "v3"]}
    assert judged(document) == Judgement({"v1": MISSING, "v3": MISSING})


@pytest.mark.parametrize(
    "error",
    [
        pytest.param("visitor 'v2': expected an integer", id="in quotes before a colon"),
        pytest.param('visitor "v2": expected an integer', id="in double quotes"),
        pytest.param("visitor `v2` has a bad value", id="in backquotes"),
        pytest.param("expected an integer for 'v2'", id="in quotes at the end"),
        pytest.param("v2: expected an integer", id="before a colon"),
        pytest.param("visitor v2: expected an integer", id="a word before a colon"),
        pytest.param("visitor 'v2': field 'seats': expected an integer, got 'many'", id="with other quotes"),
        pytest.param("visitor 'v2': 'v2' is bad", id="twice"),
    ],
)
def test_a_text_that_names_a_record_makes_it_a_suspect_with_pendos_words(error):
    document = {"total": 3, "updated": 2, "failed": 1, "errors": [error]}
    assert judged(document) == Judgement(guessed={"v2": error})


@pytest.mark.parametrize("key", ["visitorId", "accountId", "parentAccountId", "id"])
def test_an_error_may_be_an_object_with_the_id(key):
    error = {key: "v2", "error": "expected an integer"}
    verdict = judged({"total": 3, "updated": 2, "failed": 1, "errors": [error]})
    assert list(verdict.outcomes) == ["v2"]
    assert verdict.outcomes["v2"].status == "rejected"
    assert orjson.loads(verdict.outcomes["v2"].detail) == error
    assert verdict == Judgement(verdict.outcomes)


def test_missing_rejected_and_suspected_records_come_together():
    error = {"id": "v2", "error": "bad"}
    document = {"total": 3, "updated": 0, "failed": 3, "missing": ["v1"], "errors": ["v3: bad", error]}
    shown = '{"id":"v2","error":"bad"}'
    assert judged(document) == Judgement({"v1": MISSING, "v2": rejected(shown)}, guessed={"v3": "v3: bad"})


ODD_IDS = ["o'brien", "Zoë 🚀", "a b", "a: b", "{{ x }}", "new\nline", "A1", "a1", "1", "ada@example.com"]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_odd_ids_are_found(odd):
    ids = [*ODD_IDS, "other"]
    assert judged({"failed": 1, "missing": [odd]}, ids) == Judgement({odd: MISSING})
    by_object = judged({"failed": 1, "errors": [{"visitorId": odd, "error": "bad"}]}, ids)
    assert (list(by_object.outcomes), by_object.guessed, by_object.unnamed) == ([odd], {}, [])
    words = f'visitor "{odd}" is bad'
    assert judged({"failed": 1, "errors": [words]}, ids) == Judgement(guessed={odd: words})


def test_ids_that_differ_only_in_case_are_two():
    assert list(judged({"failed": 1, "missing": ["A1"]}, ["a1", "A1"]).outcomes) == ["A1"]
    assert judged({"failed": 1, "errors": ["a1: bad"]}, ["a1", "A1"]) == Judgement(guessed={"a1": "a1: bad"})


# Answers that leave something open: it must come out as unnamed, never as delivered.


@pytest.mark.parametrize(
    ("error", "ids"),
    [
        pytest.param("expected an integer, got 12", ["1", "2"], id="digits of a number"),
        pytest.param("expected an integer", ["a", "an", "integer"], id="words"),
        pytest.param("user v12 is bad", ["v1", "v2"], id="the beginning of another id"),
        pytest.param("visitor 'v12': bad", ["v1", "2"], id="inside quotes"),
        pytest.param("v12: bad", ["v1", "2", "v"], id="before a colon"),
        pytest.param("visitor V1: bad", ["v1"], id="another case"),
        pytest.param("v1 is bad", ["v1"], id="a word like any other"),
        pytest.param("", [""], id="nothing at all"),
        pytest.param("'' is bad", ["v1"], id="empty quotes"),
    ],
)
def test_a_text_that_only_contains_an_id_is_not_about_that_record(error, ids):
    assert judged({"failed": 1, "errors": [error]}, ids) == Judgement(unnamed=[error])


@given(st.lists(st.text("ab1 ", min_size=1), min_size=1, unique=True), st.text("ab1 -,."))
def test_no_text_without_quotes_or_colon_is_about_any_record(ids, text):
    assert judged({"failed": 1, "errors": [text]}, ids) == Judgement(unnamed=[text])


@pytest.mark.parametrize(
    "error",
    [
        pytest.param("a value has the wrong type", id="a text that names nobody"),
        pytest.param("'v1' and 'v2' are the same", id="a text that names two"),
        pytest.param("v1: duplicate of 'v2'", id="a text that names two in two ways"),
        pytest.param("visitor 'v9': bad", id="an id that was not sent"),
    ],
)
def test_an_error_that_names_no_single_record_is_unplaced(error):
    assert judged({"failed": 1, "errors": [error]}) == Judgement(unnamed=[error])


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ({"visitorId": "v9", "error": "bad"}, '{"visitorId":"v9","error":"bad"}'),
        ({"error": "visitor 'v1' is bad"}, '{"error":"visitor \'v1\' is bad"}'),
        ({}, "{}"),
        (7, "7"),
        (None, "null"),
        (["v1", "bad"], '["v1","bad"]'),
    ],
)
def test_an_error_of_another_form_is_unplaced(error, shown):
    assert judged({"failed": 1, "errors": [error]}) == Judgement(unnamed=[shown])


@pytest.mark.parametrize(
    ("told", "open_"),
    [
        pytest.param({}, 3, id="nothing told"),
        pytest.param({"missing": ["v1"]}, 2, id="a missing one told"),
        pytest.param({"missing": ["v1"], "errors": ["v2: bad"]}, 1, id="two told"),
        pytest.param({"missing": ["v1"], "errors": [{"id": "v2"}, "v3: bad"]}, 0, id="all told"),
        pytest.param({"missing": ["v1", "v1"]}, 2, id="one told twice"),
        pytest.param({"missing": ["v1"], "errors": ["bad"]}, 1, id="one without a name"),
    ],
)
def test_more_failures_than_told_are_unnamed_one_by_one(told, open_):
    verdict = judged({"total": 3, "updated": 0, "failed": 3, **told})
    nameless = [error for error in told.get("errors", []) if error == "bad"]
    assert verdict.unnamed == nameless + [f"{open_} records failed without a reason"] * open_
    assert len(verdict.outcomes) + len(verdict.guessed) + len(verdict.unnamed) == 3


def test_more_failures_than_records_are_as_many_as_there_are_records():
    assert len(judged({"failed": 10**12}).unnamed) == len(IDS)


def test_a_text_about_a_record_already_judged_leaves_one_failure_open():
    verdict = judged({"failed": 2, "missing": ["v1"], "errors": ["v1: bad"]})
    assert verdict == Judgement({"v1": MISSING}, unnamed=["v1: bad"])


def test_a_second_text_about_a_suspect_leaves_one_failure_open():
    errors = ["v1: bad", "v1: worse"]
    assert judged({"failed": 2, "errors": errors}) == Judgement(guessed={"v1": "v1: bad"}, unnamed=["v1: worse"])


@pytest.mark.parametrize("missing", ["v9", "V1", 1, 1.5, True, None], ids=str)
def test_a_missing_id_that_was_not_sent_is_unplaced(missing):
    verdict = judged({"failed": 1, "missing": [missing]}, ["v1", "1", "True", "None"])
    said = missing if isinstance(missing, str) else orjson.dumps(missing).decode()
    assert verdict == Judgement(unnamed=[f"an unknown id is missing: {said}"])


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refused_call_judges_nobody_whatever_its_body_says(status):
    document = {"missing": ["v1"], "errors": []}
    assert judged(document, status=status) == whole(f'HTTP {status}: {{"missing":["v1"],"errors":[]}}')
    assert judged(b"too large", status=status) == whole(f"HTTP {status}: too large")
    assert judged(b"", status=status) == whole(f"HTTP {status}")


def test_a_long_body_is_cut_in_the_message():
    (message,) = judged(b"x" * 10_000, status=400).unnamed
    assert message == f"HTTP 400: {'x' * 300}"


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"failed": 1, "missing": [{"visitorId": "v1"}]}, id="missing objects"),
        pytest.param({"failed": 1, "missing": [["v1"]]}, id="missing lists"),
        pytest.param({"failed": 1, "errors": [{"visitorId": ["v1"], "error": "bad"}]}, id="an error with several ids"),
        pytest.param({"failed": 1, "errors": [{"id": {"visitorId": "v1"}}]}, id="an error with an id inside"),
    ],
)
def test_ids_of_another_form_do_not_break_the_sync(document):
    verdict = judged(document)
    assert verdict.outcomes == verdict.guessed == {}
    assert len(verdict.unnamed) == 1


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"total": 3, "errors": "v1: bad"}, id="errors is a text"),
        pytest.param({"total": 3, "errors": {"v1": "bad"}}, id="errors by id"),
        pytest.param({"total": 3, "missing": "v1"}, id="missing is a text"),
        pytest.param({"total": 3, "missing": {"v1": True}}, id="missing by id"),
        pytest.param({"total": 3, "missing": 1}, id="missing is a number"),
    ],
)
def test_failures_told_in_another_form_are_not_taken_for_delivered(document):
    verdict = judged(document)
    assert "v1" in verdict.outcomes or "v1" in verdict.guessed or verdict.unnamed
    assert not verdict.refused_whole


@pytest.mark.parametrize("bystander", ["seats", "many"], ids=["a field's name", "a value"])
def test_a_quoted_word_that_happens_to_be_an_id_is_no_proof(sandbox, client, bystander):
    """The sandbox says: field 'seats': expected an integer, got 'many'."""
    sandbox.switches = replace(sandbox.switches, error_items="unnamed")
    sandbox.add_visitors([bystander])
    spec = SyncSpec("s", "model.s", "s.yml", "visitor", "id", fields=(Field("seats", Column("seats")),))
    rows = [("000", 1, "added", bystander, 7), ("000", 2, "added", "v1", "many"), ("000", 3, "added", "v2", 7)]
    rendered = render(spec, rows, [PendoField("seats", None)])
    outcomes = delivered(client, spec, rendered.updates)
    assert statuses(outcomes) == {1: "delivered", 2: "rejected", 3: "delivered"}
    assert [sandbox.visitors[key]["custom"] for key in (bystander, "v1", "v2")] == [{"seats": 7}, {}, {"seats": 7}]


items = st.none() | st.integers(-3, 3) | st.sampled_from(["v1", "v2: bad", "visitor 'v3': bad", "bad", "v9", ""])
documents = st.fixed_dictionaries(
    {},
    optional={
        "total": items,
        "updated": items,
        "failed": st.integers(0, 5) | st.none(),
        "missing": st.lists(items, max_size=4) | st.none(),
        "errors": st.lists(items | st.fixed_dictionaries({"visitorId": items}), max_size=4) | st.none(),
    },
)


@given(documents)
def test_no_failure_is_ever_lost(document):
    verdict = judged(document)
    assert set(verdict.outcomes) | set(verdict.guessed) <= set(IDS)
    assert not set(verdict.outcomes) & set(verdict.guessed)
    assert {outcome.status for outcome in verdict.outcomes.values()} <= {"missing", "rejected"}
    assert not verdict.refused_whole
    failed = int(document.get("failed") or 0)
    told = [*(document.get("missing") or []), *(document.get("errors") or [])]
    found = len(verdict.outcomes) + len(verdict.guessed) + len(verdict.unnamed)
    assert bool(found) == bool(told or failed > 0)
    assert found >= min(failed, len(IDS))


# The sandbox's own answers, in each of its ways to say it.


@pytest.mark.parametrize("omit_empty_lists", [True, False])
@pytest.mark.parametrize("error_items", ["named", "object"])
def test_the_sandboxs_answers_tell_of_each_record(sandbox, client, error_items, omit_empty_lists):
    sandbox.switches = replace(sandbox.switches, error_items=error_items, omit_empty_lists=omit_empty_lists)
    values = {"v1": {"seats": 1}, "v2": {"seats": "many"}, "v9": {"seats": 1}}
    body = orjson.dumps([{"visitorId": key, "values": value} for key, value in values.items()])
    verdict = judge_values(
        client.send(values_request("visitor", "custom", body, create=False, keys=list(values))), list(values)
    )
    told = {key: outcome.status for key, outcome in verdict.outcomes.items()} | dict.fromkeys(verdict.guessed, "named")
    assert told == {"v2": "rejected" if error_items == "object" else "named", "v9": "missing"}
    assert verdict.unnamed == []
    assert sandbox.visitors["v1"]["custom"] == {"seats": 1}


def test_the_sandboxs_unnamed_errors_are_unnamed(sandbox, client):
    sandbox.switches = replace(sandbox.switches, error_items="unnamed")
    body = orjson.dumps([{"visitorId": key, "values": {"seats": value}} for key, value in [("v1", 1), ("v2", "x")]])
    verdict = judge_values(
        client.send(values_request("visitor", "custom", body, create=False, keys=["v1", "v2"])), ["v1", "v2"]
    )
    assert verdict.outcomes == verdict.guessed == {}
    assert len(verdict.unnamed) == 1


@pytest.mark.parametrize("create", [False, True])
def test_created_records_are_no_failures(sandbox, client, create):
    sandbox.switches = replace(sandbox.switches, created_counts_as_updated=False)
    body = orjson.dumps([{"visitorId": key, "values": {"plan": "x"}} for key in ("v1", "v9")])
    keys = ["v1", "v9"]
    verdict = judge_values(client.send(values_request("visitor", "custom", body, create=create, keys=keys)), keys)
    assert verdict == (Judgement() if create else Judgement({"v9": MISSING}))
    assert ("v9" in sandbox.visitors) == create


@pytest.mark.parametrize("error_items", ["named", "object", "unnamed"])
def test_a_rejected_row_is_told_and_its_neighbours_are_delivered(sandbox, client, error_items):
    sandbox.switches = replace(sandbox.switches, error_items=error_items)
    spec = SyncSpec("s", "model.s", "s.yml", "visitor", "id", fields=(Field("seats", Column("seats")),))
    rows = [("000", seq, "added", *row) for seq, row in enumerate([("v1", 7), ("v2", "many"), ("v9", 7), ("v3", 7)])]
    outcomes = delivered(client, spec, render(spec, rows, [PendoField("seats", None)]).updates)
    assert statuses(outcomes) == {0: "delivered", 1: "rejected", 2: "missing", 3: "delivered"}
    assert "expected a whole number" in (outcomes["000", 1].detail or "")
    assert [sandbox.visitors[key]["custom"] for key in ("v1", "v2", "v3")] == [{"seats": 7}, {}, {"seats": 7}]


@pytest.mark.parametrize("bad", ["custom", "agent"])
def test_a_row_is_rejected_when_one_of_its_groups_is(sandbox, client, bad):
    sandbox.add_field("visitor", "agent", "floor", "integer")
    fields = (Field("seats", Column("seats")), Field("floor", Column("floor"), group="agent"))
    spec = SyncSpec("s", "model.s", "s.yml", "visitor", "id", fields=fields)
    row = ("000", 1, "added", "v1", "many" if bad == "custom" else 7, "many" if bad == "agent" else 7)
    rendered = render(spec, [row, ("000", 2, "added", "v2", 7, 7)], [PendoField(field.name, None) for field in fields])
    assert statuses(delivered(client, spec, rendered.updates)) == {1: "rejected", 2: "delivered"}


def test_text_that_is_no_unicode_is_invalid_and_its_neighbours_are_delivered(sandbox, client):
    spec = SyncSpec("s", "model.s", "s.yml", "visitor", "id", fields=(Field("plan", Column("plan")),))
    rows = [
        ("000", seq, "added", key, plan) for seq, (key, plan) in enumerate([("v1", "a"), ("v2", "\ud800"), ("v3", "c")])
    ]
    rendered = render(spec, rows, [PendoField("plan", "string")])
    outcomes = {**rendered.unsendable, **delivered(client, spec, rendered.updates)}
    assert statuses(outcomes) == {0: "delivered", 1: "invalid", 2: "delivered"}
    assert [sandbox.visitors[key]["custom"] for key in ("v1", "v2", "v3")] == [{"plan": "a"}, {}, {"plan": "c"}]
    with pytest.raises(orjson.JSONEncodeError):
        Batch(render(spec, [("000", 1, "added", "\ud800", "x")], [PendoField("plan", None)]).updates).request(0)
