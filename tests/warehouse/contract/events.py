"""Events that Pendo would drop or hide, and those that are too old to be sent or remembered."""

from typing import Any

import orjson
from engine import CLICKS, DAY, HOUR, ago, clicked, clicks, deliver, everything, plan, planned

from dbt_pendo.mapping.objects import EventCounts, PropertySize, PropertySizes
from dbt_pendo.mapping.spec import Column, Event, Field
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.plan import PlanOptions
from dbt_pendo.warehouse.tables import SyncTables

NO_PROPERTIES = PropertySizes(1, ())
ALONE = PlanOptions()


def test_late_future_and_old_events(store):
    """Each kind of moment is a column of the same events."""
    late = [7 * DAY + 60, 8 * DAY, 9000 * DAY]
    # A slow machine may need minutes to come to its counts.
    old = [7 * DAY - 1200, 7 * DAY - 6 * HOUR, 10 * HOUR, 2 * HOUR + 60]
    fine = [2 * HOUR - 1200, 0, -4 * 60]
    future = [-25 * 60, -5 * HOUR, -9000 * DAY]
    names = {10 * HOUR: "Opened", 9000 * DAY: None, -4 * 60: "Viewed"}
    # Days are their first instant.
    days = {8 * DAY: 8 * DAY, 10 * HOUR: 6 * DAY, 0: -2 * DAY}
    kinds = [*store.engine.moments, "day", "text"]

    def event(key: str, age: float | None, name: str | None) -> tuple[str | None, ...]:
        moments = [None if age is None else ago(age, kind) for kind in store.engine.moments]
        return (key, name, "a", *moments, ago(days[age], "day") if age in days else None, "no time")

    rows = [event(f"e{age}", age, names.get(age, "Clicked")) for age in (*late, *old, *fine, *future)]
    rows.append(event("null", None, "Clicked"))
    store.create("clicks", {"id": "text", "event": "text", "person": "text", **{kind: kind for kind in kinds}}, rows)

    def counted(tables: SyncTables, options: PlanOptions | None = ALONE) -> EventCounts:
        return tables.count_events(NO_PROPERTIES, options)

    # An event without a name is not sent.
    everyone = EventCounts(late=2, future=3, names=3)
    recent = {f"e{age}" for age in (*fine, *future)} | {"null"}
    for kind in store.engine.moments:
        assert counted(store.tables(clicks(kind))) == everyone
        tables = store.tables(clicks(kind, max_age=2 * HOUR))
        assert counted(tables) == EventCounts(future=3, names=2, left_out=7)
        assert plan(tables, "r1") == Planned(added=7)
        # One that does not say when it happened is for the sync to judge.
        assert set(everything(tables)) == {row[3] for row in tables.preview(ALONE, 20)} == recent
    assert store.tables(clicks("moment")).event_names("event", 9) == ["Clicked", "Opened", "Viewed"]
    assert store.tables(clicks("moment")).event_names("event", 2) == ["Clicked", "Opened"]
    assert store.tables(clicks("moment", max_age=2 * HOUR)).event_names("event", 9) == ["Clicked", "Viewed"]
    assert counted(store.tables(clicks("day"))) == EventCounts(late=1, future=1, names=3)
    assert counted(store.tables(clicks("text"))) == EventCounts(names=3)

    tables = store.tables(clicks("moment"))
    plan(tables, "r2")
    assert counted(tables, None) == everyone
    # Only what a sync would send is looked at, but for names.
    deliver(tables, "r3")
    plan(tables, "r4")
    assert counted(tables, None) == EventCounts(names=3)
    assert counted(tables, PlanOptions(full_refresh=True)) == everyone
    # Events are delivered once.
    store.create("clicks", CLICKS, clicked(("null", ago(0)), ("new", ago(0))))
    again = store.tables(clicks())
    assert planned(again) == Planned(added=1, unchanged=1)
    assert planned(again, full_refresh=True) == Planned(added=1, changed=1)

    store.create("clicks", CLICKS, [])
    empty = store.tables(clicks(name="nothing"), "clicks")
    assert (counted(empty), plan(empty, "r7"), everything(empty)) == (EventCounts(), Planned(), {})


def test_what_was_left_out_comes_when_it_is_wanted(store):
    store.create("clicks", CLICKS, clicked(("old", ago(8 * DAY)), ("edge", ago(7 * DAY - 1200)), ("null", None)))
    limited = store.tables(clicks(max_age=7 * DAY))
    assert limited.count_events(NO_PROPERTIES, ALONE) == EventCounts(names=1, left_out=1)
    assert deliver(limited, "r1") == Planned(added=2)
    assert {entry[0] for entry in store.ledger(limited)} == {"edge", "null"}
    # The age of a text is not known.
    assert planned(store.tables(clicks("event", max_age=7 * DAY))) == Planned(added=1, unchanged=2)
    assert deliver(store.tables(clicks()), "r2") == Planned(added=1, unchanged=2)
    assert planned(limited) == Planned(unchanged=2)


