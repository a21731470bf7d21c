"""How many records go into a request, by how Pendo answered the last ones."""

import pytest

from dbt_pendo.delivery.pages import BatchSize
from dbt_pendo.pendo.client import Answering


def sizes(*answers: Answering) -> list[int]:
    batch = BatchSize(500)
    found = []
    for answering in answers:
        batch.adapt(answering)
        found.append(batch.records)
    return found


def answered(seconds: float, bytes_: int = 100_000, requests: int = 10, faults: int = 0) -> Answering:
    """Some requests, of seconds and bytes each."""
    return Answering(requests, seconds * requests, bytes_ * requests, faults)


def test_quick_answers_double_it_to_a_limit():
    assert sizes(*[answered(0.2)] * 5) == [1000, 2000, 4000, 4000, 4000]


@pytest.mark.parametrize(
    ("answering", "size"),
    [
        (answered(0.99, bytes_=2**19), 1000),
        # Twice the records would be more than a MiB.
        (answered(0.2, bytes_=2**19 + 1), 500),
        (answered(1.0), 500),
        (answered(0.2, faults=1), 500),
        (answered(20.1), 250),
        # Nothing was sent.
        (Answering(), 500),
    ],
)
def test_it_stays_where_more_may_be_too_much(answering, size):
    assert sizes(answering) == [size]


def test_what_is_refused_goes_back_to_half_and_not_below_the_first():
    refused = answered(0.2, faults=1)
    assert sizes(answered(0.2), answered(0.2), refused, refused, refused) == [1000, 2000, 1000, 500, 500]
    # One that was slow before stays as small.
    assert sizes(answered(60.0), refused) == [250, 250]


def test_slow_answers_halve_it_to_a_limit():
    assert sizes(*[answered(60.0)] * 5) == [250, 125, 62, 50, 50]
