"""Past runs, what the ledger tells of rows, and what dbt has published."""

import datetime
from collections import Counter
from typing import Any

import pytest
from engine import DAY, Store, deliver, people

from dbt_pendo.errors import ConfigError
from dbt_pendo.outcomes import Outcome
from dbt_pendo.warehouse.builds import read_builds, take_builds
from dbt_pendo.warehouse.notes import Subscription, note_subscription, read_subscriptions
from dbt_pendo.warehouse.pages import Planned
from dbt_pendo.warehouse.runs import ADDED_RUN_COLUMNS, History, log_runs

COUNTS = ("added", "changed", "removed", "unchanged", "invalid", "held", "delivered", "missing", "rejected")
LOGGED = [
    *(("r1-aa", "it's", "error"), ("r1-aa", "people", "success"), ("r2-bb", "people", "partial")),
    *(("r3-cc", "people", "skipped"), ("r4-dd", "people", "interrupted")),
    *(("r5-ee", "it's", "success"), ("r5-ee", "people", "blocked")),
    *(("r6-bb", "other", "error"), ("r6-bb", "people", "error"), ("r9-ff", "people", "error")),
]
ENDS = {"target": "prod", "pendo_host": "https://app.pendo.io"}


def test_past_runs(store):
    history = History(store.session, store.own_schema)
    assert history.runs(5) == []
    store.session.ensure_schema(store.own_schema)
    assert (history.latest_syncs(), history.recent(["people"], "r9-ff", 3)) == ([], {"people": []})
    numbers = {name: at for at, name in enumerate((*COUNTS, "requests", "retries", "bytes"))}
    texts = {"unique_id": "model.x", "object": "visitor", "duration": 1.5, **ENDS, "deleted": 12, "cleared": 13}
    for run_id, sync, status in LOGGED:
        message = None if status == "success" else store.engine.text
        row = {**numbers, **texts, "run_id": run_id, "sync": sync, "status": status, "message": message}
        log_runs(store.session, store.own_schema, [row])
    columns = f"select run_id, sync, status, message from {store.relation('pendo_runs', store.own_schema)}"
    assert sorted(store.session.rows(columns)) == sorted(
        (*logged, None if logged[2] == "success" else store.engine.text) for logged in LOGGED
    )

    found = history.recent(["people", "it's", "new"], "r9-ff", 3)
    assert {sync: [(run.run_id, run.status) for run in runs] for sync, runs in found.items()} == {
        "people": [("r6-bb", "error"), ("r5-ee", "blocked"), ("r2-bb", "partial")],
        "it's": [("r5-ee", "success"), ("r1-aa", "error")],
        "new": [],
    }
    assert history.recent([], "r9-ff", 3) == {}
    # The last of each sync, and its last complete run.
    logged_at = {(sync.run_id, sync.sync): sync.logged_at for sync in history.runs(9)}
    assert [(one.last.run_id, one.last.sync, one.last.status, one.completed_at) for one in history.latest_syncs()] == [
        ("r5-ee", "it's", "success", logged_at["r5-ee", "it's"]),
        ("r6-bb", "other", "error", None),
        ("r9-ff", "people", "error", logged_at["r2-bb", "people"]),
    ]
    # By id, its beginning and its end.
    latest = [("r9-ff", "people"), ("r6-bb", "other"), ("r6-bb", "people")]
    assert [(sync.run_id, sync.sync) for sync in history.runs(2)] == latest
    for name, runs in (("r1-aa", ["r1-aa"] * 2), ("r6", ["r6-bb"] * 2), ("bb", ["r6-bb", "r6-bb", "r2-bb"]), ("'", [])):
        assert [sync.run_id for sync in history.runs(9, name)] == runs
    (one,) = history.runs(1)
    assert (one.delivered, one.missing, one.rejected, one.requests, one.retries, one.bytes) == (6, 7, 8, 9, 10, 11)
    assert (one.planned, one.object, one.duration) == (Planned(0, 1, 2, 3, 4, 5), "visitor", 1.5)
    assert (one.target, one.pendo_host, one.deleted, one.cleared) == ("prod", ENDS["pendo_host"], 12, 13)
    assert (one.status, one.message) == ("error", store.engine.text)
    logged = datetime.datetime.fromisoformat(one.logged_at.replace("Z", "+00:00"))
    assert abs(datetime.datetime.now(datetime.timezone.utc) - logged) < datetime.timedelta(minutes=10)


