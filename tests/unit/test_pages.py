"""Page arithmetic, held against change sets of rows that are really there."""

import itertools
import random
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from dbt_pendo.warehouse.pages import Bucket, Planned, Span, buckets_from_counts, cut_pages, limit_buckets

# The order of a bucket's rows, which is that of the alphabet; held rows come last (pendo_plan.sql).
ORDER = ("added", "changed", "invalid", "removed")
COUNTED = ("held", "unchanged")
SENT = ("added", "changed", "removed")
IN_MODEL = ("added", "changed", "invalid", "held", "unchanged")


class Row(NamedTuple):
    bucket: str
    seq: int
    change: str


@dataclass(frozen=True)
class ChangeSet:
    """The rows of a change set, as pendo_plan.sql numbers them."""

    contents: dict[str, dict[str, int]]

    @property
    def changed(self) -> list[Row]:
        rows = []
        for bucket, kinds in sorted(self.contents.items()):
            changes = [change for change in ORDER for _ in range(kinds.get(change, 0))]
            rows += [Row(bucket, seq, change) for seq, change in enumerate(changes, start=1)]
        return rows

    @property
    def to_send(self) -> list[Row]:
        return [row for row in self.changed if row.change in SENT]

    @property
    def buckets(self) -> list[Bucket]:
        """Of counts as pendo_count_changes answers, in no order that anyone promised."""
        of_model = sum(kinds.get(change, 0) for kinds in self.contents.values() for change in IN_MODEL)
        return buckets_from_counts(shuffled([*self.counts, ("total", "total", 1, of_model)]))

    @property
    def counts(self) -> list[tuple[str, str, int, int]]:
        """The counts of the rows that stand in it."""
        counts = []
        for bucket, kinds in self.contents.items():
            last_seq = 0
            for change in (*ORDER, "held"):
                if rows := kinds.get(change):
                    last_seq += rows
                    counts.append((bucket, change, rows, last_seq))
        return counts


def shuffled(counts):
    return random.Random(0).sample(counts, len(counts))


def within(row: Row, span: Span) -> bool:
    """pendo_within, in Python."""
    return (
        span.first <= row.bucket <= span.last
        and (span.first_seq is None or row.bucket > span.first or row.seq >= span.first_seq)
        and (span.last_seq is None or row.bucket < span.last or row.seq <= span.last_seq)
    )


def read(change_set: ChangeSet, spans: list[Span]) -> list[list[Row]]:
    """The rows of each page, held and unchanged ones aside, as neither reading nor committing wants them."""
    rows = change_set.changed
    return [[row for row in rows if within(row, span)] for span in spans]


counts = st.integers(0, 3) | st.integers(0, 12)
change_sets = st.builds(
    ChangeSet,
    st.dictionaries(
        st.integers(0, 4095).map("{:03x}".format),
        st.fixed_dictionaries(dict.fromkeys((*ORDER, *COUNTED), counts)),
        max_size=12,
    ),
)


@given(change_sets)
def test_counts_become_the_buckets_of_the_change_set(change_set):
    stored = {
        name: {change: kinds[change] for change in (*ORDER, "held")} for name, kinds in change_set.contents.items()
    }
    wanted = [Bucket(name, Planned(**kinds)) for name, kinds in sorted(stored.items()) if any(kinds.values())]
    unchanged = sum(kinds["unchanged"] for kinds in change_set.contents.values())
    if unchanged:
        wanted.append(Bucket("total", Planned(unchanged=unchanged)))
    assert change_set.buckets == wanted
    # Those of a view are counted where they are.
    here = [(name, "unchanged", 1, n) for name, kinds in change_set.contents.items() if (n := kinds["unchanged"])]
    assert buckets_from_counts(shuffled([*change_set.counts, *here])) == wanted


@given(change_sets, st.integers(1, 30))
def test_pages_cover_every_row_once_in_order_and_are_full(change_set, rows_per_page):
    rows_of = {bucket.name: bucket.rows for bucket in change_set.buckets}
    spans = list(cut_pages(change_set.buckets, rows_per_page))
    pages = read(change_set, spans)
    assert [row for page in pages for row in page] == change_set.changed
    assert all(0 < len(page) <= rows_per_page for page in pages)
    # They neither overlap nor run backwards.
    ends = [((span.first, span.first_seq or 1), (span.last, span.last_seq or 10**9)) for span in spans]
    assert sorted(itertools.chain(*ends)) == list(itertools.chain(*ends))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
    # A page is cut only where the next bucket does not fit.
    for span, page, following in zip(spans, pages, spans[1:], strict=False):
        if span.first_seq is None:
            assert len(page) + rows_of[following.first] > rows_per_page
        elif following.first == span.first:
            assert len(page) == rows_per_page


@given(change_sets, st.integers(0, 60) | st.just(10**6), st.integers(1, 30))
def test_a_limit_takes_the_first_rows_to_send(change_set, limit, rows_per_page):
    buckets = limit_buckets(change_set.buckets, limit)
    pages = read(change_set, list(cut_pages(buckets, rows_per_page)))
    taken = [row for page in pages for row in page]
    assert [row for row in taken if row.change in SENT] == change_set.to_send[:limit]
    # What is read along is a beginning of the change set: nothing is passed over.
    assert taken == change_set.changed[: len(taken)]
    assert all(0 < len(page) <= rows_per_page for page in pages)
    planned = sum((bucket.planned for bucket in buckets), Planned())
    assert planned.to_send == min(limit, len(change_set.to_send))
    kinds = Counter(row.change for row in taken)
    assert {change: getattr(planned, change) for change in ORDER} == {change: kinds[change] for change in ORDER}
    assert limit <= len(change_set.to_send) or buckets == change_set.buckets


def test_counts_of_a_driver_that_yields_other_numbers_become_integers():
    counts = [("000", "added", Decimal(2), Decimal(2)), ("total", "total", Decimal(1), Decimal(9))]
    wanted = [Bucket("000", Planned(added=2)), Bucket("total", Planned(unchanged=7))]
    assert repr(buckets_from_counts(counts)) == repr(wanted)
    # Of a view that lost rows while it was counted.
    assert buckets_from_counts([("000", "added", 2, 2), ("total", "total", 1, 1)]) == wanted[:1]