def test_properties_are_measured_in_bytes(store):
    columns = {**CLICKS, "note": "text", "seats": "whole", "won": "flag", "seen": "moment"}
    # `{"note":"…","seats":…,"won":…,"seen":"2026-01-02T03:04:05.999+00:00"}`
    measured = (("note", 10, None), ("seats", 9, None), ("won", 7, None), ("seen", 8, 31))
    sizes = [PropertySize(*size) for size in measured]
    others: list[dict[str, Any]] = [{}, {"seats": 12345}, {"won": False}, {"seen": "2026-01-02T03:04:05.999+00:00"}]
    rows: list[tuple[str | None, ...]] = [("none", *[None] * 4)]
    oversized = 0
    for more in others:
        for letter in ("x", "ö", "🚀"):
            room = 512 - len(orjson.dumps({"note": "", **more}))
            # The longest that fits, and one that does not.
            most = room // len(letter.encode())
            oversized += 1
            for times in (most, most + 1):
                body = {"note": letter * times, **more}
                assert (len(orjson.dumps(body)) > 512) == (times > most)
                won = "false" if "won" in body else None
                seen = ago(0) if "seen" in body else None
                rows.append((f"e{len(rows)}", body["note"], body.get("seats"), won, seen))
    store.create("clicks", columns, [(key, "Clicked", "a", ago(0), *values) for key, *values in rows])
    properties = tuple(Field(size.column, Column(size.column)) for size in sizes)
    event = Event(Column("event"), Column("person"), Column("at"), properties=properties)
    tables = store.tables(clicks(event=event))
    wanted = EventCounts(oversized=oversized, names=1)
    assert tables.count_events(PropertySizes(1, sizes), ALONE) == wanted
    plan(tables, "r1")
    assert tables.count_events(PropertySizes(1, sizes)) == wanted


def test_compaction_forgets_old_events(store, short):
    ages = {"gone": 9 * DAY, "old": 8 * DAY, "edge": 5 * DAY, "new": HOUR, "next": -3 * DAY}
    store.create("clicks", CLICKS, clicked(*((key, ago(age)) for key, age in ages.items())))
    everlasting = store.tables(clicks())
    for number in range(2):
        deliver(everlasting, f"r{number}", full_refresh=True)
    store.session.run(
        f"insert into {everlasting.ledger} (record_key, row_hash, status, detail, attempts, run_id, logged_at, "
        "destination, commit_number) select record_key, row_hash, 'rejected', detail, 1, run_id, logged_at, "
        f"destination, commit_number from {everlasting.ledger}"
    )
    # They were all logged ten days ago, but for one that has just been sent and has left the model since.
    store.log_at("clicks__ledger", 10 * DAY)
    store.insert("clicks", clicked(("just", ago(6 * DAY))))
    deliver(everlasting, "r5")
    kept = {key: age for key, age in ages.items() if key != "gone"}
    store.create("clicks", CLICKS, clicked(*((key, ago(age)) for key, age in kept.items())))

    before = store.relation("before", store.own_schema)
    store.session.run(f"create table {before} as select * from {everlasting.ledger}")
    everlasting.compact(1)
    assert {entry[0] for entry in store.ledger(everlasting)} == {*ages, "just"}
    store.session.drop(store.own_schema, "clicks__ledger")
    store.session.rename(store.own_schema, "before", "clicks__ledger")

    # A key is known for as long as Pendo would process the event, however short `max_age` is.
    tables = store.tables(clicks(max_age=HOUR * 2))
    assert planned(tables) == Planned(unchanged=2)
    tables.compact(1)
    assert {entry[0] for entry in store.ledger(tables)} == {"edge", "new", "next", "just"}
    assert planned(tables) == Planned(unchanged=2)
    assert planned(store.tables(clicks(max_age=7 * DAY))) == Planned(unchanged=3)


def test_no_key_is_forgotten_early(store, short):
    """The clock of the run that compacts is six days fast: what was three days ago seems to be nine."""
    spec = clicks(max_age=7 * DAY)
    store.create("clicks", CLICKS, clicked(("e1", ago(DAY))))
    tables = store.tables(spec)
    deliver(tables, "r1")
    store.bloat(tables, 3)
    store.log_at("clicks__ledger", 9 * DAY)
    store.create("clicks", CLICKS, clicked(("e1", ago(9 * DAY)), ("e2", ago(0))))
    tables = store.tables(spec)
    assert deliver(tables, "fast") == Planned(added=1)
    tables.compact(1)
    assert {entry[0] for entry in store.ledger(tables)} == {"e1", "e2"}
    store.create("clicks", CLICKS, clicked(("e1", ago(3 * DAY)), ("e2", ago(0))))
    assert planned(tables) == Planned(unchanged=2)