def test_a_run_log_of_an_earlier_version_goes_on(store):
    session = store.session
    session.ensure_schema(store.own_schema)
    row = dict.fromkeys((*COUNTS, "requests", "retries", "bytes", "duration"), 1)
    row |= {"unique_id": "model.x", "object": "visitor", "status": "success", "message": None, "sync": "people"}
    log_runs(session, store.own_schema, [{**row, **ENDS, "deleted": 0, "cleared": 0, "run_id": "r1-aa"}])
    store.rewrite("pendo_runs", without=ADDED_RUN_COLUMNS)
    history = History(session, store.own_schema)
    older, newer = ("r1-aa", None, 0), ("r2-bb", "prod", 2)
    assert [(run.run_id, run.target, run.deleted) for run in history.runs(5)] == [older]
    log_runs(session, store.own_schema, [{**row, **ENDS, "deleted": 2, "cleared": 0, "run_id": "r2-bb"}])
    assert [(run.run_id, run.target, run.deleted) for run in history.runs(5)] == [newer, older]


def test_whose_a_ledger_is(store):
    session, schema, text = store.session, store.own_schema, store.engine.text
    assert read_subscriptions(session, schema) == {}
    session.ensure_schema(schema)
    assert read_subscriptions(session, schema) == {}
    pendo, other = Subscription("app.pendo.io:443", "0" * 32, "main"), Subscription(text, "f" * 32, text)
    for sync, subscription in (("people", other), (text, pendo), ("people", pendo), ("gone", other), ("gone", None)):
        note_subscription(session, schema, sync, subscription)
    assert read_subscriptions(session, schema) == {"people": pendo, text: pendo, "gone": None}


def test_other_schemas_with_a_ledger(store):
    store.create("people", {"id": "text", "plan": "text"}, [("a", "1")])
    tables = store.tables(people())
    assert tables.ledgers_elsewhere() == []
    deliver(tables, "r1", {})
    assert tables.ledgers_elsewhere() == []
    others = [f"{store.schema}_{name}" for name in ("b_pendo", "b_pendo_sandbox", "books")]
    try:
        for schema in others:
            store.session.ensure_schema(schema)
            store.session.create(
                schema, "people__ledger", f"create table {store.relation('people__ledger', schema)} as select 1 as x"
            )
        # Of a warehouse without a list of all tables only schemas with our ending.
        found = sorted(schema.lower() for schema in tables.ledgers_elsewhere())
        assert found == (others[:1] if store.engine.name == "spark" else [others[0], others[2]])
    finally:
        for schema in others:
            store.drop_schema(schema)


def test_what_the_ledger_tells_of_rows(store):
    rows = [("a", "1"), ("b", "2"), ("c", "3"), ("it's", "4"), ("odd", "5"), (None, "6")]
    store.create("people", {"id": "text", "plan": "text"}, [*rows, *(("twice", str(at)) for at in range(3))])
    tables = store.tables(people())
    history = History(store.session, store.own_schema)
    assert history.entries("nobody", "a") == []
    statuses = ["rejected", "missing", "invalid"]
    assert history.open_rows("people", statuses, 10) == []
    refused = Outcome("rejected", "not 'this'")
    others = {"it's": Outcome("missing", "unknown"), "odd": Outcome("invalid", "odd")}
    deliver(tables, "r1", {"b": refused, "c": refused, **others})
    invalid = [("odd", "invalid", "odd", None), *[("twice", "invalid", "3 rows have this key", None)] * 3]

    def told(found: Any) -> list[tuple[Any, ...]]:
        return [(row.key, row.status, row.detail, row.attempts) for row in found]

    failed = [("b", "rejected", "not 'this'", 1), ("c", "rejected", "not 'this'", 1), ("it's", "missing", "unknown", 1)]
    every = Counter([*failed, *invalid, (None, "invalid", "the key is null", None)])
    assert Counter(told(history.failed_rows("people", "r1", None))) == every
    assert told(history.failed_rows("people", "r1", 2)) == failed[:2]
    reasons = [(one.status, one.message, one.rows, *one.examples) for one in history.reasons("people", "r1")]
    assert (reasons[0], set(reasons[1:])) == (
        ("rejected", "not 'this'", 2, "b"),
        {
            *(("missing", "unknown", 1, "it's"), ("invalid", "odd", 1, "odd")),
            ("invalid", "3 rows have this key", 1, "twice"),
        },
    )
    assert history.reasons("people", "r2") == []
    assert told(history.open_rows("people", ["rejected", "missing"], 10)) == failed
    opened = [row.key for row in history.open_rows("people", statuses, 10)]
    assert opened == ["b", "c", "it's", "odd", "twice"]
    assert [row.key for row in history.open_rows("people", statuses, 2)] == ["b", "c"]
    assert [row.key for row in history.open_rows("people", ["invalid", "missing"], 10)] == ["it's", "odd", "twice"]

    # They are open until they are delivered.
    deliver(tables, "r2", {"c": Outcome("rejected", "still no"), "odd": others["odd"]})
    # What was invalid before is not logged again; the change set has it, of the last run.
    found = told(history.failed_rows("people", "r2", None))
    assert Counter(found) == Counter([("c", "rejected", "still no", 2), *(every - Counter(failed)).elements()])
    assert told(history.failed_rows("people", "r1", None)) == [*failed, *invalid[:2]]
    assert told(history.open_rows("people", ["rejected", "missing"], 10)) == [("c", "rejected", "still no", 2)]
    known = [(one.status, one.run_id, one.attempts) for one in history.entries("people", "c")]
    assert known == [("rejected", "r2", 2), ("rejected", "r1", 1)]
    assert [one.status for one in history.entries("people", "it's")] == ["delivered", "missing"]
    found = [history.model_rows(tables._source, key) for key in ("it's", "A", "twice")]
    assert (found[:2], len(found[2])) == ([[("4",)], []], 2)


