"""What a bulk answer says of each record."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_pendo.outcomes import Outcome
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.metadata import Judgement, judge_values

IDS = ["v1", "v2", "v3"]
MISSING = Outcome("missing", "Pendo does not know this id")


def rejected(detail: str) -> Outcome:
    return Outcome("rejected", detail)


def judged(document: Any, ids: list[str] = IDS, status: int = 200) -> Judgement:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return judge_values(Answer(status, body), ids)


def test_a_text_that_names_a_record_makes_it_a_suspect_with_pendos_words():
    for error in [
        *("visitor 'v2': expected an integer", 'visitor "v2": expected an integer', "visitor `v2` has a bad value"),
        *("expected an integer for 'v2'", "v2: expected an integer", "visitor v2: expected an integer"),
        *("visitor 'v2': field 'seats': expected an integer, got 'many'", "visitor 'v2': 'v2' is bad"),
    ]:
        assert judged({"total": 3, "updated": 2, "failed": 1, "errors": [error]}) == Judgement(guessed={"v2": error})


@pytest.mark.parametrize("key", ["visitorId", "accountId", "parentAccountId", "id"])
def test_missing_rejected_and_suspected_records_come_together(key):
    document = {"total": 3, "updated": 0, "failed": 3, "missing": ["v1"], "errors": ["v3: bad", {key: "v2", "x": "y"}]}
    shown = f'{{"{key}":"v2","x":"y"}}'
    assert judged(document) == Judgement({"v1": MISSING, "v2": rejected(shown)}, guessed={"v3": "v3: bad"})


def test_odd_ids_are_found():
    ids = ["o'brien", "Zoë 🚀", "a b", "a: b", "{{ x }}", "new\nline", "A1", "a1", "1", "ada@example.com", "other"]
    for odd in ids[:-1]:
        words, item = f'visitor "{odd}" is bad', {"visitorId": odd, "error": "bad"}
        assert judged({"failed": 1, "missing": [odd]}, ids) == Judgement({odd: MISSING})
        assert judged({"failed": 1, "errors": [item]}, ids) == Judgement({odd: rejected(orjson.dumps(item).decode())})
        assert judged({"failed": 1, "errors": [words]}, ids) == Judgement(guessed={odd: words})


def test_a_text_that_does_not_name_one_record_is_about_none():
    for error, *ids in [
        *(("expected an integer, got 12", "1", "2"), ("expected an integer", "a", "an", "integer"), ("", "")),
        *(("user v12 is bad", "v1", "v2"), ("visitor 'v12': bad", "v1", "2"), ("v12: bad", "v1", "2", "v")),
        *(("visitor V1: bad", "v1"), ("v1 is bad", "v1"), ("'' is bad", "v1")),
        # These name nobody, two, two in two ways, and one that was not sent.
        *(("a value has the wrong type", *IDS), ("'v1' and 'v2' are the same", *IDS)),
        *(("v1: duplicate of 'v2'", *IDS), ("visitor 'v9': bad", *IDS)),
    ]:
        assert judged({"failed": 1, "errors": [error]}, ids) == Judgement(unnamed=[error])


@given(st.lists(st.text("ab1 ", min_size=1), min_size=1, unique=True), st.text("ab1 -,."))
def test_no_text_without_quotes_or_colon_is_about_any_record(ids, text):
    assert judged({"failed": 1, "errors": [text]}, ids) == Judgement(unnamed=[text])


def test_an_error_of_another_form_is_unnamed():
    for error in [
        *({"visitorId": "v9", "error": "bad"}, {"error": "visitor 'v1' is bad"}, {}, 7, None, ["v1", "bad"]),
        # An error with several ids, or with an id inside.
        *({"visitorId": ["v1"], "error": "bad"}, {"id": {"visitorId": "v1"}}),
    ]:
        assert judged({"failed": 1, "errors": [error]}) == Judgement(unnamed=[orjson.dumps(error).decode()])
    # So is a missing id that was not sent.
    for missing in ("v9", "V1", 1, 1.5, True, None, {"visitorId": "v1"}, ["v1"]):
        said = missing if isinstance(missing, str) else orjson.dumps(missing).decode()
        verdict = judged({"failed": 1, "missing": [missing]}, ["v1", "1", "True", "None"])
        assert verdict == Judgement(unnamed=[f"an unknown id is missing: {said}"])


def test_more_failures_than_told_are_unnamed_one_by_one():
    for missing, errors, open_ in [
        *(([], [], 3), (["v1"], [], 2), (["v1"], ["v2: bad"], 1), (["v1"], [{"id": "v2"}, "v3: bad"], 0)),
        *((["v1", "v1"], [], 2), (["v1"], ["bad"], 1)),
    ]:
        verdict = judged({"total": 3, "updated": 0, "failed": 3, "missing": missing, "errors": errors})
        nameless = [error for error in errors if error == "bad"]
        assert verdict.unnamed == nameless + [f"{open_} records failed without a reason"] * open_
        assert len(verdict.outcomes) + len(verdict.guessed) + len(verdict.unnamed) == 3


def test_a_second_word_about_a_record_leaves_one_failure_open():
    verdict = judged({"failed": 2, "missing": ["v1"], "errors": ["v1: bad"]})
    assert verdict == Judgement({"v1": MISSING}, unnamed=["v1: bad"])
    verdict = judged({"failed": 2, "errors": ["v1: bad", "v1: worse"]})
    assert verdict == Judgement(guessed={"v1": "v1: bad"}, unnamed=["v1: worse"])
    # No more failures are open than there are records.
    assert len(judged({"failed": 10**12}).unnamed) == len(IDS)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refused_call_judges_nobody_whatever_its_body_says(status):
    told = '{"missing":["v1"],"errors":[]}'
    for body, shown in ((told, f": {told}"), ("too large", ": too large"), ("", ""), ("x" * 10_000, f": {'x' * 300}")):
        verdict = judged(body.encode(), status=status)
        assert verdict == Judgement(unnamed=[f"HTTP {status}{shown}"], refused_whole=True)


def test_failures_told_in_another_form_are_not_taken_for_delivered():
    for name, told in [
        *(("errors", "v1: bad"), ("errors", {"v1": "bad"})),
        *(("missing", "v1"), ("missing", {"v1": True}), ("missing", 1)),
    ]:
        verdict = judged({"total": 3, name: told})
        assert "v1" in verdict.outcomes or "v1" in verdict.guessed or verdict.unnamed
        assert not verdict.refused_whole


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
