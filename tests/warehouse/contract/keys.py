"""Keys are compared byte by byte, also where a database or a column folds case."""

import pytest
from engine import CLICKS, DAY, PEOPLE, Store, ago, clicked, clicks, deliver, everything, people, plan, planned, trial

from contract.ledger import compact
from contract.plans import drifted
from dbt_pendo.outcomes import QUEUED_DELETION, Outcome
from dbt_pendo.warehouse.notes import NotedSegment, SegmentNotes
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.plan import PlanOptions
from dbt_pendo.warehouse.runs import History
from dbt_pendo.warehouse.tables import SyncTables

NO = Outcome("rejected", "no")


@pytest.mark.usefixtures("short")
class TestExactKeys:
    def create(self, store: Store, *rows: tuple[str | None, ...]) -> None:
        store.create("people", {"id": self.kind(store), "plan": self.kind(store)}, rows)

    def kind(self, store: Store) -> str:
        return "folded" if "folded" in store.engine.types else "text"

    def test_case_makes_another_key_and_another_value(self, store):
        self.create(store, ("U1", "x"), ("u1", "x"), ("u2", "x"), ("_pendo_t_1", "x"))
        tables = store.tables(people())
        assert deliver(tables, "r1", {"U1": NO}) == Planned(added=4)
        assert deliver(tables, "r2", {"U1": NO}) == Planned(added=1, unchanged=3)
        assert list(everything(tables)) == ["U1"]

        history = History(store.session, store.own_schema)
        assert [one.status for one in history.entries("people", "u1")] == ["delivered"]
        assert [(row.key, row.attempts) for row in history.open_rows("people", ["rejected"], 9)] == [("U1", 2)]
        assert [history.model_rows(tables._source, key) for key in ("U2", "u1")] == [[], [("x",)]]

        self.create(store, ("U1", "x"), ("u1", "X"), ("U2", "x"))
        assert deliver(tables, "r3") == Planned(added=2, changed=1, removed=2)
        assert {key: row[2] for key, row in everything(tables).items()} == {
            **{"U1": "added", "U2": "added", "u1": "changed"},
            **{"u2": "removed", "_pendo_t_1": "removed"},
        }
        compact(store, tables)
        assert planned(tables) == Planned(unchanged=3)

        # What drifted.
        drift = drifted(store, tables, "r5", u1="drifted", U2="missing")
        source = drift.part_of(tables._source, tables.changes, with_missing=True)
        part = SyncTables(store.session, store.own_schema, people(), source)
        assert {row[3] for row in part.preview(PlanOptions(full_refresh=True), 10)} == {"u1", "U2"}
        tables.adopt("r5", drift.relation)
        assert planned(tables) == Planned(added=1, changed=1, unchanged=1)

    def test_events_members_and_deletions(self, store):
        kinds = {**CLICKS, "id": self.kind(store)}
        store.create("clicks", kinds, clicked(("e1", ago(0)), ("E1", ago(0))))
        tables = store.tables(clicks(max_age=DAY))
        deliver(tables, "r1")
        store.bloat(tables)
        store.log_at("clicks__ledger", 10 * DAY)
        store.create("clicks", kinds, clicked(("E1", ago(0))))
        tables.compact(1)
        assert {entry[0] for entry in store.ledger(tables)} == {"E1"}

        self.create(store, ("u1", None), ("U1", None), ("u1", None))
        members = store.tables(trial("trial"), "people")
        assert plan(members, "r1") == Planned(added=2)
        assert set(everything(members)) == {"u1", "U1"}
        members.segment_notes().note(NotedSegment("s1", True))
        notes = SegmentNotes(store.session, store.own_schema, "trial", "trial")
        assert (notes.latest(), notes.filler("s1"), notes.filler("S1")) == (None, "trial", None)

        self.create(store, ("u1", None), ("U1", None))
        tables = store.tables(people(on_removed="delete"))
        deliver(tables, "r1")
        store.create("people", PEOPLE, [])
        jobs = {"u1": "job", "U1": "JOB"}
        queued = {key: Outcome("delivered", f"{QUEUED_DELETION}{job}") for key, job in jobs.items()}
        assert deliver(tables, "r2", queued) == Planned(removed=2)
        assert tables.queued_deletions() == {"job": 1, "JOB": 1}
        tables.end_deletion("r3", "JOB", "it failed", is_undone=True)
        assert tables.queued_deletions() == {"job": 1}
        assert plan(tables, "r4") == Planned(removed=1)
        assert list(everything(tables)) == ["U1"]