class Builds:
    """What a project's dbt has published."""

    def __init__(self, store: Store) -> None:
        self.session, self.schema = store.session, store.own_schema
        self.relation = store.relation("pendo_builds", store.own_schema)

    def publish(self, *rows: dict[str, Any]) -> None:
        self.session.ensure_schema(self.schema)
        if not self.session.exists(self.schema, "pendo_builds"):
            self.session.execute("pendo_create_builds", builds=self.relation)
        ordered = [{"action": "published", **row, "build_order": order} for order, row in enumerate(rows)]
        self.session.execute("pendo_add_builds", builds=self.relation, rows=ordered)

    def publish_models(self, invocation_id: str, *models: str) -> None:
        ids = {"invocation_id": invocation_id, "column_mappings": "{}"}
        self.publish(*({"unique_id": f"model.x.{model}", "model": model, **ids} for model in models))

    def names(self) -> list[str]:
        return [f"{build.model} {build.invocation_id}" for build in read_builds(self.session, self.schema)]

    def take(self, run_id: str, *models: str) -> None:
        found = [build for build in read_builds(self.session, self.schema) if build.model in models]
        take_builds(self.session, self.schema, found, run_id)


def test_the_latest_build_counts_until_it_is_taken(store):
    with pytest.raises(ConfigError, match=r"There is no table .*_pendo\.pendo_builds"):
        read_builds(store.session, store.own_schema)
    builds = Builds(store)
    assert store.session.sql("pendo_builds_relation", schema=store.own_schema) == builds.relation
    # What was published is read as it was.
    texts = [store.engine.text, "x" * 20_000]
    same = {"invocation_id": "i0", "materialized": "table", "command": "build"}
    names = ("model", "file", "schema_name", "identifier", "relation_name", "mapping", "column_mappings")
    models = [{**same, **dict.fromkeys(names, text), "unique_id": f"model.x.{text[:200]}"} for text in texts]
    of_first = {"unique_id": models[0]["unique_id"], "invocation_id": "i0"}
    details = [{**of_first, "action": action, "mapping": action + texts[0]} for action in ("snapshot", "marks")]
    builds.publish(*details, *models)
    found = read_builds(store.session, store.own_schema)
    assert [build.unique_id for build in found] == [f"model.x.{text[:200]}" for text in texts]
    for text, build in zip(texts, found, strict=True):
        assert {build.model, build.file, build.mapping, build.column_mappings, build.relation_name} == {text}
        assert (build.status, build.partial, build.tests, build.database_name) == (None,) * 4
    assert [(build.snapshot_config, build.marks) for build in found] == [
        ("snapshot" + texts[0], "marks" + texts[0]),
        (None, None),
    ]
    builds.take("r0", *texts)

    builds.publish_models("i1", "a", "b", "c")
    builds.publish_models("i2", "b", "a")
    assert builds.names() == ["c i1", "b i2", "a i2"]
    before = read_builds(store.session, store.own_schema)
    builds.take("r1", "b", "c")
    assert builds.names() == ["a i2"]
    # One that was published in the meantime is not what was taken.
    builds.publish_models("i3", "b")
    take_builds(store.session, store.own_schema, before, "r2")
    assert builds.names() == ["b i3"]
    take_builds(store.session, store.own_schema, [], "r3")
    taken = store.session.rows(f"select distinct run_id from {builds.relation} where action = 'taken'")
    assert sorted(taken) == [("r0",), ("r1",), ("r2",)]

    # The clock was fast, and is right again: a build of the future hides none.
    store.log_at("pendo_builds", -30 * DAY)
    builds.take("r4", "b")
    builds.publish_models("i4", "a")
    assert builds.names() == ["a i4"]
