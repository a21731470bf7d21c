"""Segments: their members, and what runs have noted of them."""

import dataclasses

from engine import DAY, PEOPLE, Store, deliver, everything, plan, trial

from dbt_pendo.warehouse.notes import NotedSegment, SegmentNotes
from dbt_pendo.warehouse.pages import Planned


def notes_of(store: Store, segment: str, sync: str = "people") -> SegmentNotes:
    store.session.ensure_schema(store.own_schema)
    return SegmentNotes(store.session, store.own_schema, sync, segment)


def test_a_member_is_a_member_however_often_it_is_listed(store):
    rows = [("a", "1"), ("a", "2"), ("b", "1"), (None, "1"), (None, "2"), ("_PENDO_T_1", "x")]
    store.create("people", PEOPLE, rows)
    tables = store.tables(trial())
    assert deliver(tables, "r1") == Planned(added=2, invalid=2)
    store.create("people", PEOPLE, [("b", "2"), ("c", "1"), ("c", "1")])
    assert plan(tables, "r2") == Planned(added=1, removed=1, unchanged=1)
    assert {key: row[2] for key, row in everything(tables).items()} == {"a": "removed", "c": "added"}


def test_who_may_be_one_member_with_somebody_who_left(store):
    store.create("people", PEOPLE, [("ann", "1"), (" Bob", "1"), ("carl", "1"), ("Carl", "1")])
    tables = store.tables(trial())
    deliver(tables, "r1")
    store.create("people", PEOPLE, [("ANN", "1"), ("Bob ", "1"), ("carl", "1"), ("dora", "1")])
    plan(tables, "r2")
    assert sorted(tables.removed_twins()) == ["ANN", "Bob ", "carl"]


def test_the_latest_note_of_a_name_counts(store):
    noted = {name: NotedSegment(f"{name} it is", True) for name in ("Trial", store.engine.text)}
    for name, segment in noted.items():
        notes = notes_of(store, name)
        assert notes.latest() is None
        for known in (dataclasses.replace(segment, known=False), segment):
            notes.note(known)
            assert notes.latest() == known
    # The ledger tells of the last one.
    last, forgotten = store.engine.text, dataclasses.replace(noted["Trial"], known=False)
    assert [notes_of(store, name).latest() for name in noted] == [forgotten, noted[last]]
    store.create("people", PEOPLE, [("a", "1")])
    store.tables(trial(segment=last)).forget()
    assert notes_of(store, last).latest() == dataclasses.replace(noted[last], known=False)

    # An earlier version gave notes no numbers, and its clock was fast.
    store.rewrite("pendo_segments", without=("note_number",))
    store.log_at("pendo_segments", -30 * DAY)
    trials = notes_of(store, "Trial")
    assert (trials.latest(), trials.filler("Trial it is")) == (forgotten, "people")
    for segment in (noted["Trial"], NotedSegment("s1", False), NotedSegment("s1", True)):
        trials.note(segment)
        assert trials.latest() == segment
    notes_of(store, "Paying").note(NotedSegment("s2", True))
    assert trials.latest() == NotedSegment("s1", False)


def test_who_filled_a_segment_last_is_known(store):
    ours, theirs, late = (notes_of(store, "Trial", sync) for sync in ("ours", "theirs", "late"))
    assert ours.filler("s1") is None
    ours.note(NotedSegment("s1", True))
    ours.note(NotedSegment("it's another", True))
    assert [theirs.filler(key) for key in ("s1", "it's another", "s2")] == ["ours", "ours", None]
    theirs.note(NotedSegment("s1", True))
    assert ours.filler("s1") == "theirs"
    # Who forgets claims the segment of that name: the next sync is to replace its members.
    store.create("people", PEOPLE, [("a", "1")])
    store.tables(trial("ours"), "people").forget()
    assert ours.filler("s1") == "theirs"
    store.tables(trial("late"), "people").forget()
    assert late.latest() == NotedSegment("it's another", False)
    assert ours.filler("it's another") == "late"
